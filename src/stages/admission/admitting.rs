//! The gates between a request and its slot: asking, waiting, going, giving back.

use super::drain::told;
use super::queue::CLASSES;
use super::{Ended, Full, Held, Hold, Joined, Moment, Pool, Scope, Ticket, Turn, UNKNOWN_END};
use crate::model::limits::Priority;
use std::time::Instant;

impl Pool {
    /// Asks for a slot. `head`: an attempt was refused unexecuted, and comes back before all
    /// others of its client. After [`Joined::Waits`] the shell looks at [`Pool::wake_at`].
    ///
    /// # Errors
    /// Waiting would be in vain for certain, or as many wait as may.
    pub fn join(
        &mut self,
        ticket: &Ticket,
        head: bool,
        deadline: Instant,
        now: Instant,
    ) -> Result<Joined, Full> {
        let now = self.tick(now);
        let open = |at: Option<Moment>| at.is_some_and(|at| at <= now);
        let held = ticket.writes && self.reads_only();
        if !held
            && open(self.shared_gate(now))
            && open(self.class_gate(ticket.priority, now))
            && self.next_gate(now).is_none_or(|next| next > now)
        {
            return Ok(Joined::Admitted(self.occupy(ticket.priority, now)));
        }
        let latest = self.moment(deadline).min(now.saturating_add(self.policy.wait_max));
        self.check_wait(ticket, latest, now)?;
        // Who comes back was counted when it came first; no more of them can be than were in use.
        if head || self.queue.len() < self.policy.waiting_max {
            return Ok(Joined::Waits(self.queue.push(ticket, head)));
        }
        // Nobody takes all places for himself.
        let Some(displaced) = self.queue.displaced_by(ticket) else {
            return Err(Full::QueueFull(self.estimate_at(ticket.priority, now)));
        };
        self.queue.remove(displaced);
        Ok(Joined::Displaces { turn: self.queue.push(ticket, head), displaced })
    }

    /// Refuses what can't succeed, whatever the others do: only certain ends count here.
    fn check_wait(&self, ticket: &Ticket, latest: Moment, now: Moment) -> Result<(), Full> {
        let estimate = self.estimate_at(ticket.priority, now);
        let concerns = |hold: &&Hold| hold.scope == Scope::All || ticket.writes;
        let mut paused = self.pause.until();
        if let Some(hold) = self.hold.as_ref().filter(concerns) {
            let Some(until) = hold.until else {
                return Err(Full::Paused(told(estimate.max(UNKNOWN_END))));
            };
            paused = paused.max(self.moment(until));
        }
        if paused > latest {
            return Err(Full::Paused(told(estimate.max(paused.saturating_sub(now)))));
        }
        if latest <= now || self.spacing.opens(now) > latest {
            return Err(Full::WaitTooLong(estimate));
        }
        Ok(())
    }

    /// Waits no longer, hung up or out of time. `false`: it was admitted before, and its slot has
    /// to be released.
    pub fn leave(&mut self, turn: Turn, now: Instant) -> bool {
        self.tick(now);
        let waited = self.queue.remove(turn);
        if self.queue.len() == 0 {
            self.drain.interrupt();
        }
        waited
    }

    /// Gives a slot back.
    pub fn release(&mut self, held: Held, ended: Ended, now: Instant) {
        let now = self.tick(now);
        match ended {
            Ended::Success => self.ceiling.succeeded(self.in_use),
            Ended::TimedOut => self.ceiling.overtaxed(held.since, now),
            Ended::Throttled | Ended::Failed | Ended::Unused => {}
        }
        self.pause.ended(&held, ended == Ended::Success, self.ceiling.limit(now));
        // The slot that was refused, or never used, made no room at the vendor.
        if !matches!(ended, Ended::Throttled | Ended::Unused) {
            self.breath = Moment::ZERO;
        }
        self.in_use = self.in_use.saturating_sub(1);
        let high = u32::from(held.priority == Priority::High);
        self.in_use_high = self.in_use_high.saturating_sub(high);
    }

