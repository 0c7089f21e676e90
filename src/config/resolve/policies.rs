//! The policies folder: every file by itself, then what they are together.
//!
//! A folder of ten thousand files is read again whenever one of them changes. So what was read
//! before is kept: a file that is the same as then, under the same routes and issuers, is not
//! even opened.

use super::policy_file::{self, ClientFile, CommonFile, Surroundings};
use super::secrets::in_words;
use super::{Context, Mode};
use crate::config::problem::{Notes, Problem, Severity, Text, quoted};
use crate::config::raw::RawGateway;
use crate::config::sources::{Sources, Stamp};
use crate::config::{Credential, Issuer, Policies, Route};
use crate::model::digest::Sha256;
use crate::stages::authentication::directory::{CertificateKey, Directory, Identity};
use crate::stages::authorization;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What holds for every client.
const COMMON: &str = "_all.toml";

/// What was read of the policies folder before.
#[derive(Debug, Default)]
pub struct Memo {
    surroundings: Option<String>,
    files: HashMap<PathBuf, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    stamp: Stamp,
    read: Arc<Read>,
}

/// One client and its file.
pub(super) struct Reviewed<'a> {
    /// The file.
    pub path: &'a Path,
    /// The client.
    pub file: &'a ClientFile,
}

/// One file that was read.
#[derive(Debug)]
struct Read {
    digest: Sha256,
    client: Option<ClientFile>,
    /// What was found in it, with its text for showing that.
    findings: Option<(Vec<Problem>, Text)>,
}

impl Read {
    /// Whether nothing is wrong with it: what could not be read would lead to more findings.
    fn is_sound(&self) -> bool {
        let mut findings = self.findings.iter().flat_map(|(findings, _)| findings);
        findings.all(|finding| finding.severity != Severity::Problem)
    }
}

