//! Kills, replacements, full disks and power cuts under traffic.

use crate::disk::Mounted;
use crate::journal::Violation;
use crate::plan::Plan;
use crate::site::Memory;
use crate::stage::Stage;
use crate::trouble::Trouble;
use crate::vendor::temper::Temper;
use std::io::Write as _;
use std::path::Path;

async fn survives(name: &str, plan: Plan, trouble: Trouble, ledger: Option<&Path>) {
    let mut stage = Stage::open(plan, Temper::Wild, Memory::Kept, ledger).await;
    stage.torture(&trouble).await;
    stage.holds(name);
    drop(stage);
    drop(trouble);
}

/// Says what this machine can't try.
fn left_out(name: &str, why: &str) {
    println!("{name}: left out, {why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_booked_twice_whenever_the_gateway_is_killed() {
    survives("kills", Plan::of(12, 500), Trouble::Kill, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_booked_twice_whenever_the_gateway_is_replaced() {
    survives("replacements", Plan::of(8, 300), Trouble::Replace, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_booked_twice_when_the_disk_is_full() {
    match Mounted::in_memory() {
        Ok(disk) => {
            let ledger = disk.path().join("ledger.db");
            survives("full disks", Plan::of(6, 300), Trouble::Full(disk), Some(&ledger)).await;
        }
        Err(why) => left_out("full disks", &why),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_booked_twice_when_files_cannot_grow() {
    survives("limited files", Plan::of(6, 300), Trouble::Limit, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_booked_twice_when_unsynced_writes_are_lost() {
    match Mounted::on_a_file() {
        Ok(disk) => {
            let ledger = disk.path().join("ledger.db");
            survives("power cuts", Plan::of(8, 300), Trouble::PowerCut(disk), Some(&ledger)).await;
        }
        Err(why) => left_out("power cuts", &why),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_forgets_is_found_out() {
    let plan = Plan::fixed(4, 150);
    let mut stage = Stage::open(plan, Temper::Wild, Memory::None, None).await;
    stage.torture(&Trouble::Kill).await;
    let violations = stage.verdict("a gateway that forgets");
    let twice = |found: &&Violation| matches!(found, Violation::BookedTwice { .. });
    assert!(violations.iter().filter(twice).count() > 10, "{violations:?}");
    let again = |found: &&Violation| matches!(found, Violation::NotReplayed { .. });
    assert!(violations.iter().filter(again).count() > 10, "{violations:?}");
    let differs = |found: &Violation| matches!(found, Violation::AnsweredDifferently { .. });
    assert!(violations.iter().any(differs), "{violations:?}");
}

#[test]
fn a_power_cut_loses_what_was_not_synced_and_nothing_else() {
    let disk = match Mounted::on_a_file() {
        Ok(disk) => disk,
        Err(why) => return left_out("a power cut", &why),
    };
    let path = disk.path().join("file");
    let mut file = std::fs::File::create(&path).expect("made");
    file.write_all(b"synced").expect("written");
    file.sync_all().expect("synced");
    file.write_all(b", and more").expect("written");
    std::fs::write(disk.path().join("other"), "unsynced").expect("written");
    disk.cut().expect("cut");
    file.write_all(b", and too late").expect_err("cut");
    drop(file);
    disk.restore().expect("mounted again");
    assert_eq!(std::fs::read_to_string(&path).expect("there"), "synced");
    assert!(!disk.path().join("other").exists());
}
