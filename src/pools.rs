//! Where requests wait for a vendor: the room `stages::admission` with a lock around it, wakers for
//! those whose turn has come, and a [`Slot`] that is given back by dropping it.

use crate::adapters::entropy;
use crate::config::Pool as Config;
use crate::model::rates::retry_after_seconds;
use crate::refusal::Refusal;
use crate::stages::admission::{
    Backoff, Ended, Full, Held, Joined, Pool, Scope, Throttle, Ticket, Turn,
};
use prometheus::{Histogram, IntGauge};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// What is told of an operator's pause without an end, and of one with a distant end.
const HOLD_LOOK: Duration = Duration::from_secs(60);
const HOLD_LOOK_MAX: Duration = Duration::from_secs(3600);
/// Room that a pool keeps for those who wait, once nobody does.
const ROOM_KEPT: usize = 1024;

/// What a pool shows of itself.
#[derive(Clone)]
pub struct Gauges {
    /// `pool_concurrency_limit`; 0: none.
    pub limit: IntGauge,
    /// `pool_concurrency_in_use`.
    pub in_use: IntGauge,
    /// `pool_queue_depth`.
    pub depth: IntGauge,
    /// `pool_queue_wait_seconds`.
    pub wait: Histogram,
    /// `pool_paused`.
    pub paused: IntGauge,
}

/// One vendor account's pool, shared by everything that calls it.
pub struct SharedPool {
    /// Its name.
    pub name: Arc<str>,
    inner: Mutex<Inner>,
    changed: Arc<Notify>,
    gauges: Gauges,
}

struct Inner {
    pool: Pool,
    waiting: HashMap<Turn, oneshot::Sender<Come>>,
    /// Kept so that nobody allocates under the lock.
    admitted: Vec<(Turn, Held)>,
    /// When the timer looks again.
    look_at: Option<Instant>,
    /// Set when the process leaves: who waits is turned away.
    closed: bool,
    /// Whom a change is told, and what they were told of last.
    watchers: Vec<Weak<Notify>>,
    watched: (u32, u32, usize),
}

/// What comes to who waits: a slot, or the word that there is none.
type Come = Result<Held, Refusal>;

/// The right to have one request at the vendor. Dropping it gives it back.
pub struct Slot {
    pool: Arc<SharedPool>,
    held: Option<Held>,
    /// How what it was used for ended.
    pub ended: Ended,
}

impl SharedPool {
    /// Has to be called inside the runtime.
    pub fn new(config: &Config, gauges: Gauges, now: Instant) -> Arc<SharedPool> {
        let changed = Arc::new(Notify::new());
        let pool = Arc::new(SharedPool {
            name: config.name.clone(),
            inner: Mutex::new(Inner {
                pool: Pool::new(config.policy.clone(), now),
                waiting: HashMap::new(),
                admitted: Vec::new(),
                look_at: None,
                closed: false,
                watchers: Vec::new(),
                watched: (0, 0, 0),
            }),
            changed: changed.clone(),
            gauges,
        });
        tokio::spawn(look_after(Arc::downgrade(&pool), changed));
        pool
    }

    /// Waits for a slot. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// `vendor-queue-full`, `vendor-queue-timeout`, `vendor-paused`, `deadline-exceeded`,
    /// `gateway-draining`.
    pub async fn slot(
        self: &Arc<Self>,
        ticket: &Ticket,
        head: bool,
        deadline: Instant,
    ) -> Result<Slot, Refusal> {
        let began = Instant::now();
        let held = match self.join(ticket, head, deadline, began)? {
            Ok(held) => held,
            Err(mut place) => {
                let until = deadline.min(place.until);
                match tokio::time::timeout_at(until.into(), &mut place.comes).await {
                    Ok(Ok(come)) => come?,
                    Ok(Err(_)) => return Err(Refusal::GatewayDraining(1)),
                    Err(_) => {
                        let in_time = until < deadline;
                        drop(place);
                        return Err(self.late(ticket, in_time));
                    }
                }
            }
        };
        let since = Instant::now();
        self.gauges.wait.observe(since.saturating_duration_since(began).as_secs_f64());
        Ok(Slot { pool: self.clone(), held: Some(held), ended: Ended::Unused })
    }

