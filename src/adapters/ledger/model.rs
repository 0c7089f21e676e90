//! The ledger in memory, as plain as can be: what every store has to do, and the ledger of tests.
//!
//! Handles share a [`Memory`] as processes share a file; dropping a handle is the death of its
//! process, and what was acknowledged stays.

use super::entry::{Answer, Change, Claim, Entry, Held, NewClaim, Outcome, Purge, Purged};
use super::entry::{Settlement, Standing, Tally, Trouble};
use super::steady::{Steady, milliseconds};
use super::{Clocks, Done, Ledger};
use crate::model::digest::Sha256;
use crate::model::moment::Moment;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What all handles share.
#[derive(Default)]
pub struct Memory(Mutex<Shared>);

#[derive(Default)]
struct Shared {
    entries: BTreeMap<i64, Row>,
    last_id: i64,
    living: BTreeSet<i64>,
    last_generation: i64,
    clock: Option<Moment>,
}

struct Row {
    entry: Entry,
    answer: Option<Answer>,
    doubtful: bool,
}

/// A process's handle.
pub struct ModelLedger {
    memory: Arc<Memory>,
    generation: i64,
    steady: Steady,
    answer_bytes_max: usize,
}

impl ModelLedger {
    /// Begins a generation.
    pub fn open(memory: &Arc<Memory>, clocks: Arc<dyn Clocks>, answer_bytes_max: usize) -> Self {
        let mut shared = memory.locked();
        shared.last_generation += 1;
        let generation = shared.last_generation;
        shared.living.insert(generation);
        let steady = Steady::go_on(clocks, shared.clock);
        shared.bury_dead(steady.now());
        shared.write_clock(steady.now());
        drop(shared);
        ModelLedger { memory: Arc::clone(memory), generation, steady, answer_bytes_max }
    }

