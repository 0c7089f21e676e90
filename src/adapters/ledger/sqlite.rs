//! The embedded ledger: one SQLite file that several processes of one machine may share.

use super::changes::{Rows, Space};
use super::entry::{Answer, Change, Entry, Standing, Tally, Trouble};
use super::generation::{Generation, Locks};
use super::rows::{self, code, trouble};
use super::schema::Open;
use super::seal::{EncryptionKey, Name, Seal};
use super::steady::Steady;
use super::writer::{Observe, Writer};
use super::{Clocks, Done, Ledger, kept, schema};
use crate::model::digest::Sha256;
use crate::model::moment::Moment;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long another process is waited for that writes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of the disk that claims leave untouched: the write-ahead log needs them.
pub(super) const RESERVE_BYTES: u64 = 64 << 20;

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// Whether one is made where there is none.
    pub create: bool,
    /// The largest body that is kept.
    pub answer_bytes_max: usize,
    /// With which the ledger is encrypted, if it is.
    pub encryption_key: Option<EncryptionKey>,
}

/// The embedded ledger, open for writing.
pub struct SqliteLedger {
    // Dropped in this order: the writer is the last to close the file, and so empties its log into
    // it; what was submitted is written, and only then may others take this process for dead.
    reader: Reader,
    writer: Writer,
    locks: Locks,
    steady: Arc<Steady>,
    generation: Generation,
}

/// What became known when the ledger was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// There was none before: for the audit log, and for `/readyz`.
    pub created: bool,
    /// Claims of dead processes, which are unknown now.
    pub orphans: u32,
}

impl SqliteLedger {
    /// Opens the ledger and begins a generation. Blocks, for as long as it takes to read the file.
    ///
    /// # Errors
    /// Why it is not taken; then it is what it was.
    pub fn open(
        settings: &Settings,
        clocks: Arc<dyn Clocks>,
        observe: Observe,
    ) -> Result<(SqliteLedger, Opened), Trouble> {
        let space = space_of(&settings.path);
        SqliteLedger::open_with(settings, clocks, observe, (space, RESERVE_BYTES))
    }

    /// Opens it with another measure of what is left on the disk, and of what is to be left.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn open_with(
        settings: &Settings,
        clocks: Arc<dyn Clocks>,
        observe: Observe,
        (space, reserve_bytes): (Space, u64),
    ) -> Result<(SqliteLedger, Opened), Trouble> {
        let key = settings.encryption_key.as_ref();
        let open = schema::open(&settings.path, settings.create, key, PATIENCE)?;
        let Open { mut connection, seal, created } = open;
        // By its one name: another one of the same file would have other locks.
        let path = settings.path.canonicalize();
        let path = path.map_err(|error| Trouble::Unreadable(error.to_string()))?;
        let locks = Locks::of(&path);
        let last = Rows::last_moment(&connection).map_err(trouble)?;
        let steady = Arc::new(Steady::go_on(clocks, last));
        let generation = begin_generation(&mut connection, &locks, steady.now())?;
        let mut rows = Rows {
            connection,
            seal: Arc::new(seal),
            generation: generation.number,
            locks: locks.clone(),
            steady: Arc::clone(&steady),
            answer_bytes_max: settings.answer_bytes_max,
            space,
            reserve_bytes,
        };
        let orphans = rows.bury_all(steady.now()).map_err(trouble)?;
        rows.write_clock().map_err(trouble)?;
        let reader = Reader::open(&path, key)?;
        let writer = Writer::start(rows, observe)?;
        let ledger = SqliteLedger { reader, writer, locks, steady, generation };
        Ok((ledger, Opened { created, orphans }))
    }

    /// Number of this process in the ledger.
    pub fn generation(&self) -> i64 {
        self.generation.number
    }

    /// One whose holder is dead is unknown, whatever is written.
    fn judged(&self, entry: Option<Entry>) -> Result<Option<Entry>, Trouble> {
        let Some(entry) = entry else { return Ok(None) };
        let orphan = entry.standing == Standing::InFlight
            && entry.generation != self.generation.number
            && self.locks.is_dead(entry.generation);
        if !orphan {
            return Ok(Some(entry));
        }
        // What it did before it died may have been written since we looked.
        let buried = self.change(Change::Bury(entry.generation));
        let again = self.reader.entry(entry.claim.id)?;
        Ok(again.map(|again| match (again.standing, buried) {
            (Standing::InFlight, Err(_)) if again.claim == entry.claim => {
                Entry { standing: Standing::Unknown, since: self.now(), ..again }
            }
            _ => again,
        }))
    }
}

