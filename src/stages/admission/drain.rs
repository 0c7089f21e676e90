//! How fast the queue drains, measured on those who left it.

use super::Moment;
use std::time::Duration;

/// What one more interval counts beside all earlier ones.
const WEIGHT: f64 = 0.1;

/// What a newcomer is told at least, and where nothing was measured yet.
const SHORTEST: Duration = Duration::from_secs(1);

/// What a newcomer is told at most.
const LONGEST: Duration = Duration::from_secs(3_600);

/// An exponentially weighted interval between two admissions while anybody waited.
#[derive(Debug, Default)]
pub struct Drain {
    seconds: Option<f64>,
    /// Of the last admission, while others still wait.
    last: Option<Moment>,
}

impl Drain {
    /// One of those who waited was admitted; whether others still wait.
    pub fn admitted(&mut self, others: bool, now: Moment) {
        self.seconds = self.with_open(now);
        self.last = others.then_some(now);
    }

    /// What follows says nothing about how fast the queue drains: a pause, or nobody waits.
    pub fn interrupt(&mut self) {
        self.last = None;
    }

    /// How long `ahead` of them, and one more, take.
    pub fn wait(&self, ahead: usize, now: Moment) -> Duration {
        // A queue that has stood still for long is no faster than that.
        let Some(seconds) = self.with_open(now).map(|open| open.max(self.seconds.unwrap_or(open)))
        else {
            return Duration::ZERO;
        };
        let wait = Duration::try_from_secs_f64(seconds * (ahead as f64 + 1.0));
        wait.unwrap_or(LONGEST)
    }

    /// The measure, as if the interval that is not over yet ended now.
    fn with_open(&self, now: Moment) -> Option<f64> {
        let Some(last) = self.last else { return self.seconds };
        let open = now.saturating_sub(last).as_secs_f64();
        Some(self.seconds.map_or(open, |seconds| seconds + WEIGHT * (open - seconds)))
    }
}

/// A wait as it is told: never nothing, never absurd.
pub fn told(wait: Duration) -> Duration {
    wait.clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_only_while_somebody_waits() {
        let at = Duration::from_secs;
        let mut drain = Drain::default();
        assert_eq!(told(drain.wait(7, at(0))), SHORTEST);
        (0..100).for_each(|second| drain.admitted(second < 99, at(2 * second)));
        assert_eq!(drain.wait(9, at(1_000_000)), at(20));
        drain.admitted(true, at(2_000_000));
        assert_eq!(drain.wait(9, at(2_000_001)), at(20), "no slower than measured, not yet");
        assert!(drain.wait(9, at(2_001_000)) > at(900), "it stands still");
        drain.interrupt();
        assert_eq!(drain.wait(9, at(2_001_000)), at(20));
        assert_eq!(told(drain.wait(usize::MAX, at(2_001_000))), LONGEST);
    }
}
