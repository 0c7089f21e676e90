//! Writes under an idempotency key: what a key meets is told at once; what it does not meet is
//! reserved, and runs to its end in a task of its own, whatever becomes of its client.

use super::context::Ctx;
use super::edits::{apply_to_response, has_no_body, tell_of_request};
use super::hooks::Hooks;
use super::vendor_lane::hangs_up;
use super::writing::{Progress, Told, UNCLAIMED, Writing};
use crate::adapters::body::Body;
use crate::observation;
use crate::protected::{Replay, Reservation, Reserved, Write};
use crate::refusal::{Executed, Refusal};
use crate::stages::forwarding::kept;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const ORIGINAL: HeaderName = HeaderName::from_static("x-original-correlation-id");
/// Seconds until a duplicate may ask again.
const IN_FLIGHT_AGAIN: u32 = 1;
/// How often it is looked whether a write of another process has ended.
const LOOK: Duration = Duration::from_millis(100);
/// After the deadline: how long it is waited for what becomes of a write.
const LATE: Duration = Duration::from_secs(1);
/// After the deadline: how often it is looked whether a write was sent or refused unsent.
const LATE_LOOK: Duration = Duration::from_millis(10);

/// What comes of asking for a key.
enum Asked {
    Ours(Reservation),
    /// The client has its answer, or is gone.
    Told(Result<()>),
}

impl Hooks {
    /// Answers a write under a key.
    pub(super) async fn by_key(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        write: Arc<Write>,
        mut request: RequestHeader,
        mut body: Body,
    ) -> Result<()> {
        loop {
            let reservation = match self.reserve(session, ctx, &write).await {
                Asked::Ours(reservation) => reservation,
                Asked::Told(result) => return result,
            };
            let Some(exchange) = &mut ctx.exchange else { return Err(fault()) };
            let progress = Arc::new(Progress::default());
            let (tell, mut told) = oneshot::channel();
            let writing = Writing {
                state: self.state.clone(),
                live: ctx.live.clone(),
                exchange: exchange.hand_over(),
                request,
                body,
                progress: progress.clone(),
            };
            self.state.protected.run(writing.run(reservation, tell));
            let until = Instant::now() + exchange.time_left(Instant::now());
            let heard = tokio::select! {
                biased;
                heard = &mut told => Some(heard),
                () = hangs_up(session) => return Err(Error::new_down(ErrorType::ConnectionClosed)),
                () = tokio::time::sleep_until(until.into()) => {
                    late(&progress, &mut told).await
                }
            };
            let Some(Ok((of_task, told))) = heard else {
                exchange.vendor.sent = progress.was_sent();
                exchange.vendor.attempts = progress.attempts();
                let refusal = match heard {
                    // It runs on, and is found under its key.
                    None => Refusal::DeadlineExceeded,
                    Some(_) => Refusal::GatewayFault,
                };
                return self.turn_away(session, ctx, refusal).await;
            };
            *exchange = *of_task;
            match told {
                Told::Answer(answer) => {
                    return Box::pin(self.pass_on(session, ctx, *answer)).await;
                }
                Told::Refused(refusal) => return self.turn_away(session, ctx, refusal).await,
                Told::Elsewhere(parts) => (request, body) = *parts,
                Told::Gone => return Err(Error::new_down(ErrorType::ConnectionClosed)),
            }
        }
    }

