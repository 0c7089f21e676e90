//! Two processes share one account: whatever happens when, both together stay within its limit.

use super::{FAR, normal, policy};
use crate::stages::admission::lending::{Elder, Younger};
use crate::stages::admission::{Ended, Held, Joined, Pool, Turn};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, proptest};
use proptest::{collection, prop_oneof};
use std::collections::VecDeque;
use std::time::Instant;

#[derive(Clone, Copy, Debug)]
enum Step {
    Join(Side),
    End(Side, usize),
    Leave(Side, usize),
    /// A process looks what it has to send.
    Look(Side),
    /// A process reads the oldest message to it.
    Read(Side),
    Dies(Side),
    /// A vendor's throttle, and the time in which a limit grows back.
    Sink(Side),
    Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Elder,
    Younger,
}

#[derive(Clone, Copy, Debug)]
enum Message {
    Slots(u32),
    Asks(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let side = || prop_oneof![Just(Side::Elder), Just(Side::Younger)];
    let step = prop_oneof![
        30 => side().prop_map(Step::Join),
        30 => (side(), any::<usize>()).prop_map(|(side, which)| Step::End(side, which)),
        5 => (side(), any::<usize>()).prop_map(|(side, which)| Step::Leave(side, which)),
        30 => side().prop_map(Step::Look),
        30 => side().prop_map(Step::Read),
        1 => side().prop_map(Step::Dies),
        1 => side().prop_map(Step::Sink),
        2 => Just(Step::Wait),
    ];
    collection::vec(step, 1..400)
}

/// One process as far as this account goes.
struct Process {
    pool: Pool,
    held: Vec<Held>,
    waiting: Vec<Turn>,
    inbox: VecDeque<Message>,
    alive: bool,
}

impl Process {
    fn new(limit: u32, now: Instant) -> Process {
        let pool = Pool::new(policy(limit), now);
        let (held, waiting, inbox) = (Vec::new(), Vec::new(), VecDeque::new());
        Process { pool, held, waiting, inbox, alive: true }
    }

    /// Whether anybody is admitted who was not.
    fn settle(&mut self, now: Instant) -> bool {
        let mut admitted = Vec::new();
        self.pool.admit(now, &mut admitted);
        let some = !admitted.is_empty();
        for (turn, held) in admitted {
            self.waiting.retain(|waiting| *waiting != turn);
            self.held.push(held);
        }
        some
    }

    fn join(&mut self, now: Instant) {
        match self.pool.join(&normal("a"), false, now + FAR, now) {
            Ok(Joined::Admitted(held)) => self.held.push(held),
            Ok(Joined::Waits(turn)) => self.waiting.push(turn),
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, which: usize, now: Instant) {
        if !self.held.is_empty() {
            let held = self.held.swap_remove(which % self.held.len());
            self.pool.release(held, Ended::Success, now);
        }
    }

    fn leave(&mut self, which: usize, now: Instant) {
        if !self.waiting.is_empty() {
            let turn = self.waiting.swap_remove(which % self.waiting.len());
            assert!(self.pool.leave(turn, now));
        }
    }

    fn uses(&self) -> u32 {
        if self.alive { self.pool.in_use() } else { 0 }
    }
}

struct Handover {
    limits: [u32; 2],
    elder: Process,
    younger: Process,
    at_elder: Elder,
    at_younger: Younger,
    now: Instant,
}

impl Handover {
    /// The elder is at work already: so many have come.
    fn begin(limits: [u32; 2], busy: usize) -> Handover {
        let now = Instant::now();
        let (mut elder, mut younger) = (Process::new(limits[0], now), Process::new(limits[1], now));
        (0..busy).for_each(|_| elder.join(now));
        let mut at_younger = Younger::begins(&mut younger.pool, now);
        at_younger.learns(&mut younger.pool, limits[0]);
        Handover { limits, elder, younger, at_elder: Elder::default(), at_younger, now }
    }

    fn step(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Join(side) => self.living(side, |it| it.join(now)),
            Step::End(side, which) => self.living(side, |it| it.end(which, now)),
            Step::Leave(side, which) => self.living(side, |it| it.leave(which, now)),
            Step::Sink(side) => self.living(side, |it| {
                let backoff = super::BACKOFF;
                if let Some(held) = it.held.pop() {
                    let class = crate::stages::admission::Throttle::Concurrency;
                    it.pool.throttled(&held, class, None, backoff, 0.5, now);
                    it.pool.release(held, Ended::Throttled, now);
                }
            }),
            Step::Look(side) => self.look(side),
            Step::Read(side) => self.read(side),
            Step::Wait => self.now += std::time::Duration::from_secs(5),
            Step::Dies(side) => self.dies(side),
        }
        self.settle();
    }

    fn living(&mut self, side: Side, act: impl FnOnce(&mut Process)) {
        let process = match side {
            Side::Elder => &mut self.elder,
            Side::Younger => &mut self.younger,
        };
        if process.alive {
            act(process);
        }
    }

    fn settle(&mut self) {
        let uses = |it: &Handover| it.elder.uses() + it.younger.uses();
        self.living_settle(Side::Elder);
        let before = uses(self);
        self.living_settle(Side::Younger);
        let [elder, younger] = self.limits;
        match (self.elder.alive, self.younger.alive) {
            (true, true) => {
                assert!(uses(self) <= elder);
                // Whom the younger admits is within the lower of both limits.
                assert!(uses(self) == before || uses(self) <= younger);
            }
            (true, false) => assert!(uses(self) <= elder),
            (false, _) => assert!(uses(self) <= younger.max(before)),
        }
    }

