//! Shares one account's slots between two processes while the younger takes over from the elder.
//!
//! Slots are tokens. The elder begins with all of them, the younger with none; a token is used by
//! the process that has it, and a message that carries tokens is counted with neither. So both
//! together never use more slots than the elder's limit, whatever is lost or late. The elder sends
//! what neither a request nor a queue of its own needs ([`Elder::spares`]), and asks tokens back
//! when its queue needs them after all ([`Elder::misses`]): its queue came first. When either is
//! gone its tokens are the other's ([`Elder::ends`], [`Younger::ends`]).
//!
//! Where the younger's limit is the lower one, it withholds the first tokens that it gets, so that
//! it admits nobody beyond the smaller of both limits. A process may be younger to one and elder to
//! another at a time: each keeps its own part of [`Pool::lent`].

use super::Pool;
use std::time::Instant;

/// The end of the process that leaves.
#[derive(Debug, Default)]
pub struct Elder {
    /// Tokens that the other has, or that are on their way.
    away: u32,
    /// Those of them that were asked back.
    asked: u32,
}

impl Elder {
    /// Takes away what nobody here needs, to be sent to the other.
    pub fn spares(&mut self, pool: &mut Pool, now: Instant) -> u32 {
        pool.tick(now);
        let Some(limit) = pool.limit() else { return 0 };
        let mut spared = 0;
        // Every one is given singly, by the rule that counts.
        while u64::from(limit) > needed(pool) && pool.give() {
            spared += 1;
        }
        self.away = self.away.saturating_add(spared);
        spared
    }

    /// How many to ask back, because somebody waits for them here.
    pub fn misses(&mut self, pool: &Pool) -> u32 {
        let Some(limit) = pool.limit() else { return 0 };
        let missing = needed(pool).saturating_sub(limit.into());
        let missing = u32::try_from(missing).unwrap_or(u32::MAX).min(self.away);
        let more = missing.saturating_sub(self.asked);
        self.asked = self.asked.saturating_add(more);
        more
    }

    /// Tokens have come back.
    pub fn receives(&mut self, pool: &mut Pool, slots: u32) {
        let slots = slots.min(self.away);
        self.away -= slots;
        self.asked = self.asked.saturating_sub(slots);
        pool.take(slots);
    }

    /// The other is gone, and uses nothing any more.
    pub fn ends(&mut self, pool: &mut Pool) {
        pool.take(std::mem::take(&mut self.away));
        self.asked = 0;
    }
}

/// Slots in use here, in use elsewhere, and waited for.
fn needed(pool: &Pool) -> u64 {
    let waiting = u64::try_from(pool.waiting()).unwrap_or(u64::MAX);
    waiting.saturating_add(pool.in_use().into()).saturating_add(pool.lent().into())
}

/// The end of the process that takes over.
#[derive(Debug, Default)]
pub struct Younger {
    /// What the other may use, as far as we know: never less than it does.
    away: u32,
    /// What it has asked back and not got yet.
    owed: u32,
}

impl Younger {
    /// Before anybody is admitted: the pool is not ours, and what of its rates may come at once
    /// has been used, as far as we know.
    pub fn begins(pool: &mut Pool, now: Instant) -> Younger {
        let now = pool.tick(now);
        pool.spacing.use_up(now);
        let mut younger = Younger::default();
        younger.reserves(pool, pool.limit().unwrap_or(0));
        younger
    }

    /// The other tells its limit. To be called once, before it sends tokens.
    pub fn learns(&mut self, pool: &mut Pool, limit: u32) {
        self.reserves(pool, limit.saturating_sub(self.away));
    }

    /// Tokens have come.
    pub fn receives(&mut self, pool: &mut Pool, slots: u32) {
        let slots = slots.min(self.away);
        self.away -= slots;
        pool.take(slots);
    }

    /// The other asks tokens back: from now on nobody here gets a slot before it.
    pub fn owes(&mut self, pool: &mut Pool, slots: u32) {
        self.owed = self.owed.saturating_add(slots);
        self.reserves(pool, slots);
    }

    /// What can be sent back by now.
    pub fn pays(&mut self, pool: &Pool) -> u32 {
        // What a third process has of us is no more free than what is in use.
        let used = pool.in_use().saturating_add(pool.lent().saturating_sub(self.away));
        let ours = pool.limit().map_or(u32::MAX, |limit| limit.saturating_sub(self.away));
        let paid = self.owed.saturating_sub(used.saturating_sub(ours));
        self.owed -= paid;
        paid
    }

    /// The other is gone, and uses nothing any more.
    pub fn ends(&mut self, pool: &mut Pool) {
        pool.take(std::mem::take(&mut self.away));
        self.owed = 0;
    }

    fn reserves(&mut self, pool: &mut Pool, slots: u32) {
        self.away = self.away.saturating_add(slots);
        pool.set_lent(pool.lent().saturating_add(slots));
    }
}
