//! `erpgate sandbox`: the simulators alone.

use super::simulation::provider;
use super::{DONE, FAILED, SimulatedVendor};
use crate::sandbox::{NetSuite, Options, Tenant};
use std::net::SocketAddr;
use tokio::signal::unix::{SignalKind, signal};

/// Calls at a time that a simulated account takes, as a NetSuite developer account does.
const CONCURRENCY: usize = 5;

/// The one tenant of the identity provider, and what its tokens are for.
const TENANT: &str = "corporate";
const AUDIENCE: &str = "erp-gateway";

/// Simulates until it is interrupted. Returns the exit status.
pub fn sandbox(listen: SocketAddr, vendors: &[SimulatedVendor]) -> u8 {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let served = match runtime {
        Ok(runtime) => runtime.block_on(simulate(listen, vendors)),
        Err(error) => Err(error),
    };
    match served {
        Ok(()) => DONE,
        Err(error) => {
            eprintln!("the simulators can't serve: {error}");
            FAILED
        }
    }
}

async fn simulate(listen: SocketAddr, vendors: &[SimulatedVendor]) -> std::io::Result<()> {
    let mut running = Vec::new();
    for (index, vendor) in vendors.iter().enumerate() {
        let offset = u16::try_from(index).map_err(std::io::Error::other)?;
        let port = match listen.port() {
            0 => 0,
            port => port.checked_add(offset).ok_or(std::io::ErrorKind::AddrNotAvailable)?,
        };
        let SimulatedVendor::Netsuite = vendor;
        let options =
            Options { listen: SocketAddr::new(listen.ip(), port), concurrency: CONCURRENCY };
        let simulator = NetSuite::start(options).await?;
        println!("netsuite: {} (control: {})", simulator.base_url(), simulator.control_url());
        running.push(simulator);
    }
    let next = u16::try_from(vendors.len()).map_err(std::io::Error::other)?;
    let port = if listen.port() == 0 { 0 } else { listen.port().saturating_add(next) };
    let tenant = Tenant {
        name: TENANT.to_owned(),
        issuer: None,
        audiences: vec![AUDIENCE.to_owned()],
        shape: "rfc9068".to_owned(),
        algorithms: vec!["RS256".to_owned(), "ES256".to_owned()],
    };
    let identity = provider(SocketAddr::new(listen.ip(), port), vec![tenant]).await?;
    let (url, control) = (identity.tenant_url(TENANT), identity.control_url());
    println!("identity provider: {url}, audience {AUDIENCE} (control: {control})");
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}
