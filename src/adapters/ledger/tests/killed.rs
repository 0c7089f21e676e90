//! A process that is killed in the midst of its work: what it had been told is true afterward.

use super::super::entry::Standing;
use super::Direct;
use super::{Ledger, Settlement, answer, claimed, new_claim, open, try_open};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

/// Names the ledger to a process that is to be killed.
const VICTIM: &str = "ERPGATE_TEST_LEDGER_VICTIM";

const KILLS: usize = 12;
const THREADS: usize = 8;

/// Does nothing but in the process that is to be killed.
#[test]
fn victim() {
    let Some(path) = std::env::var_os(VICTIM) else { return };
    let ledger = open(Path::new(&path));
    let life = ledger.generation();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let ledger = &ledger;
            scope.spawn(move || work(ledger, &format!("{life}-{thread}")));
        }
    });
}

/// Says what it was told, and only then.
fn work(ledger: &dyn Ledger, name: &str) {
    for number in 0.. {
        let key = format!("{name}-{number}");
        let claim = claimed(ledger, &key);
        say(&format!("claimed {key}"));
        let made = match number % 4 {
            0 => ledger.doubt(claim, None),
            1 => ledger.release(claim),
            _ => ledger.answer(claim, Settlement::Kept(answer(&key))),
        };
        assert_eq!(made, Ok(true));
        say(&format!("{} {key}", ["doubted", "released", "answered", "answered"][number % 4]));
    }
}

/// In one piece, and not through what catches the output of tests.
fn say(what: &str) {
    std::io::stdout().lock().write_all(format!("\n@{what}\n").as_bytes()).expect("said");
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let mut said: HashMap<String, String> = HashMap::new();
    let mut open_claims = 0;
    for kill in 0..KILLS {
        let before = said.len();
        live_and_die(&path, 20 + kill * 37, &mut said);
        assert!(said.len() > before, "it did something");
        let (ledger, opened) = try_open(&path).expect("opened");
        assert!(!opened.created);
        open_claims += opened.orphans;
        for (key, last) in &said {
            let entry = ledger.look(&new_claim(key).identity()).expect("told");
            let standing = entry.as_ref().map(|entry| entry.standing);
            match last.as_str() {
                "answered" => {
                    let entry = entry.expect(key);
                    assert_eq!(entry.standing, Standing::Answered, "{key}");
                    assert_eq!(ledger.answer_of(entry.claim.id), Ok(Some(answer(key))), "{key}");
                }
                "doubted" => assert_eq!(standing, Some(Standing::Unknown), "{key}"),
                "released" => assert_eq!(standing, None, "{key}"),
                // What came next may have been made without being told of.
                _ if standing.is_none() => {
                    assert!(
                        key.rsplit('-')
                            .next()
                            .is_some_and(|n| n.parse::<u32>().expect("a number") % 4 == 1),
                        "{key}"
                    );
                }
                _ => assert_ne!(standing, Some(Standing::InFlight), "{key}"),
            }
        }
        let tally = ledger.tally().expect("told");
        assert_eq!(tally.in_flight, 0, "all of them are dead");
    }
    assert!(open_claims > 0, "it was killed in the midst of something");
}

/// Kills the victim once it has said so many things.
fn live_and_die(path: &Path, things: usize, said: &mut HashMap<String, String>) {
    let mut victim = Command::new(std::env::current_exe().expect("this one"))
        .args(["--exact", "adapters::ledger::tests::killed::victim", "--nocapture"])
        .env(VICTIM, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let output = BufReader::new(victim.stdout.take().expect("piped"));
    let mut heard = 0;
    for line in output.lines().map_while(Result::ok) {
        let Some((what, key)) = line.strip_prefix('@').and_then(|line| line.split_once(' ')) else {
            continue;
        };
        said.insert(key.to_owned(), what.to_owned());
        heard += 1;
        if heard == things {
            // SIGKILL; what it had still said is read to the end.
            victim.kill().expect("killed");
        }
    }
    victim.wait().expect("dead");
    assert!(heard >= things, "it died by itself after {heard}");
}
