//! What holds after every step of any schedule: of joining, ending, leaving, pausing, reloading.

use super::{BACKOFF, Bench, FAR, policy, rate, ticket};
use crate::model::limits::Priority;
use crate::model::rates::Rate;
use crate::stages::admission::queue::CLASSES;
use crate::stages::admission::{
    Ended, Full, Held, Hold, Joined, Policy, Scope, Throttle, Turn, Why,
};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, proptest};
use proptest::{collection, option, prop_oneof};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

/// Numbers are taken modulo what there is to choose from.
#[derive(Clone, Debug)]
enum Step {
    Join {
        client: u8,
        class: u8,
        writes: bool,
        head: bool,
    },
    End {
        which: usize,
        how: Ended,
    },
    Throttle {
        which: usize,
        class: Throttle,
        hint: Option<u16>,
        entropy: f64,
    },
    Leave {
        which: usize,
    },
    Wait {
        millis: u16,
    },
    /// Until the pool wants to be woken.
    Sleep,
    Hold(Option<(Scope, Option<u16>)>),
    Pause {
        millis: u16,
    },
    Pace {
        remaining: u8,
        restore: bool,
    },
    Give,
    Take,
    Reload(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ends = prop_oneof![
        6 => Just(Ended::Success),
        1 => Just(Ended::TimedOut),
        1 => Just(Ended::Failed),
        1 => Just(Ended::Unused),
    ];
    let throttles = prop_oneof![
        Just(Throttle::Rate),
        Just(Throttle::Concurrency),
        Just(Throttle::Quota),
        Just(Throttle::Session),
    ];
    let scopes = prop_oneof![Just(Scope::All), Just(Scope::Writes)];
    let step = prop_oneof![
        20 => (0u8..6, 0u8..3, any::<bool>(), proptest::bool::weighted(0.1))
            .prop_map(|(client, class, writes, head)| Step::Join { client, class, writes, head }),
        12 => (any::<usize>(), ends).prop_map(|(which, how)| Step::End { which, how }),
        2 => (any::<usize>(), throttles, option::of(0u16..3_000), 0.0..1.0).prop_map(
            |(which, class, hint, entropy)| Step::Throttle { which, class, hint, entropy }
        ),
        3 => any::<usize>().prop_map(|which| Step::Leave { which }),
        4 => (0u16..2_000).prop_map(|millis| Step::Wait { millis }),
        3 => Just(Step::Sleep),
        1 => option::of((scopes, option::of(0u16..3_000))).prop_map(Step::Hold),
        1 => (0u16..3_000).prop_map(|millis| Step::Pause { millis }),
        1 => (0u8..40, any::<bool>())
            .prop_map(|(remaining, restore)| Step::Pace { remaining, restore }),
        1 => Just(Step::Give),
        1 => Just(Step::Take),
        1 => (0u8..7).prop_map(Step::Reload),
    ];
    collection::vec(step, 1..250)
}

/// The rates are the same in all of them, so that their law can be checked over the whole run.
fn policies(number: u8) -> Policy {
    Policy {
        rates: vec![rate("20/second", 7), rate("600/minute", 15)],
        waiting_max: 12 + usize::from(number),
        adaptive: NonZeroU32::new(u32::from(number % 3)),
        reserve_high: f64::from(number % 2) / 5.0,
        ..policy([5, 1, 0, 3, 8, 2, 0][usize::from(number)])
    }
}

/// One who waits, as the model knows it.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    turn: Turn,
    head: bool,
    writes: bool,
}

struct Model {
    bench: Bench,
    /// In the order of their turns.
    waiting: BTreeMap<(u8, usize), Vec<Waiter>>,
    held: Vec<Held>,
    admitted_at: Vec<u64>,
    policy: Policy,
}

impl Model {
    fn new() -> Model {
        let policy = policies(0);
        let bench = Bench::new(policy.clone());
        let (waiting, held, admitted_at) = (BTreeMap::new(), Vec::new(), Vec::new());
        Model { bench, waiting, held, admitted_at, policy }
    }

