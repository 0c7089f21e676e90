//! What of a client changes beside what it may do: who it is, how much it may ask for, whether it
//! is suspended, and with whose credential it acts.

use crate::model::limits::Limits;
use crate::stages::authentication::directory::Identity;
use crate::stages::authorization::rules::{Allow, ClientPolicy};
use std::collections::BTreeMap;

/// A client with everything that proves to be it.
#[derive(Clone, Copy)]
pub struct Described<'a> {
    /// What it may do.
    pub policy: &'a ClientPolicy,
    /// What proves to be it.
    pub identities: &'a [Identity],
}

/// The changes, a line each.
pub fn changes(old: Option<Described<'_>>, new: Option<Described<'_>>) -> Vec<String> {
    let mut lines = Vec::new();
    let identities = |side: Option<Described<'_>>| {
        let each = side.map_or(&[][..], |side| side.identities).iter();
        each.map(identity).collect::<BTreeMap<String, String>>()
    };
    compare(&mut lines, &identities(old), &identities(new));
    let facts =
        |side: Option<Described<'_>>| side.map(|side| facts(side.policy)).unwrap_or_default();
    compare(&mut lines, &facts(old), &facts(new));
    // Of a rule that is on one side only, what it gives or takes is told already.
    let rules =
        |side: Option<Described<'_>>| side.map(|side| of_rules(side.policy)).unwrap_or_default();
    let (before, after) = (rules(old), rules(new));
    for (rule, terms) in &after {
        if let Some(earlier) = before.get(rule).filter(|earlier| *earlier != terms) {
            lines.push(format!("{rule}: {terms} (was: {earlier})"));
        }
    }
    lines
}

fn compare(
    lines: &mut Vec<String>,
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) {
    for (name, value) in new {
        match old.get(name) {
            None => lines.push(format!("+ {name}: {value}")),
            Some(before) if before != value => {
                lines.push(format!("{name}: {value} (was: {before})"));
            }
            Some(_) => {}
        }
    }
    for (name, value) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
        lines.push(format!("- {name}: {value}"));
    }
}

/// What an identity is, and on what terms.
fn identity(identity: &Identity) -> (String, String) {
    let scopes = |scopes: &[Box<str>]| format!("scopes [{}]", scopes.join(" "));
    match identity {
        Identity::Token { issuer, client_id, bound_only, cap } => {
            let cap = match cap {
                Some(cap) => format!("its own scopes within [{}]", cap.join(" ")),
                None => "its own scopes".to_owned(),
            };
            let bound = if *bound_only { ", bound to a certificate" } else { "" };
            (format!("tokens of {issuer} for {client_id}"), format!("{cap}{bound}"))
        }
        Identity::Key { digest, scopes: of_key, expires } => {
            let day = expires.and_then(|end| jiff::Timestamp::from_second(end - 1).ok());
            let until = day.map(|day| format!(", until {}", day.strftime("%Y-%m-%d")));
            (format!("API key {}…", digest.short()), scopes(of_key) + &until.unwrap_or_default())
        }
        Identity::Certificate { certificate, scopes: of_certificate } => {
            (format!("certificate {certificate}"), scopes(of_certificate))
        }
    }
}

/// What holds for the client as a whole.
fn facts(policy: &ClientPolicy) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut put = |name: &str, value: String| drop(facts.insert(name.to_owned(), value));
    if let Some(why) = &policy.suspended {
        put("suspended", why.clone());
    }
    if !policy.limits.is_empty() {
        put("limits", limits(&policy.limits));
    }
    put("priority", policy.priority.word().to_owned());
    put("share", policy.share.to_string());
    facts
}

/// The terms of each rule, by what it allows.
fn of_rules(policy: &ClientPolicy) -> BTreeMap<String, String> {
    let name = |allow: &Allow| {
        let paths: Vec<String> = allow.paths.iter().map(ToString::to_string).collect();
        let methods: Vec<&str> = allow.methods.iter().collect();
        let query: Vec<String> =
            allow.query.iter().map(|p| format!("{}={}", p.name, p.value)).collect();
        let scopes = allow.scopes.join(" ");
        let (methods, paths, query) = (methods.join(" "), paths.join(" "), query.join("&"));
        format!("{} {methods} {paths} [{query}] [{scopes}]", allow.route)
    };
    let terms = |allow: &Allow| {
        let idempotency = allow.idempotency.map_or("as the route", |it| it.word());
        let credential = allow.credential.as_deref().unwrap_or("as the route");
        let limits = limits(&allow.limits);
        format!("idempotency {idempotency}, credential {credential}, limits {limits}")
    };
    policy.rules.allows.iter().map(|allow| (name(allow), terms(allow))).collect()
}

/// The limits of a client or a rule, in words.
pub fn limits(limits: &Limits) -> String {
    match limits.words().as_slice() {
        [] => "none".to_owned(),
        words => words.join("; "),
    }
}
