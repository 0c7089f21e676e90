//! A clock that only goes forward, goes on from process to process, and can't leap.
//!
//! While a process runs, it goes as the monotonic clock does. Between two processes the wall
//! clock says how much time has passed, and is believed up to a day: a wall clock that is a year
//! ahead ages a ledger by a day, and what is kept longer than it has to be does no harm.

use super::Clocks;
use crate::model::moment::Moment;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// As much of a gap between two processes counts.
const GAP_MAX: Duration = Duration::from_secs(86_400);

/// The clocks of this machine.
#[derive(Debug)]
pub struct World(Instant);

impl Default for World {
    fn default() -> World {
        World(Instant::now())
    }
}

impl Clocks for World {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

/// The clock, from where another process left it.
pub struct Steady {
    clocks: Arc<dyn Clocks>,
    base_ms: u64,
    begun: Duration,
}

impl Steady {
    /// Goes on from what was written last, if anything was.
    pub fn go_on(clocks: Arc<dyn Clocks>, last: Option<Moment>) -> Steady {
        let gap = last.map_or(0, |last| clocks.wall_ms().saturating_sub(last.wall_ms));
        let gap = u64::try_from(gap).unwrap_or(0).min(milliseconds(GAP_MAX));
        let base_ms = last.map_or(0, |last| last.steady_ms).saturating_add(gap);
        Steady { begun: clocks.monotonic(), clocks, base_ms }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        let run = milliseconds(self.clocks.monotonic().saturating_sub(self.begun));
        let steady_ms = self.base_ms.saturating_add(run);
        Moment { steady_ms, wall_ms: self.clocks.wall_ms() }
    }
}

/// A duration that a database can hold.
pub fn milliseconds(duration: Duration) -> u64 {
    let most = i64::MAX.unsigned_abs();
    u64::try_from(duration.as_millis()).unwrap_or(most).min(most)
}

#[cfg(test)]
mod tests {
    use super::super::tests::ManualClocks;
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn it_does_not_leap() {
        let clocks = Arc::new(ManualClocks::default());
        let first = Steady::go_on(clocks.clone(), None);
        assert_eq!(first.now().steady_ms, 0);
        clocks.pass(Duration::from_secs(3600));
        clocks.set_wall(400 * 24 * 3_600_000);
        assert_eq!(first.now().steady_ms, HOUR, "the wall clock says nothing while we run");
        let last = first.now();
        for (wall_ms, expected) in [
            (last.wall_ms, HOUR),
            (last.wall_ms + 3_600_000, 2 * HOUR),
            // A year ahead.
            (last.wall_ms + 365 * 24 * 3_600_000, 25 * HOUR),
            (i64::MAX, 25 * HOUR),
            // Set back.
            (0, HOUR),
            (i64::MIN, HOUR),
        ] {
            clocks.set_wall(wall_ms);
            let next = Steady::go_on(clocks.clone(), Some(last));
            assert_eq!(next.now().steady_ms, expected, "{wall_ms}");
        }
    }
}
