//! Disks for the ledger that get full, and disks that lose what was not synced.
//!
//! They are file systems of their own, so they take the rights of root; who has none is told what
//! was left out. The limit on the size of files needs no rights.

use crate::process::Process;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A file system of its own, mounted until it is dropped.
pub struct Mounted {
    folder: TempDir,
    image: Option<PathBuf>,
}

/// Room for the ledger's reserve, and for the answers of all that is under way.
const IMAGE_BYTES: &str = "256M";
/// How often a disk is made smaller that grows at the same time.
const REMOUNTS_MAX: usize = 100;

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily, where somebody still looks at it.
        let _ = run("umount", &["-l", &self.text()]);
    }
}

impl Mounted {
    /// In memory: it can be made as small as what is in it.
    ///
    /// # Errors
    /// Why this machine does not allow it.
    pub fn in_memory() -> Result<Mounted, String> {
        let mounted = Mounted { folder: folder()?, image: None };
        let size = format!("size={IMAGE_BYTES}");
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &mounted.text()])?;
        Ok(mounted)
    }

    /// On a file: it can be cut off from one moment to the next, as by a loss of power.
    ///
    /// # Errors
    /// Why this machine does not allow it.
    pub fn on_a_file() -> Result<Mounted, String> {
        let folder = folder()?;
        let image = folder.path().join("image");
        let text = image.to_string_lossy().into_owned();
        run("truncate", &["-s", IMAGE_BYTES, &text])?;
        run("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", &text])?;
        let mounted = Mounted { folder, image: Some(image) };
        std::fs::create_dir(mounted.path()).map_err(|error| error.to_string())?;
        mounted.mount()?;
        // The very thing that it is for: a machine without it has no use of the rest.
        mounted.cut()?;
        mounted.restore()?;
        Ok(mounted)
    }

    pub fn path(&self) -> PathBuf {
        match self.image {
            Some(_) => self.folder.path().join("disk"),
            None => self.folder.path().to_path_buf(),
        }
    }

    fn text(&self) -> String {
        self.path().to_string_lossy().into_owned()
    }

    fn mount(&self) -> Result<(), String> {
        let image = self.image.as_deref().unwrap_or(Path::new("")).to_string_lossy();
        // The system writes nothing back of its own accord for as long as can be.
        run("mount", &["-o", "loop,commit=300", &image, &self.text()])
    }

    /// Leaves so much room, in KiB. What is used meanwhile is more than what was seen.
    ///
    /// # Errors
    /// Why it could not.
    pub fn leave(&self, kib: u64) -> Result<(), String> {
        let mut tried = Ok(());
        for _ in 0..REMOUNTS_MAX {
            let used = run_for("df", &["-k", "--output=used", &self.text()])?;
            let used = used.lines().nth(1).and_then(|line| line.trim().parse().ok());
            let size = format!("remount,size={}k", used.unwrap_or(0_u64) + kib);
            tried = run("mount", &["-o", &size, &self.text()]);
            if tried.is_ok() {
                break;
            }
        }
        tried
    }

    /// Gives all its room back.
    ///
    /// # Errors
    /// Why it could not.
    pub fn relieve(&self) -> Result<(), String> {
        run("mount", &["-o", &format!("remount,size={IMAGE_BYTES}"), &self.text()])
    }

    /// From now on nothing reaches the disk, also not what the file system has yet to write: what
    /// was not synced is lost. `EXT4_IOC_SHUTDOWN` without a flush of the journal, as file
    /// systems themselves are tested.
    ///
    /// # Errors
    /// Why it could not.
    pub fn cut(&self) -> Result<(), String> {
        const GOES_DOWN: &str = "open(my $root, '<', $ARGV[0]) or die $!; my $how = pack('L', 2); \
                                 ioctl($root, 0x8004587d, $how) or die $!;";
        run("perl", &["-e", GOES_DOWN, &self.text()])
    }

    /// The machine is up again: what had reached the disk is there.
    ///
    /// # Errors
    /// Why it could not.
    pub fn restore(&self) -> Result<(), String> {
        run("umount", &[&self.text()])?;
        self.mount()
    }
}

/// Lets the files of a process grow to so many bytes only; `None`: as they like.
///
/// # Errors
/// Why it could not.
pub fn limit_files(process: &Process, bytes: Option<u64>) -> Result<(), String> {
    let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
    let limit = format!("--fsize={limit}:unlimited");
    run("prlimit", &["--pid", &process.id().to_string(), &limit])
}

fn folder() -> Result<TempDir, String> {
    tempfile::tempdir().map_err(|error| error.to_string())
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    run_for(program, arguments).map(drop)
}

fn run_for(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {}: {}", arguments.join(" "), why.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
