//! Every store under the same suite, and what only files and processes can go through.

mod disk;
mod files;
mod judged;
mod killed;
mod sealed;
mod semantics;
mod together;

use super::entry::{Answer, Change, Claim, Held, NewClaim, Outcome, Purge, Purged, Settlement};
use super::seal::EncryptionKey;
use super::sqlite::{Opened, Settings, SqliteLedger};
use super::{Clocks, Ledger, Trouble};
use crate::model::digest::Sha256;
use crate::stages::idempotency::fingerprint::Fingerprint;
use crate::stages::idempotency::key::Key;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Each change by itself, waited for: what a store does, as tests ask it.
pub trait Direct: Ledger {
    fn claim(&self, claim: NewClaim) -> Result<Held, Trouble> {
        match self.change(Change::Claim(Box::new(claim)))? {
            Outcome::Held(held) => Ok(held),
            _ => Err(Trouble::Closed),
        }
    }

    fn claim_again(&self, from: Claim) -> Result<Held, Trouble> {
        match self.change(Change::Again(from))? {
            Outcome::Held(held) => Ok(held),
            _ => Err(Trouble::Closed),
        }
    }

    fn answer(&self, claim: Claim, settlement: Settlement) -> Result<bool, Trouble> {
        is_done(self, Change::Answer(claim, settlement))
    }

    fn release(&self, claim: Claim) -> Result<bool, Trouble> {
        is_done(self, Change::Release(claim))
    }

    fn doubt(&self, claim: Claim, answer: Option<Answer>) -> Result<bool, Trouble> {
        is_done(self, Change::Doubt(claim, answer))
    }

    fn found(&self, claim: Claim, found: Option<Settlement>) -> Result<bool, Trouble> {
        is_done(self, Change::Found(claim, found))
    }

    fn purge(&self, purge: Purge) -> Result<Purged, Trouble> {
        match self.change(Change::Purge(purge))? {
            Outcome::Purged(purged) => Ok(purged),
            _ => Err(Trouble::Closed),
        }
    }
}

impl<L: Ledger + ?Sized> Direct for L {}

fn is_done(ledger: &(impl Ledger + ?Sized), change: Change) -> Result<bool, Trouble> {
    Ok(ledger.change(change)? == Outcome::Made)
}

/// Clocks that a test moves.
#[derive(Default)]
pub struct ManualClocks {
    monotonic_ms: AtomicU64,
    wall_ms: AtomicI64,
}

impl ManualClocks {
    pub fn pass(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).expect("short");
        self.monotonic_ms.fetch_add(ms, Ordering::SeqCst);
        self.wall_ms.fetch_add(i64::try_from(ms).expect("short"), Ordering::SeqCst);
    }

    pub fn set_wall(&self, ms: i64) {
        self.wall_ms.store(ms, Ordering::SeqCst);
    }
}

impl Clocks for ManualClocks {
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_ms.load(Ordering::SeqCst))
    }

    fn wall_ms(&self) -> i64 {
        self.wall_ms.load(Ordering::SeqCst)
    }
}

const ANSWER_BYTES_MAX: usize = 1000;

fn settings(path: &Path) -> Settings {
    let path = path.to_owned();
    Settings { path, create: true, answer_bytes_max: ANSWER_BYTES_MAX, encryption_key: None }
}

fn key() -> EncryptionKey {
    EncryptionKey::new(&[7; 32])
}

fn sealed(path: &Path) -> Settings {
    Settings { encryption_key: Some(key()), ..settings(path) }
}

fn try_open_by(settings: &Settings) -> Result<(SqliteLedger, Opened), Trouble> {
    SqliteLedger::open(settings, Arc::new(ManualClocks::default()), Box::new(|_| ()))
}

fn try_open(path: &Path) -> Result<(SqliteLedger, Opened), Trouble> {
    try_open_by(&settings(path))
}

fn open(path: &Path) -> SqliteLedger {
    try_open(path).expect("opened").0
}

pub fn new_claim(key: &str) -> NewClaim {
    NewClaim {
        client: "shiphawk".into(),
        vendor: "netsuite".into(),
        key: Key::kept(key.into(), None),
        fingerprint: Fingerprint(Sha256::of(key.as_bytes())),
        vendor_key: Some(format!("v-{key}").into()),
        correlation: format!("correlation-{}", Sha256::of(key.as_bytes()).short()).into(),
        route: "ns".into(),
        method: "POST".into(),
        path: "/orders".into(),
        credential: Some("second".into()),
    }
}

fn answer(text: &str) -> Answer {
    let fields = vec![("content-type".into(), "text/plain".into())];
    Answer { status: 201, fields, body: text.to_owned().into() }
}

fn claimed(ledger: &dyn Ledger, key: &str) -> Claim {
    match ledger.claim(new_claim(key)) {
        Ok(Held::Ours(claim)) => claim,
        other => panic!("{key} is not ours: {other:?}"),
    }
}

fn answered(ledger: &dyn Ledger, key: &str) -> Claim {
    let claim = claimed(ledger, key);
    assert_eq!(ledger.answer(claim, Settlement::Kept(answer(key))), Ok(true));
    claim
}
