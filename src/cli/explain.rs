//! `erpgate explain`: which rule lets a request through or keeps it out, and what else would
//! happen to it. It asks the same rooms as the gateway.

use super::question::{Answer, Question};
use super::{DONE, FAILED, Format, USAGE, print, read_config};
use crate::config::{Credential, Route};
use crate::exchange::Exchange;
use crate::identity::Issuers;
use crate::model::limits::Limits;
use crate::refusal::Refusal;
use crate::stages::authorization::rules::Idempotency;
use crate::stages::idempotency::key::Source;
use crate::state::Snapshot;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::Arc;

/// Explains a request. Returns the exit status.
pub fn explain(config: &Path, question: &Question, format: Format) -> u8 {
    let Some(config) = read_config(config) else { return USAGE };
    let Some(answer) = Snapshot::new(config, Issuers::default(), None)
        .and_then(|snapshot| question.ask(&Arc::new(snapshot)))
    else {
        return USAGE;
    };
    let story = story(question, &answer);
    match format {
        Format::Json => print(&format!("{story:#}\n")),
        Format::Human => print(&human(&story)),
    }
    if answer.refusal.is_none() { DONE } else { FAILED }
}

/// Everything that is known of the request, as documented in docs/commands.md.
fn story(question: &Question, answer: &Answer) -> Value {
    let exchange = &answer.exchange;
    let mut story = Map::new();
    let mut put = |name: &str, value: Value| drop(story.insert(name.to_owned(), value));
    put("allowed", answer.refusal.is_none().into());
    put("method", question.method.as_str().into());
    put("target", question.target.as_str().into());
    put("client", question.client.as_str().into());
    put("scopes", question.scopes.clone().into());
    let access = exchange.access.as_ref();
    let rule = access.and_then(|access| match &access.grant {
        Some(grant) => Some(grant.rule().place.to_string()),
        None => Some(access.barred.as_ref()?.rule.as_ref()?.to_string()),
    });
    put("route", exchange.taken.as_ref().map(|taken| &*taken.route.name).into());
    put("rule", rule.into());
    match &answer.refusal {
        Some(refusal) => put("refusal", refused(refusal, exchange)),
        None => allowed(exchange, &mut put),
    }
    Value::Object(story)
}

fn refused(refusal: &Refusal, exchange: &Exchange) -> Value {
    let barred = exchange.access.as_ref().and_then(|access| access.barred.as_ref());
    let mut members = Map::new();
    members.insert("code".to_owned(), refusal.slug().into());
    members.insert("status".to_owned(), refusal.status().into());
    members.insert("stage".to_owned(), refusal.stage().into());
    members.insert("detail".to_owned(), refusal.detail().into());
    if let Some(barred) = barred {
        members.insert("reason".to_owned(), barred.denial.reason.into());
        if let Some(words) = &barred.words {
            members.insert("rule_reason".to_owned(), (**words).into());
        }
    }
    if let Refusal::ScopeMissing(scopes) = refusal {
        members.insert("scopes_needed".to_owned(), (**scopes).into());
    }
    Value::Object(members)
}

fn allowed(exchange: &Exchange, put: &mut impl FnMut(&str, Value)) {
    let grant = exchange.access.as_ref().and_then(|access| access.grant.as_ref());
    let (Some(taken), Some(grant)) = (&exchange.taken, grant) else { return };
    let rule = grant.rule();
    let route = &taken.route;
    put("vendor", (*route.vendor.name).into());
    let target = crate::stages::forwarding::request::target(
        &route.vendor.base_url.path,
        taken.matched.rest(&exchange.arrival.path),
        exchange.arrival.query.as_deref(),
    );
    let scheme = if route.vendor.base_url.https { "https" } else { "http" };
    put("vendor_url", format!("{scheme}://{}{target}", route.vendor.base_url.authority).into());
    put("credential", credential(route, rule.credential.as_deref()).into());
    put("scopes_needed", rule.scopes.join(" ").into());
    put("reads", taken.reads.into());
    let asked = (!taken.reads).then(|| asked(route, rule.idempotency));
    put("idempotency", asked.map(Idempotency::word).into());
    if asked.is_some_and(|asked| asked != Idempotency::Off) {
        let sources = route.protection.sources.iter().map(Source::to_string);
        put("idempotency_key_from", sources.collect::<Vec<_>>().into());
    }
    put("limits", limits(exchange, route, rule.limits.as_deref()).into());
    let (pool, client) = (&route.vendor.handling.pool, grant.client());
    let turn = format!("{} priority, share {}", client.priority.word(), client.share);
    put("pool", (**pool).into());
    put("turn", turn.into());
}

