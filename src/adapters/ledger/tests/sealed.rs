//! A ledger with a key: what the file says without it, and what is noticed when it was touched.

use super::super::entry::{Standing, Unfit};
use super::super::seal::EncryptionKey;
use super::super::sqlite::{Reader, back_up};
use super::Direct;
use super::{Held, Ledger, Path, Settings, Settlement, SqliteLedger, Trouble};
use super::{answer, claimed, key, new_claim, sealed, settings, try_open_by};
use crate::stages::idempotency::key::{Key, Record};
use rusqlite::Connection;
use std::fs;
use std::path::PathBuf;

fn open(path: &Path) -> SqliteLedger {
    try_open_by(&sealed(path)).expect("opened").0
}

/// With something of everything.
fn filled(path: &Path) -> SqliteLedger {
    let ledger = open(path);
    for number in 0..4 {
        super::answered(&ledger, &format!("secret-{number}"));
    }
    let mut record = new_claim("secret-record");
    let of = Record { method: "POST".into(), path: "/secret-path/INV7".into() };
    record.key = Key::kept("secret-record".into(), Some(of));
    record.path = "/secret-path/INV7".into();
    let Ok(Held::Ours(claim)) = ledger.claim(record) else { panic!("not ours") };
    let doubt = Some(answer("secret-doubt"));
    assert_eq!(ledger.doubt(claim, doubt), Ok(true));
    claimed(&ledger, "secret-in-flight");
    ledger
}

fn every_file(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for file in fs::read_dir(folder).expect("listed").map(|file| file.expect("one").path()) {
        match file.is_dir() {
            true => files.extend(every_file(&file)),
            false => files.push((file.clone(), fs::read(&file).expect("read"))),
        }
    }
    files
}

#[test]
fn the_files_say_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let ledger = filled(&path);
    back_up(&path, &folder.path().join("copy.db")).expect("backed up");
    let identity = &new_claim("secret-0").identity().0[..16];
    let fingerprint = new_claim("secret-0").fingerprint.0.0;
    let octets: [&[u8]; 5] = [b"secret", b"text/plain", identity, &fingerprint, &[7; 32]];
    let search = |when: &str| {
        let files = every_file(folder.path());
        assert!(files.iter().any(|(_, content)| content.windows(8).any(|it| it == b"shiphawk")));
        for (file, content) in &files {
            for wanted in octets {
                let there = content.windows(wanted.len()).any(|window| window == wanted);
                assert!(!there, "{} {when} holds {wanted:?}", file.display());
            }
        }
        files.iter().filter(|(file, _)| file.to_string_lossy().ends_with("-wal")).count()
    };
    assert_eq!(search("while it is open"), 1, "the log was looked at");
    drop(ledger);
    search("when it is closed");
    // And all of it is there for whoever has the key.
    let reader = Reader::open(&folder.path().join("ledger.db"), Some(&key())).expect("opened");
    let entry = reader.look(&new_claim("secret-0").identity()).expect("told").expect("there");
    assert_eq!(entry.of, new_claim("secret-0"));
    assert_eq!(reader.answer_of(entry.claim.id), Ok(Some(answer("secret-0"))));
}