impl Ledger for SqliteLedger {
    fn submit(&self, change: Change, done: Done) {
        self.writer.submit(change, done);
    }

    fn look(&self, identity: &Sha256) -> Result<Option<Entry>, Trouble> {
        self.judged(self.reader.look(identity)?)
    }

    fn entry(&self, id: i64) -> Result<Option<Entry>, Trouble> {
        self.judged(self.reader.entry(id)?)
    }

    fn answer_of(&self, id: i64) -> Result<Option<Answer>, Trouble> {
        self.reader.answer_of(id)
    }

    fn list(&self, standing: Standing, after: i64, limit: u32) -> Result<Vec<Entry>, Trouble> {
        self.reader.list(standing, after, limit)
    }

    fn tally(&self) -> Result<Tally, Trouble> {
        self.reader.tally()
    }

    fn now(&self) -> Moment {
        self.steady.now()
    }
}

/// The side that only reads: it works also where nothing can be written.
pub struct Reader {
    connection: Mutex<Connection>,
    seal: Seal,
    path: PathBuf,
}

impl Reader {
    /// Opens a ledger for reading. Where nothing can be written it may know no more than what was
    /// true when it was opened: whoever opens the ledger for writing later needs another one.
    ///
    /// # Errors
    /// Why it can't be read.
    pub fn open(path: &Path, key: Option<&EncryptionKey>) -> Result<Reader, Trouble> {
        let connection = schema::open_to_read(path, PATIENCE)?;
        let seal = Seal::of(&connection, key)?;
        Ok(Reader { connection: Mutex::new(connection), seal, path: path.to_owned() })
    }

    /// What is written of a key; its holder may be dead.
    ///
    /// # Errors
    /// Why that can't be told.
    pub fn look(&self, identity: &Sha256) -> Result<Option<Entry>, Trouble> {
        let name = self.seal.name(identity);
        rows::one(&self.locked(), &self.seal, rows::BY_IDENTITY, [name]).map_err(trouble)
    }

    /// What is written of an entry; its holder may be dead.
    ///
    /// # Errors
    /// Why that can't be told.
    pub fn entry(&self, id: i64) -> Result<Option<Entry>, Trouble> {
        rows::one(&self.locked(), &self.seal, rows::BY_ID, [id]).map_err(trouble)
    }

