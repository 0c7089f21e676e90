//! A day at a vendor account, event by event: fairness, use and waits under load, replayable.

use super::{BACKOFF, Bench, FAR, policy, rate};
use crate::model::limits::Priority;
use crate::stages::admission::{Ended, Held, Hold, Joined, Policy, Scope, Throttle, Ticket, Turn};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

/// SplitMix64 (Steele, Lea and Flood 2014): small, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }

    fn unit(&mut self) -> f64 {
        self.roll(1 << 53) as f64 / (1u64 << 53) as f64
    }
}

/// What a client does: `count` requests, the first at `from`, one each `every` milliseconds.
#[derive(Clone)]
struct Load {
    ticket: Ticket,
    from: u64,
    every: u64,
    count: u64,
}

fn load(number: usize, share: u32, priority: Priority, every: u64, count: u64) -> Load {
    let client = format!("client-{number}").into();
    Load { ticket: Ticket { client, share, priority, writes: false }, from: 0, every, count }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival { client: usize, number: u64 },
    End { slot: u64 },
    Wake,
}

/// Client, number of its request, when it asked, when it was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    client: usize,
    number: u64,
    asked: u64,
    admitted: u64,
}

struct Simulation {
    bench: Bench,
    dice: Dice,
    loads: Vec<Load>,
    events: BTreeSet<(u64, Event)>,
    waiting: BTreeMap<Turn, (usize, u64, u64)>,
    /// How many of each client wait.
    backlog: Vec<u64>,
    held: BTreeMap<u64, (Held, usize, u64)>,
    log: Vec<Line>,
    /// Of a hundred attempts, how many the vendor throttles.
    throttled: u64,
    /// Slot-milliseconds used and usable while anybody waited.
    used: u64,
    usable: u64,
}

impl Simulation {
    fn new(seed: u64, policy: Policy, loads: Vec<Load>) -> Simulation {
        let mut events = BTreeSet::new();
        for (client, load) in loads.iter().enumerate() {
            events.insert((load.from, Event::Arrival { client, number: 0 }));
        }
        let backlog = vec![0; loads.len()];
        let (bench, dice) = (Bench::new(policy), Dice(seed));
        let (waiting, held, log) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let (throttled, used, usable) = (0, 0, 0);
        Simulation {
            bench,
            dice,
            loads,
            events,
            waiting,
            backlog,
            held,
            log,
            throttled,
            used,
            usable,
        }
    }

    fn run(mut self) -> Simulation {
        while let Some((at, event)) = self.events.pop_first() {
            self.pass(at);
            match event {
                Event::Arrival { client, number } => {
                    self.ask(client, number, false);
                    let load = &self.loads[client];
                    let (next, number) = (at + load.every, number + 1);
                    if number < load.count {
                        self.events.insert((next, Event::Arrival { client, number }));
                    }
                }
                Event::End { slot } => self.end(slot),
                Event::Wake => {}
            }
            for (turn, held) in self.bench.admit() {
                let (client, number, asked) = self.waiting.remove(&turn).unwrap();
                self.backlog[client] -= 1;
                self.serve(held, client, number, asked);
            }
            if let Some(wait) = self.bench.wake() {
                assert!(wait > 0);
                self.events.insert((at + wait, Event::Wake));
            }
        }
        assert_eq!((self.bench.pool.in_use(), self.bench.pool.waiting()), (0, 0));
        assert_eq!(self.bench.pool.queue.known(), 0);
        self
    }

    fn pass(&mut self, at: u64) {
        let pool = &self.bench.pool;
        if pool.waiting() > 0 {
            let millis = at - self.bench.millis;
            self.used += millis * u64::from(pool.in_use());
            self.usable += millis * u64::from(pool.limit().unwrap());
        }
        self.bench.millis = at;
    }

    fn ask(&mut self, client: usize, number: u64, head: bool) {
        let now = self.bench.now();
        let ticket = &self.loads[client].ticket;
        let asked = self.bench.millis;
        match self.bench.pool.join(ticket, head, now + FAR, now) {
            Ok(Joined::Admitted(held)) => self.serve(held, client, number, asked),
            Ok(Joined::Waits(turn)) => {
                self.waiting.insert(turn, (client, number, asked));
                self.backlog[client] += 1;
            }
            other => panic!("{other:?}"),
        }
    }

    /// Service times between 20 and 220 ms, one in ten ten times as long.
    fn serve(&mut self, held: Held, client: usize, number: u64, asked: u64) {
        let admitted = self.bench.millis;
        self.log.push(Line { client, number, asked, admitted });
        let slot = self.log.len() as u64;
        let millis = 20 + self.dice.roll(200);
        let millis = if self.dice.roll(10) == 0 { millis * 10 } else { millis };
        self.held.insert(slot, (held, client, number));
        self.events.insert((admitted + millis, Event::End { slot }));
    }

