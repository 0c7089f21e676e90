//! What people see of a file, and what they take away of it.

use super::super::copying::FileCopy;
use super::super::entry::{Entry, Standing};
use super::super::judged::is_held;
use super::super::sqlite::Reader;
use super::Direct;
use super::{Ledger, answered, claimed, new_claim, open};
use std::fs;

fn numbers(entries: &[Entry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.claim.id).collect()
}

#[test]
fn claims_of_the_dead_are_unknown_and_of_the_living_in_flight() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    assert_eq!(is_held(&path), Ok(false));
    let dead = open(&path);
    let living = open(&path);
    let first = claimed(&dead, "left");
    let second = claimed(&living, "under way");
    answered(&living, "answered");
    let fourth = claimed(&living, "doubtful");
    assert_eq!(living.doubt(fourth, None), Ok(true));
    let reader = Reader::open(&path, None).expect("opened");
    let listed = |standing, after, limit| {
        let entries = reader.judged_list(standing, after, limit).expect("listed");
        assert!(entries.iter().all(|entry| entry.standing == standing));
        numbers(&entries)
    };
    assert_eq!(listed(Standing::InFlight, 0, 9), [1, 2]);
    assert_eq!(listed(Standing::Unknown, 0, 9), [4]);
    drop(dead);
    assert_eq!(is_held(&path), Ok(true));
    assert_eq!(listed(Standing::InFlight, 0, 9), [2]);
    assert_eq!(listed(Standing::Unknown, 0, 9), [1, 4]);
    assert_eq!(listed(Standing::Unknown, 0, 1), [1]);
    assert_eq!(listed(Standing::Unknown, 1, 1), [4]);
    assert_eq!(listed(Standing::Answered, 0, 9), [3]);
    let entry = |id| reader.judged_entry(id).expect("read").map(|entry| entry.standing);
    assert_eq!(entry(first.id), Some(Standing::Unknown));
    assert_eq!(entry(second.id), Some(Standing::InFlight));
    assert_eq!(entry(9), None);
    let all = reader.judged_all(0, 3).expect("read");
    assert_eq!((numbers(&all), all[0].standing), (vec![1, 2, 3], Standing::Unknown));
    assert_eq!(numbers(&reader.judged_all(3, 3).expect("read")), [4]);
    drop(living);
    assert_eq!(is_held(&path), Ok(false));
    assert_eq!(listed(Standing::Unknown, 0, 9), [1, 2, 4]);
}

#[test]
fn another_name_of_the_file_has_the_same_locks() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, other) = (folder.path().join("ledger.db"), folder.path().join("other.db"));
    let ledger = open(&path);
    claimed(&ledger, "under way");
    std::os::unix::fs::symlink(&path, &other).expect("linked");
    assert_eq!(is_held(&other), Ok(true));
    let reader = Reader::open(&other, None).expect("opened");
    let in_flight = reader.judged_list(Standing::InFlight, 0, 9).expect("listed");
    assert_eq!(numbers(&in_flight), [1]);
}

#[test]
fn a_copy_is_whole_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let ledger = open(&path);
    answered(&ledger, "a");
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).expect("read").map(|it| it.expect("one").path()).collect();
        names.sort();
        names
    };
    let before = names();
    let mut copy = FileCopy::of(&path).expect("copied");
    assert_eq!(names(), before);
    // What comes later is not in it.
    answered(&ledger, "b");
    let mut octets = Vec::new();
    while let Some(more) = copy.more().expect("read") {
        octets.extend(more);
    }
    assert_eq!(octets.len() as u64, copy.bytes);
    let put = folder.path().join("put-back.db");
    fs::write(&put, octets).expect("written");
    let back = open(&put);
    assert!(back.look(&new_claim("a").identity()).expect("read").is_some());
    assert!(back.look(&new_claim("b").identity()).expect("read").is_none());
    let absent = FileCopy::of(&folder.path().join("none.db")).err().map(|trouble| trouble.word());
    assert_eq!(absent, Some("unreadable"));
}
