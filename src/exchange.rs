//! One exchange with a client: what is known of it so far, from its head to its record.

use crate::adapters::clock::Clock;
use crate::config::{Credential, Listener, Route, Vendor};
use crate::limits::{self, Bounds};
use crate::refusal::{Executed, Refusal};
use crate::stages::authentication::{Certificate, Client, Scheme};
use crate::stages::authorization::{Forbidden, Grant};
use crate::stages::correlation::Correlation;
use crate::stages::idempotency::key::FromHead;
use crate::stages::idempotency::mapping::Mapped;
use crate::stages::outcome::{self, Attempt};
use crate::stages::routing::Match;
use crate::state::Snapshot;
use crate::vendors::Desk;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How the request came in.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The listener.
    pub listener: Arc<Listener>,
    /// Whether the connection is encrypted.
    pub https: bool,
    /// The peer's address, or what trusted proxies tell.
    pub address: IpAddr,
    /// The version that the client spoke.
    pub version: Version,
    /// `Host` or `:authority`, as received.
    pub authority: Option<String>,
    /// The method, as received.
    pub method: String,
    /// The raw path.
    pub path: String,
    /// The raw query.
    pub query: Option<String>,
    /// The certificate that the client showed in its handshake.
    pub certificate: Option<Arc<Certificate>>,
}

/// What is known of one exchange.
pub struct Exchange {
    /// The rules that it began with.
    pub snapshot: Arc<Snapshot>,
    /// How it came in.
    pub arrival: Arc<Arrival>,
    /// How it is known.
    pub correlation: Correlation,
    /// When its head was complete.
    pub began: Instant,
    /// The route it takes, once that is decided.
    pub taken: Option<Taken>,
    /// What was decided about who calls and what it may do.
    pub access: Option<Access>,
    /// What bounds the client, and what the request holds of it; none of an unknown client.
    pub bounds: Option<Bounds>,
    /// What the vendor was asked and answered.
    pub vendor: VendorSide,
    /// What is known of earlier attempts.
    pub repeat: Repeat,
    /// What its head says of an idempotency key.
    pub key: FromHead,
    /// Whether it is a write under an idempotency key.
    pub keyed: bool,
    /// What changes in it on its way to the vendor, for the sake of its key.
    pub mapped: Option<Box<Mapped>>,
    /// What its key met: the word in the log.
    pub idempotency: Option<&'static str>,
    /// What was answered in the vendor's place.
    pub refusal: Option<Refusal>,
    /// What went wrong, for operators.
    pub reason: Option<String>,
    /// Body bytes that came in.
    pub bytes_in: u64,
}

/// The route of an exchange.
#[derive(Clone)]
pub struct Taken {
    /// The route.
    pub route: Arc<Route>,
    /// Which part of the path it matched.
    pub matched: Match,
    /// Whether the request only reads.
    pub reads: bool,
}

/// What was decided about who calls and what it may do: the ground of an audit line.
#[derive(Clone)]
pub struct Access {
    /// How the caller proved who it is, or tried to.
    pub scheme: Scheme,
    /// What the credential says of its owner, where no client is known.
    pub identity: Option<String>,
    /// The client, once it is known.
    pub client: Option<Client>,
    /// The rule that allows it.
    pub grant: Option<Grant>,
    /// What keeps it out.
    pub barred: Option<Forbidden>,
    /// Number of the policies that it was decided under.
    pub generation: u64,
}

/// What earlier attempts leave to the next one.
#[derive(Default)]
pub struct Repeat {
    /// Whether it waits at the head of its client's queue: it had its turn before.
    pub head: bool,
    /// How long it waits before it asks for its turn.
    pub wait: Option<Duration>,
    /// Attempts that count; those that the vendor throttled do not.
    pub counted: u32,
    /// Whether the request has added to what may be repeated.
    pub deposited: bool,
    /// What the client is told where there is no further attempt after one whose outcome nobody
    /// knows.
    pub doubt: Option<Refusal>,
}

/// The vendor did not act, because it had too much to do.
#[derive(Clone, Debug)]
pub struct Throttled {
    /// When it may be asked again.
    pub until: Instant,
    /// Its own code.
    pub code: Option<String>,
}

/// What happened at the vendor.
#[derive(Default)]
pub struct VendorSide {
    /// Attempts.
    pub attempts: u32,
    /// Whether a byte of the current attempt may have reached it.
    pub sent: bool,
    /// How long the request waited for its turns.
    pub queued: Duration,
    /// What it said when it last turned the request away.
    pub throttled: Option<Throttled>,
    /// When it was last asked.
    pub asked: Option<Instant>,
    /// From asking to the head of the answer.
    pub took: Option<Duration>,
    /// The status it answered.
    pub status: Option<u16>,
    /// Its own id of the request.
    pub request_id: Option<String>,
    /// Its own `X-Correlation-ID`.
    pub correlation_id: Option<String>,
}

impl Exchange {
    /// What a task takes along that ends the request whatever becomes of its client; what is left
    /// here answers and writes down.
    pub fn hand_over(&mut self) -> Exchange {
        Exchange {
            snapshot: self.snapshot.clone(),
            arrival: self.arrival.clone(),
            correlation: self.correlation.clone(),
            began: self.began,
            taken: self.taken.clone(),
            access: self.access.clone(),
            bounds: self.bounds.as_mut().map(Bounds::hand_over),
            vendor: VendorSide::default(),
            repeat: Repeat::default(),
            key: FromHead::None,
            keyed: self.keyed,
            mapped: self.mapped.clone(),
            idempotency: self.idempotency,
            refusal: None,
            reason: None,
            bytes_in: self.bytes_in,
        }
    }

