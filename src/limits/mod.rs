//! The limits of clients while they hold: what is counted, for whom, and what clients are told.
//!
//! A snapshot knows for each client by its number where its counters are; the counters themselves
//! are [`counters`], which outlive it, and the daily ones [`kept`], which outlive the process.

pub mod counters;
pub mod kept;

use crate::adapters::clock::Clock;
use crate::refusal::Refusal;
use crate::stages::authentication::Client;
use crate::stages::authorization::Policies;
use crate::stages::authorization::rules::{Allow, ClientPolicy};
use crate::stages::rate_limit::{self, Admitted, Counter, Left, Limit, Now, Of};
use bytes::Bytes;
use counters::{Counters, Gate};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// `RateLimit-Policy`.
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// `RateLimit`.
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Where the counters of each client are, under one configuration.
#[derive(Default)]
pub struct Limits {
    /// All counters.
    pub counters: Arc<Counters>,
    /// By the number of the client; `None`: nothing bounds it.
    clients: Box<[Option<Arc<OfClient>>]>,
}

/// One client's limits with their counters.
struct OfClient {
    gate: Gate,
    own: Box<[Entry]>,
    rules: Box<[OfRule]>,
}

/// A rule that has limits, and these.
type OfRule = (Arc<Allow>, Box<[Entry]>);

/// A limit and what is remembered of it. It is looked at behind the client's gate.
struct Entry {
    limit: Limit,
    counter: Arc<Mutex<Counter>>,
}

impl Limits {
    /// For these policies; counters of limits that held before go on.
    pub fn new(policies: &Policies, previous: Option<&Limits>) -> Limits {
        let counters = previous.map(|previous| previous.counters.clone()).unwrap_or_default();
        let of_client = |client: &Arc<ClientPolicy>| {
            let rules = client.rules.allows.iter().filter(|rule| rule.limits.is_some());
            let typed = [(Of::Client, &client.limits), (Of::All, &policies.limits)];
            if typed.iter().all(|(_, limits)| limits.is_empty()) && rules.clone().count() == 0 {
                return None;
            }
            let mut book = counters.of(&client.name);
            let own = typed.into_iter().flat_map(|(of, typed)| rate_limit::limits(of, typed));
            let own = own.map(|limit| book.entry(limit, None)).collect();
            let of_rule = |rule: &Arc<Allow>| {
                let limits = rate_limit::limits(Of::Rule, rule.limits.as_deref()?);
                let digest = counters::digest(rule);
                let entries = limits.map(|limit| book.entry(limit, Some(digest))).collect();
                Some((rule.clone(), entries))
            };
            let rules = rules.filter_map(of_rule).collect();
            Some(Arc::new(OfClient { gate: book.gate(), own, rules }))
        };
        let clients = policies.clients.iter().map(of_client).collect();
        Limits { counters, clients }
    }

    /// What bounds this client; `None`: nothing.
    pub fn of(&self, client: &Client) -> Option<Bounds> {
        let client = self.clients.get(client.index())?.clone()?;
        Some(Bounds { client, rule: None, admitted: None, refused: None })
    }

    /// What is left now to the client of this number, with the name of each limit; without those
    /// of its rules.
    pub fn left(&self, client: usize, now: Now) -> Vec<(String, Left)> {
        let Some(client) = self.clients.get(client).and_then(Option::as_ref) else {
            return Vec::new();
        };
        let _gate = closed(&client.gate);
        let left = |entry: &Entry| {
            (entry.limit.to_string(), entry.limit.left(&mut closed(&entry.counter), now))
        };
        client.own.iter().map(left).collect()
    }
}

/// What bounds one request. What it holds is given back when it is dropped.
pub struct Bounds {
    client: Arc<OfClient>,
    /// Which of the rules with limits allows it.
    rule: Option<usize>,
    admitted: Option<Admitted>,
    /// When a limit refused it: what is told of its limits is of the same moment.
    refused: Option<Now>,
}

