//! Opens the file of an embedded ledger: makes one that is complete or none, and takes only one
//! that it knows.

use super::ahead;
use super::entry::Trouble;
use super::rows::{refused, trouble};
use super::seal::{EncryptionKey, Seal};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `erpl`: says to `file` and to us whose database it is.
const APPLICATION: i64 = 0x6572_706c;

/// Each one brings the file from the form of its index to the next.
const MIGRATIONS: [&str; 1] = [FORM_1];

/// Standing 0 is in flight, 1 answered, 2 unknown. `seal` has a row if the ledger is encrypted;
/// `identity`, `private` and `octets` are then what [`super::seal`] makes of them. Numbers of
/// entries and generations are never used again, so that a claim that comes late can't meet
/// another one's entry.
const FORM_1: &str = "
CREATE TABLE clock(one INTEGER PRIMARY KEY, steady INTEGER NOT NULL, wall INTEGER NOT NULL) STRICT;
CREATE TABLE seal(one INTEGER PRIMARY KEY, salt BLOB NOT NULL, proof BLOB NOT NULL) STRICT;
CREATE TABLE generations(
    number INTEGER PRIMARY KEY AUTOINCREMENT, begun_wall INTEGER NOT NULL) STRICT;
CREATE TABLE claims(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    identity BLOB NOT NULL,
    client TEXT NOT NULL, vendor TEXT NOT NULL, private BLOB NOT NULL,
    correlation TEXT NOT NULL, route TEXT NOT NULL, method TEXT NOT NULL, credential TEXT,
    standing INTEGER NOT NULL, attempt INTEGER NOT NULL, generation INTEGER NOT NULL,
    first_steady INTEGER NOT NULL, first_wall INTEGER NOT NULL,
    since_steady INTEGER NOT NULL, since_wall INTEGER NOT NULL,
    doubtful INTEGER NOT NULL, status INTEGER, kept INTEGER NOT NULL) STRICT;
CREATE UNIQUE INDEX claims_identity ON claims(identity);
CREATE INDEX claims_open ON claims(standing, id) WHERE standing != 1;
CREATE INDEX claims_answered ON claims(since_steady) WHERE standing = 1;
CREATE TABLE answers(
    entry INTEGER PRIMARY KEY, raw_bytes INTEGER NOT NULL, octets BLOB NOT NULL,
    settled_steady INTEGER) STRICT;
CREATE INDEX answers_settled ON answers(settled_steady) WHERE settled_steady IS NOT NULL;
CREATE TABLE tally(standing INTEGER PRIMARY KEY, entries INTEGER NOT NULL) STRICT;
INSERT INTO tally VALUES (0, 0), (1, 0), (2, 0);
CREATE TRIGGER tally_more AFTER INSERT ON claims BEGIN
    UPDATE tally SET entries = entries + 1 WHERE standing = new.standing; END;
CREATE TRIGGER tally_fewer AFTER DELETE ON claims BEGIN
    UPDATE tally SET entries = entries - 1 WHERE standing = old.standing; END;
CREATE TRIGGER tally_other AFTER UPDATE OF standing ON claims
    WHEN old.standing != new.standing BEGIN
    UPDATE tally SET entries = entries - 1 WHERE standing = old.standing;
    UPDATE tally SET entries = entries + 1 WHERE standing = new.standing; END;
";

/// The form that this version writes.
pub fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// A ledger that is open for writing.
pub struct Open {
    /// The file.
    pub connection: Connection,
    /// What its values are sealed with.
    pub seal: Seal,
    /// Whether there was none before.
    pub created: bool,
}