    /// A slot at once, or a place in the queue.
    fn join(
        self: &Arc<Self>,
        ticket: &Ticket,
        head: bool,
        deadline: Instant,
        now: Instant,
    ) -> Result<Result<Held, Place>, Refusal> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(Refusal::GatewayDraining(1));
        }
        let turn = match inner.pool.join(ticket, head, deadline, now).map_err(refusal)? {
            Joined::Admitted(held) => {
                self.settle(&mut inner, now);
                return Ok(Ok(held));
            }
            Joined::Waits(turn) => turn,
            Joined::Displaces { turn, displaced } => {
                let wait = retry_after_seconds(inner.pool.estimate(ticket.priority, now));
                if let Some(waits) = inner.forget(displaced) {
                    // Who leaves just now needs not be told.
                    let _ = waits.send(Err(Refusal::VendorQueueFull(wait)));
                }
                turn
            }
        };
        let (comes, turn_comes) = oneshot::channel();
        inner.waiting.insert(turn, comes);
        let until = now + inner.pool.wait_max();
        self.settle(&mut inner, now);
        Ok(Err(Place { pool: self.clone(), turn, until, comes: turn_comes }))
    }

    /// What a request is told whose turn did not come in time.
    fn late(&self, ticket: &Ticket, in_time: bool) -> Refusal {
        let now = Instant::now();
        self.with(|pool| {
            let seconds = retry_after_seconds(pool.estimate(ticket.priority, now));
            let left = |until: Instant| until.saturating_duration_since(now);
            let of_vendor = pool.paused_until(now).map(|(until, _)| left(until));
            let hold = pool.on_hold(now);
            let hold = hold.filter(|hold| hold.scope == Scope::All || ticket.writes);
            // Operators change their minds: nobody is sent away for days.
            let held = hold.map(|hold| hold.until.map_or(HOLD_LOOK, left).min(HOLD_LOOK_MAX));
            match of_vendor.max(held) {
                Some(wait) => Refusal::VendorPaused(retry_after_seconds(wait).max(seconds)),
                None if in_time => Refusal::VendorQueueTimeout(seconds),
                None => Refusal::DeadlineExceeded,
            }
        })
    }

    /// Looks at the pool, or changes it; whoever may go then goes.
    pub fn with<T>(&self, change: impl FnOnce(&mut Pool) -> T) -> T {
        let mut inner = self.lock();
        let done = change(&mut inner.pool);
        self.settle(&mut inner, Instant::now());
        done
    }

    /// Has the gauges show what is so now: a pause ends although nobody calls.
    pub fn refresh(&self) {
        self.with(|_| ());
    }

    /// Turns away everybody who waits, and who comes from now on.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.waiting.clear();
    }

    /// From now on tells of each change in what is used, lent and waited for.
    pub fn watched_by(&self, watcher: &Arc<Notify>) {
        let mut inner = self.lock();
        inner.watchers.retain(|watcher| watcher.strong_count() > 0);
        inner.watchers.push(Arc::downgrade(watcher));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go whose turn has come, and sees to it that somebody looks again in time.
    fn settle(&self, inner: &mut Inner, now: Instant) {
        if inner.pool.waiting() > 0 {
            let mut admitted = std::mem::take(&mut inner.admitted);
            inner.pool.admit(now, &mut admitted);
            for (turn, held) in admitted.drain(..) {
                let told = match inner.forget(turn) {
                    Some(comes) => comes.send(Ok(held)),
                    None => Err(Ok(held)),
                };
                if let Err(Ok(held)) = told {
                    // Nobody is there to have it.
                    inner.pool.release(held, Ended::Unused, now);
                }
            }
            admitted.shrink_to(ROOM_KEPT);
            inner.admitted = admitted;
            let look_at = inner.pool.wake_at(now);
            if inner.pool.waiting() > 0 && look_at != inner.look_at {
                inner.look_at = look_at;
                self.changed.notify_one();
            }
        }
        inner.tell_watchers();
        self.show(&inner.pool, now);
    }

    fn show(&self, pool: &Pool, now: Instant) {
        let gauges = &self.gauges;
        gauges.limit.set(pool.limit().map_or(0, i64::from));
        gauges.in_use.set(i64::from(pool.in_use()));
        gauges.depth.set(i64::try_from(pool.waiting()).unwrap_or(i64::MAX));
        let paused = pool.paused_until(now).is_some() || pool.on_hold(now).is_some();
        gauges.paused.set(i64::from(paused));
    }
}

impl Inner {
    fn tell_watchers(&mut self) {
        if self.watchers.is_empty() {
            return;
        }
        let now = (self.pool.in_use(), self.pool.lent(), self.pool.waiting());
        if std::mem::replace(&mut self.watched, now) != now {
            self.watchers.iter().filter_map(Weak::upgrade).for_each(|it| it.notify_one());
        }
    }
}

impl Inner {
    /// Nobody waits for this turn any more.
    fn forget(&mut self, turn: Turn) -> Option<oneshot::Sender<Come>> {
        let comes = self.waiting.remove(&turn);
        if self.waiting.is_empty() && self.waiting.capacity() > 2 * ROOM_KEPT {
            // What a crowd needed goes with its last one.
            self.waiting.shrink_to(ROOM_KEPT);
        }
        comes
    }
}

