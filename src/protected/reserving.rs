//! The first door: what a write with a key meets, settled before it waits for anything.

use super::places::{Met, Place, Waiting};
use super::{Protected, Replay};
use crate::adapters::ledger::entry::{Claim, Entry, NewClaim, Standing};
use crate::model::digest::Sha256;
use crate::model::moment::Moment;
use crate::stages::idempotency::{Ambiguous, Decision, Protection};
use crate::stages::idempotency::{decide, executed, protects};
use std::sync::Arc;

/// A write with a key, and everything that is written down of it.
#[derive(Clone, Debug)]
pub struct Write {
    /// What is claimed.
    pub claim: NewClaim,
    /// Under which the ledger knows its key.
    pub identity: Sha256,
    /// What a later call meets after an unknown outcome.
    pub ambiguous: Ambiguous,
    /// How long a second attempt can't act twice.
    pub protection: Option<Protection>,
}

impl Write {
    /// Whether another attempt can't act twice, after a first one at this moment.
    pub(super) fn is_protected(&self, first_sent: Moment, now: Moment) -> bool {
        self.protection.is_some_and(|protection| protects(protection, first_sent, now))
    }
}

/// An attempt of which nobody knows what came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct InDoubt {
    pub(super) claim: Claim,
    /// Before the first byte of any attempt.
    pub(super) first_sent: Moment,
}

/// The right to claim. Dropping it frees the key, and nothing was written.
#[derive(Debug)]
pub struct Reservation {
    pub(super) write: Arc<Write>,
    /// The unknown attempt that is to be made again.
    pub(super) again: Option<InDoubt>,
    _place: Place,
}

impl Reservation {
    /// The write is sent with this credential, whatever it was reserved with; `false`: it must not
    /// be, as the vendor may not know by it what an earlier attempt did.
    pub fn is_sent_with(&mut self, credential: Option<Box<str>>) -> bool {
        let other = self.write.claim.credential != credential;
        if other {
            Arc::make_mut(&mut self.write).claim.credential = credential;
        }
        !(other && self.is_in_doubt())
    }

    /// Whether an earlier attempt may have acted.
    pub fn is_in_doubt(&self) -> bool {
        self.again.is_some()
    }
}

/// What a write meets.
#[derive(Debug)]
pub enum Reserved {
    /// Nothing: it goes on.
    Ours(Reservation),
    /// Its own answer.
    Replay(Arc<Replay>),
    /// The first one is under way; in this process, its end can be waited for.
    InFlight(Option<Waiting>),
    /// Another request came with the key.
    Mismatch,
    /// Nobody knows what became of the first one.
    Unknown,
    /// The first one's answer is not kept.
    NotKept {
        /// Whether the vendor acted.
        executed: bool,
    },
    /// The ledger can't say, or can't take it.
    Unavailable,
}

impl Reserved {
    /// The label of `idempotency_claims_total`; `None`: nothing was looked up.
    pub fn label(&self) -> Option<&'static str> {
        match self {
            Reserved::Ours(_) => Some("fresh"),
            Reserved::Replay(_) | Reserved::NotKept { .. } => Some("replayed"),
            Reserved::InFlight(_) => Some("in_flight"),
            Reserved::Mismatch => Some("mismatch"),
            Reserved::Unknown => Some("unknown"),
            Reserved::Unavailable => None,
        }
    }
}

impl Protected {
    /// Reserves a key, or says what is known of it.
    pub async fn reserve(&self, write: &Arc<Write>) -> Reserved {
        if let Some(replay) = self.replays.get(&write.identity) {
            return match replay.fingerprint == write.claim.fingerprint {
                true => Reserved::Replay(replay),
                false => Reserved::Mismatch,
            };
        }
        let place = loop {
            match self.places.enter(write.identity, write.claim.fingerprint) {
                Met::Nobody(place) => break place,
                // One who only looks may find that the key is answered, or another's.
                Met::Somebody { same, mut waiting } => {
                    if waiting.is_kept().await {
                        return self.beside(write, same, waiting).await;
                    }
                }
            }
        };
        // With the place in hand: whoever settles the key gives it back only afterward.
        let Ok(entry) = self.book.look(write.identity).await else { return Reserved::Unavailable };
        let writable = self.book.now();
        let known = entry.as_ref().map(Entry::known);
        // A ledger that can't be written knows no time; and the vendor knows the first attempt by
        // what it was sent, and by nothing else.
        let alike = entry.as_ref().is_none_or(|entry| sent_alike(&entry.of, write));
        let protection = write.protection.filter(|_| alike).zip(writable);
        let again = entry
            .as_ref()
            .map(|entry| InDoubt { claim: entry.claim, first_sent: entry.first_claimed });
        let ours = |again| {
            place.keep();
            let write = write.clone();
            Reserved::Ours(Reservation { write, again, _place: place })
        };
        match decide(known.as_ref(), write.claim.fingerprint, write.ambiguous, protection) {
            Decision::Fresh if writable.is_none() => Reserved::Unavailable,
            Decision::Fresh => ours(None),
            Decision::Again => ours(again),
            Decision::Replay => self.replay(write, entry).await,
            Decision::InFlight => Reserved::InFlight(None),
            Decision::Mismatch => Reserved::Mismatch,
            Decision::Unknown => Reserved::Unknown,
            Decision::NotKept { executed } => Reserved::NotKept { executed },
        }
    }

    /// Somebody has the key in this process. While he waits for the vendor, another process, which
    /// this one replaces, may have had it answered.
    async fn beside(&self, write: &Write, same: bool, waiting: Waiting) -> Reserved {
        let entry = self.book.look(write.identity).await.ok().flatten();
        let answered = entry.filter(|entry| entry.standing == Standing::Answered);
        let Some(entry) = answered else {
            return if same { Reserved::InFlight(Some(waiting)) } else { Reserved::Mismatch };
        };
        match entry.of.fingerprint == write.claim.fingerprint {
            true if entry.kept => self.replay(write, Some(entry)).await,
            true => Reserved::NotKept { executed: executed(entry.status) },
            false => Reserved::Mismatch,
        }
    }

    async fn replay(&self, write: &Write, entry: Option<Entry>) -> Reserved {
        let Some(entry) = entry else { return Reserved::Unavailable };
        let answer = match self.book.answer_of(entry.claim.id).await {
            Ok(Some(answer)) => answer,
            // Its time has passed since it was looked at.
            Ok(None) => {
                return Reserved::NotKept { executed: executed(entry.status) };
            }
            Err(_) => return Reserved::Unavailable,
        };
        let fingerprint = write.claim.fingerprint;
        let replay = Replay { fingerprint, original: entry.of.correlation.clone(), answer };
        if entry.standing == Standing::Answered {
            self.keep_at_hand(write.identity, replay.clone());
        }
        Reserved::Replay(Arc::new(replay))
    }
}

/// Whether the vendor gets the same key, in the same account.
fn sent_alike(first: &NewClaim, write: &Write) -> bool {
    let NewClaim { vendor_key, credential, .. } = &write.claim;
    (&first.vendor_key, &first.credential) == (vendor_key, credential)
}
