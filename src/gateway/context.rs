//! What pingora carries along for one request, and what its end settles.

use super::connection::{Connection, Line};
use super::front::Incoming;
use super::pace::Pace;
use super::peers::Peers;
use crate::adapters::vendor_client::failures;
use crate::attempts::{Held, Next};
use crate::exchange::Exchange;
use crate::refusal::Refusal;
use crate::settlement::{self, Ending};
use crate::stages::outcome::Failure;
use crate::state::{Snapshot, State};
use std::sync::Arc;
use std::time::Instant;

/// The configuration in force and the connections made by it.
pub struct Live {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// How its vendors are connected to.
    pub peers: Peers,
}

/// A request's context.
pub struct Ctx {
    /// The rules and connections that it began with.
    pub live: Arc<Live>,
    state: Arc<State>,
    incoming: Option<Arc<Incoming>>,
    /// What is known of its request line.
    pub line: Line,
    /// The exchange, once its head is read.
    pub exchange: Option<Exchange>,
    /// What the current attempt holds at the vendor, until the answer's body has ended.
    pub held: Option<Held>,
    /// Whether the vendor's answer has the request sent again.
    pub again: bool,
    /// A refusal that a later phase answers with.
    pub pending: Option<Refusal>,
    /// What the client was answered.
    pub status: u16,
    /// Body bytes that went out.
    pub bytes_out: u64,
    /// Whether the answer went through to its end.
    pub complete: bool,
    settled: bool,
}

impl Ctx {
    /// For a request of which nothing is known yet.
    pub fn new(live: Arc<Live>, state: Arc<State>) -> Ctx {
        Ctx {
            live,
            state,
            incoming: None,
            line: Line::Unseen,
            exchange: None,
            held: None,
            again: false,
            pending: None,
            status: 0,
            bytes_out: 0,
            complete: false,
            settled: false,
        }
    }

    /// It came by this connection.
    pub fn came_by(&mut self, incoming: Arc<Incoming>) {
        self.line = incoming.connection.request_began();
        self.incoming = Some(incoming);
    }

    /// The connection that it came by.
    pub fn connection(&self) -> Option<&Arc<Connection>> {
        self.incoming.as_ref().map(|incoming| &incoming.connection)
    }

    /// The pace that this request has to keep, and the time.
    fn pace(&self) -> Option<(&Pace, u64)> {
        let incoming = self.incoming.as_ref()?;
        Some((incoming.pace(), self.state.clock.milliseconds()))
    }

    /// A part of the upload has moved, or has to from now on. Over HTTP/1 pingora looks after
    /// that itself, and a stalled one is answered.
    pub fn upload_moves(&self) {
        if let Some((pace, now)) = self.pace()
            && self.connection().is_some_and(|connection| connection.is_http2())
        {
            pace.upload_moves(now);
        }
    }

    /// The request is complete: the answer's head is awaited.
    pub fn awaits_answer(&self) {
        let route = self.exchange.as_ref().and_then(|exchange| exchange.taken.as_ref());
        if let (Some((pace, now)), Some(taken)) = (self.pace(), route) {
            pace.awaits_answer(now, taken.route.deadline);
        }
    }

    /// The whole answer is there. A client that has read its end may come again at once: the place
    /// of this request is free before.
    pub fn answer_is_there(&mut self) {
        self.held = None;
        if let Some(exchange) = &mut self.exchange {
            exchange.give_back();
        }
    }

    /// Nothing is awaited any more.
    pub fn rests(&self) {
        if let Some((pace, _)) = self.pace() {
            pace.rests();
        }
    }

    /// Counts the exchange and writes it down, once.
    pub fn settle(&mut self) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        if let Some(exchange) = &self.exchange {
            let (status, bytes_out) = (self.status, self.bytes_out);
            let ending = Ending { status, bytes_out, complete: self.complete };
            settlement::settle(&self.state, exchange, ending, Instant::now());
            if self.complete && exchange.refusal.is_none() {
                self.count_attempt("answered");
            }
        }
    }

    /// An attempt of the stream lane has failed: counted, judged, and whether there is another.
    pub fn ended(&mut self, failure: &Failure, reused: bool, replayable: bool) -> Next {
        self.attempt_failed(failure);
        let (Some(exchange), Some(mut held)) = (&mut self.exchange, self.held.take()) else {
            return Next::Tell;
        };
        held.failed(exchange, failure, reused, replayable)
    }

    /// Counts an attempt that failed.
    pub fn attempt_failed(&self, failure: &Failure) {
        self.count_attempt(failures::label(failure));
    }

    /// Counts an attempt.
    pub fn count_attempt(&self, result: &str) {
        let asked = self.exchange.as_ref().filter(|exchange| exchange.vendor.attempts > 0);
        if let Some(vendor) = asked.and_then(Exchange::vendor_config) {
            let labels = [&*vendor.name, result];
            self.state.metrics.vendor_attempts.with_label_values(&labels).inc();
        }
    }
}

/// Runs for each request, also for one whose task was dropped half-way.
impl Drop for Ctx {
    fn drop(&mut self) {
        self.settle();
        if let Some(connection) = self.connection() {
            connection.request_ended(self.state.clock.milliseconds());
        }
    }
}
