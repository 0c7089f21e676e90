//! Reads a large ledger from front to back before it is checked: the check goes through it in the
//! order of its trees, which takes a disk that has nothing in memory ten times as long.
//!
//! The file stays open to the end of the process: the database's locks belong to file and process,
//! and closing any other handle of the file would let go of them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Smaller ones are read soon enough in any order.
pub const BYTES_MIN: u64 = 64 << 20;

/// What was opened, by device and number.
static OPEN: Mutex<Vec<(u64, u64, File)>> = Mutex::new(Vec::new());

/// Has the system read the file if it is no smaller; says how many octets that was.
///
/// # Errors
/// Why it can't be read; whoever needs it will say so too.
pub fn read(path: &Path, bytes_min: u64) -> io::Result<u64> {
    let (found, mut buffer) = (path.metadata()?, vec![0; 1 << 20]);
    if !found.is_file() || found.len() < bytes_min {
        return Ok(0);
    }
    // Nobody else opens a ledger at the same time who would mind to wait.
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let known =
        |(device, number, _): &(u64, u64, File)| (*device, *number) == (found.dev(), found.ino());
    if !open.iter().any(known) {
        open.push((found.dev(), found.ino(), File::open(path)?));
    }
    let Some((.., file)) = open.iter().find(|it| known(it)) else { return Ok(0) };
    let (mut file, mut bytes) = (file, 0);
    io::Seek::rewind(&mut file)?;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(bytes),
            more => bytes += u64::try_from(more).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_is_read_and_opened_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, vec![1; 3 << 20]).expect("written");
        let opened = || {
            let open = OPEN.lock().expect("sound");
            open.iter()
                .filter(|(.., number, _)| *number == path.metadata().expect("there").ino())
                .count()
        };
        assert_eq!(read(&path, (3 << 20) + 1).expect("told"), 0);
        assert_eq!(opened(), 0);
        for _ in 0..2 {
            assert_eq!(read(&path, 3 << 20).expect("told"), 3 << 20);
            assert_eq!(opened(), 1);
        }
        assert!(read(&folder.path().join("none"), 0).is_err());
        assert_eq!(read(folder.path(), 0).expect("told"), 0);
    }
}
