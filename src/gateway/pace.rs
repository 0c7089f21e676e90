//! Whether a request under way moves as fast as it has to.
//!
//! pingora answers most slowness by itself: a silent vendor, a stalled upload over HTTP/1, a
//! client that does not read. Here is what it has no clock for: an upload over HTTP/2, and a vendor
//! that drips the head of its answer.

use super::connection::Closing;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long pingora's own, better answered deadlines go first.
const GRACE: Duration = Duration::from_secs(1);

/// Milliseconds of the process's clock; 0 where nothing has to happen.
#[derive(Debug, Default)]
pub struct Pace {
    /// When the upload last moved.
    moved: AtomicU64,
    /// When the head of the answer has to be there.
    due: AtomicU64,
}

impl Pace {
    /// A part of the upload has moved, or has to from now on.
    pub fn upload_moves(&self, now: u64) {
        self.moved.store(now.max(1), Ordering::Relaxed);
    }

    /// The request is complete: the head of the answer is awaited for so long.
    pub fn awaits_answer(&self, now: u64, deadline: Duration) {
        let patience = deadline.saturating_add(GRACE).as_millis();
        let due = now.saturating_add(u64::try_from(patience).unwrap_or(u64::MAX));
        self.moved.store(0, Ordering::Relaxed);
        self.due.store(due, Ordering::Relaxed);
    }

    /// Nothing is awaited any more.
    pub fn rests(&self) {
        self.moved.store(0, Ordering::Relaxed);
        self.due.store(0, Ordering::Relaxed);
    }

    /// Why the request has to end, if it has to.
    pub fn overdue(&self, now: u64, body_timeout: Duration) -> Option<Closing> {
        let moved = self.moved.load(Ordering::Relaxed);
        if moved != 0 && Duration::from_millis(now.saturating_sub(moved)) >= body_timeout {
            return Some(Closing::SlowBody);
        }
        let due = self.due.load(Ordering::Relaxed);
        (due != 0 && now >= due).then_some(Closing::Deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_is_told_by_what_it_was() {
        let (pace, timeout) = (Pace::default(), Duration::from_millis(300));
        assert_eq!(pace.overdue(u64::MAX, timeout), None);
        pace.upload_moves(1000);
        assert_eq!(pace.overdue(1299, timeout), None);
        assert_eq!(pace.overdue(1300, timeout), Some(Closing::SlowBody));
        pace.awaits_answer(2000, Duration::from_millis(500));
        assert_eq!(pace.overdue(3499, timeout), None);
        assert_eq!(pace.overdue(3500, timeout), Some(Closing::Deadline));
        pace.rests();
        assert_eq!(pace.overdue(u64::MAX, timeout), None);
    }
}
