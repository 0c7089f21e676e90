//! What outlives a request: the configuration in force, and everything that survives its change.

use crate::adapters::body::Buffers;
use crate::adapters::clock::Clock;
use crate::adapters::log::Log;
use crate::adapters::metrics::Metrics;
use crate::adapters::vendor_client::VendorClient;
use crate::config::Config;
use crate::holds::Holds;
use crate::identity::{Issuers, Means, Tokens};
use crate::limits::Limits;
use crate::model::rates::Gcra;
use crate::protected::Protected;
use crate::stages::forwarding::request::Via;
use crate::stages::routing::Table;
use crate::tls::ListenerTlsState;
use crate::vendors::{Desk, Vendors};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::HeaderValue;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::{mpsc, oneshot};

/// Unused connections to vendors that the vendor lane keeps.
const CONNECTIONS_KEPT: usize = 1024;
/// Reloads that may wait while one runs.
const RELOADS_WAITING: usize = 16;

/// One configuration with what is compiled from it. A request keeps the one it began with.
pub struct Snapshot {
    /// The configuration.
    pub config: Config,
    /// Its routes, compiled; indices are those of `config.routes`.
    pub table: Table,
    /// `Host` toward the vendor of each route, in the same order.
    pub hosts: Vec<HeaderValue>,
    /// The gateway's member of `Via`.
    pub via: Via,
    /// Who knows whether tokens are genuine.
    pub issuers: Issuers,
    /// What bounds each client.
    pub limits: Limits,
    /// How often an address may fail to authenticate.
    pub failed_auth: Gcra,
    /// What the requests of each route share at its vendor, in the order of the routes; set by
    /// who serves with it.
    pub desks: OnceLock<Vec<Arc<Desk>>>,
    /// Counts configurations from 1.
    pub generation: u64,
}

impl Snapshot {
    /// Compiles a configuration; `None` if a name in it can't stand in a field, which has been
    /// checked.
    pub fn new(config: Config, issuers: Issuers, previous: Option<&Snapshot>) -> Option<Snapshot> {
        let generation = previous.map_or(1, |previous| previous.generation + 1);
        let places = config.routes.iter().map(|route| (route.host.as_deref(), &*route.prefix));
        let table = Table::new(places);
        let hosts = config.routes.iter().map(|route| {
            let authority = Bytes::from(route.vendor.base_url.authority.clone());
            HeaderValue::from_maybe_shared(authority).ok()
        });
        let hosts = hosts.collect::<Option<Vec<HeaderValue>>>()?;
        let via = Via::new(&config.server.name)?;
        let rate = config.server.failed_auth_rate;
        let failed_auth = Gcra::new(rate, rate.count);
        let limits = Limits::new(&config.policies.rules, previous.map(|previous| &previous.limits));
        let desks = OnceLock::new();
        Some(Snapshot {
            table,
            hosts,
            via,
            issuers,
            limits,
            failed_auth,
            desks,
            generation,
            config,
        })
    }
}

/// Everything that requests share.
pub struct State {
    /// The configuration in force.
    pub snapshot: ArcSwap<Snapshot>,
    /// Tokens that were verified.
    pub tokens: Tokens,
    /// What issuers are asked with.
    pub means: Means,
    /// What requests to each vendor share.
    pub vendors: Vendors,
    /// What operators have paused.
    pub holds: Holds,
    /// Writes that are done once.
    pub protected: Arc<Protected>,
    /// How many octets of bodies are held.
    pub buffers: Arc<Buffers>,
    /// Sends what was read first.
    pub client: Arc<VendorClient>,
    /// Counters.
    pub metrics: Metrics,
    /// Log lines.
    pub log: Log,
    /// Time.
    pub clock: Arc<Clock>,
    /// Where the process is in its life.
    pub phase: PhaseCell,
    /// Certificates and client authorities of the admin listener.
    pub admin_tls: Option<ListenerTlsState>,
    /// Why the gateway is troubled though it serves, as `/readyz` tells it.
    pub troubles: ArcSwap<Vec<String>>,
    /// Files and folders whose change is a reason to reload: those of the configuration in
    /// force, and those that the last refused one named.
    pub watched: ArcSwap<Vec<PathBuf>>,
    /// How often those were looked at.
    pub looks: AtomicU64,
    reloads: mpsc::Sender<ReloadRequest>,
}

