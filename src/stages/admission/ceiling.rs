//! How many requests the account takes at a time: what the policy says, or less once the vendor
//! has said that it was too much.
//!
//! A fixed limit sinks by one with each refusal for concurrency, since each was one too many, and
//! grows back with time. An adaptive one follows additive increase, multiplicative decrease.

use super::Moment;
use std::time::Duration;

/// A limit that sank grows by one in each such time without a throttle.
const GROWTH: Duration = Duration::from_secs(10);

/// Shortest time between two decreases of an adaptive limit.
const DECREASE: Duration = Duration::from_secs(1);

/// Where an adaptive limit ends without a ceiling of its own.
const MOST: u32 = 1_024;

/// A fixed limit that sank.
#[derive(Clone, Copy, Debug)]
struct Sunk {
    limit: u32,
    /// Here it is whole again.
    whole: u32,
    /// Of the last throttle.
    since: Moment,
}

impl Sunk {
    /// How often it has grown since.
    fn steps(self, now: Moment) -> u32 {
        let steps = now.saturating_sub(self.since).as_secs() / GROWTH.as_secs();
        u32::try_from(steps).unwrap_or(u32::MAX)
    }

    fn limit(self, now: Moment) -> Option<u32> {
        let limit = self.limit.saturating_add(self.steps(now));
        Some(limit).filter(|limit| *limit < self.whole)
    }
}

/// A limit that finds itself.
#[derive(Clone, Copy, Debug)]
struct Adaptive {
    floor: u32,
    limit: u32,
    /// Since it last grew.
    successes: u32,
    decreased: Option<Moment>,
}

/// The concurrency limit of a pool.
#[derive(Debug)]
pub struct Ceiling {
    configured: Option<u32>,
    adaptive: Option<Adaptive>,
    sunk: Option<Sunk>,
}

impl Ceiling {
    /// As the policy says. An adaptive limit begins at the ceiling; where there is none, at its
    /// floor.
    pub fn new(configured: Option<u32>, floor: Option<u32>) -> Ceiling {
        let mut ceiling = Ceiling { configured: None, adaptive: None, sunk: None };
        ceiling.set(configured, floor);
        ceiling
    }

    /// Another policy: what was learned stays, within the new bounds.
    pub fn set(&mut self, configured: Option<u32>, floor: Option<u32>) {
        let was = self.configured;
        self.configured = configured;
        let most = configured.unwrap_or(MOST);
        let learned = self.adaptive.filter(|adaptive| Some(adaptive.limit) != was);
        self.adaptive = floor.map(|floor| {
            let floor = floor.clamp(1, most);
            match learned {
                Some(old) => Adaptive { floor, limit: old.limit.clamp(floor, most), ..old },
                None => {
                    let limit = configured.unwrap_or(floor);
                    Adaptive { floor, limit, successes: 0, decreased: None }
                }
            }
        });
        if let Some(sunk) = &mut self.sunk {
            sunk.whole = configured.unwrap_or(sunk.whole);
        }
        self.sunk = self.sunk.filter(|sunk| floor.is_none() && sunk.limit < sunk.whole);
    }

    /// The limit now.
    pub fn limit(&self, now: Moment) -> Option<u32> {
        match (self.adaptive, self.sunk) {
            (Some(adaptive), _) => Some(adaptive.limit),
            (None, Some(sunk)) => sunk.limit(now).or(self.configured),
            (None, None) => self.configured,
        }
    }

    /// When it grows without anybody's doing.
    pub fn grows(&self, now: Moment) -> Option<Moment> {
        let sunk = self.sunk.filter(|sunk| self.adaptive.is_none() && sunk.limit(now).is_some())?;
        let steps = sunk.steps(now).saturating_add(1);
        Some(sunk.since.saturating_add(GROWTH.saturating_mul(steps)))
    }

    /// A slot ended well.
    pub fn succeeded(&mut self, in_use: u32) {
        let most = self.configured.unwrap_or(MOST);
        let Some(adaptive) = &mut self.adaptive else { return };
        // A limit that nobody came near says nothing about a higher one.
        if in_use.saturating_mul(2) < adaptive.limit {
            return;
        }
        adaptive.successes = adaptive.successes.saturating_add(1);
        if adaptive.successes >= adaptive.limit {
            adaptive.successes = 0;
            adaptive.limit = adaptive.limit.saturating_add(1).min(most);
        }
    }

    /// The vendor throttled an attempt that was admitted at `since`.
    pub fn throttled(&mut self, since: Moment, now: Moment) {
        if let Some(limit) = self.sunk.and_then(|sunk| sunk.limit(now)) {
            self.sunk = self.sunk.map(|sunk| Sunk { limit, since: now, ..sunk });
        }
        self.overtaxed(since, now);
    }

