//! Decides whether a client may send one request more, by all the limits that hold for it.
//!
//! All of them are looked at before any is spent: a request that one refuses spends nothing.
//! Never looks at a clock, and never waits. Refuses with `rate-limited`, `quota-exhausted`,
//! `concurrency-limited`, whichever takes longest. Gives [`Admitted`].

use crate::model::days::Days;
use crate::model::limits::{Daily, Limits};
use crate::model::rates::{Gcra, Rate, retry_after_seconds};
use crate::refusal::Refusal;
use smallvec::SmallVec;
use std::fmt::{self, Write};
use std::num::NonZeroU32;
use std::ops::DerefMut;
use std::time::Duration;

/// When a request ends nobody can say: whoever has too many under way looks again after this.
const AGAIN: u32 = 1;
/// The window that a daily quota is told with.
const DAY: Duration = Duration::from_secs(86_400);

/// One moment, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds of a clock that only goes forward: for rates.
    pub ns: u64,
    /// Seconds since 1970: for days.
    pub unix_seconds: i64,
}

/// Whom a limit bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Of {
    /// The client, by its own policy.
    Client,
    /// The client, as every other by itself.
    All,
    /// The client under one rule.
    Rule,
}

/// What a limit bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// So many in each period.
    Rate(Rate, Gcra),
    /// So many in a calendar day.
    Daily(Daily),
    /// So many at a time.
    Concurrency(NonZeroU32),
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Whom it bounds.
    pub of: Of,
    /// Which one of the rates it is, from 1; 1 for everything else.
    pub number: u32,
    /// What it bounds.
    pub bound: Bound,
}

/// What is remembered of one limit; each kind has its own part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Of a rate: the theoretical arrival time.
    pub arrival_ns: u64,
    /// Of a daily quota: what was used.
    pub days: Days,
    /// Of concurrency: how many are under way.
    pub held: u32,
}

/// Evidence: every limit has been spent once. It is given back with [`give_back`].
#[derive(Debug, PartialEq, Eq)]
pub struct Admitted(());

/// Each limit that was typed, in the order of its file.
pub fn limits(of: Of, typed: &Limits) -> impl Iterator<Item = Limit> + '_ {
    let rate = |(number, limit): (u32, &crate::model::limits::RateLimit)| {
        (number, Bound::Rate(limit.rate, Gcra::new(limit.rate, limit.burst)))
    };
    let rates = (1..).zip(&typed.rates).map(rate);
    let daily = typed.daily.iter().map(|daily| (1, Bound::Daily(daily.clone())));
    let concurrency = typed.concurrency.iter().map(|most| (1, Bound::Concurrency(*most)));
    let bounds = rates.chain(daily).chain(concurrency);
    bounds.map(move |(number, bound)| Limit { of, number, bound })
}

/// Looks at every limit, then spends each of them once. The caller sees to it that nobody else
/// does meanwhile.
///
/// # Errors
/// What the limit refuses with that takes longest.
pub fn admit<'l, C: DerefMut<Target = Counter>>(
    limits: impl Iterator<Item = (&'l Limit, C)> + Clone,
    now: Now,
) -> Result<Admitted, Refusal> {
    let mut longest: Option<Refusal> = None;
    for (limit, mut counter) in limits.clone() {
        let refusal = limit.look(&mut counter, now);
        let wait = |refusal: &Option<Refusal>| refusal.as_ref().and_then(Refusal::retry_after);
        if wait(&refusal) > wait(&longest) {
            longest = refusal;
        }
    }
    if let Some(refusal) = longest {
        return Err(refusal);
    }
    for (limit, mut counter) in limits {
        limit.spend(&mut counter, now);
    }
    Ok(Admitted(()))
}

/// An admitted request is over.
pub fn give_back<'l, C: DerefMut<Target = Counter>>(
    _: Admitted,
    limits: impl Iterator<Item = (&'l Limit, C)>,
) {
    let counts = |limit: &Limit| matches!(limit.bound, Bound::Concurrency(_));
    for (_, mut counter) in limits.filter(|(limit, _)| counts(limit)) {
        counter.held = counter.held.saturating_sub(1);
    }
}

