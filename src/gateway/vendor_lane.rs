//! The vendor lane: requests whose body is read first, sent by the gateway's own vendor client,
//! and answered only once the answer was looked into.
//!
//! It takes what waits for a slot, because a slow upload must not hold one, what is answered by
//! vendors whose throttles are told in bodies, and writes under a key, whose body is part of what
//! the key stands for: those go on in `by_key.rs`.

use super::asking::{After, Asking};
use super::context::Ctx;
use super::edits::{apply_to_response, has_no_body, tell_of_request};
use super::hooks::Hooks;
use super::upload;
use crate::adapters::body::Memory;
use crate::adapters::vendor_client::Answering;
use crate::attempts::Held;
use crate::exchange::Exchange;
use crate::keying;
use crate::pipeline;
use crate::refusal::Refusal;
use crate::settlement;
use crate::stages::forwarding::Edits;
use crate::stages::outcome::{ClientFailure, Failure, judge};
use crate::stages::validation::declared_length;
use crate::state::State;
use bytes::Bytes;
use http::{Method, Version, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::Instant;

/// An answer that goes to the client.
pub(super) struct Answer {
    pub(super) answering: Box<Answering>,
    pub(super) edits: Edits,
    /// Held until the body is read to its end.
    pub(super) held: Option<Held>,
    /// What its body takes of the memory for bodies.
    pub(super) _room: Option<Memory>,
}

/// Why there is none.
enum Ended {
    Refused(Refusal),
    ClientGone,
}

impl Hooks {
    /// Reads the body, asks the vendor as often as it takes, and answers.
    pub(super) async fn by_vendor_lane(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        let mut body = match Box::pin(upload::read(&self.state, session, ctx)).await {
            Ok(body) => body,
            Err(failure) => return self.failed(session, ctx, failure).await,
        };
        ctx.awaits_answer();
        let request = session.req_header().clone();
        let live = ctx.live.clone();
        let room = upload::room(&live);
        let Some(exchange) = &mut ctx.exchange else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        match keying::read(exchange, &request.headers, &mut body, room).await {
            Ok(None) => {}
            Ok(Some(write)) => {
                return Box::pin(self.by_key(session, ctx, Arc::new(write), request, body)).await;
            }
            Err(refusal) => return self.turn_away(session, ctx, refusal).await,
        }
        let asking = Asking { state: &self.state, live: &live, request: &request, body: &body };
        let asked = tokio::select! {
            biased;
            answer = ask(&asking, exchange) => answer,
            () = hangs_up(session) => Err(Ended::ClientGone),
        };
        drop(body);
        match asked {
            Ok(answer) => Box::pin(self.pass_on(session, ctx, answer)).await,
            Err(Ended::Refused(refusal)) => self.turn_away(session, ctx, refusal).await,
            Err(Ended::ClientGone) => {
                if ctx.exchange.as_ref().is_some_and(|exchange| exchange.vendor.sent) {
                    ctx.attempt_failed(&Failure::Client(ClientFailure::Gone));
                }
                Err(Error::new_down(ErrorType::ConnectionClosed))
            }
        }
    }

    /// Refuses what was waited for.
    pub(super) async fn turn_away(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        refusal: Refusal,
    ) -> Result<()> {
        ctx.rests();
        self.refuse(session, ctx, refusal).await
    }

    /// The client's side failed before anything was sent.
    async fn failed(&self, session: &mut Session, ctx: &mut Ctx, failure: Failure) -> Result<()> {
        ctx.rests();
        let attempt = ctx.exchange.as_ref().map(|exchange| exchange.attempt(Instant::now()));
        match attempt.and_then(|attempt| judge(failure, attempt)) {
            Some(refusal) => {
                session.set_keepalive(None);
                self.refuse(session, ctx, refusal).await
            }
            None => Err(Error::new_down(ErrorType::ConnectionClosed)),
        }
    }

    /// Writes the answer as it comes.
    pub(super) async fn pass_on(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        answer: Answer,
    ) -> Result<()> {
        let Answer { mut answering, edits, mut held, _room } = answer;
        ctx.rests();
        let mut head = answering.head.clone();
        apply_to_response(&mut head, edits)?;
        if let Some(exchange) = ctx.exchange.as_ref() {
            tell_of_request(&mut head, exchange, &self.state.clock)?;
        }
        let bodiless = session.req_header().method == Method::HEAD || has_no_body(&head);
        if bodiless {
            ctx.answer_is_there();
        }
        frame(session, &mut head, bodiless);
        ctx.status = head.status.as_u16();
        let length = declared_length(&head.headers);
        let written = session.as_downstream_mut().write_response_header(Box::new(head)).await;
        written.map_err(|error| error.into_down())?;
        loop {
            let piece = tokio::select! {
                biased;
                piece = answering.next() => piece,
                () = hangs_up(session) => return Err(Error::new_down(ErrorType::ConnectionClosed)),
            };
            match piece {
                Ok(Some(piece)) if !bodiless => {
                    ctx.bytes_out += piece.len() as u64;
                    if length.is_some_and(|length| ctx.bytes_out >= length) {
                        ctx.answer_is_there();
                    }
                    let written =
                        session.as_downstream_mut().write_response_body(piece, false).await;
                    written.map_err(|error| error.into_down())?;
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                // The head went out: the client sees that the body broke off.
                Err(lost) => {
                    ctx.attempt_failed(&lost.failure);
                    if let Some(exchange) = &mut ctx.exchange {
                        exchange.reason = Some(lost.why);
                        if let Some(held) = &mut held {
                            held.failed(exchange, &lost.failure, false, false);
                        }
                    }
                    return Err(Error::new_up(ErrorType::ConnectionClosed));
                }
            }
        }
        // The vendor's body is read to its end: somebody else may have the slot.
        drop(held);
        ctx.answer_is_there();
        let written = session.as_downstream_mut().write_response_body(Bytes::new(), true).await;
        written.map_err(|error| error.into_down())
    }
}

/// Waits until the client is gone. What it sends meanwhile is the next request's.
pub(super) async fn hangs_up(session: &mut Session) {
    while session.as_downstream_mut().read_body_or_idle(true).await.is_ok() {}
}

/// Asks the vendor until there is an answer for the client.
async fn ask(asking: &Asking<'_>, exchange: &mut Exchange) -> Result<Answer, Ended> {
    loop {
        let held = match pipeline::admit(asking.state, exchange).await {
            Ok(held) => held,
            Err(refusal) => {
                audit_if_barred(asking.state, exchange);
                return Err(Ended::Refused(refusal));
            }
        };
        // On the heap: what an attempt needs is large, and who waits does not have it yet.
        let attempt = Box::pin(attempt(asking, exchange, held));
        if let Some(answer) = attempt.await? {
            return Ok(answer);
        }
    }
}

/// One attempt; `None`: there will be another one.
async fn attempt(
    asking: &Asking<'_>,
    exchange: &mut Exchange,
    mut held: Held,
) -> Result<Option<Answer>, Ended> {
    match asking.attempt(exchange, &mut held, false).await {
        After::Answer(answering, edits, _) => {
            Ok(Some(Answer { answering, edits, held: Some(held), _room: None }))
        }
        After::Again(_) => Ok(None),
        After::Refuse(refusal, _) => Err(Ended::Refused(exchange.honest(refusal))),
        After::Gone => Err(Ended::ClientGone),
    }
}

/// What the policies in force refuse is said like the first decision.
pub(super) fn audit_if_barred(state: &State, exchange: &Exchange) {
    if exchange.access.as_ref().is_some_and(|access| access.barred.is_some()) {
        settlement::audit(state, exchange);
    }
}

/// How the client sees where the body ends.
pub(super) fn frame(session: &mut Session, head: &mut ResponseHeader, bodiless: bool) {
    head.remove_header(&header::TRANSFER_ENCODING);
    head.set_version(Version::HTTP_11);
    let request = session.req_header();
    let (version, http2) = (request.version, session.as_downstream().is_http2());
    if http2 || bodiless || head.headers.contains_key(header::CONTENT_LENGTH) {
        return;
    }
    if version == Version::HTTP_11 {
        // The name is known: inserting can't fail.
        let _ = head.insert_header(header::TRANSFER_ENCODING, "chunked");
    } else {
        session.set_keepalive(None);
    }
}
