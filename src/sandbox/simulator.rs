//! Keeps the state of a simulated account behind one lock, and counts who is in flight.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

use super::answer::Answer;
use super::faults::{Fault, Faults, Rule};
use super::guarded::Guarded;
use super::listener::Switch;
use super::netsuite::{Command, Origin, Records};
use super::tally::Tally;

/// A simulated account, shared by all of its connections.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    concurrency: usize,
    switch: mpsc::Sender<Switch>,
    operations: AtomicU64,
    state: Guarded<State>,
}

/// All that changes.
#[derive(Debug, Default)]
struct State {
    records: Records,
    tally: Tally,
    faults: Faults,
    latency: Duration,
    concurrency: usize,
    in_flight: usize,
    peak_in_flight: usize,
    requests: u64,
    throttled: u64,
    down: bool,
}

/// A request's place in the account's concurrency; dropping it gives it back.
#[derive(Debug)]
pub struct Slot(Arc<Simulator>);

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
    }
}

/// What the control endpoint can change.
#[derive(Debug, Default)]
pub struct Change {
    /// Forgets records, counts and faults, and goes back to the settings of the start.
    pub reset: bool,
    /// Time between reading a request and acting on it.
    pub latency: Option<Duration>,
    /// The account's concurrency limit.
    pub concurrency: Option<usize>,
    /// Replaces the faults to come.
    pub faults: Option<Vec<Rule>>,
}

impl Simulator {
    /// An account without records at `address`; `switch` opens and closes its listener.
    pub fn new(address: SocketAddr, concurrency: usize, switch: mpsc::Sender<Switch>) -> Simulator {
        let state = State { concurrency, ..State::default() };
        let operations = AtomicU64::new(0);
        Simulator { address, concurrency, switch, operations, state: Guarded::new(state) }
    }

    /// Where the vendor listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A number that no other request of this simulator gets.
    pub fn next_operation(&self) -> u64 {
        self.operations.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Counts a request whose head has been read; `None` if it is one too many.
    pub fn enter(self: &Arc<Simulator>) -> Option<Slot> {
        let mut state = self.state.lock();
        state.requests += 1;
        if state.in_flight >= state.concurrency {
            state.throttled += 1;
            return None;
        }
        state.in_flight += 1;
        state.peak_in_flight = state.peak_in_flight.max(state.in_flight);
        Some(Slot(Arc::clone(self)))
    }

    /// Whether a connection that was just accepted is to be reset.
    pub fn refuses_connection(&self) -> bool {
        self.state.lock().faults.draw_refusal()
    }

    /// The failure that this request has drawn.
    pub fn draw_fault(&self, method: &Method, target: &str) -> Option<Fault> {
        self.state.lock().faults.draw(method, target)
    }

    /// How long a request takes.
    pub fn latency(&self) -> Duration {
        self.state.lock().latency
    }

    /// Executes a command and counts it if it took effect, as one step.
    pub fn execute(&self, command: Command, origin: &Origin, headers: &HeaderMap) -> Answer {
        let mut state = self.state.lock();
        let concurrency = state.concurrency;
        let outcome = command.execute(&mut state.records, origin, concurrency);
        if let Some(booking) = &outcome.booking {
            state.tally.book(headers, booking.external_id.as_deref());
        }
        outcome.answer
    }

    /// Notes whether the vendor's listener is closed.
    pub fn note_down(&self, down: bool) {
        self.state.lock().down = down;
    }

    /// Closes or opens the vendor's listener, and returns when that is done.
    ///
    /// # Errors
    /// When the port can't be opened again, or the simulator is being stopped.
    pub async fn switch(&self, down: bool) -> io::Result<()> {
        let stopping = || io::Error::other("the simulator is being stopped");
        let (done, finished) = oneshot::channel();
        self.switch.send(Switch { down, done }).await.map_err(|_| stopping())?;
        finished.await.map_err(|_| stopping())?
    }

    /// Applies a change, a reset first.
    pub fn change(&self, change: Change) {
        let mut state = self.state.lock();
        if change.reset {
            // Requests in flight are real, and give their slots back later.
            let (in_flight, down) = (state.in_flight, state.down);
            *state = State { in_flight, down, peak_in_flight: in_flight, ..State::default() };
            state.concurrency = self.concurrency;
        }
        if let Some(latency) = change.latency {
            state.latency = latency;
        }
        if let Some(concurrency) = change.concurrency {
            state.concurrency = concurrency;
        }
        if let Some(faults) = change.faults {
            state.faults.set(faults);
        }
    }

    /// The state as the control endpoint shows it.
    pub fn document(&self) -> Value {
        let state = self.state.lock();
        let mut document = Map::new();
        if let Value::Object(tally) = state.tally.document() {
            document.extend(tally);
        }
        let latency = u64::try_from(state.latency.as_millis()).unwrap_or(u64::MAX);
        for (name, value) in [
            ("records", state.records.counts()),
            ("requests", state.requests.into()),
            ("throttled", state.throttled.into()),
            ("in_flight", state.in_flight.into()),
            ("peak_in_flight", state.peak_in_flight.into()),
            ("faults_pending", state.faults.pending().into()),
            ("latency_ms", latency.into()),
            ("concurrency", state.concurrency.into()),
            ("down", state.down.into()),
        ] {
            document.insert(name.to_owned(), value);
        }
        Value::Object(document)
    }
}
