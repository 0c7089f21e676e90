//! What can happen to the file.

use super::super::entry::{Purge, Standing, Tally};
use super::super::generation::Locks;
use super::super::sqlite::{Reader, SqliteLedger, back_up};
use super::Direct;
use super::{Arc, Duration, Held, Ledger, ManualClocks, Path, Settings, Settlement, Trouble};
use super::{answer, answered, claimed, new_claim, open, settings, try_open};
use rusqlite::Connection;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_new_one_is_said_to_be_new() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data/ledger.db");
    let absent = Settings { create: false, ..settings(&path) };
    let clocks = || Arc::new(ManualClocks::default());
    let refused = SqliteLedger::open(&absent, clocks(), Box::new(|_| ())).err();
    assert_eq!(refused, Some(Trouble::Absent));
    assert!(!path.exists() && !path.parent().expect("one").exists(), "nothing was made");

    let (ledger, opened) = try_open(&path).expect("opened");
    assert!(opened.created);
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().expect("one")), 0o700);
    answered(&ledger, "a");
    drop(ledger);
    let (ledger, opened) = SqliteLedger::open(&absent, clocks(), Box::new(|_| ())).expect("opened");
    assert!(!opened.created && opened.orphans == 0);
    assert!(ledger.look(&new_claim("a").identity()).expect("told").is_some());
    let left: Vec<_> = fs::read_dir(path.parent().expect("one"))
        .expect("listed")
        .map(|file| file.expect("one").file_name())
        .filter(|name| name.to_string_lossy().contains(".new"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn nothing_strange_is_ever_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = folder.path().join("whole.db");
    let ledger = open(&whole);
    for number in 0..300 {
        answered(&ledger, &number.to_string());
    }
    drop(ledger);
    let whole = fs::read(&whole).expect("read");
    let changed = |statement: &str| {
        let path = folder.path().join("changed.db");
        fs::write(&path, &whole).expect("written");
        let connection = Connection::open(&path).expect("opened");
        connection.execute_batch(statement).expect("done");
        connection.close().expect("closed");
        fs::read(&path).expect("read")
    };
    let mut scribbled = whole.clone();
    scribbled[4096 * 3..4096 * 5].fill(0x55);
    for (name, content, word) in [
        ("empty", Vec::new(), "corrupt"),
        ("garbage", b"not a ledger".repeat(1000), "corrupt"),
        ("half", whole[..whole.len() / 2].to_vec(), "corrupt"),
        ("scribbled", scribbled, "corrupt"),
        ("newer", changed("PRAGMA user_version = 99"), "newer"),
        ("foreign", changed("PRAGMA application_id = 1"), "foreign"),
        ("none", changed("PRAGMA user_version = 0"), "foreign"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, &content).expect("written");
        let trouble = try_open(&path).err().map(|trouble| trouble.word());
        assert_eq!(trouble, Some(word), "{name}");
        assert_eq!(fs::read(&path).expect("read"), content, "{name} is what it was");
    }
    let folder_in_its_place = folder.path().join("folder");
    fs::create_dir(&folder_in_its_place).expect("made");
    assert_eq!(try_open(&folder_in_its_place).err().map(|it| it.word()), Some("unreadable"));
    // Somebody removed the ledger but not its log.
    fs::write(folder.path().join("gone.db-wal"), b"x").expect("written");
    assert_eq!(try_open(&folder.path().join("gone.db")).err().map(|it| it.word()), Some("corrupt"));
    assert!(!folder.path().join("gone.db").exists());
    // No file can be made there, whoever asks.
    assert_eq!(try_open(Path::new("/proc/ledger.db")).err().map(|it| it.word()), Some("read-only"));
}

/// A file system that nobody can write is not to be had in a test; a file that is immutable to
/// its reader is, and for all but root a folder without write bits.
#[test]
fn what_can_only_be_read_is_still_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data/a ?%#.db");
    let claim = answered(&open(&path), "a");
    let data = path.parent().expect("one");
    let bits = |bits| fs::set_permissions(data, fs::Permissions::from_mode(bits)).expect("set");
    bits(0o500);
    let is_root = fs::write(data.join("probe"), b"").is_ok();
    if !is_root {
        assert_eq!(try_open(&path).err().map(|it| it.word()), Some("read-only"));
    }
    let reader = Reader::open(&path, None).expect("readable");
    let entry = reader.look(&new_claim("a").identity()).expect("told").expect("there");
    assert_eq!((entry.claim, entry.standing), (claim, Standing::Answered));
    assert_eq!(reader.answer_of(claim.id), Ok(Some(answer("a"))));
    assert_eq!(reader.look(&new_claim("b").identity()), Ok(None));
    bits(0o700);
}