impl Context<'_> {
    pub(super) fn policies(
        &mut self,
        raw: &RawGateway,
        routes: &[Arc<Route>],
        issuers: &[Arc<Issuer>],
    ) -> Policies {
        let typed = raw.policies.as_ref().and_then(|policies| policies.value.path.as_ref());
        let folder = match &self.policies {
            Some(folder) => folder.clone(),
            None => self.path(typed.map_or("policies", |typed| typed.value.as_str())),
        };
        let (routes, issuers) = (routes.to_vec(), issuers.to_vec());
        let route_names = routes.iter().map(|route| route.name.clone()).collect();
        let around = Surroundings { routes, route_names, issuers, now: self.now };
        let listed = match self.sources.list(&folder) {
            Ok(listed) => listed,
            Err(error) => {
                let (why, span) = (in_words(&error), typed.map(|typed| typed.span.clone()));
                match self.policies.is_some() || !self.memo.files.is_empty() {
                    true => self.lost_policies(&folder, &why, span),
                    false => self.no_policies(&folder, &why, span),
                }
                return Policies { folder, ..Policies::default() };
            }
        };
        let is_policy = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".toml") && !name.starts_with('.')
        };
        let (files, others): (Vec<PathBuf>, Vec<PathBuf>) = listed.into_iter().partition(is_policy);
        if self.mode == Mode::Check {
            self.warn_of_ignored(&others);
        }
        let (common, clients): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|path| path.file_name().is_some_and(|n| n == COMMON));
        if clients.is_empty() {
            let why = "no file in it ends with `.toml`";
            self.no_policies(&folder, why, typed.map(|typed| typed.span.clone()));
        }
        let common = common.first().and_then(|path| self.common(path, &around));
        let read = self.read_clients(clients, &around);
        let policies = Policies { folder, ..self.together(&read, common) };
        if self.mode == Mode::Check {
            for (path, read) in &read {
                if let Some(file) = read.client.as_ref().filter(|_| read.is_sound()) {
                    self.review(&Reviewed { path, file }, &policies.rules.common, &around);
                }
            }
        }
        policies
    }

    /// What somebody may take for a policy, and is none.
    fn warn_of_ignored(&mut self, others: &[PathBuf]) {
        let is_meant = |file: &&PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
            name.contains(".toml") && !name.starts_with('.')
        };
        for file in others.iter().filter(is_meant) {
            let mut notes = Notes::new(Text::new(file, String::new()));
            let message = "this file is not read: its name does not end with `.toml`";
            let help = "rename it, or keep it elsewhere";
            notes.warning("ignored-file", &super::TOP, message, help);
            self.others.push(notes);
        }
    }

    fn no_policies(&mut self, folder: &Path, why: &str, span: Option<std::ops::Range<usize>>) {
        let folder = quoted(&folder.display().to_string());
        let message = format!("there are no policies in {folder} ({why}): nobody may do anything");
        let help = "write a file for each client, as docs/policies.md shows";
        self.notes.warning("no-policies", &span.unwrap_or(super::TOP), message, help);
    }

    /// A folder that was there, or that somebody named: nobody means to take everything away like
    /// that.
    fn lost_policies(&mut self, folder: &Path, why: &str, span: Option<std::ops::Range<usize>>) {
        let message = format!("{} can't be read: {why}", quoted(&folder.display().to_string()));
        let help = "name a folder of policies; one without files lets nobody do anything";
        self.notes.problem("policies-unreadable", &span.unwrap_or(super::TOP), message, help);
    }

    fn common(&mut self, path: &Path, around: &Surroundings) -> Option<(CommonFile, Sha256)> {
        let (mut notes, digest) = match text(self.sources, path) {
            Ok(read) => read,
            Err(problem) => {
                self.other_problems.push(*problem);
                return None;
            }
        };
        let common = policy_file::common(&mut notes, around);
        self.others.push(notes);
        common.map(|common| (common, digest))
    }

    /// Reads what has to be read, on every core.
    fn read_clients(
        &mut self,
        paths: Vec<PathBuf>,
        around: &Surroundings,
    ) -> Vec<(PathBuf, Arc<Read>)> {
        let described = describe(around);
        if self.memo.surroundings.as_ref() != Some(&described) {
            self.memo.files.clear();
            self.memo.surroundings = Some(described);
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = paths.len().div_ceil(threads).max(1);
        let (sources, known) = (self.sources, &self.memo.files);
        let read: Vec<(PathBuf, Known)> = std::thread::scope(|scope| {
            let workers: Vec<_> = paths
                .chunks(share)
                .map(|paths| {
                    scope.spawn(move || {
                        let read = |path: &PathBuf| {
                            (path.clone(), read_client(sources, known.get(path), path, around))
                        };
                        paths.iter().map(read).collect::<Vec<_>>()
                    })
                })
                .collect();
            // A panic is a defect of ours, and stays one.
            workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
        });
        self.memo.files = read.iter().cloned().collect();
        read.into_iter().map(|(path, known)| (path, known.read)).collect()
    }

    /// What only all files together show: names and identities that are there twice.
    fn together(
        &mut self,
        read: &[(PathBuf, Arc<Read>)],
        common: Option<(CommonFile, Sha256)>,
    ) -> Policies {
        let (common, digest) = common.unzip();
        let common = common.unwrap_or_default();
        let files = read.iter().filter_map(|(_, read)| read.client.as_ref());
        let mut directory = Directory::with_room(files.map(|file| file.identities.len()).sum());
        let (mut clients, mut identities) = (Vec::new(), Vec::new());
        let mut files: BTreeMap<String, Sha256> = BTreeMap::new();
        files.extend(digest.map(|digest| (COMMON.to_owned(), digest)));
        for (path, read) in read {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.insert(name, read.digest);
            if let Some((findings, text)) = &read.findings {
                self.other_problems.extend(findings.iter().cloned());
                self.other_texts.push(text.clone());
            }
            let Some(file) = &read.client else { continue };
            let name = &file.policy.name;
            if directory.named(name).is_some() {
                let message = format!("another file is the policy of `{name}` too");
                let help = "make one file of the two, or give one of them another name";
                let words = (message, help);
                let problem = policy_file::late(path, file.name_place, "duplicate-client", words);
                self.other_problems.push(problem);
                continue;
            }
            for (which, other) in directory.add(name.clone(), &file.identities) {
                let identity = file.identities.get(which).map(describe_identity);
                let place = file.places.get(which).copied().unwrap_or((1, 1));
                let message = format!(
                    "{} proves to be `{}` already",
                    identity.unwrap_or_default(),
                    directory.client(other).map_or("", |name| name),
                );
                let help = "an identity belongs to one client: remove it from one of the two";
                let words = (message, help);
                let problem = policy_file::late(path, place, "duplicate-identity", words);
                self.other_problems.push(problem);
            }
            clients.push(file.policy.clone());
            identities.push(file.identities.clone());
        }
        let rules =
            authorization::Policies { clients, common: common.rules, limits: common.limits };
        Policies { directory, rules, identities, files, ..Policies::default() }
    }
}

