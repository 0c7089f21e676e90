//! What an answer of the vendor means: to the record, to the pool and the circuit, to the client.

use crate::attempts::{Held, Next};
use crate::config::Route;
use crate::exchange::{Arrival, Exchange};
use crate::model::rates::retry_after_seconds;
use crate::profile::outcome::Verdict;
use crate::refusal::Refusal;
use crate::stages::correlation::CORRELATION_ID;
use crate::stages::forwarding::links::Place;
use crate::stages::forwarding::{Edits, answer};
use crate::stages::outcome::{self, Failure};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::Instant;

/// What was seen of an answer.
pub struct Seen<'a> {
    /// Its status.
    pub status: u16,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// What the vendor's matchers say of it.
    pub verdict: Option<Verdict>,
    /// Whether the request could be sent again.
    pub replayable: bool,
}

/// Decides what goes to the client; `None`: the vendor is asked again.
///
/// # Errors
/// The refusal that the client gets in the answer's place.
pub fn observe(
    exchange: &mut Exchange,
    seen: Seen<'_>,
    held: &mut Held,
    date: &HeaderValue,
) -> Result<Option<Edits>, Refusal> {
    let Seen { status, headers, verdict, replayable } = seen;
    note(exchange, status, headers);
    if let Err(refusal) = outcome::check_head(status, headers) {
        // A vendor that does not speak HTTP is as good as silent.
        let next = held.failed(exchange, &Failure::NotHttp, false, replayable);
        return if next == Next::Again { Ok(None) } else { Err(refusal) };
    }
    if held.answered(exchange, status, headers, verdict.as_ref(), replayable) == Next::Again {
        return Ok(None);
    }
    let throttle = verdict.as_ref().is_some_and(|verdict| verdict.class.is_throttle());
    if let Some(throttled) = exchange.vendor.throttled.as_ref().filter(|_| throttle) {
        let left = throttled.until.saturating_duration_since(Instant::now());
        return Err(Refusal::VendorPaused(retry_after_seconds(left)));
    }
    let passthrough = !exchange.shows_our_credential();
    let Some(taken) = &exchange.taken else { return Err(Refusal::GatewayFault) };
    let base = &taken.route.vendor.base_url;
    let place = place(&exchange.arrival, &taken.route);
    outcome::observe(status, headers, base, place, passthrough)?;
    edits(exchange, status, headers, date).ok_or(Refusal::GatewayFault).map(Some)
}

/// What changes in an answer on its way to this client, whether it comes from the vendor or was
/// kept.
pub fn edits(
    exchange: &Exchange,
    status: u16,
    headers: &HeaderMap,
    date: &HeaderValue,
) -> Option<Edits> {
    let taken = exchange.taken.as_ref()?;
    let place = place(&exchange.arrival, &taken.route);
    // A redirect's Location is rewritten in any case: unchanged it would lead off the gateway.
    let links = (taken.route.rewrite_links || (300..400).contains(&status)).then_some(place);
    let pseudonym = &exchange.snapshot.config.server.name;
    let policy = answer::Policy { base: &taken.route.vendor.base_url, links, pseudonym };
    Some(answer::edits(status, headers, policy, &exchange.correlation, date))
}

/// Keeps what the record tells of the answer.
fn note(exchange: &mut Exchange, status: u16, headers: &HeaderMap) {
    let Some(taken) = &exchange.taken else { return };
    let profile = &taken.route.vendor.profile;
    let now = Instant::now();
    let side = &mut exchange.vendor;
    side.status = Some(status);
    let took = side.asked.map(|asked| now.saturating_duration_since(asked));
    side.took = took.map(|took| side.took.unwrap_or_default() + took);
    side.request_id = profile.request_id_headers.iter().find_map(|name| text(headers, name));
    side.correlation_id = text(headers, &CORRELATION_ID);
}

/// Where the client sees the vendor of this route.
fn place<'a>(arrival: &'a Arrival, route: &'a Route) -> Place<'a> {
    let authority = arrival.authority.as_deref().unwrap_or("");
    Place { https: arrival.https, authority, prefix: &route.prefix }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
