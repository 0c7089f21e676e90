//! The life of a request, on one page.
//!
//! ```text
//! receive → decide → admit → equip → (send) → observe → settle
//! ```
//!
//! The shell (`gateway`) reads a head, calls `receive` and `decide`, and answers what is refused.
//! For each attempt it calls `admit` and `equip`, sends, and calls `observe` on the head that comes
//! back. `settle` (in `settlement.rs`) always runs, once. Nothing on this page touches a socket.
//! A write with a key is reserved once its body is there, and claimed before each attempt: see
//! `keying.rs` and `protected/`.

use crate::access;
use crate::attempts::{self, Held};
use crate::config::{Credential, Route};
use crate::exchange::{Arrival, Exchange, Repeat, Taken, VendorSide};
use crate::keying;
use crate::model::methods;
use crate::observation::{self, Seen};
use crate::refusal::Refusal;
use crate::stages::correlation::{self, Entropy};
use crate::stages::forwarding::{Edits, request};
use crate::stages::idempotency::key::FromHead;
use crate::stages::routing;
use crate::stages::validation::path::AllowInPath;
use crate::stages::validation::{self, Head, Sound, Tls};
use crate::state::{Snapshot, State};
use http::{HeaderMap, HeaderValue, Method, header};
use std::sync::Arc;
use std::time::Instant;

/// What to do with a request that nothing refuses.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Ask the vendor.
    Forward,
    /// `OPTIONS` with `Max-Forwards: 0` asks for the gateway itself (RFC 9110 §7.6.2).
    AnswerOptions {
        /// The value of `Allow`.
        allow: String,
    },
}

/// A head has arrived: who is it, as far as ids go.
pub fn receive(
    snapshot: Arc<Snapshot>,
    arrival: Arc<Arrival>,
    headers: &HeaderMap,
    entropy: Entropy,
    now: Instant,
) -> Exchange {
    Exchange {
        snapshot,
        arrival,
        correlation: correlation::correlate(headers, entropy),
        began: now,
        taken: None,
        access: None,
        bounds: None,
        vendor: VendorSide::default(),
        repeat: Repeat::default(),
        key: FromHead::None,
        keyed: false,
        mapped: None,
        idempotency: None,
        refusal: None,
        reason: None,
        bytes_in: 0,
    }
}

/// Does it mean one thing, where does it go, who sends it, may it go there, and may it now.
///
/// # Errors
/// The first refusal, in the order of INTERFACE §5's stages.
pub async fn decide(
    state: &State,
    exchange: &mut Exchange,
    head: &Head<'_>,
    tls: Option<Tls<'_>>,
) -> Result<Decision, Refusal> {
    let (sound, route) = find_route(exchange, head, tls)?;
    let client = access::authenticate(state, exchange, head.headers).await?;
    access::authorize(exchange, client)?;
    validation::check_length(sound, head.headers, route.body_bytes_max)?;
    exchange.count(&state.clock)?;
    request::check_loop(head.headers, &exchange.snapshot.config.server.name)?;
    keying::look(exchange, head.headers)?;
    let hops = head.headers.get(header::MAX_FORWARDS).and_then(request::hops_left);
    if head.method == "OPTIONS" && hops == Some(0) {
        return Ok(Decision::AnswerOptions { allow: route.methods.allow() });
    }
    Ok(Decision::Forward)
}

/// Does it mean one thing, and where does it go.
///
/// # Errors
/// The first refusal.
pub fn find_route(
    exchange: &mut Exchange,
    head: &Head<'_>,
    tls: Option<Tls<'_>>,
) -> Result<(Sound, Arc<Route>), Refusal> {
    let sound = validation::check_head(head, exchange.arrival.listener.head_limits(), tls)?;
    let route = match take_route(exchange, head) {
        Ok(route) => route,
        Err(refusal) => {
            validation::check_path(sound, head.path, AllowInPath::default())?;
            return Err(refusal);
        }
    };
    validation::check_path(sound, head.path, route.allow_in_path)?;
    if let Some(taken) = &exchange.taken {
        let table = &exchange.snapshot.table;
        routing::check_spelling(table, taken.matched, head.authority, head.path)?;
    }
    routing::check_method(route.methods, head.method)?;
    Ok((sound, route))
}

