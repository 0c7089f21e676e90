//! Sends answers, and gives the concurrency slot back just before the last byte leaves.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use hyper::body::{Body, Frame, SizeHint};

use super::answer::Answer;
use super::slot::Slot;
use super::wire::Line;

/// Bytes handed to hyper at a time.
const FRAME_BYTES: usize = 16 * 1024;

/// What [`Flow`] sends, over and over.
static PATTERN: [u8; FRAME_BYTES] = [b'.'; FRAME_BYTES];

/// The body of every answer of a simulator.
#[derive(Debug)]
pub enum Outgoing {
    /// An answer known in full.
    Whole(Whole),
    /// As many bytes as were asked for.
    Flow(Flow),
}

/// A body in memory, with the slot of its request.
#[derive(Debug)]
pub struct Whole {
    rest: Bytes,
    slot: Option<Slot>,
    line: Arc<Line>,
}

/// Bytes made up while they are sent.
#[derive(Debug)]
pub struct Flow {
    rest: u64,
    /// Announce the length; otherwise the body goes out chunked.
    announced: bool,
}

/// Makes an answer ready to be sent; `slot` is given back at its end, or with the connection.
pub fn send(answer: Answer, slot: Option<Slot>, line: Arc<Line>) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::Whole(Whole { rest: answer.body, slot, line }));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

/// Makes a body of `bytes` bytes.
pub fn flow(bytes: u64, announced: bool) -> Response<Outgoing> {
    Response::new(Outgoing::Flow(Flow { rest: bytes, announced }))
}

impl Whole {
    /// The next piece. hyper polls a body, then flushes: so a slot dropped here is free before
    /// the piece leaves. Before the last of several pieces we wait until the others have left, or
    /// else a slow reader would hold an answer but no slot.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.rest.len() > FRAME_BYTES {
            self.line.note_unflushed();
            return Poll::Ready(Some(self.rest.split_to(FRAME_BYTES)));
        }
        ready!(self.line.poll_flushed(cx));
        self.slot = None;
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(std::mem::take(&mut self.rest)))
    }
}

impl Flow {
    fn piece(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.rest).unwrap_or(FRAME_BYTES).min(FRAME_BYTES);
        self.rest = self.rest.saturating_sub(length as u64);
        PATTERN.get(..length).filter(|piece| !piece.is_empty()).map(Bytes::from_static)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match self.get_mut() {
            Outgoing::Whole(whole) => ready!(whole.poll_piece(cx)),
            Outgoing::Flow(flow) => flow.piece(),
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    /// For an empty body hyper drops it at once, and the slot with it, before the head leaves.
    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Whole(whole) => whole.rest.is_empty(),
            Outgoing::Flow(flow) => flow.announced && flow.rest == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Whole(whole) => SizeHint::with_exact(whole.rest.len() as u64),
            Outgoing::Flow(flow) if flow.announced => SizeHint::with_exact(flow.rest),
            Outgoing::Flow(_) => SizeHint::new(),
        }
    }
}
