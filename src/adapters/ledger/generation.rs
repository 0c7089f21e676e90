//! Tells living processes from dead ones: each holds the lock on a file of its own for as long as
//! it lives, and no crash can leave a lock behind.
//!
//! The lock is the operating system's: the folder has to be on a file system whose locks work
//! between all processes that share the ledger.

use super::entry::Trouble;
use super::rows::refused;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The lock of this process, held until it is dropped.
#[derive(Debug)]
pub struct Generation {
    /// Its number.
    pub number: i64,
    _lock: File,
}

/// Where the locks of a ledger are.
#[derive(Clone, Debug)]
pub struct Locks(PathBuf);

impl Locks {
    /// Those of the ledger at this path.
    pub fn of(ledger: &Path) -> Locks {
        let mut name = ledger.file_name().unwrap_or_default().to_owned();
        name.push(".generations");
        Locks(ledger.with_file_name(name))
    }

    /// Takes the lock of this number; `None`: somebody lives under it.
    ///
    /// # Errors
    /// Why its file can't be made.
    pub fn take(&self, number: i64) -> Result<Option<Generation>, Trouble> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(refused)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(self.file(number)).map_err(refused)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Generation { number, _lock: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Trouble::Failed(error.to_string())),
        }
    }

    /// Whether the process of this number is certainly dead. The lock is there before anybody
    /// can see the number, so a file that is gone is that of a dead one.
    pub fn is_dead(&self, number: i64) -> bool {
        match File::open(self.file(number)) {
            // Shared: two that look at the same time do not take each other for the living.
            Ok(file) => file.try_lock_shared().is_ok(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Whether anybody lives.
    ///
    /// # Errors
    /// Why that can't be told.
    pub fn any_lives(&self) -> Result<bool, Trouble> {
        let unreadable = |error: io::Error| Trouble::Unreadable(error.to_string());
        let files = match fs::read_dir(&self.0) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(unreadable(error)),
        };
        for file in files {
            let name = file.map_err(unreadable)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".lock")?.parse().ok());
            if number.is_some_and(|number| !self.is_dead(number)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes the file of a dead process.
    pub fn forget(&self, number: i64) {
        // Whoever finds it later finds the same: a lock that is free.
        let _ = fs::remove_file(self.file(number));
    }

    fn file(&self, number: i64) -> PathBuf {
        self.0.join(format!("{number}.lock"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_lives_as_long_as_its_holder() {
        let folder = tempfile::tempdir().expect("a folder");
        let locks = Locks::of(&folder.path().join("ledger.db"));
        assert!(locks.is_dead(1), "there never was one");
        assert_eq!(locks.any_lives(), Ok(false));
        let one = locks.take(1).expect("made").expect("free");
        drop(locks.take(2).expect("made").expect("free"));
        assert!(!locks.is_dead(1));
        assert_eq!(locks.any_lives(), Ok(true));
        assert!(locks.take(1).expect("made").is_none());
        drop(one);
        assert!(locks.is_dead(1));
        assert_eq!(locks.any_lives(), Ok(false));
        let again = locks.take(1).expect("made").expect("free");
        assert_eq!(again.number, 1);
        drop(again);
        locks.forget(1);
        locks.forget(1);
        assert!(locks.is_dead(1));
    }
}
