//! Protected writes while they live: the ledger of this process, who is at which key, and the
//! answers that are at hand.
//!
//! Evidence in an order: [`Reserved`](reserving::Reserved) gives a [`Reservation`], which is a
//! place in memory; it gives a [`Claim`](claiming::Claimed), which is durable; and that is settled
//! by what became of the attempt. Dropping a reservation frees the key; dropping a claim leaves
//! doubt, never freedom.
//!
//! * [`book`]: opens the ledger aside, and knows whether it can be read and written.
//! * [`reserving`], [`claiming`]: the two doors.
//! * [`places`]: who is at which key, in memory.
//! * [`upkeep`]: removes what is old, and counts.

pub mod book;
pub mod claiming;
pub mod places;
pub mod reserving;
pub mod upkeep;

use crate::adapters::ledger::entry::Answer;
use crate::adapters::log::Log;
use crate::adapters::metrics::{LedgerMetrics, Metrics};
use crate::config;
use crate::model::digest::Sha256;
use crate::stages::idempotency::fingerprint::Fingerprint;
use book::Book;
use moka::sync::Cache;
use places::Places;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub use claiming::Claimed;
pub use reserving::{Reservation, Reserved, Write};

/// Octets of answers that are kept at hand in memory.
const REPLAYS_BYTES: u64 = 32 << 20;
/// The largest body of one that is.
const REPLAY_BYTES_MAX: usize = 256 << 10;
/// The largest fields of one: the file keeps no larger ones than four times these.
const FIELDS_MAX: usize = 64 << 10;
/// How long one is at the most: clients repeat soon, if at all.
const REPLAY_AGE: Duration = Duration::from_secs(600);

/// An answer at hand, with what it answers.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Of the request that was answered.
    pub fingerprint: Fingerprint,
    /// Its correlation id.
    pub original: Box<str>,
    /// The answer.
    pub answer: Answer,
}

/// What protected writes share.
pub struct Protected {
    /// The ledger.
    pub book: Book,
    /// Counters.
    pub metrics: LedgerMetrics,
    /// Told of each entry that has become unknown.
    pub unknowns: Notify,
    places: Arc<Places>,
    replays: Cache<Sha256, Arc<Replay>>,
    log: Log,
    tasks: Mutex<JoinSet<()>>,
    busy: Arc<AtomicUsize>,
}

impl Protected {
    /// Opens the ledger; one that takes long is opened while the gateway serves already.
    ///
    /// # Errors
    /// There is no ledger, and none is to be made.
    pub fn start(
        settings: &config::Ledger,
        metrics: &Metrics,
        log: Log,
    ) -> Result<Arc<Protected>, String> {
        let weigh = |_: &Sha256, replay: &Arc<Replay>| {
            let fields = replay.answer.fields.iter().map(|(name, value)| name.len() + value.len());
            let octets = replay.answer.body.len() + fields.sum::<usize>() + 256;
            u32::try_from(octets).unwrap_or(u32::MAX)
        };
        let age = settings.answer_retention.min(REPLAY_AGE);
        let replays =
            Cache::builder().max_capacity(REPLAYS_BYTES).weigher(weigh).time_to_live(age).build();
        let metrics = metrics.ledger.clone();
        let book = Book::open(settings, metrics.commits.clone(), log.clone())?;
        Ok(Arc::new(Protected {
            book,
            metrics,
            unknowns: Notify::new(),
            places: Arc::default(),
            replays,
            log,
            tasks: Mutex::default(),
            busy: Arc::default(),
        }))
    }

    /// Runs a protected write to its end, whatever becomes of its client.
    pub fn run(&self, write: impl Future<Output = ()> + Send + 'static) {
        struct Busy(Arc<AtomicUsize>);
        impl Drop for Busy {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::AcqRel);
            }
        }
        self.busy.fetch_add(1, Ordering::AcqRel);
        let busy = Busy(self.busy.clone());
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let _busy = busy;
            write.await;
        });
    }

    /// How many run.
    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Acquire)
    }

    /// Ends them all, and waits until they are: what was sent is unknown.
    pub async fn end(&self) {
        let mut tasks = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *tasks)
        };
        tasks.shutdown().await;
    }

    /// Ends them all at once, as a crash would.
    pub fn abort(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    fn keep_at_hand(&self, identity: Sha256, replay: Replay) {
        let fields = replay.answer.fields.iter().map(|(name, value)| name.len() + value.len());
        if replay.answer.body.len() <= REPLAY_BYTES_MAX && fields.sum::<usize>() <= FIELDS_MAX {
            self.replays.insert(identity, Arc::new(replay));
        }
    }
}
