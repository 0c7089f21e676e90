//! The live connections: how many there may be, and the sweep that ends those that are overdue.

use super::connection::{Closing, Connection};
use crate::adapters::clock::TICK;
use crate::adapters::metrics::Metrics;
use crate::model::address;
use crate::state::{Phase, State};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Every live client connection.
#[derive(Default)]
pub struct Connections {
    next: AtomicU64,
    live: Mutex<HashMap<u64, Arc<Connection>>>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    of_listener: HashMap<Arc<str>, usize>,
    of_address: HashMap<(Arc<str>, IpAddr), usize>,
}

/// A place among the connections of a listener, given back by dropping it.
pub struct Place {
    connections: Arc<Connections>,
    state: Arc<State>,
    listener: Arc<str>,
    address: IpAddr,
    /// Number of the connection, unique in the process.
    pub id: u64,
}

/// Why a connection got no place; also the metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The listener has as many as it takes.
    Listener,
    /// The address has as many as one may have.
    Address,
}

impl Full {
    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Full::Listener => "listener-full",
            Full::Address => "address-full",
        }
    }
}

impl Connections {
    /// Takes a place for a connection that was just accepted.
    ///
    /// # Errors
    /// Which of the two limits is reached.
    pub fn enter(
        self: &Arc<Self>,
        state: &Arc<State>,
        listener: &crate::config::Listener,
        peer: IpAddr,
    ) -> Result<Place, Full> {
        let address = address::group(peer);
        let name = listener.name.clone();
        let mut counts = lock(&self.counts);
        let of_listener = counts.of_listener.get(&name).copied().unwrap_or(0);
        let of_address = counts.of_address.get(&(name.clone(), address)).copied().unwrap_or(0);
        if of_listener >= listener.connections_max {
            return Err(Full::Listener);
        }
        if of_address >= listener.connections_max_per_address {
            return Err(Full::Address);
        }
        counts.of_listener.insert(name.clone(), of_listener + 1);
        counts.of_address.insert((name.clone(), address), of_address + 1);
        drop(counts);
        state.metrics.connections.with_label_values(&[&*name]).inc();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(Place { connections: self.clone(), state: state.clone(), listener: name, address, id })
    }

    /// Puts a connection under the sweep.
    pub fn watch(&self, connection: Arc<Connection>) {
        lock(&self.live).insert(connection.id, connection);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.counts).of_listener.values().sum()
    }

    /// Shows every live connection.
    pub fn each(&self, mut see: impl FnMut(&Connection)) {
        lock(&self.live).values().for_each(|connection| see(connection));
    }

    /// Ends every connection for which `why` gives a reason.
    fn close_where(&self, mut why: impl FnMut(&Connection) -> Option<Closing>) {
        for connection in lock(&self.live).values() {
            if let Some(closing) = why(connection) {
                connection.close(closing);
            }
        }
    }

    /// Keeps the clock ticking, and ends overdue connections and in the drain idle ones, until the
    /// task is dropped.
    pub async fn sweep(self: Arc<Self>, state: Arc<State>) {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            state.clock.tick();
            let now = state.clock.milliseconds();
            let draining = state.phase.get() == Phase::Draining;
            self.close_where(|connection| {
                if connection.is_idle() {
                    if connection.is_retired() {
                        return Some(connection.why());
                    }
                    // HTTP/2 clients are told by GOAWAY and close by themselves.
                    if draining && !connection.is_http2() {
                        return Some(Closing::Draining);
                    }
                }
                connection.overdue(now)
            });
        }
    }
}

impl Place {
    /// The connection has ended.
    pub fn leave(self, reason: &str) {
        closed(&self.state.metrics, &self.listener, reason);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.connections.live).remove(&self.id);
        let mut counts = lock(&self.connections.counts);
        let counts = &mut *counts;
        give_back(&mut counts.of_listener, &self.listener);
        give_back(&mut counts.of_address, &(self.listener.clone(), self.address));
        self.state.metrics.connections.with_label_values(&[&*self.listener]).dec();
    }
}

/// Counts a connection that ended.
pub fn closed(metrics: &Metrics, listener: &str, reason: &str) {
    metrics.connections_closed.with_label_values(&[listener, reason]).inc();
}

fn give_back<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
