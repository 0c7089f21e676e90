//! A protected write from its reservation on, in a task of its own: admitted, claimed, sent,
//! settled, and only then told. A client that hangs up, a deadline or a reload never cuts it.

use super::asking::{After, Asking};
use super::context::Live;
use super::upload;
use super::vendor_lane::{Answer, audit_if_barred};
use crate::adapters::body::{Body, Memory};
use crate::adapters::ledger::entry::{Answer as Kept, Settlement};
use crate::adapters::vendor_client::{Answering, Lost};
use crate::attempts::Held;
use crate::config::protection::Stores;
use crate::exchange::Exchange;
use crate::pipeline;
use crate::protected::claiming::{Settled, Unclaimed};
use crate::protected::{Claimed, Reservation};
use crate::refusal::{Executed, Invalid, Refusal};
use crate::stages::forwarding::{Edits, kept};
use crate::stages::idempotency::executed;
use crate::stages::idempotency::settling::{Ending, Left};
use crate::stages::validation::declared_length;
use crate::state::State;
use pingora_http::RequestHeader;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What can't be claimed is not sent; it may be in five seconds.
pub(super) const UNCLAIMED: Refusal = Refusal::LedgerUnavailable(5);
/// Octets by which the room for an answer grows while it comes.
const STEP_BYTES: usize = 64 << 10;

/// How far it is, for who waits.
#[derive(Debug, Default)]
pub(super) struct Progress {
    sent: AtomicBool,
    attempts: AtomicU32,
}

impl Progress {
    /// Whether any of it may have reached the vendor.
    pub(super) fn was_sent(&self) -> bool {
        self.sent.load(Ordering::Acquire)
    }

    /// Attempts so far.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Acquire)
    }
}

/// What the client is told.
pub(super) enum Told {
    /// This answer.
    Answer(Box<Answer>),
    /// This refusal.
    Refused(Refusal),
    /// Whatever the key meets now: another process has it.
    Elsewhere(Box<(RequestHeader, Body)>),
    /// Nothing: it is gone.
    Gone,
}

/// What came of a body.
enum Collected {
    Whole(Memory),
    /// It is larger than what is kept, or than there is room for.
    Over,
    Cut(Lost),
}

/// A write on its way.
pub(super) struct Writing {
    pub(super) state: Arc<State>,
    pub(super) live: Arc<Live>,
    pub(super) exchange: Exchange,
    pub(super) request: RequestHeader,
    pub(super) body: Body,
    pub(super) progress: Arc<Progress>,
}

impl Writing {
    /// Runs it, and tells whoever still listens.
    pub(super) async fn run(
        mut self,
        reservation: Reservation,
        tell: oneshot::Sender<(Box<Exchange>, Told)>,
    ) {
        if reservation.is_in_doubt() {
            // Whatever refuses it now says nothing of the attempt before.
            self.exchange.repeat.doubt = Some(Refusal::OutcomeUnknown);
            self.progress.sent.store(true, Ordering::Release);
        }
        let told = self.work(reservation).await;
        let Writing { state, exchange, request, body, .. } = self;
        let told = match told {
            None => Told::Elsewhere(Box::new((request, body))),
            Some(told) => told,
        };
        if let Err((exchange, told)) = tell.send((Box::new(exchange), told)) {
            say_late(&state, &exchange, &told);
        }
    }

    /// `None`: the key is in another process's hands.
    async fn work(&mut self, mut reservation: Reservation) -> Option<Told> {
        loop {
            let held = match pipeline::admit(&self.state, &mut self.exchange).await {
                Ok(held) => held,
                Err(refusal) => {
                    audit_if_barred(&self.state, &self.exchange);
                    return Some(Told::Refused(refusal));
                }
            };
            // The policies may give it another one by now.
            if !reservation
                .is_sent_with(self.exchange.credential_name().map(|name| (**name).into()))
            {
                return Some(Told::Refused(self.exchange.honest(Refusal::OutcomeUnknown)));
            }
            let claimed = match self.state.protected.claim(&reservation).await {
                Ok(claimed) => claimed,
                Err(Unclaimed::Elsewhere) => return None,
                Err(Unclaimed::Unavailable(trouble)) => {
                    self.exchange.reason = Some(trouble.to_string());
                    return Some(Told::Refused(self.exchange.honest(UNCLAIMED)));
                }
            };
            // On the heap: what an attempt needs is large, and who waits does not have it yet.
            match Box::pin(self.attempt(held, claimed, reservation)).await {
                Ok(next) => reservation = next,
                Err(told) => return Some(told),
            }
        }
    }

    /// One attempt; with the reservation again where there is to be another one.
    async fn attempt(
        &mut self,
        mut held: Held,
        claimed: Claimed,
        reservation: Reservation,
    ) -> Result<Reservation, Told> {
        self.progress.attempts.fetch_add(1, Ordering::AcqRel);
        self.progress.sent.store(true, Ordering::Release);
        let asking = Asking {
            state: &self.state,
            live: &self.live,
            request: &self.request,
            body: &self.body,
        };
        match asking.attempt(&mut self.exchange, &mut held, true).await {
            After::Again(ending) => {
                // Who waits holds neither slot nor claim.
                drop(held);
                let settled = self.without_answer(&ending);
                match self.state.protected.settle(claimed, settled, reservation).await {
                    Some(reservation) => {
                        let in_doubt = reservation.is_in_doubt();
                        self.progress.sent.store(in_doubt, Ordering::Release);
                        Ok(reservation)
                    }
                    None => Err(Told::Refused(self.exchange.honest(UNCLAIMED))),
                }
            }
            After::Refuse(refusal, ending) => {
                drop(held);
                let refusal = self.exchange.honest(refusal);
                let settled = self.without_answer(&ending);
                self.state.protected.settle(claimed, settled, reservation).await;
                Err(Told::Refused(refusal))
            }
            After::Answer(answering, edits, ending) => {
                Err(self.answered(held, claimed, reservation, (answering, edits, ending)).await)
            }
            // Nobody's leaving ends this.
            After::Gone => Err(Told::Gone),
        }
    }

