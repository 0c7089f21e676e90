//! What requests to a vendor share and reloads leave alone: its pool, its circuit, its budget for
//! repetitions, and what is paused of it without the whole of it.

use crate::adapters::entropy;
use crate::adapters::metrics::Metrics;
use crate::circuits::{SharedCircuit, Signs};
use crate::config::{Circuit, Config};
use crate::pools::{Gauges, SharedPool};
use crate::stages::admission::Backoff;
use crate::stages::admission::parts::{Part, Parts};
use crate::stages::retry::Budget;
use prometheus::IntGaugeVec;
use prometheus::core::Collector;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What the requests of one route share at its vendor.
pub struct Desk {
    /// The account's pool.
    pub pool: Arc<SharedPool>,
    /// The vendor's circuit, or the route's.
    pub circuit: Arc<SharedCircuit>,
    /// What may still be repeated.
    pub budget: Arc<Mutex<Budget>>,
    /// What is paused without the account.
    pub pauses: Arc<Pauses>,
    /// Who goes one at a time.
    pub turns: Arc<Turns>,
    /// `pool_budget_remaining`.
    pub budget_left: IntGaugeVec,
}

/// Everything that is shared, by name: it outlives the configurations that name it.
pub struct Vendors {
    gauges: Box<dyn Fn(&str) -> Gauges + Send + Sync>,
    signs: Signs,
    budget_left: IntGaugeVec,
    pools: Mutex<HashMap<Arc<str>, Arc<SharedPool>>>,
    circuits: Mutex<HashMap<Arc<str>, Arc<SharedCircuit>>>,
    rest: Mutex<HashMap<Arc<str>, Rest>>,
    turns: Mutex<HashMap<Arc<str>, Arc<Turns>>>,
    /// Turns true when nobody may wait any more.
    closing: watch::Sender<bool>,
}

#[derive(Clone, Default)]
struct Rest {
    budget: Arc<Mutex<Budget>>,
    pauses: Arc<Pauses>,
}

impl Vendors {
    /// Of which nothing is known yet.
    pub fn new(metrics: &Metrics) -> Vendors {
        let metrics = metrics.pools.clone();
        let budget_left = metrics.budget.clone();
        let signs =
            Signs { state: metrics.circuit.clone(), transitions: metrics.transitions.clone() };
        let gauges = move |pool: &str| Gauges {
            limit: metrics.limit.with_label_values(&[pool]),
            in_use: metrics.in_use.with_label_values(&[pool]),
            depth: metrics.depth.with_label_values(&[pool]),
            wait: metrics.wait.with_label_values(&[pool]),
            paused: metrics.paused.with_label_values(&[pool]),
        };
        Vendors {
            gauges: Box::new(gauges),
            signs,
            budget_left,
            pools: Mutex::default(),
            circuits: Mutex::default(),
            rest: Mutex::default(),
            turns: Mutex::default(),
            closing: watch::Sender::new(false),
        }
    }

    /// What each route of a configuration shares, in its order: what had the same name before is
    /// the same, under the configuration's rules. Has to be called inside the runtime.
    pub fn desks(&self, config: &Config) -> Vec<Arc<Desk>> {
        let now = Instant::now();
        let mut pools = locked(&self.pools);
        for pool in &config.pools {
            match pools.get(&pool.name) {
                Some(known) => known.with(|it| it.set_policy(pool.policy.clone(), now)),
                None => {
                    let gauges = (self.gauges)(&pool.name);
                    pools.insert(pool.name.clone(), SharedPool::new(pool, gauges, now));
                }
            }
        }
        pools.retain(|name, _| config.pools.iter().any(|pool| pool.name == *name));
        self.forget_others(config);
        let routes = config.routes.iter();
        // A vendor's pool is always there: `resolve` has checked it.
        let desks = routes.filter_map(|route| {
            let vendor = &route.vendor;
            let rest = locked(&self.rest).entry(vendor.name.clone()).or_default().clone();
            let turns = locked(&self.turns).entry(route.name.clone()).or_default().clone();
            Some(Arc::new(Desk {
                pool: pools.get(&vendor.handling.pool)?.clone(),
                circuit: self.circuit(&vendor.name, &route.name, &vendor.handling.circuit),
                budget: rest.budget,
                pauses: rest.pauses,
                turns,
                budget_left: self.budget_left.clone(),
            }))
        });
        desks.collect()
    }

    /// What no configuration names any more is not shown any more.
    fn forget_others(&self, config: &Config) {
        let named = |vendor: &str| config.vendors.iter().any(|it| *it.name == *vendor);
        let leads = |route: &str| config.routes.iter().any(|it| *it.name == *route);
        locked(&self.rest).retain(|vendor, _| named(vendor));
        locked(&self.turns).retain(|route, _| leads(route));
        locked(&self.circuits).retain(|name, circuit| {
            let used = config.routes.iter().any(|route| {
                let vendor = &route.vendor;
                circuit_name(&vendor.name, &route.name, &vendor.handling.circuit) == *name
            });
            if !used {
                circuit.forget();
            }
            used
        });
    }

