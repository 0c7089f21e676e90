//! What a running gateway can't take up: sockets, threads, and whether a socket speaks TLS; and
//! what it takes up all the same while such a change waits.

use crate::config::{Config, Ledger, ListenerTls, Vendor};
use crate::model::secret::Secret;
use std::path::Path;
use std::sync::Arc;

/// The keys whose change needs a restart; empty if there are none.
///
/// Listeners are compared in their order: by it a successor finds their sockets.
pub fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    let listeners = |config: &Config| -> Vec<(std::net::SocketAddr, bool)> {
        config.listeners.iter().map(|l| (l.address, l.tls.is_some())).collect()
    };
    let (before, after) = (listeners(old), listeners(new));
    let addresses = |listeners: &[(std::net::SocketAddr, bool)]| -> Vec<std::net::SocketAddr> {
        listeners.iter().map(|(address, _)| *address).collect()
    };
    if addresses(&before) != addresses(&after) {
        keys.push("listener.address".to_owned());
    } else if before != after {
        keys.push("listener.tls".to_owned());
    }
    for (key, changed) in [
        ("admin.address", old.admin.address != new.admin.address),
        ("admin.tls", old.admin.tls.is_some() != new.admin.tls.is_some()),
        ("ledger", ledger(old) != ledger(new)),
        ("server.workers", old.server.workers != new.server.workers),
        ("server.handover", old.server.handover != new.server.handover),
    ] {
        if changed {
            keys.push(key.to_owned());
        }
    }
    keys
}

/// What the open ledger is bound to; how long things are kept is taken up at once.
fn ledger(config: &Config) -> (&Path, bool, u64, Option<&Secret>) {
    let Ledger { path, create, answer_bytes_max, encryption_key, .. } = &config.ledger;
    (path, *create, *answer_bytes_max, encryption_key.as_ref())
}

/// Whether two readings of one gateway.toml differ: in a file that it names, or in a secret.
pub fn files_differ(old: &Config, new: &Config) -> bool {
    let fingerprint = |tls: &Option<ListenerTls>| tls.as_ref().map(|tls| tls.fingerprint);
    let tls = |config: &Config| -> Vec<Option<u64>> {
        let listeners = config.listeners.iter().map(|listener| &listener.tls);
        listeners.chain([&config.admin.tls]).map(fingerprint).collect()
    };
    let tokens = |config: &Config| (config.admin.token.clone(), config.admin.read_token.clone());
    // In one order, as they come from one text.
    let vendors_differ = |(old, new): (&Arc<Vendor>, &Arc<Vendor>)| {
        old.tls.fingerprint != new.tls.fingerprint
            || old.profile.digest != new.profile.digest
            || old.credential != new.credential
            || old.credentials != new.credentials
    };
    old.policies.files != new.policies.files
        || tls(old) != tls(new)
        || tokens(old) != tokens(new)
        || old.issuers != new.issuers
        || old.vendors.iter().zip(&new.vendors).any(vendors_differ)
}
