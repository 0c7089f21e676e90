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
    let rules = |side: Option<Described<'_>>| side.map_or_else(Vec::new, |side| rules(side.policy));
    compare_rules(&mut lines, &rules(old), &rules(new));
    lines
}

/// One rule: what it allows, and on what terms.
type Rule = (String, String);

/// The terms of rules matter where they differ: then so does which rule is the first that allows.
fn compare_rules(lines: &mut Vec<String>, old: &[Rule], new: &[Rule]) {
    let mut both = old.iter().chain(new);
    if both.all(|(_, terms)| *terms == PLAIN) {
        return;
    }
    // Of two that allow the same the first one counts.
    let by_name = |rules: &[Rule]| rules.iter().rev().cloned().collect::<BTreeMap<_, _>>();
    let (before, after) = (by_name(old), by_name(new));
    compare(lines, &before, &after);
    let kept = |rules: &[Rule]| {
        let names = rules.iter().map(|(name, _)| name.clone());
        names.filter(|n| before.contains_key(n) && after.contains_key(n)).collect::<Vec<_>>()
    };
    let (was, is) = (kept(old), kept(new));
    if was != is {
        lines.push(format!("order of rules: {} (was: {})", is.join(", "), was.join(", ")));
    }
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
        Identity::Key { digest, scopes: of_key, expires, .. } => {
            let day = expires.and_then(|end| jiff::Timestamp::from_second(end - 1).ok());
            let until = day.map(|day| format!(", until {}", day.strftime("%Y-%m-%d")));
            (format!("API key {digest}"), scopes(of_key) + &until.unwrap_or_default())
        }
        Identity::Certificate { certificate, scopes: of_certificate } => {
            (format!("certificate {}", certificate.whole()), scopes(of_certificate))
        }
    }
}

/// What holds for the client as a whole.
fn facts(policy: &ClientPolicy) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut put = |name: &str, value: String| drop(facts.insert(name.to_owned(), value));
    if let Some(why) = &policy.suspended {
        put("suspended", why.to_string());
    }
    if !policy.limits.is_empty() {
        put("limits", limits(&policy.limits));
    }
    put("priority", policy.priority.word().to_owned());
    put("share", policy.share.to_string());
    facts
}

/// The terms of a rule that says nothing of them.
const PLAIN: &str = "on the usual terms";

/// The rules in their order.
fn rules(policy: &ClientPolicy) -> Vec<Rule> {
    let name = |allow: &Allow| {
        let paths: Vec<String> = allow.paths.iter().map(ToString::to_string).collect();
        let methods: Vec<&str> = allow.methods.iter().collect();
        let query: Vec<String> = allow.query.iter().map(ToString::to_string).collect();
        let scopes = allow.scopes.join(" ");
        let (methods, paths, query) = (methods.join(" "), paths.join(" "), query.join("&"));
        format!("{} {methods} {paths} [{query}] [{scopes}]", allow.route)
    };
    policy.rules.allows.iter().map(|allow| (name(allow), terms(allow))).collect()
}

fn terms(allow: &Allow) -> String {
    let idempotency = allow.idempotency.map(|it| format!("idempotency {}", it.word()));
    let credential = allow.credential.as_deref().map(|name| format!("credential {name}"));
    let limits = allow.limits.as_ref().map(|it| format!("limits {}", self::limits(it)));
    let terms: Vec<String> = idempotency.into_iter().chain(credential).chain(limits).collect();
    if terms.is_empty() { PLAIN.to_owned() } else { terms.join(", ") }
}

/// The limits of a client or a rule, in words.
pub fn limits(limits: &Limits) -> String {
    match limits.words().as_slice() {
        [] => "none".to_owned(),
        words => words.join("; "),
    }
}