/// Everything outside of a policy file that decides what it means, and what is found in it.
fn describe(around: &Surroundings) -> String {
    let credential = |(name, credential): (&Arc<str>, &Credential)| {
        format!("{name} {}", matches!(credential, Credential::Passthrough))
    };
    let route = |route: &Arc<Route>| {
        let credentials: Vec<_> = route.vendor.credentials.iter().map(credential).collect();
        let (name, methods, allowed) = (&route.name, route.methods, route.allow_in_path);
        let (asked, sources) = (route.protection.idempotency, &route.protection.sources);
        let streams = route.body_bytes_max.is_none();
        format!("{name} {methods:?} {allowed:?} {credentials:?} {asked:?} {sources:?} {streams}")
    };
    let routes: Vec<String> = around.routes.iter().map(route).collect();
    let issuers: Vec<_> = around.issuers.iter().map(|issuer| &issuer.policy.name).collect();
    // Keys expire with a day.
    let day = around.now.div_euclid(24 * 60 * 60);
    format!("{routes:?} {issuers:?} {day}")
}

fn describe_identity(identity: &Identity) -> String {
    match identity {
        Identity::Token { issuer, client_id, .. } => {
            format!("the client {} of the issuer `{issuer}`", quoted(client_id))
        }
        Identity::Key { digest, .. } => format!("the API key `{}…`", digest.short()),
        Identity::Certificate { certificate: CertificateKey::Digest(digest), .. } => {
            format!("the certificate `{}…`", digest.short())
        }
        Identity::Certificate { certificate: CertificateKey::Name(name), .. } => {
            format!("the certificate name {}", quoted(name))
        }
    }
}

fn read_client(
    sources: &dyn Sources,
    known: Option<&Known>,
    path: &Path,
    around: &Surroundings,
) -> Known {
    let stamp = sources.stamp(path);
    if let Some(known) = known
        && stamp.is_some_and(|stamp| stamp == known.stamp)
    {
        return known.clone();
    }
    let read = match text(sources, path) {
        Ok((mut notes, digest)) => {
            let client = policy_file::client(&mut notes, around);
            let findings =
                Some((notes.problems, notes.text)).filter(|(found, _)| !found.is_empty());
            Read { digest, client, findings }
        }
        Err(problem) => {
            let text = Text::new(path, String::new());
            Read { digest: Sha256([0; 32]), client: None, findings: Some((vec![*problem], text)) }
        }
    };
    // Without a stamp the file is read each time.
    Known { stamp: stamp.unwrap_or_default(), read: Arc::new(read) }
}

fn text(sources: &dyn Sources, path: &Path) -> Result<(Notes, Sha256), Box<Problem>> {
    let read = sources.read(path).map_err(|error| in_words(&error)).and_then(|bytes| {
        let digest = Sha256::of(&bytes);
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
        Ok((Notes::new(Text::new(path, text)), digest))
    });
    read.map_err(|why| {
        let message = format!("this policy can't be read: {why}");
        let help = "make it a readable text file, or remove it";
        Box::new(policy_file::late(path, (1, 1), "file-unreadable", (message, help)))
    })
}
