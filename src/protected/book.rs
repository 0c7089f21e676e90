//! The ledger as this process has it: opened aside, tried again where that may help, and read even
//! where it can't be written.

use crate::adapters::ledger::entry::{Answer, Change, Entry, Outcome, Standing, Trouble};
use crate::adapters::ledger::seal::EncryptionKey;
use crate::adapters::ledger::sqlite::{Opened, Reader, Settings, SqliteLedger};
use crate::adapters::ledger::writer::Commit;
use crate::adapters::ledger::{Ledger, World};
use crate::adapters::log::Log;
use crate::config;
use crate::model::digest::Sha256;
use crate::model::moment::Moment;
use prometheus::Histogram;
use serde_json::Value;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a gateway waits for its ledger before it serves without.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long until a ledger that could not be opened is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a claim or an answer may take to be durable, and a look to be told.
const COMMIT: Duration = Duration::from_secs(10);

/// The ledger.
pub struct Book {
    shared: Arc<Shared>,
    /// To the thread that reads for requests, one after the other: they share a connection, and a
    /// thread for each would only wait for the others.
    reads: mpsc::Sender<Read>,
    /// The file.
    pub path: PathBuf,
    key: Option<EncryptionKey>,
}

struct Shared {
    stand: RwLock<Stand>,
    /// Why the last change could not be made, if it could not.
    last: Mutex<Option<Trouble>>,
    /// This process made the file: an operator who expected the old one should know.
    made: Mutex<bool>,
}

type Read = Box<dyn FnOnce() + Send>;

enum Stand {
    Opening,
    Open(Arc<dyn Ledger>),
    Shut(Trouble, Option<Arc<Reader>>),
}

/// What can be read: the ledger, or its file where it can't be written.
enum Readable {
    Ledger(Arc<dyn Ledger>),
    File(Arc<Reader>),
}

/// What the store is told of the configuration.
///
/// # Errors
/// The key does not fit, which the configuration has made sure of.
pub fn settings(ledger: &config::Ledger) -> Result<Settings, String> {
    Ok(Settings {
        path: ledger.path.clone(),
        create: ledger.create,
        answer_bytes_max: usize::try_from(ledger.answer_bytes_max).unwrap_or(usize::MAX),
        encryption_key: ledger.encryption_key.as_ref().map(EncryptionKey::of).transpose()?,
    })
}

impl Book {
    /// Opens it, in a thread of its own.
    ///
    /// # Errors
    /// There is none, and none is to be made.
    pub fn open(settings: &config::Ledger, commits: Histogram, log: Log) -> Result<Book, String> {
        let shared = Arc::new(Shared {
            stand: RwLock::new(Stand::Opening),
            last: Mutex::default(),
            made: Mutex::default(),
        });
        let (tell, told) = mpsc::sync_channel(1);
        let of = self::settings(settings)?;
        let (path, key) = (settings.path.clone(), of.encryption_key.clone());
        let opener = Opener { settings: of, commits, log };
        let weak = Arc::downgrade(&shared);
        std::thread::Builder::new()
            .name("ledger-opener".to_owned())
            .spawn(move || opener.run(&weak, &tell))
            .map_err(|error| format!("ledger: {error}"))?;
        match told.recv_timeout(PATIENCE) {
            Ok(Some(Trouble::Absent)) => Err(format!("{}: {}", path.display(), Trouble::Absent)),
            // What else is wrong keeps protected writes out, and nothing else.
            _ => Ok(Book { shared, path, key, reads: reader()? }),
        }
    }

    /// The ledger, where it can be written.
    ///
    /// # Errors
    /// Why it can't be.
    pub fn ledger(&self) -> Result<Arc<dyn Ledger>, Trouble> {
        match &*self.shared.stand.read().unwrap_or_else(PoisonError::into_inner) {
            Stand::Open(ledger) => Ok(ledger.clone()),
            Stand::Opening => Err(Trouble::Busy),
            Stand::Shut(trouble, _) => Err(trouble.clone()),
        }
    }

    fn readable(&self) -> Result<Readable, Trouble> {
        match &*self.shared.stand.read().unwrap_or_else(PoisonError::into_inner) {
            Stand::Open(ledger) => Ok(Readable::Ledger(ledger.clone())),
            Stand::Shut(_, Some(reader)) => Ok(Readable::File(reader.clone())),
            Stand::Shut(trouble, None) => Err(trouble.clone()),
            Stand::Opening => Err(Trouble::Busy),
        }
    }