    /// What an attempt leaves whose answer, if there is one, nobody gets.
    fn without_answer(&self, ending: &Ending) -> Settled {
        match self.settle(ending) {
            Left::Free => Settled::Free,
            Left::Doubt => Settled::Doubt(None),
            Left::Answer => Settled::Answered(Settlement::NotKept(self.exchange.vendor.status)),
        }
    }

    fn settle(&self, ending: &Ending) -> Left {
        let route = self.exchange.taken.as_ref().map(|taken| &taken.route.protection);
        let success_only = route.is_some_and(|it| it.stores == Stores::Success);
        ending.leaves(success_only)
    }

    /// The vendor's answer is durable before anybody gets it.
    async fn answered(
        &mut self,
        held: Held,
        claimed: Claimed,
        reservation: Reservation,
        (mut answering, edits, ending): (Box<Answering>, Edits, Ending),
    ) -> Told {
        let status = answering.head.status.as_u16();
        let left = self.settle(&ending);
        // A refusal that says that it was done before is no refusal: its status would mislead.
        let told = if ending.is_done() { None } else { Some(status) };
        let collected = match left {
            // Nothing is kept of it.
            Left::Free => Collected::Over,
            Left::Answer | Left::Doubt => self.collect(&mut answering).await,
        };
        let kept = match &collected {
            Collected::Whole(_) if self.exchange.shows_our_credential() => Some(Kept {
                status,
                fields: kept::kept(&answering.head.headers),
                body: answering.seen(),
            }),
            _ => None,
        };
        let settled = match (left, kept) {
            (Left::Free, _) => Settled::Free,
            (Left::Answer, Some(answer)) => Settled::Answered(Settlement::Kept(answer)),
            (Left::Answer, None) => Settled::Answered(Settlement::NotKept(told)),
            (Left::Doubt, answer) => Settled::Doubt(answer),
        };
        // The vendor's body is read to its end: somebody else may have the slot.
        let held = if matches!(collected, Collected::Over) {
            Some(held)
        } else {
            drop(held);
            None
        };
        let durable = self.state.protected.settle(claimed, settled, reservation).await.is_some();
        let acted = if executed(told) { Executed::Yes } else { Executed::No };
        let room = match collected {
            _ if !durable && left == Left::Answer => {
                return Told::Refused(Refusal::AnswerUndelivered(acted));
            }
            Collected::Cut(lost) => {
                self.exchange.reason = Some(lost.why);
                let cut =
                    if left == Left::Doubt { Invalid::Incomplete } else { Invalid::Cut(acted) };
                return Told::Refused(Refusal::VendorResponseInvalid(cut));
            }
            Collected::Whole(room) => Some(room),
            Collected::Over => None,
        };
        Told::Answer(Box::new(Answer { answering, edits, held, _room: room }))
    }

    /// Reads the body, as far as it is kept.
    async fn collect(&self, answering: &mut Answering) -> Collected {
        let config = &self.exchange.snapshot.config;
        let most = usize::try_from(config.ledger.answer_bytes_max).unwrap_or(usize::MAX);
        let long = declared_length(&answering.head.headers)
            .is_some_and(|length| length > config.ledger.answer_bytes_max);
        if long {
            return Collected::Over;
        }
        let response = self.exchange.vendor_config().map(|vendor| vendor.timeouts.response);
        let until = Instant::now() + response.unwrap_or(Duration::ZERO);
        let mut memory = Memory::nothing(self.state.buffers.clone());
        let mut seen = 0;
        loop {
            let next = (seen + STEP_BYTES).min(most.saturating_add(1));
            let before = seen;
            seen = match answering.fill(next, until.into()).await {
                Ok(seen) => seen,
                Err(lost) => return Collected::Cut(lost),
            };
            let more = u64::try_from(seen.saturating_sub(before)).unwrap_or(u64::MAX);
            if seen > most || !memory.grow(more, upload::room(&self.live)) {
                return Collected::Over;
            }
            if answering.is_whole() {
                return Collected::Whole(memory);
            }
        }
    }
}

/// Nobody listened any more: what came of it is said in the log, and found under its key.
fn say_late(state: &State, exchange: &Exchange, told: &Told) {
    let (result, status) = match told {
        Told::Answer(answer) => ("answered", Some(answer.answering.head.status.as_u16())),
        Told::Refused(refusal) => (refusal.slug(), exchange.vendor.status),
        Told::Elsewhere(_) => ("elsewhere", None),
        Told::Gone => ("gone", None),
    };
    let members = [
        ("correlation_id", Value::from(exchange.correlation.id())),
        ("result", result.into()),
        ("status", status.into()),
        ("attempts", exchange.vendor.attempts.into()),
    ];
    state.log.event("protected-write-ended", &members);
}
