//! Rates as people type them, `"600/minute"`, and the arithmetic that holds to them: GCRA.

use std::num::NonZeroU32;
use std::time::Duration;

/// So many in each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In how long.
    pub period: Duration,
}

impl Rate {
    /// Reads a rate as typed in a file: a whole number, `/`, and `second`, `minute`, `hour` or
    /// `day`.
    ///
    /// # Errors
    /// One sentence for the person who typed it: what is wrong and an example of what is right.
    pub fn parse(text: &str) -> Result<Rate, String> {
        let wrong = || {
            format!(
                "`{text}` is not a rate: write a whole number from 1 on, `/`, and one of second, \
                 minute, hour, day (\"600/minute\")"
            )
        };
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let period = Duration::from_secs(match unit {
            "second" => 1,
            "minute" => 60,
            "hour" => 3_600,
            "day" => 86_400,
            _ => return Err(wrong()),
        });
        if !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        Ok(Rate { count: count.parse().map_err(|_| wrong())?, period })
    }

    /// One second's worth, at least 1: the burst where none is typed.
    pub fn burst(self) -> NonZeroU32 {
        let seconds = self.period.as_secs().max(1);
        let burst = u64::from(self.count.get()) / seconds;
        u32::try_from(burst).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
    }
}

/// The generic cell rate algorithm (ITU-T I.371): never more than `burst` at once, and never more
/// than `burst + rate · t` in any time `t`.
///
/// What it remembers of a caller is one number, the theoretical arrival time, in nanoseconds of
/// any clock that only goes forward; 0 for a caller of whom nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gcra {
    /// From one to the next at the full rate; rounded up, so that the rate is never exceeded.
    interval_ns: u64,
    /// How much earlier than its theoretical time one may come.
    tolerance_ns: u64,
}

impl Gcra {
    /// For a rate and a burst.
    pub fn new(rate: Rate, burst: NonZeroU32) -> Gcra {
        let count = u128::from(rate.count.get());
        let interval = rate.period.as_nanos().div_ceil(count);
        let tolerance = interval.saturating_mul(u128::from(burst.get() - 1));
        // A century and more: a burst that would take longer to come back is cut to that.
        let bounded = |ns: u128| u64::try_from(ns).unwrap_or(u64::MAX).min(u64::MAX / 4);
        Gcra { interval_ns: bounded(interval).max(1), tolerance_ns: bounded(tolerance) }
    }

    /// How long one more has to wait; `None`: it may come now.
    pub fn wait(self, arrival_ns: u64, now_ns: u64) -> Option<Duration> {
        let earliest = arrival_ns.saturating_sub(self.tolerance_ns);
        let wait = earliest.checked_sub(now_ns).filter(|wait| *wait > 0)?;
        Some(Duration::from_nanos(wait))
    }

    /// What is remembered once one more has come.
    pub fn spend(self, arrival_ns: u64, now_ns: u64) -> u64 {
        arrival_ns.max(now_ns).saturating_add(self.interval_ns)
    }

    /// What is remembered once as many have come as may come at once.
    pub fn used_up(self, now_ns: u64) -> u64 {
        now_ns.saturating_add(self.tolerance_ns).saturating_add(self.interval_ns)
    }

    /// How many may come at this moment, one right after the other.
    pub fn remaining(self, arrival_ns: u64, now_ns: u64) -> u64 {
        let ahead = arrival_ns.saturating_sub(now_ns);
        match self.tolerance_ns.checked_sub(ahead) {
            Some(room) => room / self.interval_ns + 1,
            None => 0,
        }
    }

    /// How long until one more may come than [`remaining`](Gcra::remaining) says; `None`: never
    /// will more come at once than now.
    pub fn next(self, arrival_ns: u64, now_ns: u64) -> Option<Duration> {
        let remaining = self.remaining(arrival_ns, now_ns);
        if remaining > self.tolerance_ns / self.interval_ns {
            return None;
        }
        let ahead = arrival_ns.saturating_sub(now_ns);
        let needed = self.interval_ns.saturating_mul(remaining);
        Some(Duration::from_nanos(ahead.saturating_add(needed).saturating_sub(self.tolerance_ns)))
    }
}