/// Opens the ledger for writing, made if there is none and that is wished.
///
/// # Errors
/// Why it is not taken; then it is what it was.
pub fn open(
    path: &Path,
    create: bool,
    key: Option<&EncryptionKey>,
    patience: Duration,
) -> Result<Open, Trouble> {
    let created = match fs::metadata(path) {
        Ok(_) => false,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if has_log(path) {
                let why = "its write-ahead log is there, but the ledger itself is gone";
                return Err(Trouble::Corrupt(why.to_owned()));
            }
            if !create {
                return Err(Trouble::Absent);
            }
            make(path, key)?
        }
        Err(error) => return Err(Trouble::Unreadable(error.to_string())),
    };
    let (mut connection, seal) = taken(path, key, patience).map_err(|trouble| match trouble {
        // The database says the same of a place that can't be read.
        Trouble::Unreadable(why) if open_to_read(path, patience).is_ok() => Trouble::ReadOnly(why),
        trouble => trouble,
    })?;
    migrate(&mut connection)?;
    Ok(Open { connection, seal, created })
}

fn taken(
    path: &Path,
    key: Option<&EncryptionKey>,
    patience: Duration,
) -> Result<(Connection, Seal), Trouble> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, patience)?;
    // What is not taken is closed as it lies there, with its log.
    let leave = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(leave, true).map_err(trouble)?;
    let seal = check(&connection, path, key)?;
    connection.set_db_config(leave, false).map_err(trouble)?;
    Ok((connection, seal))
}

/// Opens it for reading only, also where nothing can be written.
///
/// # Errors
/// Why it can't be read.
pub fn open_to_read(path: &Path, patience: Duration) -> Result<Connection, Trouble> {
    let attempt = |path: &Path, flags| {
        let connection = connect(path, flags, patience)?;
        version(&connection).map(|_| connection)
    };
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY;
    match attempt(path, read_only) {
        Err(Trouble::Unreadable(_) | Trouble::ReadOnly(_) | Trouble::Full | Trouble::Failed(_))
            if !has_log(path) =>
        {
            // Where the folder can't be written, or the disk is full, there is no place for a
            // lock, and nobody else who could write: the file may be taken as it lies there.
            let text = path.to_string_lossy();
            let quoted: String = text
                .chars()
                .map(|character| match character {
                    '%' => "%25".to_owned(),
                    '?' => "%3f".to_owned(),
                    '#' => "%23".to_owned(),
                    other => other.to_string(),
                })
                .collect();
            let uri = PathBuf::from(format!("file:{quoted}?immutable=1"));
            attempt(&uri, read_only | OpenFlags::SQLITE_OPEN_URI)
        }
        tried => tried,
    }
}

/// Copies the whole ledger, as of one moment, into a file that is not there yet. Blocks.
///
/// # Errors
/// Why that can't be done; then there is no such file.
pub fn back_up(from: &Connection, to: &Path) -> Result<(), Trouble> {
    publish(to, |new| {
        let mut copy = Connection::open(new).map_err(trouble)?;
        let backup = rusqlite::backup::Backup::new(from, &mut copy).map_err(trouble)?;
        // All at once: in steps it would begin anew with each write of others.
        match backup.step(-1).map_err(trouble)? {
            rusqlite::backup::StepResult::Done => Ok(()),
            _ => Err(Trouble::Busy),
        }
    })
    .and_then(|made| match made {
        true => Ok(()),
        false => Err(Trouble::Failed(format!("`{}` is there already", to.display()))),
    })
}

fn connect(path: &Path, flags: OpenFlags, patience: Duration) -> Result<Connection, Trouble> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(trouble)?;
    connection.busy_timeout(patience).map_err(trouble)?;
    connection.set_prepared_statement_cache_capacity(64);
    // 16 MiB: the upper levels of the index of ten million keys. Each claim meets a leaf of it at
    // random; a cache four times as large and pages of 1 or 2 KiB were measured and are no quicker.
    connection.pragma_update(None, "cache_size", -16_384).map_err(trouble)?;
    Ok(connection)
}

/// Takes only what is a whole ledger of a known form, with its own key.
fn check(
    connection: &Connection,
    path: &Path,
    key: Option<&EncryptionKey>,
) -> Result<Seal, Trouble> {
    if fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        return Err(Trouble::Corrupt("the file is empty".to_owned()));
    }
    let found = version(connection)?;
    if found > known() {
        return Err(Trouble::Newer { found, known: known() });
    }
    let seal = Seal::of(connection, key)?;
    // If that fails, the check will.
    let _ = ahead::read(path, ahead::BYTES_MIN);
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(trouble)?;
    if verdict != "ok" {
        return Err(Trouble::Corrupt(verdict));
    }
    if connection.is_readonly("main").map_err(trouble)? {
        return Err(Trouble::ReadOnly("the file can't be written".to_owned()));
    }
    durable(connection)?;
    Ok(seal)
}

