//! What a ledger keeps of a protected write, and what may be done with it.

use crate::model::digest::Sha256;
use crate::model::moment::Moment;
use crate::stages::idempotency::fingerprint::Fingerprint;
use crate::stages::idempotency::key::Key;
use crate::stages::idempotency::{Known, State, identity};
use bytes::Bytes;
use std::fmt;
use std::time::Duration;

/// A key that somebody wants to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewClaim {
    /// Whose it is.
    pub client: Box<str>,
    /// At which vendor.
    pub vendor: Box<str>,
    /// The key.
    pub key: Key,
    /// Of the request.
    pub fingerprint: Fingerprint,
    /// The value by which the vendor knows this write, if it was sent one: derived from the key, or
    /// the external id that is the key.
    pub vendor_key: Option<Box<str>>,
    /// The method, as the client sent it.
    pub method: Box<str>,
    /// The path after the route's prefix, byte for byte.
    pub path: Box<str>,
    /// Name of the vendor's credential that it was sent with, if it is not the vendor's own one.
    pub credential: Option<Box<str>>,
    /// The request's correlation id.
    pub correlation: Box<str>,
    /// The route that it came by.
    pub route: Box<str>,
}

impl NewClaim {
    /// Under which the ledger knows the key.
    pub fn identity(&self) -> Sha256 {
        identity(&self.client, &self.vendor, &self.key)
    }
}

/// The right to send: one attempt of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim {
    /// Number of the entry; never used again.
    pub id: i64,
    /// Which attempt, from 1.
    pub attempt: u32,
}

/// Where an entry stands, as it is counted and listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// Claimed by a living process.
    InFlight,
    /// The vendor answered.
    Answered,
    /// Nobody can know.
    Unknown,
}

impl Standing {
    /// All of them.
    pub const ALL: [Standing; 3] = [Standing::InFlight, Standing::Answered, Standing::Unknown];

    /// The word in commands, logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Standing::InFlight => "in-flight",
            Standing::Answered => "answered",
            Standing::Unknown => "unknown",
        }
    }
}

/// A protected write, as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, and the latest attempt.
    pub claim: Claim,
    /// What was claimed.
    pub of: NewClaim,
    /// Where it stands.
    pub standing: Standing,
    /// The process that claimed it last.
    pub generation: i64,
    /// When it was claimed first: before the first byte of any attempt.
    pub first_claimed: Moment,
    /// When it came to where it stands; unknown: after the last byte was sent.
    pub since: Moment,
    /// Status of the vendor's answer, also of one that leaves it open.
    pub status: Option<u16>,
    /// Whether the answer is kept.
    pub kept: bool,
}

impl Entry {
    /// As the room that decides needs it.
    pub fn known(&self) -> Known {
        let state = match self.standing {
            Standing::InFlight => State::InFlight,
            Standing::Answered => State::Answered { status: self.status, kept: self.kept },
            Standing::Unknown => {
                State::Unknown { first_sent: self.first_claimed, answer: self.kept }
            }
        };
        Known { fingerprint: self.of.fingerprint, state }
    }
}

/// An answer as it is given again.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its fields, in order; without those that a replay gets anew.
    pub fields: Vec<(Box<str>, Bytes)>,
    /// Its body.
    pub body: Bytes,
}

/// Answers are never logged.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.len())
    }
}

/// How a write was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// With an answer to keep; one over the cap is not kept.
    Kept(Answer),
    /// With one that is not kept; `None`: somebody says that the vendor acted, and no more.
    NotKept(Option<u16>),
}

/// A step of removing what is old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purge {
    /// How long answered keys are kept at the least.
    pub retention: Duration,
    /// How long their answers are.
    pub answer_retention: Duration,
    /// How many of each are removed at the most.
    pub limit: u32,
}

/// What a step removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Keys.
    pub keys: u32,
    /// Answers of keys that stay.
    pub answers: u32,
    /// Claims of dead processes, which are unknown now.
    pub orphans: u32,
    /// Whether there may be more.
    pub more: bool,
    /// Whether there is room for another claim.
    pub room: bool,
}

/// How many entries there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Claimed by a living process.
    pub in_flight: u64,
    /// Answered.
    pub answered: u64,
    /// Unknown.
    pub unknown: u64,
    /// Since when the longest unknown one is.
    pub oldest_unknown: Option<Moment>,
}

