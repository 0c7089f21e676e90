//! One file of the policies folder: from text to a client, without a look at any other file.

use super::limits;
use super::names::check_name;
use super::rules;
use crate::config::problem::{Notes, Problem, Text, quoted, suggestion};
use crate::config::raw::at::At;
use crate::config::raw::policy::{RawCommonPolicy, RawDate, RawIdentity, RawPolicy, RawPriority};
use crate::config::raw::read::{check_texts, read};
use crate::config::raw::table::Section;
use crate::config::{Issuer, Route};
use crate::model::digest::Sha256;
use crate::model::limits::{Limits, Priority};
use crate::model::scopes::Scopes;
use crate::stages::authentication::directory::{CertificateKey, Identity};
use crate::stages::authorization::rules::{ClientPolicy, Place, Rules};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

/// How long before its end a key is spoken of, in seconds.
const SOON: i64 = 14 * 86_400;

/// Largest weight.
const SHARE_MAX: i64 = 1000;

/// What the rest of the configuration says that a policy is about.
#[derive(Debug)]
pub struct Surroundings {
    /// The routes.
    pub routes: Vec<Arc<Route>>,
    /// Their names, in the same order.
    pub route_names: Vec<Arc<str>>,
    /// The issuers.
    pub issuers: Vec<Arc<Issuer>>,
    /// Seconds since 1970.
    pub now: i64,
}

/// A client and everything that proves to be it.
#[derive(Debug)]
pub struct ClientFile {
    /// What it may do.
    pub policy: Arc<ClientPolicy>,
    /// What proves to be it.
    pub identities: Arc<[Identity]>,
    /// Where each of them stands: line and column.
    pub places: Vec<(usize, usize)>,
    /// Where its name stands.
    pub name_place: (usize, usize),
}

/// What `_all.toml` says.
#[derive(Debug, Default)]
pub struct CommonFile {
    /// What nobody may do.
    pub rules: Rules,
    /// What bounds each client by itself.
    pub limits: Limits,
}

/// Reads a client's policy. `None` if it can't be used, which has been noted.
pub fn client(notes: &mut Notes, around: &Surroundings) -> Option<ClientFile> {
    let raw = read_policy(notes)?;
    check_texts(notes);
    let top = 0..0;
    let name = raw.client.as_ref();
    let name = notes.required(&top, "a policy", "client", name, "\"shiphawk\"");
    let name = name.filter(|name| check_name(notes, "client", name));
    if name.is_some_and(|name| name.value == "unknown") {
        let message = "`unknown` stands for callers that nobody knows, in logs and metrics";
        notes.problem("bad-name", &name?.span, message, "choose another name");
    }
    let typed = raw.allow.as_ref().map_or(&[][..], |allows| &allows.value);
    let allows = typed.iter().filter_map(|at| rules::allow(notes, at, around)).collect();
    let (identities, places) = identities(notes, &raw, around);
    if typed.is_empty() && !notes.has_lost(0, "allow") {
        let message = "this client may do nothing: there is no `[[allow]]`";
        let help = "write `[[allow]]` with `route`, `methods` and `paths`";
        notes.warning("no-allow", &top, message, help);
    }
    let typed = raw.deny.as_ref().map_or(&[][..], |denies| &denies.value);
    let denies = typed.iter().filter_map(|at| rules::deny(notes, at, around)).collect();
    if let Some(suspended) = raw.suspended.as_ref().filter(|suspended| suspended.value.is_empty()) {
        let help = "write why, or remove the key";
        notes.problem("bad-suspended", &suspended.span, "`suspended` says no reason", help);
    }
    let share = limits::count(notes, "share", raw.share.as_ref(), SHARE_MAX);
    let limits = raw.limits.as_ref().map(|at| limits::of_client(notes, &at.value));
    let name = name?;
    let name_place = notes.text.place(name.span.start);
    let name: Arc<str> = Arc::from(name.value.as_str());
    let suspended = raw.suspended.map(|suspended| suspended.value.into());
    Some(ClientFile {
        policy: Arc::new(ClientPolicy {
            name,
            description: raw.description,
            owner: raw.owner,
            suspended,
            priority: match raw.priority {
                Some(RawPriority::High) => Priority::High,
                Some(RawPriority::Low) => Priority::Low,
                Some(RawPriority::Normal) | None => Priority::Normal,
            },
            share: share.unwrap_or(NonZeroU32::MIN),
            limits: limits.unwrap_or_default(),
            rules: Rules::new(allows, denies, &around.route_names),
        }),
        identities: identities.into(),
        places,
        name_place,
    })
}

