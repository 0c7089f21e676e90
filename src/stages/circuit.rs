//! Decides whether a vendor is asked at all: not while it fails, and then by one probe at a time.
//!
//! Closed, everything passes, and successes and failures are counted: over a sliding window, and
//! failures in a row. Too many open the circuit. Open, nothing passes until its time is over; each
//! opening in a row takes twice as long. Then it is half-open: one probe after the other finds out
//! whether the vendor is back.
//!
//! Never sends, waits or looks at an answer: what an answer says of the vendor's health is said by
//! `outcome`. A refusal here is `vendor-circuit-open`. Gives a [`Pass`], to be judged or handed
//! back; a pass from before a change of state is worth nothing after it.

mod window;

use std::time::{Duration, Instant};
use window::Window;

/// What a shut circuit tells those who might pass in a moment, because a probe runs or is due.
/// It is the pause of the configured probe as well, after a try that said nothing: a probe that
/// is throttled, or finds no slot, must not become a busy loop.
const MOMENT: Duration = Duration::from_secs(1);

/// How much longer than its time a circuit may stay open, so that the circuits of many gateways
/// and routes do not probe in step. Upward only: the configured time is a promise to the vendor.
const JITTER_MAX: f64 = 0.1;

/// When a circuit opens, for how long, and what closes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The stretch of time over which failures are counted, to the millisecond.
    pub window: Duration,
    /// As many events the window has to hold before their ratio means anything.
    pub requests_min: u32,
    /// The share of failures in the window that opens the circuit; more than 0.
    pub failure_ratio: f64,
    /// The number of failures in a row that opens the circuit, however long they took; at least 1.
    pub consecutive_failures: u32,
    /// How long the first opening in a row lasts.
    pub open: Duration,
    /// How long any opening lasts at most, but for the jitter.
    pub open_max: Duration,
    /// The number of successful probes in a row that closes the circuit.
    pub probes: u32,
    /// Whether a request of our own is configured as the probe: requests of clients never are,
    /// then.
    pub probed_by_request: bool,
}

/// The right to one attempt. What became of it is judged, or the pass is handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a probe that is neither judged nor handed back keeps the circuit half-open"]
pub struct Pass {
    generation: u64,
    probe: bool,
    /// Whether it is the first probe since the circuit was open.
    first: bool,
}

/// What an attempt says of the vendor's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The vendor works.
    Success,
    /// The vendor does not work.
    Failure,
    /// Nothing: throttles, mistakes of the client, a client that left, refusals of our own.
    Neutral,
}

/// What a circuit lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything.
    Closed,
    /// Nothing, until a known time.
    Open,
    /// One probe at a time.
    HalfOpen,
}

/// The memory of one circuit. It outlives a change of its [`Policy`].
#[derive(Debug, Default)]
pub struct Circuit {
    phase: Phase,
    /// Grows with each change of state and each probe that ended. Passes of earlier generations
    /// count no more: late results, and results of a probe that was handed back.
    generation: u64,
    /// How many times it has opened in a row, without one quiet window between.
    openings: u32,
    window: Window,
    /// Failures since the last success.
    failures_in_row: u32,
    /// The first instant seen: the window counts from it.
    earliest: Option<Instant>,
    /// The latest instant seen. A clock that goes backwards stands still here.
    latest: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed {
        /// When it closed; unknown where it has never been open.
        since: Option<Instant>,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        successes: u32,
        /// When the configured probe may run; unset while a probe runs.
        due: Option<Instant>,
    },
}

impl Circuit {
    /// A closed circuit that knows nothing.
    pub fn new() -> Circuit {
        Circuit::default()
    }

    /// Lets an attempt of a client through, as a probe where the circuit is half-open.
    ///
    /// A write is never a probe: if the vendor is not back, what became of it might stay unknown.
    ///
    /// # Errors
    /// How long to wait: what is left of the open time, else a moment.
    pub fn pass(&mut self, policy: &Policy, reads: bool, now: Instant) -> Result<Pass, Duration> {
        let now = self.catch_up(now);
        if let Phase::Closed { .. } = self.phase {
            return Ok(Pass { generation: self.generation, probe: false, first: false });
        }
        if let Some(left) = self.phase.left(now) {
            return Err(left);
        }
        let may_probe = reads && !policy.probed_by_request;
        may_probe.then(|| self.start_probe()).flatten().ok_or(MOMENT)
    }

    /// Lets the configured probe through, if one is due.
    pub fn probe(&mut self, policy: &Policy, now: Instant) -> Option<Pass> {
        let now = self.catch_up(now);
        let due = policy.probed_by_request && self.probe_at().is_some_and(|at| at <= now);
        due.then(|| self.start_probe()).flatten()
    }

