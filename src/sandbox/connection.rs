//! Speaks HTTP/1.1 on one connection, until its end or until a script takes the socket over.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::listener::{Door, Host};
use super::wire::{Line, Wire};

/// More than any gateway forwards, so that the sandbox is never the one that complains.
const HEADERS_MAX: usize = 512;

/// How long we go on reading after our last byte, so that the close is no reset.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// Serves `stream` to its end.
pub async fn serve<H: Host>(door: Door, stream: TcpStream, host: Arc<H>) {
    let line = Arc::new(Line::default());
    let wire = Wire::new(stream, Arc::clone(&line));
    let service = service_fn(|request| {
        let (host, line) = (Arc::clone(&host), Arc::clone(&line));
        // Boxed because hyper gives the socket back only from a future that can be moved.
        Box::pin(async move { Ok::<_, Infallible>(host.answer(door, line, request).await) })
    });
    let mut connection = http1::Builder::new()
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(wire), service);

    let script = tokio::select! {
        biased;
        script = line.script() => Some(script),
        // An error here is the client's departure or its bad HTTP, both already dealt with.
        _ = poll_fn(|cx| connection.poll_without_shutdown(cx)) => None,
    };
    // Drops the handler, and its slot with it, before a script's first byte leaves.
    let stream = connection.into_parts().io.into_inner().into_stream();
    match script {
        Some(script) => script.play(stream).await,
        None => close(stream).await,
    }
}

/// Ends the connection with a FIN.
///
/// A socket that is closed with unread bytes sends a reset, which may overtake the answer that the
/// client is still reading; so we read on for a while.
pub async fn close(mut stream: TcpStream) {
    if stream.shutdown().await.is_ok() {
        // Time is up, or the client is gone: nothing more to do for it.
        let _ = tokio::time::timeout(LINGER_MAX, drain(&mut stream)).await;
    }
}

/// Reads and forgets until the client goes.
pub async fn drain(stream: &mut TcpStream) {
    let mut scrap = vec![0; 16 * 1024];
    while matches!(stream.read(&mut scrap).await, Ok(read) if read > 0) {}
}
