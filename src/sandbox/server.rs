//! Starts and stops a simulated NetSuite account.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::listener::{self, Door, Socket};
use super::simulator::Simulator;

/// What a simulated account is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the vendor listens. Port 0 picks a free one. The control listener takes a free port
    /// of the same address.
    pub listen: SocketAddr,
    /// Requests that may be in flight at once, over all surfaces of the account. NetSuite gives
    /// developer accounts 5.
    pub concurrency: usize,
}

/// A running simulator; dropping it closes its listeners and cuts its connections.
#[derive(Debug)]
pub struct NetSuite {
    address: SocketAddr,
    control_address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl NetSuite {
    /// Opens both listeners and begins to serve. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When one of the listeners can't be opened.
    pub async fn start(options: Options) -> io::Result<NetSuite> {
        let vendor = Socket::open(options.listen)?;
        let control = Socket::open(SocketAddr::new(options.listen.ip(), 0))?;
        let (address, control_address) = (vendor.address(), control.address());

        let (switch, switches) = mpsc::channel(1);
        // The control listener can't be closed: its switch has no sender.
        let (_, no_switches) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        let simulator = Arc::new(Simulator::new(address, options.concurrency, switch));

        let mut tasks = JoinSet::new();
        tasks.spawn(listener::run(
            Door::Vendor,
            vendor,
            Arc::clone(&simulator),
            switches,
            stopped.clone(),
        ));
        tasks.spawn(listener::run(Door::Control, control, simulator, no_switches, stopped));
        Ok(NetSuite { address, control_address, stop, tasks })
    }

    /// Where the vendor listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a gateway is given as the vendor's base URL, such as `http://127.0.0.1:40123`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The control endpoint on its own listener, which stays reachable while the vendor is down.
    pub fn control_url(&self) -> String {
        format!("http://{}/_sandbox/control", self.control_address)
    }

    /// The address of the control listener.
    pub fn control_address(&self) -> SocketAddr {
        self.control_address
    }

    /// Closes the listeners, cuts the connections, and returns when all of it has ended.
    pub async fn stop(mut self) {
        // Nobody listens any more only if the loops have ended already.
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}
