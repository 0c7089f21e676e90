//! A client's connection as pingora sees it: gathers small writes, notices when a head begins,
//! and answers in pingora's place where it would answer by itself.

use super::connection::{Arrived, Closing, Connection};
use super::front::Incoming;
use super::request_line::RequestLine;
use crate::adapters::clock::Clock;
use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Writes smaller than this are gathered: head and body of a small answer leave in one packet.
const GATHER_BELOW: usize = 8 << 10;
/// How long, and for how much, a closing connection still listens.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 4 << 20;
/// What an HTTP/2 client with prior knowledge sends first (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Room for what is read while looking for it: most heads whole.
const PEEK_BYTES: usize = 4 << 10;

/// Makes the answer to a head that could not be parsed.
pub type MalformedAnswer = Arc<dyn Fn(&Connection) -> Vec<u8> + Send + Sync>;

/// The socket, encrypted or not.
#[derive(Debug)]
pub enum Wire {
    /// TCP alone.
    Plain(TcpStream),
    /// TLS over it.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A client's connection.
pub struct Downstream {
    wire: Wire,
    connection: Arc<Connection>,
    incoming: Arc<Incoming>,
    clock: Arc<Clock>,
    /// Read while looking for the preface of HTTP/2.
    peeked: BytesMut,
    gathered: BytesMut,
    line: RequestLine,
    malformed: MalformedAnswer,
    /// Set once our own answer to a malformed head was put in pingora's place.
    replaced: bool,
}

impl Downstream {
    /// Wraps an accepted connection.
    pub fn new(
        wire: Wire,
        connection: Arc<Connection>,
        clock: Arc<Clock>,
        malformed: MalformedAnswer,
    ) -> Downstream {
        Downstream {
            wire,
            incoming: Incoming::new(connection.clone()),
            connection,
            clock,
            peeked: BytesMut::new(),
            gathered: BytesMut::new(),
            line: RequestLine::default(),
            malformed,
            replaced: false,
        }
    }

    /// What its requests are told of it.
    pub fn incoming(&self) -> &Arc<Incoming> {
        &self.incoming
    }

    fn tcp(&self) -> &TcpStream {
        match &self.wire {
            Wire::Plain(tcp) => tcp,
            Wire::Tls(tls) => tls.get_ref().0,
        }
    }

    fn arrived(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match self.connection.arrived(bytes.len(), self.clock.milliseconds()) {
            Arrived::HeadBegins => self.line = RequestLine::default(),
            Arrived::Onward => {}
            Arrived::Elsewhere => return,
        }
        if self.line.takes(bytes) {
            self.connection.head_needs_repair();
        }
    }

    /// Writes these octets, or those that were gathered, and notes whether the client takes any.
    fn poll_wire(
        &mut self,
        cx: &mut Context<'_>,
        octets: Option<&[u8]>,
    ) -> Poll<io::Result<usize>> {
        let octets = octets.unwrap_or(&self.gathered);
        let written = Pin::new(&mut self.wire).poll_write(cx, octets);
        self.connection.takes(written.is_ready(), self.clock.milliseconds());
        written
    }

    /// Writes out what was gathered; memory is given back between answers.
    fn poll_gathered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let written = ready!(self.poll_wire(cx, None))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(written);
        }
        self.gathered = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Puts our answer in the place of the bare one that pingora writes when it could not parse
    /// a head: nobody else writes before a request has begun.
    fn replaces(&mut self) -> bool {
        if self.replaced {
            return true;
        }
        if self.connection.is_http2() || self.connection.has_request() {
            return false;
        }
        self.replaced = true;
        self.connection.note(Closing::MalformedHead);
        self.connection.leaves_unread();
        self.gathered.extend_from_slice(&(self.malformed)(&self.connection));
        true
    }
}

impl AsyncRead for Downstream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.peeked.is_empty() {
            let length = this.peeked.len().min(into.remaining());
            let bytes = this.peeked.split_to(length);
            this.arrived(&bytes);
            into.put_slice(&bytes);
            if this.peeked.is_empty() {
                this.peeked = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut this.wire).poll_read(cx, into))?;
        this.arrived(into.filled().get(before..).unwrap_or(&[]));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.replaces() {
            return Poll::Ready(Ok(bytes.len()));
        }
        if this.gathered.len() + bytes.len() > GATHER_BELOW {
            ready!(this.poll_gathered(cx))?;
        }
        if bytes.len() >= GATHER_BELOW {
            return this.poll_wire(cx, Some(bytes));
        }
        this.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_gathered(cx))?;
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_gathered(cx))?;
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Wire::Plain(tcp) => Pin::new(tcp).poll_read(cx, into),
            Wire::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Wire::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Wire::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Wire::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Wire::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Wire::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Wire::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
        }
    }
}

#[async_trait]
impl Shutdown for Downstream {
    async fn shutdown(&mut self) {
        // The client may be gone already: there is nobody left to tell.
        let _ = AsyncWriteExt::shutdown(self).await;
        if self.connection.has_unread() {
            let _ = tokio::time::timeout(LINGER, self.discard()).await;
        }
    }
}

impl Downstream {
    /// Reads what the client still sends: closing a socket with unread octets resets the
    /// connection, and the client would never see its answer (RFC 9112 §9.6).
    async fn discard(&mut self) {
        let mut scratch = [0; 4096];
        let mut left = LINGER_BYTES_MAX;
        while let Ok(read @ 1..) = self.wire.read(&mut scratch).await {
            left = left.saturating_sub(read);
            if left == 0 {
                return;
            }
        }
    }
}

#[async_trait]
impl Peek for Downstream {
    /// Waits until the first bytes are, or are not, the preface of HTTP/2.
    async fn try_peek(&mut self, into: &mut [u8]) -> io::Result<bool> {
        self.peeked.reserve(PEEK_BYTES);
        while self.peeked.len() < PREFACE.len() && PREFACE.starts_with(&self.peeked) {
            if self.wire.read_buf(&mut self.peeked).await? == 0 {
                break;
            }
            // Not a head yet, but its deadline runs from here.
            self.connection.head_begins(self.clock.milliseconds());
        }
        if self.peeked.starts_with(PREFACE) {
            self.connection.speaks_http2();
        }
        for (to, from) in into.iter_mut().zip(&self.peeked) {
            *to = *from;
        }
        Ok(true)
    }
}

impl Ssl for Downstream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        // Only its presence matters to pingora; what the handshake told is in `Connection`.
        self.connection
            .tls
            .as_ref()
            .map(|_| Arc::new(SslDigest::new("", "", None, None, Vec::new())))
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        let tls = self.connection.tls.as_ref()?;
        Some(if tls.http2 { ALPN::H2 } else { ALPN::H1 })
    }
}

impl UniqueID for Downstream {
    fn id(&self) -> UniqueIDType {
        self.tcp().as_raw_fd()
    }
}

impl GetTimingDigest for Downstream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Downstream {
    fn get_proxy_digest(&self) -> Option<Arc<pingora_core::protocols::raw_connect::ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Downstream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl std::fmt::Debug for Downstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Downstream({})", self.connection.peer)
    }
}
