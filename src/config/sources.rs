//! The one door of the configuration to the world: files, environment and commands.
//!
//! Everything here is bounded: a file has a largest size, a command a longest time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Largest file, and longest output of a command, that is read.
const BYTES_MAX: u64 = 16 << 20;
/// How long a command may take to print a secret.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a command that printed everything is asked whether it has ended.
const COMMAND_POLL: Duration = Duration::from_millis(5);

/// Tells two states of a file apart without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp {
    bytes: u64,
    /// Of content and of the file's own state: a file that replaces another may be older.
    modified_ns: (i64, i64),
    changed_ns: (i64, i64),
    inode: u64,
}

impl Stamp {
    /// Of a file that is there.
    #[cfg(unix)]
    pub fn of(path: &Path) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(path).ok()?;
        Some(Stamp {
            bytes: found.len(),
            modified_ns: (found.mtime(), found.mtime_nsec()),
            changed_ns: (found.ctime(), found.ctime_nsec()),
            inode: found.ino(),
        })
    }

    /// The number of the file or folder in its file system: another one took its place where
    /// this differs.
    pub fn inode(&self) -> u64 {
        self.inode
    }
}

/// Where a configuration and its secrets are read from.
pub trait Sources: Sync {
    /// What tells this state of a file from another one; `None`: nothing does.
    fn stamp(&self, path: &Path) -> Option<Stamp>;

    /// The content of a file.
    ///
    /// # Errors
    /// Whatever keeps it from being read, its size included.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The paths in a folder, sorted.
    ///
    /// # Errors
    /// Whatever keeps it from being listed.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// An environment variable, if it is set and is text.
    fn env(&self, name: &str) -> Option<String>;

    /// What a command prints, if it ends well.
    ///
    /// # Errors
    /// Whatever keeps it from running, its end without success, its time-out.
    fn command(&self, argv: &[String]) -> io::Result<Vec<u8>>;

    /// Whether others than a file's owner may read or write it; `None` where the system does
    /// not say.
    fn open_to_others(&self, path: &Path) -> Option<bool>;
}

/// The real one.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Sources for System {
    fn stamp(&self, path: &Path) -> Option<Stamp> {
        Stamp::of(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let found = std::fs::metadata(path)?;
        if found.is_dir() {
            return Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder, not a file"));
        }
        // Opening a pipe waits for somebody to write: a reload would hang.
        if !found.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
        }
        read_bounded(File::open(path)?)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
        let mut paths = entries.collect::<io::Result<Vec<PathBuf>>>()?;
        paths.sort();
        Ok(paths)
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn command(&self, argv: &[String]) -> io::Result<Vec<u8>> {
        run(argv, COMMAND_TIMEOUT)
    }

    #[cfg(unix)]
    fn open_to_others(&self, path: &Path) -> Option<bool> {
        use std::os::unix::fs::PermissionsExt;
        Some(std::fs::metadata(path).ok()?.permissions().mode() & 0o077 != 0)
    }

    #[cfg(not(unix))]
    fn open_to_others(&self, _path: &Path) -> Option<bool> {
        None
    }
}

/// Runs a command without input and without a place for its complaints (they could hold what it
/// should only print), and ends it when its time is up.
fn run(argv: &[String], timeout: Duration) -> io::Result<Vec<u8>> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(io::Error::new(ErrorKind::InvalidInput, "the command is empty"));
    };
    let deadline = Instant::now() + timeout;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let answer = wait(&mut child, deadline);
    if answer.is_err() {
        // Of a child that has ended already neither call has anything to do.
        let _ = child.kill();
        let _ = child.wait();
    }
    answer
}

fn wait(child: &mut Child, deadline: Instant) -> io::Result<Vec<u8>> {
    let too_slow = || io::Error::new(ErrorKind::TimedOut, "it did not end in time");
    let stdout = child.stdout.take().ok_or_else(too_slow)?;
    let (sender, receiver) = mpsc::channel();
    // A thread of its own, because a pipe can't be read with a time-out; it ends with the pipe.
    std::thread::spawn(move || sender.send(read_bounded(stdout)));
    let left = deadline.saturating_duration_since(Instant::now());
    let output = receiver.recv_timeout(left).map_err(|_| too_slow())??;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(output),
            Some(status) => return Err(io::Error::other(format!("it ended with {status}"))),
            None if Instant::now() >= deadline => return Err(too_slow()),
            None => std::thread::sleep(COMMAND_POLL),
        }
    }
}