/// Whole seconds, rounded up, at least 1: the value of `Retry-After` (RFC 9110 §10.2.3).
pub fn retry_after_seconds(wait: Duration) -> u32 {
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

    fn rate(text: &str) -> Rate {
        Rate::parse(text).expect(text)
    }

    #[test]
    fn reads_each_unit() {
        for (text, count, seconds, burst) in [
            ("1/second", 1, 1, 1),
            ("600/minute", 600, 60, 10),
            ("30/minute", 30, 60, 1),
            ("7200/hour", 7_200, 3_600, 2),
            ("50000/day", 50_000, 86_400, 1),
        ] {
            let rate = rate(text);
            assert_eq!((rate.count.get(), rate.period.as_secs()), (count, seconds), "{text}");
            assert_eq!(rate.burst().get(), burst, "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for text in ["", "600", "0/minute", "-1/minute", "+1/minute", "1.5/second", "6/min", "/day"]
        {
            assert!(Rate::parse(text).expect_err(text).contains(&format!("`{text}`")));
        }
        assert!(Rate::parse("99999999999/day").is_err());
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds() {
        for (milliseconds, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_500, 60)] {
            assert_eq!(retry_after_seconds(Duration::from_millis(milliseconds)), seconds);
        }
        assert_eq!(retry_after_seconds(Duration::MAX), u32::MAX);
    }

    fn gcra(text: &str, burst: u32) -> Gcra {
        Gcra::new(rate(text), NonZeroU32::new(burst).expect("at least 1"))
    }

    const MS: u64 = 1_000_000;

    /// Each row: at so many milliseconds, how long the request has to wait (none: it is admitted),
    /// its `Retry-After`, and how many are left afterwards with the wait for one more.
    #[test]
    fn gcra_keeps_its_promises_to_the_nanosecond() {
        type Row = (u64, Option<(u64, u32)>, u64, Option<u64>);
        let five: [Row; 9] = [
            (0, None, 4, Some(200)),
            (0, None, 3, Some(200)),
            (0, None, 2, Some(200)),
            (0, None, 1, Some(200)),
            (0, None, 0, Some(200)),
            (0, Some((200, 1)), 0, Some(200)),
            (200, None, 0, Some(200)),
            (390, Some((10, 1)), 0, Some(10)),
            (400, None, 0, Some(200)),
        ];
        let mut ten: Vec<Row> = (0..10).map(|n| (0, None, 9 - n, Some(6_000))).collect();
        ten.extend([
            (0, Some((6_000, 6)), 0, Some(6_000)),
            (1_500, Some((4_500, 5)), 0, Some(4_500)),
            (5_999, Some((1, 1)), 0, Some(1)),
            (6_000, None, 0, Some(6_000)),
            (66_000, None, 9, Some(6_000)),
        ]);
        for (gcra, rows) in [(gcra("5/second", 5), five.to_vec()), (gcra("10/minute", 10), ten)] {
            let mut arrival = 0;
            for (number, (at, refused, left, next)) in rows.into_iter().enumerate() {
                let now = at * MS;
                let wait = gcra.wait(arrival, now);
                let told = wait.map(|w| (w.as_millis() as u64, retry_after_seconds(w)));
                assert_eq!(told, refused, "{gcra:?} row {number}");
                if wait.is_none() {
                    arrival = gcra.spend(arrival, now);
                }
                assert_eq!(gcra.remaining(arrival, now), left, "{gcra:?} row {number}");
                let more = gcra.next(arrival, now).map(|wait| wait.as_millis() as u64);
                assert_eq!(more, next, "{gcra:?} row {number}");
            }
            assert_eq!(gcra.next(arrival, arrival), None, "all of the burst is there again");
        }
    }

    #[test]
    fn hammering_never_extends_the_wait() {
        let gcra = gcra("1/minute", 1);
        let arrival = gcra.spend(0, 5);
        let promised = gcra.wait(arrival, 5).expect("one at a time").as_nanos() as u64 + 5;
        for knock in 0..1_000 {
            assert!(gcra.wait(arrival, 5 + knock * MS).is_some());
        }
        assert_eq!(gcra.wait(arrival, promised), None);
    }

    #[test]
    fn the_widest_limits_do_not_overflow() {
        for (text, burst) in [("1/day", 1_000_000), ("4294967295/second", u32::MAX), ("1/day", 1)] {
            let gcra = gcra(text, burst);
            let mut arrival = u64::MAX / 4;
            for _ in 0..3 {
                arrival = gcra.spend(arrival, 0);
                let _ = (gcra.wait(arrival, 0), gcra.next(arrival, 0), gcra.remaining(arrival, 0));
            }
            assert!(gcra.remaining(0, 0) >= 1 && gcra.next(0, 0).is_none());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// As many come at once as `remaining` says and not one more; after `next` it is one more,
        /// and one nanosecond earlier it is not; for whom none is left, `next` is the wait.
        #[test]
        fn what_is_left_is_exact(
            count in 1u32..2000,
            seconds in 1u64..100,
            burst in 1u32..50,
            steps in proptest::collection::vec(0u64..2_000_000_000, 1..60),
        ) {
            let count = NonZeroU32::new(count).expect("at least 1");
            let rate = Rate { count, period: Duration::from_secs(seconds) };
            let gcra = Gcra::new(rate, NonZeroU32::new(burst).expect("at least 1"));
            let (mut now, mut arrival) = (1u64, 0u64);
            for step in steps {
                now += step;
                let left = gcra.remaining(arrival, now);
                let mut trial = arrival;
                for _ in 0..left {
                    prop_assert_eq!(gcra.wait(trial, now), None);
                    trial = gcra.spend(trial, now);
                }
                prop_assert!(gcra.wait(trial, now).is_some());
                prop_assert_eq!(gcra.next(arrival, now).is_none(), left == u64::from(burst));
                if let Some(next) = gcra.next(arrival, now) {
                    let next = u64::try_from(next.as_nanos()).expect("short");
                    prop_assert_eq!(gcra.remaining(arrival, now + next), left + 1);
                    prop_assert_eq!(gcra.remaining(arrival, now + next - 1), left);
                    if left == 0 {
                        let wait = gcra.wait(arrival, now).expect("none is left");
                        prop_assert_eq!(wait, Duration::from_nanos(next));
                    }
                }
                if gcra.wait(arrival, now).is_none() {
                    arrival = gcra.spend(arrival, now);
                }
            }
        }

        /// In any window, no more are admitted than burst + rate · window; whoever waits as long
        /// as he was told is admitted, and one nanosecond earlier he is not.
        #[test]
        fn gcra_holds_its_law(
            count in 1u32..2000,
            seconds in 1u64..100,
            burst in 1u32..50,
            steps in proptest::collection::vec(0u64..2_000_000_000, 1..200),
        ) {
            let count = NonZeroU32::new(count).expect("at least 1");
            let rate = Rate { count, period: Duration::from_secs(seconds) };
            let gcra = Gcra::new(rate, NonZeroU32::new(burst).expect("at least 1"));
            let (mut now, mut arrival) = (1u64, 0u64);
            let mut admitted: Vec<u64> = Vec::new();
            for step in steps {
                now += step;
                match gcra.wait(arrival, now) {
                    None => {
                        arrival = gcra.spend(arrival, now);
                        admitted.push(now);
                    }
                    Some(wait) => {
                        let wait = u64::try_from(wait.as_nanos()).expect("short");
                        prop_assert_eq!(gcra.wait(arrival, now + wait), None);
                        prop_assert!(gcra.wait(arrival, now + wait - 1).is_some());
                    }
                }
            }
            for (first, from) in admitted.iter().enumerate() {
                for (last, to) in admitted.iter().enumerate().skip(first) {
                    let window = (to - from) as f64 / 1e9;
                    let most = f64::from(burst) + f64::from(count.get()) / seconds as f64 * window;
                    prop_assert!((last - first + 1) as f64 <= most + 1e-6);
                }
            }
        }
    }
}