    /// The vendor could not keep up, as an attempt tells that was admitted at `since`.
    pub fn overtaxed(&mut self, since: Moment, now: Moment) {
        let Some(adaptive) = &mut self.adaptive else { return };
        // Attempts from before the last decrease tell of the old limit.
        let known = |at: Moment| since <= at || now < at.saturating_add(DECREASE);
        if adaptive.decreased.is_some_and(known) {
            return;
        }
        let less = u64::from(adaptive.limit) * 9 / 10;
        adaptive.limit = u32::try_from(less).unwrap_or(u32::MAX).max(adaptive.floor);
        adaptive.successes = 0;
        adaptive.decreased = Some(now);
    }

    /// One of the `in_use` was too many; it is still among them.
    pub fn sink(&mut self, in_use: u32, now: Moment) {
        if self.adaptive.is_some() {
            return;
        }
        let limit = self.limit(now).unwrap_or(in_use).saturating_sub(1).max(1);
        let whole = match self.sunk.filter(|sunk| sunk.limit(now).is_some()) {
            Some(sunk) => sunk.whole,
            None => self.configured.unwrap_or(in_use.max(2)),
        };
        self.sunk = Some(Sunk { limit, whole, since: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_fixed_limit_sinks_and_grows_back() {
        let mut ceiling = Ceiling::new(Some(4), None);
        for limit in [3, 2, 1, 1] {
            ceiling.sink(4, at(0));
            assert_eq!(ceiling.limit(at(0)), Some(limit));
        }
        for (second, limit) in [(9, 1), (10, 2), (29, 3), (30, 4), (1_000_000, 4)] {
            assert_eq!(ceiling.limit(at(second)), Some(limit), "at {second}");
        }
        assert_eq!((ceiling.grows(at(11)), ceiling.grows(at(30))), (Some(at(20)), None));
        // Another throttle, of whatever class, begins the count anew.
        ceiling.throttled(at(5), at(19));
        ceiling.overtaxed(at(5), at(20));
        assert_eq!((ceiling.limit(at(28)), ceiling.limit(at(29))), (Some(2), Some(3)));
    }

    #[test]
    fn an_account_without_a_limit_gets_one_for_a_while() {
        let mut ceiling = Ceiling::new(None, None);
        ceiling.sink(20, at(0));
        ceiling.sink(19, at(0));
        assert_eq!(ceiling.limit(at(0)), Some(18));
        assert_eq!((ceiling.limit(at(10)), ceiling.limit(at(20))), (Some(19), None));
        ceiling.sink(1, at(100));
        assert_eq!((ceiling.limit(at(100)), ceiling.limit(at(110))), (Some(1), None));
    }

    #[test]
    fn an_adaptive_limit_stays_within_its_bounds() {
        let mut ceiling = Ceiling::new(Some(10), Some(2));
        ceiling.overtaxed(at(0), at(1));
        assert_eq!(ceiling.limit(at(1)), Some(9));
        for (since, now, limit) in [(1, 5, 9), (2, 5, 8), (6, 7, 7), (7, 7, 7)] {
            ceiling.overtaxed(at(since), at(now));
            assert_eq!(ceiling.limit(at(now)), Some(limit), "{since}, {now}");
        }
        (0..50).for_each(|_| ceiling.succeeded(3));
        assert_eq!(ceiling.limit(at(8)), Some(7), "nobody came near it");
        (0..6).for_each(|_| ceiling.succeeded(7));
        assert_eq!(ceiling.limit(at(8)), Some(7));
        ceiling.succeeded(7);
        assert_eq!(ceiling.limit(at(8)), Some(8));
        (0..100).for_each(|_| ceiling.succeeded(9));
        assert_eq!(ceiling.limit(at(8)), Some(10));
        for second in 1..100 {
            ceiling.overtaxed(at(second * 10), at(second * 10 + 5));
        }
        assert_eq!(ceiling.limit(at(2_000)), Some(2));
    }

    #[test]
    fn a_reload_keeps_what_was_learned() {
        let mut ceiling = Ceiling::new(Some(10), Some(2));
        ceiling.overtaxed(at(0), at(1));
        for (most, floor, limit) in
            [(Some(20), Some(2), 9), (Some(5), Some(2), 5), (Some(30), Some(2), 30)]
        {
            ceiling.set(most, floor);
            assert_eq!(ceiling.limit(at(1)), limit.into());
        }
        ceiling.set(Some(4), None);
        ceiling.sink(4, at(2));
        ceiling.set(Some(8), None);
        assert_eq!((ceiling.limit(at(2)), ceiling.limit(at(12))), (Some(3), Some(4)));
        ceiling.set(Some(2), None);
        assert_eq!(ceiling.limit(at(2)), Some(2));
        ceiling.set(None, Some(3));
        assert_eq!(ceiling.limit(at(2)), Some(3));
    }
}