fn read_bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "it is larger than 16MiB"));
    }
    Ok(bytes)
}

/// The same sources, but with another content of one file.
pub struct Instead<'a> {
    /// Where everything else is read from.
    pub sources: &'a dyn Sources,
    /// The file.
    pub path: &'a Path,
    /// Its content.
    pub content: &'a str,
}

impl Sources for Instead<'_> {
    fn stamp(&self, path: &Path) -> Option<Stamp> {
        self.sources.stamp(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match path == self.path {
            true => Ok(self.content.as_bytes().to_vec()),
            false => self.sources.read(path),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.sources.list(path)
    }

    fn env(&self, name: &str) -> Option<String> {
        self.sources.env(name)
    }

    fn command(&self, argv: &[String]) -> io::Result<Vec<u8>> {
        self.sources.command(argv)
    }

    fn open_to_others(&self, path: &Path) -> Option<bool> {
        self.sources.open_to_others(path)
    }
}

/// Files, environment and commands out of memory, for tests.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Files by path; their folders are there by implication.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// What commands print, by their program.
    pub commands: BTreeMap<String, Vec<u8>>,
    /// Files that others may read.
    pub open: Vec<PathBuf>,
}

impl Memory {
    /// With one more file.
    pub fn with(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(PathBuf::from(path), content.into());
        self
    }
}

impl Sources for Memory {
    fn stamp(&self, _: &Path) -> Option<Stamp> {
        None
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let path = path.strip_prefix(".").unwrap_or(path);
        self.files.get(path).cloned().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let folder = path.strip_prefix(".").unwrap_or(path);
        let inside = self.files.keys().filter(|file| file.parent() == Some(folder));
        let paths: Vec<PathBuf> =
            inside.filter_map(|file| Some(path.join(file.file_name()?))).collect();
        if paths.is_empty() { Err(ErrorKind::NotFound.into()) } else { Ok(paths) }
    }

    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn command(&self, argv: &[String]) -> io::Result<Vec<u8>> {
        let program = argv.first().map_or("", String::as_str);
        self.commands.get(program).cloned().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn open_to_others(&self, path: &Path) -> Option<bool> {
        Some(self.open.iter().any(|open| open == path))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_command_prints_a_secret() {
        assert_eq!(System.command(&argv(&["printf", "a b"])).expect("runs"), b"a b");
    }

    #[test]
    fn a_command_that_fails_or_hangs_is_an_error() {
        let failed = System.command(&argv(&["sh", "-c", "echo x; exit 3"])).expect_err("fails");
        assert!(failed.to_string().contains("exit status: 3"), "{failed}");
        assert!(System.command(&[]).is_err());
        assert!(System.command(&argv(&["/nonexistent/program"])).is_err());
        let begun = Instant::now();
        let hung = run(&argv(&["sleep", "60"]), Duration::from_millis(50)).expect_err("hangs");
        assert_eq!(hung.kind(), ErrorKind::TimedOut);
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn files_are_bounded_and_folders_are_no_files() {
        let endless = std::fs::File::open("/dev/zero").expect("opened");
        assert_eq!(read_bounded(endless).expect_err("endless").kind(), ErrorKind::FileTooLarge);
        // A device, like a pipe, is not even opened.
        let device = System.read(Path::new("/dev/zero")).expect_err("a device");
        assert_eq!(device.kind(), ErrorKind::InvalidInput);
        assert_eq!(
            System.read(Path::new("/")).expect_err("folder").kind(),
            ErrorKind::IsADirectory
        );
    }

    #[test]
    fn permissions_are_seen() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        for (mode, expected) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            std::fs::write(&file, b"x").expect("written");
            let mode_bits = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&file, mode_bits).expect("set");
            assert_eq!(System.open_to_others(&file), Some(expected), "{mode:o}");
            std::fs::remove_file(&file).expect("removed");
        }
        assert_eq!(System.list(folder.path()).expect("listed"), Vec::<PathBuf>::new());
    }
}
