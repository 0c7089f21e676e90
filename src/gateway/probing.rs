//! Tries vendors that are left alone: the read that a circuit's `probe` names, sent by the gateway
//! itself, so that no client's request has to find out.

use super::context::Live;
use super::own_request::{self, Heard, OURSELVES, Question};
use crate::circuits::Permit;
use crate::config::Vendor;
use crate::model::limits::Priority;
use crate::stages::admission::Ticket;
use crate::state::State;
use crate::vendors::Desk;
use arc_swap::ArcSwap;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it is looked whether a probe is due.
const LOOK: Duration = Duration::from_millis(100);
/// How long a probe may take: a vendor that needs longer is not well.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// What the requests of a route share, and its vendor.
pub(super) fn place(live: &Live, route: usize) -> Option<(Arc<Desk>, Arc<Vendor>)> {
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
    let Some(target) = vendor.handling.circuit.probe.as_deref() else { return };
    let deadline = Instant::now() + PATIENCE;
    let ticket =
        Ticket { client: Arc::from(OURSELVES), share: 1, priority: Priority::High, writes: false };
    // A pool that is full or paused says nothing about the vendor: the permit is handed back.
    let Ok(mut slot) = desk.pool.slot(&ticket, false, deadline).await else { return };
    let question = Question {
        vendor: &vendor,
        method: "GET",
        target,
        credential: &vendor.credential,
        patience: PATIENCE,
    };
    let heard = own_request::ask(&state, &live, &question, &mut slot, permit).await;
    let result = if matches!(heard, Heard::Answer(_)) { "probe-answered" } else { "probe-failed" };
    state.metrics.vendor_attempts.with_label_values(&[&*vendor.name, result]).inc();
}
