//! Which key a write carries, and what stands for it: in the ledger its claim, at the vendor what
//! is sent in its place.
//!
//! The head is looked at with the request's decision, so that a write that can't have a key is
//! refused before its body comes; the rest once the body is there.

use crate::adapters::body::{Body, Memory, Position, Room};
use crate::adapters::coding;
use crate::adapters::ledger::entry::NewClaim;
use crate::config::Route;
use crate::exchange::Exchange;
use crate::protected::Write;
use crate::refusal::Refusal;
use crate::stages::authorization::rules::Idempotency;
use crate::stages::authorization::target;
use crate::stages::idempotency::fingerprint::{self, Fingerprint};
use crate::stages::idempotency::key::{self, FromHead, Key};
use crate::stages::idempotency::mapping::{self, Mapped};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use std::borrow::Cow;

/// Looks at the head of a write, and takes out of it what could carry a key.
///
/// # Errors
/// `idempotency-key-missing`, `idempotency-key-invalid`.
pub fn look(exchange: &mut Exchange, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(taken) = exchange.taken.as_ref().filter(|taken| !taken.reads) else { return Ok(()) };
    let route = taken.route.clone();
    let wanted = idempotency(exchange, &route);
    if wanted > Idempotency::Off || route.vendor.vendor_key.is_some() {
        let required = wanted == Idempotency::Required;
        let path = canonical(exchange);
        let write = of(exchange, &path, headers, b"");
        let key = key::from_head(&route.protection.sources, required, &write)?;
        exchange.key = key;
    }
    let key = match &exchange.key {
        FromHead::Key(key) => Some(key),
        FromHead::None | FromHead::InBody => None,
    };
    exchange.mapped = boxed(map(exchange, &route, headers, key));
    Ok(())
}

/// The stricter of what the route and the rule say.
fn idempotency(exchange: &Exchange, route: &Route) -> Idempotency {
    let grant = exchange.access.as_ref().and_then(|access| access.grant.as_ref());
    let of_rule = grant.and_then(|grant| grant.rule().idempotency);
    of_rule.map_or(route.protection.idempotency, |rule| rule.max(route.protection.idempotency))
}

/// The body is there: which key the write has, and what is to be written down of it; `None`: it is
/// not protected. A body that is to hold the vendor's key is another one afterward.
///
/// # Errors
/// `idempotency-key-missing`, `idempotency-key-invalid`; `gateway-overloaded`: there is no room
/// for the other body.
pub async fn read(
    exchange: &mut Exchange,
    headers: &HeaderMap,
    body: &mut Body,
    room: Room,
) -> Result<Option<Write>, Refusal> {
    let Some(taken) = exchange.taken.as_ref().filter(|taken| !taken.reads) else {
        return Ok(None);
    };
    let route = taken.route.clone();
    let wanted = idempotency(exchange, &route);
    let found = match std::mem::replace(&mut exchange.key, FromHead::None) {
        FromHead::None => None,
        FromHead::Key(key) => Some(key),
        FromHead::InBody => {
            let (octets, _room) = whole(body, room).await?;
            let most = usize::try_from(route.body_bytes_max.unwrap_or(0)).unwrap_or(usize::MAX);
            let (plain, complete) = coding::decoded(headers, octets, true, most);
            let plain = if complete { plain } else { Bytes::new() };
            let path = canonical(exchange);
            let write = of(exchange, &path, headers, &plain);
            let required = wanted == Idempotency::Required;
            key::read(&route.protection.sources, required, &write)?
        }
    };
    let Some(found) = found else { return Ok(None) };
    // Of what the client sent: before anything of it changes.
    let fingerprint = take(exchange, &route, headers, body).await?;
    let mut mapped = map(exchange, &route, headers, Some(&found));
    fill(&mut mapped, headers, body, room).await?;
    let value = mapped.value.clone();
    exchange.mapped = boxed(mapped);
    if wanted == Idempotency::Off {
        return Ok(None);
    }
    exchange.keyed = true;
    let claim = claim(exchange, &route, found, fingerprint, value)?;
    let identity = claim.identity();
    let protection = exchange.mapped.as_ref().and_then(|mapped| mapped.protection);
    let ambiguous = route.protection.ambiguous;
    Ok(Some(Write { identity, claim, ambiguous, protection }))
}

