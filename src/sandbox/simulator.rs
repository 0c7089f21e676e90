//! Keeps the state of a simulated account behind one lock, and counts who is in flight.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method};
use serde_json::{Map, Value};

use super::answer::Answer;
use super::faults::{Fault, Faults, Rule};
use super::guarded::Guarded;
use super::listener::Lever;
use super::netsuite::{Command, Origin, Records};
use super::slot::{Gauge, Slot};
use super::tally::Tally;

/// A simulated account, shared by all of its connections.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    concurrency: usize,
    lever: Lever,
    operations: AtomicU64,
    gauge: Arc<Gauge>,
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
    requests: u64,
    throttled: u64,
    down: bool,
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
    /// An account without records at `address`; `lever` opens and closes its listener.
    pub fn new(address: SocketAddr, concurrency: usize, lever: Lever) -> Simulator {
        let state = State { concurrency, ..State::default() };
        Simulator {
            address,
            concurrency,
            lever,
            operations: AtomicU64::new(0),
            gauge: Arc::new(Gauge::default()),
            state: Guarded::new(state),
        }
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
    pub fn enter(&self) -> Option<Slot> {
        let mut state = self.state.lock();
        state.requests += 1;
        let slot = self.gauge.enter(state.concurrency);
        if slot.is_none() {
            state.throttled += 1;
        }
        slot
    }

    /// Whether a connection that was just accepted is to be reset.
    pub fn draw_refusal(&self) -> bool {
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
        self.lever.switch(down).await
    }

    /// Applies a change, a reset first.
    pub fn change(&self, change: Change) {
        let mut state = self.state.lock();
        if change.reset {
            let (concurrency, down) = (self.concurrency, state.down);
            *state = State { concurrency, down, ..State::default() };
            self.gauge.reset();
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
            ("in_flight", self.gauge.in_flight().into()),
            ("peak_in_flight", self.gauge.peak().into()),
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
