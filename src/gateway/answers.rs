//! What the hooks do without the vendor: bounds of the client's side, refusals, answers of our own.

use super::connection::Connection;
use super::context::Ctx;
use super::hooks::Hooks;
use super::replies;
use crate::refusal::Refusal;
use crate::stages::correlation::CORRELATION_ID;
use crate::stages::forwarding::answer::PROXY_STATUS;
use http::{HeaderName, Method, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use std::time::{Duration, Instant};

/// How long what is left of a refused request's body may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

impl Hooks {
    /// Bounds what the client may take its time with.
    pub(super) fn bound(&self, session: &mut Session, connection: &Connection) {
        let downstream = session.as_downstream_mut();
        downstream.set_read_timeout(Some(connection.listener.body_timeout));
        // A client of HTTP/1 that does not take its answer is seen at its socket; one of HTTP/2
        // may keep a single stream waiting.
        if connection.is_http2() {
            downstream.set_write_timeout(Some(connection.listener.body_timeout));
        }
        downstream.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
        downstream.set_ignore_info_resp(true);
        if self.state.phase.is_leaving() || connection.is_retired() {
            downstream.set_keepalive(None);
        }
    }

    /// An interim answer: whatever the vendor says in it stays here (RFC 9110 §15.2 lets a gateway
    /// leave it out), and any number of them ends at the deadline.
    pub(super) fn interim(&self, response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        let late = ctx.exchange.as_ref().is_some_and(|e| e.time_left(Instant::now()).is_zero());
        if late {
            ctx.pending = Some(Refusal::DeadlineExceeded);
            return Err(refused());
        }
        let names: Vec<HeaderName> = response.headers.keys().cloned().collect();
        for name in names {
            response.remove_header(&name);
        }
        Ok(())
    }

    pub(super) async fn refuse(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        refusal: Refusal,
    ) -> Result<()> {
        let Some(exchange) = &mut ctx.exchange else { return Ok(()) };
        let mut reply = replies::of(&refusal, exchange, self.state.clock.date());
        reply.fields.extend(exchange.limit_fields(&self.state.clock, None));
        exchange.give_back();
        if self.state.phase.is_leaving() {
            // It may have begun to wait before that.
            session.set_keepalive(None);
        }
        ctx.status = reply.status;
        ctx.bytes_out = match session.req_header().method == Method::HEAD {
            true => 0,
            false => reply.body.len() as u64,
        };
        exchange.reason = exchange.reason.take().or_else(|| refusal.reason().map(str::to_owned));
        exchange.refusal = Some(refusal);
        match ctx.connection().cloned() {
            Some(connection) => replies::send(session, &connection, reply).await,
            None => Ok(()),
        }
    }

    pub(super) async fn answer_options(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        allow: &str,
    ) -> Result<()> {
        let mut head = ResponseHeader::build(204, Some(4))?;
        head.insert_header(header::ALLOW, allow)?;
        head.insert_header(header::DATE, self.state.clock.date())?;
        if let Some(exchange) = &ctx.exchange {
            head.insert_header(CORRELATION_ID, exchange.correlation.field().clone())?;
            head.insert_header(PROXY_STATUS, &exchange.snapshot.config.server.name)?;
            for (name, value) in exchange.limit_fields(&self.state.clock, None) {
                head.insert_header(name, value)?;
            }
        }
        session.as_downstream_mut().write_response_header(Box::new(head)).await
    }
}

/// An error that only carries control to `fail_to_proxy`: the refusal waits in the context.
pub(super) fn refused() -> Box<Error> {
    Error::new_in(ErrorType::Custom("refused"))
}
