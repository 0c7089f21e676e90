//! How entries stand in the database's rows.

use super::entry::{Claim, Entry, NewClaim, Standing, Trouble};
use crate::model::digest::Sha256;
use crate::model::moment::Moment;
use crate::stages::idempotency::fingerprint::Fingerprint;
use crate::stages::idempotency::key::{Key, Record};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Params, Row};

/// What [`read`] reads, in its order.
macro_rules! columns {
    () => {
        concat!(
            "SELECT id, attempt, client, vendor, key, record_method, record_path, fingerprint, ",
            "vendor_key, correlation, route, method, path, credential, standing, generation, ",
            "first_steady, first_wall, since_steady, since_wall, status, kept FROM claims "
        )
    };
}

pub const SELECT: &str = columns!();
pub const BY_IDENTITY: &str = concat!(columns!(), "WHERE identity = ?1");
pub const BY_ID: &str = concat!(columns!(), "WHERE id = ?1");
/// The words of the partial index, so that it is used.
pub const LIST_OPEN: &str =
    concat!(columns!(), "WHERE standing = ?1 AND standing != 1 AND id > ?2 ORDER BY id LIMIT ?3");
pub const LIST_ANSWERED: &str =
    concat!(columns!(), "WHERE standing = ?1 AND id > ?2 ORDER BY id LIMIT ?3");

/// One entry.
pub fn one(
    connection: &Connection,
    statement: &str,
    params: impl Params,
) -> rusqlite::Result<Option<Entry>> {
    connection.prepare_cached(statement)?.query_row(params, read).optional()
}

/// Several.
pub fn several(
    connection: &Connection,
    statement: &str,
    params: impl Params,
) -> rusqlite::Result<Vec<Entry>> {
    connection.prepare_cached(statement)?.query_map(params, read)?.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let record = match (row.get(5)?, row.get(6)?) {
        (Some(method), Some(path)) => Some(Record { method, path }),
        _ => None,
    };
    let fingerprint = Fingerprint(Sha256(row.get(7)?));
    let of = NewClaim {
        client: row.get(2)?,
        vendor: row.get(3)?,
        key: Key::kept(row.get(4)?, record),
        fingerprint,
        vendor_key: row.get(8)?,
        correlation: row.get(9)?,
        route: row.get(10)?,
        method: row.get(11)?,
        path: row.get(12)?,
        credential: row.get(13)?,
    };
    Ok(Entry {
        claim: Claim { id: row.get(0)?, attempt: row.get(1)? },
        of,
        standing: standing(row.get(14)?),
        generation: row.get(15)?,
        first_claimed: moment(row.get(16)?, row.get(17)?),
        since: moment(row.get(18)?, row.get(19)?),
        status: row.get(20)?,
        kept: row.get(21)?,
    })
}

/// A time by two clocks, as it is written.
pub fn moment(steady_ms: i64, wall_ms: i64) -> Moment {
    Moment { steady_ms: u64::try_from(steady_ms).unwrap_or(0), wall_ms }
}

/// As the database holds it.
pub fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// As the database holds it; the indices of the schema name them too.
pub fn code(standing: Standing) -> i64 {
    match standing {
        Standing::InFlight => 0,
        Standing::Answered => 1,
        Standing::Unknown => 2,
    }
}

/// A code that nobody writes is the one that is never acted on.
fn standing(code: i64) -> Standing {
    Standing::ALL.into_iter().find(|one| self::code(*one) == code).unwrap_or(Standing::Unknown)
}

/// What the database's errors mean to us.
pub fn trouble(error: rusqlite::Error) -> Trouble {
    let words = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Trouble::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Trouble::Busy,
        Some(ErrorCode::ReadOnly) => Trouble::ReadOnly(words),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Trouble::Corrupt(words),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Trouble::Unreadable(words),
        _ => Trouble::Failed(words),
    }
}
