//! Puts a thin ear on a connection: what was received, when all was flushed, who takes over.
//!
//! hyper owns the parsing. What it can't tell or do is told and done here: the request head byte
//! for byte (hyper forgets the order and the case of header names), the moment when everything
//! written has left, and handing the bare socket to a script that breaks the rules.

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::guarded::Guarded;
use super::script::Script;

/// Bytes kept of each message; a longer head is reported from hyper's reading of it.
const TAPE_BYTES_MAX: usize = 128 * 1024;

/// What the handler of a request and its connection share.
#[derive(Debug, Default)]
pub struct Line {
    script: Guarded<Option<Script>>,
    scripted: Notify,
    tape: Guarded<Tape>,
    flush: Guarded<Flush>,
}

/// The bytes of the message that is being received.
#[derive(Debug, Default)]
struct Tape {
    bytes: Vec<u8>,
    /// The next byte read begins a new message.
    rewind: bool,
}

#[derive(Debug, Default)]
struct Flush {
    pending: bool,
    waiting: Option<Waker>,
}

impl Line {
    /// Lets `script` take the socket over, and never returns: the caller is dropped first.
    pub async fn hand_over<T>(&self, script: Script) -> T {
        *self.script.lock() = Some(script);
        self.scripted.notify_one();
        std::future::pending().await
    }

    /// Waits until a handler hands over.
    pub async fn script(&self) -> Script {
        loop {
            // A statement of its own: the lock must not be held while we wait.
            let script = self.script.lock().take();
            match script {
                Some(script) => return script,
                None => self.scripted.notified().await,
            }
        }
    }

    /// The bytes received since the last answer: a request head and maybe some of its body.
    ///
    /// Not exact for a client that sends its next request before it has read the answer.
    pub fn take_tape(&self) -> Vec<u8> {
        mem::take(&mut self.tape.lock().bytes)
    }

    /// Says that bytes are on their way into hyper's buffer.
    pub fn note_unflushed(&self) {
        self.flush.lock().pending = true;
    }

    /// Ready when the kernel has taken all that was noted as unflushed.
    pub fn poll_flushed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut flush = self.flush.lock();
        if flush.pending {
            flush.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn note_flushed(&self) {
        let mut flush = self.flush.lock();
        flush.pending = false;
        if let Some(waker) = flush.waiting.take() {
            waker.wake();
        }
    }

    fn note_read(&self, bytes: &[u8]) {
        let mut tape = self.tape.lock();
        if mem::take(&mut tape.rewind) {
            tape.bytes.clear();
        }
        let room = TAPE_BYTES_MAX.saturating_sub(tape.bytes.len());
        tape.bytes.extend(bytes.iter().take(room));
    }

    fn note_written(&self) {
        self.tape.lock().rewind = true;
    }
}

/// A TCP connection that reports to its [`Line`].
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    line: Arc<Line>,
}

impl Wire {
    /// Puts `line` on `stream`.
    pub fn new(stream: TcpStream, line: Arc<Line>) -> Wire {
        Wire { stream, line }
    }

    /// Gives the bare socket back.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if let Some(read) = buffer.filled().get(before..) {
            self.line.note_read(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.line.note_written();
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.line.note_written();
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper calls it only when its own buffer is empty.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.line.note_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
