//! What surrounds each attempt at a vendor: admission before it, judgment after it.
//!
//! Admission: what is paused, the turn, the slot, the permit, and the policies once more, in an
//! order in which nobody holds what others wait for longer than he needs it. Judgment: what the
//! answer is to the pool and the circuit, and whether the request is sent again.

use crate::access;
use crate::adapters::entropy;
use crate::circuits::Permit;
use crate::exchange::{Exchange, Throttled};
use crate::model::rates::retry_after_seconds;
use crate::pools::Slot;
use crate::profile::outcome::{Class, Scope, Verdict as Outcome};
use crate::profile::wait::clamp;
use crate::refusal::{Invalid, Refusal};
use crate::stages::admission::parts::Part;
use crate::stages::admission::{Backoff, Ended as SlotEnded, Throttle, Ticket};
use crate::stages::circuit::Verdict;
use crate::stages::outcome::Failure;
use crate::stages::retry::{self, Again, Ended};
use crate::state::State;
use crate::vendors::{Desk, Turn};
use http::HeaderMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// What an attempt holds: given back, or judged, by dropping it.
pub struct Held {
    /// The right to be at the vendor.
    pub slot: Slot,
    permit: Option<Permit>,
    _turn: Option<Turn>,
}

/// What comes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The client is told.
    Tell,
    /// The request is sent again.
    Again,
}

/// Waits until an attempt may be made.
///
/// # Errors
/// What the policies in force refuse; `vendor-paused`, `vendor-queue-full`,
/// `vendor-queue-timeout`, `vendor-circuit-open`, `deadline-exceeded`, `gateway-draining`.
pub async fn admit(state: &State, exchange: &mut Exchange) -> Result<Held, Refusal> {
    let admitted = enter(state, exchange).await;
    admitted.map_err(|refusal| exchange.honest(refusal))
}

async fn enter(state: &State, exchange: &mut Exchange) -> Result<Held, Refusal> {
    access::again(state, exchange)?;
    if state.vendors.is_closed() {
        return Err(Refusal::GatewayDraining(1));
    }
    let began = Instant::now();
    let admitted = tokio::select! {
        biased;
        admitted = wait_for_turn(exchange) => admitted,
        // Whatever it waits for: a slot, its turn, the end of a pause, its next attempt.
        () = state.vendors.closed() => Err(Refusal::GatewayDraining(1)),
    };
    let waited = began.elapsed();
    exchange.vendor.queued += waited;
    let held = admitted.map_err(|refusal| in_the_end(exchange, refusal))?;
    // What the policies said while it waited may not hold any more.
    access::again(state, exchange)?;
    Ok(held)
}

async fn wait_for_turn(exchange: &mut Exchange) -> Result<Held, Refusal> {
    let desk = exchange.desk().ok_or(Refusal::GatewayFault)?;
    let reads = exchange.taken.as_ref().is_some_and(|taken| taken.reads);
    let now = Instant::now();
    let deadline = now + exchange.time_left(now);
    if let Some(wait) = exchange.repeat.wait.take() {
        tokio::time::sleep_until(deadline.min(now + wait).into()).await;
    }
    // Nobody waits for a vendor that is left alone; the permit itself comes last.
    drop(desk.circuit.permit(reads)?);
    let turn = turn(exchange, &desk, deadline).await?;
    loop {
        wait_for_parts(exchange, &desk, deadline).await?;
        let ticket = ticket(exchange, reads).ok_or(Refusal::GatewayFault)?;
        let slot = desk.pool.slot(&ticket, exchange.repeat.head, deadline).await?;
        if paused(exchange, &desk).is_some() {
            // Paused while it waited: its place is at the head of its client's queue.
            exchange.repeat.head = true;
            continue;
        }
        let permit = Some(desk.circuit.permit(reads)?);
        return Ok(Held { slot, permit, _turn: turn });
    }
}

async fn turn(
    exchange: &Exchange,
    desk: &Arc<Desk>,
    deadline: Instant,
) -> Result<Option<Turn>, Refusal> {
    let Some(taken) = &exchange.taken else { return Ok(None) };
    let Some(number) = taken.route.serialize_by else { return Ok(None) };
    let rest = taken.matched.rest(&exchange.arrival.path);
    let Some(segment) = rest.split('/').nth(number) else { return Ok(None) };
    let turn = tokio::time::timeout_at(deadline.into(), desk.turns.turn(segment)).await;
    turn.map(Some).map_err(|_| Refusal::DeadlineExceeded)
}

/// Waits until no part of the vendor that the request needs is paused.
async fn wait_for_parts(
    exchange: &Exchange,
    desk: &Desk,
    deadline: Instant,
) -> Result<(), Refusal> {
    while let Some(until) = paused(exchange, desk) {
        if until >= deadline {
            let left = until.saturating_duration_since(Instant::now());
            return Err(Refusal::VendorPaused(retry_after_seconds(left)));
        }
        tokio::time::sleep_until(until.into()).await;
    }
    Ok(())
}

fn paused(exchange: &Exchange, desk: &Desk) -> Option<Instant> {
    desk.pauses.until(|| parts(exchange), Instant::now())
}