/// The stricter of what route and rule say.
fn asked(route: &Route, of_rule: Option<Idempotency>) -> Idempotency {
    of_rule.map_or(route.protection.idempotency, |rule| rule.max(route.protection.idempotency))
}

/// Which credential the vendor is shown, never its value.
fn credential(route: &Route, of_rule: Option<&str>) -> String {
    let name = of_rule.or(route.credential.as_deref());
    let key = name.and_then(|name| route.vendor.credentials.get_key_value(name));
    let kind = match key.map_or(&route.vendor.credential, |(_, credential)| credential) {
        Credential::None => "none".to_owned(),
        Credential::Passthrough => "the client's own Authorization".to_owned(),
        Credential::Field { name, .. } => format!("in the field {name}"),
    };
    match key {
        Some((name, _)) => format!("{name} ({kind})"),
        None => kind,
    }
}

/// Everything that bounds the request.
fn limits(exchange: &Exchange, route: &Route, of_rule: Option<&Limits>) -> Vec<Value> {
    let mut pools = exchange.snapshot.config.pools.iter();
    let of_pool = pools.find(|pool| pool.name == route.vendor.handling.pool).map(|pool| {
        let (rates, concurrency) = (pool.policy.rates.clone(), pool.policy.concurrency);
        Limits { rates, daily: None, concurrency }
    });
    let rules = &exchange.snapshot.config.policies.rules;
    let of_client = exchange.client().and_then(|client| rules.clients.get(client.index()));
    let of_client = of_client.map(|client| &client.limits);
    let each = [
        ("client", of_client),
        ("every client", Some(&rules.limits)),
        ("rule", of_rule),
        ("pool", of_pool.as_ref()),
    ];
    let words = |(of, limits): (&str, Option<&Limits>)| {
        let words = limits.map(Limits::words).unwrap_or_default();
        words.into_iter().map(|limit| json!({ "of": of, "limit": limit })).collect::<Vec<_>>()
    };
    each.into_iter().flat_map(words).collect()
}

fn human(story: &Value) -> String {
    let text = |name: &str| story[name].as_str().unwrap_or_default();
    let refusal = &story["refusal"];
    let verdict = match refusal["code"].as_str() {
        None => "allowed".to_owned(),
        Some(code) => format!("refused: {} {code}", refusal["status"]),
    };
    let mut lines = format!("{verdict}\n");
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            lines.push_str(&format!("  {name:<12}{value}\n"));
        }
    };
    line("request", &format!("{} {}", text("method"), text("target")));
    line("client", text("client"));
    line("route", text("route"));
    line("rule", text("rule"));
    line("because", refusal["rule_reason"].as_str().unwrap_or_default());
    line("detail", refusal["detail"].as_str().unwrap_or_default());
    let needed = refusal["scopes_needed"].as_str().unwrap_or(text("scopes_needed"));
    line("scopes", needed);
    for limit in story["limits"].as_array().into_iter().flatten() {
        let (of, limit) = (limit["of"].as_str(), limit["limit"].as_str());
        line("limit", &format!("{} ({})", limit.unwrap_or_default(), of.unwrap_or_default()));
    }
    let sources = story["idempotency_key_from"].as_array().into_iter().flatten();
    let sources: Vec<&str> = sources.filter_map(Value::as_str).collect();
    match sources.as_slice() {
        [] => line("idempotency", text("idempotency")),
        from => {
            line("idempotency", &format!("{} ({})", text("idempotency"), from.join(", ")));
        }
    }
    line("pool", text("pool"));
    line("turn", text("turn"));
    line("credential", text("credential"));
    line("vendor", text("vendor_url"));
    lines
}
