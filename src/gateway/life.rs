//! The life of a gateway: put together, serving, leaving, gone.

use super::accept::{self, Door};
use super::connection::Connection;
use super::context::Live;
use super::downstream::MalformedAnswer;
use super::handover_slots::Borrowing;
use super::hooks::Hooks;
use super::peers::Peers;
use super::reload::{Loader, Reloader};
use super::table::Connections;
use super::{looking_up, probing, replies, watch};
use crate::adapters::entropy;
use crate::adapters::log::Log;
use crate::adapters::metrics::Metrics;
use crate::adapters::resolver::Resolver;
use crate::config::Config;
use crate::holds;
use crate::identity::{Issuers, Means};
use crate::limits::kept::Keeper;
use crate::protected::Protected;
use crate::refusal::document::Circumstances;
use crate::refusal::{Executed, Refusal};
use crate::state::{Phase, Snapshot, State};
use crate::tls::{self, ListenerTlsState};
use arc_swap::ArcSwap;
use pingora_core::apps::HttpServerOptions;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use rustls::crypto::CryptoProvider;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch as signal;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long a leaving gateway still takes what comes: idle clients learn with their next answer
/// that they should come back elsewhere, and load balancers that `/readyz` says so.
const LAME_DUCK: Duration = Duration::from_secs(1);
/// The last part of a drain, in which nobody waits any more and the answers that say so go out:
/// one in so many parts of it, but no longer than that.
const LAST_PART: u32 = 10;
const LAST_PART_MAX: Duration = Duration::from_secs(1);
/// How often the end of a drain is looked for.
const LOOK: Duration = Duration::from_millis(20);
/// Attempts of one request at pingora's level: more than any deadline has room for. Ours decide
/// whether there is a next one.
const ATTEMPTS_MAX: usize = 10_000;
/// Unused connections to vendors that each worker's share of the pool may keep.
const POOL_SIZE: usize = 1024;

/// A gateway that serves. Dropping it ends everything at once.
pub struct Gateway {
    /// Snapshot, metrics, log, phase.
    pub state: Arc<State>,
    /// The listeners by name, with the addresses they are bound to.
    pub addresses: Vec<(Arc<str>, SocketAddr)>,
    /// What keeps to the slots that a predecessor does not use; who drops it takes all slots.
    pub borrowing: Option<Borrowing>,
    connections: Arc<Connections>,
    keeper: Arc<Keeper>,
    protected: EndsWithUs,
    stop_accepting: signal::Sender<bool>,
    leaving: signal::Sender<bool>,
    accepting: JoinSet<()>,
    background: JoinSet<()>,
}

/// Protected writes outlive their clients, but not their gateway.
struct EndsWithUs(Arc<Protected>);

