//! The second door: the durable claim, without which nothing is sent, and what settles it.

use super::reserving::InDoubt;
use super::{Protected, Replay, Reservation};
use crate::adapters::ledger::Ledger;
use crate::adapters::ledger::entry::{Answer, Change, Claim, Held, Outcome, Settlement, Trouble};
use crate::model::moment::Moment;
use std::sync::Arc;
use std::time::Duration;

/// How long until a change that could not be made is tried again, at first and at the most.
const AGAIN: Duration = Duration::from_millis(250);
const AGAIN_MAX: Duration = Duration::from_secs(15);

/// The right to send. Dropping it leaves doubt.
pub struct Claimed {
    ledger: Arc<dyn Ledger>,
    claim: Claim,
    /// Before the first byte of any attempt.
    first_sent: Moment,
    open: bool,
}

/// Why a reservation gives no claim.
#[derive(Debug, PartialEq, Eq)]
pub enum Unclaimed {
    /// Somebody else was quicker, in another process, or settled it, or it can't be made again any
    /// more: look again.
    Elsewhere,
    /// It can't be written down.
    Unavailable(Trouble),
}

/// What becomes of a claim.
#[derive(Clone, Debug)]
pub enum Settled {
    /// The vendor certainly did not act.
    Free,
    /// It answered.
    Answered(Settlement),
    /// Nobody can know; with the vendor's answer, if there is one, though it leaves it open.
    Doubt(Option<Answer>),
}

impl Protected {
    /// Writes the claim down.
    ///
    /// # Errors
    /// Why there is none; then nothing may be sent.
    pub async fn claim(&self, reservation: &Reservation) -> Result<Claimed, Unclaimed> {
        let ledger = self.book.ledger().map_err(Unclaimed::Unavailable)?;
        let now = ledger.now();
        let (change, first_sent) = match reservation.again {
            // It may have waited since it was decided that it may be made again.
            Some(doubt) if !reservation.write.is_protected(doubt.first_sent, now) => {
                return Err(Unclaimed::Elsewhere);
            }
            Some(doubt) => (Change::Again(doubt.claim), doubt.first_sent),
            None => (Change::Claim(Box::new(reservation.write.claim.clone())), now),
        };
        match self.book.change(&ledger, change).await {
            Ok(Outcome::Held(Held::Ours(claim))) => {
                Ok(Claimed { ledger, claim, first_sent, open: true })
            }
            Ok(_) => Err(Unclaimed::Elsewhere),
            Err(trouble) => Err(Unclaimed::Unavailable(trouble)),
        }
    }

    /// Writes down what became of an attempt. What can't be written is tried again until it can
    /// be, and whoever comes with the key meanwhile meets it in flight; `None`: so it is.
    pub async fn settle(
        self: &Arc<Self>,
        mut claimed: Claimed,
        settled: Settled,
        mut reservation: Reservation,
    ) -> Option<Reservation> {
        match self.write_down(&mut claimed, &settled, &mut reservation).await {
            Ok(true) => return Some(reservation),
            Ok(false) => self.say_unsettled("the entry is another one's"),
            Err(trouble) => {
                self.say_unsettled(&trouble.to_string());
                let protected = Arc::clone(self);
                self.run(async move {
                    let mut wait = AGAIN;
                    loop {
                        tokio::time::sleep(wait).await;
                        wait = (wait * 2).min(AGAIN_MAX);
                        let written =
                            protected.write_down(&mut claimed, &settled, &mut reservation).await;
                        // Until it is written, or the process ends: then it is unknown.
                        if written.is_ok() {
                            return;
                        }
                    }
                });
            }
        }
        None
    }

    /// `false`: somebody else holds the entry, and nothing of ours is left to write.
    async fn write_down(
        &self,
        claimed: &mut Claimed,
        settled: &Settled,
        reservation: &mut Reservation,
    ) -> Result<bool, Trouble> {
        let change = claimed.change(settled);
        let is_made = self.book.change(&claimed.ledger, change).await? == Outcome::Made;
        claimed.open = false;
        if is_made {
            self.settled(claimed, settled, reservation);
        }
        Ok(is_made)
    }

    fn settled(&self, claimed: &Claimed, settled: &Settled, reservation: &mut Reservation) {
        // What was in doubt before is in doubt again.
        let doubt = InDoubt { claim: claimed.claim, first_sent: claimed.first_sent };
        let doubtful = reservation.again.take().is_some();
        let write = &reservation.write;
        match settled {
            Settled::Answered(Settlement::Kept(answer)) => {
                let (fingerprint, original) =
                    (write.claim.fingerprint, write.claim.correlation.clone());
                let replay = Replay { fingerprint, original, answer: answer.clone() };
                self.keep_at_hand(write.identity, replay);
            }
            Settled::Doubt(_) => {
                reservation.again = Some(doubt);
                self.unknowns.notify_one();
            }
            Settled::Free => reservation.again = doubtful.then_some(doubt),
            Settled::Answered(Settlement::NotKept(_)) => {}
        }
    }

    fn say_unsettled(&self, why: &str) {
        self.log.event("ledger-unsettled", &[("reason", why.into())]);
    }
}

impl Claimed {
    fn change(&self, settled: &Settled) -> Change {
        match settled.clone() {
            Settled::Free => Change::Release(self.claim),
            Settled::Answered(settlement) => Change::Answer(self.claim, settlement),
            Settled::Doubt(answer) => Change::Doubt(self.claim, answer),
        }
    }
}

/// Whoever drops a claim does not know what the vendor did.
impl Drop for Claimed {
    fn drop(&mut self) {
        if self.open {
            let doubt = Change::Doubt(self.claim, None);
            self.ledger.submit(doubt, Box::new(|_| true));
        }
    }
}
