//! Takes up another configuration: all of it or nothing.

use super::accept::Door;
use super::connection::Closing;
use super::context::Live;
use super::peers::Peers;
use crate::adapters::resolver::Resolver;
use crate::config::problem::Severity;
use crate::config::resolve::{Loaded, files_differ, needs_restart};
use crate::config::{Config, Listener, ListenerTls};
use crate::identity::Issuers;
use crate::model::digest::Sha256;
use crate::state::{ReloadOutcome, ReloadRequest, Snapshot, State};
use crate::tls::{ListenerTlsState, Prepared};
use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Reads the configuration again. May block: it is called on a thread for that.
pub type Loader = Arc<dyn Fn(Option<String>) -> Loaded + Send + Sync>;

/// What a reload works on.
pub struct Reloader {
    /// Snapshot, metrics, log.
    pub state: Arc<State>,
    /// What requests take their rules from.
    pub live: Arc<ArcSwap<Live>>,
    /// The listeners, in the order of the configuration.
    pub doors: Vec<Arc<Door>>,
    /// Names of vendors.
    pub resolver: Arc<Resolver>,
    /// Reads the configuration.
    pub loader: Loader,
    /// Cryptography.
    pub provider: Arc<CryptoProvider>,
}

/// Other certificates, ready to be taken up; `None` where they are the same.
struct PreparedTls {
    listeners: Vec<Option<Prepared>>,
    admin: Option<Prepared>,
}

impl Reloader {
    /// Serves requests for a reload, one at a time, until nobody can ask any more.
    pub async fn run(self, mut asked: mpsc::Receiver<ReloadRequest>) {
        while let Some(request) = asked.recv().await {
            let outcome = self.reload().await;
            self.tell(request.asked_by, &outcome);
            // Whoever asked may have stopped waiting.
            let _ = request.reply.send(outcome);
        }
    }

    async fn reload(&self) -> ReloadOutcome {
        let loaded = match self.load(None).await {
            Ok(loaded) => loaded,
            Err(problem) => return refused(vec![problem]),
        };
        self.state.watched.store(Arc::new(loaded.watched.clone()));
        let warnings = loaded.lines(Severity::Warning);
        let problems = loaded.lines(Severity::Problem);
        let Some(config) = loaded.config else { return refused(problems) };
        let running = self.live.load().snapshot.clone();
        let keys = needs_restart(&running.config, &config);
        if keys.is_empty() {
            return self.accept(config, warnings).await;
        }
        let what = |key: &String| format!("{key}: this change needs a restart");
        let pending: Vec<String> = keys.iter().map(what).collect();
        // What waits for a restart must not keep a client from being suspended, nor an authority
        // from being revoked.
        let Ok(of_running) = self.load(Some(running.config.text.clone())).await else {
            return refused(pending);
        };
        let watched: BTreeSet<_> = loaded.watched.into_iter().chain(of_running.watched).collect();
        self.state.watched.store(Arc::new(watched.into_iter().collect()));
        match of_running.config {
            Some(config) if files_differ(&running.config, &config) => {
                self.accept(config, [warnings, pending].concat()).await
            }
            _ => refused(pending),
        }
    }

    /// Reads the configuration, or what it would be if gateway.toml were still this text.
    async fn load(&self, text: Option<String>) -> Result<Loaded, String> {
        let loader = self.loader.clone();
        let loading = tokio::task::spawn_blocking(move || loader(text));
        loading.await.map_err(|error| error.to_string())
    }

    async fn accept(&self, config: Config, warnings: Vec<String>) -> ReloadOutcome {
        let prepared = match self.prepare(&config) {
            Ok(prepared) => prepared,
            Err(problem) => return refused(vec![problem]),
        };
        let before = self.live.load().snapshot.clone();
        let issuers = Issuers::new(&config.issuers, Some(&before.issuers), &self.state.means);
        let previous = before.clone();
        let compile = move || Snapshot::new(config, issuers, Some(&previous));
        match tokio::task::spawn_blocking(compile).await.ok().flatten() {
            Some(snapshot) => {
                let generation = snapshot.generation;
                let files = changed(&before.config.policies.files, &snapshot.config.policies.files);
                self.take_up(snapshot, prepared);
                self.tell_policies(&files);
                ReloadOutcome::Accepted { generation, warnings }
            }
            None => refused(vec!["a name can't stand in a field".to_owned()]),
        }
    }