    /// Admits everybody whose turn has come, in order.
    pub fn admit(&mut self, now: Instant, admitted: &mut Vec<(Turn, Held)>) {
        let now = self.tick(now);
        let open = |at: Option<Moment>| at.is_some_and(|at| at <= now);
        while self.queue.len() > 0 && open(self.shared_gate(now)) {
            let may = CLASSES.map(|class| (class, open(self.class_gate(class, now))));
            let reads_only = self.reads_only();
            let Some((turn, class)) = self.queue.take(reads_only, |c| may.contains(&(c, true)))
            else {
                break;
            };
            self.drain.admitted(self.queue.len() > 0, now);
            admitted.push((turn, self.occupy(class, now)));
        }
    }

    /// When [`Pool::admit`] has to be called although nothing ends before; now or earlier: at once.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        let next = self.next_gate(self.at(now))?;
        self.begun.checked_add(next)
    }

    /// When the next of those who wait may go; `None`: nobody, before something ends.
    fn next_gate(&self, now: Moment) -> Option<Moment> {
        if self.queue.len() == 0 {
            return None;
        }
        let shared = self.shared_gate(now)?;
        let reads_only = self.reads_only();
        let gate = |class| {
            let gate = self.class_gate(class, now)?.max(shared);
            if self.queue.has(class, reads_only) {
                return Some(gate);
            }
            // Only writes, and those are held.
            let until = self.hold.as_ref()?.until.filter(|_| self.queue.has(class, false))?;
            Some(gate.max(self.moment(until)))
        };
        CLASSES.into_iter().filter_map(gate).min()
    }

    /// When the gates that are the same for all let one more through; `None`: not before
    /// something ends.
    fn shared_gate(&self, now: Moment) -> Option<Moment> {
        let used = self.in_use.saturating_add(self.lent);
        let slot = self.slot_gate(used, |limit| limit, now)?;
        let held = match &self.hold {
            Some(Hold { scope: Scope::All, until, .. }) => self.moment((*until)?),
            _ => now,
        };
        let ramp = self.pause.has_room().then_some(self.pause.until())?;
        Some(slot.max(held).max(ramp).max(self.breath).max(self.spacing.opens(now)))
    }

    /// When the gates of a class let one more through; `None`: not before something ends.
    fn class_gate(&self, priority: Priority, now: Moment) -> Option<Moment> {
        let budget = self.budgets.opens(priority, now);
        if priority == Priority::High {
            return Some(budget);
        }
        let used = self.in_use.saturating_sub(self.in_use_high);
        let slot = self.slot_gate(used, |limit| self.unreserved(limit), now)?;
        Some(budget.max(slot))
    }

    /// When fewer than what is `usable` of the limit are used: now, or once the limit grows.
    fn slot_gate(&self, used: u32, usable: impl Fn(u32) -> u32, now: Moment) -> Option<Moment> {
        match self.ceiling.limit(now) {
            Some(limit) if used >= usable(limit) => self.ceiling.grows(now),
            _ => Some(now),
        }
    }

    /// How many slots of a limit every class may use. Of those that are not lent, so that two
    /// processes do not keep the same part twice; and never none.
    fn unreserved(&self, limit: u32) -> u32 {
        let own = limit.saturating_sub(self.lent);
        if self.policy.reserve_high <= 0.0 || own <= 1 {
            return own;
        }
        let reserved = (f64::from(own) * self.policy.reserve_high) as u32;
        own - reserved.clamp(1, own - 1)
    }

    /// Whether writes have to wait and reads do not.
    fn reads_only(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.scope == Scope::Writes)
    }

    fn occupy(&mut self, priority: Priority, now: Moment) -> Held {
        self.spacing.spend(now);
        self.budgets.spend(priority, now);
        self.pause.admitted();
        self.in_use = self.in_use.saturating_add(1);
        self.in_use_high += u32::from(priority == Priority::High);
        self.peak = self.peak.max(self.in_use);
        Held { priority, since: now }
    }
}
