//! Who is at which key in this process: the place of one is taken until he gives it back.

use crate::model::digest::Sha256;
use crate::stages::idempotency::fingerprint::Fingerprint;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// All places.
#[derive(Debug, Default)]
pub struct Places(Mutex<HashMap<Sha256, Taken>>);

#[derive(Debug)]
struct Taken {
    fingerprint: Fingerprint,
    /// Its sender is dropped with the place.
    end: watch::Receiver<()>,
}

/// A place that is held until it is dropped; who waits for it hears of that.
#[derive(Debug)]
pub struct Place {
    identity: Sha256,
    places: Arc<Places>,
    _end: watch::Sender<()>,
}

/// Waits for the end of somebody else's place.
#[derive(Debug)]
pub struct Waiting(watch::Receiver<()>);

/// What somebody meets who comes with a key.
#[derive(Debug)]
pub enum Met {
    /// Nobody: the place is his.
    Nobody(Place),
    /// One with the same request.
    Same(Waiting),
    /// One with another request.
    Other,
}

impl Places {
    /// Takes the place of a key, or says who has it.
    pub fn enter(self: &Arc<Self>, identity: Sha256, fingerprint: Fingerprint) -> Met {
        match self.locked().entry(identity) {
            Entry::Occupied(taken) if taken.get().fingerprint != fingerprint => Met::Other,
            Entry::Occupied(taken) => Met::Same(Waiting(taken.get().end.clone())),
            Entry::Vacant(free) => {
                let (_end, end) = watch::channel(());
                free.insert(Taken { fingerprint, end });
                Met::Nobody(Place { identity, places: Arc::clone(self), _end })
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Sha256, Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.locked().remove(&self.identity);
    }
}

impl Waiting {
    /// Until the place is given back.
    pub async fn end(mut self) {
        // Nothing is ever sent: it ends with the sender.
        while self.0.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_is_one_persons_until_he_leaves() {
        let places = Arc::new(Places::default());
        let (key, other) = (Sha256::of(b"key"), Sha256::of(b"other"));
        let (this, that) = (Fingerprint(Sha256::of(b"a")), Fingerprint(Sha256::of(b"b")));
        let Met::Nobody(place) = places.enter(key, this) else { panic!("it was free") };
        assert!(matches!(places.enter(key, that), Met::Other));
        assert!(matches!(places.enter(other, that), Met::Nobody(_)));
        let Met::Same(waiting) = places.enter(key, this) else { panic!("somebody is there") };
        let leaves = tokio::spawn(async move { drop(place) });
        waiting.end().await;
        leaves.await.expect("left");
        assert!(matches!(places.enter(key, that), Met::Nobody(_)));
        assert!(places.locked().is_empty());
    }
}