    fn step(&mut self, step: &Step) {
        let now = self.bench.now();
        match *step {
            Step::Join { client, class, writes, head } => self.join(client, class, writes, head),
            Step::End { which, how } => {
                if let Some(held) = self.pick(which) {
                    self.bench.release(held, how);
                }
            }
            Step::Throttle { which, class, hint, entropy } => {
                let hint = hint.map(|millis| Duration::from_millis(millis.into()));
                if let Some(held) = self.pick(which) {
                    let pool = &mut self.bench.pool;
                    let wait = pool.throttled(&held, class, hint, BACKOFF, entropy, now);
                    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(60));
                    self.bench.release(held, Ended::Throttled);
                }
            }
            Step::Leave { which } => self.leave(which),
            Step::Wait { millis } => self.bench.millis += u64::from(millis),
            Step::Sleep => self.bench.millis += self.bench.wake().unwrap_or(0),
            Step::Hold(hold) => {
                let hold = hold.map(|(scope, until)| {
                    let until = until.map(|until| now + Duration::from_millis(until.into()));
                    Hold { scope, until, why: String::new() }
                });
                self.bench.pool.hold(hold, now);
            }
            Step::Pause { millis } => {
                let before = self.bench.pool.paused_until(now);
                let until = now + Duration::from_millis(millis.into());
                self.bench.pool.pause(until, Why::Session, now);
                let after = self.bench.pool.paused_until(now);
                assert!(before.is_none_or(|before| after.is_some_and(|after| after.0 >= before.0)));
            }
            Step::Pace { remaining, restore } => {
                let restore = Rate::parse("5/second").ok().filter(|_| restore);
                self.bench.pool.pace("calls", remaining.into(), 100, restore, 0.2, now);
            }
            Step::Give => {
                let gave = self.bench.pool.give();
                assert!(!gave || self.used() <= self.bench.pool.limit().unwrap());
            }
            Step::Take => self.bench.pool.take(1),
            Step::Reload(number) => {
                self.policy = policies(number);
                self.bench.pool.set_policy(self.policy.clone(), now);
            }
        }
    }

    fn join(&mut self, client: u8, class: u8, writes: bool, head: bool) {
        let class = usize::from(class);
        let ticket = ticket(&format!("client-{client}"), CLASSES[class], writes);
        let now = self.bench.now();
        let full = self.bench.pool.waiting() >= self.policy.waiting_max;
        let estimate = self.bench.pool.estimate(ticket.priority, now).as_secs();
        assert!((1..=3_600).contains(&estimate));
        match self.bench.pool.join(&ticket, head, now + FAR, now) {
            Ok(Joined::Admitted(held)) => self.occupied(held, class, writes),
            Ok(Joined::Waits(turn)) => {
                assert!(!full || head);
                let queue = self.waiting.entry((client, class)).or_default();
                let heads = queue.iter().filter(|waiter| waiter.head).count();
                let at = if head { heads } else { queue.len() };
                queue.insert(at, Waiter { turn, head, writes });
            }
            Ok(Joined::Displaces { turn, displaced }) => {
                assert!(full && !head);
                // The last of a lower class, or of a client with more of the same one.
                let lost = self.waiting.iter_mut().find_map(|((_, from), queue)| {
                    let last = queue.last().filter(|waiter| waiter.turn == displaced)?;
                    assert!(!last.head && *from >= class);
                    queue.pop()
                });
                assert!(lost.is_some());
                let queue = self.waiting.entry((client, class)).or_default();
                queue.push(Waiter { turn, head, writes });
            }
            Err(Full::QueueFull(_)) => assert!(full && !head),
            Err(Full::Paused(_)) => {
                let hold = self.bench.pool.on_hold(now).unwrap();
                assert!(hold.until.is_none() && (writes || hold.scope == Scope::All));
            }
            Err(Full::WaitTooLong(_)) => panic!("there is time enough"),
        }
    }

    fn leave(&mut self, which: usize) {
        let waiters = self.waiting.values().map(Vec::len).sum::<usize>();
        let Some(mut index) = which.checked_rem(waiters) else { return };
        let now = self.bench.now();
        for queue in self.waiting.values_mut() {
            if index < queue.len() {
                let waiter = queue.remove(index);
                assert!(self.bench.pool.leave(waiter.turn, now));
                assert!(!self.bench.pool.leave(waiter.turn, now));
                return;
            }
            index -= queue.len();
        }
    }

    fn pick(&mut self, which: usize) -> Option<Held> {
        let which = which.checked_rem(self.held.len())?;
        Some(self.held.remove(which))
    }

    /// What the shell does after each step.
    fn admit(&mut self) {
        let reads_only = self.scope() == Some(Scope::Writes);
        for (turn, held) in self.bench.admit() {
            let waits = |waiters: &Vec<Waiter>| waiters.iter().any(|waiter| waiter.turn == turn);
            let (key, queue) = self.waiting.iter_mut().find(|(_, queue)| waits(queue)).unwrap();
            let first = queue.iter().position(|waiter| !(waiter.writes && reads_only)).unwrap();
            let waiter = queue.remove(first);
            assert_eq!(waiter.turn, turn, "first come, first served, within a client");
            let class = key.1;
            self.occupied(held, class, waiter.writes);
        }
        assert_eq!(self.bench.pool.in_use() as usize, self.held.len());
        let waiters: usize = self.waiting.values().map(Vec::len).sum();
        let told: usize = self.bench.pool.waiting_by_client().map(|(_, count)| count).sum();
        assert_eq!((self.bench.pool.waiting(), told), (waiters, waiters));
        assert_ne!(self.bench.wake(), Some(0), "whoever could go has gone");
    }

    fn occupied(&mut self, held: Held, class: usize, writes: bool) {
        let now = self.bench.now();
        self.held.push(held);
        self.admitted_at.push(self.bench.millis);
        assert!(self.bench.pool.paused_until(now).is_none());
        assert!(match self.scope() {
            Some(Scope::All) => false,
            Some(Scope::Writes) => !writes,
            None => true,
        });
        if let Some(limit) = self.bench.pool.limit() {
            assert!(self.used() <= limit);
            let others = self.held.iter().filter(|held| held.priority != Priority::High).count();
            let reserved = self.policy.reserve_high > 0.0 && limit > 1;
            assert!(class == 0 || !reserved || others < limit as usize);
        }
    }

    fn used(&self) -> u32 {
        self.held.len() as u32 + self.bench.pool.lent()
    }

    fn scope(&self) -> Option<Scope> {
        self.bench.pool.on_hold(self.bench.now()).map(|hold| hold.scope)
    }

    /// Everybody leaves in the end, if only the slots come back and the shell wakes in time.
    fn finish(&mut self) {
        let now = self.bench.now();
        self.bench.pool.hold(None, now);
        self.bench.pool.set_lent(0);
        for _ in 0..200 {
            self.admit();
            match self.pick(0) {
                Some(held) => self.bench.release(held, Ended::Failed),
                None if self.bench.pool.waiting() == 0 => break,
                None => self.bench.millis += self.bench.wake().unwrap(),
            }
        }
        let pool = &self.bench.pool;
        assert_eq!((pool.waiting(), pool.in_use(), pool.queue.known()), (0, 0, 0));
        self.check_rates();
    }

    fn check_rates(&self) {
        for (first, from) in self.admitted_at.iter().enumerate() {
            for (last, to) in self.admitted_at.iter().enumerate().skip(first) {
                let (count, seconds) = ((last - first + 1) as f64, (to - from) as f64 / 1e3);
                assert!(count <= 7.0 + 20.0 * seconds + 1e-6);
                assert!(count <= 15.0 + 10.0 * seconds + 1e-6);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_schedule_keeps_the_laws(steps in steps()) {
        let mut model = Model::new();
        for step in &steps {
            model.step(step);
            model.admit();
        }
        model.finish();
    }

    /// With slots alone between a request and its turn, no slot that somebody may use is idle.
    #[test]
    fn no_slot_is_idle_while_somebody_waits(
        limit in 1u32..8,
        reserve in 0.0..1.0,
        steps in collection::vec((0u8..3, 0usize..3, any::<usize>()), 1..400),
    ) {
        let mut bench = Bench::new(Policy { reserve_high: reserve, ..policy(limit) });
        let mut held: Vec<Held> = Vec::new();
        let reserved = match limit {
            1 => 0,
            _ => ((f64::from(limit) * reserve) as u32).clamp(u32::from(reserve > 0.0), limit - 1),
        };
        for (what, class, which) in steps {
            let ticket = ticket(&format!("client-{}", which % 4), CLASSES[class], which % 2 == 0);
            match (what, which.checked_rem(held.len())) {
                (0, Some(which)) => bench.release(held.swap_remove(which), Ended::Success),
                _ => match bench.join(&ticket) {
                    Ok(Joined::Admitted(slot)) => held.push(slot),
                    joined => assert!(matches!(joined, Ok(Joined::Waits(_)))),
                },
            }
            held.extend(bench.admit().into_iter().map(|(_, held)| held));
            let waits = |class| bench.pool.queue.has(class, false);
            let high = held.iter().filter(|held| held.priority == Priority::High).count() as u32;
            let used = held.len() as u32;
            if waits(Priority::High) {
                assert_eq!(used, limit);
            }
            if waits(Priority::Normal) || waits(Priority::Low) {
                assert!(used == limit || used - high == limit - reserved, "{used} {high}");
            }
            assert!(used - high <= limit - reserved);
        }
    }
}
