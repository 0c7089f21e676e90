//! The same random life of two or three processes, against the store with and without a key, and
//! against the model.

use super::super::entry::{Entry, Outcome, Purge, Standing};
use super::super::model::{Memory, ModelLedger};
use super::Direct;
use super::{ANSWER_BYTES_MAX, Answer, Arc, Change, Claim, Clocks, Duration, Held, Ledger};
use super::{EncryptionKey, Settings, key};
use super::{ManualClocks, NewClaim, Settlement, SqliteLedger, answer, new_claim, settings};
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::{Config, TestCaseError};
use std::fs;
use std::path::PathBuf;

/// A world in which processes live and die.
trait World {
    fn process(&mut self) -> Box<dyn Ledger>;

    /// What a power cut leaves of what was there, all processes dead: here, what is on the disk.
    fn crash(&mut self, processes: Vec<Box<dyn Ledger>>);
}

struct Modelled {
    memory: Arc<Memory>,
    clocks: Arc<ManualClocks>,
}

impl World for Modelled {
    fn process(&mut self) -> Box<dyn Ledger> {
        let clocks: Arc<dyn Clocks> = self.clocks.clone();
        Box::new(ModelLedger::open(&self.memory, clocks, ANSWER_BYTES_MAX))
    }

    fn crash(&mut self, processes: Vec<Box<dyn Ledger>>) {
        drop(processes);
    }
}

struct OnDisk {
    folder: tempfile::TempDir,
    key: Option<EncryptionKey>,
    lives: u32,
    clocks: Arc<ManualClocks>,
}

impl OnDisk {
    fn path(&self) -> PathBuf {
        self.folder.path().join(self.lives.to_string()).join("ledger.db")
    }
}

impl World for OnDisk {
    fn process(&mut self) -> Box<dyn Ledger> {
        let clocks: Arc<dyn Clocks> = self.clocks.clone();
        let settings = Settings { encryption_key: self.key.clone(), ..settings(&self.path()) };
        let opened = SqliteLedger::open(&settings, clocks, Box::new(|_| ()));
        Box::new(opened.expect("opened").0)
    }