    /// Whatever can fail comes first.
    fn prepare(&self, config: &Config) -> Result<PreparedTls, String> {
        let one = |state: &Option<ListenerTlsState>, tls: &Option<ListenerTls>| match (state, tls) {
            (Some(state), Some(tls)) => state.prepare(tls, &self.provider),
            _ => Ok(None),
        };
        let doors = self.doors.iter().zip(&config.listeners);
        Ok(PreparedTls {
            listeners: doors
                .map(|(door, new)| one(&door.tls, &new.tls))
                .collect::<Result<_, _>>()?,
            admin: one(&self.state.admin_tls, &config.admin.tls)?,
        })
    }

    fn take_up(&self, snapshot: Snapshot, prepared: PreparedTls) {
        let generation = snapshot.generation;
        let listeners: Vec<Arc<Listener>> = snapshot.config.listeners.clone();
        let peers = Peers::new(&snapshot.config, &self.resolver);
        // A new snapshot has none yet: setting them can't fail.
        let _ = snapshot.desks.set(self.state.vendors.desks(&snapshot.config));
        // A pool that comes back is paused as it was.
        self.state.holds.apply(&self.state.vendors);
        let snapshot = Arc::new(snapshot);
        self.live.store(Arc::new(Live { snapshot: snapshot.clone(), peers }));
        self.state.snapshot.store(snapshot);
        self.state.metrics.config_generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        for ((door, listener), prepared) in self.doors.iter().zip(listeners).zip(prepared.listeners)
        {
            door.listener.store(listener);
            if let (Some(tls), Some(prepared)) = (&door.tls, prepared) {
                tls.commit(prepared);
                self.retire_strangers(door);
            }
        }
        if let (Some(tls), Some(prepared)) = (&self.state.admin_tls, prepared.admin) {
            tls.commit(prepared);
        }
    }

    /// Connections whose client certificate is no longer accepted take no further request.
    fn retire_strangers(&self, door: &Door) {
        let Some(tls) = &door.tls else { return };
        let name = door.listener.load().name.clone();
        door.connections.each(|connection| {
            let Some(facts) = &connection.tls else { return };
            let accepted = tls.still_accepts(&facts.client_certificates);
            if connection.listener.name == name && !accepted {
                connection.retire(Closing::CertificateRevoked);
            }
        });
    }

    /// Which policies are others than before, a line each.
    fn tell_policies(&self, files: &[(&'static str, String)]) {
        for (change, file) in files {
            let members = [
                ("action", "policy".into()),
                ("result", (*change).into()),
                ("file", file.as_str().into()),
            ];
            self.state.log.event("audit", &members);
        }
    }

    fn tell(&self, asked_by: &str, outcome: &ReloadOutcome) {
        let (result, members) = match outcome {
            ReloadOutcome::Accepted { generation, warnings } => (
                "accepted",
                [("generation", (*generation).into()), ("warnings", warnings.clone().into())],
            ),
            ReloadOutcome::Refused { problems } => (
                "refused",
                [
                    ("generation", self.live.load().snapshot.generation.into()),
                    ("problems", problems.clone().into()),
                ],
            ),
        };
        self.state.metrics.config_reloads.with_label_values(&[result]).inc();
        let [first, second] = members;
        let members = [
            ("action", "reload".into()),
            ("asked_by", asked_by.into()),
            ("result", result.into()),
            first,
            second,
        ];
        self.state.log.event("audit", &members);
    }
}

type Files = BTreeMap<String, Sha256>;

/// Files that were added, changed or removed.
fn changed(before: &Files, after: &Files) -> Vec<(&'static str, String)> {
    let removed = before.keys().filter(|file| !after.contains_key(*file));
    let removed = removed.map(|file| ("removed", file.clone()));
    let other = after.iter().filter_map(|(file, digest)| match before.get(file) {
        None => Some(("added", file.clone())),
        Some(old) if old != digest => Some(("changed", file.clone())),
        Some(_) => None,
    });
    removed.chain(other).collect()
}

fn refused(problems: Vec<String>) -> ReloadOutcome {
    ReloadOutcome::Refused { problems }
}
