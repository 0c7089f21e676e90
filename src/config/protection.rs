//! Protected writes as the configuration knows them: the ledger, where keys come from, what the
//! vendor is told of them, and how an unknown outcome is looked up.

use crate::model::path::PathPattern;
use crate::model::secret::Secret;
use crate::profile::when::{Pointer, When};
use crate::stages::authorization::rules::Idempotency;
use crate::stages::idempotency::key::Source;
use crate::stages::idempotency::vendor_key::Format;
use http::{HeaderName, HeaderValue};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// `[ledger]`: where protected writes are written down. A change needs a restart, but of how long
/// things are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    /// The file.
    pub path: PathBuf,
    /// Whether one is made where there is none.
    pub create: bool,
    /// How long keys of answered writes are kept.
    pub retention: Duration,
    /// How long their answers are; no longer than `retention`.
    pub answer_retention: Duration,
    /// Bytes of the largest answer body that is kept.
    pub answer_bytes_max: u64,
    /// Encrypts what is kept of answers and keys: 32 bytes.
    pub encryption_key: Option<Secret>,
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

/// Which complete answers keep a key: `idempotency_stores`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stores {
    /// All of them.
    All,
    /// A complete 4xx answer frees the key.
    Success,
}

/// How the writes of a route are protected.
#[derive(Debug, Clone)]
pub struct Protection {
    /// Whether they need a key; a rule may be stricter. `Off` on routes with bodies of any size.
    pub idempotency: Idempotency,
    /// Where keys come from; the first one that is there.
    pub sources: Vec<Source>,
    /// How long a duplicate waits for the first answer before it is told `request-in-flight`.
    pub wait: Duration,
    /// What a later call meets after an unknown outcome.
    pub ambiguous: Ambiguous,
    /// Which complete answers keep a key.
    pub stores: Stores,
    /// How an unknown create is looked up: the route's own, else the profile's.
    pub reconcile: Option<Arc<Reconcile>>,
}

/// `vendor_key`: what the vendor is sent in the place of a client's key.
#[derive(Debug, Clone, PartialEq)]
pub struct VendorKey {
    /// Where it goes.
    pub place: Place,
    /// A further field that has to go with it.
    pub companion: Option<(HeaderName, HeaderValue)>,
    /// The form that the vendor takes.
    pub format: Format,
    /// How long the vendor remembers it, from the first sending; `None`: nobody says so.
    pub window: Option<Duration>,
}

/// Where a vendor takes its key.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// A field; what a client sends in it is replaced.
    Header(HeaderName),
    /// A parameter of the query; what a client sends in it is replaced.
    Query(Box<str>),
    /// A member of a JSON body; what a client sends in it is replaced.
    Body(Pointer),
    /// An upsert: `POST /orders` becomes `PUT /orders/NAME:KEY`.
    Path(Box<str>),
}

impl Place {
    /// The place as that of a client's key.
    fn as_source(&self) -> Source {
        match self {
            Place::Header(name) => Source::Header(name.clone()),
            Place::Query(name) => Source::Query(name.clone()),
            Place::Body(pointer) => Source::Body(pointer.clone()),
            Place::Path(name) => Source::Path(format!("{name}:").into()),
        }
    }
}

/// A look-up, and what it can find.
#[derive(Debug, Clone, PartialEq)]
pub struct LookUp {
    /// The question.
    pub reconcile: Arc<Reconcile>,
    /// Where the vendor has to be sent the value that it is asked for; none: anywhere.
    pub sent_in: Vec<Source>,
}

impl LookUp {
    /// Whether whatever the vendor is sent is what the question is about: asked for anything else,
    /// it would say of every write that it did not act.
    pub fn fits(&self, key: Option<&VendorKey>, sources: &[Source]) -> bool {
        let known = |source: &Source| self.sent_in.is_empty() || self.sent_in.contains(source);
        match key {
            Some(key) => known(&key.place.as_source()),
            // As it is, the vendor sees a key only where it names a record.
            None => sources.iter().filter(|source| source.names_record()).all(known),
        }
    }
}

/// `reconcile`: asks the vendor whether it acted on a create.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconcile {
    /// The method: one that reads.
    pub method: Box<str>,
    /// The path after the vendor's base URL, and the query, with `{N}` and `{key}` in it.
    pub target: Box<str>,
    /// Which answers say that the vendor acted. Looked at first.
    pub executed: When,
    /// Which ones say that it did not.
    pub not_executed: When,
    /// The paths, after the route's prefix, whose POST creates what is looked up. Empty: the path
    /// of the look-up up to the segment (or the query) that holds `{key}`, and only that.
    pub creates: Vec<PathPattern>,
}
