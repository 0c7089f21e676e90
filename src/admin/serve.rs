//! Serves the operators' listener on its socket, with or without TLS.

use crate::config::ListenerTls;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;

/// How long a handshake, and how long a request's head, may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait when the process has no file descriptor left for a connection.
const PAUSE_WHEN_EXHAUSTED: Duration = Duration::from_millis(50);

/// Serves until the task is dropped.
pub async fn serve(socket: TcpListener, tls: Option<TlsAcceptor>, router: Router) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((tcp, _)) => {
                connections.spawn(connection(tcp, tls.clone(), router.clone()));
            }
            Err(_) => tokio::time::sleep(PAUSE_WHEN_EXHAUSTED).await,
        }
    }
}

/// What shakes hands, for a listener that is encrypted.
///
/// # Errors
/// What rustls refuses.
pub fn acceptor(tls: &ListenerTls, provider: &Arc<CryptoProvider>) -> Result<TlsAcceptor, String> {
    let certificate = tls.certificates.get(tls.default_certificate).ok_or("no certificate")?;
    let resolver = rustls::sign::SingleCertAndKey::from(certificate.key.clone());
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn connection(tcp: TcpStream, tls: Option<TlsAcceptor>, router: Router) {
    match tls {
        None => speak(TokioIo::new(tcp), router).await,
        Some(tls) => {
            let shaken: Result<Result<TlsStream<TcpStream>, _>, _> =
                tokio::time::timeout(HEAD_TIMEOUT, tls.accept(tcp)).await;
            if let Ok(Ok(stream)) = shaken {
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

/// The address that a socket is bound to, for those who asked for any port.
pub fn address(socket: &TcpListener) -> Option<SocketAddr> {
    socket.local_addr().ok()
}
