//! One attempt of the vendor lane: made ready, sent, looked at, judged. Both of its halves, for
//! writes under a key and for everything else, ask by this.

use super::context::Live;
use super::edits::{apply_to_request, declare_body};
use crate::adapters::body::Body;
use crate::adapters::coding;
use crate::adapters::entropy;
use crate::adapters::vendor_client::{Answering, Lost, Way, failures};
use crate::attempts::{Held, Next};
use crate::config::Vendor;
use crate::exchange::Exchange;
use crate::observation::Seen;
use crate::pipeline::{self, Equipped};
use crate::profile::outcome::{HeadVerdict, PEEK_BYTES_MAX, Verdict};
use crate::refusal::{Refusal, Unreachable};
use crate::stages::forwarding::Edits;
use crate::stages::idempotency::settling::Ending;
use crate::stages::outcome::{Failure, judge};
use crate::state::State;
use http::{Version, header};
use pingora_core::{Error, ErrorType};
use pingora_http::RequestHeader;
use std::time::{Duration, Instant};

/// How long the body of an answer that nobody gets is still read, so that its connection can be
/// used again.
const LEFTOVER: Duration = Duration::from_millis(500);

/// What every attempt of a request is made of.
pub(super) struct Asking<'a> {
    pub(super) state: &'a State,
    pub(super) live: &'a Live,
    pub(super) request: &'a RequestHeader,
    pub(super) body: &'a Body,
}

/// What is to be done after an attempt.
pub(super) enum After {
    /// The client gets this answer.
    Answer(Box<Answering>, Edits, Ending),
    /// It is made again.
    Again(Ending),
    /// The client gets this refusal.
    Refuse(Refusal, Ending),
    /// The client is gone.
    Gone,
}

impl Asking<'_> {
    /// Sends the request once. `runs_on`: once sent, it is not cut off at the request's deadline.
    pub(super) async fn attempt(
        &self,
        exchange: &mut Exchange,
        held: &mut Held,
        runs_on: bool,
    ) -> After {
        let now = Instant::now();
        let (number, left) = match exchange.begin_attempt(now) {
            Ok(begun) => begun,
            Err(refusal) => return After::Refuse(refusal, Ending::NotSent),
        };
        let Ok(head) = self.head(exchange, held) else {
            return After::Refuse(Refusal::GatewayFault, Ending::NotSent);
        };
        let Some(way) = self.way(exchange, number, left, runs_on).await else {
            let why = Failure::NoConnection(Unreachable::NameUnresolved);
            return self.failed(exchange, held, &why, false);
        };
        let until = way.deadline.into_std();
        let address = way.peer._address.as_inet().copied();
        exchange.vendor.sent = true;
        let mut answering = match self.state.client.send(way, head, self.body).await {
            Ok(answering) => answering,
            Err(Lost { failure, why, sent, reused }) => {
                (exchange.vendor.sent, exchange.reason) = (sent, Some(why));
                if let (Failure::NoConnection(_), Some(address)) = (&failure, address) {
                    self.failed_address(exchange, address);
                }
                return self.failed(exchange, held, &failure, reused);
            }
        };
        let Some(vendor) = exchange.vendor_config().cloned() else {
            return After::Refuse(Refusal::GatewayFault, Ending::Lost);
        };
        match look(self.state, &vendor, &mut answering, until).await {
            Ok(verdict) => self.observe(exchange, held, answering, verdict).await,
            Err(lost) => {
                exchange.reason = Some(lost.why);
                self.failed(exchange, held, &lost.failure, false)
            }
        }
    }

    async fn observe(
        &self,
        exchange: &mut Exchange,
        held: &mut Held,
        mut answering: Answering,
        verdict: Option<Verdict>,
    ) -> After {
        let status = answering.head.status.as_u16();
        let date = self.state.clock.date();
        let headers = &answering.head.headers;
        let seen = Seen { status, headers, verdict: verdict.clone(), replayable: true };
        let observed = pipeline::observe(exchange, seen, held, &date);
        let leads_away = matches!(&observed, Err(Refusal::VendorRedirectRefused));
        let ours = exchange.shows_our_credential();
        let ending = match &observed {
            // It does not speak HTTP: whatever it said is not to be believed.
            Err(Refusal::VendorResponseInvalid(_)) => Ending::Lost,
            _ => Ending::Answered { status, verdict, leads_away, ours },
        };
        match observed {
            Ok(Some(edits)) => {
                exchange.reason = None;
                After::Answer(Box::new(answering), edits, ending)
            }
            Ok(None) => {
                self.count(exchange, exchange.again());
                finish(&mut answering).await;
                After::Again(ending)
            }
            Err(refusal) => {
                self.count(exchange, failures::label(&Failure::Refused(refusal.clone())));
                finish(&mut answering).await;
                After::Refuse(refusal, ending)
            }
        }
    }

    /// The attempt has no answer: again, or the client is told.
    fn failed(
        &self,
        exchange: &mut Exchange,
        held: &mut Held,
        failure: &Failure,
        reused: bool,
    ) -> After {
        self.count(exchange, failures::label(failure));
        let sent = exchange.vendor.sent && *failure != Failure::Unprocessed;
        let ending = if sent { Ending::Lost } else { Ending::NotSent };
        if held.failed(exchange, failure, reused, true) == Next::Again {
            return After::Again(ending);
        }
        match judge(failure.clone(), exchange.attempt(Instant::now())) {
            Some(refusal) => After::Refuse(refusal, ending),
            None => After::Gone,
        }
    }

    /// The head as the vendor gets it.
    fn head(&self, exchange: &Exchange, held: &Held) -> Result<RequestHeader, Box<Error>> {
        let mut head = self.request.clone();
        let equipped = pipeline::equip(exchange, held, &head.headers, entropy::for_attempt());
        let Some(Equipped { target, method, edits }) = equipped else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        if let Some(method) = method {
            head.set_method(method);
        }
        apply_to_request(&mut head, edits)?;
        head.set_version(Version::HTTP_11);
        head.remove_header(&header::TRANSFER_ENCODING);
        head.remove_header("trailer");
        declare_body(&mut head, self.body.octets())?;
        if exchange.vendor_config().is_some_and(|vendor| vendor.outcomes.needs_bodies()) {
            only_readable_codings(&mut head)?;
        }
        head.set_raw_path(target.as_bytes())?;
        Ok(head)
    }

    async fn way(
        &self,
        exchange: &Exchange,
        number: usize,
        left: Duration,
        runs_on: bool,
    ) -> Option<Way> {
        let now = Instant::now();
        let taken = exchange.taken.as_ref()?;
        let vendor = &taken.route.vendor;
        let peer = self.live.peers.resolved(vendor, taken.reads, number, left).await?;
        let response = vendor.timeouts.response;
        let after = if runs_on { response } else { Duration::ZERO };
        Some(Way { peer, response, deadline: (now + left + after).into() })
    }

    fn failed_address(&self, exchange: &Exchange, address: std::net::SocketAddr) {
        let vendor = exchange.vendor_config();
        if let Some(target) = vendor.and_then(|vendor| self.live.peers.target(&vendor.name)) {
            target.failed(address);
        }
    }

    /// Counts an attempt.
    fn count(&self, exchange: &Exchange, result: &str) {
        if let Some(vendor) = exchange.vendor_config() {
            let labels = [&*vendor.name, result];
            self.state.metrics.vendor_attempts.with_label_values(&labels).inc();
        }
    }
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
            let (seen, complete) = coding::decoded(headers, seen, complete, PEEK_BYTES_MAX);
            Ok(vendor.outcomes.body(status, headers, &seen, complete, seconds))
        }
    }
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
