//! Decides what a protected write meets: nothing, its own answer, somebody who is at it, or doubt.
//!
//! Never looks anything up: what the ledger knows is an argument, and so is the time. Gives a
//! [`Decision`]; the shell acts on it and refuses with `idempotency-key-reused`,
//! `request-in-flight`, `outcome-unknown`, `answer-not-kept`.

pub mod fingerprint;
pub mod key;
pub mod lookup;
pub mod mapping;
pub mod settling;
pub mod vendor_key;

use crate::model::digest::{Pieces, Sha256};
use crate::model::moment::Moment;
use fingerprint::Fingerprint;
use key::Key;
use std::time::Duration;

/// What the ledger knows of a key; one that was freed is known no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Of the request that came with the key first.
    pub fingerprint: Fingerprint,
    /// What became of it.
    pub state: State,
}

/// What became of a protected write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits, or it is under way, in a process that lives.
    InFlight,
    /// The vendor answered.
    Answered {
        /// Its status; `None` where a person said that the vendor acted, and no more.
        status: Option<u16>,
        /// Whether the answer can still be given again.
        kept: bool,
    },
    /// It was sent, and nobody can know what became of it.
    Unknown {
        /// When its first byte was sent, at the earliest of its attempts.
        first_sent: Moment,
        /// Whether an answer of the vendor's is kept that leaves it open.
        answer: bool,
    },
}

/// What a later call meets after an unknown outcome: `idempotency_ambiguous`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguous {
    /// `outcome-unknown`.
    Hold,
    /// The vendor's answer, if there is one.
    Replay,
    /// A new attempt with the same vendor key, while that protects.
    Retry,
}

/// How long a second attempt can't act twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// The vendor remembers its key so long.
    Window(Duration),
    /// The write sets a record to what it says, however often.
    Upsert,
}

impl Protection {
    /// Whether it protects yet, so long after the first sending.
    pub fn holds(self, age: Duration) -> bool {
        match self {
            Protection::Upsert => true,
            Protection::Window(window) => age < window,
        }
    }
}

/// What a protected write meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The key is free: reserve it.
    Fresh,
    /// Its first outcome is unknown, and the vendor can't act twice: send it again, with the
    /// vendor key of the first time.
    Again,
    /// The answer that is kept is its answer.
    Replay,
    /// `request-in-flight`, or wait for the first one.
    InFlight,
    /// `idempotency-key-reused`.
    Mismatch,
    /// `outcome-unknown`.
    Unknown,
    /// `answer-not-kept`.
    NotKept {
        /// Whether the vendor acted.
        executed: bool,
    },
}

/// Decides what a write with this fingerprint meets. `protection`: how long another attempt of it
/// can't act twice, and since when it is asked; `None`: nobody says that it can't.
pub fn decide(
    known: Option<&Known>,
    fingerprint: Fingerprint,
    ambiguous: Ambiguous,
    protection: Option<(Protection, Moment)>,
) -> Decision {
    let Some(known) = known else { return Decision::Fresh };
    // Before anything is said of the first request: its answer is not this one's.
    if known.fingerprint != fingerprint {
        return Decision::Mismatch;
    }
    match known.state {
        State::InFlight => Decision::InFlight,
        State::Answered { kept: true, .. } => Decision::Replay,
        State::Answered { status, kept: false } => Decision::NotKept { executed: executed(status) },
        State::Unknown { first_sent, answer } => {
            let protected = protection.is_some_and(|(it, now)| protects(it, first_sent, now));
            match ambiguous {
                Ambiguous::Replay if answer => Decision::Replay,
                Ambiguous::Retry if protected => Decision::Again,
                Ambiguous::Hold | Ambiguous::Replay | Ambiguous::Retry => Decision::Unknown,
            }
        }
    }
}

/// Whether a vendor that answered so acted; a person who settled it without a status said so.
pub fn executed(status: Option<u16>) -> bool {
    status.is_none_or(|status| status < 400)
}

/// Whether a second attempt can't act twice now. Clocks that contradict each other protect nothing.
pub fn protects(protection: Protection, first_sent: Moment, now: Moment) -> bool {
    let age = first_sent.at_most(now);
    protection == Protection::Upsert || age.is_some_and(|age| protection.holds(age))
}

/// What a look-up at the vendor says of an unknown create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookedUp {
    /// The record is there.
    Executed,
    /// It is not.
    NotExecuted,
    /// The answer was another one.
    Unclear,
}

/// What becomes of an unknown entry that was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The look-up's answer becomes the stored one.
    Answered,
    /// The key is free.
    Free,
    /// It stays unknown; another look may say more.
    Stays,
}

/// What a look-up proves: that a record is not there says nothing while the request may still be
/// on its way, which is for `response` after its last byte.
pub fn find(looked_up: LookedUp, last_sent: Moment, response: Duration, seen: Moment) -> Finding {
    match looked_up {
        LookedUp::Executed => Finding::Answered,
        LookedUp::NotExecuted if last_sent.at_least(seen) >= response => Finding::Free,
        LookedUp::NotExecuted | LookedUp::Unclear => Finding::Stays,
    }
}

