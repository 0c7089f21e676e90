//! How each vendor is connected to: templates for pingora's peers, made once per configuration.

use crate::adapters::resolver::{Resolver, Target};
use crate::config::{Config, Vendor};
use pingora_core::protocols::TcpKeepalive;
use pingora_core::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora_core::upstreams::peer::{ALPN, HttpPeer, HttpUpstreamRequestPolicy};
use pingora_core::utils::tls::{CertKey, WrappedX509, parse_x509};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Streams that one HTTP/2 connection to a vendor may carry at a time.
const STREAMS_MAX: usize = 100;

/// The templates of one configuration, by vendor.
pub struct Peers {
    of: HashMap<Arc<str>, VendorPeers>,
    never_again: AtomicU64,
}

struct VendorPeers {
    target: Arc<Target>,
    /// Reads and writes keep connections of their own: a write never leaves on one that has
    /// been idle for long.
    read: HttpPeer,
    write: HttpPeer,
}

impl Peers {
    /// Makes the templates. Has to be called inside the runtime: names begin to be resolved.
    pub fn new(config: &Config, resolver: &Resolver) -> Peers {
        let of = config.vendors.iter().map(|vendor| {
            let target = resolver.target(&vendor.base_url.host, vendor.base_url.port);
            let read = template(vendor, vendor.timeouts.idle, "read");
            let write = template(vendor, vendor.timeouts.write_reuse_idle, "write");
            (vendor.name.clone(), VendorPeers { target, read, write })
        });
        Peers { of: of.collect(), never_again: AtomicU64::new(0) }
    }

    /// The name that a vendor's requests go to.
    pub fn target(&self, vendor: &str) -> Option<&Arc<Target>> {
        self.of.get(vendor).map(|peers| &peers.target)
    }

    /// The peer for attempt number `attempt` (from 0); `None` while the name has no address.
    pub fn candidate(&self, vendor: &str, reads: bool, attempt: usize) -> Option<Box<HttpPeer>> {
        let peers = self.of.get(vendor)?;
        let address = peers.target.address(attempt)?;
        let mut peer = Box::new(if reads { peers.read.clone() } else { peers.write.clone() });
        peer._address = PingoraAddr::Inet(address);
        if peer.options.idle_timeout.is_some_and(|idle| idle.is_zero()) {
            // pingora keeps it all the same for a moment: a key of its own is never found again.
            peer.group_key = self.never_again.fetch_add(1, Ordering::Relaxed);
        }
        Some(peer)
    }
}

impl Peers {
    /// The same, with the time that its connection may take, waiting for the name's first look-up
    /// where it has to be, but no longer than `left`.
    pub async fn resolved(
        &self,
        vendor: &Vendor,
        reads: bool,
        attempt: usize,
        left: Duration,
    ) -> Option<Box<HttpPeer>> {
        let patience = vendor.timeouts.connect.min(left);
        let mut candidate = self.candidate(&vendor.name, reads, attempt);
        if candidate.is_none() {
            // Unresolved when the time is up: the next line says so.
            let lookup = self.target(&vendor.name)?.first_lookup();
            let _ = tokio::time::timeout(patience, lookup).await;
            candidate = self.candidate(&vendor.name, reads, attempt);
        }
        let mut peer = candidate?;
        peer.options.connection_timeout = Some(patience);
        peer.options.total_connection_timeout = Some(patience);
        Some(peer)
    }
}

fn template(vendor: &Vendor, idle: Duration, lane: &str) -> HttpPeer {
    // The real address is set for each connection.
    let nowhere = SocketAddr::from(([127, 0, 0, 1], vendor.base_url.port));
    let https = vendor.base_url.https;
    // An empty name would switch verification off: it is never empty where TLS is spoken.
    let mut peer = HttpPeer::new(nowhere, https, vendor.base_url.host.clone());
    peer.group_key = group_key(vendor, lane);
    peer.options.idle_timeout = Some(idle);
    peer.options.alpn = if https { ALPN::H2H1 } else { ALPN::H1 };
    peer.options.max_h2_streams = STREAMS_MAX;
    peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
    peer.options.tcp_keepalive = Some(TcpKeepalive {
        idle: Duration::from_secs(60),
        interval: Duration::from_secs(10),
        count: 3,
        #[cfg(target_os = "linux")]
        user_timeout: Duration::ZERO,
    });
    if https && !vendor.tls.authorities.is_empty() {
        let authorities: Vec<WrappedX509> = vendor
            .tls
            .authorities
            .iter()
            .map(|der| WrappedX509::new(der.as_ref().to_vec(), parse_x509))
            .collect();
        peer.options.ca = Some(Arc::from(authorities.into_boxed_slice()));
    }
    if let Some((chain, key)) = vendor.tls.client.as_ref().filter(|_| https) {
        let chain = chain.iter().map(|der| der.as_ref().to_vec()).collect();
        peer.client_cert_key = Some(Arc::new(CertKey::new(chain, key.secret_der().to_vec())));
    }
    peer
}

/// pingora's own key leaves out authorities, ALPN and all of a client certificate but its serial
/// number: vendors that differ in them must not share connections.
fn group_key(vendor: &Vendor, lane: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&*vendor.name, &vendor.base_url.host, vendor.tls.fingerprint, lane).hash(&mut hasher);
    hasher.finish()
}
