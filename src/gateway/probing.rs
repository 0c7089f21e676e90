//! Tries vendors that are left alone: the read that a circuit's `probe` names, sent by the gateway
//! itself, so that no client's request has to find out.

use super::asking;
use super::context::Live;
use crate::adapters::body::Body;
use crate::adapters::entropy;
use crate::adapters::vendor_client::{Lost, Way};
use crate::attempts;
use crate::circuits::Permit;
use crate::config::{Credential, Vendor};
use crate::model::limits::Priority;
use crate::profile::outcome::Verdict as Outcome;
use crate::stages::admission::{Ended, Ticket};
use crate::stages::circuit::Verdict;
use crate::stages::correlation::CORRELATION_ID;
use crate::stages::forwarding::request;
use crate::stages::outcome::Failure;
use crate::state::State;
use crate::vendors::Desk;
use arc_swap::ArcSwap;
use http::{HeaderValue, header};
use pingora_http::RequestHeader;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it is looked whether a probe is due.
const LOOK: Duration = Duration::from_millis(100);
/// How long a probe may take: a vendor that needs longer is not well.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the gateway calls itself in a vendor's queue.
const OURSELVES: &str = "erpgate";

/// Probes whatever is due, until the task is dropped.
pub async fn probe(state: Arc<State>, live: Arc<ArcSwap<Live>>) {
    let mut probes = tokio::task::JoinSet::new();
    loop {
        tokio::time::sleep(LOOK).await;
        while probes.try_join_next().is_some() {}
        let live = live.load_full();
        let mut looked_at = HashSet::new();
        for route in 0..live.snapshot.config.routes.len() {
            let Some((desk, vendor)) = place(&live, route) else { continue };
            let due = vendor.handling.circuit.probe.is_some()
                && looked_at.insert(desk.circuit.name.clone());
            if let Some(permit) = due.then(|| desk.circuit.probe()).flatten() {
                let one = one(state.clone(), live.clone(), desk, vendor, permit);
                probes.spawn(one);
            }
        }
    }
}

fn place(live: &Live, route: usize) -> Option<(Arc<Desk>, Arc<Vendor>)> {
    let desk = live.snapshot.desks.get()?.get(route)?.clone();
    Some((desk, live.snapshot.config.routes.get(route)?.vendor.clone()))
}

/// One probe. It takes a slot like any request: the vendor's limit holds for it too.
async fn one(
    state: Arc<State>,
    live: Arc<Live>,
    desk: Arc<Desk>,
    vendor: Arc<Vendor>,
    permit: Permit,
) {
    let deadline = Instant::now() + PATIENCE;
    let ticket =
        Ticket { client: Arc::from(OURSELVES), share: 1, priority: Priority::High, writes: false };
    // A pool that is full or paused says nothing about the vendor: the permit is handed back.
    let Ok(mut slot) = desk.pool.slot(&ticket, false, deadline).await else { return };
    let Some(head) = head(&vendor) else { return };
    let Some(mut peer) = live.peers.resolved(&vendor, true, 0, PATIENCE).await else {
        permit.judge(Verdict::Failure);
        return;
    };
    let connect = vendor.timeouts.connect.min(PATIENCE);
    peer.options.connection_timeout = Some(connect);
    peer.options.total_connection_timeout = Some(connect);
    let way = Way { peer, response: PATIENCE, deadline: deadline.into() };
    let body = Body::empty(state.buffers.clone());
    let verdict = match ask(&state, &vendor, way, head, &body, deadline).await {
        Ok((status, outcome)) => {
            let class = outcome.as_ref().map(|outcome| outcome.class);
            match outcome.filter(|outcome| attempts::is_turned_away(outcome.class)) {
                Some(outcome) => {
                    attempts::throttle_account(&mut slot, &outcome, vendor.profile.backoff);
                    Verdict::Neutral
                }
                None if attempts::is_failure(class, status) => Verdict::Failure,
                None => Verdict::Success,
            }
        }
        Err(lost) => {
            let late = lost.failure == Failure::TimedOut;
            slot.ended = if late { Ended::TimedOut } else { Ended::Failed };
            Verdict::Failure
        }
    };
    if verdict == Verdict::Success {
        slot.ended = Ended::Success;
    }
    permit.judge(verdict);
    let result = if verdict == Verdict::Success { "probe-answered" } else { "probe-failed" };
    state.metrics.vendor_attempts.with_label_values(&[&*vendor.name, result]).inc();
}

/// The status of the answer, and what it means.
async fn ask(
    state: &State,
    vendor: &Vendor,
    way: Way,
    head: RequestHeader,
    body: &Body,
    deadline: Instant,
) -> Result<(u16, Option<Outcome>), Lost> {
    let mut answering = state.client.send(way, head, body).await?;
    let outcome = asking::look(state, vendor, &mut answering, deadline).await?;
    Ok((answering.head.status.as_u16(), outcome))
}

fn head(vendor: &Vendor) -> Option<RequestHeader> {
    let path = vendor.handling.circuit.probe.as_deref()?;
    let target = request::target(&vendor.base_url.path, path, None);
    let mut head = RequestHeader::build("GET", target.as_bytes(), Some(4)).ok()?;
    let id = entropy::for_request().id;
    head.insert_header(header::HOST, vendor.base_url.authority.as_str()).ok()?;
    head.insert_header(CORRELATION_ID, HeaderValue::from_bytes(&id).ok()?).ok()?;
    head.insert_header(header::ACCEPT, "*/*").ok()?;
    if let Credential::Field { name, value, .. } = &vendor.credential {
        let mut value = HeaderValue::from_bytes(value.expose()).ok()?;
        value.set_sensitive(true);
        head.insert_header(name.clone(), value).ok()?;
    }
    Some(head)
}
