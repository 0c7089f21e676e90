//! The vendors as an operator sees them: circuit, pool, queue, pauses, budgets; never a credential.

use super::access::problem;
use crate::adapters::clock;
use crate::circuits::SharedCircuit;
use crate::config::{BaseUrl, Vendor};
use crate::holds::kept::Pause;
use crate::model::limits::Priority;
use crate::model::rates::retry_after_seconds;
use crate::pools::SharedPool;
use crate::stages::admission::Pool;
use crate::stages::admission::parts::Part;
use crate::stages::circuit::State as CircuitState;
use crate::stages::record::loggable_target;
use crate::state::{Snapshot, State};
use crate::vendors::Desk;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Paused parts that are shown; there may be thousands.
const PARTS_SHOWN: usize = 100;

/// The name in a path; what can't be a name is none.
pub type Name = Result<Path<String>, PathRejection>;

/// `GET /api/v1/vendors`.
pub async fn list(Shared(state): Shared<Arc<State>>) -> Response {
    let snapshot = state.snapshot.load_full();
    let shown = |vendor: &Arc<Vendor>| Some(Sight::of(&state, &snapshot, &vendor.name)?.short());
    let vendors: Vec<Value> = snapshot.config.vendors.iter().filter_map(shown).collect();
    Json(json!({ "generation": snapshot.generation, "vendors": vendors })).into_response()
}

/// `GET /api/v1/vendors/{name}`.
pub async fn one(Shared(state): Shared<Arc<State>>, name: Name) -> Response {
    let snapshot = state.snapshot.load_full();
    let sight = name.ok().and_then(|Path(name)| Sight::of(&state, &snapshot, &name));
    sight.map_or_else(unknown, |sight| Json(sight.whole()).into_response())
}

/// What is told of a vendor that no configuration names.
pub fn unknown() -> Response {
    let detail = "No vendor has this name: `GET /api/v1/vendors` lists them.";
    problem(StatusCode::NOT_FOUND, "not-found", detail)
}

/// A vendor with what its requests share.
pub struct Sight<'a> {
    /// Its pool.
    pub pool: Arc<SharedPool>,
    /// The operator's pause of that pool.
    pub hold: Option<Pause>,
    state: &'a State,
    snapshot: &'a Snapshot,
    vendor: &'a Vendor,
    /// Those of its routes, with the routes' names.
    desks: Vec<(&'a str, &'a Desk)>,
}

impl<'a> Sight<'a> {
    /// Of the vendor of that name, if there is one.
    pub fn of(state: &'a State, snapshot: &'a Snapshot, name: &str) -> Option<Sight<'a>> {
        let vendor = snapshot.config.vendors.iter().find(|vendor| *vendor.name == *name)?;
        let desks = snapshot.config.routes.iter().zip(snapshot.desks.get()?);
        let own = desks.filter(|(route, _)| route.vendor.name == vendor.name);
        let desks: Vec<_> = own.map(|(route, desk)| (&*route.name, &**desk)).collect();
        // A reload may have taken it away a moment ago; its routes still have it.
        let pool = match desks.first() {
            Some((_, desk)) => desk.pool.clone(),
            None => state.vendors.pool(&vendor.handling.pool)?,
        };
        let hold = state.holds.of(&pool.name);
        Some(Sight { pool, hold, state, snapshot, vendor, desks })
    }

    /// All vendors of the pool, by name.
    pub fn sharers(&self) -> Vec<&'a str> {
        let vendors = self.snapshot.config.vendors.iter();
        let sharers = vendors.filter(|vendor| vendor.handling.pool == self.pool.name);
        sharers.map(|vendor| &*vendor.name).collect()
    }

    /// Until when and why the vendor itself wants a pause.
    pub fn paused(&self) -> Option<(String, &'static str)> {
        let paused = self.pool.with(|pool| pool.paused_until(Instant::now()));
        paused.map(|(until, why)| (clock::wall(until), why.word()))
    }

    fn short(&self) -> Value {
        let vendor = self.vendor;
        json!({
            "name": &*vendor.name,
            "profile": vendor.profile.name,
            "base_url": url(&vendor.base_url),
            "circuit": self.circuit(),
            "pool": self.pool_facts(),
        })
    }

    /// Everything.
    pub fn whole(&self) -> Value {
        let mut shown = self.short();
        let now = Instant::now();
        let (queue, estimate, ramp) =
            self.pool.with(|pool| (queue(pool), estimate(pool, now), pool.ramp()));
        let parts = self.desks.first().map(|(_, desk)| desk.pauses.all(now)).unwrap_or_default();
        let total = parts.len();
        let parts: Vec<Value> = parts.into_iter().take(PARTS_SHOWN).map(part).collect();
        let budgets = self.state.vendors.budgets(&self.pool.name);
        let budgets = budgets.into_iter().map(|(name, left)| (name, left.into())).collect();
        let more = [
            ("queue", queue),
            ("estimate_seconds", estimate),
            ("ramp", ramp.into()),
            ("parts_paused", parts.into()),
            ("parts_paused_total", total.into()),
            ("budgets", Value::Object(budgets)),
        ];
        if let Some(shown) = shown.as_object_mut() {
            shown.extend(more.map(|(name, value)| (name.to_owned(), value)));
        }
        shown
    }

    /// The worst of its circuits, and each one where its routes have their own.
    fn circuit(&self) -> Value {
        let circuits = self.desks.iter().map(|(route, desk)| (*route, circuit(&desk.circuit)));
        let circuits: Vec<(&str, (u8, Value))> = circuits.collect();
        let worst = circuits.iter().map(|(_, it)| it).max_by_key(|(rank, _)| *rank);
        let mut shown = worst.map_or_else(|| json!({ "state": "closed" }), |it| it.1.clone());
        if self.vendor.handling.circuit.per_route
            && let Some(shown) = shown.as_object_mut()
        {
            let routes = circuits.into_iter().map(|(route, it)| (route.to_owned(), it.1));
            shown.insert("routes".to_owned(), Value::Object(routes.collect()));
        }
        shown
    }

    fn pool_facts(&self) -> Value {
        let (limit, in_use, waiting) =
            self.pool.with(|pool| (pool.limit(), pool.in_use(), pool.waiting()));
        let paused = self.paused().map(|(until, why)| json!({ "until": until, "why": why }));
        json!({
            "name": &*self.pool.name,
            "vendors": self.sharers(),
            "limit": limit,
            "in_use": in_use,
            "waiting": waiting,
            "paused": paused,
            "hold": self.hold.as_ref().map(hold),
        })
    }
}

