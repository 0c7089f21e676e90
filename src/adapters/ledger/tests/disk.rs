//! A disk that is full, and one that can't be written: small ones of a namespace of one's own,
//! where the system lets us have one.

use super::super::entry::Standing;
use super::super::sqlite::{Reader, SqliteLedger};
use super::Direct;
use super::{Answer, Arc, Held, Ledger, ManualClocks, Path, PathBuf, Settlement, Trouble};
use super::{claimed, key, new_claim, sealed};
use crate::model::digest::Sha256;
use std::io::Write;
use std::process::Command;

/// Names the small disk to the process that fills it.
const DISK: &str = "ERPGATE_TEST_LEDGER_DISK";

/// Claims that leave nothing untouched: the disk really becomes full.
fn open(path: &Path) -> Result<SqliteLedger, Trouble> {
    let settings = super::Settings { answer_bytes_max: 1 << 20, ..sealed(path) };
    let clocks = Arc::new(ManualClocks::default());
    let space: super::super::changes::Space = Box::new(|| None);
    SqliteLedger::open_with(&settings, clocks, Box::new(|_| ()), (space, 0)).map(|it| it.0)
}

/// Octets that no packing makes less of.
fn large(number: u32) -> Answer {
    let digest = |n: u32| Sha256::of(&(number * 1000 + n).to_be_bytes()).0;
    let body: Vec<u8> = (0..200).flat_map(digest).collect();
    Answer { status: 200, fields: Vec::new(), body: body.into() }
}

/// Does nothing but on a disk of its own.
#[test]
fn on_a_small_disk() {
    let Some(disk) = std::env::var_os(DISK).map(PathBuf::from) else { return };
    let path = disk.join("ledger.db");
    let ledger = open(&path).expect("opened");
    let first = claimed(&ledger, "under way");
    let (mut claims, mut answers, mut troubles) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..400 {
        match ledger.claim(new_claim(&number.to_string())) {
            Ok(Held::Ours(claim)) => {
                claims.push((number, claim));
                match ledger.answer(claim, Settlement::Kept(large(number))) {
                    Ok(true) => answers.push((number, claim)),
                    other => troubles.push(other.err()),
                }
            }
            other => troubles.push(other.err()),
        }
    }
    assert!(claims.len() > 50 && troubles.len() > 50, "{} {}", claims.len(), troubles.len());
    assert!(troubles.iter().all(|trouble| *trouble == Some(Trouble::Full)), "{troubles:?}");
    let whole = |looked: &dyn Fn(u32) -> Option<(Standing, Option<Answer>)>| {
        for (number, _) in &claims {
            let (standing, answer) = looked(*number).expect("still there");
            match answers.iter().any(|(answered, _)| answered == number) {
                true => assert_eq!((standing, answer), (Standing::Answered, Some(large(*number)))),
                false => assert!(standing != Standing::Answered && answer.is_none()),
            }
        }
    };
    let read = |path: &Path, when: &str| {
        let reader = Reader::open(path, Some(&key())).unwrap_or_else(|it| panic!("{when}: {it}"));
        whole(&|number| {
            let entry = reader.look(&new_claim(&number.to_string()).identity()).expect("told")?;
            Some((entry.standing, reader.answer_of(entry.claim.id).expect("told")))
        });
    };
    read(&path, "full, and open");
    drop(ledger);
    read(&path, "full, and closed");
    assert_eq!(open(&path).err(), Some(Trouble::Full));
    read(&path, "full, after a vain attempt");

    mount(&disk, "remount,size=16m");
    drop(open(&path).expect("opened"));
    assert!(!disk.join("ledger.db-wal").exists() && !disk.join("ledger.db-shm").exists());
    // Others have filled it, and there is no place for the index of a log.
    let mut others = std::fs::File::create(disk.join("others")).expect("made");
    while others.write_all(&[1; 512]).is_ok() {}
    drop(others);
    read(&path, "full, with nothing beside it");
    assert!(open(&path).is_err());
    read(&path, "full, with nothing beside it, after a vain attempt");

    mount(&disk, "remount,size=32m");
    let ledger = open(&path).expect("opened");
    whole(&|number| {
        let entry = ledger.look(&new_claim(&number.to_string()).identity()).expect("told")?;
        Some((entry.standing, ledger.answer_of(entry.claim.id).expect("told")))
    });
    let entry = ledger.entry(first.id).expect("told").expect("there");
    assert_eq!(entry.standing, Standing::Unknown);
    claimed(&ledger, "there is room again");
    read_only(&disk, ledger, &read);
    println!("\n@done");
}

type Read<'a> = &'a dyn Fn(&Path, &str);

/// What was closed, and what a machine left that died in the midst of it.
fn read_only(disk: &Path, ledger: SqliteLedger, read: Read<'_>) {
    let died = disk.join("died");
    std::fs::create_dir(&died).expect("made");
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        std::fs::copy(disk.join(name), died.join(name)).expect("copied");
    }
    drop(ledger);
    mount(disk, "remount,ro");
    for path in [&disk.join("ledger.db"), &died.join("ledger.db")] {
        read(path, "read-only");
        let refused = open(path).err().map(|trouble| trouble.word());
        assert_eq!(refused, Some("read-only"));
        read(path, "read-only, after a vain attempt");
    }
    let reader = Reader::open(&died.join("ledger.db"), Some(&key())).expect("opened");
    let latest = reader.look(&new_claim("there is room again").identity());
    assert!(latest.expect("told").is_some(), "what is only in the log");
}

fn mount(disk: &Path, options: &str) {
    let mounted = Command::new("mount").args(["-o", options]).arg(disk).status();
    assert!(mounted.expect("started").success(), "{options}");
}

#[test]
fn a_disk_that_is_full_or_read_only_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let in_a_namespace = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--map-root-user", "sh", "-c", command, "sh"]);
        unshare.arg(folder.path()).arg(std::env::current_exe().expect("this one"));
        unshare.env(DISK, folder.path()).output()
    };
    let disk = "mount -t tmpfs -o size=6m none \"$1\"";
    if !in_a_namespace(disk).is_ok_and(|made| made.status.success()) {
        // Not in every container, and not on every system.
        return;
    }
    let test = "--exact adapters::ledger::tests::disk::on_a_small_disk --nocapture";
    let output = in_a_namespace(&format!("{disk} && exec \"$2\" {test}")).expect("started");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("@done"), "{said}{complained}");
}
