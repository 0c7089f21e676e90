//! The counters of all clients, by client and limit: they outlive every reload.
//!
//! A counter belongs to what is limited and to its rate or zone. So a limit that a reload leaves
//! as it is goes on, and one that it changes begins anew; a daily quota of another size goes on.

use super::closed;
use super::{Entry, Limit};
use crate::model::days::Day;
use crate::model::digest::Sha256;
use crate::model::rates::Rate;
use crate::stages::authorization::rules::Allow;
use crate::stages::rate_limit::{Bound, Counter, Now, Of};
use jiff::tz::TimeZone;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Whoever looks at a client's counters closes it behind himself: so all of them are looked at
/// before any is spent.
pub type Gate = Arc<Mutex<()>>;

/// All counters.
#[derive(Default)]
pub struct Counters {
    clients: Mutex<HashMap<Arc<str>, Book>>,
}

#[derive(Default)]
struct Book {
    gate: Gate,
    counters: Vec<(Key, Arc<Mutex<Counter>>)>,
}

/// What a counter belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Whom the limit bounds.
    pub of: Of,
    /// Which rule, by [`digest`].
    pub rule: Option<Sha256>,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// The rate, and how many of the same stand before it.
    Rate(Rate, usize),
    Daily(TimeZone),
    Concurrency,
}

impl Key {
    /// Of a daily quota.
    pub fn daily(of: Of, rule: Option<Sha256>, zone: TimeZone) -> Key {
        Key { of, rule, kind: Kind::Daily(zone) }
    }

    /// The zone of a daily quota.
    pub fn zone(&self) -> Option<&TimeZone> {
        match &self.kind {
            Kind::Daily(zone) => Some(zone),
            Kind::Rate(..) | Kind::Concurrency => None,
        }
    }
}

/// Names a rule by what it allows, so that it may be moved within its file.
pub fn digest(rule: &Allow) -> Sha256 {
    let mut text = format!("{}\n{}\n", rule.route, rule.methods.allow());
    rule.paths.iter().for_each(|path| text.push_str(&format!("{path}\n")));
    rule.query.iter().for_each(|parameter| text.push_str(&format!("?{parameter}\n")));
    rule.scopes.iter().for_each(|scope| text.push_str(&format!("+{scope}\n")));
    Sha256::of(text.as_bytes())
}

impl Counters {
    /// The counters of one client, while its limits are put together.
    pub(super) fn of(&self, client: &Arc<str>) -> OpenBook<'_> {
        let mut clients = closed(&self.clients);
        clients.entry(client.clone()).or_default();
        OpenBook { clients, client: client.clone(), taken: Vec::new() }
    }

    /// What was used of every daily quota.
    pub fn used(&self) -> Vec<(Arc<str>, Key, Vec<Day>)> {
        let clients = closed(&self.clients);
        let each = clients.iter().flat_map(|(client, book)| {
            let daily = book.counters.iter().filter(|(key, _)| key.zone().is_some());
            daily.map(move |(key, counter)| {
                let days = closed(counter).days.known().collect();
                (client.clone(), key.clone(), days)
            })
        });
        each.filter(|(_, _, days): &(_, _, Vec<Day>)| !days.is_empty()).collect()
    }

    /// Somebody else knows that so much was used.
    pub fn raise(&self, client: &str, key: Key, known: Day) {
        let mut clients = closed(&self.clients);
        let book = clients.entry(Arc::from(client)).or_default();
        let gate = book.gate.clone();
        let _gate = closed(&gate);
        closed(&book.counter(key)).days.raise(known);
    }

    /// Forgets what no limit asks for any more, once it bounds nothing. Returns how many counters
    /// are left.
    pub fn forget(&self, now: Now) -> usize {
        let mut clients = closed(&self.clients);
        for book in clients.values_mut() {
            book.counters.retain(|(key, counter)| {
                Arc::strong_count(counter) > 1 || still_bounds(key, &mut closed(counter), now)
            });
        }
        clients.retain(|_, book| !book.counters.is_empty() || Arc::strong_count(&book.gate) > 1);
        clients.values().map(|book| book.counters.len()).sum()
    }
}

fn still_bounds(key: &Key, counter: &mut Counter, now: Now) -> bool {
    match &key.kind {
        Kind::Rate(..) => counter.arrival_ns > now.ns,
        Kind::Daily(zone) => counter.days.used(zone, now.unix_seconds) > 0,
        Kind::Concurrency => counter.held > 0,
    }
}

impl Book {
    fn counter(&mut self, key: Key) -> Arc<Mutex<Counter>> {
        if let Some((_, counter)) = self.counters.iter().find(|(known, _)| *known == key) {
            return counter.clone();
        }
        let counter = Arc::default();
        self.counters.push((key, Arc::clone(&counter)));
        counter
    }
}

/// One client's counters, found or made.
pub(super) struct OpenBook<'c> {
    clients: MutexGuard<'c, HashMap<Arc<str>, Book>>,
    client: Arc<str>,
    /// Rates so far: two of the same have a counter each.
    taken: Vec<(Of, Option<Sha256>, Rate)>,
}

impl OpenBook<'_> {
    /// A limit with its counter.
    pub(super) fn entry(&mut self, limit: Limit, rule: Option<Sha256>) -> Entry {
        let kind = match &limit.bound {
            Bound::Rate(rate, _) => {
                let this = (limit.of, rule, *rate);
                let before = self.taken.iter().filter(|taken| **taken == this).count();
                self.taken.push(this);
                Kind::Rate(*rate, before)
            }
            Bound::Daily(daily) => Kind::Daily(daily.zone.clone()),
            Bound::Concurrency(_) => Kind::Concurrency,
        };
        let key = Key { of: limit.of, rule, kind };
        let counter = match self.clients.get_mut(&self.client) {
            Some(book) => book.counter(key),
            None => Arc::default(),
        };
        Entry { limit, counter }
    }

    /// The client's gate.
    pub(super) fn gate(&self) -> Gate {
        self.clients.get(&self.client).map(|book| book.gate.clone()).unwrap_or_default()
    }
}
