//! The simulators behind `run --sandbox`: a vendor for each vendor, a tenant of the identity
//! provider for each issuer, and a configuration that leads to nothing else.

use crate::config::resolve::IssuerUrls;
use crate::config::{BaseUrl, Config, Issuer};
use crate::sandbox::{IdentityOptions, IdentityProvider, NetSuite, Options, Tenant};
use crate::stages::authentication::accept::Accept;
use crate::stages::authentication::keys;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Calls at a time that a simulated account takes, as a NetSuite developer account does.
const CONCURRENCY: usize = 5;
/// Name of the simulator for vendors that a reload brings: no vendor can have it.
const FALLBACK: &str = "";
/// Where the identity provider listens, if nobody else does: it stands in commands that people
/// type again.
const IDENTITY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(LOOPBACK), 9901);
const LOOPBACK: std::net::Ipv4Addr = std::net::Ipv4Addr::LOCALHOST;
/// What the provider knows every client by, the gateway too.
pub const SECRET: &str = "sandbox";

/// Running simulators.
pub struct Simulation {
    /// Vendors by name.
    pub vendors: HashMap<String, NetSuite>,
    /// The identity provider.
    pub identity: IdentityProvider,
}

/// Where the simulators are.
pub struct Urls {
    vendors: HashMap<String, BaseUrl>,
    identity: String,
}

impl Simulation {
    /// Starts everything that a configuration needs.
    ///
    /// # Errors
    /// A simulator that can't listen.
    pub async fn start(config: &Config) -> Result<Simulation, String> {
        let mut vendors = HashMap::new();
        let names = config.vendors.iter().map(|vendor| &*vendor.name);
        // One for those that a reload brings.
        for name in names.chain([FALLBACK]) {
            let listen = SocketAddr::from((LOOPBACK, 0));
            let simulator = NetSuite::start(Options { listen, concurrency: CONCURRENCY })
                .await
                .map_err(|error| format!("simulator of {name}: {error}"))?;
            vendors.insert(name.to_owned(), simulator);
        }
        let tenants: Vec<Tenant> = config.issuers.iter().map(|issuer| tenant(issuer)).collect();
        let identity = provider(IDENTITY, tenants)
            .await
            .map_err(|error| format!("simulated identity provider: {error}"))?;
        Ok(Simulation { vendors, identity })
    }

    /// Where they are.
    ///
    /// # Errors
    /// An address that is no URL, which does not happen.
    pub fn urls(&self) -> Result<Arc<Urls>, String> {
        let url =
            |(name, of): (&String, &NetSuite)| Ok((name.clone(), BaseUrl::parse(&of.base_url())?));
        let vendors = self.vendors.iter().map(url).collect::<Result<_, String>>()?;
        Ok(Arc::new(Urls { vendors, identity: self.identity.base_url() }))
    }
}

impl Urls {
    /// In the sandbox nothing leaves the machine and nothing real is written: every vendor and
    /// issuer is a simulator, a vendor that was added since the start too, and state lives under
    /// `data/sandbox`.
    pub fn redirect(&self, config: Config, path: &Path) -> Config {
        let of_vendor =
            |name: &str| self.vendors.get(name).or_else(|| self.vendors.get(FALLBACK)).cloned();
        let of_issuer = |issuer: &Issuer| {
            let tenant = format!("{}/{}", self.identity, issuer.policy.name);
            Some(IssuerUrls {
                keys: format!("{tenant}/jwks"),
                introspection: format!("{tenant}/introspect"),
                client: ("erpgate".to_owned(), SECRET.to_owned()),
            })
        };
        let mut config = config.with_vendor_urls(&of_vendor).with_issuer_urls(&of_issuer);
        let folder = path.parent().unwrap_or(Path::new("."));
        config.server.handover = folder.join("data/sandbox/handover.sock");
        config.ledger.path = folder.join("data/sandbox/ledger.db");
        config.ledger.create = true;
        config.ledger.encryption_key = None;
        config
    }
}

fn tenant(issuer: &Issuer) -> Tenant {
    let policy = &issuer.policy;
    let named = Accept::NAMED.iter().find(|(_, accept)| *accept == policy.accept);
    // What a simulator can sign with; an issuer with a secret of its own signs with keys here.
    let usual = keys::DEFAULT.map(keys::name);
    let algorithms: Vec<String> = policy
        .algorithms
        .iter()
        .map(|algorithm| keys::name(*algorithm))
        .filter(|name| usual.contains(name))
        .map(str::to_owned)
        .collect();
    let first = || vec!["RS256".to_owned()];
    Tenant {
        name: policy.name.to_string(),
        issuer: policy.issuer.clone(),
        audiences: policy.audiences.clone(),
        shape: named.map_or("rfc9068", |(name, _)| name).to_owned(),
        algorithms: if algorithms.is_empty() { first() } else { algorithms },
    }
}

/// Starts the provider at an address, or at another one if that is taken.
///
/// # Errors
/// It can't listen at all.
pub async fn provider(listen: SocketAddr, tenants: Vec<Tenant>) -> io::Result<IdentityProvider> {
    let options = |listen| IdentityOptions { listen, tenants: tenants.clone() };
    match IdentityProvider::start(options(listen)).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            IdentityProvider::start(options(SocketAddr::new(listen.ip(), 0))).await
        }
        started => started,
    }
}
