//! Request bodies that are read before anything is sent.

use super::context::{Ctx, Live};
use crate::adapters::body::{Body, Room};
use crate::adapters::vendor_client::failures;
use crate::refusal::Refusal;
use crate::stages::outcome::{ClientFailure, Failure};
use crate::state::State;
use pingora_proxy::Session;
use std::time::{Duration, Instant};

/// Reads a request's whole body.
///
/// # Errors
/// It is too large, too slow, or broken off; or there is no room for it.
pub async fn read(state: &State, session: &mut Session, ctx: &mut Ctx) -> Result<Body, Failure> {
    let mut body = Body::empty(state.buffers.clone());
    let route = ctx.exchange.as_ref().and_then(|exchange| exchange.taken.as_ref());
    let max = route.and_then(|taken| taken.route.body_bytes_max).unwrap_or(u64::MAX);
    let room = room(&ctx.live);
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

/// How much of all bodies may be held.
pub fn room(live: &Live) -> Room {
    let server = &live.snapshot.config.server;
    Room { memory: server.buffer_memory_bytes, disk: server.buffer_disk_bytes }
}

/// What kept a body from being held, for operators.
fn note(ctx: &mut Ctx, error: Option<std::io::Error>) {
    if let Some(exchange) = &mut ctx.exchange {
        let full = || "buffers are full".to_owned();
        exchange.reason = Some(error.map_or_else(full, |error| format!("buffer: {error}")));
    }
}
