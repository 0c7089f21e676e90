//! Decides who may call a vendor account next, and who waits for how long.
//!
//! One [`Pool`] for each account: everything that calls it shares its slots, its rates, a bounded
//! queue, and its pauses. It never sleeps, locks or looks at a clock: the shell says what time it
//! is, calls [`Pool::admit`] whenever something ended or [`Pool::wake_at`] has come, and wakes
//! whom it names. Refuses with `vendor-paused`, `vendor-queue-full`, `vendor-queue-timeout`. Gives
//! [`Held`], which has to come back in [`Pool::release`].

mod admitting;
mod budget;
mod ceiling;
mod drain;
mod fair;
pub mod lending;
pub mod parts;
mod pause;
mod queue;
mod spacing;
#[cfg(test)]
mod tests;

use crate::model::limits::{Priority, RateLimit};
use crate::model::rates::Rate;
pub use crate::profile::wait::Backoff;
use budget::Budgets;
use ceiling::Ceiling;
use drain::{Drain, told};
use pause::Pause;
use queue::{CLASSES, Queue};
use spacing::Spacing;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time since the pool began.
type Moment = Duration;

/// After a refusal for concurrency others wait so long, or until a slot ends.
const BREATH: Duration = Duration::from_secs(1);

/// What is told of a pause whose end nobody knows.
const UNKNOWN_END: Duration = Duration::from_secs(60);

/// No pause of a vendor lasts longer; what can be said of its end stays a time.
const PAUSE_MAX: Duration = Duration::from_secs(366 * 86_400);

/// What bounds an account.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Requests at a time.
    pub concurrency: Option<NonZeroU32>,
    /// Rates; all of them have to pass.
    pub rates: Vec<RateLimit>,
    /// How many may wait.
    pub waiting_max: usize,
    /// How long one may wait.
    pub wait_max: Duration,
    /// The limit finds itself, between this floor and `concurrency`.
    pub adaptive: Option<NonZeroU32>,
    /// Part of the slots that only high may use, from 0 to 1.
    pub reserve_high: f64,
}

/// Who asks for a slot.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The client, whose requests stay in order.
    pub client: Arc<str>,
    /// Its weight beside other clients of its class.
    pub share: u32,
    /// Its class.
    pub priority: Priority,
    /// Whether the request writes.
    pub writes: bool,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Turn(u64);

/// Evidence: a slot of the account is held. It comes back in [`Pool::release`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a slot that is not released is lost"]
pub struct Held {
    priority: Priority,
    since: Moment,
}

/// What became of the wish for a slot.
#[derive(Debug)]
pub enum Joined {
    /// It is held.
    Admitted(Held),
    /// It has to be waited for; [`Pool::admit`] will name the turn.
    Waits(Turn),
    /// The same, in the place of another one in a full queue, who waits no longer.
    Displaces {
        /// The newcomer's.
        turn: Turn,
        /// The one who has to be told.
        displaced: Turn,
    },
}

/// Why nobody may wait, with the time after which it is worth trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// As many wait as may.
    QueueFull(Duration),
    /// The account is paused for longer than this request may wait.
    Paused(Duration),
    /// It is certain that no slot comes in time.
    WaitTooLong(Duration),
}

/// How a slot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The vendor answered, whatever it said, and did not throttle.
    Success,
    /// The vendor refused it as too much; [`Pool::throttled`] was told before.
    Throttled,
    /// No answer in time.
    TimedOut,
    /// No answer for another reason.
    Failed,
    /// Nothing was sent.
    Unused,
}

/// What a throttle was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttle {
    /// Too many in a time.
    Rate,
    /// Too many at a time.
    Concurrency,
    /// The quota is used up.
    Quota,
    /// Too many sessions, or this one is busy.
    Session,
}

/// Why a vendor's account is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Too many in a time.
    Rate,
    /// The quota is used up.
    Quota,
    /// Too many sessions, or this one is busy.
    Session,
}

/// An operator's pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What waits.
    pub scope: Scope,
    /// When it ends by itself.
    pub until: Option<Instant>,
    /// What the operator wrote.
    pub why: String,
}

