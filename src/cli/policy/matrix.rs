//! `erpgate policy matrix`: who may do what, one row for each client, rule and path.

use crate::cli::{DONE, MatrixFormat, USAGE, print, read_config};
use crate::config::Config;
use crate::model::methods::MethodSet;
use crate::model::path::PathPattern;
use crate::stages::authorization::coverage::{Found, Paths, find};
use crate::stages::authorization::reach::denied_paths;
use crate::stages::authorization::rules::{Allow, ClientPolicy, Deny, Rules};
use serde_json::{Value, json};
use std::path::Path;

/// The columns, as they are called in each format.
const COLUMNS: [&str; 8] =
    ["client", "route", "methods", "path", "query", "scopes", "except", "rule"];

/// Prints the matrix. Returns the exit status.
pub fn matrix(config: &Path, format: MatrixFormat) -> u8 {
    let Some(config) = read_config(config) else { return USAGE };
    let rows = rows(&config);
    let text = match format {
        MatrixFormat::Table => table(&rows),
        MatrixFormat::Csv => csv(&rows),
        MatrixFormat::Json => format!("{:#}\n", json!({ "rows": objects(&rows) })),
    };
    print(&text);
    DONE
}

type Row = [String; 8];

fn rows(config: &Config) -> Vec<Row> {
    let rules = &config.policies.rules;
    let mut clients: Vec<&ClientPolicy> = rules.clients.iter().map(|client| &**client).collect();
    clients.sort_by(|a, b| a.name.cmp(&b.name));
    let mut rows = Vec::new();
    for client in clients {
        let name = match client.suspended {
            Some(_) => format!("{} (suspended)", client.name),
            None => client.name.to_string(),
        };
        for allow in &client.rules.allows {
            let query: Vec<String> = allow.query.iter().map(ToString::to_string).collect();
            for path in &allow.paths {
                let except = except(allow, path, [&client.rules, &rules.common]);
                rows.push([
                    name.clone(),
                    allow.route.to_string(),
                    allow.methods.iter().collect::<Vec<_>>().join(" "),
                    path.to_string(),
                    query.join("&"),
                    allow.scopes.join(" "),
                    except,
                    allow.place.to_string(),
                ]);
            }
        }
    }
    rows
}

/// The denies that have to do with a path of the rule.
fn except(allow: &Allow, path: &PathPattern, rules: [&Rules; 2]) -> String {
    let concerns = |deny: &&Deny| {
        let of_route = deny.route.as_ref().is_none_or(|route| *route == allow.route);
        let of_method = |methods: MethodSet| allow.methods.iter().any(|m| methods.contains(m));
        of_route && deny.methods.is_none_or(of_method) && overlap(path, deny)
    };
    let denies = rules.into_iter().flat_map(|rules| &rules.denies).filter(concerns);
    denies.map(words).collect::<Vec<_>>().join("; ")
}

fn overlap(path: &PathPattern, deny: &Deny) -> bool {
    let denied = denied_paths(std::iter::once(deny));
    find(&[&Paths::exact([path]), &denied], &[]) != Found::None
}

/// A deny, as short as it can be said.
fn words(deny: &Deny) -> String {
    let mut words: Vec<String> = Vec::new();
    words.extend(deny.methods.iter().flat_map(|methods| methods.iter()).map(str::to_owned));
    match &deny.paths {
        Some(paths) => words.extend(paths.iter().map(ToString::to_string)),
        None => words.push("/**".to_owned()),
    }
    words.extend(deny.query.iter().map(|parameter| format!("?{parameter}")));
    words.extend(deny.scopes.iter().map(|scope| format!("with {scope}")));
    words.join(" ")
}

fn table(rows: &[Row]) -> String {
    let head: Row = COLUMNS.map(str::to_owned);
    let all = || std::iter::once(&head).chain(rows);
    let width = |column: usize| {
        let cells = all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    // A column that says nothing is left out.
    let empty = |column: usize| rows.iter().all(|row| row.get(column).is_none_or(String::is_empty));
    let mut text = String::new();
    for row in all() {
        let cells = row.iter().zip(&widths).enumerate().filter(|(column, _)| !empty(*column));
        let line: Vec<String> =
            cells.map(|(_, (cell, width))| format!("{cell:<width$}", width = *width)).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// RFC 4180, with one line end for every system.
fn csv(rows: &[Row]) -> String {
    let cell = |cell: &String| {
        // A spreadsheet would compute it.
        let text = match cell.starts_with(['=', '+', '-', '@']) {
            true => format!("'{cell}"),
            false => cell.clone(),
        };
        match text.contains([',', '"', '\n']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text,
        }
    };
    let line = |row: &Row| format!("{}\n", row.iter().map(cell).collect::<Vec<_>>().join(","));
    let head: Row = COLUMNS.map(str::to_owned);
    std::iter::once(&head).chain(rows).map(line).collect()
}

fn objects(rows: &[Row]) -> Vec<Value> {
    let object = |row: &Row| {
        let pairs = COLUMNS.iter().zip(row);
        Value::Object(pairs.map(|(name, cell)| ((*name).to_owned(), cell.clone().into())).collect())
    };
    rows.iter().map(object).collect()
}
