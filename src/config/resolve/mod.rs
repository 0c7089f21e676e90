//! From raw to validated: every cross reference, bound and file is checked here, and every
//! problem is found in one go.
//!
//! Nothing here touches the world but through [`Sources`], and the time is an argument.

mod base_url;
mod bounds;
mod budgets;
mod certificates;
mod credentials;
mod issuers;
mod ledger;
mod limits;
mod listeners;
mod names;
mod outcomes;
mod pem;
mod policies;
mod policy_file;
mod pools;
mod profiles;
mod protection;
mod reconcile;
mod redirect;
mod restart;
mod review;
mod routes;
mod rules;
mod secrets;
mod server;
mod vendor_key;
mod vendors;

pub use policies::Memo;
pub use redirect::IssuerUrls;
pub use restart::{files_differ, needs_restart};

use super::problem::{self, Notes, Problem, Severity, Text, quoted};
use super::raw::RawGateway;
use super::raw::read::read;
use super::sources::Sources;
use super::{Config, Log};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The place of what belongs to no place in particular.
const TOP: Range<usize> = 0..0;

/// What the configuration is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To serve: every secret has to be there.
    Run,
    /// To be looked at: a secret that is not there is a warning.
    Check,
    /// To serve against the simulators: no secret is read, no vendor TLS.
    Sandbox,
}

/// What came of reading a configuration.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration, if nothing refuses it.
    pub config: Option<Config>,
    /// Everything that was found, in the order of files and lines.
    pub problems: Vec<Problem>,
    /// The files that problems are about, for showing them.
    pub texts: Vec<Text>,
    /// Every file and folder that was read, or would be if it existed.
    pub watched: Vec<PathBuf>,
}

impl Loaded {
    /// The findings as people read them; empty if there are none.
    pub fn human(&self) -> String {
        problem::human(&self.problems, &self.texts)
    }

    /// The findings of one severity, a line each.
    pub fn lines(&self, severity: Severity) -> Vec<String> {
        let of = self.problems.iter().filter(|problem| problem.severity == severity);
        of.map(|p| format!("{}:{}:{}: {}", p.file.display(), p.line, p.column, p.message)).collect()
    }

    /// The findings as programs read them.
    pub fn json(&self) -> String {
        problem::json(&self.problems)
    }
}

/// Reads gateway.toml and everything that it names.
pub fn load(path: &Path, sources: &dyn Sources, mode: Mode, now: SystemTime) -> Loaded {
    load_again(path, sources, mode, now, &mut Memo::default())
}

/// The same with another policies folder than the file names.
pub fn load_with_policies(
    path: &Path,
    sources: &dyn Sources,
    now: SystemTime,
    policies: &Path,
) -> Loaded {
    let policies = Some(policies.to_owned());
    load_from(path, sources, Mode::Check, now, policies, &mut Memo::default())
}

/// The same, where it was read before: what has not changed since is not read again.
pub fn load_again(
    path: &Path,
    sources: &dyn Sources,
    mode: Mode,
    now: SystemTime,
    memo: &mut Memo,
) -> Loaded {
    load_from(path, sources, mode, now, None, memo)
}

fn load_from(
    path: &Path,
    sources: &dyn Sources,
    mode: Mode,
    now: SystemTime,
    policies: Option<PathBuf>,
    memo: &mut Memo,
) -> Loaded {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // `./gateway.toml`, the default of `--config`, is shown as people call it.
    let path = path.strip_prefix(".").unwrap_or(path);
    let base = path.parent().unwrap_or(Path::new("")).to_owned();
    let (text, fault) = match sources.read(path).map(String::from_utf8) {
        Ok(Ok(content)) => (content, None),
        Ok(Err(error)) => (String::new(), Some(("syntax", error.utf8_error().to_string()))),
        Err(error) => (String::new(), Some(("file-unreadable", secrets::in_words(&error)))),
    };
    let mut context = Context {
        base,
        sources,
        mode,
        now: i64::try_from(now).unwrap_or(i64::MAX),
        notes: Notes::new(Text::new(path, text)),
        others: Vec::new(),
        other_problems: Vec::new(),
        other_texts: Vec::new(),
        memo,
        policies,
        watched: vec![path.to_owned()],
        secrets: Vec::new(),
        other_certificates: Vec::new(),
    };
    if let Some((code, fault)) = fault {
        let message = format!("{} can't be read: {fault}", quoted(&path.display().to_string()));
        let help = "name the file with --config; it has to be UTF-8 text";
        context.notes.problem(code, &TOP, message, help);
        return context.finish(None);
    }
    let Some(raw) = read::<RawGateway>(&mut context.notes) else { return context.finish(None) };
    let config = context.resolve(&raw);
    context.finish(Some(config))
}

/// What every part of the resolution needs.
struct Context<'a> {
    /// The folder of gateway.toml: relative paths begin there.
    base: PathBuf,
    sources: &'a dyn Sources,
    mode: Mode,
    /// Seconds since 1970.
    now: i64,
    notes: Notes,
    /// The findings about other files.
    others: Vec<Notes>,
    other_problems: Vec<Problem>,
    other_texts: Vec<Text>,
    /// What was read before.
    memo: &'a mut Memo,
    /// The policies folder, where another one is wanted than the file names.
    policies: Option<PathBuf>,
    watched: Vec<PathBuf>,
    /// What was read already: a command that two keys name runs once.
    secrets: Vec<secrets::Read>,
    /// Certificates that are named one by one: they are not for serving, also where they lie in
    /// a folder of those that are.
    other_certificates: Vec<PathBuf>,
}

impl Context<'_> {
    fn resolve(&mut self, raw: &RawGateway) -> Config {
        self.other_certificates = self.named_certificates(raw);
        let server = self.server(raw.server.as_ref());
        let listeners = self.listeners(raw);
        let admin = self.admin(raw.admin.as_ref());
        self.clashes(raw, &admin);
        let issuers = self.issuers(raw);
        let pools = self.pools(raw);
        let vendors = self.vendors(raw, &pools);
        let routes = self.routes(raw, &vendors);
        self.check_probes(raw, &routes);
        let policies = self.policies(raw, &routes, &issuers);
        let ledger = self.ledger(raw.ledger.as_ref());
        let log = Log { redact_query: self.redacted(raw, &routes) };
        let watched = self.watched.clone();
        Config {
            server,
            listeners,
            admin,
            issuers,
            ledger,
            policies,
            pools,
            vendors,
            routes,
            log,
            watched,
            shown: shown(raw),
            text: self.notes.text.content.clone(),
        }
    }

    /// A path as typed, from the folder of gateway.toml. Watches it.
    fn path(&mut self, typed: &str) -> PathBuf {
        let path = self.base.join(typed);
        if !self.watched.contains(&path) {
            self.watched.push(path.clone());
        }
        path
    }

    fn finish(self, config: Option<Config>) -> Loaded {
        let mut problems = self.notes.problems;
        let mut texts = vec![self.notes.text];
        for other in self.others {
            problems.extend(other.problems);
            texts.push(other.text);
        }
        problems.extend(self.other_problems);
        texts.extend(self.other_texts);
        problem::sort(&mut problems);
        problems.dedup();
        let refused = problems.iter().any(|p| p.severity == Severity::Problem);
        let config = config.filter(|_| !refused);
        Loaded { config, problems, texts, watched: self.watched }
    }
}

/// The file as an operator may see it: what was typed, secrets as their references.
fn shown(raw: &RawGateway) -> serde_json::Value {
    let mut value = serde_json::to_value(raw).unwrap_or_default();
    drop_nulls(&mut value);
    value
}

fn drop_nulls(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
