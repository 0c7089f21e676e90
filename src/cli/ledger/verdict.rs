//! What came of an unknown write, as it is typed on the command line.

use crate::admin::ledger::verdict::Verdict;
use crate::admin::reading::Wrong;
use crate::cli::{FAILED, USAGE};
use crate::config::Config;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Reads the body from stdin.
const STDIN: &str = "-";

/// What is typed.
#[derive(Debug, Args)]
pub struct Said {
    /// Whether the vendor did it. `not-executed` frees the key: the next request is sent.
    #[arg(long = "as", value_enum, value_name = "OUTCOME")]
    outcome: Outcome,
    /// Status of the answer that repetitions get; without it they are told `answer-not-kept`.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(200..=599))]
    status: Option<u16>,
    /// File with the body of that answer; `-`: stdin.
    #[arg(long, value_name = "FILE", requires = "status")]
    body: Option<PathBuf>,
    /// Media type of the body; guessed where it is left out.
    #[arg(long, value_name = "TYPE", requires = "body")]
    content_type: Option<String>,
    /// The `Location` of the new record, as the vendor would have sent it.
    #[arg(long, value_name = "URL", requires = "status")]
    location: Option<String>,
    /// How this is known, for the audit log.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Outcome {
    /// The vendor did it.
    Executed,
    /// The vendor did not.
    NotExecuted,
}

impl Said {
    /// The members that the admin listener takes.
    ///
    /// # Errors
    /// The exit status, and what is wrong.
    pub fn members(&self, config: &Config) -> Result<Map<String, Value>, (u8, String)> {
        let most = config.ledger.answer_bytes_max;
        let outcome = match self.outcome {
            Outcome::Executed => "executed",
            Outcome::NotExecuted => "not-executed",
        };
        let mut members = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            members.extend(value.map(|value| (name.to_owned(), value)));
        };
        put("as", Some(outcome.into()));
        put("status", self.status.map(Value::from));
        if let Some(path) = &self.body {
            let octets = read(path, most)
                .map_err(|error| (FAILED, format!("{} can't be read: {error}", path.display())))?;
            match String::from_utf8(octets) {
                // What has to be escaped otherwise than by one octet is shorter as base64.
                Ok(text) if text.chars().all(is_plain) => put("body", Some(text.into())),
                Ok(text) => put("body_base64", Some(STANDARD.encode(text).into())),
                Err(other) => put("body_base64", Some(STANDARD.encode(other.as_bytes()).into())),
            }
        }
        put("content_type", self.content_type.clone().map(Value::from));
        put("location", self.location.clone().map(Value::from));
        put("why", self.why.clone().map(Value::from));
        match Verdict::read(members.clone(), most) {
            Ok(_) => Ok(members),
            Err(Wrong(StatusCode::PAYLOAD_TOO_LARGE, _, detail)) => Err((FAILED, detail)),
            Err(Wrong(_, _, detail)) => Err((USAGE, detail)),
        }
    }
}

/// One octet more than is taken tells that it is too much.
fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    let most = most.saturating_add(1);
    match path.to_str() {
        Some(STDIN) => io::stdin().lock().take(most).read_to_end(&mut octets)?,
        _ => File::open(path)?.take(most).read_to_end(&mut octets)?,
    };
    Ok(octets)
}

fn is_plain(c: char) -> bool {
    !c.is_control() || matches!(c, '\n' | '\r' | '\t')
}