#[test]
fn two_generations_share_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let (old, new) = (open(&path), open(&path));
    assert_ne!(old.generation(), new.generation());
    let claim = claimed(&old, "a");
    let identity = new_claim("a").identity();
    let standing =
        |ledger: &SqliteLedger| ledger.look(&identity).expect("told").map(|entry| entry.standing);
    assert_eq!(standing(&new), Some(Standing::InFlight), "the old one lives");
    let purge = Purge { retention: Duration::MAX, answer_retention: Duration::MAX, limit: 9 };
    assert_eq!(new.purge(purge).map(|purged| purged.orphans), Ok(0));
    // What is the other one's can't be settled, or resolved.
    assert_eq!(new.release(claim), Ok(false));
    assert_eq!(new.answer(claim, Settlement::NotKept(Some(200))), Ok(false));
    assert_eq!(new.resolve(claim.id, None), Ok(false));
    assert_eq!(old.answer(claim, Settlement::Kept(answer("a"))), Ok(true));
    assert_eq!(standing(&new), Some(Standing::Answered));
    assert_eq!(new.answer_of(claim.id), Ok(Some(answer("a"))));

    let (looked_up, collided, purged) =
        (claimed(&old, "b"), claimed(&old, "c"), claimed(&old, "d"));
    let number = old.generation();
    drop(old);
    assert!(Locks::of(&path).is_dead(number));
    let found = new.entry(looked_up.id).expect("told").expect("there");
    assert_eq!(found.standing, Standing::Unknown, "found by looking");
    match new.claim(new_claim("c")).expect("told") {
        Held::Taken(entry) => {
            assert_eq!((entry.claim, entry.standing), (collided, Standing::Unknown));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(new.entry(purged.id).expect("told").map(|it| it.standing), Some(Standing::Unknown));
    let tally = new.tally().expect("told");
    assert_eq!((tally.in_flight, tally.answered, tally.unknown), (0, 1, 3));
    assert_eq!(new.purge(purge).map(|purged| purged.orphans), Ok(0));
    let locks = path.with_file_name("ledger.db.generations");
    assert_eq!(fs::read_dir(locks).expect("listed").count(), 1, "the dead ones' locks are gone");
    drop(new);
    assert!(!folder.path().join("ledger.db-wal").exists(), "the last one empties the log");
}

#[test]
fn a_full_disk_refuses_and_is_survived() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let ledger = open(&path);
    answered(&ledger, "before");
    drop(ledger);
    // As full as a disk can be made by those who must not fill one.
    let opened = super::super::schema::open(&path, false, None, Duration::ZERO).expect("ok");
    let mut connection = opened.connection;
    let pages: i64 =
        connection.pragma_query_value(None, "page_count", |row| row.get(0)).expect("told");
    connection.pragma_update(None, "max_page_count", pages).expect("set");
    let fill = |connection: &mut Connection| {
        connection.execute("INSERT INTO answers SELECT 999, 9, randomblob(100000), NULL", [])
    };
    let full = fill(&mut connection).map_err(super::super::rows::trouble);
    assert_eq!(full, Err(Trouble::Full));
    drop(connection);
    let ledger = open(&path);
    assert!(ledger.look(&new_claim("before").identity()).expect("told").is_some());
    answered(&ledger, "after");
}

#[test]
fn a_backup_is_the_ledger_of_one_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let copy = folder.path().join("backup/copy.db");
    let ledger = open(&path);
    let claim = answered(&ledger, "a");
    let open_claim = claimed(&ledger, "b");
    back_up(&path, &copy).expect("backed up");
    answered(&ledger, "later");
    assert!(back_up(&path, &copy).is_err(), "nothing is replaced");

    let (restored, opened) = try_open(&copy).expect("opened");
    assert!(!opened.created);
    assert_eq!(opened.orphans, 1, "nobody of its processes lives there");
    assert_eq!(restored.answer_of(claim.id), Ok(Some(answer("a"))));
    let entry = restored.entry(open_claim.id).expect("told").expect("there");
    assert_eq!(entry.standing, Standing::Unknown);
    assert_eq!(restored.look(&new_claim("later").identity()), Ok(None));
    let missing = folder.path().join("missing.db");
    assert!(back_up(&missing, &folder.path().join("x.db")).is_err());
    assert!(!missing.exists());
}

