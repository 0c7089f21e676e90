//! Tries vendors that are left alone: the read that a circuit's `probe` names, sent by the gateway
//! itself, so that no client's request has to find out.

use super::context::Live;
use super::own_request::{self, Heard, Question, place};
use crate::circuits::Permit;
use crate::config::Vendor;
use crate::model::limits::Priority;
use crate::state::State;
use crate::vendors::Desk;
use arc_swap::ArcSwap;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

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

/// One probe.
async fn one(
    state: Arc<State>,
    live: Arc<Live>,
    desk: Arc<Desk>,
    vendor: Arc<Vendor>,
    permit: Permit,
) {
    let Some(target) = vendor.handling.circuit.probe.as_deref() else { return };
    // A pool that is full or paused says nothing about the vendor: the permit is handed back.
    let Some(mut slot) = own_request::slot(&desk, Priority::High, PATIENCE).await else { return };
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