#[test]
fn only_its_own_key_opens_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (locked, plain) = (folder.path().join("locked.db"), folder.path().join("plain.db"));
    // Not closed: its log holds what the file does not.
    let living = filled(&locked);
    let copy = folder.path().join("copy.db");
    for end in ["", "-wal"] {
        let named = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        fs::copy(named(&locked), named(&copy)).expect("copied");
    }
    drop(living);
    drop(super::open(&plain));
    let other = Some(EncryptionKey::new(&[8; 32]));
    for (path, key, unfit) in [
        (&locked, other.clone(), Unfit::Other),
        (&copy, other, Unfit::Other),
        (&locked, None, Unfit::Missing),
        (&copy, None, Unfit::Missing),
        (&plain, Some(key()), Unfit::NotSealed),
    ] {
        let read = || {
            let mut files = every_file(folder.path());
            files.retain(|(path, _)| !path.to_string_lossy().ends_with("-shm"));
            files.retain(|(_, content)| !content.is_empty());
            files.sort();
            files
        };
        let before = read();
        let refused = Err(Trouble::WrongKey(unfit));
        let settings = Settings { encryption_key: key.clone(), ..settings(path) };
        assert_eq!(try_open_by(&settings).map(|(_, opened)| opened), refused);
        assert_eq!(Reader::open(path, key.as_ref()).map(drop), refused.map(drop));
        assert!(read() == before, "{unfit:?}: the files are what they were");
        assert_eq!(Trouble::WrongKey(unfit).word(), "wrong-key");
    }
    for path in [&locked, &copy] {
        let (ledger, opened) = try_open_by(&sealed(path)).expect("opened");
        assert_eq!((opened.created, opened.orphans), (false, 1));
        let found = ledger.look(&new_claim("secret-1").identity()).expect("told").expect("there");
        assert_eq!(ledger.answer_of(found.claim.id), Ok(Some(answer("secret-1"))));
    }
    super::open(&plain);
    // A copy needs no key, and opens with that of the ledger.
    let backup = folder.path().join("backup.db");
    back_up(&locked, &backup).expect("backed up");
    open(&backup);
    assert!(try_open_by(&settings(&backup)).is_err());
}

#[test]
fn two_ledgers_of_one_key_have_nothing_in_common() {
    let folder = tempfile::tempdir().expect("a folder");
    let names = ["one.db", "two.db"].map(|name| {
        let path = folder.path().join(name);
        drop(filled(&path));
        let connection = Connection::open(&path).expect("opened");
        let identity = "SELECT identity FROM claims WHERE id = 1";
        connection.query_row(identity, [], |row| row.get::<_, Vec<u8>>(0)).expect("told")
    });
    assert_ne!(names[0], names[1]);
}

/// What can be read of the second entry after the file was touched.
fn touched(change: impl FnOnce(&Connection)) -> (Option<&'static str>, Option<&'static str>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    drop(filled(&path));
    let connection = Connection::open(&path).expect("opened");
    change(&connection);
    connection.close().expect("closed");
    let ledger = open(&path);
    let entry = ledger.entry(2).map_err(|trouble| trouble.word());
    let answer_of = ledger.answer_of(2).map_err(|trouble| trouble.word());
    match &entry {
        Ok(entry) => assert_eq!(entry.as_ref().expect("there").of, new_claim("secret-1")),
        // A key whose entry can't be read is not free, and spoils nobody else's.
        Err(_) => {
            let claim = ledger.claim(new_claim("secret-1")).map_err(|trouble| trouble.word());
            assert!(matches!(claim, Err("corrupt") | Ok(Held::Ours(_))), "{claim:?}");
            assert!(ledger.list(Standing::Answered, 0, 9).is_err());
            claimed(&ledger, "another");
        }
    }
    if let Ok(found) = &answer_of {
        assert_eq!(found.as_ref(), Some(&answer("secret-1")));
    }
    (entry.err(), answer_of.err())
}

