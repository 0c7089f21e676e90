//! Applies what the rooms decided to pingora's heads.

use crate::adapters::clock::Clock;
use crate::exchange::Exchange;
use crate::stages::forwarding::Edits;
use bytes::Bytes;
use http::{HeaderValue, Method, Version, header};
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use std::time::{Duration, Instant};

/// Changes a request's head.
pub fn apply_to_request(request: &mut RequestHeader, edits: Edits) -> Result<()> {
    for name in &edits.remove {
        request.remove_header(name);
    }
    for (name, value) in edits.set {
        request.insert_header(name, value)?;
    }
    for (name, value) in edits.append {
        request.append_header(name, value)?;
    }
    if request.version == Version::HTTP_10 {
        request.set_version(Version::HTTP_11);
    }
    Ok(())
}

/// Changes an answer's head.
pub fn apply_to_response(response: &mut ResponseHeader, edits: Edits) -> Result<()> {
    for name in &edits.remove {
        response.remove_header(name);
    }
    for (name, value) in edits.set {
        response.insert_header(name, value)?;
    }
    for (name, value) in edits.append {
        response.append_header(name, value)?;
    }
    Ok(())
}

/// Puts into an answer's head what the gateway tells with every answer that is not its own: what is
/// left of the client's limits, and how long all took.
pub fn tell_of_request(
    response: &mut ResponseHeader,
    exchange: &Exchange,
    clock: &Clock,
) -> Result<()> {
    for (name, value) in exchange.limit_fields(clock, Some(&response.headers)) {
        response.insert_header(name, value)?;
    }
    match exchange.snapshot.config.server.server_timing {
        true => append_server_timing(response, exchange, Instant::now()),
        false => Ok(()),
    }
}

/// Says how long the vendor and the gateway took (W3C Server Timing), in milliseconds.
fn append_server_timing(
    response: &mut ResponseHeader,
    exchange: &Exchange,
    now: Instant,
) -> Result<()> {
    let total = now.saturating_duration_since(exchange.began);
    let (vendor, queue) = (exchange.vendor.took.unwrap_or_default(), exchange.vendor.queued);
    // Tenths of a millisecond.
    let tenths =
        |duration: Duration| (duration.as_micros() / 1000, duration.as_micros() / 100 % 10);
    let gateway = tenths(total.saturating_sub(vendor).saturating_sub(queue));
    let (vendor, queue) = (tenths(vendor), tenths(queue));
    let text = format!(
        "queue;dur={}.{}, vendor;dur={}.{}, gateway;dur={}.{}",
        queue.0, queue.1, vendor.0, vendor.1, gateway.0, gateway.1
    );
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
        response.append_header("server-timing", value)?;
    }
    Ok(())
}

/// Says that there is no body where a method has one by its meaning (RFC 9110 §8.6): some vendors
/// answer 411 otherwise.
pub fn declare_empty_body(request: &mut RequestHeader) -> Result<()> {
    let expected = matches!(request.method, Method::POST | Method::PUT | Method::PATCH);
    let framed = request.headers.contains_key(header::CONTENT_LENGTH)
        || request.headers.contains_key(header::TRANSFER_ENCODING);
    if expected && !framed {
        request.insert_header(header::CONTENT_LENGTH, "0")?;
    }
    Ok(())
}

/// Says how long a body is that is at hand.
pub fn declare_body(request: &mut RequestHeader, octets: u64) -> Result<()> {
    if octets > 0 {
        return request.insert_header(header::CONTENT_LENGTH, octets);
    }
    request.remove_header(&header::CONTENT_LENGTH);
    declare_empty_body(request)
}

/// Whether nothing follows this head, whatever was asked (RFC 9112 §6.3).
pub fn has_no_body(response: &ResponseHeader) -> bool {
    let empty = response.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0");
    empty || matches!(response.status.as_u16(), 204 | 304)
}

/// Takes the chunks off an answer: an HTTP/1.0 client knows none (RFC 9112 §6.1). Returns whether
/// its body ends with the connection now.
pub fn unchunk(response: &mut ResponseHeader) -> bool {
    response.remove_header(&header::TRANSFER_ENCODING).is_some()
}
