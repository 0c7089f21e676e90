//! The end of every exchange: counted, and written down, once.

use crate::adapters::clock;
use crate::exchange::Exchange;
use crate::model::methods;
use crate::refusal::Refusal;
use crate::stages::authentication::Proof;
use crate::stages::record::{self, Decision, Record};
use crate::state::State;
use http::{StatusCode, Version};
use std::time::{Duration, Instant};

/// The label and log value for what is not known.
const UNKNOWN: &str = "unknown";

/// How an exchange ended, as the shell saw it.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// What the client was answered; 0: it left before.
    pub status: u16,
    /// Body bytes that went out.
    pub bytes_out: u64,
    /// Whether the vendor's answer, if one was asked, went through to its end.
    pub complete: bool,
}

/// The exchange is over: count it and write it down.
pub fn settle(state: &State, exchange: &Exchange, ending: Ending, now: Instant) {
    let total = now.saturating_duration_since(exchange.began);
    let route = exchange.taken.as_ref().map_or(UNKNOWN, |taken| &*taken.route.name);
    let method = methods::label(&exchange.arrival.method);
    let metrics = &state.metrics;
    let status = StatusCode::from_u16(ending.status).ok();
    let client = exchange.client().map_or(UNKNOWN, |client| client.name());
    let labels = [route, client, method, record::status_label(status.as_ref())];
    metrics.requests.with_label_values(&labels).inc();
    metrics.request_duration.with_label_values(&[route]).observe(total.as_secs_f64());
    if let Some(refusal) = &exchange.refusal {
        metrics.refusals.with_label_values(&[refusal.slug(), route, client]).inc();
    }
    let asked = exchange.vendor_config().filter(|_| exchange.vendor.attempts > 0);
    if let Some(vendor) = asked {
        let outcome = match &exchange.refusal {
            Some(refusal) => refusal.slug(),
            None if ending.complete => "answered",
            None if ending.status == 0 => "client-left",
            None => "incomplete",
        };
        metrics.vendor_requests.with_label_values(&[&*vendor.name, outcome]).inc();
        if let Some(took) = exchange.vendor.took {
            let seconds = took.as_secs_f64();
            metrics.vendor_request_duration.with_label_values(&[&*vendor.name]).observe(seconds);
        }
    }
    let arrival = &exchange.arrival;
    let grant = exchange.access.as_ref().and_then(|access| access.grant.as_ref());
    let rule = grant.map(|grant| grant.rule().place.to_string());
    let config = &exchange.snapshot.config;
    let line = Record {
        time: &clock::timestamp(),
        event: "request",
        correlation_id: exchange.correlation.id(),
        client_correlation_id: exchange.correlation.refused(),
        trace_id: &exchange.correlation.trace().id(),
        client,
        address: &arrival.address.to_string(),
        listener: &arrival.listener.name,
        protocol: protocol(arrival.version),
        route,
        rule: rule.as_deref(),
        vendor: asked.map(|vendor| &*vendor.name),
        method: &arrival.method,
        path: &record::loggable_target(
            &arrival.path,
            arrival.query.as_deref(),
            &config.log.redact_query,
        ),
        status: ending.status,
        idempotency: exchange.idempotency,
        refusal: exchange.refusal.as_ref().map(Refusal::slug),
        stage: exchange.refusal.as_ref().map(Refusal::stage),
        reason: exchange.reason.as_deref(),
        attempts: exchange.vendor.attempts,
        queue_ms: milliseconds(exchange.vendor.queued),
        vendor_ms: exchange.vendor.took.map(milliseconds),
        total_ms: milliseconds(total),
        bytes_in: exchange.bytes_in,
        bytes_out: ending.bytes_out,
        vendor_request_id: exchange.vendor.request_id.as_deref(),
        vendor_correlation_id: exchange.vendor.correlation_id.as_deref(),
    };
    state.log.line(&record::line(&line));
}

/// Who was let in or kept out, by which rule and why: one line for each decision.
pub fn audit(state: &State, exchange: &Exchange) {
    let Some(access) = &exchange.access else { return };
    let arrival = &exchange.arrival;
    let barred = access.barred.as_ref();
    let rule_reason = barred.and_then(|barred| barred.words.as_deref());
    let rule = match &access.grant {
        Some(grant) => Some(grant.rule().place.to_string()),
        None => barred.and_then(|barred| Some(barred.rule.as_ref()?.to_string())),
    };
    let proved = access.client.as_ref().and_then(|client| client.proofs().first());
    let identity = proved.map(Proof::describe).or_else(|| match &arrival.certificate {
        Some(shown) => {
            access.identity.clone().or(Some(format!("certificate {}", shown.digest.short())))
        }
        None => access.identity.clone(),
    });
    let line = Decision {
        time: &clock::timestamp(),
        event: "audit",
        action: "access",
        result: if access.grant.is_some() { "allowed" } else { "refused" },
        correlation_id: exchange.correlation.id(),
        client: access.client.as_ref().map_or(UNKNOWN, |client| client.name()),
        scheme: access.scheme.label(),
        identity: identity.as_deref(),
        address: &arrival.address.to_string(),
        listener: &arrival.listener.name,
        route: exchange.taken.as_ref().map_or(UNKNOWN, |taken| &*taken.route.name),
        method: &arrival.method,
        path: &record::loggable_target(
            &arrival.path,
            arrival.query.as_deref(),
            &exchange.snapshot.config.log.redact_query,
        ),
        rule: rule.as_deref(),
        refusal: barred.map(|barred| barred.denial.refusal.slug()),
        reason: barred.map(|barred| barred.denial.reason),
        rule_reason,
    };
    state.log.line(&record::line(&line));
}

fn milliseconds(duration: Duration) -> f64 {
    // Whole microseconds: more digits would only be noise.
    f64::from(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}
