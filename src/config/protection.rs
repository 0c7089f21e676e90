//! Protected writes as the configuration knows them: the ledger, where keys come from, what the
//! vendor is told of them, and how an unknown outcome is looked up.

pub use crate::stages::idempotency::Ambiguous;
pub use crate::stages::idempotency::lookup::Reconcile;
pub use crate::stages::idempotency::mapping::{Place, VendorKey};

use crate::model::secret::Secret;
use crate::stages::authorization::rules::Idempotency;
use crate::stages::idempotency::key::Source;
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
        // As it is, the vendor sees a key only where it names a record.
        key.is_none_or(|key| known(&key.place.as_source()))
            && sources.iter().filter(|source| source.names_record()).all(known)
    }
}
