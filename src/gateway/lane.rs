//! Which lane a request takes, and what the stream lane does around an attempt.

use super::answers::refused;
use super::arrival;
use super::context::Ctx;
use super::hooks::Hooks;
use super::vendor_lane::{audit_if_barred, hangs_up};
use crate::attempts::Held;
use crate::exchange::Exchange;
use crate::pipeline;
use crate::profile::outcome::{HeadVerdict, Verdict};
use crate::stages::idempotency::key::FromHead;
use crate::state::State;
use http::HeaderMap;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;

/// Whether the vendor lane takes a request: where its body must not be read while it holds a slot
/// or a turn, and where the vendor's throttles are told in bodies. A body of any size is never
/// read first.
pub fn reads_first(exchange: &Exchange) -> bool {
    let Some(taken) = &exchange.taken else { return false };
    let (route, vendor) = (&taken.route, &taken.route.vendor);
    let bounded = route.body_bytes_max.is_some();
    let holds_what_others_need = vendor.handling.limits_concurrency || route.serialize_by.is_some();
    // What is written down first, or changed for the sake of its key, has to be at hand.
    let keyed = exchange.key != FromHead::None;
    bounded && (holds_what_others_need || vendor.outcomes.needs_bodies() || keyed)
}

/// What an answer's head says; a matcher that would need its body is passed over here.
pub fn verdict_of_head(
    state: &State,
    exchange: &Exchange,
    status: u16,
    headers: &HeaderMap,
) -> Option<Verdict> {
    let vendor = exchange.vendor_config()?;
    let seconds = state.clock.unix_seconds();
    match vendor.outcomes.head(status, headers, seconds) {
        HeadVerdict::Decided(verdict) => Some(verdict),
        HeadVerdict::NeedsBody => vendor.outcomes.body(status, headers, b"", false, seconds),
        HeadVerdict::NoMatch => None,
    }
}

impl Hooks {
    /// Nothing refuses the request: the vendor lane answers it (`true`), or the stream lane goes
    /// on with it.
    pub(super) async fn forward(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        if arrival::expects_continue(session) {
            session.as_downstream_mut().write_continue_response().await?;
        }
        if ctx.exchange.as_ref().is_some_and(reads_first) {
            self.by_vendor_lane(session, ctx).await?;
            return Ok(true);
        }
        match session.as_downstream_mut().is_body_done() {
            true => ctx.awaits_answer(),
            false => ctx.upload_moves(),
        }
        Ok(false)
    }

    /// Waits for what an attempt of the stream lane has to hold.
    pub(super) async fn admit(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Held> {
        let whole = session.as_downstream_mut().is_body_done();
        let Some(exchange) = &mut ctx.exchange else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        ctx.again = false;
        let admitted = tokio::select! {
            biased;
            admitted = pipeline::admit(&self.state, exchange) => admitted,
            // A client whose upload is under way is seen only when it goes on.
            () = hangs_up(session), if whole => {
                return Err(Error::new_down(ErrorType::ConnectionClosed));
            }
        };
        admitted.map_err(|refusal| {
            audit_if_barred(&self.state, exchange);
            ctx.pending = Some(refusal);
            refused()
        })
    }
}
