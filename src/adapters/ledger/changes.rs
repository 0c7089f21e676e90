//! What each change does to the rows of the embedded ledger, inside one transaction.

use super::entry::{Answer, Change, Claim, Entry, Held, NewClaim, Outcome, Purge};
use super::entry::{Purged, Settlement, Standing, Trouble};
use super::generation::Locks;
use super::rows::{self, carried, code, trouble, whole};
use super::seal::{Name, Seal};
use super::steady::{Steady, milliseconds};
use super::writer::Store;
use super::{kept, private};
use crate::model::moment::Moment;
use rusqlite::{Connection, OptionalExtension, Params, params};
use std::sync::Arc;

/// The bytes that are left on the ledger's disk; `None`: nobody knows.
pub type Space = Box<dyn Fn() -> Option<u64> + Send>;

/// Bytes that one claim may need besides its answer.
const ENTRY_BYTES: u64 = 32 << 10;

/// The side of the embedded ledger that writes: the writer's thread has it.
pub struct Rows {
    /// With the transaction, if one is open.
    pub connection: Connection,
    /// What values are sealed with.
    pub seal: Arc<Seal>,
    /// Own number.
    pub generation: i64,
    /// Who lives.
    pub locks: Locks,
    /// The clock.
    pub steady: Arc<Steady>,
    /// The largest body that is kept.
    pub answer_bytes_max: usize,
    /// What is left on the disk.
    pub space: Space,
    /// Bytes that are never touched.
    pub reserve_bytes: u64,
}

impl Store for Rows {
    fn begin(&mut self) -> Result<(), Trouble> {
        self.run("BEGIN IMMEDIATE", []).map(drop).map_err(trouble)
    }

    fn apply(&mut self, change: &Change) -> Result<Result<Outcome, Trouble>, Trouble> {
        if matches!(change, Change::Claim(_) | Change::Again(_)) && !self.has_room()? {
            return Ok(Err(Trouble::Full));
        }
        let room = !matches!(change, Change::Purge(_)) || self.has_room()?;
        let now = self.steady.now();
        let outcome = match change {
            Change::Claim(new) => self.claim(new, now),
            Change::Again(from) => self.claim_again(*from, now),
            Change::Answer(claim, settlement) => self.answer(*claim, settlement, now),
            Change::Release(claim) => self.release(*claim, now),
            Change::Doubt(claim, answer) => self.doubt(*claim, answer.as_ref(), now),
            Change::Resolve(id, found) => self.resolve(*id, None, found.as_ref(), now),
            Change::Found(claim, found) => {
                self.resolve(claim.id, Some(claim.attempt), found.as_ref(), now)
            }
            Change::Purge(purge) => self.purge(*purge, room, now),
            Change::Bury(number) => self.bury(*number, now).map(|_| Outcome::Made),
        };
        outcome.map(Ok).map_err(trouble)
    }

    fn commit(&mut self) -> Result<(), Trouble> {
        self.write_clock().map_err(trouble)?;
        self.run("COMMIT", []).map(drop).map_err(trouble)
    }

    fn roll_back(&mut self) {
        if !self.connection.is_autocommit() {
            // The database may have done so itself.
            let _ = self.run("ROLLBACK", []);
        }
    }
}

impl Rows {
    /// Every claim has to be able to store its answer.
    fn has_room(&self) -> Result<bool, Trouble> {
        let Some(left) = (self.space)() else { return Ok(true) };
        let in_flight: i64 = self
            .connection
            .prepare_cached("SELECT entries FROM tally WHERE standing = 0")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(trouble)?;
        let claims = u64::try_from(in_flight).unwrap_or(0).saturating_add(1);
        let body = u64::try_from(self.answer_bytes_max).unwrap_or(u64::MAX);
        let each = body.saturating_add(ENTRY_BYTES);
        Ok(left >= self.reserve_bytes.saturating_add(each.saturating_mul(claims)))
    }