    /// The client, once it is known.
    pub fn client(&self) -> Option<&Client> {
        self.access.as_ref()?.client.as_ref()
    }

    /// What proves the gateway to the vendor, once a rule allows the request.
    pub fn credential(&self) -> Option<&Credential> {
        let grant = self.access.as_ref()?.grant.as_ref()?;
        self.taken.as_ref()?.route.credential(grant.rule().credential.as_ref())
    }

    /// Its name, if it is not the vendor's own one.
    pub fn credential_name(&self) -> Option<&Arc<str>> {
        let grant = self.access.as_ref().and_then(|access| access.grant.as_ref());
        let of_rule = grant.and_then(|grant| grant.rule().credential.as_ref());
        of_rule.or_else(|| self.taken.as_ref()?.route.credential.as_ref())
    }

    /// Whether the vendor sees the gateway's credential, and not the client's own: then its 401 is
    /// about the gateway, and what it answers may be kept.
    pub fn shows_our_credential(&self) -> bool {
        !matches!(self.credential(), Some(Credential::Passthrough))
    }

    /// What the request shares with others at its vendor; `None` before it has a route, and where
    /// nothing is served.
    pub fn desk(&self) -> Option<Arc<Desk>> {
        let route = self.taken.as_ref()?.matched.route();
        self.snapshot.desks.get()?.get(route).cloned()
    }

    /// Counts the request against everything that bounds its client.
    ///
    /// # Errors
    /// `rate-limited`, `quota-exhausted`, `concurrency-limited`: then nothing is counted.
    pub fn count(&mut self, clock: &Clock) -> Result<(), Refusal> {
        self.bounds.as_mut().map_or(Ok(()), |bounds| bounds.admit(limits::moment(clock)))
    }

    /// The fields that tell a client of its limits, for any answer that it gets: they replace
    /// those of the vendor's answer, if there is one.
    pub fn limit_fields(
        &self,
        clock: &Clock,
        vendor: Option<&HeaderMap>,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let bounds = self.bounds.as_ref();
        let fields = bounds.and_then(|bounds| bounds.fields(limits::moment(clock), vendor));
        fields.into_iter().flatten()
    }

    /// Gives back what the request holds of its client's limits.
    pub fn give_back(&mut self) {
        if let Some(bounds) = &mut self.bounds {
            bounds.give_back();
        }
    }

    /// The vendor, once a route was found.
    pub fn vendor_config(&self) -> Option<&Arc<Vendor>> {
        self.taken.as_ref().map(|taken| &taken.route.vendor)
    }

    /// What is left of the route's deadline.
    pub fn time_left(&self, now: Instant) -> Duration {
        let deadline = self.taken.as_ref().map_or(Duration::ZERO, |taken| taken.route.deadline);
        deadline.saturating_sub(now.saturating_duration_since(self.began))
    }

    /// Begins an attempt: its number, from 0, and the time it has.
    ///
    /// # Errors
    /// `deadline-exceeded`, or what is told of an attempt in doubt that can't be made again any
    /// more: then it is no attempt, and the vendor was not asked.
    pub fn begin_attempt(&mut self, now: Instant) -> Result<(usize, Duration), Refusal> {
        let left = self.time_left(now);
        if left.is_zero() {
            return Err(Refusal::DeadlineExceeded);
        }
        if let Some(doubt) = self.repeat.doubt.clone().filter(|_| !self.is_protected()) {
            return Err(doubt);
        }
        let number = usize::try_from(self.vendor.attempts).unwrap_or(usize::MAX);
        self.vendor.attempts += 1;
        self.vendor.asked = Some(now);
        self.vendor.sent = false;
        // What an earlier attempt met is not told of this one.
        (self.vendor.status, self.vendor.throttled) = (None, None);
        (self.vendor.request_id, self.vendor.correlation_id) = (None, None);
        Ok((number, left))
    }

    /// Whether the vendor can't act twice by another attempt, as long ago as the first one may be.
    pub fn is_protected(&self) -> bool {
        let protection = self.mapped.as_ref().and_then(|mapped| mapped.protection);
        protection.is_some_and(|protection| protection.holds(self.began.elapsed()))
    }

    /// The refusal as it may be told: where an earlier attempt may have acted, one that says that
    /// nothing was done would be a lie.
    pub fn honest(&mut self, refusal: Refusal) -> Refusal {
        let promises = outcome::executed(&refusal, self.attempt(Instant::now())) == Executed::No;
        match self.repeat.doubt.take().filter(|_| promises) {
            Some(doubt) => {
                self.vendor.sent = true;
                doubt
            }
            None => refusal,
        }
    }

    /// Why the vendor is asked again although it has answered: a metric label.
    pub fn again(&self) -> &'static str {
        if self.vendor.throttled.is_some() { "throttled" } else { "server-error" }
    }

    /// What is known of the current attempt.
    pub fn attempt(&self, now: Instant) -> Attempt {
        Attempt {
            sent: self.vendor.sent,
            reads: self.taken.as_ref().is_none_or(|taken| taken.reads),
            keyed: self.keyed,
            deadline_passed: self.taken.is_some() && self.time_left(now).is_zero(),
        }
    }
}
