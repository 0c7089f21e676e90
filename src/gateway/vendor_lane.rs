//! The vendor lane: requests whose body is read first, sent by the gateway's own vendor client,
//! and answered only once the answer was looked into.
//!
//! It takes what waits for a slot, because a slow upload must not hold one, and what is answered
//! by vendors whose throttles are told in bodies.

use super::context::{Ctx, Live};
use super::edits::{
    append_server_timing, apply_to_request, apply_to_response, declare_body, has_no_body,
};
use super::hooks::Hooks;
use super::upload;
use crate::adapters::body::Body;
use crate::adapters::entropy;
use crate::adapters::vendor_client::{Answering, Lost, Way, failures};
use crate::attempts::{Held, Next};
use crate::config::Vendor;
use crate::exchange::Exchange;
use crate::observation::Seen;
use crate::pipeline;
use crate::profile::outcome::{HeadVerdict, PEEK_BYTES_MAX, Verdict};
use crate::refusal::{Refusal, Unreachable};
use crate::settlement;
use crate::stages::forwarding::Edits;
use crate::stages::outcome::{ClientFailure, Failure, judge};
use crate::stages::validation::declared_length;
use crate::state::State;
use bytes::Bytes;
use http::{Method, Version, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use std::time::{Duration, Instant};

/// How long the body of an answer that nobody gets is still read, so that its connection can be
/// used again.
const LEFTOVER: Duration = Duration::from_millis(500);

/// An answer that goes to the client.
struct Answer {
    answering: Answering,
    edits: Edits,
    /// Held until the body is read to its end.
    held: Held,
}

/// Why there is none.
enum Ended {
    Refused(Refusal),
    ClientGone,
}

impl Hooks {
    /// Reads the body, asks the vendor as often as it takes, and answers.
    pub(super) async fn by_vendor_lane(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        let body = match Box::pin(upload::read(&self.state, session, ctx)).await {
            Ok(body) => body,
            Err(failure) => return self.failed(session, ctx, failure).await,
        };
        ctx.awaits_answer();
        let request = session.req_header().clone();
        let live = ctx.live.clone();
        let Some(exchange) = &mut ctx.exchange else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        let asked = tokio::select! {
            biased;
            answer = ask(&self.state, &live, exchange, &request, &body) => answer,
            () = hangs_up(session) => Err(Ended::ClientGone),
        };
        drop(body);
        match asked {
            Ok(answer) => Box::pin(self.pass_on(session, ctx, answer)).await,
            Err(Ended::Refused(refusal)) => {
                ctx.rests();
                self.refuse(session, ctx, refusal).await
            }
            Err(Ended::ClientGone) => {
                if ctx.exchange.as_ref().is_some_and(|exchange| exchange.vendor.sent) {
                    ctx.attempt_failed(&Failure::Client(ClientFailure::Gone));
                }
                Err(Error::new_down(ErrorType::ConnectionClosed))
            }
        }
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
    async fn pass_on(&self, session: &mut Session, ctx: &mut Ctx, answer: Answer) -> Result<()> {
        let Answer { mut answering, edits, mut held } = answer;
        ctx.rests();
        let mut head = answering.head.clone();
        apply_to_response(&mut head, edits)?;
        if let Some(exchange) = ctx.exchange.as_ref() {
            let of_limits = exchange.limit_fields(&self.state.clock, Some(&answering.head.headers));
            for (name, value) in of_limits {
                head.insert_header(name, value)?;
            }
            if exchange.snapshot.config.server.server_timing {
                append_server_timing(&mut head, exchange, Instant::now())?;
            }
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
                        held.failed(exchange, &lost.failure, false, false);
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
async fn ask(
    state: &State,
    live: &Live,
    exchange: &mut Exchange,
    request: &RequestHeader,
    body: &Body,
) -> Result<Answer, Ended> {
    loop {
        let held = match pipeline::admit(state, exchange).await {
            Ok(held) => held,
            Err(refusal) => {
                if exchange.access.as_ref().is_some_and(|access| access.barred.is_some()) {
                    settlement::audit(state, exchange);
                }
                return Err(Ended::Refused(refusal));
            }
        };
        // On the heap: what an attempt needs is large, and who waits does not have it yet.
        let attempt = Box::pin(attempt(state, live, exchange, request, body, held));
        if let Some(answer) = attempt.await? {
            return Ok(answer);
        }
    }
}

/// One attempt; `None`: there will be another one.
async fn attempt(
    state: &State,
    live: &Live,
    exchange: &mut Exchange,
    request: &RequestHeader,
    body: &Body,
    mut held: Held,
) -> Result<Option<Answer>, Ended> {
    let now = Instant::now();
    let (number, left) = exchange.begin_attempt(now).map_err(Ended::Refused)?;
    let head =
        head(exchange, &held, request, body).map_err(|_| Ended::Refused(Refusal::GatewayFault))?;
    let Some(way) = way(live, exchange, number, left).await else {
        let why = Failure::NoConnection(Unreachable::NameUnresolved);
        return ended(state, exchange, held, &why, false);
    };
    let address = way.peer._address.as_inet().copied();
    exchange.vendor.sent = true;
    let mut answering = match state.client.send(way, head, body).await {
        Ok(answering) => answering,
        Err(Lost { failure, why, sent, reused }) => {
            (exchange.vendor.sent, exchange.reason) = (sent, Some(why));
            if let (Failure::NoConnection(_), Some(address)) = (&failure, address) {
                failed_address(live, exchange, address);
            }
            return ended(state, exchange, held, &failure, reused);
        }
    };
    let until = Instant::now() + exchange.time_left(Instant::now());
    let vendor = exchange.vendor_config().ok_or(Ended::Refused(Refusal::GatewayFault))?;
    let verdict = match look(state, vendor, &mut answering, until).await {
        Ok(verdict) => verdict,
        Err(lost) => {
            exchange.reason = Some(lost.why);
            return ended(state, exchange, held, &lost.failure, false);
        }
    };
    let status = answering.head.status.as_u16();
    let date = state.clock.date();
    let headers = &answering.head.headers;
    let seen = Seen { status, headers, verdict, replayable: true };
    match pipeline::observe(exchange, seen, &mut held, &date) {
        Ok(Some(edits)) => {
            exchange.reason = None;
            Ok(Some(Answer { answering, edits, held }))
        }
        Ok(None) => {
            count(state, exchange, exchange.again());
            finish(&mut answering).await;
            Ok(None)
        }
        Err(refusal) => {
            count(state, exchange, failures::label(&Failure::Refused(refusal.clone())));
            finish(&mut answering).await;
            Err(Ended::Refused(refusal))
        }
    }
}

/// The attempt has no answer: again, or the client is told.
fn ended(
    state: &State,
    exchange: &mut Exchange,
    mut held: Held,
    failure: &Failure,
    reused: bool,
) -> Result<Option<Answer>, Ended> {
    count(state, exchange, failures::label(failure));
    if held.failed(exchange, failure, reused, true) == Next::Again {
        return Ok(None);
    }
    let refusal = judge(failure.clone(), exchange.attempt(Instant::now()));
    Err(refusal.map_or(Ended::ClientGone, Ended::Refused))
}

/// Reads what is left of a small answer, so that its connection can be used again.
async fn finish(answering: &mut Answering) {
    let until = tokio::time::Instant::now() + LEFTOVER;
    // Whatever does not end in time is closed.
    let _ = answering.peek(PEEK_BYTES_MAX, until).await;
}

/// What the answer means: by its head, or by the beginning of its body where that tells.
pub(super) async fn look(
    state: &State,
    vendor: &Vendor,
    answering: &mut Answering,
    until: Instant,
) -> Result<Option<Verdict>, Lost> {
    let (status, seconds) = (answering.head.status.as_u16(), state.clock.unix_seconds());
    match vendor.outcomes.head(status, &answering.head.headers, seconds) {
        HeadVerdict::NoMatch => Ok(None),
        HeadVerdict::Decided(verdict) => Ok(Some(verdict)),
        HeadVerdict::NeedsBody => {
            let (seen, complete) = answering.peek(PEEK_BYTES_MAX, until.into()).await?;
            let headers = &answering.head.headers;
            let (seen, complete) = upload::decoded(headers, seen, complete, PEEK_BYTES_MAX);
            Ok(vendor.outcomes.body(status, headers, &seen, complete, seconds))
        }
    }
}

/// The head as the vendor gets it.
fn head(
    exchange: &Exchange,
    held: &Held,
    request: &RequestHeader,
    body: &Body,
) -> Result<RequestHeader, Box<Error>> {
    let mut head = request.clone();
    let equipped = pipeline::equip(exchange, held, &head.headers, entropy::for_attempt());
    let Some((target, edits)) = equipped else {
        return Err(Error::new_in(ErrorType::InternalError));
    };
    apply_to_request(&mut head, edits)?;
    head.set_version(Version::HTTP_11);
    head.remove_header(&header::TRANSFER_ENCODING);
    head.remove_header("trailer");
    declare_body(&mut head, body.octets())?;
    if exchange.vendor_config().is_some_and(|vendor| vendor.outcomes.needs_bodies()) {
        only_readable_codings(&mut head)?;
    }
    head.set_raw_path(target.as_bytes())?;
    Ok(head)
}

/// Asks only for encodings that the look into the body can undo.
fn only_readable_codings(head: &mut RequestHeader) -> Result<(), Box<Error>> {
    let accepted = head.headers.get_all(header::ACCEPT_ENCODING).iter();
    let gzip = accepted.filter_map(|field| field.to_str().ok()).any(|field| {
        let coding = |item: &str| item.split(';').next().unwrap_or("").trim().to_owned();
        let refused = |item: &str| {
            let quality = item.split(';').skip(1).find_map(|it| it.trim().strip_prefix("q="));
            quality.is_some_and(|it| it.trim().parse() == Ok(0.0_f32))
        };
        field.split(',').any(|item| coding(item).eq_ignore_ascii_case("gzip") && !refused(item))
    });
    head.insert_header(header::ACCEPT_ENCODING, if gzip { "gzip" } else { "identity" })
}

async fn way(live: &Live, exchange: &Exchange, number: usize, left: Duration) -> Option<Way> {
    let now = Instant::now();
    let taken = exchange.taken.as_ref()?;
    let vendor = &taken.route.vendor;
    let mut peer = live.peers.resolved(vendor, taken.reads, number, left).await?;
    let connect = vendor.timeouts.connect.min(left);
    peer.options.connection_timeout = Some(connect);
    peer.options.total_connection_timeout = Some(connect);
    let deadline = (now + left).into();
    Some(Way { peer, response: vendor.timeouts.response, deadline })
}

fn failed_address(live: &Live, exchange: &Exchange, address: std::net::SocketAddr) {
    let vendor = exchange.vendor_config();
    if let Some(target) = vendor.and_then(|vendor| live.peers.target(&vendor.name)) {
        target.failed(address);
    }
}

fn count(state: &State, exchange: &Exchange, result: &str) {
    if let Some(vendor) = exchange.vendor_config() {
        state.metrics.vendor_attempts.with_label_values(&[&*vendor.name, result]).inc();
    }
}

/// How the client sees where the body ends.
fn frame(session: &mut Session, head: &mut ResponseHeader, bodiless: bool) {
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