impl Limit {
    /// What refuses one more.
    fn look(&self, counter: &mut Counter, now: Now) -> Option<Refusal> {
        match &self.bound {
            Bound::Rate(_, gcra) => {
                let wait = gcra.wait(counter.arrival_ns, now.ns)?;
                Some(Refusal::RateLimited(retry_after_seconds(wait)))
            }
            Bound::Daily(daily) => {
                let used = counter.days.used(&daily.zone, now.unix_seconds);
                let left = Duration::from_secs(counter.days.left(now.unix_seconds));
                let over = used >= daily.count.get();
                over.then(|| Refusal::QuotaExhausted(retry_after_seconds(left)))
            }
            Bound::Concurrency(most) => {
                (counter.held >= most.get()).then_some(Refusal::ConcurrencyLimited(AGAIN))
            }
        }
    }

    fn spend(&self, counter: &mut Counter, now: Now) {
        match &self.bound {
            Bound::Rate(_, gcra) => counter.arrival_ns = gcra.spend(counter.arrival_ns, now.ns),
            Bound::Daily(_) => counter.days.add(),
            Bound::Concurrency(_) => counter.held = counter.held.saturating_add(1),
        }
    }

    /// What is left of it at this moment.
    pub fn left(&self, counter: &mut Counter, now: Now) -> Left {
        let (requests, more_after) = match &self.bound {
            Bound::Rate(_, gcra) => {
                let next = gcra.next(counter.arrival_ns, now.ns);
                let left = gcra.remaining(counter.arrival_ns, now.ns);
                (left, next.map(retry_after_seconds))
            }
            Bound::Daily(daily) => {
                let used = counter.days.used(&daily.zone, now.unix_seconds);
                let left = Duration::from_secs(counter.days.left(now.unix_seconds));
                let requests = daily.count.get().saturating_sub(used);
                (u64::from(requests), (used > 0).then(|| retry_after_seconds(left)))
            }
            Bound::Concurrency(most) => {
                let requests = most.get().saturating_sub(counter.held);
                (u64::from(requests), (counter.held > 0).then_some(AGAIN))
            }
        };
        Left { requests, more_after }
    }

    /// How long its window is; none where it bounds what is under way.
    fn window(&self) -> Option<Duration> {
        match &self.bound {
            Bound::Rate(rate, _) => Some(rate.period),
            Bound::Daily(_) => Some(DAY),
            Bound::Concurrency(_) => None,
        }
    }
}

/// The name by which clients are told of it.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.of {
            Of::Client => "client",
            Of::All => "all",
            Of::Rule => "rule",
        })?;
        match &self.bound {
            Bound::Rate(..) if self.number == 1 => Ok(()),
            Bound::Rate(..) => write!(f, "-{}", self.number),
            Bound::Daily(_) => f.write_str("-day"),
            Bound::Concurrency(_) => f.write_str("-concurrency"),
        }
    }
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// How many requests may come now.
    pub requests: u64,
    /// Seconds until it may be more; `None`: it is all there.
    pub more_after: Option<u32>,
}

impl Left {
    /// The stricter of the two; the later one where they are alike.
    fn and(self, other: Left) -> Left {
        match self.requests.cmp(&other.requests) {
            std::cmp::Ordering::Less => self,
            std::cmp::Ordering::Greater => other,
            std::cmp::Ordering::Equal => {
                Left { more_after: self.more_after.max(other.more_after), ..self }
            }
        }
    }
}

