//! When something happened, by two clocks: neither is enough to say how long ago that was.

use std::time::Duration;

/// A time by two clocks, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment {
    /// By a clock that only ever goes forward, never leaps, and goes on from process to process.
    /// It may lag: time in which nothing ran need not count.
    pub steady_ms: u64,
    /// By the wall clock, since 1970: for people, and it may be wrong.
    pub wall_ms: i64,
}

impl Moment {
    /// How long ago it was at the least: what is kept for a time is kept at least so long.
    pub fn at_least(self, now: Moment) -> Duration {
        Duration::from_millis(now.steady_ms.saturating_sub(self.steady_ms))
    }

    /// How long ago it was at the most, as far as two clocks can tell; `None`: they contradict
    /// each other, and it may have been any time.
    pub fn at_most(self, now: Moment) -> Option<Duration> {
        let wall = u64::try_from(now.wall_ms.checked_sub(self.wall_ms)?).ok()?;
        let steady = now.steady_ms.checked_sub(self.steady_ms)?;
        Some(Duration::from_millis(wall.max(steady)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_clocks_bound_an_age() {
        let then = Moment { steady_ms: 1_000, wall_ms: 50_000 };
        for (steady_ms, wall_ms, least, most) in [
            (1_000, 50_000, 0, Some(0)),
            (1_500, 50_400, 500, Some(500)),
            // The machine slept, or the wall clock was set ahead.
            (1_500, 90_000, 500, Some(40_000)),
            // The wall clock was set back.
            (1_500, 49_999, 500, None),
            // An older ledger was put back.
            (900, 60_000, 0, None),
            (900, i64::MIN, 0, None),
        ] {
            let now = Moment { steady_ms, wall_ms };
            assert_eq!(then.at_least(now), Duration::from_millis(least), "{now:?}");
            assert_eq!(then.at_most(now), most.map(Duration::from_millis), "{now:?}");
        }
    }
}
