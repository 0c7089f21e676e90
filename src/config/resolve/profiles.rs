//! Vendor profiles: the shipped ones by name, a user's own by path.

use super::Context;
use super::budgets::{backoff, budgets};
use super::outcomes::outcomes;
use super::reconcile::reconcile;
use super::secrets::in_words;
use super::vendor_key::{is_taken, vendor_key};
use crate::config::problem::{Notes, Text, quoted, suggestion};
use crate::config::protection::{LookUp, VendorKey};
use crate::config::raw::at::At;
use crate::config::raw::profile::RawProfile;
use crate::config::raw::read::read;
use crate::model::digest::Sha256;
use crate::model::path::PathPattern;
use crate::profile::outcome::Matchers;
use crate::profile::{Profile, SHIPPED};
use http::HeaderName;
use std::path::Path;
use std::sync::Arc;

/// A profile, and what it says for a vendor or a route that says nothing itself.
#[derive(Clone)]
pub(super) struct Defaults {
    /// The profile.
    pub profile: Arc<Profile>,
    /// What the vendor is sent in the place of a client's key.
    pub vendor_key: Option<VendorKey>,
    /// How a create of unknown outcome is looked up.
    pub reconcile: Option<LookUp>,
}

/// What a vendor is, if nothing else is typed.
const DEFAULT: &str = "generic";

impl Context<'_> {
    /// `None` if it can't be read, which has been noted.
    pub(super) fn profile(&mut self, typed: Option<&At<String>>) -> Option<Defaults> {
        let name = typed.map_or(DEFAULT, |typed| typed.value.as_str());
        if let Some((name, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
            let mut notes = Notes::new(Text::new(Path::new(name), (*text).to_owned()));
            let profile = resolve(name, &mut notes);
            self.others.push(notes);
            return profile;
        }
        let typed = typed?;
        if !name.contains('/') && !name.ends_with(".toml") {
            let message = format!("there is no profile {}", quoted(name));
            let help = suggestion(name, SHIPPED.iter().map(|(name, _)| *name));
            let help = format!("{help}, or the path of a file of your own, as in \"./my.toml\"");
            self.notes.problem("unknown-profile", &typed.span, message, help);
            return None;
        }
        let file = self.path(name);
        // Two vendors may share a file; its findings are told once.
        let known = self.others.iter().position(|notes| notes.text.file == file);
        let read = self.sources.read(&file).map_err(|error| in_words(&error));
        let text = read.and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
        });
        match text {
            Ok(text) => {
                let mut notes = Notes::new(Text::new(&file, text));
                let profile = resolve(name, &mut notes);
                if known.is_none() {
                    self.others.push(notes);
                }
                profile
            }
            Err(why) => {
                let message = format!("the profile {} can't be read: {why}", quoted(name));
                let help = "write the path of the file, from the folder of gateway.toml";
                self.notes.problem("file-unreadable", &typed.span, message, help);
                None
            }
        }
    }
}

fn resolve(name: &str, notes: &mut Notes) -> Option<Defaults> {
    let raw = read::<RawProfile>(notes)?;
    let mut open_doors = Vec::new();
    for door in raw.open_doors.into_iter().flatten() {
        match PathPattern::parse(&door.value) {
            Ok(pattern) => open_doors.push(pattern),
            Err(message) => {
                let help = "write a path pattern, as in \"/**/$batch\"";
                notes.problem("bad-pattern", &door.span, message, help);
            }
        }
    }
    let vendor_key = raw.vendor_key.as_ref().and_then(|at| vendor_key(notes, at));
    let reconcile = raw.reconcile.as_ref().and_then(|at| reconcile(notes, at, &[]));
    let profile = Arc::new(Profile {
        name: name.to_owned(),
        digest: Sha256::of(notes.text.content.as_bytes()),
        request_id_headers: field_names(raw.request_id_headers, notes),
        key_headers: field_names(raw.key_headers, notes),
        open_doors,
        outcomes: Matchers::new(outcomes(notes, raw.outcome.as_ref())),
        backoff: backoff(notes, raw.backoff.as_ref()),
        budgets: budgets(notes, raw.budget.as_ref()),
        semantic_headers: semantic_headers(raw.semantic_headers, notes),
    });
    Some(Defaults { profile, vendor_key, reconcile })
}

/// Fields that say what a write means. One that another attempt fills anew is not among them: the
/// attempt would be taken for another write.
fn semantic_headers(typed: Option<Vec<At<String>>>, notes: &mut Notes) -> Vec<HeaderName> {
    for header in typed.iter().flatten() {
        let name = HeaderName::from_bytes(header.value.as_bytes()).ok();
        if name.is_some_and(|name| is_taken(&name) || name == "idempotency-key") {
            let message = format!("{} says nothing of what a write means", quoted(&header.value));
            let help = "remove it: it may differ between two attempts at the same write";
            notes.problem("bad-field-name", &header.span, message, help);
        }
    }
    field_names(typed, notes)
}

fn field_names(typed: Option<Vec<At<String>>>, notes: &mut Notes) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for header in typed.into_iter().flatten() {
        if let Ok(name) = HeaderName::from_bytes(header.value.as_bytes()) {
            names.push(name);
        } else {
            let message = format!("{} is no name of a header field", quoted(&header.value));
            let help = "write it as in \"X-Request-Id\"";
            notes.problem("bad-field-name", &header.span, message, help);
        }
    }
    names
}