impl Bounds {
    /// This rule allows it, and bounds it too.
    pub fn under(&mut self, rule: &Arc<Allow>) {
        let rules = &self.client.rules;
        self.rule = rules.iter().position(|(limited, _)| Arc::ptr_eq(limited, rule));
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> + Clone {
        let of_rule = self.rule.and_then(|rule| self.client.rules.get(rule));
        self.client.own.iter().chain(of_rule.into_iter().flat_map(|(_, entries)| entries))
    }

    /// The limits, each with its counter: to be asked for behind the gate.
    fn limits(&self) -> impl Iterator<Item = (&Limit, MutexGuard<'_, Counter>)> + Clone {
        self.entries().map(|entry| (&entry.limit, closed(&entry.counter)))
    }

    /// Decides whether the client may send one more, and counts it.
    ///
    /// # Errors
    /// `rate-limited`, `quota-exhausted`, `concurrency-limited`: then nothing is counted.
    pub fn admit(&mut self, now: Now) -> Result<(), Refusal> {
        let decided = {
            let _gate = closed(&self.client.gate);
            rate_limit::admit(self.limits(), now)
        };
        match decided {
            Ok(admitted) => {
                self.admitted = Some(admitted);
                Ok(())
            }
            Err(refusal) => {
                self.refused = Some(now);
                Err(refusal)
            }
        }
    }

    /// What the client is told of its limits with any answer. Given the fields of a vendor's
    /// answer, whose own ones these replace, no more is told than the vendor leaves.
    pub fn fields(&self, now: Now, vendor: Option<&HeaderMap>) -> Option<[Field; 2]> {
        let theirs = vendor.into_iter().flat_map(|headers| headers.get_all(RATELIMIT));
        let theirs = theirs.filter_map(|value| rate_limit::vendors_left(value.to_str().ok()?));
        let theirs = theirs.min_by_key(|left| left.requests);
        let now = self.refused.unwrap_or(now);
        let (policy, left) = {
            let _gate = closed(&self.client.gate);
            rate_limit::fields(self.limits(), now, theirs)?
        };
        let value = |text: String| HeaderValue::from_maybe_shared(Bytes::from(text)).ok();
        Some([(RATELIMIT_POLICY, value(policy)?), (RATELIMIT, value(left)?)])
    }

    /// Hands what it holds over to whoever ends the request; what is left only tells.
    pub fn hand_over(&mut self) -> Bounds {
        let client = self.client.clone();
        Bounds { client, rule: self.rule, admitted: self.admitted.take(), refused: self.refused }
    }

    /// The request is over: what it held is free for the next one.
    pub fn give_back(&mut self) {
        if let Some(admitted) = self.admitted.take() {
            let _gate = closed(&self.client.gate);
            rate_limit::give_back(admitted, self.limits());
        }
    }
}

impl Drop for Bounds {
    fn drop(&mut self) {
        self.give_back();
    }
}

type Field = (HeaderName, HeaderValue);

/// This moment, by both clocks.
pub fn moment(clock: &Clock) -> Now {
    Now { ns: clock.exact_ns(), unix_seconds: clock.exact_unix_seconds() }
}

/// What a panic left behind is still a number.
fn closed<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::limits::{Daily, Limits as Typed, Priority, RateLimit};
    use crate::model::methods::MethodSet;
    use crate::model::path::PathPattern;
    use crate::model::rates::Rate;
    use crate::model::scopes::Scopes;
    use crate::stages::authentication::directory::Directory;
    use crate::stages::authorization::rules::{Place, Rules};
    use jiff::tz::TimeZone;
    use std::num::NonZeroU32;

    fn typed(count: &str) -> Typed {
        let rate = Rate::parse(count).expect(count);
        Typed {
            rates: vec![RateLimit { rate, burst: rate.count }],
            daily: Some(Daily { count: rate.count, zone: TimeZone::UTC }),
            concurrency: NonZeroU32::new(1_000),
        }
    }

    fn rule(limits: Option<Typed>) -> Allow {
        Allow {
            place: Place { file: "a.toml".into(), line: 1 },
            route: "r".into(),
            methods: MethodSet::ALL,
            paths: Box::new([PathPattern::everything()]),
            query: Box::default(),
            scopes: Scopes::default(),
            idempotency: None,
            credential: None,
            limits: limits.map(Box::new),
        }
    }