impl Drop for EndsWithUs {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a gateway is made of.
pub struct Parts {
    /// The first configuration.
    pub config: Config,
    /// A bound socket for each listener, in the configuration's order.
    pub sockets: Vec<TcpListener>,
    /// Reads the configuration again.
    pub loader: Loader,
    /// Counters.
    pub metrics: Metrics,
    /// Log lines.
    pub log: Log,
    /// Cryptography.
    pub provider: Arc<CryptoProvider>,
    /// Whether another process still uses the vendors' slots.
    pub replaces: bool,
}

/// Puts a gateway together and lets it serve. Has to be called inside the runtime.
///
/// # Errors
/// What keeps a listener from serving, in words.
pub fn start(parts: Parts) -> Result<Gateway, String> {
    // First of all: the configuration was read a moment ago.
    let seen = watch::fingerprint_of(&parts.config.watched);
    let listeners = parts.config.listeners.clone();
    let admin_tls = parts.config.admin.tls.as_ref();
    let admin_tls = admin_tls.map(|tls| ListenerTlsState::new(tls, &parts.provider, tls::HTTP_1));
    let admin_tls = admin_tls.transpose().map_err(|error| format!("admin listener: {error}"))?;
    let means = Means {
        web: Arc::default(),
        log: parts.log.clone(),
        refreshes: parts.metrics.jwks_refreshes.clone(),
    };
    let issuers = Issuers::new(&parts.config.issuers, None, &means);
    let snapshot = Snapshot::new(parts.config, issuers, None);
    let snapshot = snapshot.ok_or("a name can't stand in a field")?;
    let (state, asked) = State::new(snapshot, means, admin_tls, parts.metrics, parts.log)?;
    let borrowing = parts.replaces.then(|| Borrowing::begin(&state.vendors));
    let resolver = Arc::new(Resolver::default());
    let snapshot = state.snapshot.load_full();
    let keeper = keeper(&snapshot, &state);
    keeper.load();
    let peers = Peers::new(&snapshot.config, &resolver);
    let live = Arc::new(ArcSwap::from_pointee(Live { snapshot: snapshot.clone(), peers }));
    let proxy = proxy(&state, &live);
    let connections = Arc::new(Connections::default());
    let (stop_accepting, stop) = signal::channel(false);
    let (leaving, told_to_leave) = signal::channel(false);
    let malformed = malformed_answer(&state);
    let mut doors = Vec::new();
    let mut addresses = Vec::new();
    let mut accepting = JoinSet::new();
    for (listener, socket) in listeners.into_iter().zip(parts.sockets) {
        let say = |error: std::io::Error| format!("listener {}: {error}", listener.name);
        socket.set_nonblocking(true).map_err(say)?;
        let socket = tokio::net::TcpListener::from_std(socket).map_err(say)?;
        addresses.push((listener.name.clone(), socket.local_addr().map_err(say)?));
        let tls = listener.tls.as_ref();
        let tls = tls.map(|tls| ListenerTlsState::new(tls, &parts.provider, tls::HTTP));
        let door = Arc::new(Door {
            tls: tls.transpose().map_err(|error| format!("listener {}: {error}", listener.name))?,
            listener: ArcSwap::new(listener),
            state: state.clone(),
            connections: connections.clone(),
            proxy: proxy.clone(),
            malformed: malformed.clone(),
            leaving: told_to_leave.clone(),
        });
        accepting.spawn(accept::accept(door.clone(), socket, stop.clone()));
        doors.push(door);
    }
    let mut background = JoinSet::new();
    look_after(&mut background, &state, &live, &keeper);
    background.spawn(connections.clone().sweep(state.clone()));
    background.spawn(watch::watch(state.clone(), seen));
    let (loader, provider) = (parts.loader, parts.provider);
    let reloader = Reloader { state: state.clone(), live, doors, resolver, loader, provider };
    background.spawn(reloader.run(asked));
    state.phase.advance(Phase::Serving);
    Ok(Gateway {
        protected: EndsWithUs(state.protected.clone()),
        state,
        addresses,
        borrowing,
        connections,
        keeper,
        stop_accepting,
        leaving,
        accepting,
        background,
    })
}

impl Gateway {
    /// Leaves: takes what comes for a moment, finishes what is under way, turns away what still
    /// waits unsent shortly before the time is up, and returns how many connections and protected
    /// writes were left then.
    pub async fn drain(mut self, timeout: Duration) -> usize {
        let deadline = Instant::now() + timeout;
        let last_part = deadline - (timeout / LAST_PART).min(LAST_PART_MAX);
        self.state.phase.advance(Phase::Leaving);
        // Without receivers nobody has to be told.
        let _ = self.leaving.send(true);
        tokio::time::sleep_until(last_part.min(Instant::now() + LAME_DUCK)).await;
        let _ = self.stop_accepting.send(true);
        while self.accepting.join_next().await.is_some() {}
        self.state.phase.advance(Phase::Draining);
        self.are_gone_by(last_part).await;
        self.state.vendors.close();
        self.are_gone_by(deadline).await;
        self.background.abort_all();
        let left = self.left();
        // What is cut now is unknown, and is written down as such.
        self.protected.0.end().await;
        let (keeper, protected) = (self.keeper.clone(), self.protected.0.clone());
        let last = move || {
            keeper.save();
            protected.book.close();
        };
        // A panic in it would be our defect, and no reason to stay.
        let _ = tokio::task::spawn_blocking(last).await;
        left
    }

