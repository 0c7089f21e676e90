//! pingora's phases, each handed to the page that decides: `pipeline.rs`.

use super::connection::Connection;
use super::front::{Incoming, REQUEST};
use super::peers::Peers;
use super::{failures, replies};
use crate::adapters::entropy;
use crate::exchange::{Arrival, Exchange};
use crate::pipeline::{self, Decision, Ending};
use crate::refusal::{Refusal, Unreachable};
use crate::stages::forwarding::Edits;
use crate::stages::outcome::{self, ClientFailure, Failure};
use crate::stages::validation::{Head, Tls};
use crate::state::{Snapshot, State};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Version, header};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connections that one request may try to make: a name's further addresses.
const CONNECTS_MAX: u32 = 3;
/// How long what is left of a refused request's body may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The configuration in force and the connections made by it.
pub struct Live {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// How its vendors are connected to.
    pub peers: Peers,
}

/// What pingora calls.
pub struct Hooks {
    /// What outlives requests.
    pub state: Arc<State>,
    /// The configuration in force.
    pub live: Arc<ArcSwap<Live>>,
}

/// A request's context.
pub struct Ctx {
    live: Arc<Live>,
    state: Arc<State>,
    incoming: Option<Arc<Incoming>>,
    repaired: bool,
    exchange: Option<Exchange>,
    /// A refusal that a later phase answers with.
    pending: Option<Refusal>,
    /// The address of the current try.
    address: Option<SocketAddr>,
    /// What the client was answered, and whether the answer went through to its end.
    status: u16,
    complete: bool,
    settled: bool,
    bytes_out: u64,
}

impl Ctx {
    fn connection(&self) -> Option<&Arc<Connection>> {
        self.incoming.as_ref().map(|incoming| &incoming.connection)
    }

    fn moves(&self) {
        if let Some(incoming) = &self.incoming {
            incoming.moves();
        }
    }

    fn rests(&self) {
        if let Some(incoming) = &self.incoming {
            incoming.rests();
        }
    }

    fn settle(&mut self) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        if let Some(exchange) = &self.exchange {
            let (status, bytes_out) = (self.status, self.bytes_out);
            let ending = Ending { status, bytes_out, complete: self.complete };
            pipeline::settle(&self.state, exchange, ending, Instant::now());
        }
    }

    /// Counts a try that failed.
    fn attempt_failed(&self, failure: &Failure) {
        let vendor = self.exchange.as_ref().and_then(Exchange::vendor_config);
        if let Some(vendor) = vendor {
            let labels = [&*vendor.name, failures::label(failure)];
            self.state.metrics.vendor_attempts.with_label_values(&labels).inc();
        }
    }
}

/// Runs for each request, also for one whose task was dropped half-way.
impl Drop for Ctx {
    fn drop(&mut self) {
        self.settle();
        if let Some(connection) = self.connection() {
            connection.request_ended(self.state.clock.milliseconds());
        }
    }
}

