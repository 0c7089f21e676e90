//! What of a vendor is paused without the whole account: a credential, an endpoint, one resource.
//!
//! As with the account: a pause is never shortened, throttles of one volley grow the back-off once,
//! and only an answer to what was asked after the throttle takes it back.

use super::Backoff;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Parts that are remembered at a time; a vendor that names more is not listened to.
const PARTS_MAX: usize = 10_000;

/// A part of a vendor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// One of its credentials; `None`: its own.
    Credential(Option<Arc<str>>),
    /// A method, and how a path begins.
    Endpoint(String),
    /// One path.
    Resource(String),
}

/// The parts that were throttled, and until when they are left alone.
#[derive(Debug, Default)]
pub struct Parts(HashMap<Part, Paused>);

#[derive(Clone, Copy, Debug)]
struct Paused {
    until: Instant,
    throttled: Instant,
    /// Throttles one after the other, those of one volley counted once.
    strikes: u32,
}

impl Parts {
    /// Whether nothing is paused, nor was of late.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When the last of these parts may be asked again; `None`: now.
    pub fn until(&self, parts: &[Part], now: Instant) -> Option<Instant> {
        let until = parts.iter().filter_map(|part| Some(self.0.get(part)?.until)).max();
        until.filter(|until| *until > now)
    }

    /// What is paused, and for how long yet, the longest first.
    pub fn all(&self, now: Instant) -> Vec<(Part, Duration)> {
        let left = self.0.iter().filter_map(|(part, paused)| {
            let left = paused.until.checked_duration_since(now).filter(|left| !left.is_zero())?;
            Some((part.clone(), left))
        });
        let mut left: Vec<_> = left.collect();
        left.sort_by_key(|(_, left)| std::cmp::Reverse(*left));
        left
    }

    /// A part was throttled by the answer to what was asked at `since`: for how long it is left
    /// alone. `entropy` is from 0 to 1.
    pub fn throttled(
        &mut self,
        part: Part,
        hint: Option<Duration>,
        backoff: Backoff,
        entropy: f64,
        since: Instant,
        now: Instant,
    ) -> Duration {
        if self.0.len() >= PARTS_MAX {
            self.0.retain(|_, paused| paused.until > now);
        }
        let before = self.0.get(&part).copied();
        let strikes = match before {
            Some(before) if since <= before.throttled => before.strikes,
            Some(before) => before.strikes.saturating_add(1),
            None => 1,
        };
        let grown = backoff.after(strikes.saturating_sub(1));
        // Upward only: a wait that was asked for is never cut.
        let entropy = if entropy.is_finite() { entropy.clamp(0.0, 1.0) } else { 0.0 };
        let wait = match hint.filter(|hint| !hint.is_zero()) {
            Some(hint) => hint.mul_f64(1.0 + entropy / 10.0),
            None => grown.mul_f64(0.5 + entropy / 2.0),
        };
        let asked = now.checked_add(wait).unwrap_or(now);
        let until = before.map_or(asked, |before| before.until.max(asked));
        if self.0.len() < PARTS_MAX || before.is_some() {
            self.0.insert(part, Paused { until, throttled: now, strikes });
        }
        until.saturating_duration_since(now)
    }

    /// What was asked of these parts at `since` was answered: what they were blamed for before is
    /// forgotten.
    pub fn answered(&mut self, parts: &[Part], since: Instant) {
        for part in parts {
            if self.0.get(part).is_some_and(|paused| since > paused.throttled) {
                self.0.remove(part);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::begin;
    use super::*;

    const BACKOFF: Backoff = Backoff { base: Duration::from_secs(2), max: Duration::from_secs(16) };

    fn part() -> Part {
        Part::Resource("/orders/7".to_owned())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_volley_is_one_throttle_and_waits_grow() {
        let (start, mut parts) = (begin(), Parts::default());
        // Ten that were asked together.
        for _ in 0..10 {
            let wait = parts.throttled(part(), None, BACKOFF, 1.0, start, start + seconds(1));
            assert_eq!(wait, seconds(2));
        }
        let mut now = start + seconds(3);
        for expected in [4, 8, 16, 16] {
            let wait = parts.throttled(part(), None, BACKOFF, 1.0, now, now);
            assert_eq!(wait, seconds(expected));
            now += seconds(expected);
        }
        assert_eq!(parts.until(&[part()], now), None);
    }

    #[test]
    fn a_pause_is_never_shortened_and_late_answers_end_none() {
        let (start, mut parts) = (begin(), Parts::default());
        let day = seconds(86_400);
        let now = start + seconds(10);
        parts.throttled(part(), Some(day), BACKOFF, 0.0, start, now);
        let short = parts.throttled(part(), Some(seconds(1)), BACKOFF, 0.0, start, now);
        assert_eq!(short, day);
        // Asked before the throttle.
        parts.answered(&[part()], start + seconds(9));
        assert_eq!(parts.until(&[part()], now), Some(now + day));
        parts.answered(&[part()], now + seconds(1));
        assert!(parts.is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let (start, mut parts) = (begin(), Parts::default());
        for number in 0..PARTS_MAX + 10 {
            let part = Part::Resource(number.to_string());
            parts.throttled(part, Some(seconds(60)), BACKOFF, 0.5, start, start);
        }
        assert_eq!(parts.all(start).len(), PARTS_MAX);
        // Once those are over there is room again.
        let later = start + seconds(100);
        parts.throttled(part(), Some(seconds(60)), BACKOFF, 0.5, later, later);
        assert_eq!(parts.all(later).len(), 1);
    }
}
