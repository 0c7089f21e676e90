//! Accepts connections on one address, within its limits, and hands them to pingora's HTTP server.

use super::connection::{Closing, Connection};
use super::downstream::{Downstream, MalformedAnswer, Wire};
use super::front::Front;
use super::hooks::Hooks;
use super::table::{self, Connections};
use crate::config::Listener;
use crate::state::State;
use crate::tls::{ListenerTlsState, TlsFacts};
use arc_swap::ArcSwap;
use pingora_core::apps::ServerApp;
use pingora_proxy::HttpProxy;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long to wait when the process has no file descriptor left for a connection.
const PAUSE_WHEN_EXHAUSTED: Duration = Duration::from_millis(50);

/// What all connections of one listener share.
pub struct Door {
    /// The listener's settings, swapped by a reload.
    pub listener: ArcSwap<Listener>,
    /// Its certificates and client authorities.
    pub tls: Option<ListenerTlsState>,
    /// Counters, log, phase.
    pub state: Arc<State>,
    /// Every live connection.
    pub connections: Arc<Connections>,
    /// pingora's proxy.
    pub proxy: Arc<HttpProxy<Hooks>>,
    /// Makes the answer to a head that could not be parsed.
    pub malformed: MalformedAnswer,
    /// Turns true when HTTP/2 clients are to be sent elsewhere.
    pub leaving: watch::Receiver<bool>,
}

/// Accepts until told to stop. What is already accepted goes on.
pub async fn accept(door: Arc<Door>, socket: TcpListener, mut stop: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            biased;
            // An error means that nobody is left to tell: the same as being told.
            _ = stop.changed() => return accept_what_waits(&door, &socket).await,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => admit(&door, tcp, peer),
            Err(error) => {
                door.state.log.event("accept-failed", &[("reason", error.to_string().into())]);
                tokio::time::sleep(PAUSE_WHEN_EXHAUSTED).await;
            }
        }
    }
}

/// Takes what the kernel has accepted already: closing the socket would reset it.
async fn accept_what_waits(door: &Arc<Door>, socket: &TcpListener) {
    let mut waiting = true;
    while waiting {
        waiting = tokio::select! {
            biased;
            accepted = socket.accept() => {
                accepted.is_ok_and(|(tcp, peer)| {
                    admit(door, tcp, peer);
                    true
                })
            }
            () = std::future::ready(()) => false,
        };
    }
}

fn admit(door: &Arc<Door>, tcp: TcpStream, peer: SocketAddr) {
    let listener = door.listener.load_full();
    match door.connections.enter(&door.state, &listener, peer.ip()) {
        Ok(place) => {
            let door = door.clone();
            tokio::spawn(async move {
                let reason = serve(&door, &place, listener, tcp, peer).await;
                place.leave(reason);
            });
        }
        // Dropping the socket closes it: there is nothing that could be said without cost.
        Err(full) => table::closed(&door.state.metrics, &listener.name, full.label()),
    }
}

/// Serves one connection to its end. Returns why it ended.
async fn serve(
    door: &Door,
    place: &table::Place,
    listener: Arc<Listener>,
    tcp: TcpStream,
    peer: SocketAddr,
) -> &'static str {
    // Small answers would wait for the client's acknowledgment otherwise.
    let _ = tcp.set_nodelay(true);
    let (wire, facts) = match shake_hands(door, &listener, tcp).await {
        Ok(shaken) => shaken,
        Err(Unshaken { label, reason }) => {
            let members = [
                ("listener", (&*listener.name).into()),
                ("address", peer.ip().to_string().into()),
                ("reason", reason.into()),
            ];
            door.state.log.event("handshake-failed", &members);
            return label;
        }
    };
    let now = door.state.clock.milliseconds();
    let connection = Connection::new(place.id, listener, peer, facts, now);
    door.connections.watch(connection.clone());
    // The authorities may have changed since the handshake began: a reload that came before this
    // line has not seen the connection.
    if let (Some(tls), Some(facts)) = (&door.tls, &connection.tls)
        && !tls.still_accepts(&facts.client_certificates)
    {
        return Closing::CertificateRevoked.label();
    }
    let clock = door.state.clock.clone();
    let stream = Downstream::new(wire, connection.clone(), clock, door.malformed.clone());
    let front = Front::new(door.proxy.clone(), connection.clone(), door.state.clock.clone());
    let leaving = door.leaving.clone();
    // A task of its own: it is ended from outside without a look at each of its steps whether it
    // should be.
    let task = tokio::spawn(async move {
        front.process_new(Box::new(stream), &leaving).await;
    });
    connection.ends_with(task.abort_handle());
    // Ended, or aborted: both are the end.
    let _ = task.await;
    let why = connection.why();
    if matches!(why, Closing::SlowHead | Closing::MalformedHead | Closing::SlowBody) {
        let members = [
            ("listener", (&*connection.listener.name).into()),
            ("address", peer.ip().to_string().into()),
            ("reason", why.label().into()),
        ];
        door.state.log.event("connection-closed", &members);
    }
    why.label()
}

struct Unshaken {
    label: &'static str,
    reason: String,
}

async fn shake_hands(
    door: &Door,
    listener: &Listener,
    tcp: TcpStream,
) -> Result<(Wire, Option<TlsFacts>), Unshaken> {
    let Some(tls) = &door.tls else { return Ok((Wire::Plain(tcp), None)) };
    match tokio::time::timeout(listener.handshake_timeout, tls.accept(tcp)).await {
        Ok(Ok((stream, facts))) => Ok((Wire::Tls(Box::new(stream)), Some(facts))),
        Ok(Err(reason)) => Err(Unshaken { label: "handshake-failed", reason }),
        Err(_) => Err(Unshaken { label: "handshake-timeout", reason: "too slow".into() }),
    }
}
