//! Resolves vendors' names in tasks of its own: no worker is ever blocked, the last good answer
//! outlives a resolver that is down, and an address that refuses is passed over.

use arc_swap::ArcSwapOption;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// How long an answer is used: the system's resolver tells no lifetime.
const REFRESH: Duration = Duration::from_secs(30);
/// How soon a failed look-up, or one that was asked for, is made again at the earliest.
const RETRY: Duration = Duration::from_secs(1);
/// How long one look-up may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Keeps the addresses of every name in use.
#[derive(Default)]
pub struct Resolver {
    targets: Mutex<HashMap<(String, u16), Weak<Target>>>,
}

/// A name and its current addresses.
pub struct Target {
    addresses: ArcSwapOption<Vec<SocketAddr>>,
    /// Which address comes first: moved on by each failure.
    first: AtomicUsize,
    wanted: Notify,
    resolved: watch::Sender<u64>,
}

impl Resolver {
    /// The target for a name, shared by all who ask for it. Has to be called inside the runtime.
    pub fn target(&self, host: &str, port: u16) -> Arc<Target> {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets.retain(|_, target| target.strong_count() > 0);
        let key = (host.to_owned(), port);
        if let Some(target) = targets.get(&key).and_then(Weak::upgrade) {
            return target;
        }
        let target = Arc::new(Target {
            addresses: ArcSwapOption::empty(),
            first: AtomicUsize::new(0),
            wanted: Notify::new(),
            resolved: watch::Sender::new(0),
        });
        match host.parse::<IpAddr>() {
            Ok(address) => target.publish(vec![SocketAddr::new(address, port)]),
            Err(_) => {
                tokio::spawn(keep_resolved(Arc::downgrade(&target), host.to_owned(), port));
            }
        }
        targets.insert(key, Arc::downgrade(&target));
        target
    }
}

impl Target {
    /// The address for attempt number `attempt` (from 0), if the name was ever resolved.
    pub fn address(&self, attempt: usize) -> Option<SocketAddr> {
        let addresses = self.addresses.load();
        let addresses = addresses.as_deref()?;
        let index = self.first.load(Ordering::Relaxed).wrapping_add(attempt);
        addresses.get(index.checked_rem(addresses.len())?).copied()
    }

    /// How many addresses there are.
    pub fn count(&self) -> usize {
        self.addresses.load().as_ref().map_or(0, |addresses| addresses.len())
    }

    /// Waits for the first look-up to end, well or not.
    pub async fn first_lookup(&self) {
        let mut resolved = self.resolved.subscribe();
        // The sender lives as long as `self`: waiting can't fail.
        let _ = resolved.wait_for(|lookups| *lookups > 0).await;
    }

    /// Says that an address did not accept a connection.
    pub fn failed(&self, address: SocketAddr) {
        if self.address(0) == Some(address) {
            self.first.fetch_add(1, Ordering::Relaxed);
        }
        self.wanted.notify_one();
    }

    fn publish(&self, addresses: Vec<SocketAddr>) {
        let same = self.addresses.load().as_deref() == Some(&addresses);
        if !same {
            self.addresses.store(Some(Arc::new(addresses)));
        }
        self.resolved.send_modify(|lookups| *lookups += 1);
    }
}

async fn keep_resolved(target: Weak<Target>, host: String, port: u16) {
    while let Some(current) = target.upgrade() {
        let lookup = tokio::net::lookup_host((host.as_str(), port));
        let pause = match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
            Ok(Ok(found)) => {
                let addresses: Vec<SocketAddr> = found.collect();
                if !addresses.is_empty() {
                    current.publish(addresses);
                }
                REFRESH
            }
            // The last good answer stays; whoever waits for the first one learns that it failed.
            _ => RETRY,
        };
        current.resolved.send_modify(|lookups| *lookups += 1);
        // Held while waiting: the task ends at most one refresh after the last user of the name.
        let wanted = async {
            tokio::time::sleep(RETRY).await;
            current.wanted.notified().await;
        };
        let _ = tokio::time::timeout(pause, wanted).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_needs_no_lookup() {
        let resolver = Resolver::default();
        let target = resolver.target("127.0.0.1", 80);
        assert_eq!(target.address(0), "127.0.0.1:80".parse().ok());
        assert!(Arc::ptr_eq(&target, &resolver.target("127.0.0.1", 80)));
    }

    #[tokio::test]
    async fn a_name_is_resolved_in_the_background() {
        let resolver = Resolver::default();
        let target = resolver.target("localhost", 8080);
        target.first_lookup().await;
        assert!(target.address(0).expect("resolved").ip().is_loopback());
    }

    #[tokio::test]
    async fn a_name_without_address_fails_without_panic() {
        let resolver = Resolver::default();
        let target = resolver.target("name.invalid", 80);
        target.first_lookup().await;
        assert_eq!(target.address(0), None);
    }

    #[tokio::test]
    async fn a_failed_address_is_passed_over() {
        let resolver = Resolver::default();
        let target = resolver.target("127.0.0.1", 80);
        let (a, b) = ("127.0.0.1:1".parse().expect("a"), "127.0.0.1:2".parse().expect("b"));
        target.publish(vec![a, b]);
        assert_eq!((target.address(0), target.address(1)), (Some(a), Some(b)));
        target.failed(a);
        assert_eq!(target.address(0), Some(b));
        target.failed(a);
        assert_eq!(target.address(0), Some(b));
    }
}
