//! Applies what the rooms decided to pingora's heads.

use crate::exchange::Exchange;
use crate::stages::forwarding::Edits;
use bytes::Bytes;
use http::{HeaderValue, Version};
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};

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

/// Says how long the vendor and the gateway took (W3C Server Timing), in milliseconds.
pub fn append_server_timing(response: &mut ResponseHeader, exchange: &Exchange) -> Result<()> {
    let total = exchange.began.elapsed();
    let vendor = exchange.vendor.took.unwrap_or_default();
    let gateway = total.saturating_sub(vendor);
    let text = format!(
        "vendor;dur={:.1}, gateway;dur={:.1}",
        vendor.as_secs_f64() * 1000.0,
        gateway.as_secs_f64() * 1000.0
    );
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
        response.append_header("server-timing", value)?;
    }
    Ok(())
}