/// Nearly every file is right, and then nobody has to find out where it is wrong.
fn read_policy(notes: &mut Notes) -> Option<RawPolicy> {
    match toml::from_str(&notes.text.content) {
        Ok(raw) => Some(raw),
        Err(_) => read(notes),
    }
}

/// Reads `_all.toml`.
pub fn common(notes: &mut Notes, around: &Surroundings) -> Option<CommonFile> {
    let raw: RawCommonPolicy = read(notes)?;
    check_texts(notes);
    let typed = raw.deny.as_ref().map_or(&[][..], |denies| &denies.value);
    let denies = typed.iter().filter_map(|at| rules::deny(notes, at, around)).collect();
    let limits = raw.limits.as_ref().map(|at| limits::of_client(notes, &at.value));
    Some(CommonFile {
        rules: Rules::new(Vec::new(), denies, &around.route_names),
        limits: limits.unwrap_or_default(),
    })
}

/// Where a rule stands.
pub fn place<T>(notes: &Notes, at: &At<T>) -> Place {
    let (line, _) = notes.text.place(at.span.start);
    Place { file: notes.text.name.clone(), line: u32::try_from(line).unwrap_or(u32::MAX) }
}

fn identities(
    notes: &mut Notes,
    raw: &RawPolicy,
    around: &Surroundings,
) -> (Vec<Identity>, Vec<(usize, usize)>) {
    let typed = raw.identity.as_ref().map_or(&[][..], |identities| &identities.value);
    if typed.is_empty() && !notes.has_lost(0, "identity") {
        let message = "nothing proves to be this client: there is no `[[identity]]`";
        let help = "`erpgate key new --client NAME` makes a key and the lines to paste";
        notes.warning("no-identity", &(0..0), message, help);
    }
    // Keys are exchanged: those of a client are nearly always good for the same.
    let mut known: Vec<Scopes> = Vec::new();
    let mut shared = |scopes: Scopes| match known.iter().find(|known| **known == scopes) {
        Some(known) => known.clone(),
        None => {
            known.push(scopes.clone());
            scopes
        }
    };
    let found = typed.iter().filter_map(|at| {
        let place = notes.text.place(at.span.start);
        Some((identity(notes, at, around, &mut shared)?, place))
    });
    found.unzip()
}

fn identity(
    notes: &mut Notes,
    at: &Section<RawIdentity>,
    around: &Surroundings,
    shared: &mut impl FnMut(Scopes) -> Scopes,
) -> Option<Identity> {
    let raw = &at.value;
    let scopes = shared(rules::scopes(notes, raw.scopes.as_deref()));
    let kinds = [
        raw.issuer.is_some() || raw.client_id.is_some(),
        raw.api_key_sha256.is_some(),
        raw.certificate_sha256.is_some(),
        raw.certificate_san.is_some(),
    ];
    if kinds.iter().filter(|kind| **kind).count() != 1 {
        let keys = ["issuer", "client_id", "api_key_sha256", "certificate_sha256"];
        if !keys.iter().any(|key| notes.has_lost(at.span.start, key)) {
            let message = "an identity is exactly one thing";
            let help = "write `issuer` and `client_id`, or one of `api_key_sha256`, \
                        `certificate_sha256` and `certificate_san`; another one is another \
                        `[[identity]]`";
            notes.problem("bad-identity", &at.span, message, help);
        }
        return None;
    }
    check_foreign_keys(notes, raw);
    if let Some(typed) = &raw.api_key_sha256 {
        let expires = raw.expires.as_ref().and_then(|typed| expires(notes, typed, around.now));
        let digest = digest(notes, "api_key_sha256", typed)?;
        return Some(Identity::Key { digest, scopes, expires, seen: Arc::default() });
    }
    if let Some(typed) = &raw.certificate_sha256 {
        let certificate = CertificateKey::Digest(digest(notes, "certificate_sha256", typed)?);
        return Some(Identity::Certificate { certificate, scopes });
    }
    if let Some(typed) = &raw.certificate_san {
        if typed.value.is_empty() || typed.value.contains('*') {
            let message = "a name of a certificate is compared as a whole";
            let help = "write it as in \"shiphawk.partners.example.com\"";
            notes.problem("bad-name", &typed.span, message, help);
        }
        // A URI is compared to the letter; no host name and no usual e-mail address has a colon.
        let name = match typed.value.contains(':') {
            true => typed.value.clone(),
            false => typed.value.to_ascii_lowercase(),
        };
        let certificate = CertificateKey::Name(name.into());
        return Some(Identity::Certificate { certificate, scopes });
    }
    token(notes, at, raw.scopes.is_some().then_some(scopes), around)
}