/// What an operator's pause is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// Writes; reads go on.
    Writes,
}

impl Scope {
    /// As operators write it.
    pub fn word(self) -> &'static str {
        match self {
            Scope::All => "all",
            Scope::Writes => "writes",
        }
    }

    /// What an operator has written.
    pub fn parse(typed: &str) -> Option<Scope> {
        [Scope::All, Scope::Writes].into_iter().find(|scope| scope.word() == typed)
    }
}

impl Why {
    /// The word for it in the admin's answers.
    pub fn word(self) -> &'static str {
        match self {
            Why::Rate => "rate",
            Why::Quota => "quota",
            Why::Session => "session",
        }
    }
}

/// A vendor account and all that call it.
#[derive(Debug)]
pub struct Pool {
    policy: Policy,
    begun: Instant,
    /// The latest time it was told; it does not go back.
    now: Moment,
    queue: Queue,
    ceiling: Ceiling,
    spacing: Spacing,
    budgets: Budgets,
    pause: Pause,
    hold: Option<Hold>,
    drain: Drain,
    /// Slots held, and those of them that are held by high.
    in_use: u32,
    in_use_high: u32,
    /// Slots in use by another process.
    lent: u32,
    /// Most slots in use since the last pause.
    peak: u32,
    /// The end of a [`BREATH`].
    breath: Moment,
}

impl Pool {
    /// A pool that nobody uses yet.
    pub fn new(policy: Policy, now: Instant) -> Pool {
        let concurrency = policy.concurrency.map(NonZeroU32::get);
        Pool {
            begun: now,
            now: Moment::ZERO,
            queue: Queue::default(),
            ceiling: Ceiling::new(concurrency, policy.adaptive.map(NonZeroU32::get)),
            spacing: Spacing::new(&policy.rates),
            budgets: Budgets::default(),
            pause: Pause::default(),
            hold: None,
            drain: Drain::default(),
            in_use: 0,
            in_use_high: 0,
            lent: 0,
            peak: 0,
            breath: Moment::ZERO,
            policy,
        }
    }

    /// Other bounds after a reload. What is held, waits or is paused stays so, and what was spent
    /// of a rate that stays is spent.
    pub fn set_policy(&mut self, policy: Policy, now: Instant) {
        self.tick(now);
        let concurrency = policy.concurrency.map(NonZeroU32::get);
        self.ceiling.set(concurrency, policy.adaptive.map(NonZeroU32::get));
        self.spacing.set(&policy.rates);
        self.policy = policy;
    }

    /// Pauses until a time at least; an earlier pause of the vendor is never shortened.
    pub fn pause(&mut self, until: Instant, why: Why, now: Instant) {
        let now = self.tick(now);
        self.extend_pause(self.moment(until), why, now);
    }

    /// An operator pauses, changes a pause, or ends it (`None`).
    pub fn hold(&mut self, hold: Option<Hold>, now: Instant) {
        self.tick(now);
        self.hold = hold;
        self.drain.interrupt();
    }

    /// Does what a throttle asks for, and tells how long that is. The slot of the attempt is still
    /// held and is released after it. `entropy` is from 0 to 1.
    pub fn throttled(
        &mut self,
        held: &Held,
        class: Throttle,
        hint: Option<Duration>,
        backoff: Backoff,
        entropy: f64,
        now: Instant,
    ) -> Duration {
        let now = self.tick(now);
        self.ceiling.throttled(held.since, now);
        let why = match class {
            Throttle::Rate => Why::Rate,
            Throttle::Quota => Why::Quota,
            Throttle::Session => Why::Session,
            Throttle::Concurrency => {
                self.ceiling.sink(self.in_use, now);
                self.breath = now.saturating_add(BREATH);
                return BREATH;
            }
        };
        let wait = self.pause.wait(hint, backoff, entropy, held.since, now);
        self.extend_pause(now.saturating_add(wait), why, now);
        wait
    }

