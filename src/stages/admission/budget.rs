//! What a vendor says is left of its budget, and who still goes when little is left.
//!
//! At or below the reserve only high goes on; normal and low go one at a time, as fast as the
//! budget refills. With nothing left high does the same. Each answer is a new reading.

use super::Moment;
use crate::model::limits::Priority;
use crate::model::rates::Rate;
use std::time::Duration;

/// Where nobody says how fast a budget refills, one request in such a time looks whether it has.
const LOOK: Duration = Duration::from_secs(60);

/// All budgets of an account, by name: each of them has to have something left.
#[derive(Debug, Default)]
pub struct Budgets(Vec<(Box<str>, Budget)>);

impl Budgets {
    /// A reading of one of them, see [`Budget::read`].
    pub fn read(
        &mut self,
        name: &str,
        remaining: u64,
        limit: u64,
        restore: Option<Rate>,
        reserve: f64,
        now: Moment,
    ) {
        let known = self.0.iter_mut().find(|(known, _)| **known == *name);
        match known {
            Some((_, budget)) => budget.read(remaining, limit, restore, reserve, now),
            None => {
                let mut budget = Budget::default();
                budget.read(remaining, limit, restore, reserve, now);
                self.0.push((name.into(), budget));
            }
        }
    }

    /// When one more of the class may come: now, or later.
    pub fn opens(&self, priority: Priority, now: Moment) -> Moment {
        self.0.iter().map(|(_, budget)| budget.opens(priority, now)).fold(now, Moment::max)
    }

    /// One more has come.
    pub fn spend(&mut self, priority: Priority, now: Moment) {
        self.0.iter_mut().for_each(|(_, budget)| budget.spend(priority, now));
    }
}

/// The last reading, if little was left.
#[derive(Debug, Default)]
pub struct Budget(Option<Short>);

#[derive(Debug)]
struct Short {
    /// How long one more takes to refill.
    each: Duration,
    ordinary: Moment,
    high: Moment,
    /// Whether nothing at all was left.
    empty: bool,
}

impl Budget {
    /// A reading: `remaining` of `limit`, refilled with `restore`, a part of it kept for high.
    pub fn read(
        &mut self,
        remaining: u64,
        limit: u64,
        restore: Option<Rate>,
        reserve: f64,
        now: Moment,
    ) {
        // Saturates where the reading is absurd.
        let kept = (limit as f64 * reserve.clamp(0.0, 1.0)) as u64;
        if remaining > kept {
            self.0 = None;
            return;
        }
        let each = restore.map_or(LOOK, |rate| rate.period / rate.count.get());
        let missing = |enough: u64| {
            let count = enough.saturating_sub(remaining);
            let wait = match restore {
                Some(_) => each.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)),
                None => LOOK,
            };
            if count == 0 { now } else { now.saturating_add(wait) }
        };
        let ordinary = missing(kept.saturating_add(1));
        self.0 = Some(Short { each, ordinary, high: missing(1), empty: remaining == 0 });
    }

    /// When one more of the class may come: now, or later.
    pub fn opens(&self, priority: Priority, now: Moment) -> Moment {
        let opens = self.0.as_ref().map(|short| match priority {
            Priority::High => short.high,
            Priority::Normal | Priority::Low => short.ordinary,
        });
        opens.map_or(now, |opens| opens.max(now))
    }

    /// One more has come; it has used what there was, until the next reading.
    pub fn spend(&mut self, priority: Priority, now: Moment) {
        let Some(short) = &mut self.0 else { return };
        let next = now.saturating_add(short.each);
        match priority {
            Priority::High if short.empty => short.high = short.high.max(next),
            Priority::High => {}
            Priority::Normal | Priority::Low => short.ordinary = short.ordinary.max(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Duration::from_secs(1_000);

    fn waits(budget: &Budget) -> [u64; 3] {
        [Priority::High, Priority::Normal, Priority::Low]
            .map(|priority| (budget.opens(priority, NOW) - NOW).as_millis() as u64)
    }

    #[test]
    fn the_reserve_is_for_high() {
        let restore = Rate::parse("50/second").ok();
        for (remaining, restore, expected) in [
            (101, restore, [0, 0, 0]),
            (100, restore, [0, 20, 20]),
            (51, restore, [0, 1_000, 1_000]),
            (0, restore, [20, 2_020, 2_020]),
            (100, None, [0, 60_000, 60_000]),
            (0, None, [60_000, 60_000, 60_000]),
        ] {
            let mut budget = Budget::default();
            budget.read(remaining, 1_000, restore, 0.1, NOW);
            assert_eq!(waits(&budget), expected, "{remaining} {restore:?}");
            budget.read(500, 1_000, restore, 0.1, NOW);
            assert_eq!(waits(&budget), [0, 0, 0]);
        }
    }

    #[test]
    fn until_the_next_reading_one_goes_at_a_time() {
        let mut budget = Budget::default();
        budget.spend(Priority::Low, NOW);
        assert_eq!(waits(&budget), [0, 0, 0]);
        let before = NOW - Duration::from_secs(30);
        budget.read(10, 1_000, Rate::parse("1/second").ok(), 0.01, before);
        assert_eq!(waits(&budget), [0, 0, 0], "refilled by now");
        budget.spend(Priority::Normal, NOW);
        budget.spend(Priority::High, NOW);
        assert_eq!(waits(&budget), [0, 1_000, 1_000]);
        budget.read(0, 1_000, Rate::parse("1/second").ok(), 0.0, before);
        budget.spend(Priority::High, NOW);
        assert_eq!(waits(&budget), [1_000, 0, 0]);
    }

    #[test]
    fn absurd_readings_are_survived() {
        for (limit, reserve) in [(u64::MAX, 1.0), (u64::MAX, f64::INFINITY), (0, f64::NAN)] {
            let mut budget = Budget::default();
            budget.read(0, limit, Rate::parse("1/day").ok(), reserve, NOW);
            assert!(budget.opens(Priority::Low, NOW) > NOW);
        }
    }
}
