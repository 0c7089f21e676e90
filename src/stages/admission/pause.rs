//! The vendor's pause, how it grows, and how gently traffic comes back after it.

use super::{Backoff, Held, Moment, Why};
use std::time::Duration;

/// Where a ramp ends for a pool without a limit, at least and at most.
const TARGETS: std::ops::RangeInclusive<u32> = 2..=1_024;

/// What the vendor has asked for.
#[derive(Debug, Default)]
pub struct Pause {
    until: Moment,
    why: Option<Why>,
    /// Throttles in a row, those of one volley counted once.
    throttles: u32,
    throttled: Option<Moment>,
    ramp: Option<Ramp>,
}

/// Fewer at a time than the limit, since a pause has just ended.
#[derive(Debug)]
struct Ramp {
    since: Moment,
    allowed: u32,
    in_flight: u32,
    /// Where it ends, in a pool without a limit.
    target: u32,
}

impl Pause {
    /// When it ends; in the past: it has.
    pub fn until(&self) -> Moment {
        self.until
    }

    /// Why, while it lasts.
    pub fn why(&self, now: Moment) -> Option<Why> {
        self.why.filter(|_| self.until > now)
    }

    /// Pauses, or pauses longer; whether that changed anything. `peak`: how many were in use at a
    /// time before it.
    pub fn extend(&mut self, until: Moment, why: Why, peak: u32, now: Moment) -> bool {
        if until <= self.until.max(now) {
            return false;
        }
        self.until = until;
        self.why = Some(why);
        let before = self.ramp.as_ref().map_or(0, |ramp| ramp.target);
        let target = peak.max(before).clamp(*TARGETS.start(), *TARGETS.end());
        self.ramp = Some(Ramp { since: until, allowed: 1, in_flight: 0, target });
        true
    }

    /// How long the account waits after a throttle: as the vendor says, or longer each time.
    pub fn wait(
        &mut self,
        hint: Option<Duration>,
        backoff: Backoff,
        entropy: f64,
        since: Moment,
        now: Moment,
    ) -> Duration {
        // Sent before the last throttle: part of the same volley.
        if self.throttled.is_none_or(|last| since > last) {
            self.throttles = self.throttles.saturating_add(1);
        }
        self.throttled = Some(now);
        let entropy = if entropy.is_finite() { entropy.clamp(0.0, 1.0) } else { 0.0 };
        // A hint of nothing is no hint: at once is when it was refused.
        if let Some(hint) = hint.filter(|hint| !hint.is_zero()) {
            return hint.saturating_add(part(hint, entropy / 10.0));
        }
        let most = backoff.after(self.throttles.saturating_sub(1));
        (most / 2).saturating_add(part(most, entropy / 2.0))
    }

    /// Whether a ramp has room for one more.
    pub fn has_room(&self) -> bool {
        self.ramp.as_ref().is_none_or(|ramp| ramp.in_flight < ramp.allowed)
    }

    /// How many a ramp allows at a time.
    pub fn allowed(&self) -> Option<u32> {
        self.ramp.as_ref().map(|ramp| ramp.allowed)
    }

    /// One more was admitted.
    pub fn admitted(&mut self) {
        if let Some(ramp) = &mut self.ramp {
            ramp.in_flight = ramp.in_flight.saturating_add(1);
        }
    }

    /// One has ended. Those from before the pause say nothing about the time after it.
    pub fn ended(&mut self, held: &Held, succeeded: bool, limit: Option<u32>) {
        if let Some(ramp) = self.ramp.as_mut().filter(|ramp| held.since >= ramp.since) {
            ramp.in_flight = ramp.in_flight.saturating_sub(1);
            ramp.allowed = ramp.allowed.saturating_add(u32::from(succeeded));
            if ramp.allowed >= limit.unwrap_or(ramp.target) && succeeded {
                self.ramp = None;
            }
        }
        let later = self.throttled.is_none_or(|last| held.since > last);
        if succeeded && later && self.ramp.is_none() {
            self.throttles = 0;
        }
    }
}

fn part(whole: Duration, part: f64) -> Duration {
    Duration::try_from_secs_f64(whole.as_secs_f64() * part).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::limits::Priority;

    const BACKOFF: Backoff = Backoff { base: Duration::from_secs(2), max: Duration::from_secs(60) };

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    fn held(since: u64) -> Held {
        Held { priority: Priority::Normal, since: at(since) }
    }

    #[test]
    fn waits_grow_with_each_volley() {
        let mut pause = Pause::default();
        for (since, now, least, most) in [
            (1, 5, 1.0, 2.0),
            // Sent before the first throttle came.
            (4, 6, 1.0, 2.0),
            (5, 7, 1.0, 2.0),
            (8, 9, 2.0, 4.0),
            (10, 11, 4.0, 8.0),
            (12, 13, 8.0, 16.0),
            (14, 15, 16.0, 32.0),
            (16, 17, 30.0, 60.0),
            (18, 19, 30.0, 60.0),
        ] {
            let mut wait =
                |entropy| pause.wait(None, BACKOFF, entropy, at(since), at(now)).as_secs_f64();
            assert_eq!((wait(0.0), wait(1.0)), (least, most), "{since}");
        }
        pause.ended(&held(19), true, None);
        assert_eq!(pause.wait(None, BACKOFF, 0.0, at(20), at(21)), at(30), "from before it");
        pause.ended(&held(22), true, None);
        assert_eq!(pause.wait(None, BACKOFF, 0.0, at(22), at(23)), at(1));
    }

    #[test]
    fn a_hint_is_kept_and_a_little_more() {
        let mut pause = Pause::default();
        for (entropy, wait) in [(0.0, 100_000), (0.5, 105_000), (f64::NAN, 100_000)] {
            let told = pause.wait(Some(at(100)), BACKOFF, entropy, at(1), at(2));
            assert_eq!(told, Duration::from_millis(wait));
        }
        assert_eq!(pause.wait(Some(at(0)), BACKOFF, 0.0, at(1), at(2)), at(1));
        assert!(pause.wait(Some(Duration::MAX), BACKOFF, 0.9, at(1), at(2)) > at(1 << 60));
    }

    #[test]
    fn traffic_comes_back_by_doubling() {
        let mut pause = Pause::default();
        assert!(pause.extend(at(10), Why::Rate, 0, at(5)));
        assert!(!pause.extend(at(9), Why::Quota, 0, at(5)), "never shorter");
        assert_eq!((pause.why(at(9)), pause.why(at(10))), (Some(Why::Rate), None));
        pause.ended(&held(4), true, Some(8));
        for round in [1, 2, 4] {
            assert_eq!(pause.allowed(), Some(round));
            (0..round).for_each(|_| pause.admitted());
            assert!(!pause.has_room());
            pause.ended(&held(10), false, Some(8));
            assert!(pause.has_room(), "a failure gives its place back, and no more");
            pause.admitted();
            (0..round).for_each(|_| pause.ended(&held(10), true, Some(8)));
        }
        assert_eq!((pause.allowed(), pause.has_room()), (None, true));
    }

    #[test]
    fn without_a_limit_it_comes_back_to_where_it_was() {
        for (peak, successes) in [(0, 1), (5, 4), (5_000, 1_023)] {
            let mut pause = Pause::default();
            pause.extend(at(10), Why::Rate, peak, at(5));
            (1..successes).for_each(|_| pause.ended(&held(10), true, None));
            // Another pause before it was back: that one is not forgotten.
            assert_eq!(pause.allowed(), Some(successes), "{peak}");
            pause.ended(&held(10), true, None);
            assert_eq!(pause.allowed(), None, "{peak}");
        }
    }
}