    /// Asks for the key, and waits for whoever has it as long as the route says.
    async fn reserve(&self, session: &mut Session, ctx: &mut Ctx, write: &Arc<Write>) -> Asked {
        let Some(exchange) = &ctx.exchange else { return Asked::Told(Err(fault())) };
        let Some(taken) = &exchange.taken else { return Asked::Told(Err(fault())) };
        let now = Instant::now();
        let wait = taken.route.protection.wait.min(exchange.time_left(now));
        let route = taken.route.name.clone();
        let until = now + wait;
        let met = loop {
            let met = self.state.protected.reserve(write).await;
            let Reserved::InFlight(waiting) = met else { break met };
            if Instant::now() >= until {
                break Reserved::InFlight(None);
            }
            let end = async {
                match waiting {
                    Some(waiting) => waiting.end().await,
                    None => tokio::time::sleep(LOOK).await,
                }
            };
            tokio::select! {
                () = end => {}
                () = tokio::time::sleep_until(until.into()) => {}
                // The gateway leaves: what is not told now is not told at all.
                () = self.state.vendors.closed() => break Reserved::InFlight(None),
                () = hangs_up(session) => {
                    return Asked::Told(Err(Error::new_down(ErrorType::ConnectionClosed)));
                }
            }
        };
        let label = met.label();
        if let Some(exchange) = &mut ctx.exchange {
            exchange.idempotency = label;
        }
        if let Some(label) = label {
            self.state.protected.metrics.claims.with_label_values(&[&*route, label]).inc();
        }
        let refusal = match met {
            Reserved::Ours(reservation) => return Asked::Ours(reservation),
            Reserved::Replay(replay) => {
                return Asked::Told(self.replay(session, ctx, &replay).await);
            }
            Reserved::InFlight(_) => Refusal::RequestInFlight(IN_FLIGHT_AGAIN),
            Reserved::Mismatch => Refusal::IdempotencyKeyReused,
            Reserved::Unknown => Refusal::OutcomeUnknown,
            Reserved::NotKept { executed: true } => Refusal::AnswerNotKept(Executed::Yes),
            Reserved::NotKept { executed: false } => Refusal::AnswerNotKept(Executed::No),
            Reserved::Unavailable => UNCLAIMED,
        };
        Asked::Told(self.turn_away(session, ctx, refusal).await)
    }

    /// Gives an answer again.
    async fn replay(&self, session: &mut Session, ctx: &mut Ctx, replay: &Replay) -> Result<()> {
        ctx.rests();
        let answer = &replay.answer;
        let fields = kept::given(&answer.fields);
        let mut head = ResponseHeader::build(answer.status, Some(fields.len() + 8))?;
        for (name, value) in &fields {
            head.append_header(name.clone(), value.clone())?;
        }
        let Some(exchange) = ctx.exchange.as_ref() else { return Err(fault()) };
        let date = self.state.clock.date();
        let edits = observation::edits(exchange, answer.status, &fields, &date);
        apply_to_response(&mut head, edits.ok_or_else(fault)?)?;
        head.insert_header(header::CONTENT_LENGTH, answer.body.len())?;
        if matches!(answer.status, 204 | 304) {
            head.remove_header(&header::CONTENT_LENGTH);
        }
        head.insert_header(REPLAYED, "true")?;
        if let Ok(original) = HeaderValue::from_str(&replay.original) {
            head.insert_header(ORIGINAL, original)?;
        }
        tell_of_request(&mut head, exchange, &self.state.clock)?;
        ctx.status = answer.status;
        let body = if has_no_body(&head) { Bytes::new() } else { answer.body.clone() };
        ctx.bytes_out = body.len() as u64;
        ctx.answer_is_there();
        let downstream = session.as_downstream_mut();
        let written = downstream.write_response_header(Box::new(head)).await;
        written.map_err(|error| error.into_down())?;
        let written = downstream.write_response_body(body, true).await;
        written.map_err(|error| error.into_down())
    }
}

/// Of what the request's own decision has made sure.
fn fault() -> Box<Error> {
    Error::new_in(ErrorType::InternalError)
}

/// The deadline has passed: what was sent runs on, what was not is refused in a moment.
async fn late<T>(
    progress: &Progress,
    told: &mut oneshot::Receiver<T>,
) -> Option<std::result::Result<T, oneshot::error::RecvError>> {
    // A slow disk keeps nobody longer: what is not sent by now never is.
    let until = Instant::now() + LATE;
    while !progress.was_sent() && Instant::now() < until {
        if let Ok(heard) = tokio::time::timeout(LATE_LOOK, &mut *told).await {
            return Some(heard);
        }
    }
    None
}
