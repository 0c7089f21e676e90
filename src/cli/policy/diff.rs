//! `erpgate policy diff`: what each client gains and loses between two policy folders, as a list
//! that a reviewer can approve.

use super::changes::{Described, changes, limits};
use super::regions::{Region, Side, gained};
use crate::cli::{DONE, FAILED, Format, USAGE, print, shown};
use crate::config::Config;
use crate::config::resolve::load_with_policies;
use crate::config::sources::System;
use crate::stages::authorization::rules::Place;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

/// What is different for one client.
struct Difference {
    client: String,
    gains: Vec<Region>,
    loses: Vec<Region>,
    changes: Vec<String>,
}

/// Compares two folders under the same gateway.toml. Returns the exit status.
pub fn diff(config: &Path, old: &Path, new: &Path, format: Format) -> u8 {
    let read =
        |folder: &Path| shown(load_with_policies(config, &System, SystemTime::now(), folder));
    let (Some(old), Some(new)) = (read(old), read(new)) else { return USAGE };
    let differences = match compare(&old, &new) {
        Ok(differences) => differences,
        Err(rule) => {
            eprintln!(
                "problem[too-many-parameters]: the rules on the route of {rule} ask for so many \
                 query parameters that they can't be compared\n\
                 help: give them routes of their own"
            );
            return USAGE;
        }
    };
    let text = match format {
        Format::Human => human(&differences),
        Format::Json => {
            let clients: Vec<Value> = differences.iter().map(object).collect();
            format!("{:#}\n", json!({ "clients": clients }))
        }
    };
    print(&text);
    if differences.is_empty() { DONE } else { FAILED }
}

fn compare(old: &Config, new: &Config) -> Result<Vec<Difference>, Place> {
    let names = [old, new].into_iter().flat_map(|config| &config.policies.rules.clients);
    let names: BTreeSet<&str> = names.map(|client| &*client.name).collect();
    let differences = names.into_iter().map(|name| of_client(name, old, new));
    let differences = differences.collect::<Result<Vec<_>, Place>>()?;
    let mut differences: Vec<Difference> = differences.into_iter().flatten().collect();
    let of_all = |config: &Config| limits(&config.policies.rules.limits);
    if of_all(old) != of_all(new) {
        let line = format!("limits: {} (was: {})", of_all(new), of_all(old));
        let (gains, loses) = (Vec::new(), Vec::new());
        let client = "every client".to_owned();
        differences.insert(0, Difference { client, gains, loses, changes: vec![line] });
    }
    Ok(differences)
}

fn of_client(name: &str, old: &Config, new: &Config) -> Result<Option<Difference>, Place> {
    let (before, after) = (client(old, name), client(new, name));
    let (old_side, new_side) = (side(old, before), side(new, after));
    let difference = Difference {
        client: name.to_owned(),
        gains: gained(old_side, new_side, &new.routes)?,
        loses: gained(new_side, old_side, &old.routes)?,
        changes: changes(before, after),
    };
    let Difference { gains, loses, changes, .. } = &difference;
    let is_same = gains.is_empty() && loses.is_empty() && changes.is_empty();
    Ok((!is_same).then_some(difference))
}

fn client<'c>(config: &'c Config, name: &str) -> Option<Described<'c>> {
    let index = config.policies.directory.named(name)?;
    let policy = config.policies.rules.clients.get(index)?;
    let identities = config.policies.identities.get(index).map_or(&[][..], |list| list);
    Some(Described { policy, identities })
}

/// Who is suspended may do nothing.
fn side<'c>(config: &'c Config, client: Option<Described<'c>>) -> Side<'c> {
    let active = client.filter(|client| client.policy.suspended.is_none());
    Side { own: active.map(|client| &client.policy.rules), common: &config.policies.rules.common }
}

fn human(differences: &[Difference]) -> String {
    let mut text = String::new();
    for difference in differences {
        text.push_str(&format!("{}\n", difference.client));
        for (word, regions) in [("gains", &difference.gains), ("loses", &difference.loses)] {
            regions.iter().for_each(|region| text.push_str(&lines(word, region)));
        }
        for change in &difference.changes {
            text.push_str(&format!("  change  {change}\n"));
        }
        text.push('\n');
    }
    let summary = match differences.len() {
        0 => "no difference\n".to_owned(),
        1 => "1 client differs\n".to_owned(),
        count => format!("{count} clients differ\n"),
    };
    text + &summary
}

fn lines(word: &str, region: &Region) -> String {
    let Region { route, path, query, scopes, except, only, rule, methods, example } = region;
    let methods = methods.join(" ");
    let mut text = format!("  {word:<6}  {methods} on {route}: {path}");
    let mut add = |words: String| text.push_str(&words);
    if !query.is_empty() {
        add(format!("  with the query {}", query.join(" and ")));
    }
    match scopes.is_empty() {
        true => add("  without any scope".to_owned()),
        false => add(format!("  with the scopes {scopes}")),
    }
    add(format!("  ({rule})\n"));
    if !only.is_empty() {
        add(format!("          only {}\n", only.join(", ")));
    }
    if !except.is_empty() {
        add(format!("          except {}\n", except.join(", ")));
    }
    add(format!("          for example {example}\n"));
    text
}

fn object(difference: &Difference) -> Value {
    let region = |region: &Region| {
        json!({
            "route": region.route, "methods": region.methods, "path": region.path,
            "query": region.query, "scopes": region.scopes, "only": region.only,
            "except": region.except, "rule": region.rule, "example": region.example,
        })
    };
    json!({
        "client": difference.client,
        "gains": difference.gains.iter().map(region).collect::<Vec<_>>(),
        "loses": difference.loses.iter().map(region).collect::<Vec<_>>(),
        "changes": difference.changes,
    })
}
