//! Accepts connections for as long as a simulator is up, and closes the door when told to.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::connection;
use super::outgoing::Outgoing;
use super::wire::Line;

/// Connections that the kernel keeps waiting for us.
const BACKLOG: u32 = 1024;

/// Pause after a failed accept: the usual cause is a lack of file descriptors, and a loop without
/// a pause would only add a busy processor to it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Which listener a connection came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// What is simulated, with the control endpoint beside it.
    Main,
    /// The second listener, which serves `/_sandbox/` only and ignores faults and `down`.
    Control,
}

/// Who answers behind the doors.
pub trait Host: Send + Sync + 'static {
    /// Whether a connection that was just accepted by the main door is to be reset.
    fn refuses_connection(&self) -> bool {
        false
    }

    /// Is told whether the main listener is closed.
    fn note_down(&self, down: bool);

    /// Answers one request. May never return, if it hands the connection over.
    fn answer(
        self: Arc<Self>,
        door: Door,
        line: Arc<Line>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Outgoing>> + Send;
}

/// Closes and opens a listener from elsewhere.
#[derive(Debug)]
pub struct Lever(mpsc::Sender<Switch>);

impl Lever {
    /// A lever, and the end that [`run`] takes.
    pub fn new() -> (Lever, mpsc::Receiver<Switch>) {
        let (switch, switches) = mpsc::channel(1);
        (Lever(switch), switches)
    }

    /// Closes (`true`) or opens the listener, and returns when that is done.
    ///
    /// # Errors
    /// When the port can't be opened again, or the simulator is being stopped.
    pub async fn switch(&self, down: bool) -> io::Result<()> {
        let stopping = || io::Error::other("the simulator is being stopped");
        let (done, finished) = oneshot::channel();
        self.0.send(Switch { down, done }).await.map_err(|_| stopping())?;
        finished.await.map_err(|_| stopping())?
    }
}

/// An order to take a listener down or up.
#[derive(Debug)]
pub struct Switch {
    /// `true` closes the listening socket, `false` opens it.
    down: bool,
    /// Told when the order has been carried out.
    done: oneshot::Sender<io::Result<()>>,
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
pub async fn run<H: Host>(
    door: Door,
    mut socket: Socket,
    host: Arc<H>,
    mut switches: mpsc::Receiver<Switch>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            Some(switch) = switches.recv() => {
                turn(&mut socket, &mut connections, &*host, switch).await;
            }
            Some(_) = connections.join_next() => {}
            accepted = socket.accept() => match accepted {
                Ok(stream) => admit(door, stream, &host, &mut connections),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(socket);
    connections.shutdown().await;
}

/// Carries out an order. Who is down has no open connections either: a gateway's kept connection
/// must not outlive its vendor.
async fn turn(
    socket: &mut Socket,
    connections: &mut JoinSet<()>,
    host: &impl Host,
    switch: Switch,
) {
    let done = if switch.down {
        socket.close();
        connections.shutdown().await;
        Ok(())
    } else {
        socket.reopen()
    };
    host.note_down(socket.listener.is_none());
    // Whoever ordered it may have been on one of the connections just cut.
    let _ = switch.done.send(done);
}

fn admit<H: Host>(door: Door, stream: TcpStream, host: &Arc<H>, connections: &mut JoinSet<()>) {
    if door == Door::Main && host.refuses_connection() {
        // Zero linger makes the close a reset; if it can't be set, the client still gets a close.
        let _ = stream.set_zero_linger();
        return;
    }
    // Only a matter of speed.
    let _ = stream.set_nodelay(true);
    connections.spawn(connection::serve(door, stream, Arc::clone(host)));
}
