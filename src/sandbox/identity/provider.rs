//! Starts and stops a simulated identity provider.

use std::io;
use std::net::SocketAddr;

use super::control::fill;
use super::directory::Directory;
use super::ring::Order;
use super::tenant::{Tenant, profiles};
use crate::sandbox::server::Server;

/// What a simulated identity provider is started with.
#[derive(Debug, Clone)]
pub struct IdentityOptions {
    /// Where it listens. Port 0 picks a free one. The control listener takes a free port of the
    /// same address.
    pub listen: SocketAddr,
    /// Its tenants; there are no others.
    pub tenants: Vec<Tenant>,
}

/// A running identity provider; dropping it closes its listeners and cuts its connections.
#[derive(Debug)]
pub struct IdentityProvider(Server);

impl IdentityProvider {
    /// Makes the keys of all tenants, opens both listeners and begins to serve. Must be called
    /// inside a tokio runtime. An RSA key takes a good while.
    ///
    /// # Errors
    /// When a tenant can't be as asked for (`InvalidInput`), or a listener can't be opened.
    pub async fn start(options: IdentityOptions) -> io::Result<IdentityProvider> {
        let profiles = profiles(options.tenants)?;
        let orders = profiles
            .iter()
            .map(|profile| Order::first(&profile.name, profile.algorithms.clone()))
            .collect();
        let keys = fill(orders).await.map_err(io::Error::other)?;
        let tenants = profiles.into_iter().zip(keys.into_iter().map(|(_, keys)| keys)).collect();
        Server::start(options.listen, |address, lever| {
            Directory::new(format!("http://{address}"), lever, tenants)
        })
        .map(IdentityProvider)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Such as `http://127.0.0.1:40123`.
    pub fn base_url(&self) -> String {
        self.0.base_url()
    }

    /// Where a tenant's paths begin; also its issuer, if it was given no other.
    pub fn tenant_url(&self, name: &str) -> String {
        format!("{}/{name}", self.base_url())
    }

    /// The control endpoint on its own listener, which stays reachable while the provider is down.
    pub fn control_url(&self) -> String {
        self.0.control_url()
    }

    /// The address of the control listener.
    pub fn control_address(&self) -> SocketAddr {
        self.0.control_address()
    }

    /// Closes the listeners, cuts the connections, and returns when all of it has ended.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}
