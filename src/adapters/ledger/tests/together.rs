//! Many who come at the same time: one claim each key, one commit for many.

use super::super::entry::{Outcome, Purge, Standing};
use super::super::sqlite::SqliteLedger;
use super::super::writer::{Commit, Store, Writer};
use super::Direct;
use super::{Arc, Change, Claim, Duration, Held, Ledger, ManualClocks, Mutex, Trouble};
use super::{new_claim, open, settings};
use std::sync::mpsc;
use std::thread;

#[test]
fn one_of_many_gets_the_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    // Two generations on one file, as while a successor takes over.
    let ledgers = [open(&path), open(&path)];
    let winners = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for thread in 0..16 {
            let (ledgers, winners) = (&ledgers, &winners);
            scope.spawn(move || {
                for key in 0..40 {
                    let key = (key + thread * 7) % 40;
                    let held = ledgers[thread % 2].claim(new_claim(&key.to_string()));
                    match held.expect("told") {
                        Held::Ours(claim) => winners.lock().expect("sound").push((key, claim)),
                        Held::Taken(entry) => assert_eq!(entry.standing, Standing::InFlight),
                        Held::Gone => panic!("nobody lets go"),
                    }
                }
            });
        }
    });
    let mut winners = winners.into_inner().expect("sound");
    winners.sort_unstable();
    let keys: Vec<usize> = winners.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, (0..40).collect::<Vec<_>>());
}

/// A store whose commits wait for the test.
struct Gated {
    gate: mpsc::Receiver<Result<(), Trouble>>,
    begun: mpsc::Sender<()>,
    made: Arc<Mutex<Vec<Vec<Change>>>>,
    group: Vec<Change>,
}

const POISON: i64 = 666;
const REFUSED: i64 = 7;

impl Store for Gated {
    fn begin(&mut self) -> Result<(), Trouble> {
        self.begun.send(()).expect("the test waits");
        Ok(())
    }

    fn apply(&mut self, change: &Change) -> Result<Result<Outcome, Trouble>, Trouble> {
        match change {
            Change::Bury(POISON) => Err(Trouble::Failed("poison".into())),
            Change::Bury(REFUSED) => Ok(Err(Trouble::Full)),
            Change::Claim(_) => {
                self.group.push(change.clone());
                let claim = Claim { id: 1, attempt: 1 };
                Ok(Ok(Outcome::Held(Held::Ours(claim))))
            }
            _ => {
                self.group.push(change.clone());
                Ok(Ok(Outcome::Made))
            }
        }
    }

    fn commit(&mut self) -> Result<(), Trouble> {
        self.gate.recv().unwrap_or(Ok(()))?;
        self.made.lock().expect("sound").push(std::mem::take(&mut self.group));
        Ok(())
    }

    fn roll_back(&mut self) {
        self.group.clear();
    }
}

type Told = mpsc::Receiver<(i64, Result<Outcome, Trouble>)>;

struct Bench {
    writer: Writer,
    open: mpsc::Sender<Result<(), Trouble>>,
    begun: mpsc::Receiver<()>,
    made: Arc<Mutex<Vec<Vec<Change>>>>,
    commits: Arc<Mutex<Vec<usize>>>,
    tell: mpsc::Sender<(i64, Result<Outcome, Trouble>)>,
    told: Told,
}

fn bench() -> Bench {
    let ((open, gate), (begin, begun)) = (mpsc::channel(), mpsc::channel());
    let made = Arc::new(Mutex::new(Vec::new()));
    let commits = Arc::new(Mutex::new(Vec::new()));
    let store = Gated { gate, begun: begin, made: Arc::clone(&made), group: Vec::new() };
    let counted = Arc::clone(&commits);
    let observe = move |commit: Commit| counted.lock().expect("sound").push(commit.changes);
    let writer = Writer::start(store, Box::new(observe)).expect("started");
    let (tell, told) = mpsc::channel();
    Bench { writer, open, begun, made, commits, tell, told }
}