/// What is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Claims a key.
    Claim(Box<NewClaim>),
    /// Claims an unknown entry for another attempt.
    Again(Claim),
    /// The vendor answered.
    Answer(Claim, Settlement),
    /// The vendor certainly did not act.
    Release(Claim),
    /// Nobody can know; with the vendor's answer, if there is one, though it leaves it open.
    Doubt(Claim, Option<Answer>),
    /// Somebody found out what came of an unknown entry; `None`: the vendor did not act.
    Resolve(i64, Option<Settlement>),
    /// Somebody found out what came of this attempt, if the entry is still unknown by it.
    Found(Claim, Option<Settlement>),
    /// Removes what is old.
    Purge(Purge),
    /// Claims of this process, if it is dead, become unknown.
    Bury(i64),
}

/// What a change came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Of a claim.
    Held(Held),
    /// It is made, or was before.
    Made,
    /// The entry is not (any more) what the change is for: nothing is changed.
    Stale,
    /// Of a purge.
    Purged(Purged),
}

/// Who holds a key after somebody tried to claim it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// Whoever tried.
    Ours(Claim),
    /// Another one, or nobody any more: this is what is known of it.
    Taken(Box<Entry>),
    /// The entry is gone.
    Gone,
}

impl Held {
    /// Somebody has it.
    pub fn taken(entry: Entry) -> Held {
        Held::Taken(Box::new(entry))
    }
}

/// Why an encryption key does not fit a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The ledger was encrypted with another one.
    Other,
    /// The ledger is encrypted, and no key was given.
    Missing,
    /// The ledger is not encrypted, and a key was given. Sealing only what comes new would look
    /// like encryption and leave all that came before readable.
    NotSealed,
}

impl Unfit {
    fn sentence(self) -> &'static str {
        match self {
            Unfit::Other => "the ledger was encrypted with another key than `encryption_key`",
            Unfit::Missing => "the ledger is encrypted, and there is no `encryption_key`",
            Unfit::NotSealed => {
                "the ledger is not encrypted, and an `encryption_key` does not encrypt what is \
                 there: go on without the key, or give the ledger another `path`, where it begins \
                 encrypted and without the keys that were used"
            }
        }
    }
}

/// Why a ledger can't do what it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no file, and none is to be made.
    Absent,
    /// The file is damaged, or cut off.
    Corrupt(String),
    /// The file is something else.
    Foreign,
    /// The file and the encryption key that was given, or was not, do not belong together.
    WrongKey(Unfit),
    /// A newer version of erpgate has written the file.
    Newer {
        /// Its form.
        found: i64,
        /// The latest that is known here.
        known: i64,
    },
    /// The file can't be opened or read.
    Unreadable(String),
    /// The file can be read but not written.
    ReadOnly(String),
    /// The disk is full, or nearly so.
    Full,
    /// Another process does not let go of the file.
    Busy,
    /// The ledger is closed.
    Closed,
    /// Anything else that the disk or the database said.
    Failed(String),
}

impl Trouble {
    /// The word in logs and in `/readyz`.
    pub fn word(&self) -> &'static str {
        match self {
            Trouble::Absent => "absent",
            Trouble::Corrupt(_) => "corrupt",
            Trouble::Foreign => "foreign",
            Trouble::WrongKey(_) => "wrong-key",
            Trouble::Newer { .. } => "newer",
            Trouble::Unreadable(_) => "unreadable",
            Trouble::ReadOnly(_) => "read-only",
            Trouble::Full => "full",
            Trouble::Busy => "busy",
            Trouble::Closed => "closed",
            Trouble::Failed(_) => "failed",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Absent => f.write_str("there is no ledger, and `create` is false"),
            Trouble::Corrupt(why) => write!(f, "the ledger is damaged: {why}"),
            Trouble::Foreign => f.write_str("the file is no ledger of erpgate's"),
            Trouble::WrongKey(unfit) => f.write_str(unfit.sentence()),
            Trouble::Newer { found, known } => {
                write!(f, "a newer erpgate wrote the ledger (form {found}, known here: {known})")
            }
            Trouble::Unreadable(why) => write!(f, "the ledger can't be read: {why}"),
            Trouble::ReadOnly(why) => write!(f, "the ledger can't be written: {why}"),
            Trouble::Full => f.write_str("the disk of the ledger is full"),
            Trouble::Busy => f.write_str("another process holds the ledger"),
            Trouble::Closed => f.write_str("the ledger is closed"),
            Trouble::Failed(why) => write!(f, "the ledger failed: {why}"),
        }
    }
}

impl std::error::Error for Trouble {}
