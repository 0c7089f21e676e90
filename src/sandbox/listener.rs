//! Accepts connections for as long as the simulator is up, and closes the door when told to.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::connection;
use super::simulator::Simulator;

/// Connections that the kernel keeps waiting for us.
const BACKLOG: u32 = 1024;

/// Pause after a failed accept: the usual cause is a lack of file descriptors, and a loop without
/// a pause would only add a busy processor to it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Which listener a connection came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The vendor's, with the control endpoint beside it.
    Vendor,
    /// The second listener, which serves `/_sandbox/` only and ignores faults and `down`.
    Control,
}

/// An order to take the vendor's listener down or up.
#[derive(Debug)]
pub struct Switch {
    /// `true` closes the listening socket, `false` opens it.
    pub down: bool,
    /// Told when the order has been carried out.
    pub done: oneshot::Sender<io::Result<()>>,
}

/// A port that is ours, listening or not.
#[derive(Debug)]
pub struct Socket {
    address: SocketAddr,
    listener: Option<TcpListener>,
    /// Bound but not listening: the kernel refuses connections, and nobody else gets the port.
    reserved: Option<TcpSocket>,
}

impl Socket {
    /// Binds `address` and listens.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(address: SocketAddr) -> io::Result<Socket> {
        let listener = bind(address)?.listen(BACKLOG)?;
        Ok(Socket { address: listener.local_addr()?, listener: Some(listener), reserved: None })
    }

    /// The address with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn close(&mut self) {
        self.listener = None;
        // Kept only so that nobody else takes the port meanwhile; without it we refuse as well.
        if self.reserved.is_none() {
            self.reserved = bind(self.address).ok();
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        if self.listener.is_none() {
            let socket = match self.reserved.take() {
                Some(socket) => socket,
                None => bind(self.address)?,
            };
            self.listener = Some(socket.listen(BACKLOG)?);
        }
        Ok(())
    }

    /// The next connection; never, while closed.
    async fn accept(&self) -> io::Result<TcpStream> {
        match &self.listener {
            Some(listener) => Ok(listener.accept().await?.0),
            None => std::future::pending().await,
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of the closed listener linger on the same port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves `socket` until `stop` says so or its sender is gone, then cuts every connection.
pub async fn run(
    door: Door,
    mut socket: Socket,
    simulator: Arc<Simulator>,
    mut switches: mpsc::Receiver<Switch>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            Some(switch) = switches.recv() => {
                turn(&mut socket, &mut connections, &simulator, switch).await;
            }
            Some(_) = connections.join_next() => {}
            accepted = socket.accept() => match accepted {
                Ok(stream) => {
                    admit(door, stream, &simulator, &mut connections);
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(socket);
    connections.shutdown().await;
}

/// Carries out an order. A vendor that is down has no open connections either: a gateway's kept
/// connection must not outlive its vendor.
async fn turn(
    socket: &mut Socket,
    connections: &mut JoinSet<()>,
    simulator: &Simulator,
    switch: Switch,
) {
    let done = if switch.down {
        socket.close();
        connections.shutdown().await;
        Ok(())
    } else {
        socket.reopen()
    };
    simulator.note_down(socket.listener.is_none());
    // Whoever ordered it may have been on one of the connections just cut.
    let _ = switch.done.send(done);
}

fn admit(door: Door, stream: TcpStream, simulator: &Arc<Simulator>, connections: &mut JoinSet<()>) {
    if door == Door::Vendor && simulator.refuses_connection() {
        // Zero linger makes the close a reset; if it can't be set, the client still gets a close.
        let _ = stream.set_zero_linger();
        return;
    }
    // Only a matter of speed.
    let _ = stream.set_nodelay(true);
    connections.spawn(connection::serve(door, stream, Arc::clone(simulator)));
}