    /// What the vendor says of one of its budgets: with no more than `reserve` (0 to 1) of the
    /// `limit` left, normal and low wait until it has refilled above that; high goes on until it is
    /// empty.
    pub fn pace(
        &mut self,
        budget: &str,
        remaining: u64,
        limit: u64,
        restore: Option<Rate>,
        reserve: f64,
        now: Instant,
    ) {
        let now = self.tick(now);
        self.budgets.read(budget, remaining, limit, restore, reserve, now);
    }

    /// How long a newcomer of a class will wait, as far as anybody can tell: 1 second to 1 hour.
    pub fn estimate(&self, priority: Priority, now: Instant) -> Duration {
        self.estimate_at(priority, self.at(now))
    }

    fn estimate_at(&self, priority: Priority, now: Moment) -> Duration {
        let held = match &self.hold {
            Some(Hold { scope: Scope::All, until, .. }) => {
                until.map_or(now.saturating_add(UNKNOWN_END), |until| self.moment(until))
            }
            _ => now,
        };
        let gates =
            [self.pause.until(), self.spacing.opens(now), self.budgets.opens(priority, now)];
        let opens = gates.into_iter().fold(held, Moment::max);
        let before = CLASSES.into_iter().filter(|class| *class >= priority);
        let ahead = before.map(|class| self.queue.len_of(class)).sum();
        told(opens.saturating_sub(now).saturating_add(self.drain.wait(ahead, now)))
    }

    /// Gives one slot away to another process, if one is free.
    pub fn give(&mut self) -> bool {
        let used = self.in_use.saturating_add(self.lent);
        let gives = self.limit().is_some_and(|limit| used < limit);
        self.lent = self.lent.saturating_add(u32::from(gives));
        gives
    }

    /// Slots have come back from another process.
    pub fn take(&mut self, slots: u32) {
        self.lent = self.lent.saturating_sub(slots);
    }

    /// So many slots are in use by another process.
    pub fn set_lent(&mut self, slots: u32) {
        self.lent = slots;
    }

    /// Slots in use by another process.
    pub fn lent(&self) -> u32 {
        self.lent
    }

    /// How long one may wait.
    pub fn wait_max(&self) -> Duration {
        self.policy.wait_max
    }

    /// The concurrency limit at present; `None`: no limit.
    pub fn limit(&self) -> Option<u32> {
        self.ceiling.limit(self.now)
    }

    /// Slots held.
    pub fn in_use(&self) -> u32 {
        self.in_use
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// How many of each client wait; one that waits in two classes is named twice.
    pub fn waiting_by_client(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.queue.by_client()
    }

    /// Until when and why the vendor wants a pause.
    pub fn paused_until(&self, now: Instant) -> Option<(Instant, Why)> {
        let why = self.pause.why(self.at(now))?;
        Some((self.begun.checked_add(self.pause.until())?, why))
    }

    /// The operator's pause.
    pub fn on_hold(&self, now: Instant) -> Option<&Hold> {
        let now = self.at(now);
        let lasts = |until: Instant| self.moment(until) > now;
        self.hold.as_ref().filter(|hold| hold.until.is_none_or(lasts))
    }

    /// How many may be under way at a time while traffic comes back after a pause.
    pub fn ramp(&self) -> Option<u32> {
        self.pause.allowed()
    }

    fn extend_pause(&mut self, until: Moment, why: Why, now: Moment) {
        let until = until.min(now.saturating_add(PAUSE_MAX));
        if self.pause.extend(until, why, self.peak, now) {
            self.peak = 0;
            self.drain.interrupt();
        }
    }

    /// Time goes on, or stands still where a clock went back; ends what has ended.
    fn tick(&mut self, now: Instant) -> Moment {
        self.now = self.at(now);
        let over = |until| self.moment(until) <= self.now;
        if self.hold.as_ref().and_then(|hold| hold.until).is_some_and(over) {
            self.hold = None;
        }
        self.now
    }

    fn at(&self, now: Instant) -> Moment {
        self.moment(now).max(self.now)
    }

    fn moment(&self, instant: Instant) -> Moment {
        instant.saturating_duration_since(self.begun)
    }
}
