//! Starts and stops what every simulator is to the network: two listeners with a host behind them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::listener::{self, Door, Host, Lever, Socket};

/// Two listeners that are served; dropping it closes them and cuts their connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    control_address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Server {
    /// Opens `listen` and a control listener on a free port of the same address, and serves both
    /// with the host that `open` makes of the real address and the lever of the main listener.
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When one of the listeners can't be opened.
    pub fn start<H: Host>(
        listen: SocketAddr,
        open: impl FnOnce(SocketAddr, Lever) -> H,
    ) -> io::Result<Server> {
        let main = Socket::open(listen)?;
        let control = Socket::open(SocketAddr::new(listen.ip(), 0))?;
        let (address, control_address) = (main.address(), control.address());

        let (lever, switches) = Lever::new();
        // The control listener can't be closed: nobody keeps its lever.
        let (_, no_switches) = Lever::new();
        let (stop, stopped) = watch::channel(false);
        let host = Arc::new(open(address, lever));

        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&host);
        tasks.spawn(listener::run(Door::Main, main, shared, switches, stopped.clone()));
        tasks.spawn(listener::run(Door::Control, control, host, no_switches, stopped));
        Ok(Server { address, control_address, stop, tasks })
    }

    /// Where the main listener is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Such as `http://127.0.0.1:40123`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the control listener is.
    pub fn control_address(&self) -> SocketAddr {
        self.control_address
    }

    /// The control endpoint on its own listener.
    pub fn control_url(&self) -> String {
        format!("http://{}/_sandbox/control", self.control_address)
    }

    /// Closes the listeners, cuts the connections, and returns when all of it has ended.
    pub async fn stop(mut self) {
        // Nobody listens any more only if the loops have ended already.
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}