    fn circuit(&self, vendor: &Arc<str>, route: &str, config: &Circuit) -> Arc<SharedCircuit> {
        let name = circuit_name(vendor, route, config);
        let mut circuits = locked(&self.circuits);
        let new = || SharedCircuit::new(name.clone(), config.policy.clone(), self.signs.clone());
        let circuit = circuits.entry(name.clone()).or_insert_with(new).clone();
        circuit.set_policy(config.policy.clone());
        circuit
    }

    /// The pools, by name.
    pub fn pools(&self) -> Vec<Arc<SharedPool>> {
        let mut pools: Vec<_> = locked(&self.pools).values().cloned().collect();
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        pools
    }

    /// The pool of this name.
    pub fn pool(&self, name: &str) -> Option<Arc<SharedPool>> {
        locked(&self.pools).get(name).cloned()
    }

    /// What was last seen to be left of each budget of a pool.
    pub fn budgets(&self, pool: &str) -> Vec<(String, i64)> {
        let families = self.budget_left.collect();
        let metrics = families.iter().flat_map(|family| family.get_metric());
        let budgets = metrics.filter_map(|metric| {
            let label = |name: &str| {
                let labels = metric.get_label().iter();
                labels.filter(|it| it.name() == name).map(|it| it.value()).next()
            };
            let name = label("budget").filter(|_| label("pool") == Some(pool))?;
            // Gauges are shown as floating-point numbers; a budget is exact in one.
            Some((name.to_owned(), metric.get_gauge().get_value() as i64))
        });
        let mut budgets: Vec<_> = budgets.collect();
        budgets.sort();
        budgets
    }

    /// Turns away everybody who waits, for a slot or for anything else, and who comes from now on.
    pub fn close(&self) {
        self.closing.send_replace(true);
        self.pools().iter().for_each(|pool| pool.close());
    }

    /// Whether [`Vendors::close`] was called.
    pub fn is_closed(&self) -> bool {
        *self.closing.borrow()
    }

    /// Waits until [`Vendors::close`] is called.
    pub async fn closed(&self) {
        // The sender lives as long as we are asked.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }
}

/// A route's own where each has one, else the vendor's.
fn circuit_name(vendor: &Arc<str>, route: &str, config: &Circuit) -> Arc<str> {
    match config.per_route {
        true => Arc::from(format!("{vendor}/{route}")),
        false => vendor.clone(),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is paused of a vendor: the room `stages::admission::parts` with a lock around it.
#[derive(Default)]
pub struct Pauses(Mutex<Parts>);

impl Pauses {
    /// When the last of the parts that a request needs may be asked again; `parts` is called only
    /// where something is paused at all.
    pub fn until(&self, parts: impl FnOnce() -> [Part; 3], now: Instant) -> Option<Instant> {
        let paused = locked(&self.0);
        if paused.is_empty() { None } else { paused.until(&parts(), now) }
    }

    /// What is paused, and for how long yet, the longest first.
    pub fn all(&self, now: Instant) -> Vec<(Part, Duration)> {
        locked(&self.0).all(now)
    }

    /// The vendor has throttled a part in its answer to what was asked at `since`: for how long it
    /// is left alone.
    pub fn throttled(
        &self,
        part: Part,
        hint: Option<Duration>,
        backoff: Backoff,
        since: Instant,
    ) -> Duration {
        let (entropy, now) = (entropy::fraction(), Instant::now());
        locked(&self.0).throttled(part, hint, backoff, entropy, since, now)
    }

    /// The parts have answered what was asked at `since`.
    pub fn answered(&self, parts: impl FnOnce() -> [Part; 3], since: Instant) {
        let mut paused = locked(&self.0);
        if !paused.is_empty() {
            paused.answered(&parts(), since);
        }
    }
}

/// Lets requests go one at a time for each value of a part of their path, in their order.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<Box<str>, Arc<tokio::sync::Mutex<()>>>>);

/// The right to go; dropping it lets the next one go.
pub struct Turn {
    turns: Arc<Turns>,
    key: Box<str>,
    held: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits until nobody before is left.
    pub async fn turn(self: &Arc<Self>, key: &str) -> Turn {
        let gate = locked(&self.0).entry(key.into()).or_default().clone();
        let mut turn = Turn { turns: self.clone(), key: key.into(), held: None };
        turn.held = Some(gate.lock_owned().await);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.held.take());
        let mut turns = locked(&self.turns.0);
        // The map's own is the last one: nobody waits.
        if turns.get(&self.key).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            turns.remove(&self.key);
        }
    }
}