impl Bench {
    fn submit(&self, number: i64) {
        let tell = self.tell.clone();
        let done = move |outcome| tell.send((number, outcome)).is_ok();
        self.writer.submit(Change::Bury(number), Box::new(done));
    }

    fn told(&self, count: usize) -> Vec<(i64, Result<Outcome, Trouble>)> {
        (0..count).map(|_| self.told.recv().expect("told")).collect()
    }

    fn groups(&self) -> Vec<Vec<i64>> {
        let number = |change: &Change| match change {
            Change::Bury(number) => *number,
            _ => 0,
        };
        let made = self.made.lock().expect("sound");
        made.iter().map(|group| group.iter().map(number).collect()).collect()
    }
}

#[test]
fn those_who_wait_share_a_commit() {
    let bench = bench();
    bench.submit(0);
    bench.begun.recv().expect("begun");
    (1..=9).for_each(|number| bench.submit(number + 10));
    assert!(bench.told.try_recv().is_err(), "nobody hears before the commit");
    bench.open.send(Ok(())).expect("open");
    assert_eq!(bench.told(1), [(0, Ok(Outcome::Made))]);
    bench.begun.recv().expect("begun");
    bench.open.send(Ok(())).expect("open");
    let told = bench.told(9);
    assert!(told.iter().all(|(_, outcome)| *outcome == Ok(Outcome::Made)));
    assert_eq!(bench.groups(), [vec![0], (11..=19).collect()]);
    assert_eq!(*bench.commits.lock().expect("sound"), [1, 9]);
}

#[test]
fn one_that_fails_spoils_nothing_but_itself() {
    let bench = bench();
    bench.submit(0);
    bench.begun.recv().expect("begun");
    for number in [1, POISON, 2, REFUSED] {
        bench.submit(number);
    }
    (0..8).for_each(|_| bench.open.send(Ok(())).expect("open"));
    let told = bench.told(5);
    let poison = Trouble::Failed("poison".into());
    assert_eq!(
        told,
        [
            (0, Ok(Outcome::Made)),
            (1, Ok(Outcome::Made)),
            (POISON, Err(poison)),
            (2, Ok(Outcome::Made)),
            (REFUSED, Err(Trouble::Full)),
        ]
    );
    assert_eq!(bench.groups(), [vec![0], vec![1], vec![2], vec![]]);
}

#[test]
fn a_commit_that_fails_is_told_as_such() {
    let bench = bench();
    bench.submit(0);
    bench.begun.recv().expect("begun");
    (1..=3).for_each(|number| bench.submit(number));
    bench.open.send(Err(Trouble::Full)).expect("open");
    assert_eq!(bench.told(1), [(0, Err(Trouble::Full))]);
    // Together, which nobody holds against a single one; then each alone.
    for outcome in [Err(Trouble::Full), Ok(()), Err(Trouble::Full), Ok(())] {
        bench.open.send(outcome).expect("open");
    }
    let made = Ok(Outcome::Made);
    assert_eq!(bench.told(3), [(1, made.clone()), (2, Err(Trouble::Full)), (3, made)]);
    // Another process holds the file: each alone would wait as long again.
    bench.submit(4);
    (0..5).for_each(|_| bench.begun.recv().expect("begun"));
    (5..=6).for_each(|number| bench.submit(number));
    for outcome in [Ok(()), Err(Trouble::Busy)] {
        bench.open.send(outcome).expect("open");
    }
    let busy = Err(Trouble::Busy);
    let told = bench.told(3);
    assert_eq!(told[1..], [(5, busy.clone()), (6, busy)]);
}

#[test]
fn a_claim_that_nobody_hears_of_is_released() {
    let bench = bench();
    let claim = Change::Claim(Box::new(new_claim("k")));
    bench.writer.submit(claim.clone(), Box::new(|_| false));
    // The first release fails, the second one holds.
    for outcome in [Ok(()), Err(Trouble::Full), Ok(())] {
        bench.open.send(outcome).expect("open");
    }
    (0..2).for_each(|_| bench.begun.recv().expect("begun"));
    bench.begun.recv_timeout(Duration::from_secs(30)).expect("tried again");
    let made = Arc::clone(&bench.made);
    drop(bench);
    let release = Change::Release(Claim { id: 1, attempt: 1 });
    assert_eq!(*made.lock().expect("sound"), [vec![claim], vec![release]]);
}