fn claim(
    exchange: &Exchange,
    route: &Route,
    key: Key,
    fingerprint: Fingerprint,
    vendor_key: Option<Box<str>>,
) -> Result<NewClaim, Refusal> {
    let (client, arrival) = (exchange.client().ok_or(Refusal::GatewayFault)?, &exchange.arrival);
    Ok(NewClaim {
        client: (**client.name()).into(),
        vendor: (*route.vendor.name).into(),
        key,
        fingerprint,
        vendor_key,
        correlation: exchange.correlation.id().into(),
        route: (*route.name).into(),
        method: arrival.method.as_str().into(),
        path: rest(exchange).into(),
        credential: exchange.credential_name().map(|name| (**name).into()),
    })
}

fn map(exchange: &Exchange, route: &Route, headers: &HeaderMap, key: Option<&Key>) -> Mapped {
    let write = mapping::Write {
        client: exchange.client().map_or("", |client| client.name()),
        vendor: &route.vendor.name,
        method: &exchange.arrival.method,
        path: rest(exchange),
        query: exchange.arrival.query.as_deref(),
        headers,
        reconcile: route.protection.reconcile.as_deref(),
    };
    mapping::map(&write, &route.protection.sources, key, route.vendor.vendor_key.as_ref())
}

/// Puts the vendor's key into the body, where that is its place.
async fn fill(
    mapped: &mut Mapped,
    headers: &HeaderMap,
    body: &mut Body,
    room: Room,
) -> Result<(), Refusal> {
    let (Some(pointer), Some(value)) = (mapped.member.take(), mapped.value.clone()) else {
        return Ok(());
    };
    let packed = headers.contains_key(http::header::CONTENT_ENCODING);
    let other = match packed {
        true => None,
        false => {
            let (octets, _room) = whole(body, room).await?;
            mapping::body_with(&octets, &pointer, &value)
        }
    };
    let Some(other) = other else {
        // The vendor never sees it: nothing can be looked up by it, and nothing protects.
        (mapped.value, mapped.protection) = (None, None);
        return Ok(());
    };
    let mut filled = Body::empty(body.buffers());
    match filled.push(Bytes::from(other), room).await {
        Ok(true) => {
            *body = filled;
            Ok(())
        }
        _ => Err(Refusal::GatewayOverloaded(1)),
    }
}

async fn take(
    exchange: &Exchange,
    route: &Route,
    headers: &HeaderMap,
    body: &Body,
) -> Result<Fingerprint, Refusal> {
    let mut taking = fingerprint::Taking::begin(&fingerprint::Head {
        method: &exchange.arrival.method,
        path: rest(exchange),
        query: exchange.arrival.query.as_deref(),
        headers,
        semantic: &route.vendor.profile.semantic_headers,
    });
    let mut position = Position::default();
    while let Some(piece) = next(body, &mut position).await? {
        taking.add(&piece);
    }
    Ok(taking.finish())
}

/// The body in one piece, with the memory that it takes meanwhile.
async fn whole(body: &Body, room: Room) -> Result<(Bytes, Memory), Refusal> {
    let mut memory = Memory::nothing(body.buffers());
    if !memory.grow(body.octets(), room) {
        return Err(Refusal::GatewayOverloaded(1));
    }
    let (mut position, mut octets) = (Position::default(), BytesMut::new());
    while let Some(piece) = next(body, &mut position).await? {
        octets.extend_from_slice(&piece);
    }
    Ok((octets.freeze(), memory))
}

async fn next(body: &Body, position: &mut Position) -> Result<Option<Bytes>, Refusal> {
    // A held body that can't be read back: what the gateway's own disk says.
    body.next(position).await.map_err(|_| Refusal::GatewayFault)
}

fn rest(exchange: &Exchange) -> &str {
    exchange.taken.as_ref().map_or("", |taken| taken.matched.rest(&exchange.arrival.path))
}

/// The path in the form in which allows are matched: a spelling of a record's name is no other.
fn canonical(exchange: &Exchange) -> Cow<'_, str> {
    let path = rest(exchange);
    match target::exact(path.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(path),
        Cow::Owned(exact) => String::from_utf8_lossy(&exact).into_owned().into(),
    }
}

fn boxed(mapped: Mapped) -> Option<Box<Mapped>> {
    (mapped != Mapped::default()).then(|| Box::new(mapped))
}

fn of<'a>(
    exchange: &'a Exchange,
    path: &'a str,
    headers: &'a HeaderMap,
    body: &'a [u8],
) -> key::Write<'a> {
    let arrival = &exchange.arrival;
    key::Write { method: &arrival.method, path, query: arrival.query.as_deref(), headers, body }
}