/// The parts of the vendor that a request needs.
fn parts(exchange: &Exchange) -> [Part; 3] {
    let taken = exchange.taken.as_ref();
    let path = taken.map_or("", |taken| taken.matched.rest(&exchange.arrival.path));
    [
        Part::Credential(exchange.credential_name().cloned()),
        Part::Endpoint(endpoint(&exchange.arrival.method, path)),
        Part::Resource(path.to_owned()),
    ]
}

/// Segments that tell endpoints apart; what comes behind them names records.
const ENDPOINT_SEGMENTS: usize = 3;

fn endpoint(method: &str, path: &str) -> String {
    let segments: Vec<&str> = path.split('/').skip(1).take(ENDPOINT_SEGMENTS).collect();
    format!("{method} /{}", segments.join("/"))
}

fn ticket(exchange: &Exchange, reads: bool) -> Option<Ticket> {
    let grant = exchange.access.as_ref()?.grant.as_ref()?;
    let client = grant.client();
    Some(Ticket {
        client: client.name.clone(),
        share: client.share.get(),
        priority: client.priority,
        writes: !reads,
    })
}

/// A request that the vendor turned away and that could not wait it out is told so, whatever it
/// was that ended its patience.
fn in_the_end(exchange: &mut Exchange, refusal: Refusal) -> Refusal {
    let refusal = exchange.honest(refusal);
    match (&exchange.vendor.throttled, &refusal) {
        _ if exchange.vendor.sent => refusal,
        (None, _) | (_, Refusal::GatewayDraining(_) | Refusal::GatewayFault) => refusal,
        (Some(throttled), _) => {
            let seconds = refusal.retry_after().unwrap_or(1);
            let asked =
                retry_after_seconds(throttled.until.saturating_duration_since(Instant::now()));
            Refusal::VendorPaused(seconds.max(asked))
        }
    }
}

/// A connection that died idle says so at once; one that ends later had a vendor at work.
const STALE_WITHIN: Duration = Duration::from_secs(1);

impl Held {
    /// The attempt failed without an answer: what comes next.
    pub fn failed(
        &mut self,
        exchange: &mut Exchange,
        failure: &Failure,
        reused: bool,
        replayable: bool,
    ) -> Next {
        let asked = exchange.vendor.asked.map_or(Duration::ZERO, |asked| asked.elapsed());
        let reads = exchange.taken.as_ref().is_some_and(|taken| taken.reads);
        let ended = match failure {
            Failure::Client(_) | Failure::Refused(_) | Failure::Fault => Ended::Final,
            Failure::NoConnection(_) => Ended::NotSent,
            Failure::Unprocessed => Ended::Unprocessed,
            // A connection that died idle: for a read it says nothing at all.
            Failure::Ended if reused && reads && asked < STALE_WITHIN => Ended::Unprocessed,
            Failure::Ended | Failure::TimedOut | Failure::NotHttp => Ended::Lost,
        };
        let verdict = match (failure, &ended) {
            (Failure::Client(_) | Failure::Refused(_) | Failure::Fault, _)
            | (_, Ended::Unprocessed) => Verdict::Neutral,
            _ => Verdict::Failure,
        };
        self.judge(verdict);
        if verdict == Verdict::Failure {
            let late = *failure == Failure::TimedOut;
            self.slot.ended = if late { SlotEnded::TimedOut } else { SlotEnded::Failed };
        }
        decide(exchange, ended, replayable)
    }

    /// The vendor has answered: what comes next.
    pub fn answered(
        &mut self,
        exchange: &mut Exchange,
        status: u16,
        headers: &HeaderMap,
        outcome: Option<&Outcome>,
        replayable: bool,
    ) -> Next {
        pace(exchange, headers);
        let class = outcome.map(|outcome| outcome.class);
        exchange.vendor.throttled = None;
        if let Some(outcome) = outcome.filter(|it| is_turned_away(it.class)) {
            self.judge(Verdict::Neutral);
            let wait = throttled(exchange, &mut self.slot, outcome);
            if !may_come_again(exchange, outcome) {
                // Others wait; what became of this one is for its client to see.
                return decide(exchange, Ended::Final, replayable);
            }
            exchange.vendor.throttled =
                Some(Throttled { until: Instant::now() + wait, code: outcome.code.clone() });
            let throttle = outcome.class.is_throttle();
            return decide(exchange, Ended::RefusedUnexecuted { throttle }, replayable);
        }
        let fails = is_failure(class, status);
        match self.permit.take() {
            Some(permit) if !fails && (400..500).contains(&status) => {
                permit.judge_mistake();
            }
            Some(permit) => {
                permit.judge(if fails { Verdict::Failure } else { Verdict::Success });
            }
            None => {}
        }
        self.slot.ended = if fails { SlotEnded::Failed } else { SlotEnded::Success };
        if let (Some(desk), false) = (exchange.desk(), fails) {
            desk.pauses.answered(|| parts(exchange), asked(exchange));
        }
        let again = match class {
            Some(Class::RetryableServer) => true,
            None => matches!(status, 502..=504),
            Some(_) => false,
        };
        let ended = if again { Ended::RetryableServer } else { Ended::Final };
        decide(exchange, ended, replayable)
    }

