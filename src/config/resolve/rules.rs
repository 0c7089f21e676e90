//! `[[allow]]` and `[[deny]]` of a policy: from what was typed to rules.

use super::limits;
use super::policy_file::{Surroundings, place};
use super::protection;
use crate::config::problem::{Notes, quoted, suggestion};
use crate::config::raw::at::At;
use crate::config::raw::policy::{RawAllow, RawDeny};
use crate::config::raw::table::Section;
use crate::config::{AllowInPath, Credential, Route};
use crate::model::methods::{MethodSet, SERVED};
use crate::model::path::PathPattern;
use crate::model::scopes::{Scopes, is_scope};
use crate::stages::authorization::query::Parameter;
use crate::stages::authorization::rules::{Allow, Deny};
use crate::stages::validation::path;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One allow; `None` if it can't be used, which has been noted.
pub fn allow(notes: &mut Notes, at: &Section<RawAllow>, around: &Surroundings) -> Option<Allow> {
    let raw = &at.value;
    let typed = raw.route.as_ref();
    let typed = notes.required(&at.span, "[[allow]]", "route", typed, "\"netsuite\"");
    let route = typed.and_then(|typed| route(notes, typed, around));
    let example = "[\"GET\", \"HEAD\"]";
    let typed = raw.methods.as_ref();
    let methods = notes.required(&at.span, "[[allow]]", "methods", typed, example);
    let methods = methods.and_then(|typed| methods_of(notes, typed, route));
    let example = "[\"/orders/**\"]";
    let paths = notes.required(&at.span, "[[allow]]", "paths", raw.paths.as_ref(), example);
    let admitted = route.map_or(ANY_PATH, |route| route.allow_in_path);
    let paths = paths.and_then(|typed| patterns(notes, typed, admitted));
    let scopes = scopes(notes, raw.scopes.as_ref().map(|typed| typed.value.as_slice()));
    if raw.scopes.is_none() && !notes.has_lost(at.span.start, "scopes") {
        let message = "this rule needs no scope: every credential of the client is enough";
        let help = "write `scopes = [\"…\"]`, all of which are needed";
        notes.warning("no-scopes", &at.span, message, help);
    }
    let credential = raw.credential.as_ref().zip(route);
    let credential = credential.and_then(|(typed, route)| credential_of(notes, typed, route));
    Some(Allow {
        place: place(notes, at),
        limits: Some(limits::of_rule(notes, raw)).filter(|it| !it.is_empty()).map(Box::new),
        query: parameters(raw.query.as_ref()).into(),
        idempotency: protection::of_rule(notes, raw, methods, route),
        credential,
        scopes,
        route: route?.name.clone(),
        methods: methods?,
        paths: paths?.into(),
    })
}

/// One deny; `None` if it can't be used, which has been noted.
pub fn deny(notes: &mut Notes, at: &Section<RawDeny>, around: &Surroundings) -> Option<Deny> {
    let raw = &at.value;
    let found = raw.route.as_ref().map(|typed| route(notes, typed, around));
    let of_route = found.flatten();
    let methods = raw.methods.as_ref().map(|typed| methods_of(notes, typed, of_route));
    let admitted = of_route.map_or(ANY_PATH, |route| route.allow_in_path);
    let paths = raw.paths.as_ref().map(|typed| patterns(notes, typed, admitted));
    let lost = ["route", "methods", "paths", "query", "scopes"];
    if lost.iter().any(|key| notes.has_lost(at.span.start, key)) {
        // What could not be read must not be taken for "any".
        return None;
    }
    if let Some(typed) = raw.scopes.as_ref().filter(|typed| typed.value.is_empty()) {
        let help = "write the scopes that a credential has to have for this deny to hold, or \
                    remove the key: it holds for every credential";
        notes.problem("empty-list", &typed.span, EMPTY, help);
        return None;
    }
    if let Some(typed) = raw.query.as_ref().filter(|typed| typed.value.is_empty()) {
        let help = "write parameters, as in `{ script = \"1\" }`, or remove the key";
        notes.problem("empty-list", &typed.span, EMPTY, help);
        return None;
    }
    let (route, methods, paths) = (all_or_nothing(found)?, all_or_nothing(methods)?, paths);
    Some(Deny {
        place: place(notes, at),
        route: route.map(|route| route.name.clone()),
        methods,
        paths: all_or_nothing(paths)?,
        query: parameters(raw.query.as_ref().map(|typed| &typed.value)),
        scopes: scopes(notes, raw.scopes.as_ref().map(|typed| typed.value.as_slice())),
        reason: raw.reason.as_deref().map(Arc::from),
    })
}

/// What is wrong with an empty list.
const EMPTY: &str = "this is empty: it would not mean any, but none";
/// What a path may hold where the route is not known.
const ANY_PATH: AllowInPath = AllowInPath { encoded_slash: true, semicolon: true };

/// `None` where something was typed that can't be used.
fn all_or_nothing<T>(typed: Option<Option<T>>) -> Option<Option<T>> {
    match typed {
        None => Some(None),
        Some(Some(value)) => Some(Some(value)),
        Some(None) => None,
    }
}

