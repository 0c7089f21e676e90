//! The rates of an account: all are looked at before any is spent.

use super::Moment;
use crate::model::limits::RateLimit;
use crate::model::rates::Gcra;
use std::time::Duration;

/// One rate and what it remembers.
#[derive(Debug)]
struct Gauge {
    limit: RateLimit,
    gcra: Gcra,
    arrival_ns: u64,
}

/// The rates of a pool.
#[derive(Debug, Default)]
pub struct Spacing(Vec<Gauge>);

impl Spacing {
    /// Rates of which nothing is spent.
    pub fn new(limits: &[RateLimit]) -> Spacing {
        let mut spacing = Spacing::default();
        spacing.set(limits);
        spacing
    }

    /// Other rates. What was spent of a rate that stays is still spent, also under a new burst.
    pub fn set(&mut self, limits: &[RateLimit]) {
        let mut old = std::mem::take(&mut self.0);
        let gauge = |limit: &RateLimit| {
            let same = old.iter().position(|gauge| gauge.limit == *limit);
            let kept = same.or_else(|| old.iter().position(|old| old.limit.rate == limit.rate));
            let arrival_ns = kept.map_or(0, |at| old.swap_remove(at).arrival_ns);
            Gauge { limit: *limit, gcra: Gcra::new(limit.rate, limit.burst), arrival_ns }
        };
        self.0 = limits.iter().map(gauge).collect();
    }

    /// When one more may come: now, or later.
    pub fn opens(&self, now: Moment) -> Moment {
        let now_ns = nanoseconds(now);
        let waits = self.0.iter().filter_map(|gauge| gauge.gcra.wait(gauge.arrival_ns, now_ns));
        now.saturating_add(waits.max().unwrap_or(Duration::ZERO))
    }

    /// As many have come as may come at once.
    pub fn use_up(&mut self, now: Moment) {
        let now_ns = nanoseconds(now);
        for gauge in &mut self.0 {
            gauge.arrival_ns = gauge.arrival_ns.max(gauge.gcra.used_up(now_ns));
        }
    }

    /// One more has come.
    pub fn spend(&mut self, now: Moment) {
        let now_ns = nanoseconds(now);
        for gauge in &mut self.0 {
            gauge.arrival_ns = gauge.gcra.spend(gauge.arrival_ns, now_ns);
        }
    }
}

fn nanoseconds(moment: Moment) -> u64 {
    u64::try_from(moment.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rates::Rate;
    use std::num::NonZeroU32;

    fn limit(rate: &str, burst: u32) -> RateLimit {
        RateLimit { rate: Rate::parse(rate).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
    }

    const START: Moment = Duration::from_secs(100);

    #[test]
    fn the_longest_wait_counts() {
        let mut spacing = Spacing::new(&[limit("10/second", 5), limit("60/minute", 2)]);
        for wait in [0, 0, 1_000, 2_000] {
            assert_eq!(spacing.opens(START), START + Duration::from_millis(wait));
            spacing.spend(START);
        }
        assert_eq!(Spacing::new(&[]).opens(START), START);
    }

    #[test]
    fn what_is_used_up_comes_back_at_its_rate() {
        let mut spacing = Spacing::new(&[limit("10/second", 5)]);
        spacing.use_up(START);
        for wait in [100, 200, 300] {
            assert_eq!(spacing.opens(START), START + Duration::from_millis(wait));
            spacing.spend(START);
        }
        let later = START + Duration::from_secs(1);
        spacing.use_up(START);
        for wait in [0, 0, 0, 0, 0, 100] {
            assert_eq!(spacing.opens(later), later + Duration::from_millis(wait));
            spacing.spend(later);
        }
    }

    #[test]
    fn a_reload_forgets_nothing_of_a_rate_that_stays() {
        let mut spacing = Spacing::new(&[limit("60/minute", 1), limit("10/second", 1)]);
        spacing.spend(START);
        let after = |millis| START + Duration::from_millis(millis);
        spacing.set(&[limit("10/second", 1), limit("1/hour", 1), limit("60/minute", 1)]);
        assert_eq!(spacing.opens(START), after(1_000));
        spacing.set(&[limit("10/second", 1)]);
        assert_eq!(spacing.opens(START), after(100));
        spacing.set(&[limit("10/second", 2)]);
        assert_eq!(spacing.opens(START), START);
        spacing.spend(START);
        assert_eq!(spacing.opens(START), after(100));
    }
}