    fn judge(&mut self, verdict: Verdict) {
        if let Some(permit) = self.permit.take() {
            permit.judge(verdict);
        }
    }
}

/// When the current attempt was made.
fn asked(exchange: &Exchange) -> Instant {
    exchange.vendor.asked.unwrap_or(exchange.began)
}

/// What the vendor says is left of its budgets: seen by operators, and heeded before it is used up.
fn pace(exchange: &Exchange, headers: &HeaderMap) {
    let Some((desk, taken)) = exchange.desk().zip(exchange.taken.as_ref()) else { return };
    for budget in &taken.route.vendor.profile.budgets {
        let Some(reading) = budget.read(headers) else { continue };
        let left = reading.remaining();
        desk.budget_left
            .with_label_values(&[&*desk.pool.name, &*budget.name])
            .set(i64::try_from(left).unwrap_or(i64::MAX));
        let now = Instant::now();
        desk.pool.with(|pool| {
            pool.pace(&budget.name, left, reading.limit, budget.restore, budget.reserve, now);
        });
    }
}

/// Whether an answer speaks against the vendor's health.
pub fn is_failure(class: Option<Class>, status: u16) -> bool {
    match class {
        Some(class) => matches!(class, Class::RetryableServer | Class::FinalServer),
        // What it can't do, or can't speak, is no sickness: 501, 505.
        None => matches!(status, 500 | 502..=504 | 506..),
    }
}

/// Whether the vendor did not act, and may act on the same request later.
pub fn is_turned_away(class: Class) -> bool {
    class.is_throttle() || class == Class::Lock
}

/// Whether a request that was turned away may be sent again: the vendor certainly did not act, or
/// acting twice is acting once.
pub fn may_come_again(exchange: &Exchange, outcome: &Outcome) -> bool {
    let reads = exchange.taken.as_ref().is_some_and(|taken| taken.reads);
    reads || outcome.certainly_unexecuted()
}

/// Tells the pool, or what is paused without it; for how long the vendor is left alone.
fn throttled(exchange: &Exchange, slot: &mut Slot, outcome: &Outcome) -> Duration {
    let Some((desk, taken)) = exchange.desk().zip(exchange.taken.as_ref()) else {
        return Duration::ZERO;
    };
    let backoff = taken.route.vendor.profile.backoff;
    let hint = outcome.wait.map(|hint| clamp(outcome.class, hint));
    let [credential, endpoint, resource] = parts(exchange);
    let part = match outcome.scope {
        Scope::Account => return throttle_account(slot, outcome, backoff),
        Scope::Credential => credential,
        Scope::Endpoint => endpoint,
        Scope::Resource => resource,
    };
    slot.ended = SlotEnded::Throttled;
    desk.pauses.throttled(part, hint, backoff, asked(exchange))
}

/// Tells the account's pool of a throttle; for how long it is left alone.
pub fn throttle_account(slot: &mut Slot, outcome: &Outcome, backoff: Backoff) -> Duration {
    let class = match outcome.class {
        Class::Concurrency => Throttle::Concurrency,
        Class::Quota => Throttle::Quota,
        Class::Session => Throttle::Session,
        _ => Throttle::Rate,
    };
    let hint = outcome.wait.map(|hint| clamp(outcome.class, hint));
    slot.throttled(class, hint, backoff)
}

fn decide(exchange: &mut Exchange, ended: Ended, replayable: bool) -> Next {
    let Some((desk, taken)) = exchange.desk().zip(exchange.taken.as_ref()) else {
        return Next::Tell;
    };
    let policy = &taken.route.vendor.handling.retry;
    let reads = taken.reads;
    let vendor_key = exchange.is_protected();
    let request = retry::Request { reads, vendor_key, replayable };
    let left = exchange.time_left(Instant::now());
    let made = exchange.repeat.counted + 1;
    let mut budget = desk.budget.lock().unwrap_or_else(PoisonError::into_inner);
    if !std::mem::replace(&mut exchange.repeat.deposited, true) {
        budget.deposit(policy.budget);
    }
    let throttle = ended == Ended::RefusedUnexecuted { throttle: true };
    let in_doubt = !reads && matches!(ended, Ended::Lost | Ended::RetryableServer);
    let again = retry::decide(policy, request, ended, made, &mut budget, left, entropy::fraction());
    drop(budget);
    if !throttle {
        exchange.repeat.counted = made;
    }
    exchange.repeat.head = true;
    if again == Again::No {
        return Next::Tell;
    }
    // Reads come again, what the vendor certainly did not act on, and what it knows by its own key.
    exchange.vendor.sent = false;
    if in_doubt {
        exchange.repeat.doubt = Some(match exchange.vendor.status {
            None => Refusal::VendorTimeout,
            Some(_) => Refusal::VendorResponseInvalid(Invalid::Incomplete),
        });
    }
    if let Again::After(wait) = again {
        exchange.repeat.wait = Some(wait);
    }
    Next::Again
}