/// The values of `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10);
/// `None` where nothing is bounded.
///
/// Nobody is invited to a burst that a rate of a shorter window, or the vendor, would refuse
/// (section 6): no more is told than they leave.
pub fn fields<'l, C: DerefMut<Target = Counter>>(
    limits: impl Iterator<Item = (&'l Limit, C)>,
    now: Now,
    vendor: Option<Left>,
) -> Option<(String, String)> {
    let left = limits.map(|(limit, mut counter)| (limit, limit.left(&mut counter, now)));
    let each: SmallVec<[(&Limit, Left); 6]> = left.collect();
    if each.is_empty() {
        return None;
    }
    let (mut policies, mut lefts) = (String::with_capacity(96), String::with_capacity(96));
    for (limit, left) in &each {
        let caps = each.iter().filter(|(other, _)| {
            matches!(other.bound, Bound::Rate(..)) && other.window() <= limit.window()
        });
        let caps = caps.map(|(_, left)| *left).chain(vendor);
        let told = match limit.window() {
            Some(_) => caps.fold(*left, Left::and),
            None => *left,
        };
        let separator = if policies.is_empty() { "" } else { ", " };
        // Writing to a String never fails.
        let _ = write!(policies, "{separator}\"{limit}\";");
        let _ = match &limit.bound {
            Bound::Rate(rate, _) => {
                write!(policies, "q={};w={}", rate.count, rate.period.as_secs())
            }
            Bound::Daily(daily) => write!(policies, "q={};w={}", daily.count, DAY.as_secs()),
            Bound::Concurrency(most) => write!(policies, "q={most};qu=\"concurrent-requests\""),
        };
        let _ = write!(lefts, "{separator}\"{limit}\";r={}", told.requests);
        if let Some(seconds) = told.more_after {
            let _ = write!(lefts, ";t={seconds}");
        }
    }
    Some((policies, lefts))
}

