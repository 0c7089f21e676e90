//! A whole gateway in one process: listeners, admin listener, handover, simulators. `erpgate run`
//! and the integration tests start it by the same door.

use super::simulation::{Simulation, Urls};
use crate::adapters::log::Log;
use crate::adapters::metrics::Metrics;
use crate::admin;
use crate::config::Config;
use crate::config::resolve::{Loaded, Memo, Mode, load_again};
use crate::config::sources::{Instead, Sources, System};
use crate::gateway::handover::{self, Named, Predecessor};
use crate::gateway::handover_slots::{self, Borrowing};
use crate::gateway::life::{self, Gateway, Parts};
use crate::gateway::reload::Loader;
use crate::gateway::sockets;
use crate::state::State;
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How long a successor may take from getting the sockets to serving.
const SUCCESSOR_TIMEOUT: Duration = Duration::from_secs(120);

/// A running gateway with everything around it. Dropping it ends it at once.
pub struct Serving {
    /// The gateway itself.
    pub gateway: Gateway,
    /// Where the admin listener is bound.
    pub admin: SocketAddr,
    /// Vendors and issuers, if they are simulated.
    pub simulation: Option<Simulation>,
    /// Turns true when a successor serves.
    pub replaced: watch::Receiver<bool>,
    /// Holds copies of the sockets: it has to end before they are closed.
    handover: AbortOnDrop,
    serving_admin: AbortOnDrop,
}

/// A task that ends with its owner.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The configuration's file, and what was read of it before.
pub struct Origin {
    path: PathBuf,
    sandbox: bool,
    memo: Mutex<Memo>,
}

impl Origin {
    /// A file that nobody has read yet.
    pub fn new(path: &Path, sandbox: bool) -> Arc<Origin> {
        Arc::new(Origin { path: path.to_owned(), sandbox, memo: Mutex::default() })
    }

    /// Reads it, as far as it has changed.
    pub fn read(&self) -> Loaded {
        self.read_from(&System)
    }

    /// The same, as if gateway.toml were still what it was.
    fn read_as_if(&self, text: &str) -> Loaded {
        self.read_from(&Instead { sources: &System, path: &self.path, content: text })
    }

    fn read_from(&self, sources: &dyn Sources) -> Loaded {
        let mode = if self.sandbox { Mode::Sandbox } else { Mode::Run };
        let mut memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        load_again(&self.path, sources, mode, SystemTime::now(), &mut memo)
    }
}

/// Starts everything. Has to be called inside the runtime.
///
/// # Errors
/// What keeps the gateway from serving, in words.
pub async fn start(
    origin: &Arc<Origin>,
    config: Config,
    log: Log,
    replace: bool,
) -> Result<Serving, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let simulation = match origin.sandbox {
        true => Some(Simulation::start(&config).await?),
        false => None,
    };
    let urls = simulation.as_ref().map(Simulation::urls).transpose()?;
    let config = redirected(config, &origin.path, urls.as_deref());
    let loader = loader(origin.clone(), urls);
    let (sockets, predecessor) = sockets(&config, replace, &log)?;
    let handover_path = config.server.handover.clone();
    let metrics = Metrics::new().map_err(|error| error.to_string())?;
    let parts = Parts {
        config,
        sockets: copies(&sockets.listeners)?,
        loader,
        metrics,
        log: log.clone(),
        provider,
        replaces: predecessor.is_some(),
    };
    let mut gateway = life::start(parts)?;
    let (admin_socket, admin) = admin_socket(&sockets.admin)?;
    let serving_admin = tokio::spawn(admin::serve::serve(admin_socket, gateway.state.clone()));
    let (tell, replaced) = watch::channel(false);
    let handover = match handover::listen(&handover_path) {
        Ok(waiting) => {
            let given = sockets.named()?;
            let of = (handover_path, gateway.state.clone());
            tokio::spawn(wait_for_successor(waiting, given, tell, of))
        }
        // Serving matters more than being replaceable.
        Err(error) => {
            let why = format!("{}: {error}", handover_path.display());
            log.event("handover-unavailable", &[("reason", why.clone().into())]);
            gateway.state.troubles.store(Arc::new(vec![format!("no handover socket: {why}")]));
            tokio::spawn(std::future::ready(()))
        }
    };
    if let Some((predecessor, borrowing)) = predecessor.zip(gateway.borrowing.take()) {
        follow(predecessor, borrowing, log);
    }
    Ok(Serving {
        gateway,
        admin,
        simulation,
        replaced,
        handover: AbortOnDrop(handover),
        serving_admin: AbortOnDrop(serving_admin),
    })
}

impl Serving {
    /// Leaves, and returns how many connections were cut.
    ///
    /// The admin listener says until the end that the gateway drains, unless a successor answers
    /// on the same socket.
    pub async fn drain(self, timeout: Duration, replaced: bool) -> usize {
        drop(self.handover);
        let _admin = (!replaced).then_some(self.serving_admin);
        self.gateway.drain(timeout).await
    }
}

/// Lets a predecessor leave, and shares the vendors' slots with it until it is gone.
fn follow(predecessor: Predecessor, borrowing: Borrowing, log: Log) {
    let spoken = predecessor.may_leave().and_then(|stream| {
        stream.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(stream)
    });
    // One that is gone already has nothing left to leave, and uses no slot.
    let result = spoken.as_ref().map_or_else(ToString::to_string, |_| "told to leave".to_owned());
    log.event("predecessor", &[("result", result.into())]);
    if let Ok(stream) = spoken {
        tokio::spawn(async move {
            borrowing.share(stream).await;
            log.event("predecessor", &[("result", "gone".into())]);
        });
    }
}

