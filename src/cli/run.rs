//! `erpgate run`: serves until it is told to stop.

use super::invitation::invitation;
use super::serving::{self, Origin, Serving};
use super::{CUT, DONE, FAILED};
use crate::adapters::log::{Bridge, Log};
use crate::config::Config;
use crate::gateway::handover;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Why a gateway leaves whose successor serves.
const REPLACED: &str = "replaced";

/// What the command was asked for.
#[derive(Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Whether vendors are simulated.
    pub sandbox: bool,
    /// Whether to take over from a running gateway.
    pub replace: bool,
}

/// Serves. Returns the exit status.
pub fn run(options: &Options) -> u8 {
    let origin = Origin::new(&options.config, options.sandbox);
    let loaded = origin.read();
    let problems = loaded.human();
    if !problems.is_empty() {
        complain(&problems);
    }
    let Some(config) = loaded.config else { return FAILED };
    let log = Log::to(Box::new(std::io::stdout()));
    if log::set_boxed_logger(Box::new(Bridge(log.clone()))).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if config.server.workers > 0 {
        runtime.worker_threads(config.server.workers);
    }
    let status = match runtime.enable_all().build() {
        Ok(runtime) => {
            let status = runtime.block_on(serve(&origin, options, config, log.clone()));
            // What is still running was told to stop and had its time.
            runtime.shutdown_background();
            status
        }
        Err(error) => {
            complain(&format!("no runtime: {error}\n"));
            FAILED
        }
    };
    log.close();
    status
}

async fn serve(origin: &Arc<Origin>, options: &Options, config: Config, log: Log) -> u8 {
    let (sandbox, replace) = (options.sandbox, options.replace);
    // Before anything serves: a signal must never find its default action.
    let listening =
        Signals::listen().and_then(|signals| Ok((signals, signal(SignalKind::hangup())?)));
    let (mut signals, mut hangup) = match listening {
        Ok(listening) => listening,
        Err(error) => {
            complain(&format!("no signals: {error}\n"));
            return FAILED;
        }
    };
    let serving = match serving::start(origin, config, log.clone(), replace).await {
        Ok(serving) => serving,
        Err(error) => {
            complain(&format!("erpgate can't serve: {error}\n"));
            return FAILED;
        }
    };
    announce(&serving, &log, sandbox);
    let state = serving.gateway.state.clone();
    let mut replaced = serving.replaced.clone();
    let why = loop {
        tokio::select! {
            why = signals.stop() => break why,
            _ = hangup.recv() => {
                // Signals are heard while it runs: a secret's source may hang.
                let state = state.clone();
                tokio::spawn(async move { state.reload("signal").await });
            }
            Ok(_) = replaced.wait_for(|replaced| *replaced) => break REPLACED,
        }
    };
    log.event("leaving", &[("reason", why.into())]);
    let drain_timeout = state.snapshot.load().config.server.drain_timeout;
    let cut = tokio::select! {
        cut = serving.drain(drain_timeout, why == REPLACED) => cut,
        _ = signals.stop() => usize::MAX,
    };
    if why != REPLACED {
        handover::forget(&state.snapshot.load().config.server.handover);
    }
    let left = if cut == usize::MAX { "told twice".into() } else { cut.into() };
    log.event("left", &[("connections_cut", left)]);
    if cut == 0 { DONE } else { CUT }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn announce(serving: &Serving, log: &Log, sandbox: bool) {
    for (name, address) in &serving.gateway.addresses {
        let members = [("listener", (&**name).into()), ("address", address.to_string().into())];
        log.event("listening", &members);
    }
    let members = [("listener", "admin".into()), ("address", serving.admin.to_string().into())];
    log.event("listening", &members);
    if sandbox {
        complain(&invitation(serving));
    }
}

/// Writes to stderr. Whoever started the process may have closed it.
fn complain(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