/// What a vendor's `RateLimit` leaves, by the strictest of its members; `None` if it is not one.
pub fn vendors_left(field: &str) -> Option<Left> {
    let mut strictest: Option<Left> = None;
    for member in field.split(',') {
        let (name, parameters) = member.trim().split_once(';')?;
        if !(name.len() > 1 && name.starts_with('"') && name.ends_with('"')) {
            return None;
        }
        let value = |key: &str| {
            let mut pairs = parameters.split(';').filter_map(|pair| pair.trim().split_once('='));
            pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        let requests = value("r")?.parse().ok()?;
        let more_after = value("t").map(str::parse).transpose().ok()?;
        let left = Left { requests, more_after };
        strictest = Some(strictest.map_or(left, |other| other.and(left)));
    }
    strictest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::limits::RateLimit;
    use jiff::tz::TimeZone;
    use proptest::prelude::{Just, ProptestConfig, Strategy, prop_assert, prop_assert_eq};
    use proptest::{prop_oneof, proptest};
    use std::cell::{RefCell, RefMut};

    const SECOND: u64 = 1_000_000_000;

    /// Limits with their counters, as one client has them.
    #[derive(Clone, Debug)]
    struct Set(Vec<(Limit, RefCell<Counter>)>);

    impl Set {
        fn of(typed: &[(Of, Limits)]) -> Set {
            let all = typed.iter().flat_map(|(of, typed)| limits(*of, typed));
            Set(all.map(|limit| (limit, RefCell::default())).collect())
        }

        fn each(&self) -> impl Iterator<Item = (&Limit, RefMut<'_, Counter>)> + Clone {
            self.0.iter().map(|(limit, counter)| (limit, counter.borrow_mut()))
        }

        fn counters(&self) -> Vec<Counter> {
            self.0.iter().map(|(_, counter)| *counter.borrow()).collect()
        }

        fn admit(&self, now: Now) -> Result<Admitted, Refusal> {
            admit(self.each(), now)
        }

        fn fields(&self, now: Now) -> (String, String) {
            fields(self.each(), now, None).expect("limits")
        }
    }

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).expect("at least 1")
    }

    fn rate(text: &str, burst: u32) -> RateLimit {
        RateLimit { rate: Rate::parse(text).expect(text), burst: number(burst) }
    }

    fn daily(count: u32) -> Daily {
        Daily { count: number(count), zone: TimeZone::UTC }
    }

    /// 2026-11-21 00:00 UTC and so many seconds, on both clocks.
    fn at(seconds: u64) -> Now {
        Now { ns: seconds * SECOND, unix_seconds: 1_795_219_200 + seconds as i64 }
    }

    fn one(limits: Limits) -> Set {
        Set::of(&[(Of::Client, limits)])
    }

    #[test]
    fn each_kind_refuses_in_its_own_words() {
        for (limits, refusal) in [
            (
                Limits { rates: vec![rate("1/hour", 1)], ..Limits::default() },
                Refusal::RateLimited(3_600),
            ),
            (
                Limits { daily: Some(daily(1)), ..Limits::default() },
                Refusal::QuotaExhausted(86_400 - 60),
            ),
            (
                Limits { concurrency: Some(number(1)), ..Limits::default() },
                Refusal::ConcurrencyLimited(1),
            ),
        ] {
            let set = one(limits);
            let admitted = set.admit(at(60)).expect("the first");
            assert_eq!(set.admit(at(60)), Err(refusal.clone()));
            let seconds = refusal.retry_after().expect("a wait");
            let (_, left) = set.fields(at(60));
            assert!(left.ends_with(&format!("r=0;t={seconds}")), "{left}");
            give_back(admitted, set.each());
            let held = matches!(refusal, Refusal::ConcurrencyLimited(_));
            assert_eq!(set.admit(at(60)).is_ok(), held, "only a place is given back");
        }
    }

    #[test]
    fn the_longest_wait_is_named_whatever_the_order() {
        let fast = Limits { rates: vec![rate("1/minute", 1)], ..Limits::default() };
        let slow = Limits { rates: vec![rate("1/hour", 1)], ..Limits::default() };
        for typed in [
            [(Of::Client, fast.clone()), (Of::All, slow.clone())],
            [(Of::Client, slow), (Of::Rule, fast)],
        ] {
            let set = Set::of(&typed);
            assert!(set.admit(at(0)).is_ok());
            assert_eq!(set.admit(at(0)), Err(Refusal::RateLimited(3_600)));
            assert_eq!(set.admit(at(60)), Err(Refusal::RateLimited(3_540)));
        }
    }

    #[test]
    fn what_clients_are_told() {
        let own = Limits {
            rates: vec![rate("10/second", 10), rate("600/minute", 60)],
            daily: Some(daily(50_000)),
            concurrency: Some(number(4)),
        };
        let all = Limits { rates: vec![rate("1000/hour", 200)], ..Limits::default() };
        let rule = Limits { daily: Some(daily(5)), ..Limits::default() };
        let set = Set::of(&[(Of::Client, own), (Of::All, all), (Of::Rule, rule)]);
        let (policy, left) = set.fields(at(0));
        assert_eq!(
            policy,
            "\"client\";q=10;w=1, \"client-2\";q=600;w=60, \"client-day\";q=50000;w=86400, \
             \"client-concurrency\";q=4;qu=\"concurrent-requests\", \"all\";q=1000;w=3600, \
             \"rule-day\";q=5;w=86400"
        );
        // Longer windows tell no more than ten a second leave.
        assert_eq!(
            left,
            "\"client\";r=10, \"client-2\";r=10, \"client-day\";r=10, \"client-concurrency\";r=4, \
             \"all\";r=10, \"rule-day\";r=5"
        );
        assert!(set.admit(at(0)).is_ok());
        let (_, left) = set.fields(at(0));
        assert_eq!(
            left,
            "\"client\";r=9;t=1, \"client-2\";r=9;t=1, \"client-day\";r=9;t=1, \
             \"client-concurrency\";r=3;t=1, \"all\";r=9;t=1, \"rule-day\";r=4;t=86400"
        );
        let theirs = vendors_left("\"v\";r=2;t=7");
        let (_, left) = fields(set.each(), at(0), theirs).expect("limits");
        assert!(left.starts_with("\"client\";r=2;t=7, \"client-2\";r=2;t=7,"), "{left}");
        assert!(fields(Set(Vec::new()).each(), at(0), None).is_none());
    }

    #[test]
    fn a_vendors_field_is_read_as_a_whole_or_not() {
        for (field, left) in [
            ("\"a\";r=3", Some((3, None))),
            ("\"a\";r=50;t=9, \"b\";t=4;r=2;pk=:eA==:", Some((2, Some(4)))),
            ("\"a\";r=3;;", Some((3, None))),
            ("a;r=3", None),
            ("\"a\";r=3, x;;", None),
            ("\"a\";r=-1", None),
            ("\"a\";t=1", None),
            ("limit=100, remaining=50, reset=5", None),
            ("", None),
        ] {
            let found = vendors_left(field).map(|left| (left.requests, left.more_after));
            assert_eq!(found, left, "{field}");
        }
    }

    fn any_limits() -> impl Strategy<Value = Limits> {
        let period = prop_oneof![Just("second"), Just("minute"), Just("hour"), Just("day")];
        let one_rate = (1u32..500, period, 1u32..20)
            .prop_map(|(count, unit, burst)| rate(&format!("{count}/{unit}"), burst));
        let rates = proptest::collection::vec(one_rate, 0..4);
        let quota = proptest::option::of((1u32..40).prop_map(daily));
        let places = proptest::option::of((1u32..6).prop_map(number));
        (rates, quota, places).prop_map(|(rates, daily, concurrency)| Limits {
            rates,
            daily,
            concurrency,
        })
    }

    fn any_set() -> impl Strategy<Value = Set> {
        (any_limits(), any_limits(), any_limits()).prop_map(|(own, all, rule)| {
            Set::of(&[(Of::Client, own), (Of::All, all), (Of::Rule, rule)])
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// All pass and each is spent once, or nothing is spent; and whoever waits as long as he
        /// is told, alone and with nothing under way, is let in.
        #[test]
        fn all_or_nothing_and_every_promise_is_kept(
            set in any_set(),
            steps in proptest::collection::vec((0u64..30_000, proptest::bool::ANY), 1..80),
        ) {
            let mut milliseconds = 0;
            let mut under_way = Vec::new();
            for (step, ends) in steps {
                milliseconds += step;
                if ends && let Some(admitted) = under_way.pop() {
                    give_back(admitted, set.each());
                }
                let ns = milliseconds * 1_000_000;
                let now = Now { ns, unix_seconds: at(milliseconds / 1000).unix_seconds };
                let before = set.counters();
                let free = set.0.iter().all(|(limit, counter)| {
                    limit.clone().look(&mut counter.borrow().clone(), now).is_none()
                });
                match set.admit(now) {
                    Ok(admitted) => {
                        prop_assert!(free);
                        under_way.push(admitted);
                        for ((limit, counter), before) in set.0.iter().zip(before) {
                            let mut expected = before;
                            expected.days.used(&TimeZone::UTC, now.unix_seconds);
                            limit.spend(&mut expected, now);
                            let mut found = *counter.borrow();
                            found.days.used(&TimeZone::UTC, now.unix_seconds);
                            prop_assert_eq!(found, expected);
                        }
                    }
                    Err(refusal) => {
                        prop_assert!(!free);
                        for (mut found, mut before) in set.counters().into_iter().zip(before) {
                            // Which day it is may have been looked up.
                            before.days.used(&TimeZone::UTC, now.unix_seconds);
                            found.days.used(&TimeZone::UTC, now.unix_seconds);
                            prop_assert_eq!(found, before);
                        }
                        let wait = u64::from(refusal.retry_after().expect("a wait"));
                        let trial = set.clone();
                        for (_, counter) in &trial.0 {
                            counter.borrow_mut().held = 0;
                        }
                        let later = Now {
                            ns: ns + wait * SECOND,
                            unix_seconds: now.unix_seconds + wait as i64,
                        };
                        prop_assert_eq!(trial.admit(later), Ok(Admitted(())));
                    }
                }
            }
        }

        /// As many as are told of a rate or a quota are admitted by all of them at once, as far
        /// as no quota of another window is stricter.
        #[test]
        fn no_more_is_told_than_is_true(set in any_set(), before in 0usize..30) {
            for _ in 0..before {
                if let Ok(admitted) = set.admit(at(5)) {
                    give_back(admitted, set.each());
                }
            }
            for (limit, counter) in &set.0 {
                let left = limit.left(&mut counter.borrow_mut(), at(5));
                let mut trial = *counter.borrow();
                for _ in 0..left.requests {
                    prop_assert_eq!(limit.look(&mut trial, at(5)), None);
                    limit.spend(&mut trial, at(5));
                }
                let refusal = limit.look(&mut trial, at(5));
                prop_assert!(refusal.is_some());
                if left.requests == 0 {
                    prop_assert_eq!(refusal.and_then(|r| r.retry_after()), left.more_after);
                }
            }
        }
    }
}
