//! Remembers how often authentication failed, by address: beyond the rate, what was not verified
//! before is not looked at.

use crate::model::address;
use crate::model::rates::Gcra;
use moka::sync::Cache;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Addresses that are remembered; then those that were quiet for longest are forgotten.
const ADDRESSES_MAX: u64 = 100_000;
/// How long a quiet address is remembered.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// Failures by address, an IPv6 /64 counting as one.
pub struct FailedAuth {
    arrivals: Cache<IpAddr, Arc<AtomicU64>>,
}

impl Default for FailedAuth {
    fn default() -> Self {
        let arrivals =
            Cache::builder().max_capacity(ADDRESSES_MAX).time_to_idle(REMEMBERED).build();
        FailedAuth { arrivals }
    }
}

impl FailedAuth {
    /// How long the address has to wait; `None`: it does not.
    pub fn wait(&self, address: IpAddr, gcra: Gcra, now_ns: u64) -> Option<Duration> {
        let arrival = self.arrivals.get(&address::group(address))?;
        gcra.wait(arrival.load(Ordering::Relaxed), now_ns)
    }

    /// One more has failed.
    pub fn count(&self, address: IpAddr, gcra: Gcra, now_ns: u64) {
        let arrival = self.arrivals.get_with(address::group(address), Arc::default);
        // Always `Some`: the closure is.
        let _ = arrival.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |arrival| {
            Some(gcra.spend(arrival, now_ns))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rates::Rate;

    #[test]
    fn failures_count_by_address() {
        let failed = FailedAuth::default();
        let rate = Rate::parse("60/minute").expect("a rate");
        let gcra = Gcra::new(rate, "2".parse().expect("a burst"));
        let (one, other) = ("192.0.2.1".parse().expect("one"), "192.0.2.2".parse().expect("one"));
        assert_eq!(failed.wait(one, gcra, 1), None);
        failed.count(one, gcra, 1);
        assert_eq!(failed.wait(one, gcra, 1), None);
        failed.count(one, gcra, 1);
        assert_eq!(failed.wait(one, gcra, 1), Some(Duration::from_secs(1)));
        assert_eq!(failed.wait(other, gcra, 1), None);
        assert_eq!(failed.wait(one, gcra, 1_000_000_001), None);
    }
}
