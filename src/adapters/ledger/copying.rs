//! A copy of the ledger, as of one moment, for whoever takes it away: in a file without a name.

use super::entry::Trouble;
use super::sqlite::{RESERVE_BYTES, back_up, space_of};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Octets that are read at a time.
const STEP_BYTES: u64 = 256 << 10;

/// A copy; dropping it removes it.
pub struct FileCopy {
    file: File,
    /// Its length, in octets.
    pub bytes: u64,
}

impl FileCopy {
    /// Makes one, beside the ledger, which has to leave room for it. Blocks, but nobody who writes.
    ///
    /// # Errors
    /// Why there is none.
    pub fn of(ledger: &Path) -> Result<FileCopy, Trouble> {
        let unreadable = |error: io::Error| Trouble::Unreadable(error.to_string());
        let refused = |error: io::Error| Trouble::ReadOnly(error.to_string());
        // By its one name; and never opened but by the database, whose locks on it would be lost.
        let ledger = ledger.canonicalize().map_err(unreadable)?;
        let name = ledger.file_name().unwrap_or_default();
        let with = |end: &str| [name, OsStr::new(end)].into_iter().collect::<OsString>();
        let log = fs::metadata(ledger.with_file_name(with("-wal"))).map_or(0, |log| log.len());
        let needed = fs::metadata(&ledger).map_err(unreadable)?.len().saturating_add(log);
        let left = space_of(&ledger)().unwrap_or(u64::MAX);
        if left < needed.saturating_add(RESERVE_BYTES) {
            return Err(Trouble::Full);
        }
        let beside = ledger.parent().unwrap_or(Path::new("/"));
        let folder = tempfile::Builder::new()
            .prefix(&with(".copy-"))
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(beside)
            .map_err(refused)?;
        let path = folder.path().join("ledger.db");
        back_up(&ledger, &path)?;
        let file = File::open(&path).map_err(refused)?;
        let bytes = file.metadata().map_err(refused)?.len();
        // What has no name any more is gone with the last who has it open, even in a crash.
        folder.close().map_err(refused)?;
        Ok(FileCopy { file, bytes })
    }

    /// The next octets; `None`: that was all. Blocks.
    ///
    /// # Errors
    /// Why it can't be read.
    pub fn more(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        let mut octets = Vec::new();
        let read = (&mut self.file).take(STEP_BYTES).read_to_end(&mut octets);
        read.map_err(|error| Trouble::Unreadable(error.to_string()))?;
        Ok((!octets.is_empty()).then_some(octets))
    }
}