/// A backup is put back while processes of the former file still live: no number is had twice,
/// and whoever lives is not taken for dead.
#[test]
fn a_backup_that_is_put_back_meets_the_living() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let first = open(&path);
    let claim = claimed(&first, "a");
    let copy = folder.path().join("copy.db");
    back_up(&path, &copy).expect("backed up");
    let second = open(&path);
    for end in ["", "-wal", "-shm"] {
        let named = |name: &str| folder.path().join(format!("{name}{end}"));
        fs::rename(named("ledger.db"), named("former.db")).expect("moved");
    }
    fs::rename(&copy, &path).expect("put back");

    let (third, opened) = try_open(&path).expect("opened");
    assert_eq!((opened.created, opened.orphans), (false, 0));
    assert_eq!((first.generation(), second.generation(), third.generation()), (1, 2, 3));
    let standing = || third.entry(claim.id).expect("told").map(|entry| entry.standing);
    assert_eq!(standing(), Some(Standing::InFlight), "whoever has it lives");
    drop(first);
    assert_eq!(standing(), Some(Standing::Unknown));
    claimed(&third, "b");
    drop(second);
    assert_eq!(open(&path).tally().expect("told").in_flight, 1);
}

/// Answers go first, keys later; neither sooner than promised, whatever the wall clock says.
#[test]
fn what_is_kept_is_kept_as_long_as_promised() {
    const DAY: Duration = Duration::from_secs(86_400);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let clocks = Arc::new(ManualClocks::default());
    let start = || {
        let opened = SqliteLedger::open(&settings(&path), clocks.clone(), Box::new(|_| ()));
        opened.expect("opened").0
    };
    let ledger = start();
    let claims: Vec<_> = (0..5).map(|number| answered(&ledger, &number.to_string())).collect();
    let doubtful = claimed(&ledger, "doubtful");
    let doubt = Some(answer("503"));
    assert_eq!(ledger.doubt(doubtful, doubt), Ok(true));
    claimed(&ledger, "in flight");
    let purge = Purge { retention: DAY * 30, answer_retention: DAY * 7, limit: 2 };
    let step = |ledger: &SqliteLedger| {
        let purged = ledger.purge(purge).expect("purged");
        (purged.answers, purged.keys, purged.more)
    };
    clocks.set_wall(400 * 86_400_000);
    assert_eq!(step(&ledger), (0, 0, false), "a year ahead");
    clocks.pass(DAY * 7 - Duration::from_millis(1));
    assert_eq!(step(&ledger), (0, 0, false));
    clocks.pass(Duration::from_millis(1));
    assert_eq!(
        [step(&ledger), step(&ledger), step(&ledger)],
        [(2, 0, true), (2, 0, true), (1, 0, false)]
    );
    let entry = ledger.entry(claims[0].id).expect("told").expect("still known");
    assert!(!entry.kept && entry.status == Some(201));
    assert_eq!(ledger.answer_of(claims[0].id), Ok(None));
    clocks.pass(DAY * 22);
    assert_eq!(step(&ledger), (0, 0, false));
    drop(ledger);
    clocks.set_wall(0);
    let ledger = start();
    assert_eq!(step(&ledger), (0, 0, false), "set back while nobody ran");
    clocks.pass(DAY);
    assert_eq!(
        [step(&ledger), step(&ledger), step(&ledger)],
        [(0, 2, true), (0, 2, true), (0, 1, false)]
    );
    clocks.pass(DAY * 1000);
    assert_eq!(step(&ledger), (0, 0, false));
    let Tally { in_flight, answered, unknown, .. } = ledger.tally().expect("told");
    assert_eq!((in_flight, answered, unknown), (0, 0, 2), "what nobody knows is never removed");
    assert_eq!(ledger.answer_of(doubtful.id), Ok(Some(answer("503"))));
}

/// A power cut in the midst of writing the log: what is cut off is as if it had never been.
#[test]
fn a_log_that_is_cut_anywhere_is_read_to_its_last_whole_commit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let ledger = open(&path);
    for number in 0..6 {
        answered(&ledger, &number.to_string());
    }
    let wal = fs::read(folder.path().join("ledger.db-wal")).expect("a log");
    let file = fs::read(&path).expect("a file");
    let mut most = 0;
    for (at, cut) in (0..wal.len()).step_by(1777).enumerate() {
        let torn = folder.path().join(format!("torn-{at}.db"));
        fs::write(&torn, &file).expect("written");
        let torn_wal = folder.path().join(format!("torn-{at}.db-wal"));
        fs::write(&torn_wal, &wal[..cut]).expect("written");
        // And the sectors behind it never reached the disk.
        let mut tail = fs::OpenOptions::new().write(true).open(&torn_wal).expect("opened");
        tail.seek(SeekFrom::End(0)).expect("sought");
        tail.write_all(&[0; 3000]).expect("written");
        let survivor = open(&torn);
        let known: Vec<bool> = (0..6)
            .map(|number: i32| {
                let identity = new_claim(&number.to_string()).identity();
                let entry = survivor.look(&identity).expect("told");
                entry.is_some()
            })
            .collect();
        let count = known.iter().filter(|known| **known).count();
        assert!(known[..count].iter().all(|known| *known), "the first ones: {known:?}");
        most = most.max(count);
    }
    assert_eq!(most, 6);
}