    /// Closes the file: what was submitted is written, and its log is emptied into it, so that the
    /// one file is the whole ledger. Blocks.
    pub fn close(&self) {
        let mut stand = self.shared.stand.write().unwrap_or_else(PoisonError::into_inner);
        let open = std::mem::replace(&mut *stand, Stand::Shut(Trouble::Closed, None));
        drop(stand);
        drop(open);
    }

    /// What `/readyz` says of it; nothing where all is well.
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        match self.ledger() {
            Err(Trouble::Busy) => troubles.push("ledger: it is being opened".to_owned()),
            Err(trouble) => troubles.push(format!("ledger {}: {trouble}", trouble.word())),
            Ok(_) => {
                let last = self.shared.last.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(trouble) = &*last {
                    troubles.push(format!("ledger {}: {trouble}", trouble.word()));
                }
            }
        }
        if *self.shared.made.lock().unwrap_or_else(PoisonError::into_inner) {
            troubles.push(format!(
                "ledger created: {} was not there when this process began",
                self.path.display()
            ));
        }
        troubles
    }

    /// Whether protected writes can be written down, as far as was last seen.
    pub fn is_available(&self) -> bool {
        let last = self.shared.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_none() && self.ledger().is_ok()
    }

    /// Now, by the ledger's clocks.
    pub fn now(&self) -> Option<Moment> {
        self.ledger().ok().map(|ledger| ledger.now())
    }

    /// What is known of a key. Where the ledger can only be read, the claims of others may be
    /// those of dead processes.
    ///
    /// # Errors
    /// Why that can't be told.
    pub async fn look(&self, identity: Sha256) -> Result<Option<Entry>, Trouble> {
        match self.readable()? {
            Readable::Ledger(ledger) => self.read(move || ledger.look(&identity)).await,
            Readable::File(reader) => self.read(move || reader.look(&identity)).await,
        }
    }

    /// The answer that is kept for an entry.
    ///
    /// # Errors
    /// Why that can't be told.
    pub async fn answer_of(&self, id: i64) -> Result<Option<Answer>, Trouble> {
        match self.readable()? {
            Readable::Ledger(ledger) => self.read(move || ledger.answer_of(id)).await,
            Readable::File(reader) => self.read(move || reader.answer_of(id)).await,
        }
    }

    /// Opens the file for whoever only looks, to be called where that may take its time: also where
    /// it can't be written, and so that nobody who writes waits.
    pub fn own_reader(&self) -> impl FnOnce() -> Result<Reader, Trouble> + Send + use<> {
        let (path, key) = (self.path.clone(), self.key.clone());
        move || Reader::open(&path, key.as_ref())
    }

    /// Looks into the file for a person.
    ///
    /// # Errors
    /// Why that can't be told.
    pub async fn look_into<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Reader) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let open = self.own_reader();
        aside(move || look(&open()?)).await
    }

    /// The entry of this number.
    ///
    /// # Errors
    /// Why that can't be told.
    pub async fn entry(&self, id: i64) -> Result<Option<Entry>, Trouble> {
        match self.readable()? {
            Readable::Ledger(ledger) => aside(move || ledger.entry(id)).await,
            Readable::File(reader) => aside(move || reader.entry(id)).await,
        }
    }

    /// Entries in this standing, the first ones after a number.
    ///
    /// # Errors
    /// Why that can't be told.
    pub async fn list(
        &self,
        standing: Standing,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Entry>, Trouble> {
        match self.readable()? {
            Readable::Ledger(ledger) => aside(move || ledger.list(standing, after, limit)).await,
            Readable::File(reader) => aside(move || reader.list(standing, after, limit)).await,
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let (tell, told) = oneshot::channel();
        // Nobody may wait for it any more.
        let read = Box::new(move || drop(tell.send(read())));
        self.reads.send(read).map_err(|_| Trouble::Closed)?;
        match tokio::time::timeout(COMMIT, told).await {
            Ok(told) => told.unwrap_or(Err(Trouble::Closed)),
            Err(_) => Err(Trouble::Busy),
        }
    }

    /// Makes a change, and waits until it is durable. Who stops waiting loses a claim that comes
    /// later: the store releases it.
    ///
    /// # Errors
    /// Why it was not made, or nobody knows yet.
    pub async fn change(
        &self,
        ledger: &Arc<dyn Ledger>,
        change: Change,
    ) -> Result<Outcome, Trouble> {
        let (tell, mut told) = oneshot::channel();
        ledger.submit(change, Box::new(move |outcome| tell.send(outcome).is_ok()));
        let outcome = match tokio::time::timeout(COMMIT, &mut told).await {
            Ok(told) => told.unwrap_or(Err(Trouble::Closed)),
            Err(_) => {
                // From here on the store hears that nobody listens; until now it may have told.
                told.close();
                told.try_recv().unwrap_or(Err(Trouble::Busy))
            }
        };
        let trouble = match &outcome {
            // What removes needs no room: only it says whether there is some.
            Ok(Outcome::Purged(purged)) if !purged.room => Some(Trouble::Full),
            Ok(_) => None,
            Err(trouble) => Some(trouble.clone()),
        };
        *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        outcome
    }
}

/// Begins the thread that reads for requests; it ends with whoever sends to it.
fn reader() -> Result<mpsc::Sender<Read>, String> {
    let (reads, asked) = mpsc::channel::<Read>();
    std::thread::Builder::new()
        .name("ledger-reader".to_owned())
        .spawn(move || {
            for read in asked {
                // A defect in one read keeps nobody else from reading.
                let _ = std::panic::catch_unwind(AssertUnwindSafe(read));
            }
        })
        .map_err(|error| format!("ledger: {error}"))?;
    Ok(reads)
}

/// Runs what may wait for the disk where nobody else waits for it.
pub async fn aside<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read,
        Err(error) => Err(Trouble::Failed(error.to_string())),
    }
}

