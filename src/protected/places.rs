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
    /// Turns true once the key is his; its sender is dropped with the place.
    end: watch::Receiver<bool>,
}

/// A place that is held until it is dropped; who waits for it hears of that.
#[derive(Debug)]
pub struct Place {
    identity: Sha256,
    places: Arc<Places>,
    kept: watch::Sender<bool>,
}

/// Waits for the end of somebody else's place.
#[derive(Debug)]
pub struct Waiting(watch::Receiver<bool>);

/// What somebody meets who comes with a key.
#[derive(Debug)]
pub enum Met {
    /// Nobody: the place is his.
    Nobody(Place),
    /// One with the same request, or with another one.
    Somebody {
        /// With the same.
        same: bool,
        /// Waits for him.
        waiting: Waiting,
    },
}

impl Places {
    /// Takes the place of a key, or says who has it.
    pub fn enter(self: &Arc<Self>, identity: Sha256, fingerprint: Fingerprint) -> Met {
        match self.locked().entry(identity) {
            Entry::Occupied(taken) => Met::Somebody {
                same: taken.get().fingerprint == fingerprint,
                waiting: Waiting(taken.get().end.clone()),
            },
            Entry::Vacant(free) => {
                let (kept, end) = watch::channel(false);
                free.insert(Taken { fingerprint, end });
                Met::Nobody(Place { identity, places: Arc::clone(self), kept })
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Sha256, Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The key is his who holds it: until now he only looked what is known of it.
    pub fn keep(&self) {
        self.kept.send_replace(true);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.locked().remove(&self.identity);
    }
}

impl Waiting {
    /// Until it is known whether its holder has the key (`true`), or has only looked.
    pub async fn is_kept(&mut self) -> bool {
        self.0.wait_for(|kept| *kept).await.is_ok()
    }

    /// Until the place is given back.
    pub async fn end(mut self) {
        // It ends with the sender.
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
        assert!(matches!(places.enter(key, that), Met::Somebody { same: false, .. }));
        assert!(matches!(places.enter(other, that), Met::Nobody(_)));
        let Met::Somebody { same: true, mut waiting } = places.enter(key, this) else {
            panic!("somebody is there")
        };
        place.keep();
        assert!(waiting.is_kept().await);
        let leaves = tokio::spawn(async move { drop(place) });
        waiting.end().await;
        leaves.await.expect("left");
        assert!(matches!(places.enter(key, that), Met::Nobody(_)));
        assert!(places.locked().is_empty());
        // Who has only looked leaves the others to look for themselves.
        let Met::Nobody(place) = places.enter(key, this) else { panic!("it was free") };
        let Met::Somebody { same: true, mut waiting } = places.enter(key, this) else {
            panic!("somebody is there")
        };
        drop(place);
        assert!(!waiting.is_kept().await);
    }
}