fn loader(origin: Arc<Origin>, urls: Option<Arc<Urls>>) -> Loader {
    Arc::new(move |text| {
        let mut loaded = match text {
            Some(text) => origin.read_as_if(&text),
            None => origin.read(),
        };
        let redirect = |config| redirected(config, &origin.path, urls.as_deref());
        loaded.config = loaded.config.map(redirect);
        loaded
    })
}

fn redirected(config: Config, path: &Path, urls: Option<&Urls>) -> Config {
    match urls {
        Some(urls) => urls.redirect(config, path),
        None => config,
    }
}

struct Sockets {
    names: Vec<String>,
    listeners: Vec<TcpListener>,
    admin: TcpListener,
}

impl Sockets {
    fn named(&self) -> Result<Vec<Named>, String> {
        let listeners = copies(&self.listeners)?;
        let mut named: Vec<Named> = self.names.iter().cloned().zip(listeners).collect();
        named.push((ADMIN.to_owned(), copy(&self.admin)?));
        Ok(named)
    }
}

const ADMIN: &str = "admin";

/// The sockets of a running gateway where they are to be taken over, new ones otherwise.
fn sockets(
    config: &Config,
    replace: bool,
    log: &Log,
) -> Result<(Sockets, Option<Predecessor>), String> {
    let mut taken = HashMap::new();
    let mut predecessor = None;
    if replace {
        match handover::take(&config.server.handover) {
            Ok((sockets, from)) => {
                taken.extend(sockets);
                predecessor = Some(from);
            }
            Err(error) => {
                let why = format!("{}: {error}", config.server.handover.display());
                log.event("nothing-to-replace", &[("reason", why.into())]);
            }
        }
    }
    let mut take_or_bind = |name: &str, address: SocketAddr| match taken.remove(name) {
        Some(socket) => Ok(socket),
        None => sockets::bind(address).map_err(|error| format!("{address}: {error}")),
    };
    let mut names = Vec::new();
    let mut listeners = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        let name = format!("{index} {}", listener.name);
        listeners.push(take_or_bind(&name, listener.address)?);
        names.push(name);
    }
    let admin = take_or_bind(ADMIN, config.admin.address)?;
    Ok((Sockets { names, listeners, admin }, predecessor))
}

fn admin_socket(socket: &TcpListener) -> Result<(tokio::net::TcpListener, SocketAddr), String> {
    let say = |error: std::io::Error| format!("admin listener: {error}");
    let socket = copy(socket)?;
    socket.set_nonblocking(true).map_err(say)?;
    let address = socket.local_addr().map_err(say)?;
    Ok((tokio::net::TcpListener::from_std(socket).map_err(say)?, address))
}

fn copies(sockets: &[TcpListener]) -> Result<Vec<TcpListener>, String> {
    sockets.iter().map(copy).collect()
}

fn copy(socket: &TcpListener) -> Result<TcpListener, String> {
    socket.try_clone().map_err(|error| error.to_string())
}

/// Gives the sockets to every successor that comes. One that fails may have taken the place where
/// the next one asks: then it is taken back.
async fn wait_for_successor(
    mut waiting: UnixListener,
    sockets: Vec<Named>,
    tell: watch::Sender<bool>,
    (path, state): (PathBuf, Arc<State>),
) {
    let sockets = Arc::new(sockets);
    let (failed, mut failures) = mpsc::channel(1);
    loop {
        let ready = waiting
            .set_nonblocking(true)
            .and_then(|()| waiting.try_clone())
            .and_then(|it| tokio::net::UnixListener::from_std(it));
        let Ok(asked) = ready else { return };
        loop {
            let successor = tokio::select! {
                accepted = asked.accept() => accepted,
                _ = failures.recv() => break,
            };
            let Ok((successor, _)) = successor else { return };
            let (sockets, tell) = (sockets.clone(), tell.clone());
            let (state, failed) = (state.clone(), failed.clone());
            // One that says nothing must not keep another waiting.
            tokio::task::spawn_blocking(move || {
                if !give(successor, sockets, &tell, state) {
                    // Full: it is looked for anyway.
                    let _ = failed.try_send(());
                }
            });
        }
        if !*tell.borrow()
            && let Ok(again) = handover::listen(&path)
        {
            waiting = again;
        }
    }
}

/// Whether this successor serves.
fn give(
    successor: tokio::net::UnixStream,
    sockets: Arc<Vec<Named>>,
    tell: &watch::Sender<bool>,
    state: Arc<State>,
) -> bool {
    let spoken = successor.into_std().and_then(|mut successor| {
        successor.set_nonblocking(false)?;
        let serves = handover::give(&mut successor, &sockets, SUCCESSOR_TIMEOUT)?;
        successor.set_nonblocking(true)?;
        Ok(serves.then_some(successor))
    });
    drop(sockets);
    let Ok(Some(successor)) = spoken else {
        say_handover(&state, "the successor failed");
        return false;
    };
    say_handover(&state, "handed over");
    // Without a receiver the gateway leaves already.
    let _ = tell.send(true);
    if let Ok(successor) = tokio::net::UnixStream::from_std(successor) {
        // As long as the process lives: what it uses is used until then.
        tokio::spawn(async move {
            handover_slots::lend(&state.vendors, successor).await;
        });
    }
    true
}

fn say_handover(state: &State, result: &str) {
    state.log.event("audit", &[("action", "handover".into()), ("result", result.into())]);
}