    /// The shared state as everybody has to see it.
    fn seen(&self) -> MutexGuard<'_, Shared> {
        self.memory.locked()
    }

    fn apply(&self, change: Change) -> Outcome {
        let now = self.steady.now();
        let mut shared = self.seen();
        shared.write_clock(now);
        match change {
            Change::Claim(new) => self.claim(&mut shared, *new, now),
            Change::Again(from) => self.claim_again(&mut shared, from, now),
            Change::Answer(claim, settlement) => {
                let standing = Standing::Answered;
                self.of(&mut shared, claim, standing, |row| {
                    row.settle(settlement, self.answer_bytes_max, now);
                })
            }
            Change::Doubt(claim, answer) => self.of(&mut shared, claim, Standing::Unknown, |row| {
                if let Some(answer) = answer {
                    row.keep(answer, self.answer_bytes_max);
                }
                row.stand(Standing::Unknown, now);
            }),
            Change::Release(claim) => {
                let Some(row) = self.ours(&mut shared, claim) else { return Outcome::Stale };
                if row.doubtful {
                    row.stand(Standing::Unknown, now);
                } else {
                    shared.entries.remove(&claim.id);
                }
                Outcome::Made
            }
            Change::Resolve(id, found) => self.resolve(&mut shared, id, None, found, now),
            Change::Found(claim, found) => {
                self.resolve(&mut shared, claim.id, Some(claim.attempt), found, now)
            }
            Change::Purge(purge) => Outcome::Purged(shared.purge(purge, now)),
            Change::Bury(_) => {
                shared.bury_dead(now);
                Outcome::Made
            }
        }
    }

    fn resolve(
        &self,
        shared: &mut Shared,
        id: i64,
        attempt: Option<u32>,
        found: Option<Settlement>,
        now: Moment,
    ) -> Outcome {
        let Some(row) = shared.entries.get_mut(&id) else { return Outcome::Stale };
        let same = attempt.is_none_or(|attempt| attempt == row.entry.claim.attempt);
        if row.entry.standing != Standing::Unknown || !same {
            return Outcome::Stale;
        }
        match found {
            Some(settlement) => row.settle(settlement, self.answer_bytes_max, now),
            None => drop(shared.entries.remove(&id)),
        }
        Outcome::Made
    }

    fn claim(&self, shared: &mut Shared, new: NewClaim, now: Moment) -> Outcome {
        let identity = new.identity();
        if shared.find(&identity).is_some() {
            shared.bury_dead(now);
            let taken =
                shared.find(&identity).map_or(Held::Gone, |row| Held::taken(row.entry.clone()));
            return Outcome::Held(taken);
        }
        shared.last_id += 1;
        let claim = Claim { id: shared.last_id, attempt: 1 };
        let entry = Entry {
            claim,
            of: new,
            standing: Standing::InFlight,
            generation: self.generation,
            first_claimed: now,
            since: now,
            status: None,
            kept: false,
        };
        shared.entries.insert(claim.id, Row { entry, answer: None, doubtful: false });
        Outcome::Held(Held::Ours(claim))
    }

    fn claim_again(&self, shared: &mut Shared, from: Claim, now: Moment) -> Outcome {
        let held = match shared.entries.get_mut(&from.id) {
            None => Held::Gone,
            Some(row) if row.entry.claim == from && row.entry.standing == Standing::Unknown => {
                row.doubtful = true;
                row.entry.claim.attempt += 1;
                row.entry.generation = self.generation;
                row.stand(Standing::InFlight, now);
                Held::Ours(row.entry.claim)
            }
            Some(_) => {
                shared.bury_dead(now);
                shared
                    .entries
                    .get(&from.id)
                    .map_or(Held::Gone, |row| Held::taken(row.entry.clone()))
            }
        };
        Outcome::Held(held)
    }

    /// Changes the entry of a claim that is ours and in flight; made once, it may be asked again.
    fn of(
        &self,
        shared: &mut Shared,
        claim: Claim,
        standing: Standing,
        change: impl FnOnce(&mut Row),
    ) -> Outcome {
        if let Some(row) = self.ours(shared, claim) {
            change(row);
            return Outcome::Made;
        }
        let made = shared.entries.get(&claim.id).is_some_and(|row| {
            let ours = row.entry.claim == claim && row.entry.generation == self.generation;
            ours && row.entry.standing == standing
        });
        if made { Outcome::Made } else { Outcome::Stale }
    }

    fn ours<'s>(&self, shared: &'s mut Shared, claim: Claim) -> Option<&'s mut Row> {
        shared.entries.get_mut(&claim.id).filter(|row| {
            let ours = row.entry.claim == claim && row.entry.generation == self.generation;
            ours && row.entry.standing == Standing::InFlight
        })
    }
}

impl Drop for ModelLedger {
    fn drop(&mut self) {
        self.seen().living.remove(&self.generation);
    }
}

impl Ledger for ModelLedger {
    fn submit(&self, change: Change, done: Done) {
        let outcome = self.apply(change);
        let claim = match &outcome {
            Outcome::Held(Held::Ours(claim)) => Some(*claim),
            _ => None,
        };
        if let (false, Some(claim)) = (done(Ok(outcome)), claim) {
            self.apply(Change::Release(claim));
        }
    }

    fn look(&self, identity: &Sha256) -> Result<Option<Entry>, Trouble> {
        let mut shared = self.seen();
        shared.bury_dead(self.now());
        Ok(shared.find(identity).map(|row| row.entry.clone()))
    }

    fn entry(&self, id: i64) -> Result<Option<Entry>, Trouble> {
        let mut shared = self.seen();
        shared.bury_dead(self.now());
        Ok(shared.entries.get(&id).map(|row| row.entry.clone()))
    }

    fn answer_of(&self, id: i64) -> Result<Option<Answer>, Trouble> {
        Ok(self.seen().entries.get(&id).and_then(|row| row.answer.clone()))
    }

