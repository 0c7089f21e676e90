//! The pool as the shell uses it, under a clock that the tests turn by hand.

mod doors;
mod laws;
mod lending;
mod simulation;

use super::{Backoff, Ended, Full, Held, Joined, Policy, Pool, Ticket, Turn};
use crate::model::limits::{Priority, RateLimit};
use crate::model::rates::Rate;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

const BACKOFF: Backoff = Backoff { base: Duration::from_secs(2), max: Duration::from_secs(60) };

const FAR: Duration = Duration::from_secs(1_000_000);

fn policy(concurrency: u32) -> Policy {
    Policy {
        concurrency: NonZeroU32::new(concurrency),
        rates: Vec::new(),
        waiting_max: 100_000,
        wait_max: FAR,
        adaptive: None,
        reserve_high: 0.0,
    }
}

fn rate(text: &str, burst: u32) -> RateLimit {
    RateLimit { rate: Rate::parse(text).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
}

fn ticket(client: &str, priority: Priority, writes: bool) -> Ticket {
    Ticket { client: client.into(), share: 1, priority, writes }
}

fn normal(client: &str) -> Ticket {
    ticket(client, Priority::Normal, false)
}

/// When a test begins.
pub(super) fn begin() -> Instant {
    Instant::now()
}

/// A pool and its clock, in milliseconds.
struct Bench {
    pool: Pool,
    start: Instant,
    millis: u64,
}

impl Bench {
    fn new(policy: Policy) -> Bench {
        let start = begin();
        Bench { pool: Pool::new(policy, start), start, millis: 0 }
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    fn now(&self) -> Instant {
        self.at(self.millis)
    }

    fn join(&mut self, ticket: &Ticket) -> Result<Joined, Full> {
        let now = self.now();
        self.pool.join(ticket, false, now + FAR, now)
    }

    /// Asks, and is admitted at once.
    fn enter(&mut self, ticket: &Ticket) -> Held {
        match self.join(ticket) {
            Ok(Joined::Admitted(held)) => held,
            other => panic!("{other:?} at {}", self.millis),
        }
    }

    /// Asks, and has to wait.
    fn wait(&mut self, ticket: &Ticket) -> Turn {
        match self.join(ticket) {
            Ok(Joined::Waits(turn)) => turn,
            other => panic!("{other:?} at {}", self.millis),
        }
    }

    fn release(&mut self, held: Held, ended: Ended) {
        let now = self.now();
        self.pool.release(held, ended, now);
    }

    fn admit(&mut self) -> Vec<(Turn, Held)> {
        let mut admitted = Vec::new();
        let now = self.now();
        self.pool.admit(now, &mut admitted);
        admitted
    }

    /// In how many milliseconds it has to be woken.
    fn wake(&self) -> Option<u64> {
        let wait = self.pool.wake_at(self.now())?.saturating_duration_since(self.now());
        u64::try_from(wait.as_nanos().div_ceil(1_000_000)).ok()
    }
}