    /// Nobody closes anything: the file and its log are taken as they lie there.
    fn crash(&mut self, processes: Vec<Box<dyn Ledger>>) {
        let before = self.path();
        self.lives += 1;
        let after = self.path();
        fs::create_dir_all(after.parent().expect("a folder")).expect("made");
        for end in ["", "-wal"] {
            let named = |path: &PathBuf| PathBuf::from(format!("{}{end}", path.display()));
            if named(&before).exists() {
                fs::copy(named(&before), named(&after)).expect("copied");
            }
        }
        drop(processes);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Claim { process: usize, key: u8, other_request: bool },
    Again { process: usize, claim: usize },
    Answer { process: usize, claim: usize, settlement: Settlement },
    Release { process: usize, claim: usize },
    Doubt { process: usize, claim: usize, answer: Option<Answer> },
    Resolve { process: usize, claim: usize, found: Option<Settlement> },
    Found { process: usize, claim: usize, found: Option<Settlement> },
    Unheard { process: usize, key: u8 },
    Purge { process: usize, limit: u32 },
    Pass(Duration),
    SetWall(i64),
    Start,
    Exit { process: usize },
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let process = 0usize..3;
    let claim = 0usize..8;
    let kept = prop_oneof![
        Just(answer("booked")),
        (0usize..2).prop_map(|more| answer(&"x".repeat(ANSWER_BYTES_MAX + more))),
    ];
    let settlement = prop_oneof![
        3 => kept.clone().prop_map(Settlement::Kept),
        1 => proptest::option::of(200u16..599).prop_map(Settlement::NotKept),
    ];
    let found = proptest::option::of(settlement.clone());
    let doubt = proptest::option::of(kept);
    let at = (process.clone(), claim);
    let step = prop_oneof![
        8 => (process.clone(), 0u8..4, any::<bool>())
            .prop_map(|(process, key, other_request)| Step::Claim { process, key, other_request }),
        2 => at.clone().prop_map(|(process, claim)| Step::Again { process, claim }),
        4 => (at.clone(), settlement).prop_map(|((process, claim), settlement)| {
            Step::Answer { process, claim, settlement }
        }),
        2 => at.clone().prop_map(|(process, claim)| Step::Release { process, claim }),
        3 => (at.clone(), doubt).prop_map(|((process, claim), answer)| {
            Step::Doubt { process, claim, answer }
        }),
        1 => (at.clone(), found.clone()).prop_map(|((process, claim), found)| {
            Step::Found { process, claim, found }
        }),
        2 => (at, found).prop_map(|((process, claim), found)| {
            Step::Resolve { process, claim, found }
        }),
        1 => (process.clone(), 0u8..4).prop_map(|(process, key)| Step::Unheard { process, key }),
        3 => (process.clone(), 1u32..4).prop_map(|(process, limit)| Step::Purge { process, limit }),
        3 => (0u64..400_000).prop_map(|seconds| Step::Pass(Duration::from_secs(seconds))),
        1 => any::<i32>().prop_map(|seconds| Step::SetWall(i64::from(seconds) * 1000)),
        1 => Just(Step::Start),
        1 => process.prop_map(|process| Step::Exit { process }),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Everything that can be seen, as text.
fn seen(ledger: &dyn Ledger) -> String {
    let entries: Vec<Entry> = Standing::ALL
        .into_iter()
        .flat_map(|standing| ledger.list(standing, 0, 100).expect("listed"))
        .collect();
    let answers: Vec<Option<Answer>> =
        entries.iter().map(|entry| ledger.answer_of(entry.claim.id).expect("told")).collect();
    for (entry, answer) in entries.iter().zip(&answers) {
        assert_eq!(entry.kept, answer.is_some());
        assert_eq!(ledger.entry(entry.claim.id).expect("told").as_ref(), Some(entry));
    }
    let bodies: Vec<_> = answers.into_iter().map(|it| it.map(|it| (it.fields, it.body))).collect();
    format!("{:?} {entries:#?} {bodies:?} {:?}", ledger.tally(), ledger.now())
}

struct Life<'w> {
    world: &'w mut dyn World,
    processes: Vec<Box<dyn Ledger>>,
    claims: Vec<Claim>,
}

impl Life<'_> {
    fn at(&self, process: usize) -> &dyn Ledger {
        self.processes[process % self.processes.len()].as_ref()
    }

    fn of(&self, claim: usize) -> Claim {
        let back = self.claims.len().checked_sub(claim % self.claims.len().max(1) + 1);
        back.map_or(Claim { id: 1, attempt: 1 }, |index| self.claims[index])
    }

    fn held(&mut self, held: Held) -> String {
        if let Held::Ours(claim) = held {
            self.claims.push(claim);
        }
        format!("{held:?}")
    }

    fn take(&mut self, step: &Step, clocks: &ManualClocks) -> String {
        let done = match step {
            Step::Claim { process, key, other_request } => {
                let held = self.at(*process).claim(request(*key, *other_request)).expect("told");
                self.held(held)
            }
            Step::Again { process, claim } => {
                let held = self.at(*process).claim_again(self.of(*claim)).expect("told");
                self.held(held)
            }
            Step::Answer { process, claim, settlement } => {
                let claim = self.of(*claim);
                format!("{:?}", self.at(*process).answer(claim, settlement.clone()))
            }
            Step::Release { process, claim } => {
                format!("{:?}", self.at(*process).release(self.of(*claim)))
            }
            Step::Doubt { process, claim, answer } => {
                format!("{:?}", self.at(*process).doubt(self.of(*claim), answer.clone()))
            }
            Step::Resolve { process, claim, found } => {
                format!("{:?}", self.at(*process).resolve(self.of(*claim).id, found.clone()))
            }
            Step::Found { process, claim, found } => {
                format!("{:?}", self.at(*process).found(self.of(*claim), found.clone()))
            }
            Step::Unheard { process, key } => self.claim_unheard(*process, *key),
            Step::Purge { process, limit } => {
                let day = Duration::from_secs(86_400);
                let purge = Purge { retention: day * 3, answer_retention: day, limit: *limit };
                format!("{:?}", self.at(*process).purge(purge))
            }
            Step::Start if self.processes.len() < 3 => {
                let process = self.world.process();
                self.processes.push(process);
                String::new()
            }
            Step::Exit { process } if self.processes.len() > 1 => {
                let process = process % self.processes.len();
                drop(self.processes.remove(process));
                String::new()
            }
            Step::Crash => {
                self.world.crash(std::mem::take(&mut self.processes));
                let process = self.world.process();
                self.processes.push(process);
                String::new()
            }
            Step::Pass(time) => {
                clocks.pass(*time);
                String::new()
            }
            Step::SetWall(ms) => {
                clocks.set_wall(*ms);
                String::new()
            }
            Step::Start | Step::Exit { .. } => String::new(),
        };
        // A list says what is written; asking for an entry finds the dead.
        for key in 0..4 {
            for process in &self.processes {
                process.look(&request(key, false).identity()).expect("told");
            }
        }
        let views: Vec<String> = self.processes.iter().map(|it| seen(it.as_ref())).collect();
        format!("{done} {views:?}")
    }

    /// Whoever asked is gone before the claim is theirs: it is free again.
    fn claim_unheard(&self, process: usize, key: u8) -> String {
        let (tell, told) = std::sync::mpsc::channel();
        let done = move |outcome| {
            let _ = tell.send(format!("{outcome:?}"));
            false
        };
        let new = Box::new(request(key, false));
        self.at(process).submit(Change::Claim(new), Box::new(done));
        let outcome = told.recv().expect("told");
        // What is submitted later is made later.
        let behind = self.at(process).change(Change::Release(Claim { id: -1, attempt: 1 }));
        assert_eq!(behind, Ok(Outcome::Stale));
        outcome
    }
}

fn request(key: u8, other_request: bool) -> NewClaim {
    let mut new = new_claim(&format!("key-{key}"));
    if other_request {
        new.fingerprint = new_claim("another").fingerprint;
    }
    new
}

fn live(world: &mut dyn World, clocks: &ManualClocks, steps: &[Step]) -> Vec<String> {
    let first = world.process();
    let mut life = Life { world, processes: vec![first], claims: Vec::new() };
    steps.iter().map(|step| life.take(step, clocks)).collect()
}

fn check(steps: &[Step]) -> Result<(), TestCaseError> {
    let clocks = Arc::new(ManualClocks::default());
    let memory = Arc::new(Memory::default());
    let mut model = Modelled { memory, clocks: Arc::clone(&clocks) };
    let modelled = live(&mut model, &clocks, steps);
    for key in [None, Some(key())] {
        let clocks = Arc::new(ManualClocks::default());
        let folder = in_memory();
        let mut disk = OnDisk { folder, key: key.clone(), lives: 0, clocks: Arc::clone(&clocks) };
        let stored = live(&mut disk, &clocks, steps);
        for ((step, modelled), stored) in steps.iter().zip(&modelled).zip(&stored) {
            prop_assert_eq!(modelled, stored, "after {:?}, {:?}", step, key);
        }
    }
    Ok(())
}

/// Where nothing waits for a disk, if there is such a place: thousands of commits are made.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

proptest! {
    #![proptest_config(Config { cases: 256, ..Config::default() })]

    #[test]
    fn stores_and_model_are_one(steps in steps()) {
        check(&steps)?;
    }
}