    fn list(&self, standing: Standing, after: i64, limit: u32) -> Result<Vec<Entry>, Trouble> {
        let shared = self.seen();
        let later = shared.entries.range(after.saturating_add(1)..).map(|(_, row)| &row.entry);
        let wanted = later.filter(|entry| entry.standing == standing).cloned();
        Ok(wanted.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
    }

    fn tally(&self) -> Result<Tally, Trouble> {
        let shared = self.seen();
        let mut tally = Tally::default();
        for Row { entry, .. } in shared.entries.values() {
            match entry.standing {
                Standing::InFlight => tally.in_flight += 1,
                Standing::Answered => tally.answered += 1,
                Standing::Unknown => {
                    tally.unknown += 1;
                    let oldest = tally.oldest_unknown.get_or_insert(entry.since);
                    // In the order of their numbers: the first one of a time stays.
                    if entry.since.steady_ms < oldest.steady_ms {
                        *oldest = entry.since;
                    }
                }
            }
        }
        Ok(tally)
    }

    fn now(&self) -> Moment {
        self.steady.now()
    }
}

impl Memory {
    fn locked(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn find(&self, identity: &Sha256) -> Option<&Row> {
        self.entries.values().find(|row| row.entry.of.identity() == *identity)
    }

    fn bury_dead(&mut self, now: Moment) -> u32 {
        let mut orphans = 0;
        for row in self.entries.values_mut() {
            let in_flight = row.entry.standing == Standing::InFlight;
            if in_flight && !self.living.contains(&row.entry.generation) {
                row.stand(Standing::Unknown, now);
                orphans += 1;
            }
        }
        if orphans > 0 {
            self.write_clock(now);
        }
        orphans
    }

    fn write_clock(&mut self, now: Moment) {
        let clock = self.clock.get_or_insert(now);
        *clock = Moment { steady_ms: clock.steady_ms.max(now.steady_ms), wall_ms: now.wall_ms };
    }

    fn purge(&mut self, purge: Purge, now: Moment) -> Purged {
        let mut purged = Purged { orphans: self.bury_dead(now), room: true, ..Purged::default() };
        let age = |row: &Row| i128::from(now.steady_ms) - i128::from(row.entry.since.steady_ms);
        let old = |shared: &Shared, kept: bool, least| {
            let mut old: Vec<(u64, i64)> = shared
                .entries
                .values()
                .filter(|row| row.entry.standing == Standing::Answered)
                .filter(|row| !kept || row.answer.is_some())
                .filter(|row| age(row) >= i128::from(milliseconds(least)))
                .map(|row| (row.entry.since.steady_ms, row.entry.claim.id))
                .collect();
            old.sort_unstable();
            old.truncate(usize::try_from(purge.limit).unwrap_or(usize::MAX));
            old
        };
        for (_, id) in old(self, true, purge.answer_retention) {
            if let Some(row) = self.entries.get_mut(&id) {
                row.answer = None;
                row.entry.kept = false;
                purged.answers += 1;
            }
        }
        for (_, id) in old(self, false, purge.retention) {
            self.entries.remove(&id);
            purged.keys += 1;
        }
        purged.more = purged.answers >= purge.limit || purged.keys >= purge.limit;
        purged
    }
}

impl Row {
    fn stand(&mut self, standing: Standing, now: Moment) {
        self.entry.standing = standing;
        self.entry.since = now;
    }

    fn settle(&mut self, settlement: Settlement, answer_bytes_max: usize, now: Moment) {
        match settlement {
            Settlement::Kept(answer) => self.keep(answer, answer_bytes_max),
            Settlement::NotKept(status) => {
                self.entry.status = status;
                self.entry.kept = false;
                self.answer = None;
            }
        }
        self.stand(Standing::Answered, now);
    }

    fn keep(&mut self, answer: Answer, answer_bytes_max: usize) {
        self.entry.status = Some(answer.status);
        self.answer = Some(answer).filter(|answer| answer.body.len() <= answer_bytes_max);
        self.entry.kept = self.answer.is_some();
    }
}