    fn living_settle(&mut self, side: Side) {
        let now = self.now;
        self.living(side, |it| {
            it.settle(now);
        });
    }

    fn look(&mut self, side: Side) {
        if side == Side::Elder && self.elder.alive {
            let slots = self.at_elder.spares(&mut self.elder.pool, self.now);
            let asks = self.at_elder.misses(&self.elder.pool);
            let messages = [Message::Slots(slots), Message::Asks(asks)];
            self.younger.inbox.extend(messages.into_iter().filter(Message::says));
        }
        if side == Side::Younger && self.younger.alive {
            let slots = self.at_younger.pays(&self.younger.pool);
            self.elder.inbox.extend([Message::Slots(slots)].into_iter().filter(Message::says));
        }
    }

    fn read(&mut self, side: Side) {
        match side {
            Side::Elder if self.elder.alive => match self.elder.inbox.pop_front() {
                Some(Message::Slots(slots)) => {
                    self.at_elder.receives(&mut self.elder.pool, slots);
                }
                Some(Message::Asks(_)) => panic!("the younger asks for nothing"),
                // What was on the way is read before the end is.
                None if !self.younger.alive => self.at_elder.ends(&mut self.elder.pool),
                None => {}
            },
            Side::Younger if self.younger.alive => match self.younger.inbox.pop_front() {
                Some(Message::Slots(slots)) => {
                    self.at_younger.receives(&mut self.younger.pool, slots);
                }
                Some(Message::Asks(slots)) => {
                    self.at_younger.owes(&mut self.younger.pool, slots);
                }
                None if !self.elder.alive => self.at_younger.ends(&mut self.younger.pool),
                None => {}
            },
            _ => {}
        }
    }

    fn dies(&mut self, side: Side) {
        match side {
            Side::Elder if self.younger.alive => self.elder.alive = false,
            Side::Younger if self.elder.alive => self.younger.alive = false,
            _ => {}
        }
    }

    /// Lets messages pass, and time for what has sunk, until nothing changes any more.
    fn rest(&mut self) {
        self.now += std::time::Duration::from_secs(1_000_000);
        for _ in 0..100 {
            for side in [Side::Elder, Side::Younger] {
                self.step(Step::Look(side));
                self.step(Step::Read(side));
            }
        }
    }
}

impl Message {
    fn says(&self) -> bool {
        let (Message::Slots(count) | Message::Asks(count)) = self;
        *count > 0
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn both_together_stay_within_the_limit(
        elder in 1u32..6,
        younger in 1u32..6,
        busy in 0usize..12,
        steps in steps(),
    ) {
        let mut handover = Handover::begin([elder, younger], busy);
        steps.into_iter().for_each(|step| handover.step(step));
        handover.rest();
        // Nobody waits for a slot that nobody uses.
        let least = elder.min(younger);
        let uses = handover.elder.uses() + handover.younger.uses();
        for process in [&handover.elder, &handover.younger] {
            let waits = process.alive && !process.waiting.is_empty();
            assert!(!waits || uses >= least, "{uses} of {least}");
        }
        // Alone again, all is as before.
        if handover.elder.alive {
            handover.step(Step::Dies(Side::Elder));
            handover.rest();
        }
        if handover.younger.alive {
            assert_eq!(handover.younger.pool.lent(), 0);
        }
    }
}

#[test]
fn what_the_elder_does_not_need_goes_to_the_younger_and_comes_back() {
    let mut handover = Handover::begin([2, 2], 1);
    handover.younger.join(handover.now);
    assert_eq!(handover.younger.pool.in_use(), 0, "nobody before the first token");
    handover.rest();
    assert_eq!((handover.elder.pool.in_use(), handover.younger.pool.in_use()), (1, 1));
    handover.elder.end(0, handover.now);
    handover.rest();
    assert_eq!((handover.elder.pool.lent(), handover.younger.pool.lent()), (2, 0));
    // A late one of the elder's, as on a connection that was open, goes before the younger's.
    (0..3).for_each(|_| handover.younger.join(handover.now));
    handover.elder.join(handover.now);
    handover.rest();
    assert_eq!((handover.elder.pool.in_use(), handover.younger.pool.in_use()), (0, 2));
    handover.younger.end(0, handover.now);
    handover.rest();
    assert_eq!((handover.elder.pool.in_use(), handover.younger.pool.in_use()), (1, 1));
    assert_eq!(handover.younger.waiting.len(), 2);
}

#[test]
fn a_process_between_two_others_keeps_their_parts_apart() {
    let now = Instant::now();
    let mut middle = Process::new(3, now);
    let mut to_first = Younger::begins(&mut middle.pool, now);
    to_first.learns(&mut middle.pool, 3);
    to_first.receives(&mut middle.pool, 2);
    let mut to_last = Elder::default();
    assert_eq!(to_last.spares(&mut middle.pool, now), 2);
    // The first one asks for what the last one has.
    to_first.owes(&mut middle.pool, 1);
    assert_eq!(to_first.pays(&middle.pool), 0);
    assert_eq!(to_last.misses(&middle.pool), 1);
    assert_eq!(to_last.misses(&middle.pool), 0, "it has asked");
    to_last.receives(&mut middle.pool, 1);
    assert_eq!(to_first.pays(&middle.pool), 1);
    to_first.ends(&mut middle.pool);
    assert_eq!(middle.pool.lent(), 1, "the last one's");
    to_last.ends(&mut middle.pool);
    assert_eq!(middle.pool.lent(), 0);
}