/// An operator's pause.
pub fn hold(pause: &Pause) -> Value {
    json!({
        "scope": pause.scope.word(),
        "since": pause.since.to_string(),
        "until": pause.until.map(|until| until.to_string()),
        "why": pause.why,
    })
}

fn url(base: &BaseUrl) -> String {
    let scheme = if base.https { "https" } else { "http" };
    format!("{scheme}://{}{}", base.authority, base.path)
}

/// How bad it is, and what is shown.
fn circuit(circuit: &SharedCircuit) -> (u8, Value) {
    let state = circuit.state();
    let until = circuit.open_until().filter(|_| state == CircuitState::Open);
    let rank = match state {
        CircuitState::Closed => 0,
        CircuitState::HalfOpen => 1,
        CircuitState::Open => 2,
    };
    let shown = match until {
        None => json!({ "state": state.word() }),
        Some(until) => json!({
            "state": state.word(),
            "open_until": clock::wall(until),
            "retry_after": retry_after_seconds(until.saturating_duration_since(Instant::now())),
        }),
    };
    (rank, shown)
}

/// How many requests of each client wait, the most first.
fn queue(pool: &Pool) -> Value {
    let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
    for (client, count) in pool.waiting_by_client() {
        *waiting.entry(client).or_default() += count;
    }
    let mut waiting: Vec<_> = waiting.into_iter().collect();
    waiting.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let waiting = waiting.into_iter().map(|(client, count)| (client.to_owned(), count.into()));
    Value::Object(waiting.collect())
}

fn estimate(pool: &Pool, now: Instant) -> Value {
    let seconds = |priority: Priority| {
        let wait = retry_after_seconds(pool.estimate(priority, now));
        (priority.word().to_owned(), wait.into())
    };
    let priorities = [Priority::High, Priority::Normal, Priority::Low];
    Value::Object(priorities.map(seconds).into_iter().collect::<Map<_, _>>())
}

fn part((part, left): (Part, std::time::Duration)) -> Value {
    let (kind, name) = match &part {
        Part::Credential(name) => ("credential", name.as_deref().unwrap_or("default").to_owned()),
        // Keys of clients stand in no answer, as in no log.
        Part::Endpoint(path) => ("endpoint", loggable_target(path, None, &[])),
        Part::Resource(path) => ("resource", loggable_target(path, None, &[])),
    };
    json!({ "part": kind, "name": name, "seconds": retry_after_seconds(left) })
}