    fn policies(clients: usize, own: &Typed, rules: &[Option<Typed>]) -> (Policies, Directory) {
        let (mut directory, mut policies) = (Directory::default(), Policies::default());
        for number in 0..clients {
            let name: Arc<str> = format!("client-{number}").into();
            directory.add(name.clone(), &[]);
            let allows = rules.iter().map(|limits| rule(limits.clone())).collect();
            policies.clients.push(Arc::new(ClientPolicy {
                name,
                description: None,
                owner: None,
                suspended: None,
                priority: Priority::Normal,
                share: NonZeroU32::MIN,
                limits: own.clone(),
                rules: Rules::new(allows, Vec::new(), &["r".into()]),
            }));
        }
        (policies, directory)
    }

    fn client(directory: &Directory, name: &str) -> Client {
        Client::supposed(directory, name, Scopes::default()).expect("known")
    }

    #[test]
    fn a_look_takes_nothing_from_the_heap() {
        let (mut policies, directory) = policies(1, &typed("900/second"), &[Some(typed("9/day"))]);
        policies.limits = typed("500/minute");
        let (limits, clock) = (Limits::new(&policies, None), Clock::default());
        let client = client(&directory, "client-0");
        let rule = policies.clients[0].rules.allows[0].clone();
        let mut decided = Vec::with_capacity(100);
        // The first look of a day asks the calendar.
        let ask = || {
            let mut bounds = limits.of(&client).expect("bounded");
            bounds.under(&rule);
            bounds.admit(moment(&clock)).map_err(|refusal| refusal.slug())
        };
        decided.push(ask());
        let allocated = allocation_counter::measure(|| (0..20).for_each(|_| decided.push(ask())));
        assert_eq!(allocated.count_total, 0);
        assert_eq!(decided.iter().filter(|decided| decided.is_ok()).count(), 9);
        assert!(decided.last().is_some_and(Result::is_err));
    }

    #[test]
    fn what_is_not_limited_costs_a_pointer() {
        let (policies, directory) = policies(10_000, &Typed::default(), &[None, None, None]);
        let mut limits = None;
        let allocated = allocation_counter::measure(|| limits = Some(Limits::new(&policies, None)));
        assert!(allocated.bytes_max < 10_000 * 17, "{allocated:?}");
        assert!(limits.expect("made").of(&client(&directory, "client-9999")).is_none());
    }

    #[test]
    fn many_at_once_are_never_more_than_allowed() {
        let (policies, directory) = policies(1, &typed("50/day"), &[Some(typed("40/day"))]);
        let (limits, clock) = (Limits::new(&policies, None), Clock::default());
        let client = client(&directory, "client-0");
        let rule = &policies.clients[0].rules.allows[0];
        let admitted: usize = std::thread::scope(|scope| {
            let knock = || {
                let one = |_: &u32| {
                    let mut bounds = limits.of(&client).expect("bounded");
                    bounds.under(rule);
                    bounds.admit(moment(&clock)).is_ok()
                };
                (0..1_000).filter(one).count()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(knock)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(admitted, 40);
        let left = limits.left(0, moment(&clock));
        let left: Vec<(&str, u64)> = left.iter().map(|(n, left)| (&**n, left.requests)).collect();
        // What the rule refused is not spent, and every place is given back.
        assert_eq!(left, [("client", 10), ("client-day", 10), ("client-concurrency", 1_000)]);
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten_once_it_bounds_nothing() {
        let (policies, directory) = policies(1, &typed("7/second"), &[None]);
        let limits = Limits::new(&policies, None);
        let mut bounds = limits.of(&client(&directory, "client-0")).expect("bounded");
        let now = Now { ns: 5, unix_seconds: 1_795_219_200 };
        assert_eq!(bounds.admit(now), Ok(()));
        let counters = limits.counters.clone();
        let after = Limits::new(&Policies::default(), Some(&limits));
        drop((limits, after));
        let later = |seconds: i64| Now {
            ns: 5 + seconds as u64 * 1_000_000_000,
            unix_seconds: now.unix_seconds + seconds,
        };
        assert_eq!(counters.forget(later(100_000)), 3, "a request is under way");
        drop(bounds);
        assert_eq!(counters.forget(now), 2, "a rate and a quota");
        assert_eq!(counters.forget(later(1)), 1, "a quota");
        assert_eq!(counters.forget(later(86_400)), 0);
    }
}
