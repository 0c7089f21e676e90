//! One thread that makes all changes, and commits those that wait together: while one group goes
//! to the disk, the next one gathers.
//!
//! Everybody hears of a change only after its commit. A change that spoils a group is made alone,
//! so that it spoils nothing but itself.

use super::Done;
use super::entry::{Change, Claim, Held, Outcome, Trouble};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Changes in one commit at the most: nobody waits for more than these.
const GROUP_MAX: usize = 256;

/// How long until a release that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What changes are made to.
pub trait Store: Send {
    /// Begins a group.
    ///
    /// # Errors
    /// Why none can be begun.
    fn begin(&mut self) -> Result<(), Trouble>;

    /// Makes a change; the inner error: it is refused, and nothing was touched.
    ///
    /// # Errors
    /// Why it can't be made; the group is rolled back.
    fn apply(&mut self, change: &Change) -> Result<Result<Outcome, Trouble>, Trouble>;

    /// Makes the group durable.
    ///
    /// # Errors
    /// Why it is not; then it is to be rolled back.
    fn commit(&mut self) -> Result<(), Trouble>;

    /// Undoes the group.
    fn roll_back(&mut self);
}

/// A commit, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// From its beginning until it was durable.
    pub took: Duration,
    /// Changes in it.
    pub changes: usize,
}

/// Is told of every commit; from the writer's thread.
pub type Observe = Box<dyn Fn(Commit) + Send>;

/// The thread; dropping it ends it after what was submitted before.
pub struct Writer {
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

struct Request {
    change: Change,
    /// `None`: a release that we owe ourselves.
    done: Option<Done>,
}

impl Writer {
    /// Begins to write.
    ///
    /// # Errors
    /// There can't be another thread.
    pub fn start(store: impl Store + 'static, observe: Observe) -> Result<Writer, Trouble> {
        let (requests, received) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || write(store, &received, &observe))
            .map_err(|error| Trouble::Failed(error.to_string()))?;
        Ok(Writer { requests: Some(requests), thread: Some(thread) })
    }

    /// Submits a change; `done` is told of it after its commit.
    pub fn submit(&self, change: Change, done: Done) {
        let request = Request { change, done: Some(done) };
        let refused = match &self.requests {
            Some(requests) => requests.send(request).err().map(|error| error.0),
            None => Some(request),
        };
        if let Some(done) = refused.and_then(|request| request.done) {
            done(Err(Trouble::Closed));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // It ends by itself; a panic in it has told whoever waited that it is closed.
            let _ = thread.join();
        }
    }
}

fn write(mut store: impl Store, received: &Receiver<Request>, observe: &Observe) {
    let mut owed: Vec<Claim> = Vec::new();
    let mut patient = false;
    loop {
        let mut group: Vec<Request> = Vec::new();
        if owed.is_empty() || patient {
            match received.recv_timeout(if patient { AGAIN } else { Duration::MAX }) {
                Ok(first) => group.push(first),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        let releases = owed.drain(..).map(|claim| (Change::Release(claim), None));
        group.extend(releases.map(|(change, done)| Request { change, done }));
        group.extend(received.try_iter().take(GROUP_MAX.saturating_sub(group.len())));
        let failed = settle(&mut store, group, observe, &mut owed);
        patient = failed && !owed.is_empty();
    }
}

/// Makes the changes of a group, all at once or one by one; `true`: a release that is owed failed.
fn settle(
    store: &mut impl Store,
    group: Vec<Request>,
    observe: &Observe,
    owed: &mut Vec<Claim>,
) -> bool {
    let outcomes: Outcomes = match commit(store, &group, observe) {
        Ok(outcomes) => outcomes,
        Err(trouble) if group.len() > 1 && may_be_of_one(&trouble) => group
            .iter()
            .map(|request| {
                let alone = commit(store, std::slice::from_ref(request), observe)?;
                alone.into_iter().next().unwrap_or(Err(Trouble::Closed))
            })
            .collect(),
        Err(trouble) => vec![Err(trouble); group.len()],
    };
    let mut failed = false;
    for (Request { change, done }, outcome) in group.into_iter().zip(outcomes) {
        match (done, change) {
            (Some(done), _) => {
                let claim = ours(&outcome);
                if !done(outcome) {
                    owed.extend(claim);
                }
            }
            (None, Change::Release(claim)) if outcome.is_err() => {
                owed.push(claim);
                failed = true;
            }
            (None, _) => {}
        }
    }
    failed
}

type Outcomes = Vec<Result<Outcome, Trouble>>;

fn commit(
    store: &mut impl Store,
    group: &[Request],
    observe: &Observe,
) -> Result<Outcomes, Trouble> {
    let begun = Instant::now();
    let made = store.begin().and_then(|()| {
        let changes = group.iter().map(|request| store.apply(&request.change));
        let outcomes: Outcomes = changes.collect::<Result<_, Trouble>>()?;
        store.commit().map(|()| outcomes)
    });
    match &made {
        Ok(_) => observe(Commit { took: begun.elapsed(), changes: group.len() }),
        Err(_) => store.roll_back(),
    }
    made
}

/// Whether another change might be made all the same.
fn may_be_of_one(trouble: &Trouble) -> bool {
    !matches!(trouble, Trouble::Busy | Trouble::ReadOnly(_) | Trouble::Unreadable(_))
}

/// The claim that nobody will use if nobody hears of it.
fn ours(outcome: &Result<Outcome, Trouble>) -> Option<Claim> {
    match outcome {
        Ok(Outcome::Held(Held::Ours(claim))) => Some(*claim),
        _ => None,
    }
}
