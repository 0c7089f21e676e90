//! Request bodies that are read before anything is sent.

use super::context::Ctx;
use crate::adapters::body::{Body, Room};
use crate::adapters::vendor_client::failures;
use crate::refusal::Refusal;
use crate::stages::outcome::{ClientFailure, Failure};
use crate::state::State;
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, header};
use pingora_proxy::Session;
use std::io::Read;
use std::time::{Duration, Instant};

/// Reads a request's whole body.
///
/// # Errors
/// It is too large, too slow, or broken off; or there is no room for it.
pub async fn read(state: &State, session: &mut Session, ctx: &mut Ctx) -> Result<Body, Failure> {
    let mut body = Body::empty(state.buffers.clone());
    let route = ctx.exchange.as_ref().and_then(|exchange| exchange.taken.as_ref());
    let max = route.and_then(|taken| taken.route.body_bytes_max).unwrap_or(u64::MAX);
    let server = &ctx.live.snapshot.config.server;
    let room = Room { memory: server.buffer_memory_bytes, disk: server.buffer_disk_bytes };
    if session.as_downstream_mut().is_body_empty() {
        return Ok(body);
    }
    // Over HTTP/2 nobody else sees an upload that never begins.
    ctx.upload_moves();
    let now = Instant::now();
    let left = ctx.exchange.as_ref().map_or(Duration::ZERO, |exchange| exchange.time_left(now));
    let deadline = (now + left).into();
    loop {
        let read = session.as_downstream_mut().read_request_body();
        let piece = match tokio::time::timeout_at(deadline, read).await {
            Ok(Ok(Some(piece))) => piece,
            Ok(Ok(None)) => return Ok(body),
            Ok(Err(error)) => return Err(failures::read(&error.into_down())),
            // It drips: what is held of it could not be sent any more.
            Err(_) => return Err(Failure::Client(ClientFailure::Slow)),
        };
        ctx.upload_moves();
        if let Some(exchange) = &mut ctx.exchange {
            exchange.bytes_in += piece.len() as u64;
            if exchange.bytes_in > max {
                return Err(Failure::Refused(Refusal::PayloadTooLarge(max)));
            }
        }
        if !piece.is_empty() {
            let fits = body.push(piece, room).await;
            if !matches!(fits, Ok(true)) {
                note(ctx, fits.err());
                return Err(Failure::Refused(Refusal::GatewayOverloaded(1)));
            }
        }
    }
}

/// What kept a body from being held, for operators.
fn note(ctx: &mut Ctx, error: Option<std::io::Error>) {
    if let Some(exchange) = &mut ctx.exchange {
        let full = || "buffers are full".to_owned();
        exchange.reason = Some(error.map_or_else(full, |error| format!("buffer: {error}")));
    }
}

/// What was seen of a body without its content coding, and whether it is all of it; nothing where
/// the coding can't be undone.
pub fn decoded(headers: &HeaderMap, seen: Bytes, complete: bool, most: usize) -> (Bytes, bool) {
    let coding = headers.get(header::CONTENT_ENCODING).map(|coding| coding.as_bytes());
    match coding {
        None => (seen, complete),
        Some(coding) if coding.eq_ignore_ascii_case(b"identity") => (seen, complete),
        Some(coding) if coding.eq_ignore_ascii_case(b"gzip") => {
            // One octet more than is looked at tells whether there is more.
            let mut plain = Vec::new();
            let limit = most as u64 + 1;
            let whole = GzDecoder::new(&*seen).take(limit).read_to_end(&mut plain).is_ok();
            let complete = complete && whole && plain.len() <= most;
            plain.truncate(most);
            (Bytes::from(plain), complete)
        }
        Some(_) => (Bytes::new(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http::HeaderValue;
    use std::io::Write;

    fn with(coding: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(coding) = coding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        headers
    }

    #[test]
    fn codings_are_undone_within_bounds() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&[b'a'; 1000]).expect("memory");
        let packed = Bytes::from(encoder.finish().expect("memory"));
        let plain = Bytes::from(vec![b'a'; 1000]);
        for (coding, seen, complete, most, expected, told) in [
            (None, &plain, true, 2000, 1000, true),
            (Some("identity"), &plain, false, 2000, 1000, false),
            (Some("GZIP"), &packed, true, 2000, 1000, true),
            (Some("gzip"), &packed, true, 1000, 1000, true),
            (Some("gzip"), &packed, true, 999, 999, false),
            (Some("gzip"), &plain, true, 2000, 0, false),
            (Some("br"), &packed, true, 2000, 0, false),
        ] {
            let (octets, all) = decoded(&with(coding), seen.clone(), complete, most);
            assert_eq!((octets.len(), all), (expected, told), "{coding:?} {most}");
        }
    }
}
