//! Remembers how often authentication failed, by address: beyond the rate, what was not verified
//! before is not looked at.

use super::clock::Clock;
use crate::model::address;
use crate::model::rates::Gcra;
use moka::sync::Cache;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Addresses that are remembered; then those that were quiet for longest are forgotten.
const ADDRESSES_MAX: u64 = 100_000;
/// How long a quiet address is remembered.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// Tokens of one address that issuers are asked about at a time: nobody takes them away from
/// everybody else.
const ASKED_AT_ONCE: usize = 16;

/// Failures by address, an IPv6 /64 counting as one.
pub struct FailedAuth {
    addresses: Cache<IpAddr, Arc<Address>>,
}

struct Address {
    /// What the limiter remembers.
    arrival: AtomicU64,
    asking: Arc<Semaphore>,
}

/// Whoever shows credentials from one address.
#[derive(Clone)]
pub struct Asker {
    address: Arc<Address>,
    gcra: Gcra,
    clock: Arc<Clock>,
}

impl Default for FailedAuth {
    fn default() -> Self {
        let addresses =
            Cache::builder().max_capacity(ADDRESSES_MAX).time_to_idle(REMEMBERED).build();
        FailedAuth { addresses }
    }
}

impl FailedAuth {
    /// Whoever asks from this address, which may fail so often.
    pub fn asker(&self, address: IpAddr, gcra: Gcra, clock: Arc<Clock>) -> Asker {
        let fresh = || {
            let (arrival, asking) = (AtomicU64::new(0), Arc::new(Semaphore::new(ASKED_AT_ONCE)));
            Arc::new(Address { arrival, asking })
        };
        Asker { address: self.addresses.get_with(address::group(address), fresh), gcra, clock }
    }
}

impl Asker {
    /// How long it has to wait; `None`: it does not.
    pub fn wait(&self) -> Option<Duration> {
        self.gcra.wait(self.address.arrival.load(Ordering::Relaxed), self.clock.exact_ns())
    }

    /// One more has failed.
    pub fn count(&self) {
        let now = self.clock.exact_ns();
        // Always `Some`: the closure is.
        let _ =
            self.address.arrival.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |arrival| {
                Some(self.gcra.spend(arrival, now))
            });
    }

    /// The permits to ask issuers about its tokens.
    pub fn asking(&self) -> Arc<Semaphore> {
        self.address.asking.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rates::Rate;

    #[test]
    fn failures_count_by_address() {
        let failed = FailedAuth::default();
        let rate = Rate::parse("1/day").expect("a rate");
        let gcra = Gcra::new(rate, "2".parse().expect("a burst"));
        let clock = Arc::<Clock>::default();
        let from =
            |address: &str| failed.asker(address.parse().expect("an address"), gcra, clock.clone());
        for _ in 0..2 {
            assert_eq!(from("192.0.2.1").wait(), None);
            from("192.0.2.1").count();
        }
        assert!(from("192.0.2.1").wait().is_some_and(|wait| wait.as_secs() > 86_000));
        assert_eq!(from("192.0.2.2").wait(), None);
        from("2001:db8::1").count();
        from("2001:db8::2").count();
        assert!(from("2001:db8::3").wait().is_some());
        assert_eq!(from("2001:db8:0:1::1").wait(), None);
    }
}