    /// The answer that is kept for an entry.
    ///
    /// # Errors
    /// Why that can't be told.
    pub fn answer_of(&self, id: i64) -> Result<Option<Answer>, Trouble> {
        type Found = (Option<u16>, i64, Vec<u8>, Name);
        let read = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Found> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        };
        let found = self
            .locked()
            .prepare_cached(
                "SELECT claims.status, raw_bytes, octets, identity FROM claims
                 JOIN answers ON entry = id WHERE id = ?1",
            )
            .and_then(|mut statement| statement.query_row([id], read).optional())
            .map_err(trouble)?;
        match found {
            Some((Some(status), raw_bytes, octets, name)) => {
                let octets = self.seal.open(&kept::bound(&name, status, raw_bytes), octets)?;
                kept::unpack(status, usize::try_from(raw_bytes).unwrap_or(0), &octets).map(Some)
            }
            Some((None, ..)) | None => Ok(None),
        }
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Entries that meet a condition of the database's, the first ones after a number.
    pub(super) fn chosen(
        &self,
        condition: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Entry>, Trouble> {
        let of = rows::SELECT;
        let statement = format!("{of}WHERE {condition} AND id > ?1 ORDER BY id LIMIT ?2");
        rows::several(&self.locked(), &self.seal, &statement, params![after, limit])
            .map_err(trouble)
    }

    /// The numbers of all processes that may hold claims.
    pub(super) fn generations(&self) -> Result<Vec<i64>, Trouble> {
        let connection = self.locked();
        let mut statement =
            connection.prepare_cached("SELECT number FROM generations").map_err(trouble)?;
        let numbers = statement.query_map([], |row| row.get(0)).map_err(trouble)?;
        numbers.collect::<rusqlite::Result<_>>().map_err(trouble)
    }

    /// Entries in this standing, the first ones after a number; holders may be dead.
    ///
    /// # Errors
    /// Why that can't be told.
    pub fn list(&self, standing: Standing, after: i64, limit: u32) -> Result<Vec<Entry>, Trouble> {
        let statement = match standing {
            Standing::Answered => rows::LIST_ANSWERED,
            Standing::InFlight | Standing::Unknown => rows::LIST_OPEN,
        };
        let params = params![code(standing), after, limit];
        rows::several(&self.locked(), &self.seal, statement, params).map_err(trouble)
    }

    fn tally(&self) -> Result<Tally, Trouble> {
        let connection = self.locked();
        let count = |standing| -> rusqlite::Result<u64> {
            let entries = "SELECT entries FROM tally WHERE standing = ?1";
            let mut statement = connection.prepare_cached(entries)?;
            let entries: i64 = statement.query_row([code(standing)], |row| row.get(0))?;
            Ok(u64::try_from(entries).unwrap_or(0))
        };
        let oldest = || -> rusqlite::Result<Option<Moment>> {
            let oldest = "SELECT since_steady, since_wall FROM claims
                 WHERE standing = 2 AND standing != 1 ORDER BY since_steady, id LIMIT 1";
            let mut statement = connection.prepare_cached(oldest)?;
            let read = |row: &rusqlite::Row<'_>| Ok(rows::moment(row.get(0)?, row.get(1)?));
            statement.query_row([], read).optional()
        };
        let all = || -> rusqlite::Result<Tally> {
            Ok(Tally {
                in_flight: count(Standing::InFlight)?,
                answered: count(Standing::Answered)?,
                unknown: count(Standing::Unknown)?,
                oldest_unknown: oldest()?,
            })
        };
        all().map_err(trouble)
    }

    fn locked(&self) -> MutexGuard<'_, Connection> {
        // A read that panicked has changed nothing.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies a ledger, as of one moment, into a file that is not there yet. Blocks.
///
/// # Errors
/// Why that can't be done.
pub fn back_up(path: &Path, to: &Path) -> Result<(), Trouble> {
    // With a connection of its own: it reads for long.
    schema::back_up(&schema::open_to_read(path, PATIENCE)?, to)
}

/// Writes down a number that nobody had, and whose lock is ours before anybody can see it.
fn begin_generation(
    connection: &mut Connection,
    locks: &Locks,
    now: Moment,
) -> Result<Generation, Trouble> {
    loop {
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(trouble)?;
        transaction
            .execute("INSERT INTO generations(begun_wall) VALUES (?1)", [now.wall_ms])
            .map_err(trouble)?;
        let taken = locks.take(transaction.last_insert_rowid())?;
        transaction.commit().map_err(trouble)?;
        // Of a ledger that was put back, its successor may live on under the next numbers.
        if let Some(generation) = taken {
            return Ok(generation);
        }
    }
}

pub(super) fn space_of(path: &Path) -> Space {
    let path = path.to_owned();
    Box::new(move || {
        let found = rustix::fs::statvfs(&path).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    })
}