    fn end(&mut self, slot: u64) {
        let (held, client, number) = self.held.remove(&slot).unwrap();
        if self.dice.roll(100) >= self.throttled {
            return self.bench.release(held, Ended::Success);
        }
        let class = [Throttle::Rate, Throttle::Concurrency, Throttle::Session];
        let class = class[self.dice.roll(3) as usize];
        let (entropy, now) = (self.dice.unit(), self.bench.now());
        self.bench.pool.throttled(&held, class, None, BACKOFF, entropy, now);
        self.bench.release(held, Ended::Throttled);
        self.ask(client, number, true);
    }

    fn utilization(&self) -> f64 {
        self.used as f64 / self.usable as f64
    }

    /// Waits of one class, in order.
    fn waits(&self, priority: Priority) -> Vec<u64> {
        let of_class = |line: &&Line| self.loads[line.client].ticket.priority == priority;
        let lines = self.log.iter().filter(of_class);
        let mut waits: Vec<u64> = lines.map(|line| line.admitted - line.asked).collect();
        waits.sort_unstable();
        waits
    }

    /// Of admissions by share, up to the last admission of whoever is through first.
    fn jain(&self) -> f64 {
        let last = |line: &Line| line.number + 1 == self.loads[line.client].count;
        let end = self.log.iter().position(last).unwrap();
        let mut served = vec![0.0; self.loads.len()];
        for line in &self.log[..end] {
            served[line.client] += 1.0 / f64::from(self.loads[line.client].ticket.share);
        }
        let (sum, squares) = served.iter().fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
        sum * sum / (served.len() as f64 * squares)
    }

    fn assert_first_come_first_served(&self) {
        let mut next = vec![0; self.loads.len()];
        for line in &self.log {
            assert_eq!(line.number, next[line.client], "client {}", line.client);
            next[line.client] += 1;
        }
        assert!(self.loads.iter().zip(next).all(|(load, served)| load.count == served));
    }
}

#[test]
fn twelve_clients_share_five_slots_fairly() {
    for seed in 0..4 {
        for shares in [[1, 1, 1], [1, 2, 4]] {
            // One floods the queue before the others come: it gains nothing by it.
            let loads = (0..12).map(|number| Load {
                from: u64::from(number > 0),
                ..load(number, shares[number % 3], Priority::Normal, 0, 500)
            });
            let simulation = Simulation::new(seed, policy(5), loads.collect()).run();
            let (utilization, jain) = (simulation.utilization(), simulation.jain());
            let figures = format!("seed {seed} {shares:?}: used {utilization:.4}, Jain {jain:.5}");
            assert!(utilization >= 0.95 && jain >= 0.98, "{figures}");
            simulation.assert_first_come_first_served();
        }
    }
}

#[test]
fn high_hardly_waits_under_a_mixed_load() {
    for seed in 0..4 {
        // High asks for a third of what the account can do, normal and low for far too much.
        let loads = (0..12).map(|number| {
            let (priority, every) = match number % 3 {
                0 => (Priority::High, 500),
                1 => (Priority::Normal, 180),
                _ => (Priority::Low, 180),
            };
            load(number, 1, priority, every + number as u64, 500)
        });
        let reserve = Policy { reserve_high: 0.1, ..policy(5) };
        let simulation = Simulation::new(seed, reserve, loads.collect()).run();
        let high = simulation.waits(Priority::High);
        let normal = simulation.waits(Priority::Normal);
        let (p99, p50) = (high[high.len() * 99 / 100], normal[normal.len() / 2]);
        assert!(p99 < p50, "seed {seed}: high p99 {p99} ms, normal p50 {p50} ms");
        simulation.assert_first_come_first_served();
    }
}

#[test]
fn the_same_seed_replays_exactly() {
    let run = |seed| {
        let policy = Policy {
            rates: vec![rate("20/second", 10)],
            adaptive: NonZeroU32::new(2).filter(|_| seed % 2 == 0),
            reserve_high: 0.2,
            ..policy(5)
        };
        let classes = [Priority::High, Priority::Normal, Priority::Low];
        let loads = (0..12).map(|number| load(number, 1, classes[number % 3], 50, 100));
        let mut simulation = Simulation::new(seed, policy, loads.collect());
        simulation.throttled = 5;
        let hold = Hold {
            scope: Scope::All,
            until: simulation.bench.at(3_000).into(),
            why: String::new(),
        };
        let start = simulation.bench.start;
        simulation.bench.pool.hold(Some(hold), start);
        simulation.run().log
    };
    for seed in 0..4 {
        let log = run(seed);
        assert!(log.len() > 1_200, "throttled ones came back");
        assert_eq!(log, run(seed));
        assert_ne!(log, run(seed + 100));
    }
}
