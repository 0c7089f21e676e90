//! How entries stand in the database's rows.

use super::entry::{Claim, Entry, NewClaim, Standing, Trouble};
use super::private::{self, Beside, Private};
use super::seal::{Name, Seal};
use crate::model::moment::Moment;
use rusqlite::{Connection, Error, ErrorCode, OptionalExtension, Params, Row};
use std::io;

/// What [`read`] reads, in its order.
macro_rules! columns {
    () => {
        concat!(
            "SELECT id, attempt, identity, client, vendor, private, correlation, route, method, ",
            "credential, standing, generation, first_steady, first_wall, since_steady, ",
            "since_wall, status, kept FROM claims "
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
    seal: &Seal,
    statement: &str,
    params: impl Params,
) -> rusqlite::Result<Option<Entry>> {
    let mut statement = connection.prepare_cached(statement)?;
    statement.query_row(params, |row| read(row, seal)).optional()
}

/// Several.
pub fn several(
    connection: &Connection,
    seal: &Seal,
    statement: &str,
    params: impl Params,
) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = connection.prepare_cached(statement)?;
    statement.query_map(params, |row| read(row, seal))?.collect()
}

fn read(row: &Row<'_>, seal: &Seal) -> rusqlite::Result<Entry> {
    let name: Name = row.get(2)?;
    let (client, vendor): (Box<str>, Box<str>) = (row.get(3)?, row.get(4)?);
    let (correlation, route): (Box<str>, Box<str>) = (row.get(6)?, row.get(7)?);
    let (method, credential): (Box<str>, Option<Box<str>>) = (row.get(8)?, row.get(9)?);
    let beside = Beside {
        client: &client,
        vendor: &vendor,
        correlation: &correlation,
        route: &route,
        method: &method,
        credential: credential.as_deref(),
    };
    let private = private::unpack(seal, &name, &beside, row.get(5)?).map_err(carried)?;
    let Private { fingerprint, key, path, vendor_key } = private;
    let of = NewClaim {
        client,
        vendor,
        key,
        fingerprint,
        vendor_key,
        method,
        path,
        credential,
        correlation,
        route,
    };
    Ok(Entry {
        claim: Claim { id: row.get(0)?, attempt: row.get(1)? },
        of,
        standing: standing(row.get(10)?),
        generation: row.get(11)?,
        first_claimed: moment(row.get(12)?, row.get(13)?),
        since: moment(row.get(14)?, row.get(15)?),
        status: row.get(16)?,
        kept: row.get(17)?,
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

/// What it means that a file can't be made.
pub fn refused(error: io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Trouble::Full,
        _ => Trouble::ReadOnly(error.to_string()),
    }
}

/// Our own trouble, on its way through the database's functions.
pub fn carried(trouble: Trouble) -> Error {
    Error::ToSqlConversionFailure(Box::new(trouble))
}

/// What the database's errors mean to us.
pub fn trouble(error: Error) -> Trouble {
    let words = error.to_string();
    if let Error::ToSqlConversionFailure(carried) = &error
        && let Some(trouble) = carried.downcast_ref::<Trouble>()
    {
        return trouble.clone();
    }
    // A row that holds what nobody writes there.
    let misread = matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::InvalidColumnType(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::Utf8Error(..)
    );
    match error.sqlite_error_code() {
        _ if misread => Trouble::Corrupt(words),
        Some(ErrorCode::DiskFull) => Trouble::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Trouble::Busy,
        Some(ErrorCode::ReadOnly) => Trouble::ReadOnly(words),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Trouble::Corrupt(words),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Trouble::Unreadable(words),
        _ => Trouble::Failed(words),
    }
}