impl Slot {
    /// Tells the pool that the vendor throttled what the slot was used for; for how long the
    /// account is left alone.
    pub fn throttled(
        &mut self,
        class: Throttle,
        hint: Option<Duration>,
        grows: Backoff,
    ) -> Duration {
        self.ended = Ended::Throttled;
        let (held, jitter) = (self.held.as_ref(), entropy::fraction());
        let Some(held) = held else { return Duration::ZERO };
        self.pool.with(|pool| pool.throttled(held, class, hint, grows, jitter, Instant::now()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.pool.with(|pool| pool.release(held, self.ended, Instant::now()));
        }
    }
}

/// A place in the queue: who drops it has left.
struct Place {
    pool: Arc<SharedPool>,
    turn: Turn,
    /// The longest that anybody waits in this pool.
    until: Instant,
    comes: oneshot::Receiver<Come>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut inner = self.pool.lock();
        inner.forget(self.turn);
        inner.pool.leave(self.turn, now);
        // Its turn came a moment ago: nobody uses the slot.
        if let Ok(Ok(held)) = self.comes.try_recv() {
            inner.pool.release(held, Ended::Unused, now);
        }
        self.pool.settle(&mut inner, now);
    }
}

fn refusal(full: Full) -> Refusal {
    let seconds = |wait: Duration| retry_after_seconds(wait);
    match full {
        Full::QueueFull(wait) => Refusal::VendorQueueFull(seconds(wait)),
        Full::Paused(wait) => Refusal::VendorPaused(seconds(wait)),
        Full::WaitTooLong(wait) => Refusal::VendorQueueTimeout(seconds(wait)),
    }
}

/// Looks again when a rate or a pause lets somebody go.
async fn look_after(pool: Weak<SharedPool>, changed: Arc<Notify>) {
    loop {
        let Some(look_at) = pool.upgrade().map(|pool| pool.lock().look_at) else { return };
        match look_at {
            Some(at) => {
                tokio::select! {
                    () = tokio::time::sleep_until(at.into()) => {
                        let Some(pool) = pool.upgrade() else { return };
                        let mut inner = pool.lock();
                        inner.look_at = None;
                        pool.settle(&mut inner, Instant::now());
                    }
                    () = changed.notified() => {}
                }
            }
            None => changed.notified().await,
        }
    }
}

impl Drop for SharedPool {
    fn drop(&mut self) {
        // A pool that no configuration names is not paused, nor anything else.
        let Gauges { limit, in_use, depth, paused, .. } = &self.gauges;
        [limit, in_use, depth, paused].iter().for_each(|gauge| gauge.set(0));
        // The task that looks after it sees that it is gone.
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::limits::Priority;
    use crate::stages::admission::Policy;
    use prometheus::HistogramOpts;
    use std::num::NonZeroU32;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn one_slot(waiting_max: usize) -> Arc<SharedPool> {
        let gauge = || IntGauge::new("gauge", "gauge").expect("a gauge");
        let wait = Histogram::with_opts(HistogramOpts::new("wait", "wait")).expect("a histogram");
        let gauges =
            Gauges { limit: gauge(), in_use: gauge(), depth: gauge(), wait, paused: gauge() };
        let policy = Policy {
            concurrency: Some(NonZeroU32::MIN),
            rates: Vec::new(),
            waiting_max,
            wait_max: Duration::from_secs(3600),
            adaptive: None,
            reserve_high: 0.0,
        };
        SharedPool::new(&Config { name: "p".into(), policy }, gauges, Instant::now())
    }

    #[tokio::test]
    async fn what_a_crowd_needs_is_given_back() {
        let crowd = 20_000;
        let pool = one_slot(crowd);
        let ticket =
            Ticket { client: "c".into(), share: 1, priority: Priority::Normal, writes: false };
        let deadline = Instant::now() + Duration::from_secs(3600);
        let held = pool.slot(&ticket, false, deadline).await.expect("free");
        let mut context = Context::from_waker(Waker::noop());
        let allocated = allocation_counter::measure(|| {
            let slot = |_| Box::pin(pool.slot(&ticket, false, deadline));
            let mut waiting: Vec<_> = (0..crowd).map(slot).collect();
            for slot in &mut waiting {
                assert!(pin!(slot).poll(&mut context).is_pending());
            }
        });
        assert!(allocated.bytes_max > 100 * crowd as u64, "{allocated:?}");
        assert!(allocated.bytes_current < 100_000, "{allocated:?}");
        drop(held);
    }
}
