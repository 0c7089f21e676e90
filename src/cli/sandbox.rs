//! `erpgate sandbox`: the simulators alone.

use super::{DONE, FAILED, SimulatedVendor};
use crate::sandbox::{NetSuite, Options};
use std::net::SocketAddr;
use tokio::signal::unix::{SignalKind, signal};

/// Calls at a time that a simulated account takes, as a NetSuite developer account does.
const CONCURRENCY: usize = 5;

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
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}
