//! Counts who is in flight, and lets a request give its place back by dropping it.

use std::sync::Arc;

use super::guarded::Guarded;

/// The requests in flight, now and at most.
#[derive(Debug, Default)]
pub struct Gauge(Guarded<Count>);

#[derive(Debug, Default)]
struct Count {
    now: usize,
    peak: usize,
}

/// A request's place among those in flight; dropping it gives it back.
#[derive(Debug)]
pub struct Slot(Arc<Gauge>);

impl Drop for Slot {
    fn drop(&mut self) {
        let mut count = self.0.0.lock();
        count.now = count.now.saturating_sub(1);
    }
}

impl Gauge {
    /// A place for one more; `None` if `limit` requests are in flight already.
    pub fn enter(self: &Arc<Gauge>, limit: usize) -> Option<Slot> {
        let mut count = self.0.lock();
        if count.now >= limit {
            return None;
        }
        count.now += 1;
        count.peak = count.peak.max(count.now);
        Some(Slot(Arc::clone(self)))
    }

    /// How many are in flight.
    pub fn in_flight(&self) -> usize {
        self.0.lock().now
    }

    /// The most that were in flight at once since the start or a reset.
    pub fn peak(&self) -> usize {
        self.0.lock().peak
    }

    /// Forgets the peak. Requests in flight are real, and give their places back later.
    pub fn reset(&self) {
        let mut count = self.0.lock();
        count.peak = count.now;
    }
}

#[cfg(test)]
mod tests {
    use super::Gauge;
    use std::sync::Arc;

    #[test]
    fn places_are_given_back_by_dropping_and_the_peak_stays() {
        let gauge = Arc::new(Gauge::default());
        let first = gauge.enter(2);
        let second = gauge.enter(2);
        assert!(gauge.enter(2).is_none());
        drop((first, second));
        assert_eq!((gauge.in_flight(), gauge.peak()), (0, 2));
        let third = gauge.enter(2);
        gauge.reset();
        assert_eq!((gauge.in_flight(), gauge.peak()), (1, 1));
        drop(third);
        assert_eq!((gauge.in_flight(), gauge.peak()), (0, 1));
    }
}