fn token(
    notes: &mut Notes,
    at: &Section<RawIdentity>,
    cap: Option<Scopes>,
    around: &Surroundings,
) -> Option<Identity> {
    let raw = &at.value;
    let issuer = raw.issuer.as_ref();
    let issuer = notes.required(&at.span, "[[identity]]", "issuer", issuer, "\"corporate\"");
    let client_id = raw.client_id.as_ref();
    let client_id =
        notes.required(&at.span, "[[identity]]", "client_id", client_id, "\"shiphawk-prod\"");
    let issuer = issuer?;
    let known: Vec<&str> = around.issuers.iter().map(|issuer| &*issuer.policy.name).collect();
    if !known.contains(&issuer.value.as_str()) {
        let message = format!("there is no issuer {}", quoted(&issuer.value));
        let help = match known.as_slice() {
            [] => "write an `[[issuer]]` in gateway.toml".to_owned(),
            _ => suggestion(&issuer.value, known),
        };
        notes.problem("unknown-issuer", &issuer.span, message, help);
    }
    Some(Identity::Token {
        issuer: Arc::from(issuer.value.as_str()),
        client_id: client_id?.value.as_str().into(),
        bound_only: raw.require_bound_token.as_ref().is_some_and(|bound| bound.value),
        cap,
    })
}

/// Keys that mean nothing beside what the identity is.
fn check_foreign_keys(notes: &mut Notes, raw: &RawIdentity) {
    let is_token = raw.issuer.is_some() || raw.client_id.is_some();
    if let Some(bound) = raw.require_bound_token.as_ref().filter(|_| !is_token) {
        let help = "remove it, or write it beside `issuer`";
        notes.problem("identity-mixed", &bound.span, "only tokens are bound to certificates", help);
    }
    if let Some(expires) = raw.expires.as_ref().filter(|_| raw.api_key_sha256.is_none()) {
        let message =
            "only an API key ends by the policy: tokens and certificates say it themselves";
        notes.problem("identity-mixed", &expires.span, message, "remove it");
    }
}

fn digest(notes: &mut Notes, key: &str, typed: &At<String>) -> Option<Sha256> {
    let digest = Sha256::parse(&typed.value);
    if digest.is_none() {
        let message = match typed.value.starts_with("egk_") {
            true => format!("`{key}` holds a key itself, in plain sight"),
            false => format!("`{key}` is no SHA-256: it has to be 64 hexadecimal digits"),
        };
        // It may be the key.
        notes.text.hide(typed.span.clone());
        let help = match key {
            "api_key_sha256" => "`erpgate key new --client NAME` makes a key and prints this line",
            _ => "`openssl x509 -noout -fingerprint -sha256 -in client.pem` prints it",
        };
        notes.problem("bad-digest", &typed.span, message, help);
    }
    digest
}

/// The end of the day, in UTC, in seconds since 1970.
fn expires(notes: &mut Notes, typed: &At<RawDate>, now: i64) -> Option<i64> {
    let date = match &typed.value.0 {
        toml::Value::Datetime(datetime) if datetime.time.is_none() => datetime.date,
        _ => None,
    };
    let day = date.and_then(|date| {
        let year = i16::try_from(date.year).ok()?;
        let (month, day) = (i8::try_from(date.month).ok()?, i8::try_from(date.day).ok()?);
        jiff::civil::Date::new(year, month, day).ok()
    });
    let end = day.and_then(|day| {
        let next = day.tomorrow().ok()?;
        Some(next.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
    });
    match end {
        None => {
            let message = "`expires` is not a date";
            let help = "write a day without quotes and time, as in 2027-06-30";
            notes.problem("bad-date", &typed.span, message, help);
        }
        Some(end) if end <= now => {
            let message = "this key has expired: nobody can use it";
            notes.warning("key-expired", &typed.span, message, "remove the `[[identity]]`");
        }
        Some(end) if end - now < SOON => {
            let message = "this key expires within two weeks";
            let help = "make another one with `erpgate key new`, and hand it out in time";
            notes.warning("key-expires-soon", &typed.span, message, help);
        }
        Some(_) => {}
    }
    end
}

/// A finding about a file whose text is not at hand any more.
pub fn late(
    file: &Path,
    place: (usize, usize),
    code: &'static str,
    words: (String, &str),
) -> Problem {
    let mut notes = Notes::new(Text::new(file, String::new()));
    notes.problem(code, &(0..0), words.0, words.1);
    let mut problem = notes.problems.remove(0);
    (problem.line, problem.column) = place;
    problem
}
