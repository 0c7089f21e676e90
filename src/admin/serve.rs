//! Serves the operators' listener on its socket, with or without TLS.

use super::access::Peer;
use crate::state::State;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;

/// How long a handshake, and how long a request's head, may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait when the process has no file descriptor left for a connection.
const PAUSE_WHEN_EXHAUSTED: Duration = Duration::from_millis(50);

/// Serves until the task is dropped.
pub async fn serve(socket: TcpListener, state: Arc<State>) {
    let router = super::router(state.clone());
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((tcp, peer)) => {
                let router = router.clone().layer(Extension(Peer(peer.ip().to_canonical())));
                connections.spawn(connection(tcp, state.clone(), router));
            }
            Err(_) => tokio::time::sleep(PAUSE_WHEN_EXHAUSTED).await,
        }
    }
}

async fn connection(tcp: TcpStream, state: Arc<State>, router: Router) {
    match &state.admin_tls {
        None => speak(TokioIo::new(tcp), router).await,
        Some(tls) => {
            if let Ok(Ok((stream, _))) = tokio::time::timeout(HEAD_TIMEOUT, tls.accept(tcp)).await {
                speak(TokioIo::new(stream), router).await;
            }
        }
    }
}

async fn speak<I>(io: I, router: Router)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(io, TowerToHyperService::new(router));
    // A connection that breaks concerns nobody but its client.
    let _ = served.await;
}
