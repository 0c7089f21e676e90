//! Small files that are read and replaced as a whole: a reader sees the old one or the new one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// More than that is no small file.
const BYTES_MAX: u64 = 256 << 20;

/// Two writers never share a file that is not complete yet.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// What is in it; `None`: it is not there.
///
/// # Errors
/// Why it can't be read.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Puts these bytes in its place, readable by its owner alone; its folder is made if it is not
/// there.
///
/// # Errors
/// Why it can't be written; then it is what it was.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}-{number}", std::process::id()));
    let new = path.with_file_name(name);
    let put = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        // Its name must not survive a power failure without its bytes.
        file.sync_all()?;
        fs::rename(&new, path)
    };
    let done = put();
    if done.is_err() {
        // Nobody would ever look for it.
        let _ = fs::remove_file(&new);
    }
    done
}

/// Gives it another name, so that somebody can look at it.
///
/// # Errors
/// Why that can't be done.
pub fn put_aside(path: &Path, aside: &Path) -> io::Result<()> {
    fs::rename(path, aside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_old_one_or_the_new_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data/x.json");
        assert_eq!(read(&path).expect("no error"), None);
        for text in ["first", "second"] {
            replace(&path, text.as_bytes()).expect("written");
            assert_eq!(read(&path).expect("readable").as_deref(), Some(text.as_bytes()));
        }
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let files = fs::read_dir(path.parent().expect("a folder")).expect("listed").count();
        assert_eq!(files, 1, "nothing is left over");
        fs::create_dir(folder.path().join("data/taken")).expect("made");
        assert!(replace(&folder.path().join("data/taken"), b"x").is_err());
        assert_eq!(fs::read_dir(folder.path().join("data")).expect("listed").count(), 2);
    }
}