struct Opener {
    settings: Settings,
    commits: Histogram,
    log: Log,
}

impl Opener {
    /// Until it is open, or nobody wants it any more.
    fn run(&self, shared: &Weak<Shared>, tell: &mpsc::SyncSender<Option<Trouble>>) {
        let mut said = None;
        loop {
            let opened = self.open();
            let Some(shared) = shared.upgrade() else { return };
            let trouble = match opened {
                Ok((ledger, opened)) => {
                    self.say_opened(opened);
                    *shared.made.lock().unwrap_or_else(PoisonError::into_inner) = opened.created;
                    let mut stand = shared.stand.write().unwrap_or_else(PoisonError::into_inner);
                    *stand = Stand::Open(Arc::new(ledger));
                    // Nobody may listen any more.
                    let _ = tell.try_send(None);
                    return;
                }
                Err(trouble) => trouble,
            };
            if said.as_ref() != Some(&trouble) {
                let members = [
                    ("reason", Value::from(trouble.word())),
                    ("detail", trouble.to_string().into()),
                ];
                self.log.event("ledger-unavailable", &members);
                said = Some(trouble.clone());
            }
            let reader = Reader::open(&self.settings.path, self.settings.encryption_key.as_ref())
                .ok()
                .map(Arc::new);
            let again = may_pass(&trouble);
            let mut stand = shared.stand.write().unwrap_or_else(PoisonError::into_inner);
            *stand = Stand::Shut(trouble.clone(), reader);
            drop(stand);
            let _ = tell.try_send(Some(trouble));
            if !again {
                return;
            }
            drop(shared);
            std::thread::sleep(AGAIN);
        }
    }

    fn open(&self) -> Result<(SqliteLedger, Opened), Trouble> {
        let commits = self.commits.clone();
        let observe = Box::new(move |commit: Commit| {
            commits.observe(commit.took.as_secs_f64());
        });
        SqliteLedger::open(&self.settings, Arc::new(World::default()), observe)
    }

    fn say_opened(&self, opened: Opened) {
        let path = self.settings.path.display().to_string();
        if opened.created {
            let members =
                [("action", Value::from("ledger-created")), ("path", path.clone().into())];
            self.log.event("audit", &members);
        }
        let orphans = ("orphans", Value::from(opened.orphans));
        self.log.event("ledger-opened", &[("path", path.into()), orphans]);
    }
}

/// Whether it may be otherwise in a while, without anybody looking after the file itself.
fn may_pass(trouble: &Trouble) -> bool {
    matches!(
        trouble,
        Trouble::Busy
            | Trouble::Full
            | Trouble::ReadOnly(_)
            | Trouble::Unreadable(_)
            | Trouble::Failed(_)
    )
}