    fn left(&self) -> usize {
        self.connections.count() + self.protected.0.busy()
    }

    /// Waits until no connection and no protected write is left, but no longer than that.
    async fn are_gone_by(&self, deadline: Instant) {
        while self.left() > 0 && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Begins what goes on beside requests.
fn look_after(
    background: &mut JoinSet<()>,
    state: &Arc<State>,
    live: &Arc<ArcSwap<Live>>,
    keeper: &Arc<Keeper>,
) {
    background.spawn(probing::probe(state.clone(), live.clone()));
    background.spawn(looking_up::look_up(state.clone(), live.clone()));
    background.spawn(keeper.clone().keep());
    background.spawn(look_at_pauses(state.clone()));
    let of_state = state.clone();
    background.spawn(state.protected.clone().keep(move || {
        let ledger = &of_state.snapshot.load().config.ledger;
        (ledger.retention, ledger.answer_retention)
    }));
}

/// Keeps to what operators have paused, here or at another process beside it.
async fn look_at_pauses(state: Arc<State>) {
    loop {
        tokio::time::sleep(holds::LOOK).await;
        let state = state.clone();
        // A panic in it is said by the runtime; the next round tries again.
        let _ = tokio::task::spawn_blocking(move || state.holds.look(&state.vendors)).await;
    }
}

fn keeper(snapshot: &Snapshot, state: &State) -> Arc<Keeper> {
    let counters = snapshot.limits.counters.clone();
    let handover = &snapshot.config.server.handover;
    Arc::new(Keeper::new(counters, handover, state.clock.clone(), state.log.clone()))
}

fn proxy(state: &Arc<State>, live: &Arc<ArcSwap<Live>>) -> Arc<HttpProxy<Hooks>> {
    let conf = ServerConf {
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        max_retries: ATTEMPTS_MAX,
        upstream_keepalive_pool_size: POOL_SIZE,
        ..ServerConf::default()
    };
    let hooks = Hooks { state: state.clone(), live: live.clone() };
    let mut proxy = http_proxy(&Arc::new(conf), hooks);
    // CONNECT has to come as far as our own refusal.
    let mut options = HttpServerOptions::default();
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    Arc::new(proxy)
}

/// What a client gets whose head could not be parsed, as octets.
fn malformed_answer(state: &Arc<State>) -> MalformedAnswer {
    let state = state.clone();
    Arc::new(move |connection: &Connection| {
        let id = entropy::for_request().id;
        let id = String::from_utf8_lossy(&id);
        let refusal = Refusal::RequestMalformed("The request's head can't be parsed.");
        let snapshot = state.snapshot.load();
        let name = &snapshot.config.server.name;
        let (correlation_id, executed) = (&*id, Executed::No);
        let of = Circumstances { correlation_id, executed, keyed: false, vendor: None };
        let reply = replies::make(&refusal, &of, name, state.clock.date());
        let unknown = "unknown";
        state.metrics.refusals.with_label_values(&[refusal.slug(), unknown, unknown]).inc();
        state.metrics.requests.with_label_values(&[unknown, unknown, "other", "400"]).inc();
        let members = [
            ("correlation_id", (&*id).into()),
            ("listener", (&*connection.listener.name).into()),
            ("address", connection.peer.ip().to_string().into()),
        ];
        state.log.event("malformed-head", &members);
        let mut octets = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n".to_vec();
        for (name, value) in &reply.fields {
            octets.extend_from_slice(name.as_str().as_bytes());
            octets.extend_from_slice(b": ");
            octets.extend_from_slice(value.as_bytes());
            octets.extend_from_slice(b"\r\n");
        }
        octets.extend_from_slice(b"\r\n");
        octets.extend_from_slice(&reply.body);
        octets
    })
}
