//! The operators' listener: is it alive, is it ready, what does it do, read the configuration.

pub mod access;
pub mod clients;
pub mod ledger;
pub mod pauses;
pub mod reading;
pub mod serve;
pub mod vendors;

use crate::state::{Phase, ReloadOutcome, State};
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde_json::json;
use std::sync::Arc;

/// Media type of the Prometheus text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every path of the listener.
pub fn router(state: Arc<State>) -> Router {
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/api/v1/openapi.json", get(openapi))
        .route("/api/v1/clients", get(clients::list))
        .route("/api/v1/config", get(config))
        .route("/api/v1/ledger", get(ledger::list))
        .route("/api/v1/ledger/backup", get(ledger::taking::back_up))
        .route("/api/v1/ledger/export", get(ledger::taking::export))
        .route("/api/v1/ledger/{id}", get(ledger::one))
        .route("/api/v1/ledger/{id}/resolve", post(ledger::resolving::resolve))
        .route("/api/v1/vendors", get(vendors::list))
        .route("/api/v1/vendors/{name}", get(vendors::one))
        .route("/api/v1/vendors/{name}/pause", post(pauses::pause))
        .route("/api/v1/vendors/{name}/resume", post(pauses::resume))
        .route("/api/v1/reload", post(reload))
        .layer(middleware::from_fn_with_state(state.clone(), access::check));
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .merge(guarded)
        .fallback(not_found)
        .with_state(state)
}

async fn ready(Shared(state): Shared<Arc<State>>) -> Response {
    let (status, word) = match state.phase.get() {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Phase::Serving => (StatusCode::OK, "ready"),
        Phase::Leaving | Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    let mut reasons: Vec<String> = state.troubles.load().to_vec();
    reasons.extend(state.holds.trouble());
    reasons.extend(state.protected.book.troubles());
    reasons.extend(state.snapshot.load().issuers.troubles());
    let body = json!({ "status": word, "reasons": reasons });
    (status, Json(body)).into_response()
}

async fn metrics(Shared(state): Shared<Arc<State>>) -> Response {
    state.metrics.log_lines_dropped.set(state.log.dropped() as f64);
    state.vendors.pools().iter().for_each(|pool| pool.refresh());
    state.protected.count().await;
    ([(header::CONTENT_TYPE, METRICS_TYPE)], state.metrics.text()).into_response()
}

async fn openapi() -> Response {
    let document = include_str!("openapi.json");
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}

async fn config(Shared(state): Shared<Arc<State>>) -> Response {
    let snapshot = state.snapshot.load();
    let body = json!({ "generation": snapshot.generation, "config": snapshot.config.shown });
    Json(body).into_response()
}

async fn reload(Shared(state): Shared<Arc<State>>) -> Response {
    match state.reload("admin").await {
        ReloadOutcome::Accepted { generation, warnings } => {
            let body = json!({
                "result": "accepted", "generation": generation, "warnings": warnings,
            });
            Json(body).into_response()
        }
        ReloadOutcome::Refused { problems } => {
            let body = json!({ "result": "refused", "problems": problems });
            (StatusCode::CONFLICT, Json(body)).into_response()
        }
    }
}

async fn not_found() -> Response {
    access::problem(StatusCode::NOT_FOUND, "not-found", "The admin listener has no such path.")
}