#[test]
fn what_was_submitted_before_the_end_is_made() {
    let bench = bench();
    (10..20).for_each(|number| bench.submit(number));
    (0..10).for_each(|_| bench.open.send(Ok(())).expect("open"));
    let Bench { writer, told, made, .. } = bench;
    drop(writer);
    assert_eq!(told.try_iter().count(), 10);
    assert_eq!(made.lock().expect("sound").concat().len(), 10);
}

#[test]
fn claims_leave_room_for_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let left = Arc::new(Mutex::new(Some(1 << 30)));
    let space = Arc::clone(&left);
    let (ledger, _) = SqliteLedger::open_with(
        &settings(&folder.path().join("ledger.db")),
        Arc::new(ManualClocks::default()),
        Box::new(|_| ()),
        (Box::new(move || *space.lock().expect("sound")), 1 << 20),
    )
    .expect("opened");
    let claim = super::claimed(&ledger, "a");
    let set = |bytes| *left.lock().expect("sound") = bytes;
    set(Some(1 << 20));
    assert_eq!(ledger.claim(new_claim("b")), Err(Trouble::Full));
    assert_eq!(ledger.claim(new_claim("a")), Err(Trouble::Full));
    let settlement = super::Settlement::Kept(super::answer("booked"));
    assert_eq!(ledger.answer(claim, settlement), Ok(true), "what is under way is finished");
    let purge = Purge { retention: Duration::ZERO, answer_retention: Duration::ZERO, limit: 9 };
    assert_eq!(ledger.purge(purge).expect("purged").keys, 1);
    for bytes in [Some(1 << 21), None] {
        set(bytes);
        super::claimed(&ledger, &format!("{bytes:?}"));
    }
}

/// Small steps of purging between claims and answers: each takes what is old, and nothing else.
#[test]
fn what_is_old_goes_while_others_come() {
    const KEYS: usize = 60;
    const HOUR: Duration = Duration::from_secs(3600);
    let folder = tempfile::tempdir().expect("a folder");
    let clocks = Arc::new(ManualClocks::default());
    let path = folder.path().join("ledger.db");
    let opened = SqliteLedger::open(&settings(&path), clocks.clone(), Box::new(|_| ()));
    let ledger = opened.expect("opened").0;
    let keys = |age: &'static str| (0..KEYS).map(move |number| format!("{age}-{number}"));
    let answer_all = |age| {
        for key in keys(age) {
            super::answered(&ledger, &key);
        }
    };
    answer_all("old");
    let doubtful = super::claimed(&ledger, "doubtful");
    assert_eq!(ledger.doubt(doubtful, None), Ok(true));
    super::claimed(&ledger, "in flight");
    clocks.pass(HOUR * 2);
    let purged = thread::scope(|scope| {
        let comers = scope.spawn(|| answer_all("new"));
        let (mut answers, mut keys) = (0, 0);
        loop {
            let purge = Purge { retention: HOUR, answer_retention: HOUR, limit: 3 };
            let purged = ledger.purge(purge).expect("purged");
            assert!(purged.answers <= 3 && purged.keys <= 3);
            (answers, keys) = (answers + purged.answers, keys + purged.keys);
            if !purged.more && comers.is_finished() {
                break (answers, keys);
            }
        }
    });
    // An answer may go with its key, and is not counted then.
    assert!(purged.1 == 60 && purged.0 <= 60, "{purged:?}");
    for key in keys("new") {
        let entry = ledger.look(&new_claim(&key).identity()).expect("told").expect("there");
        assert_eq!(ledger.answer_of(entry.claim.id), Ok(Some(super::answer(&key))));
    }
    assert!(keys("old").all(|key| ledger.look(&new_claim(&key).identity()) == Ok(None)));
    let tally = ledger.tally().expect("told");
    assert_eq!((tally.in_flight, tally.answered, tally.unknown), (1, 60, 1));
}