#[async_trait]
impl ProxyHttp for Hooks {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        let incoming = REQUEST.try_with(Arc::clone).ok();
        let repaired = incoming.as_ref().is_some_and(|request| request.connection.request_began());
        Ctx {
            live: self.live.load_full(),
            state: self.state.clone(),
            incoming,
            repaired,
            exchange: None,
            pending: None,
            address: None,
            status: 0,
            complete: false,
            settled: false,
            bytes_out: 0,
        }
    }

    fn init_downstream_modules(&self, _: &mut pingora_core::modules::http::HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let Some(connection) = ctx.connection().cloned() else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        self.bound(session, &connection);
        let arrival = arrival(session, &connection, &ctx.live.snapshot);
        let headers = &session.req_header().headers;
        let snapshot = ctx.live.snapshot.clone();
        let entropy = entropy::for_request();
        let mut exchange =
            pipeline::receive(snapshot, arrival.clone(), headers, entropy, Instant::now());
        let raw = session.as_http1().map(|http1| http1.get_headers_raw_bytes());
        let head = Head {
            method: &arrival.method,
            path: &arrival.path,
            query: arrival.query.as_deref(),
            authority: arrival.authority.as_deref(),
            headers: &session.req_header().headers,
            version: arrival.version,
            raw: raw.as_deref(),
            repaired: ctx.repaired,
        };
        let tls = connection.tls.as_ref().map(|tls| Tls {
            server_name: tls.server_name.as_deref(),
            certificate_names: &tls.certificate_names,
        });
        let decision = pipeline::decide(&mut exchange, &head, tls);
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
            Ok(Decision::Forward) => {
                if expects_continue(session) {
                    session.as_downstream_mut().write_continue_response().await?;
                }
                if !session.as_downstream_mut().is_body_done() {
                    ctx.moves();
                }
                Ok(false)
            }
        }
    }

    async fn upstream_peer(&self, _: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        let now = Instant::now();
        let live = ctx.live.clone();
        let Some(exchange) = &mut ctx.exchange else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        let Some(taken) = exchange.taken.clone() else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        let vendor = taken.route.vendor.clone();
        let attempt = usize::try_from(exchange.vendor.attempts).unwrap_or(usize::MAX);
        exchange.vendor.attempts += 1;
        exchange.vendor.sent = false;
        exchange.vendor.asked.get_or_insert(now);
        let left = exchange.time_left(now);
        if left.is_zero() {
            ctx.pending = Some(Refusal::DeadlineExceeded);
            return Err(refused());
        }
        if live.peers.candidate(&vendor.name, taken.reads, attempt).is_none()
            && let Some(target) = live.peers.target(&vendor.name)
        {
            let patience = vendor.timeouts.connect.min(left);
            // Unresolved when the time is up: the next lines say so.
            let _ = tokio::time::timeout(patience, target.first_lookup()).await;
        }
        let Some(candidate) = live.peers.candidate(&vendor.name, taken.reads, attempt) else {
            let failure = Failure::NoConnection(Unreachable::NameUnresolved);
            ctx.attempt_failed(&failure);
            ctx.pending = Some(Refusal::VendorUnreachable(Unreachable::NameUnresolved));
            return Err(refused());
        };
        ctx.address = Some(candidate.address);
        let mut peer = candidate.peer;
        let connect = vendor.timeouts.connect.min(left);
        peer.options.connection_timeout = Some(connect);
        peer.options.total_connection_timeout = Some(connect);
        peer.options.read_timeout = Some(vendor.timeouts.response.min(left));
        let body_timeout = ctx.connection().map(|connection| connection.listener.body_timeout);
        peer.options.write_timeout = body_timeout;
        Ok(peer)
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        ctx: &mut Ctx,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let failure = failures::read(&error);
        ctx.attempt_failed(&failure);
        let Some(exchange) = &ctx.exchange else { return error };
        let vendor = exchange.vendor_config().map(|vendor| vendor.name.clone());
        let target = vendor.and_then(|vendor| ctx.live.peers.target(&vendor));
        if let (Some(target), Some(address)) = (target, ctx.address) {
            let addresses = u32::try_from(target.count()).unwrap_or(u32::MAX);
            // Nothing was sent: the name's next address may be tried whatever the method.
            let retry = exchange.vendor.attempts < addresses.min(CONNECTS_MAX);
            error.set_retry(retry);
            target.failed(address);
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
        let failure = match &ctx.pending {
            Some(refusal) => Failure::Refused(refusal.clone()),
            None => failures::read(&error),
        };
        ctx.attempt_failed(&failure);
        // What writes is never sent a second time, whatever pingora or HTTP/2 would allow: a
        // connection that died idle says nothing about what the vendor did with the bytes.
        let reads = ctx.exchange.as_ref().is_some_and(|e| e.attempt(Instant::now()).reads);
        let untouched = session.as_downstream().response_written().is_none();
        let whole = !session.as_downstream().retry_buffer_truncated();
        let stale = client_reused && matches!(failure, Failure::Ended);
        error.set_retry(reads && untouched && whole && stale && ctx.pending.is_none());
        error
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let Some(exchange) = &mut ctx.exchange else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        let equipped = pipeline::equip(exchange, &request.headers, entropy::for_attempt());
        let Some((target, edits)) = equipped else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        apply_to_request(request, edits)?;
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
            ctx.rests()
        } else {
            ctx.moves()
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
        _: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let status = response.status.as_u16();
        if (100..200).contains(&status) && status != 101 {
            return Ok(());
        }
        let date = self.state.clock.date();
        let Some(exchange) = &mut ctx.exchange else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        let observed =
            pipeline::observe(exchange, status, &response.headers, &date, Instant::now());
        let edits = match observed {
            Ok(edits) => edits,
            Err(refusal) => {
                ctx.pending = Some(refusal);
                return Err(refused());
            }
        };
        if let Some(vendor) = exchange.vendor_config() {
            let labels = [&*vendor.name, "answered"];
            self.state.metrics.vendor_attempts.with_label_values(&labels).inc();
        }
        apply_to_response(response, edits)?;
        if exchange.snapshot.config.server.server_timing {
            append_server_timing(response, exchange)?;
        }
        ctx.moves();
        Ok(())
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        ctx.bytes_out += body.as_ref().map_or(0, |body| body.len() as u64);
        ctx.moves();
        Ok(None)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Ctx,
    ) -> FailToProxy {
        ctx.rests();
        let failure = match ctx.pending.take() {
            Some(refusal) => Failure::Refused(refusal),
            None => failures::read(error),
        };
        if let Some(exchange) = &mut ctx.exchange {
            exchange.reason = Some(error.to_string());
            let attempt = exchange.attempt(Instant::now());
            let written = session.as_downstream().response_written();
            let begun = written.is_some_and(|head| !head.status.is_informational());
            let gone = failure == Failure::Client(ClientFailure::Gone);
            if let Some(refusal) = outcome::judge(failure, attempt).filter(|_| !begun && !gone) {
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

impl Hooks {
    /// Bounds what the client may take its time with.
    fn bound(&self, session: &mut Session, connection: &Connection) {
        let downstream = session.as_downstream_mut();
        downstream.set_read_timeout(Some(connection.listener.body_timeout));
        downstream.set_write_timeout(Some(connection.listener.body_timeout));
        downstream.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
        if self.state.phase.is_leaving() || connection.is_retired() {
            downstream.set_keepalive(None);
        }
    }

    async fn refuse(&self, session: &mut Session, ctx: &mut Ctx, refusal: Refusal) -> Result<()> {
        let Some(exchange) = &mut ctx.exchange else { return Ok(()) };
        let reply = replies::of(&refusal, exchange, self.state.clock.date());
        ctx.status = reply.status;
        ctx.bytes_out = reply.body.len() as u64;
        exchange.refusal = Some(refusal);
        match ctx.connection().cloned() {
            Some(connection) => replies::send(session, &connection, reply).await,
            None => Ok(()),
        }
    }

    async fn answer_options(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        allow: &str,
    ) -> Result<()> {
        let mut head = ResponseHeader::build(204, Some(4))?;
        head.insert_header(header::ALLOW, allow)?;
        head.insert_header(header::DATE, self.state.clock.date())?;
        if let Some(exchange) = &ctx.exchange {
            let id = exchange.correlation.field().clone();
            head.insert_header(crate::stages::correlation::CORRELATION_ID, id)?;
        }
        session.as_downstream_mut().write_response_header(Box::new(head)).await
    }
}

/// Whether the client waits for 100 Continue; over HTTP/1.0 it can't (RFC 9110 §10.1.1).
fn expects_continue(session: &Session) -> bool {
    let request = session.req_header();
    let expect = request.headers.get(header::EXPECT);
    request.version == Version::HTTP_11
        && expect.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// An error that only carries control to `fail_to_proxy`: the refusal waits in the context.
fn refused() -> Box<Error> {
    Error::new_in(ErrorType::Custom("refused"))
}

fn arrival(session: &Session, connection: &Connection, snapshot: &Snapshot) -> Arrival {
    let request = session.req_header();
    let raw = request.raw_path();
    let target = String::from_utf8_lossy(raw);
    let target = origin_form(&target);
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target.to_owned(), None),
    };
    let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = request.uri.authority().map(|authority| authority.as_str()).or(host);
    Arrival {
        listener: connection.listener.clone(),
        https: connection.tls.is_some(),
        address: client_address(connection.peer.ip(), request, snapshot),
        version: request.version,
        authority: authority.map(str::to_owned),
        method: request.method.as_str().to_owned(),
        path,
        query,
    }
}

/// The target without scheme and authority: absolute-form has to be accepted (RFC 9112 §3.2.2).
fn origin_form(target: &str) -> &str {
    let Some((scheme, rest)) = target.split_once("://") else { return target };
    if scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+') {
        return target;
    }
    match rest.find(['/', '?']).and_then(|at| rest.get(at..)) {
        Some(path) => path,
        None => "/",
    }
}

/// The peer, or behind trusted proxies the last address that they did not add themselves.
fn client_address(peer: IpAddr, request: &RequestHeader, snapshot: &Snapshot) -> IpAddr {
    let trusted = &snapshot.config.server.trusted_proxies;
    let is_trusted =
        |address: IpAddr| trusted.iter().any(|range| range.contains(&address.to_canonical()));
    if trusted.is_empty() || !is_trusted(peer) {
        return peer;
    }
    let mut hops: Vec<IpAddr> = Vec::new();
    for line in request.headers.get_all("x-forwarded-for") {
        for hop in line.to_str().unwrap_or("").split(',') {
            match hop.trim().parse() {
                Ok(address) => hops.push(address),
                // Nothing left of what can't be read can be believed.
                Err(_) => hops.clear(),
            }
        }
    }
    hops.into_iter().rev().find(|hop| !is_trusted(*hop)).unwrap_or(peer)
}

fn apply_to_request(request: &mut RequestHeader, edits: Edits) -> Result<()> {
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

fn apply_to_response(response: &mut ResponseHeader, edits: Edits) -> Result<()> {
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

fn append_server_timing(response: &mut ResponseHeader, exchange: &Exchange) -> Result<()> {
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