/// An attempt is about to be made: it waits for its turn, its slot and its permit, and what was
/// allowed under policies that have changed since is looked at again.
///
/// # Errors
/// What the policies in force refuse; that the vendor can't be asked, or not in time.
pub async fn admit(state: &State, exchange: &mut Exchange) -> Result<Held, Refusal> {
    attempts::admit(state, exchange).await
}

/// What an attempt is made of, beside the client's head and body.
pub struct Equipped {
    /// The target.
    pub target: String,
    /// The method, where it is another one than the client's.
    pub method: Option<Method>,
    /// What changes in the head.
    pub edits: Edits,
}

/// The target of the attempt, and what to change in the head; only for who was admitted.
pub fn equip(
    exchange: &Exchange,
    _admitted: &Held,
    headers: &HeaderMap,
    parent_id: u64,
) -> Option<Equipped> {
    let taken = exchange.taken.as_ref()?;
    let vendor = &taken.route.vendor;
    let arrival = &exchange.arrival;
    let mapped = exchange.mapped.as_deref();
    let path = mapped.and_then(|mapped| mapped.path.as_deref());
    let rest = path.unwrap_or_else(|| taken.matched.rest(&arrival.path));
    let query = mapped.and_then(|mapped| mapped.query.as_ref());
    let query = query.map_or(arrival.query.as_deref(), Option::as_deref);
    let target = request::target(&vendor.base_url.path, rest, query);
    // Nothing is sent for a client that no rule allows.
    let chosen = exchange.credential()?;
    let credential = match chosen {
        Credential::Field { name, value, .. } => Some((name.as_str(), value.expose())),
        Credential::None | Credential::Passthrough => None,
    };
    let policy = request::Policy {
        host: exchange.snapshot.hosts.get(taken.matched.route())?,
        forwarded: vendor.forwarded,
        passthrough: matches!(chosen, Credential::Passthrough),
        reserved: &vendor.reserved,
        credential,
        via: &exchange.snapshot.via,
    };
    let asker = request::Asker {
        address: arrival.address,
        https: arrival.https,
        authority: arrival.authority.as_deref(),
    };
    let correlation = &exchange.correlation;
    let mut edits = request::edits(headers, arrival.version, asker, policy, correlation, parent_id);
    if let Some(mapped) = mapped {
        edits.remove.extend(mapped.remove.iter().cloned());
        edits.set.extend(mapped.set.iter().cloned());
    }
    Some(Equipped { target, method: mapped.and_then(|mapped| mapped.method.clone()), edits })
}

/// The vendor has answered: what goes to the client; `None`: it is asked again.
///
/// # Errors
/// The refusal that the client gets in the answer's place.
pub fn observe(
    exchange: &mut Exchange,
    seen: Seen<'_>,
    held: &mut Held,
    date: &HeaderValue,
) -> Result<Option<Edits>, Refusal> {
    observation::observe(exchange, seen, held, date)
}

fn take_route(exchange: &mut Exchange, head: &Head<'_>) -> Result<Arc<Route>, Refusal> {
    let snapshot = &exchange.snapshot;
    let matched = snapshot.table.route(head.authority, head.path)?;
    let route = snapshot.config.routes.get(matched.route()).ok_or(Refusal::RouteNotFound)?.clone();
    let rest = matched.rest(head.path);
    let reads = methods::is_safe(head.method)
        || route.reads.iter().any(|read| read.method == head.method && read.path.matches(rest));
    exchange.taken = Some(Taken { route: route.clone(), matched, reads });
    Ok(route)
}
