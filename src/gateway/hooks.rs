//! pingora's phases, each handed to the page that decides: `pipeline.rs`.

use super::answers::refused;
use super::connection::{Closing, Line};
use super::context::{Ctx, Live};
use super::downstream::Downstream;
use super::edits::{
    apply_to_request, apply_to_response, declare_empty_body, has_no_body, tell_of_request, unchunk,
};
use super::front::STREAM;
use super::{arrival, lane};
use crate::adapters::entropy;
use crate::adapters::vendor_client::failures;
use crate::attempts::Next;
use crate::exchange::Exchange;
use crate::observation::Seen;
use crate::pipeline::{self, Decision, Equipped};
use crate::refusal::{Refusal, Unreachable};
use crate::settlement;
use crate::stages::outcome::{self, Failure};
use crate::stages::validation::{Head, Tls};
use crate::state::State;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Version};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result, RetryType};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What pingora calls.
pub struct Hooks {
    /// What outlives requests.
    pub state: Arc<State>,
    /// The configuration in force.
    pub live: Arc<ArcSwap<Live>>,
}

#[async_trait]
impl ProxyHttp for Hooks {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new(self.live.load_full(), self.state.clone())
    }

    fn init_downstream_modules(&self, _: &mut pingora_core::modules::http::HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        let of_connection = || {
            let stream = session.as_downstream().stream()?;
            let downstream = (**stream).as_any().downcast_ref::<Downstream>()?;
            Some(downstream.incoming().clone())
        };
        let incoming = STREAM.try_with(Arc::clone).ok().or_else(of_connection);
        match incoming {
            Some(incoming) => ctx.came_by(incoming),
            None => return Err(Error::new_in(ErrorType::InternalError)),
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let Some(connection) = ctx.connection().cloned() else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        self.bound(session, &connection);
        let arrival = Arc::new(arrival::read(session, &connection, &ctx.live.snapshot));
        let headers = &session.req_header().headers;
        let snapshot = ctx.live.snapshot.clone();
        let entropy = entropy::for_request();
        let mut exchange =
            pipeline::receive(snapshot, arrival.clone(), headers, entropy, Instant::now());
        let raw = session.as_http1().map(|http1| http1.get_headers_raw_bytes());
        if let Some(raw) = &raw {
            connection.uses_up(arrival::octets_of_request(raw.len(), session.req_header()));
        }
        let head = Head {
            method: &arrival.method,
            path: &arrival.path,
            query: arrival.query.as_deref(),
            authority: arrival.authority.as_deref(),
            headers: &session.req_header().headers,
            version: arrival.version,
            raw: raw.as_deref(),
            repaired: ctx.line == Line::Broken,
        };
        let tls = connection.tls.as_ref().map(|tls| Tls {
            server_name: tls.server_name.as_deref(),
            certificate_names: &tls.certificate_names,
        });
        // What the parser may have repaired is the connection's last request.
        let close_after = ctx.line == Line::Unseen && head.path.contains('%');
        if arrival
            .certificate
            .as_ref()
            .is_some_and(|it| self.state.clock.unix_seconds() > it.not_after)
        {
            connection.retire(Closing::CertificateExpired);
        }
        let decision = match connection.is_retired() {
            // Its certificate is no longer accepted: the client has to show one anew.
            true => Err(Refusal::MisdirectedRequest),
            false => Box::pin(pipeline::decide(&self.state, &mut exchange, &head, tls)).await,
        };
        settlement::audit(&self.state, &exchange);
        if close_after {
            session.set_keepalive(None);
        }
        ctx.exchange = Some(exchange);
        match decision {
            Err(refusal) => {
                if matches!(refusal, Refusal::RequestMalformed(_) | Refusal::UpgradeRefused) {
                    // Where one message ends and the next begins can't be trusted.
                    session.set_keepalive(None);
                }
                self.refuse(session, ctx, refusal).await?;
                Ok(true)
            }
            Ok(Decision::AnswerOptions { allow }) => {
                self.answer_options(session, ctx, &allow).await?;
                Ok(true)
            }
            Ok(Decision::Forward) => self.forward(session, ctx).await,
        }
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        // What an earlier attempt left: this one answers for itself.
        (ctx.pending, ctx.held) = (None, None);
        let held = self.admit(session, ctx).await?;
        let now = Instant::now();
        let live = ctx.live.clone();
        let Some(exchange) = &mut ctx.exchange else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        let Some(taken) = exchange.taken.clone() else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        let vendor = taken.route.vendor.clone();
        let (attempt, left) = match exchange.begin_attempt(now) {
            Ok(begun) => begun,
            Err(refusal) => {
                ctx.pending = Some(refusal);
                return Err(refused());
            }
        };
        ctx.held = Some(held);
        let peer = live.peers.resolved(&vendor, taken.reads, attempt, left).await;
        let Some(mut peer) = peer else {
            let failure = Failure::NoConnection(Unreachable::NameUnresolved);
            ctx.ended(&failure, false, false);
            ctx.pending = Some(Refusal::VendorUnreachable(Unreachable::NameUnresolved));
            return Err(refused());
        };
        peer.options.read_timeout = Some(vendor.timeouts.response.min(left));
        if !session.as_downstream_mut().is_body_done() {
            let connection = ctx.connection();
            peer.options.write_timeout = connection.map(|c| c.listener.body_timeout);
        }
        Ok(peer)
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        peer: &HttpPeer,
        ctx: &mut Ctx,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let failure = failures::read(&error);
        // Nothing was sent: the name's next address may be tried whatever the method.
        error.set_retry(ctx.ended(&failure, false, true) == Next::Again);
        let vendor = ctx.exchange.as_ref().and_then(Exchange::vendor_config);
        let target = vendor.and_then(|vendor| ctx.live.peers.target(&vendor.name));
        if let (Some(target), Some(address)) = (target, peer._address.as_inet()) {
            target.failed(*address);
        }
        error
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Ctx,
        client_reused: bool,
    ) -> Box<Error> {
        if ctx.again {
            // The answer said so, and was judged then.
            error.set_retry(true);
            return error;
        }
        let failure = match &ctx.pending {
            Some(refusal) => Failure::Refused(refusal.clone()),
            None => failures::read(&error),
        };
        // What writes is never sent a second time, whatever pingora or HTTP/2 would allow: a
        // connection that died idle says nothing about what the vendor did with the bytes.
        // Of a stream of HTTP/2 that the vendor resets, the shared connection says nothing.
        let stale = client_reused && error.retry == RetryType::ReusedOnly;
        let next = ctx.ended(&failure, stale, is_replayable(session));
        error.set_retry(next == Next::Again);
        error
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let (Some(exchange), Some(held)) = (&mut ctx.exchange, &ctx.held) else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        let equipped = pipeline::equip(exchange, held, &request.headers, entropy::for_attempt());
        let Some(Equipped { target, method, edits }) = equipped else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        apply_to_request(request, edits)?;
        if let Some(method) = method {
            request.set_method(method);
        }
        if session.as_downstream_mut().is_body_empty() {
            declare_empty_body(request)?;
        }
        request.set_raw_path(target.as_bytes())?;
        exchange.vendor.sent = true;
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if end_of_stream {
            ctx.awaits_answer()
        } else {
            ctx.upload_moves()
        }
        let Some(exchange) = &mut ctx.exchange else { return Ok(()) };
        let length = body.as_ref().map_or(0, Bytes::len);
        exchange.bytes_in = exchange.bytes_in.max(session.as_downstream().body_bytes_read() as u64);
        let max = exchange.taken.as_ref().and_then(|taken| taken.route.body_bytes_max);
        if let Some(max) = max.filter(|max| length > 0 && exchange.bytes_in > *max) {
            // The vendor's connection is dropped with the request unfinished.
            ctx.pending = Some(Refusal::PayloadTooLarge(max));
            return Err(refused());
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let status = response.status.as_u16();
        if (100..200).contains(&status) && status != 101 {
            return self.interim(response, ctx);
        }
        ctx.rests();
        let date = self.state.clock.date();
        let replayable = is_replayable(session);
        let (Some(exchange), Some(held)) = (&mut ctx.exchange, &mut ctx.held) else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        let verdict = lane::verdict_of_head(&self.state, exchange, status, &response.headers);
        let seen = Seen { status, headers: &response.headers, verdict, replayable };
        let edits = match pipeline::observe(exchange, seen, held, &date) {
            Ok(Some(edits)) => edits,
            Ok(None) => {
                let again = exchange.again();
                ctx.count_attempt(again);
                ctx.again = true;
                return Err(refused());
            }
            Err(refusal) => {
                ctx.pending = Some(refusal);
                return Err(refused());
            }
        };
        apply_to_response(response, edits)?;
        tell_of_request(response, exchange, &self.state.clock)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.status = response.status.as_u16();
        if session.req_header().version == Version::HTTP_10 && unchunk(response) {
            session.set_keepalive(None);
        }
        if session.req_header().method == Method::HEAD || has_no_body(response) {
            ctx.answer_is_there();
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        if end_of_stream {
            ctx.answer_is_there();
        }
        ctx.bytes_out += body.as_ref().map_or(0, |body| body.len() as u64);
        Ok(None)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Ctx,
    ) -> FailToProxy {
        ctx.rests();
        let stalled = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
        if let Some(connection) = ctx.connection()
            && stalled
            && *error.esource() == ErrorSource::Downstream
        {
            connection.note(Closing::SlowBody);
        }
        let failure = match ctx.pending.take() {
            Some(refusal) => Failure::Refused(refusal),
            None => failures::read(error),
        };
        if let Some(exchange) = &mut ctx.exchange {
            // pingora's own words may hold what the vendor or the client sent.
            let (side, kind) = (error.esource().as_str(), error.etype().as_str());
            exchange.reason.get_or_insert_with(|| format!("{side}: {kind}"));
            let attempt = exchange.attempt(Instant::now());
            let written = session.as_downstream().response_written();
            let begun = written.is_some_and(|head| !head.status.is_informational());
            if let Some(refusal) = outcome::judge(failure, attempt).filter(|_| !begun) {
                // pingora closes after an error: the client is told so.
                session.set_keepalive(None);
                // The client may leave while it is told: then there is nobody to answer.
                let _ = self.refuse(session, ctx, refusal).await;
                session.as_downstream_mut().shutdown().await;
            }
        }
        FailToProxy { error_code: ctx.status, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
        if let Some(head) = session.as_downstream().response_written() {
            ctx.status = head.status.as_u16();
        }
        ctx.complete = error.is_none();
        ctx.settle();
    }

    fn suppress_error_log(&self, _: &Session, _: &Ctx, _: &Error) -> bool {
        true
    }

    fn request_summary(&self, _: &Session, ctx: &Ctx) -> String {
        // pingora would write the target, and with it what a query may hold.
        ctx.exchange.as_ref().map_or_else(String::new, |e| e.correlation.id().to_owned())
    }
}

/// Whether the request can be sent again: nothing went to the client, and what it sent is at hand.
fn is_replayable(session: &mut Session) -> bool {
    let downstream = session.as_downstream_mut();
    let untouched = downstream.response_written().is_none();
    untouched && !downstream.retry_buffer_truncated()
}
