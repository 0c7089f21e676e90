//! Holds what clients were told against the vendor's books.

use crate::journal::{Journal, Story, TOLD_MAX, Violation};
use crate::reading::Final;
use crate::vendor::books::{Books, Entry};
use crate::write::Write;
use serde_json::Value;

/// Everything that must not have happened.
pub fn violations(journal: &Journal, books: &Books) -> Vec<Violation> {
    let mut violations = journal.violations();
    violations.extend(books.offenses().into_iter().map(Violation::Offense));
    let entries = books.entries();
    for (write, story) in journal.stories() {
        let entry = entries.get(&write.external_id()).cloned().unwrap_or_default();
        violations.extend(of_one(write, &story, &entry));
    }
    violations
}

fn of_one(write: Write, story: &Story, entry: &Entry) -> Vec<Violation> {
    let mut violations = Vec::new();
    if entry.booked > 1 {
        violations.push(Violation::BookedTwice { write, times: entry.booked });
    }
    match &story.settled {
        None if story.given_up && entry.booked > 0 => {
            let told = "executed: no".to_owned();
            violations.push(Violation::BookedAfterAll { write, told });
        }
        None if story.given_up => {}
        None => {
            let last = format!("{} after {} attempts", story.last, story.asked);
            violations.push(Violation::NeverAnswered { write, last });
        }
        Some(answer) => {
            let booked = says_booked(answer);
            if booked && entry.booked == 0 {
                violations.push(Violation::Lost { write, answer: answer.clone() });
            } else if !booked && entry.booked > 0 {
                let told = format!("{answer:?}");
                violations.push(Violation::BookedAfterAll { write, told });
            } else if !is_of(answer, write, entry) {
                violations.push(Violation::Foreign { write, answer: answer.clone() });
            }
        }
    }
    violations
}

fn says_booked(answer: &Final) -> bool {
    match answer {
        Final::Kept { status, .. } => *status < 400,
        Final::NotKept { executed } => executed == "yes",
    }
}

/// Whether the vendor could say so of this write: each answer names it, and the record it made.
fn is_of(answer: &Final, write: Write, entry: &Entry) -> bool {
    let Final::Kept { status, body, media_type, record } = answer else { return true };
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let by = match status {
        200 => "look-up",
        201 => "booking",
        _ => "refusal",
    };
    let named = body["by"] == by
        && body["externalId"] == write.external_id()
        && media_type.as_deref() == Some("application/json");
    let recorded = *status >= 400
        || body["record"] == entry.record && *record == Some(entry.record.to_string());
    // Only who was looked up can have been answered so.
    named && recorded && (*status != 200 || entry.looks > 0)
}

/// The violations in words, not all of them if they are many.
pub fn told(violations: &[Violation]) -> String {
    let lines = violations.iter().take(TOLD_MAX).map(|violation| match violation {
        Violation::Ended(words) => format!("ended: {words}"),
        other => format!("{other:?}"),
    });
    let mut told = lines.collect::<Vec<_>>().join("\n");
    if let Some(more @ 1..) = violations.len().checked_sub(TOLD_MAX) {
        told.push_str(&format!("\n… and {more} more"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::violations;
    use crate::journal::{Journal, Violation};
    use crate::pulse::Pulse;
    use crate::reading::{Again, Final, Reading};
    use crate::vendor::books::Books;
    use crate::write::{Lane, Write};
    use std::sync::Arc;

    const WRITE: Write = Write { number: 3, lane: Lane::Header };

    struct Case {
        journal: Journal,
        books: Arc<Books>,
    }

    impl Case {
        fn new() -> Case {
            let pulse = Pulse::new();
            Case { journal: Journal::new(pulse.clone()), books: Books::new(pulse) }
        }

        fn book(&self) -> u64 {
            let arrival = self.books.arrive(WRITE.lane, &WRITE.external_id(), Some("abc"));
            self.books.book(&arrival).expect("in time")
        }

        fn hear(&self, reading: &Reading) {
            let before = self.journal.asks(WRITE);
            self.journal.hears(WRITE, &before, reading);
        }

        fn found(&self) -> Vec<Violation> {
            violations(&self.journal, &self.books)
        }
    }

    fn answer(record: u64) -> Final {
        let id = WRITE.external_id();
        let body = format!("{{\"by\":\"booking\",\"externalId\":\"{id}\",\"record\":{record}}}");
        Final::Kept {
            status: 201,
            body: body.into_bytes(),
            media_type: Some("application/json".to_owned()),
            record: Some(record.to_string()),
        }
    }

    fn heard(answer: Final, replayed: bool) -> Reading {
        Reading::Final { answer, replayed }
    }

    fn not_kept(executed: &str) -> Reading {
        heard(Final::NotKept { executed: executed.to_owned() }, true)
    }

    #[test]
    fn a_good_life_is_no_violation() {
        let case = Case::new();
        case.hear(&Reading::Again(Again::Lost));
        let record = case.book();
        case.hear(&Reading::Again(Again::Open("outcome-unknown".to_owned())));
        case.hear(&heard(answer(record), false));
        case.hear(&heard(answer(record), true));
        case.hear(&Reading::Again(Again::NotExecuted("ledger-unavailable".to_owned())));
        assert_eq!(case.found(), []);
    }

    #[test]
    fn each_violation_is_found() {
        let twice = Case::new();
        twice.hear(&heard(answer(twice.book()), false));
        twice.book();
        assert_eq!(twice.found(), [Violation::BookedTwice { write: WRITE, times: 2 }]);

        let different = Case::new();
        let record = different.book();
        different.hear(&heard(answer(record), false));
        different.hear(&heard(answer(record + 1), true));
        different.hear(&not_kept("yes"));
        different.hear(&Reading::Again(Again::Open("request-in-flight".to_owned())));
        let found = different.found();
        let is_that = |found: &Violation| matches!(found, Violation::AnsweredDifferently { .. });
        assert!(found.len() == 3 && found.iter().all(is_that), "{found:?}");

        let again = Case::new();
        let record = again.book();
        again.hear(&heard(answer(record), false));
        again.hear(&heard(answer(record), false));
        assert_eq!(again.found(), [Violation::NotReplayed { write: WRITE }]);

        let lost = Case::new();
        lost.hear(&heard(answer(1), false));
        assert!(matches!(lost.found()[..], [Violation::Lost { .. }]));

        let foreign = Case::new();
        let record = foreign.book();
        foreign.hear(&heard(answer(record + 7), false));
        assert!(matches!(foreign.found()[..], [Violation::Foreign { .. }]));

        let after_all = Case::new();
        after_all.hear(&not_kept("no"));
        after_all.book();
        assert!(matches!(after_all.found()[..], [Violation::BookedAfterAll { .. }]));

        let promised = Case::new();
        promised.hear(&Reading::Again(Again::NotExecuted("vendor-paused".to_owned())));
        promised.journal.gives_up(WRITE);
        assert_eq!(promised.found(), []);
        promised.book();
        assert!(matches!(promised.found()[..], [Violation::BookedAfterAll { .. }]));

        let never = Case::new();
        never.hear(&Reading::Again(Again::Lost));
        let last = "lost after 1 attempts".to_owned();
        assert_eq!(never.found(), [Violation::NeverAnswered { write: WRITE, last }]);

        let key = Case::new();
        key.hear(&heard(answer(key.book()), false));
        key.books.arrive(WRITE.lane, &WRITE.external_id(), Some("def"));
        assert!(matches!(key.found()[..], [Violation::Offense(_)]));
    }
}