fn version(connection: &Connection) -> Result<i64, Trouble> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = pragma("application_id").map_err(trouble)?;
    let version = pragma("user_version").map_err(trouble)?;
    if application == APPLICATION && version > 0 { Ok(version) } else { Err(Trouble::Foreign) }
}

/// What is acknowledged is on the disk.
fn durable(connection: &Connection) -> Result<(), Trouble> {
    let mode: String =
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(trouble)?;
    if mode != "wal" {
        return Err(Trouble::Failed(format!("its journal is in mode `{mode}`")));
    }
    connection.pragma_update(None, "synchronous", "FULL").map_err(trouble)?;
    // On systems whose fsync only asks the disk to hurry.
    connection.pragma_update(None, "fullfsync", true).map_err(trouble)?;
    // Fewer and larger checkpoints: they write to all over the file.
    connection.pragma_update(None, "wal_autocheckpoint", 4_000).map_err(trouble)
}

fn migrate(connection: &mut Connection) -> Result<(), Trouble> {
    let run = |connection: &mut Connection| -> rusqlite::Result<()> {
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        // Another process may have been quicker: looked at under the lock.
        let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let done = usize::try_from(found).unwrap_or(0);
        for step in MIGRATIONS.iter().skip(done) {
            transaction.execute_batch(step)?;
        }
        if found < known() {
            transaction.pragma_update(None, "user_version", known())?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
        }
        transaction.commit()
    };
    run(connection).map_err(trouble)
}

/// Makes a new one; `false`: another process was quicker.
fn make(path: &Path, key: Option<&EncryptionKey>) -> Result<bool, Trouble> {
    publish(path, |new| {
        let mut connection = Connection::open(new).map_err(trouble)?;
        durable(&connection)?;
        migrate(&mut connection)?;
        if let Some(key) = key {
            Seal::begin(&connection, key)?;
        }
        connection.close().map_err(|(_, error)| trouble(error))
    })
}

/// Fills a file under another name, and gives it its own only once it is whole and on the disk;
/// `false`: there is one of that name. One at a time in a folder: a process number would not tell
/// two makers apart, for all have the same one in containers.
fn publish(path: &Path, fill: impl FnOnce(&Path) -> Result<(), Trouble>) -> Result<bool, Trouble> {
    let folder = folder_of(path);
    make_folder(folder).map_err(refused)?;
    let folder = File::open(folder).map_err(refused)?;
    folder.lock().map_err(|error| Trouble::Failed(error.to_string()))?;
    if fs::symlink_metadata(path).is_ok() {
        return Ok(false);
    }
    let new = beside(path, ".new");
    let put = || {
        // What somebody left behind who died at it.
        remove(&new);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(refused)?;
        fill(&new)?;
        File::open(&new).and_then(|file| file.sync_all()).map_err(refused)?;
        match fs::hard_link(&new, path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(refused(error)),
        }
        folder.sync_all().map_err(refused)?;
        Ok(true)
    };
    let made = put();
    remove(&new);
    made
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// With those above it, if need be. The name of each is on the disk before anything is in it: a
/// power cut that takes a folder takes the ledger.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder_of(folder);
    make_folder(above)?;
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(above)?.sync_all(),
    }
}

fn remove(new: &Path) {
    for end in ["", "-wal", "-shm", "-journal"] {
        // Most of them are not there.
        let _ = fs::remove_file(beside(new, end));
    }
}

/// Whether something is written beside it that may not be in it yet.
fn has_log(path: &Path) -> bool {
    fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0)
}

/// The file of the same name with something behind it.
fn beside(path: &Path, end: impl AsRef<OsStr>) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(end);
    path.with_file_name(name)
}