    fn claim(&mut self, new: &NewClaim, now: Moment) -> rusqlite::Result<Outcome> {
        let name = self.seal.name(&new.identity());
        let before = self.one(rows::BY_IDENTITY, [name])?;
        if before.is_some() {
            return self.taken(before, now);
        }
        self.run(
            "INSERT INTO claims(identity, client, vendor, private, correlation, route, method,
                 credential, standing, attempt, generation, first_steady, first_wall,
                 since_steady, since_wall, doubtful, status, kept)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 1, ?9, ?10, ?11, ?10, ?11, 0, NULL, 0)",
            params![
                name,
                new.client,
                new.vendor,
                private::pack(&self.seal, &name, new).map_err(carried)?,
                new.correlation,
                new.route,
                new.method,
                new.credential,
                self.generation,
                whole(now.steady_ms),
                now.wall_ms,
            ],
        )?;
        let id = self.connection.last_insert_rowid();
        Ok(Outcome::Held(Held::Ours(Claim { id, attempt: 1 })))
    }

    /// Says who has it; one whose holder is dead is unknown from now on.
    fn taken(&mut self, entry: Option<Entry>, now: Moment) -> rusqlite::Result<Outcome> {
        let Some(entry) = entry else { return Ok(Outcome::Held(Held::Gone)) };
        if entry.standing == Standing::InFlight && self.bury(entry.generation, now)? > 0 {
            let entry = self.one(rows::BY_ID, [entry.claim.id])?;
            return Ok(Outcome::Held(entry.map_or(Held::Gone, Held::taken)));
        }
        Ok(Outcome::Held(Held::taken(entry)))
    }

    fn claim_again(&mut self, from: Claim, now: Moment) -> rusqlite::Result<Outcome> {
        let taken = self.run(
            "UPDATE claims SET standing = 0, attempt = attempt + 1, generation = ?3, doubtful = 1,
                 since_steady = ?4, since_wall = ?5
             WHERE id = ?1 AND attempt = ?2 AND standing = 2",
            params![from.id, from.attempt, self.generation, whole(now.steady_ms), now.wall_ms],
        )?;
        if taken == 1 {
            let attempt = from.attempt.saturating_add(1);
            return Ok(Outcome::Held(Held::Ours(Claim { attempt, ..from })));
        }
        let entry = self.one(rows::BY_ID, [from.id])?;
        self.taken(entry, now)
    }

    fn answer(
        &mut self,
        claim: Claim,
        settlement: &Settlement,
        now: Moment,
    ) -> rusqlite::Result<Outcome> {
        if !self.is_ours(claim)? {
            // Asked once more after a commit of which nobody knew whether it was made.
            return Ok(made(self.is_standing(claim, Standing::Answered)?));
        }
        self.settle(claim.id, settlement, now)?;
        Ok(Outcome::Made)
    }

    fn release(&mut self, claim: Claim, now: Moment) -> rusqlite::Result<Outcome> {
        if !self.is_ours(claim)? {
            return Ok(Outcome::Stale);
        }
        // An earlier attempt may have acted, whatever came of this one.
        let doubtful = self.stand(
            "UPDATE claims SET standing = 2, since_steady = ?2, since_wall = ?3
             WHERE id = ?1 AND doubtful = 1",
            claim.id,
            now,
        )?;
        if doubtful == 0 {
            self.free(claim.id)?;
        }
        Ok(Outcome::Made)
    }

    fn doubt(
        &mut self,
        claim: Claim,
        answer: Option<&Answer>,
        now: Moment,
    ) -> rusqlite::Result<Outcome> {
        if !self.is_ours(claim)? {
            return Ok(made(self.is_standing(claim, Standing::Unknown)?));
        }
        if let Some(answer) = answer {
            // Never removed for its age: without a time.
            let kept = self.keep(claim.id, answer, None)?;
            self.run(
                "UPDATE claims SET status = ?2, kept = ?3 WHERE id = ?1",
                params![claim.id, answer.status, kept],
            )?;
        }
        self.stand(
            "UPDATE claims SET standing = 2, since_steady = ?2, since_wall = ?3 WHERE id = ?1",
            claim.id,
            now,
        )?;
        Ok(Outcome::Made)
    }

    fn resolve(
        &mut self,
        id: i64,
        attempt: Option<u32>,
        found: Option<&Settlement>,
        now: Moment,
    ) -> rusqlite::Result<Outcome> {
        let unknown = self
            .connection
            .prepare_cached(
                "SELECT 1 FROM claims
                 WHERE id = ?1 AND standing = 2 AND attempt = ifnull(?2, attempt)",
            )?
            .exists(params![id, attempt])?;
        match found {
            _ if !unknown => return Ok(Outcome::Stale),
            Some(settlement) => self.settle(id, settlement, now)?,
            None => self.free(id)?,
        }
        Ok(Outcome::Made)
    }

    fn purge(&mut self, purge: Purge, room: bool, now: Moment) -> rusqlite::Result<Outcome> {
        let before = |age| whole(now.steady_ms) - whole(milliseconds(age));
        let mut purged = Purged { orphans: self.bury_all(now)?, room, ..Purged::default() };
        let old = "SELECT entry FROM answers
             WHERE settled_steady IS NOT NULL AND settled_steady <= ?1
             ORDER BY settled_steady, entry LIMIT ?2";
        for id in self.numbers(old, params![before(purge.answer_retention), purge.limit])? {
            self.run("DELETE FROM answers WHERE entry = ?1", [id])?;
            self.run("UPDATE claims SET kept = 0 WHERE id = ?1", [id])?;
            purged.answers += 1;
        }
        let old = "SELECT id FROM claims WHERE standing = 1 AND since_steady <= ?1
             ORDER BY since_steady, id LIMIT ?2";
        for id in self.numbers(old, params![before(purge.retention), purge.limit])? {
            self.free(id)?;
            purged.keys += 1;
        }
        purged.more = purged.answers >= purge.limit || purged.keys >= purge.limit;
        Ok(Outcome::Purged(purged))
    }

    /// Claims of all dead processes become unknown; returns how many.
    pub fn bury_all(&mut self, now: Moment) -> rusqlite::Result<u32> {
        let others = "SELECT number FROM generations WHERE number != ?1";
        let mut orphans = 0;
        for number in self.numbers(others, [self.generation])? {
            orphans += self.bury(number, now)?;
            if self.locks.is_dead(number) {
                self.run("DELETE FROM generations WHERE number = ?1", [number])?;
                self.locks.forget(number);
            }
        }
        Ok(orphans)
    }

    /// Claims of this process become unknown if it is dead; returns how many.
    fn bury(&mut self, number: i64, now: Moment) -> rusqlite::Result<u32> {
        if number == self.generation || !self.locks.is_dead(number) {
            return Ok(0);
        }
        let orphans = self.run(
            "UPDATE claims SET standing = 2, since_steady = ?2, since_wall = ?3
             WHERE standing = 0 AND standing != 1 AND generation = ?1",
            params![number, whole(now.steady_ms), now.wall_ms],
        )?;
        Ok(u32::try_from(orphans).unwrap_or(u32::MAX))
    }

    fn settle(&self, id: i64, settlement: &Settlement, now: Moment) -> rusqlite::Result<()> {
        let (status, kept) = match settlement {
            Settlement::Kept(answer) => (Some(answer.status), self.keep(id, answer, Some(now))?),
            Settlement::NotKept(status) => (*status, false),
        };
        if !kept {
            self.run("DELETE FROM answers WHERE entry = ?1", [id])?;
        }
        self.run(
            "UPDATE claims SET standing = 1, status = ?2, kept = ?3, since_steady = ?4,
                 since_wall = ?5 WHERE id = ?1",
            params![id, status, kept, whole(now.steady_ms), now.wall_ms],
        )?;
        Ok(())
    }

    /// Whether the answer is one that is kept.
    fn keep(&self, id: i64, answer: &Answer, settled: Option<Moment>) -> rusqlite::Result<bool> {
        let Some(packed) = kept::pack(answer, self.answer_bytes_max) else {
            self.run("DELETE FROM answers WHERE entry = ?1", [id])?;
            return Ok(false);
        };
        let raw_bytes = i64::try_from(packed.raw_bytes).unwrap_or(i64::MAX);
        let name: Name = self
            .connection
            .prepare_cached("SELECT identity FROM claims WHERE id = ?1")?
            .query_row([id], |row| row.get(0))?;
        let bound = kept::bound(&name, answer.status, raw_bytes);
        let octets = self.seal.close(&bound, packed.octets).map_err(carried)?;
        let settled = settled.map(|at| whole(at.steady_ms));
        self.run(
            "INSERT OR REPLACE INTO answers VALUES (?1, ?2, ?3, ?4)",
            params![id, raw_bytes, octets, settled],
        )?;
        Ok(true)
    }

    fn free(&self, id: i64) -> rusqlite::Result<()> {
        self.run("DELETE FROM answers WHERE entry = ?1", [id])?;
        self.run("DELETE FROM claims WHERE id = ?1", [id]).map(drop)
    }

    fn is_ours(&self, claim: Claim) -> rusqlite::Result<bool> {
        self.is_standing(claim, Standing::InFlight)
    }

    fn is_standing(&self, claim: Claim, standing: Standing) -> rusqlite::Result<bool> {
        let found = "SELECT 1 FROM claims
             WHERE id = ?1 AND attempt = ?2 AND generation = ?3 AND standing = ?4";
        let mut statement = self.connection.prepare_cached(found)?;
        statement.exists(params![claim.id, claim.attempt, self.generation, code(standing)])
    }

    fn stand(&self, statement: &str, id: i64, now: Moment) -> rusqlite::Result<usize> {
        self.run(statement, params![id, whole(now.steady_ms), now.wall_ms])
    }

    fn one(&self, statement: &str, params: impl Params) -> rusqlite::Result<Option<Entry>> {
        rows::one(&self.connection, &self.seal, statement, params)
    }

    fn run(&self, statement: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.connection.prepare_cached(statement)?.execute(params)
    }

    fn numbers(&self, statement: &str, params: impl Params) -> rusqlite::Result<Vec<i64>> {
        let mut statement = self.connection.prepare_cached(statement)?;
        statement.query_map(params, |row| row.get(0))?.collect()
    }

    /// From where the next process goes on. Two processes write here: neither sets it back.
    pub fn write_clock(&self) -> rusqlite::Result<()> {
        let Moment { steady_ms, wall_ms } = self.steady.now();
        self.run(
            "INSERT INTO clock VALUES (1, ?1, ?2) ON CONFLICT DO UPDATE
             SET steady = max(steady, excluded.steady), wall = excluded.wall",
            params![whole(steady_ms), wall_ms],
        )
        .map(drop)
    }

    /// The clock as it was written last.
    pub fn last_moment(connection: &Connection) -> rusqlite::Result<Option<Moment>> {
        let statement = "SELECT steady, wall FROM clock WHERE one = 1";
        let read = |row: &rusqlite::Row<'_>| Ok(rows::moment(row.get(0)?, row.get(1)?));
        connection.query_row(statement, [], read).optional()
    }
}

fn made(made: bool) -> Outcome {
    if made { Outcome::Made } else { Outcome::Stale }
}