fn route<'s>(notes: &mut Notes, typed: &At<String>, around: &'s Surroundings) -> Option<&'s Route> {
    let found = around.routes.iter().find(|route| *route.name == *typed.value);
    if found.is_none() {
        let message = format!("there is no route {}", quoted(&typed.value));
        let known: Vec<&str> = around.routes.iter().map(|route| &*route.name).collect();
        let help = match known.as_slice() {
            [] => "write a `[[route]]` in gateway.toml".to_owned(),
            _ => suggestion(&typed.value, known),
        };
        notes.problem("unknown-route", &typed.span, message, help);
    }
    found.map(|route| &**route)
}

fn methods_of(
    notes: &mut Notes,
    typed: &At<Vec<At<String>>>,
    route: Option<&Route>,
) -> Option<MethodSet> {
    let of_route = route.map_or(MethodSet::ALL, |route| route.methods);
    if typed.value.is_empty() {
        let help = "write methods, or `[\"*\"]` for all of the route's";
        notes.problem("empty-list", &typed.span, EMPTY, help);
        return None;
    }
    let mut served: Vec<&str> = Vec::new();
    for method in &typed.value {
        match method.value.as_str() {
            "*" => of_route.iter().for_each(|method| served.push(method)),
            name if of_route.contains(name) => served.push(name),
            name if SERVED.contains(&name) => {
                let message = format!("the route does not serve {}", quoted(name));
                let help = format!("write some of {}", of_route.allow());
                notes.problem("unserved-method", &method.span, message, help);
            }
            name => {
                let message = format!("{} is no method that can be served", quoted(name));
                let help = suggestion(name, SERVED);
                notes.problem("unknown-method", &method.span, message, help);
            }
        }
    }
    MethodSet::of(served.iter().copied()).ok()
}

fn patterns(
    notes: &mut Notes,
    typed: &At<Vec<At<String>>>,
    admitted: AllowInPath,
) -> Option<Vec<PathPattern>> {
    if typed.value.is_empty() {
        let help = "write path patterns, as in `[\"/orders/**\"]`, or `[\"/**\"]` for every path";
        notes.problem("empty-list", &typed.span, EMPTY, help);
        return None;
    }
    let mut patterns = Vec::with_capacity(typed.value.len());
    for text in &typed.value {
        match PathPattern::parse(&text.value) {
            Ok(pattern) => {
                if let Some(fault) = fault(&text.value, admitted) {
                    let message = format!("no path matches {}: {fault}", quoted(&text.value));
                    let help = "write the path as clients send it, after the route's prefix";
                    notes.problem("bad-pattern", &text.span, message, help);
                }
                patterns.push(pattern);
            }
            Err(message) => {
                let help = "write it as in \"/orders/*\" or \"/orders/**\"";
                notes.problem("bad-pattern", &text.span, message, help);
            }
        }
    }
    Some(patterns)
}

/// Why every path that would match is refused before any rule is read.
fn fault(pattern: &str, admitted: AllowInPath) -> Option<String> {
    if pattern.contains(['?', '#']) {
        return Some("a path has no query and no fragment; write `query = { … }`".to_owned());
    }
    if pattern.bytes().any(|byte| byte.is_ascii_control()) {
        return Some("it holds a control character".to_owned());
    }
    // What has to be escaped in a path need not be in a pattern.
    let escaped: String =
        pattern.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
    match path::check(&escaped, admitted) {
        Ok(()) => None,
        Err(refusal) => Some(refusal.detail()),
    }
}

/// The scopes that were typed; a problem for each text that can't be one.
pub fn scopes(notes: &mut Notes, typed: Option<&[At<String>]>) -> Scopes {
    let good = typed.unwrap_or_default().iter().filter(|scope| check_scope(notes, scope));
    good.map(|scope| scope.value.as_str().into()).collect()
}

fn check_scope(notes: &mut Notes, scope: &At<String>) -> bool {
    let good = is_scope(&scope.value);
    if !good {
        let message = format!("{} can't be a scope", quoted(&scope.value));
        let help = "write one scope without spaces and quotes (RFC 6749 §3.3)";
        notes.problem("bad-scope", &scope.span, message, help);
    }
    good
}

fn parameters(typed: Option<&BTreeMap<At<String>, At<String>>>) -> Vec<Parameter> {
    let pairs = typed.into_iter().flatten();
    pairs
        .map(|(name, value)| Parameter { name: name.value.clone(), value: value.value.clone() })
        .collect()
}

fn credential_of(notes: &mut Notes, typed: &At<String>, route: &Route) -> Option<Arc<str>> {
    let name = super::routes::check_credential(notes, typed, &route.vendor)?;
    let credential = route.vendor.credentials.get(&name);
    if matches!(credential, Some(Credential::Passthrough)) {
        // Which fields prove the client is decided before any rule is found.
        let message = "a rule can't choose `passthrough`";
        let help = "write `credential` on a route of its own";
        notes.problem("credential-passthrough", &typed.span, message, help);
    }
    Some(name)
}