#[test]
fn what_was_touched_is_noticed() {
    let corrupt = Some("corrupt");
    let run = |statement: &'static str| {
        touched(|connection| connection.execute_batch(statement).expect("done"))
    };
    assert_eq!(run(""), (None, None));
    let swap = |table: &str, column: &str, number: &str, one: i64| {
        format!(
            "CREATE TEMP TABLE old AS SELECT {number} AS number, {column} AS value FROM {table};
             UPDATE {table} SET {column} = (SELECT value FROM old WHERE number = {})
             WHERE {number} = 2;",
            one
        )
    };
    let swapped = |table: &str, column: &str, number: &str| {
        let statement = swap(table, column, number, 1);
        touched(|connection| connection.execute_batch(&statement).expect("done"))
    };
    assert_eq!(swapped("claims", "private", "id"), (corrupt, None));
    assert_eq!(swapped("answers", "octets", "entry"), (None, corrupt));
    // Whole rows under each other's numbers.
    let rows = "UPDATE answers SET entry = -1 WHERE entry = 1;
        UPDATE answers SET entry = 1 WHERE entry = 2;
        UPDATE answers SET entry = 2 WHERE entry = -1;";
    assert_eq!(run(rows), (None, corrupt));
    // From one column into another one.
    let column = "UPDATE claims SET private = (SELECT octets FROM answers WHERE entry = 2)
        WHERE id = 2;";
    assert_eq!(run(column), (corrupt, None));
    // What stands beside them.
    for statement in [
        "UPDATE claims SET client = 'other' WHERE id = 2",
        "UPDATE claims SET vendor = 'other' WHERE id = 2",
        "UPDATE claims SET route = 'other' WHERE id = 2",
        "UPDATE claims SET method = 'PUT' WHERE id = 2",
        "UPDATE claims SET credential = NULL WHERE id = 2",
        "UPDATE claims SET correlation = 'other' WHERE id = 2",
    ] {
        assert_eq!(run(statement), (corrupt, None), "{statement}");
    }
    assert_eq!(run("UPDATE claims SET identity = zeroblob(16) WHERE id = 2"), (corrupt, corrupt));
    assert_eq!(run("UPDATE claims SET identity = x'00' WHERE id = 2"), (corrupt, corrupt));
    assert_eq!(run("UPDATE claims SET status = 200 WHERE id = 2"), (None, corrupt));
    assert_eq!(run("UPDATE answers SET raw_bytes = 1 << 60"), (None, corrupt));
    assert_eq!(run("UPDATE answers SET octets = x''"), (None, corrupt));
}

#[test]
fn a_flipped_bit_is_never_read() {
    for (table, column, number, expected) in [
        ("claims", "private", "id", (Some("corrupt"), None)),
        ("answers", "octets", "entry", (None, Some("corrupt"))),
    ] {
        let mut at = 0;
        loop {
            let mut length = 0;
            let found = touched(|connection| {
                let value = format!("SELECT {column} FROM {table} WHERE {number} = 2");
                let mut value: Vec<u8> =
                    connection.query_row(&value, [], |row| row.get(0)).expect("told");
                length = value.len();
                value[at] ^= 1 << (at % 8);
                let change = format!("UPDATE {table} SET {column} = ?1 WHERE {number} = 2");
                connection.execute(&change, [value]).expect("done");
            });
            assert_eq!(found, expected, "{column} at {at}");
            at += 7;
            if at >= length {
                break;
            }
        }
    }
}

/// Two of one configuration begin at the same moment: one file, one salt.
#[test]
fn those_who_begin_together_share_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let settings = sealed(&path);
    let opened: Vec<_> = std::thread::scope(|scope| {
        let opening: Vec<_> = (0..4).map(|_| scope.spawn(|| try_open_by(&settings))).collect();
        opening.into_iter().map(|it| it.join().expect("sound").expect("opened")).collect()
    });
    assert_eq!(opened.iter().filter(|(_, opened)| opened.created).count(), 1);
    let ledgers: Vec<SqliteLedger> = opened.into_iter().map(|(ledger, _)| ledger).collect();
    let claim = claimed(&ledgers[0], "a");
    for ledger in &ledgers[1..] {
        let held = ledger.claim(new_claim("a")).expect("told");
        assert!(matches!(held, Held::Taken(entry) if entry.claim == claim));
    }
    assert_eq!(ledgers[0].answer(claim, Settlement::Kept(answer("a"))), Ok(true));
    assert_eq!(ledgers[3].answer_of(claim.id), Ok(Some(answer("a"))));
}
