//! What clients were told, and where the gateway contradicted itself.

use crate::plan::ANSWER_MAX;
use crate::pulse::{Beat, Pulse};
use crate::reading::{Again, Final, Reading};
use crate::write::Write;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

/// The notes of all clients.
pub struct Journal {
    notes: Mutex<Notes>,
    pulse: Pulse,
}

#[derive(Default)]
struct Notes {
    stories: HashMap<Write, Story>,
    contradictions: Vec<Violation>,
    counts: BTreeMap<String, u64>,
}

/// What the client of one write has lived through.
#[derive(Clone, Debug, Default)]
pub struct Story {
    pub asked: u64,
    /// What was heard last, in a word.
    pub last: String,
    pub settled: Option<Final>,
    /// Given up after the promise that nothing was executed.
    pub given_up: bool,
}

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Violation {
    BookedTwice {
        write: Write,
        times: u64,
    },
    AnsweredDifferently {
        write: Write,
        first: Final,
        then: String,
    },
    /// An answer that was given before does not say so.
    NotReplayed {
        write: Write,
    },
    /// A client was told that it was booked, and it is not.
    Lost {
        write: Write,
        answer: Final,
    },
    /// A client was told that it was not booked, and it is.
    BookedAfterAll {
        write: Write,
        told: String,
    },
    /// An answer that the vendor has never given to this write.
    Foreign {
        write: Write,
        answer: Final,
    },
    NeverAnswered {
        write: Write,
        last: String,
    },
    Wrong {
        write: Write,
        answer: String,
    },
    /// The gateway did something that it must not do.
    Offense(String),
    /// The gateway ended by itself, or did not begin.
    Ended(String),
    /// The ledger holds entries that nobody has settled.
    LeftUnknown {
        entries: String,
    },
}

/// Violations that are told in full.
pub const TOLD_MAX: usize = 20;

impl Journal {
    pub fn new(pulse: Pulse) -> Journal {
        Journal { notes: Mutex::default(), pulse }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().expect("no panic")
    }

    /// A client is about to send: how often it did before, and what it was told.
    pub fn asks(&self, write: Write) -> Story {
        let mut notes = self.notes();
        *notes.counts.entry("attempts".to_owned()).or_default() += 1;
        let story = notes.stories.entry(write).or_default();
        let before = story.clone();
        story.asked += 1;
        before
    }

    /// A client has heard something, or that there is nothing to hear. What it was told before it
    /// asked binds the gateway.
    pub fn hears(&self, write: Write, before: &Story, reading: &Reading) {
        let mut notes = self.notes();
        match reading {
            Reading::Wrong(answer) => {
                let answer = answer.clone();
                notes.contradictions.push(Violation::Wrong { write, answer });
            }
            Reading::Again(again) => {
                notes.count(again.word());
                notes.stories.entry(write).or_default().last = again.word().to_owned();
                if let (Again::Open(word), Some(first)) = (again, &before.settled) {
                    let (first, then) = (first.clone(), word.clone());
                    let violation = Violation::AnsweredDifferently { write, first, then };
                    notes.contradictions.push(violation);
                }
            }
            Reading::Final { answer, replayed } => {
                notes.count(kind(answer));
                if *replayed {
                    notes.count("replayed");
                } else if before.settled.is_some() {
                    notes.contradictions.push(Violation::NotReplayed { write });
                }
                notes.settle(write, answer);
            }
        }
        drop(notes);
        self.beat(reading);
    }

    fn beat(&self, reading: &Reading) {
        match reading {
            Reading::Again(Again::Lost) => return,
            Reading::Again(Again::NotExecuted(word)) if word == "ledger-unavailable" => {
                self.pulse.beat(Beat::Unwritten);
            }
            Reading::Final { .. } => self.pulse.beat(Beat::Settled),
            _ => {}
        }
        self.pulse.beat(Beat::Heard);
    }

    /// A client gives a write up, because it was promised that nothing was executed.
    pub fn gives_up(&self, write: Write) {
        let mut notes = self.notes();
        notes.count("given up");
        notes.stories.entry(write).or_default().given_up = true;
    }

    /// Counts something for the summary.
    pub fn count(&self, what: &str) {
        self.notes().count(what);
    }

    pub fn violates(&self, violation: Violation) {
        self.notes().contradictions.push(violation);
    }

    pub fn violations(&self) -> Vec<Violation> {
        self.notes().contradictions.clone()
    }

    pub fn story(&self, write: Write) -> Story {
        self.notes().stories.get(&write).cloned().unwrap_or_default()
    }

    pub fn stories(&self) -> Vec<(Write, Story)> {
        let mut stories: Vec<_> =
            self.notes().stories.iter().map(|(write, story)| (*write, story.clone())).collect();
        stories.sort_by_key(|(write, _)| write.number);
        stories
    }

    /// All counts, in a line.
    pub fn summary(&self) -> String {
        let notes = self.notes();
        let counts = notes.counts.iter().map(|(what, count)| format!("{count} {what}"));
        counts.collect::<Vec<_>>().join(", ")
    }
}

impl Notes {
    fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    /// The first answer stands; a later one has to be the same.
    fn settle(&mut self, write: Write, answer: &Final) {
        let story = self.stories.entry(write).or_default();
        match &story.settled {
            None => story.settled = Some(answer.clone()),
            Some(first) if same(first, answer) => {}
            Some(first) => {
                let (first, then) = (first.clone(), format!("{answer:?}"));
                let violation = Violation::AnsweredDifferently { write, first, then };
                self.contradictions.push(violation);
            }
        }
    }
}

/// Whether an answer may follow another. One that was too large to be kept is given once.
fn same(first: &Final, then: &Final) -> bool {
    match (first, then) {
        (Final::Kept { body, status, .. }, Final::NotKept { executed }) => {
            body.len() > ANSWER_MAX && executed == if *status < 400 { "yes" } else { "no" }
        }
        // Of two who asked at once, one may have been told what the other was given in full.
        (Final::NotKept { .. }, Final::Kept { body, .. }) => {
            body.len() > ANSWER_MAX && same(then, first)
        }
        _ => first == then,
    }
}

/// Whose words an answer is, for the count.
fn kind(answer: &Final) -> &'static str {
    match answer {
        Final::NotKept { .. } => "told that it is not kept",
        Final::Kept { status: 200, .. } => "answered by look-up",
        Final::Kept { status: 201, .. } => "answered by the vendor",
        Final::Kept { .. } => "refused by the vendor",
    }
}