    /// When the configured probe is due; `None` while the circuit is closed or a probe runs.
    pub fn probe_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Closed { .. } => None,
            Phase::Open { .. } => self.open_until(),
            Phase::HalfOpen { due, .. } => due,
        }
    }

    /// Counts what became of an attempt; gives the state the circuit moved to, if it moved.
    ///
    /// `entropy`, in [0, 1), is used where the circuit opens.
    pub fn judge(
        &mut self,
        policy: &Policy,
        pass: Pass,
        verdict: Verdict,
        entropy: f64,
        now: Instant,
    ) -> Option<State> {
        let now = self.catch_up(now);
        if pass.generation != self.generation {
            return None;
        }
        match (self.phase, verdict) {
            // Nothing is outstanding of the present generation while the circuit is open.
            (Phase::Open { .. }, _) | (Phase::Closed { .. }, Verdict::Neutral) => None,
            (Phase::Closed { .. }, _) => {
                let failed = verdict == Verdict::Failure;
                self.count(policy, failed, now).then(|| self.open(policy, entropy, now))
            }
            (Phase::HalfOpen { .. }, Verdict::Failure) => Some(self.open(policy, entropy, now)),
            (Phase::HalfOpen { successes, .. }, Verdict::Success) => {
                let successes = successes.saturating_add(1);
                if successes >= policy.probes {
                    return Some(self.close(now));
                }
                self.end_probe(successes, now);
                None
            }
            (Phase::HalfOpen { successes, .. }, Verdict::Neutral) => {
                self.end_probe(successes, later(now, MOMENT));
                None
            }
        }
    }

    /// Takes back a pass that was not used, or whose use says nothing. Nothing is judged; the
    /// next one may probe.
    pub fn drop_pass(&mut self, pass: Pass) {
        if let (Phase::HalfOpen { successes, .. }, Some(latest)) = (self.phase, self.latest)
            && pass.generation == self.generation
        {
            self.end_probe(successes, later(latest, MOMENT));
        }
    }

    /// What the circuit lets through now: half-open as soon as the open time is over, whether or
    /// not a probe has come.
    pub fn state(&self, _policy: &Policy, now: Instant) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } if self.phase.left(self.no_earlier(now)).is_some() => State::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// When the open time ends, or ended if nobody has come since.
    pub fn open_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open { until } => Some(until),
            Phase::Closed { .. } | Phase::HalfOpen { .. } => None,
        }
    }

    fn catch_up(&mut self, now: Instant) -> Instant {
        let now = self.no_earlier(now);
        self.earliest.get_or_insert(now);
        self.latest = Some(now);
        now
    }

    fn no_earlier(&self, now: Instant) -> Instant {
        self.latest.map_or(now, |latest| latest.max(now))
    }

    /// Takes the one place of a probe, if it is free. The open time is over.
    fn start_probe(&mut self) -> Option<Pass> {
        let (successes, first) = match self.phase {
            Phase::Open { .. } => (0, true),
            Phase::HalfOpen { successes, due: Some(_) } => (successes, false),
            Phase::HalfOpen { due: None, .. } | Phase::Closed { .. } => return None,
        };
        self.phase = Phase::HalfOpen { successes, due: None };
        Some(Pass { generation: self.generation, probe: true, first })
    }

    /// Frees the place of the probe.
    fn end_probe(&mut self, successes: u32, due: Instant) {
        self.enter(Phase::HalfOpen { successes, due: Some(due) });
    }

    /// Counts an event while closed; whether the circuit has to open.
    ///
    /// The ratio is looked at after successes, too: one may be what fills the window up to where
    /// the ratio means anything.
    fn count(&mut self, policy: &Policy, failed: bool, now: Instant) -> bool {
        self.failures_in_row = if failed { self.failures_in_row.saturating_add(1) } else { 0 };
        let at = now.saturating_duration_since(self.earliest.unwrap_or(now));
        let counts = self.window.record(at, policy.window, failed);
        // Divided, not multiplied: 0.3 is then exactly three of ten.
        let ratio = f64::from(counts.failures) / f64::from(counts.events);
        let too_many = counts.events >= policy.requests_min && ratio >= policy.failure_ratio;
        too_many || self.failures_in_row >= policy.consecutive_failures
    }

    fn open(&mut self, policy: &Policy, entropy: f64, now: Instant) -> State {
        if let Phase::Closed { since: Some(since) } = self.phase
            && now.saturating_duration_since(since) >= policy.window
        {
            self.openings = 0;
        }
        let length = open_for(policy, self.openings, entropy);
        self.openings = self.openings.saturating_add(1);
        self.enter(Phase::Open { until: later(now, length) });
        State::Open
    }

    fn close(&mut self, now: Instant) -> State {
        // What was seen before the opening says nothing of the vendor that came back.
        self.window.clear();
        self.failures_in_row = 0;
        self.enter(Phase::Closed { since: Some(now) });
        State::Closed
    }

    /// Begins a generation: whatever is outstanding counts no more.
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation = self.generation.wrapping_add(1);
    }
}

/// How long the circuit stays open after `before` openings in a row.
///
/// The jitter comes after the bound: at the bound it is needed most.
fn open_for(policy: &Policy, before: u32, entropy: f64) -> Duration {
    let doubled = policy.open.saturating_mul(1 << before.min(31)).min(policy.open_max);
    let jitter = doubled.as_secs_f64() * JITTER_MAX * entropy.clamp(0.0, 1.0);
    doubled.saturating_add(Duration::try_from_secs_f64(jitter).unwrap_or_default())
}

/// An instant beyond the reach of the clock is none: then at once, rather than never.
fn later(from: Instant, wait: Duration) -> Instant {
    from.checked_add(wait).unwrap_or(from)
}

impl Default for Phase {
    fn default() -> Phase {
        Phase::Closed { since: None }
    }
}

impl Phase {
    /// What is left of the open time.
    fn left(&self, now: Instant) -> Option<Duration> {
        match *self {
            Phase::Open { until } if until > now => Some(until.saturating_duration_since(now)),
            _ => None,
        }
    }
}

impl Pass {
    /// Whether the attempt is a probe.
    pub fn probes(self) -> bool {
        self.probe
    }

    /// The state that the circuit moved to when it gave the pass, if it moved: half-open, with the
    /// first probe after the open time.
    pub fn moved(self) -> Option<State> {
        self.first.then_some(State::HalfOpen)
    }
}

impl State {
    /// The word for it in metrics, logs and the admin's answers.
    pub fn word(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half-open",
        }
    }
}

#[cfg(test)]
mod tests;
