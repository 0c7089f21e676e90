//! What a running gateway can't take up: sockets, threads, and whether a socket speaks TLS.

use crate::config::Config;

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
        ("server.workers", old.server.workers != new.server.workers),
        ("server.handover", old.server.handover != new.server.handover),
    ] {
        if changed {
            keys.push(key.to_owned());
        }
    }
    keys
}
