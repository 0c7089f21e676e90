//! Keeps a tenant's keys: which sign, which are published, and what a rotation changes.

use std::sync::Arc;

use aws_lc_rs::error::Unspecified;

use super::keys::{Algorithm, Key};

/// A tenant's keys.
#[derive(Debug)]
pub struct Ring {
    /// The number of the newest generation that was ever ordered: names never come again.
    newest: u64,
    first: Generation,
    current: Generation,
    /// Keys of earlier generations that are still published.
    retired: Generation,
}

/// One key for each algorithm, in the tenant's order.
pub type Generation = Vec<Arc<Key>>;

/// A generation that is still to be made.
#[derive(Debug)]
pub struct Order {
    /// Whose it is.
    pub tenant: String,
    number: u64,
    algorithms: Vec<Algorithm>,
}

impl Order {
    /// The order for a new tenant's first keys.
    pub fn first(tenant: &str, algorithms: Vec<Algorithm>) -> Order {
        Order { tenant: tenant.to_owned(), number: 1, algorithms }
    }

    /// Makes the keys. With RSA among them it takes a good while.
    ///
    /// # Errors
    /// As [`Key::generate`].
    pub fn fill(&self) -> Result<Generation, Unspecified> {
        let mut keys = Generation::new();
        for algorithm in &self.algorithms {
            let kid = if keys.is_empty() {
                format!("{}-{}", self.tenant, self.number)
            } else {
                let name = algorithm.name().to_ascii_lowercase();
                format!("{}-{name}-{}", self.tenant, self.number)
            };
            keys.push(Arc::new(Key::generate(kid, *algorithm)?));
        }
        Ok(keys)
    }
}

impl Ring {
    /// A ring with its first keys.
    pub fn new(first: Generation) -> Ring {
        Ring { newest: 1, current: first.clone(), first, retired: Generation::new() }
    }

    /// Orders the next generation for `tenant`.
    pub fn order(&mut self, tenant: &str) -> Order {
        self.newest += 1;
        let algorithms = self.current.iter().map(|key| key.algorithm()).collect();
        Order { tenant: tenant.to_owned(), number: self.newest, algorithms }
    }

    /// Signs with `fresh` from now on. All older keys stay published or all go.
    pub fn rotate(&mut self, fresh: Generation, keep_old: bool) {
        let old = std::mem::replace(&mut self.current, fresh);
        if keep_old {
            self.retired.extend(old);
        } else {
            self.retired.clear();
        }
    }

    /// Goes back to the first keys.
    pub fn reset(&mut self) {
        self.current = self.first.clone();
        self.retired.clear();
    }

    /// The key that signs by default, or with `algorithm`.
    pub fn signing(&self, algorithm: Option<Algorithm>) -> Option<Arc<Key>> {
        let meant = |key: &&Arc<Key>| algorithm.is_none_or(|wanted| wanted == key.algorithm());
        self.current.iter().find(meant).cloned()
    }

    /// All keys that are published, the newest first.
    pub fn published(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.current.iter().chain(&self.retired)
    }
}

#[cfg(test)]
mod tests {
    use super::{Order, Ring};
    use crate::sandbox::identity::keys::Algorithm;

    fn kids(ring: &Ring) -> Vec<&str> {
        ring.published().map(|key| key.kid()).collect()
    }

    #[test]
    fn keys_are_numbered_through_rotations_and_resets() {
        let algorithms = vec![Algorithm::EdDsa, Algorithm::Es256];
        let mut ring = Ring::new(Order::first("t", algorithms).fill().unwrap());
        assert_eq!(kids(&ring), ["t-1", "t-es256-1"]);
        assert_eq!(ring.signing(Some(Algorithm::Es256)).unwrap().kid(), "t-es256-1");
        assert!(ring.signing(Some(Algorithm::Rs256)).is_none());

        let fresh = ring.order("t").fill().unwrap();
        ring.rotate(fresh, true);
        assert_eq!(kids(&ring), ["t-2", "t-es256-2", "t-1", "t-es256-1"]);
        assert_eq!(ring.signing(None).unwrap().kid(), "t-2");

        let fresh = ring.order("t").fill().unwrap();
        ring.rotate(fresh, false);
        assert_eq!(kids(&ring), ["t-3", "t-es256-3"]);

        ring.reset();
        assert_eq!(kids(&ring), ["t-1", "t-es256-1"]);
        assert_eq!(ring.order("t").fill().unwrap()[0].kid(), "t-4");
    }
}
