//! `erpgate policy test`: cases that a person wrote down, each with the decision that it expects.

use crate::cli::question::Question;
use crate::cli::{DONE, FAILED, USAGE, read_config};
use crate::config::problem::{self, Notes, Text, quoted, suggestion};
use crate::config::raw::at::At;
use crate::config::raw::read::read;
use crate::config::raw::table::Section;
use crate::config::sources::{Sources, System};
use crate::identity::Issuers;
use crate::refusal::SLUGS;
use crate::state::Snapshot;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

/// A file of cases, as a person typed it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCases {
    case: Option<At<Vec<Section<RawCase>>>>,
}

/// One case.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    client: Option<At<String>>,
    scopes: Option<Vec<At<String>>>,
    request: Option<At<String>>,
    expect: Option<At<String>>,
}

/// What came of the cases of a file.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    /// Cases that could not be understood.
    broken: usize,
}

/// Runs all cases. Returns the exit status.
pub fn test(config: &Path) -> u8 {
    let Some(read) = read_config(config) else { return USAGE };
    let folder = read.policies.folder.join("tests");
    let Some(snapshot) = Snapshot::new(read, Issuers::default(), None) else { return USAGE };
    let snapshot = Arc::new(snapshot);
    let files = System.list(&folder).unwrap_or_default();
    let mut tally = Tally::default();
    for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "toml")) {
        run(&snapshot, file, &mut tally);
    }
    let Tally { passed, failed, broken } = tally;
    if passed + failed + broken == 0 {
        eprintln!("erpgate: there are no cases in {}", folder.display());
        eprintln!("help: write `[[case]]` with `client`, `scopes`, `request` and `expect`");
        return FAILED;
    }
    println!("{passed} passed, {} failed", failed + broken);
    if failed + broken == 0 { DONE } else { FAILED }
}

fn run(snapshot: &Arc<Snapshot>, file: &Path, tally: &mut Tally) {
    let content = System
        .read(file)
        .map_err(|error| error.to_string())
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned()));
    let content = match content {
        Ok(content) => content,
        Err(why) => {
            eprintln!("problem[file-unreadable]: {} can't be read: {why}", file.display());
            tally.broken += 1;
            return;
        }
    };
    let mut notes = Notes::new(Text::new(file, content));
    let raw: Option<RawCases> = read(&mut notes);
    let before = notes.problems.len();
    for at in raw.iter().flat_map(|raw| &raw.case).flat_map(|cases| &cases.value) {
        match case(&mut notes, at) {
            Some((question, expected, span)) => {
                let found = match question.ask(snapshot) {
                    Some(answer) => answer.refusal.map_or("allow", |refusal| refusal.slug()),
                    None => "no listener",
                };
                if found == expected {
                    tally.passed += 1;
                    continue;
                }
                tally.failed += 1;
                let Question { method, target, client, .. } = &question;
                let message = format!("{method} {target} by {client}: {found}, not {expected}");
                let scopes: String =
                    question.scopes.iter().map(|scope| format!(" --scope {scope}")).collect();
                let help = format!(
                    "`erpgate explain {method} '{target}' --client {client}{scopes}` says why"
                );
                notes.problem("case-failed", &span, message, help);
            }
            None => tally.broken += 1,
        }
    }
    tally.broken += before;
    problem::sort(&mut notes.problems);
    let shown =
        notes.problems.iter().map(|found| problem::one(found, std::slice::from_ref(&notes.text)));
    shown.for_each(|text| eprintln!("{text}"));
}

/// A case with the decision that it expects and the place where that is written.
fn case(
    notes: &mut Notes,
    at: &Section<RawCase>,
) -> Option<(Question, String, std::ops::Range<usize>)> {
    let raw = &at.value;
    let client = raw.client.as_ref();
    let client = notes.required(&at.span, "[[case]]", "client", client, "\"shiphawk\"");
    let example = "\"GET /netsuite/services/rest/record/v1/salesOrder/7\"";
    let request = raw.request.as_ref();
    let request = notes.required(&at.span, "[[case]]", "request", request, example);
    let expect = raw.expect.as_ref();
    let expect = notes.required(&at.span, "[[case]]", "expect", expect, "\"allow\"");
    let (client, request, expect) = (client?, request?, expect?);
    let Some((method, target)) = request.value.split_once(' ') else {
        let message = format!("{} is no method and target", quoted(&request.value));
        notes.problem(
            "bad-request",
            &request.span,
            message,
            format!("write `request = {example}`"),
        );
        return None;
    };
    let known = SLUGS.iter().copied().chain(["allow"]);
    if !known.clone().any(|known| known == expect.value) {
        let message = format!("nothing is decided as {}", quoted(&expect.value));
        notes.problem("unknown-value", &expect.span, message, suggestion(&expect.value, known));
        return None;
    }
    let question = Question {
        method: method.to_owned(),
        target: target.trim_start().to_owned(),
        client: client.value.clone(),
        scopes: raw.scopes.iter().flatten().map(|scope| scope.value.clone()).collect(),
    };
    Some((question, expect.value.clone(), expect.span.clone()))
}