/// Under which the ledger knows a key: equal for equal keys of one client at one vendor only.
pub fn identity(client: &str, vendor: &str, key: &Key) -> Sha256 {
    digest("erpgate ledger 1", client, vendor, key)
}

/// Over parts of which none can be taken for another.
fn digest(purpose: &str, client: &str, vendor: &str, key: &Key) -> Sha256 {
    let mut pieces = Pieces::default();
    let record = key.record().map(|record| [&*record.method, &*record.path]);
    let record = record.as_ref().map(<[_; 2]>::as_slice).unwrap_or_default();
    for part in [purpose, client, vendor, key.value()].iter().chain(record) {
        // No address space holds more octets than 64 bits can count.
        pieces.add(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        pieces.add(part.as_bytes());
    }
    pieces.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use key::Record;
    use std::collections::BTreeSet;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(hours: u64) -> Moment {
        let ms = hours * 3_600_000;
        Moment { steady_ms: ms, wall_ms: i64::try_from(ms).expect("small") }
    }

    fn fingerprint(text: &str) -> Fingerprint {
        Fingerprint(Sha256::of(text.as_bytes()))
    }

    #[test]
    fn what_a_write_meets() {
        use Ambiguous::{Hold, Replay, Retry};
        let (window, upsert) = (Protection::Window(HOUR * 24), Protection::Upsert);
        let all = [
            (Hold, Some(upsert)),
            (Replay, Some(upsert)),
            (Retry, Some(window)),
            (Retry, Some(upsert)),
            (Retry, None),
        ];
        let answered = |status, kept| State::Answered { status, kept };
        let unknown = |answer| State::Unknown { first_sent: at(100), answer };
        let same = |decision| [decision; 5];
        let (open, again, replay) = (Decision::Unknown, Decision::Again, Decision::Replay);
        let (executed, not_executed) =
            (Decision::NotKept { executed: true }, Decision::NotKept { executed: false });
        for (state, now, expected) in [
            (None, at(100), same(Decision::Fresh)),
            (Some(State::InFlight), at(100), same(Decision::InFlight)),
            (Some(answered(Some(201), true)), at(100), same(Decision::Replay)),
            (Some(answered(Some(422), true)), at(100), same(Decision::Replay)),
            (Some(answered(None, true)), at(100), same(Decision::Replay)),
            (Some(answered(Some(201), false)), at(100), same(executed)),
            (Some(answered(Some(303), false)), at(100), same(executed)),
            (Some(answered(None, false)), at(100), same(executed)),
            (Some(answered(Some(400), false)), at(100), same(not_executed)),
            (Some(unknown(false)), at(123), [open, open, again, again, open]),
            (Some(unknown(true)), at(123), [open, replay, again, again, open]),
            (Some(unknown(true)), at(124), [open, replay, open, again, open]),
            // The clocks contradict each other.
            (Some(unknown(false)), at(99), [open, open, open, again, open]),
        ] {
            let known = state.map(|state| Known { fingerprint: fingerprint("a"), state });
            let decided = |of: &str| {
                let of = fingerprint(of);
                all.map(|(ambiguous, protection)| {
                    let protection = protection.map(|protection| (protection, now));
                    decide(known.as_ref(), of, ambiguous, protection)
                })
            };
            assert_eq!(decided("a"), expected, "{state:?}");
            let other = if state.is_none() { Decision::Fresh } else { Decision::Mismatch };
            assert_eq!(decided("b"), same(other), "{state:?} with another request");
        }
    }

    #[test]
    fn what_a_look_up_proves() {
        for (looked_up, seen, expected) in [
            (LookedUp::Executed, at(100), Finding::Answered),
            (LookedUp::Executed, at(200), Finding::Answered),
            (LookedUp::NotExecuted, at(100), Finding::Stays),
            (LookedUp::NotExecuted, at(99), Finding::Stays),
            (LookedUp::NotExecuted, at(101), Finding::Free),
            (LookedUp::Unclear, at(200), Finding::Stays),
        ] {
            assert_eq!(find(looked_up, at(100), HOUR, seen), expected, "{looked_up:?} {seen:?}");
        }
    }

    #[test]
    fn an_identity_is_of_one_client_vendor_and_key() {
        let record =
            |method: &str, path: &str| Some(Record { method: method.into(), path: path.into() });
        let key = |value: &str, record| Key::kept(value.into(), record);
        let all = [
            identity("a", "b", &key("c", None)),
            identity("ab", "", &key("c", None)),
            identity("", "ab", &key("c", None)),
            identity("a", "", &key("bc", None)),
            identity("b", "a", &key("c", None)),
            identity("a", "b", &key("c", record("POST", "/"))),
            identity("a", "b", &key("c", record("POST", "/x"))),
            identity("a", "b", &key("c", record("POST/", "x"))),
        ];
        assert_eq!(BTreeSet::from(all).len(), all.len());
        assert_eq!(identity("a", "b", &key("c", None)), all[0]);
    }
}