impl State {
    /// Shares the first configuration. Reloads are asked for through the receiver.
    ///
    /// # Errors
    /// There is no ledger, and none is to be made.
    pub fn new(
        snapshot: Snapshot,
        means: Means,
        admin_tls: Option<ListenerTlsState>,
        metrics: Metrics,
        log: Log,
    ) -> Result<(Arc<State>, mpsc::Receiver<ReloadRequest>), String> {
        let protected = Protected::start(&snapshot.config.ledger, &metrics, log.clone())?;
        metrics.config_generation.set(1);
        let folder = snapshot.config.server.handover.parent().map(Path::to_owned);
        let buffers = Buffers::new(folder.unwrap_or_default());
        let vendors = Vendors::new(&metrics);
        // A new snapshot has none yet: setting them can't fail.
        let _ = snapshot.desks.set(vendors.desks(&snapshot.config));
        let holds = Holds::load(&snapshot.config.server.handover, log.clone());
        holds.apply(&vendors);
        let (reloads, asked) = mpsc::channel(RELOADS_WAITING);
        let state = Arc::new(State {
            watched: ArcSwap::from_pointee(snapshot.config.watched.clone()),
            looks: AtomicU64::new(0),
            reloads,
            snapshot: ArcSwap::from_pointee(snapshot),
            tokens: Tokens::default(),
            means,
            buffers,
            client: VendorClient::new(CONNECTIONS_KEPT),
            vendors,
            holds,
            protected,
            metrics,
            log,
            clock: Arc::default(),
            phase: PhaseCell::default(),
            admin_tls,
            troubles: ArcSwap::default(),
        });
        Ok((state, asked))
    }
}

/// Asks for the configuration to be read again.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Who asks, for the log: `signal`, `admin`, `file`.
    pub asked_by: &'static str,
    /// Where the outcome goes.
    pub reply: oneshot::Sender<ReloadOutcome>,
}

/// What became of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// The configuration of this generation is in force.
    Accepted {
        /// Counts configurations from 1.
        generation: u64,
        /// Warnings, rendered.
        warnings: Vec<String>,
    },
    /// Nothing has changed.
    Refused {
        /// Why, rendered for people.
        problems: Vec<String>,
    },
}

impl State {
    /// Has the configuration read again, and waits for what becomes of it.
    pub async fn reload(&self, asked_by: &'static str) -> ReloadOutcome {
        let (reply, outcome) = oneshot::channel();
        let asked = self.reloads.send(ReloadRequest { asked_by, reply }).await;
        let unheard = || ReloadOutcome::Refused { problems: vec!["the gateway is leaving".into()] };
        match asked {
            Ok(()) => outcome.await.unwrap_or_else(|_| unheard()),
            Err(_) => unheard(),
        }
    }
}

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not serving yet.
    Starting,
    /// Serving.
    Serving,
    /// Serving what comes, and asking every client to come back elsewhere.
    Leaving,
    /// Only finishing what is under way.
    Draining,
}

/// The phase, shared.
#[derive(Debug, Default)]
pub struct PhaseCell(AtomicU8);

impl PhaseCell {
    /// The phase.
    pub fn get(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            2 => Phase::Leaving,
            _ => Phase::Draining,
        }
    }

    /// Moves on; a phase never comes back.
    pub fn advance(&self, phase: Phase) {
        let rank = match phase {
            Phase::Starting => 0,
            Phase::Serving => 1,
            Phase::Leaving => 2,
            Phase::Draining => 3,
        };
        self.0.fetch_max(rank, Ordering::AcqRel);
    }

    /// Whether clients should come back elsewhere.
    pub fn is_leaving(&self) -> bool {
        matches!(self.get(), Phase::Leaving | Phase::Draining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_never_comes_back() {
        let phase = PhaseCell::default();
        phase.advance(Phase::Leaving);
        phase.advance(Phase::Serving);
        assert_eq!(phase.get(), Phase::Leaving);
        assert!(phase.is_leaving());
    }
}
