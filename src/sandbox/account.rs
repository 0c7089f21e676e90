//! Starts and stops a simulated NetSuite account.

use std::io;
use std::net::SocketAddr;

use super::server::Server;
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
pub struct NetSuite(Server);

impl NetSuite {
    /// Opens both listeners and begins to serve. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When one of the listeners can't be opened.
    pub async fn start(options: Options) -> io::Result<NetSuite> {
        let Options { listen, concurrency } = options;
        Server::start(listen, |address, lever| Simulator::new(address, concurrency, lever))
            .map(NetSuite)
    }

    /// Where the vendor listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// What a gateway is given as the vendor's base URL, such as `http://127.0.0.1:40123`.
    pub fn base_url(&self) -> String {
        self.0.base_url()
    }

    /// The control endpoint on its own listener, which stays reachable while the vendor is down.
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
