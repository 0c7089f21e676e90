//! The clients as an operator sees them: what holds for each, never a credential.

use crate::limits;
use crate::stages::authentication::directory::Identity;
use crate::stages::authorization::rules::ClientPolicy;
use crate::stages::rate_limit::Left;
use crate::state::State;
use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /api/v1/clients`.
pub async fn list(Shared(state): Shared<Arc<State>>) -> Response {
    let snapshot = state.snapshot.load();
    let policies = &snapshot.config.policies;
    let each = policies.rules.clients.iter().zip(&policies.identities);
    let now = limits::moment(&state.clock);
    let each = each.enumerate().map(|(number, (client, identities))| {
        shown(client, identities, &snapshot.limits.left(number, now))
    });
    let clients: Vec<Value> = each.collect();
    Json(json!({ "generation": snapshot.generation, "clients": clients })).into_response()
}

fn shown(client: &ClientPolicy, identities: &[Identity], left: &[(String, Left)]) -> Value {
    // By the names that the client is told of its limits.
    let left = left.iter().map(|(name, left)| (name.clone(), left.requests.into()));
    let identity = |identity: &Identity| match identity {
        Identity::Token { issuer, client_id, bound_only, .. } => {
            json!({ "issuer": &**issuer, "client_id": client_id, "bound_only": bound_only })
        }
        Identity::Key { digest, expires, .. } => {
            json!({ "api_key": digest.short(), "expires": expires })
        }
        Identity::Certificate { certificate, .. } => {
            json!({ "certificate": certificate.to_string() })
        }
    };
    json!({
        "name": &*client.name,
        "description": client.description,
        "owner": client.owner,
        "suspended": client.suspended.as_deref(),
        "priority": client.priority.word(),
        "share": client.share,
        "limits": client.limits.words(),
        "remaining": Value::Object(left.collect()),
        "identities": identities.iter().map(identity).collect::<Vec<_>>(),
        "allows": client.rules.allows.len(),
        "denies": client.rules.denies.len(),
    })
}
