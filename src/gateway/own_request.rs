//! Requests of the gateway's own to a vendor, probes and look-ups: they take a slot and a permit
//! like any other, and what they meet is told to the pool and the circuit.

use super::asking;
use super::context::Live;
use crate::adapters::body::Body;
use crate::adapters::entropy;
use crate::adapters::vendor_client::{Answering, Lost, Way};
use crate::attempts;
use crate::circuits::Permit;
use crate::config::{Credential, Vendor};
use crate::model::limits::Priority;
use crate::pools::Slot;
use crate::profile::outcome::Verdict as Outcome;
use crate::stages::admission::{Ended, Ticket};
use crate::stages::circuit::Verdict;
use crate::stages::correlation::CORRELATION_ID;
use crate::stages::forwarding::request;
use crate::stages::outcome::Failure;
use crate::state::State;
use crate::vendors::Desk;
use http::{HeaderValue, header};
use pingora_http::RequestHeader;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the gateway calls itself in a vendor's queue.
const OURSELVES: &str = "erpgate";

/// A request that reads.
pub(super) struct Question<'a> {
    pub(super) vendor: &'a Vendor,
    pub(super) method: &'a str,
    /// Path and query behind the base URL.
    pub(super) target: &'a str,
    pub(super) credential: &'a Credential,
    /// How long it may take.
    pub(super) patience: Duration,
}

/// What it met.
pub(super) enum Heard {
    /// An answer.
    Answer(Box<Answering>),
    /// A vendor that is ill.
    Failure,
    /// A vendor that has too much to do.
    TurnedAway,
}

/// What the requests of a route share, and its vendor.
pub(super) fn place(live: &Live, route: usize) -> Option<(Arc<Desk>, Arc<Vendor>)> {
    let desk = live.snapshot.desks.get()?.get(route)?.clone();
    Some((desk, live.snapshot.config.routes.get(route)?.vendor.clone()))
}

/// Waits for a slot like anybody else, because the vendor's limit holds for it too; `None`: there
/// was none in time.
pub(super) async fn slot(desk: &Desk, priority: Priority, patience: Duration) -> Option<Slot> {
    let ticket = Ticket { client: Arc::from(OURSELVES), share: 1, priority, writes: false };
    desk.pool.slot(&ticket, false, Instant::now() + patience).await.ok()
}

/// Asks, and tells the pool and the circuit how that went.
pub(super) async fn ask(
    state: &State,
    live: &Live,
    question: &Question<'_>,
    slot: &mut Slot,
    permit: Permit,
) -> Heard {
    let vendor = question.vendor;
    let (verdict, heard) = match send(state, live, question).await {
        Ok((answering, outcome)) => {
            let status = answering.head.status.as_u16();
            let class = outcome.as_ref().map(|outcome| outcome.class);
            match outcome.filter(|outcome| attempts::is_turned_away(outcome.class)) {
                Some(outcome) => {
                    attempts::throttle_account(slot, &outcome, vendor.profile.backoff);
                    (Verdict::Neutral, Heard::TurnedAway)
                }
                None if attempts::is_failure(class, status) => (Verdict::Failure, Heard::Failure),
                None => (Verdict::Success, Heard::Answer(Box::new(answering))),
            }
        }
        Err(lost) => {
            let late = lost.is_some_and(|lost| lost.failure == Failure::TimedOut);
            slot.ended = if late { Ended::TimedOut } else { Ended::Failed };
            (Verdict::Failure, Heard::Failure)
        }
    };
    match verdict {
        Verdict::Success => slot.ended = Ended::Success,
        // An answer that says so.
        Verdict::Failure if slot.ended == Ended::Unused => slot.ended = Ended::Failed,
        Verdict::Failure | Verdict::Neutral => {}
    }
    permit.judge(verdict);
    heard
}

/// `None` as error: there is no address, or no such request.
async fn send(
    state: &State,
    live: &Live,
    question: &Question<'_>,
) -> Result<(Answering, Option<Outcome>), Option<Lost>> {
    let Question { vendor, patience, .. } = question;
    let deadline = Instant::now() + *patience;
    let head = head(question).ok_or(None)?;
    let peer = live.peers.resolved(vendor, true, 0, *patience).await;
    let peer = peer.ok_or(None)?;
    let way = Way { peer, response: *patience, deadline: deadline.into() };
    let body = Body::empty(state.buffers.clone());
    let mut answering = state.client.send(way, head, &body).await.map_err(Some)?;
    let outcome = asking::look(state, vendor, &mut answering, deadline).await.map_err(Some)?;
    Ok((answering, outcome))
}

fn head(question: &Question<'_>) -> Option<RequestHeader> {
    let vendor = question.vendor;
    let target = request::target(&vendor.base_url.path, question.target, None);
    let mut head = RequestHeader::build(question.method, target.as_bytes(), Some(5)).ok()?;
    let id = entropy::for_request().id;
    head.insert_header(header::HOST, vendor.base_url.authority.as_str()).ok()?;
    head.insert_header(CORRELATION_ID, HeaderValue::from_bytes(&id).ok()?).ok()?;
    head.insert_header(header::ACCEPT, "*/*").ok()?;
    head.insert_header(header::ACCEPT_ENCODING, "identity").ok()?;
    if let Credential::Field { name, value, .. } = question.credential {
        let mut value = HeaderValue::from_bytes(value.expose()).ok()?;
        value.set_sensitive(true);
        head.insert_header(name.clone(), value).ok()?;
    }
    Some(head)
}
