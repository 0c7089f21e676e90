//! What an answer means to the client that waits for it.

use crate::message::Message;
use serde_json::Value;

/// An answer that is to be given again for ever.
#[derive(Clone, Debug, PartialEq)]
pub enum Final {
    /// What the vendor said.
    Kept { status: u16, body: Vec<u8>, media_type: Option<String>, record: Option<String> },
    /// The gateway knows what came of it, and not what the vendor said.
    NotKept { executed: String },
}

/// What a client makes of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// It has what it wanted.
    Final { answer: Final, replayed: bool },
    /// It asks again, with the same key.
    Again(Again),
    /// It has never seen that.
    Wrong(String),
}

/// Why it asks again.
#[derive(Clone, Debug, PartialEq)]
pub enum Again {
    /// No connection, or one that ended before the answer did.
    Lost,
    /// The gateway promises that this request has not been executed.
    NotExecuted(String),
    /// Somebody is at it, or nobody knows what came of it.
    Open(String),
    /// The vendor failed, by its own words or by what the gateway could see of it.
    Failed(String),
}

impl Again {
    /// In a word, for the count.
    pub fn word(&self) -> &str {
        match self {
            Again::Lost => "lost",
            Again::NotExecuted(slug) | Again::Open(slug) | Again::Failed(slug) => slug,
        }
    }
}

/// Reads an answer; `None`: there was none.
pub fn read(answer: Option<&Message>) -> Reading {
    let Some((answer, status)) = answer.and_then(|answer| Some((answer, answer.status()?))) else {
        return Reading::Again(Again::Lost);
    };
    let problem = answer.json();
    let slug = problem["type"].as_str().and_then(|kind| kind.strip_prefix("urn:erpgate:problem:"));
    match slug {
        Some(slug) => {
            let waits = matches!(status, 429 | 503) || slug == "request-in-flight";
            if waits && answer.field("retry-after").is_none() {
                return Reading::Wrong(format!("no Retry-After: {problem}"));
            }
            of_gateway(status, slug, &problem)
        }
        None => of_vendor(status, answer),
    }
}

fn of_gateway(status: u16, slug: &str, problem: &Value) -> Reading {
    let executed = problem["executed"].as_str().unwrap_or_default();
    let word = slug.to_owned();
    let again = match (status, slug) {
        (409, "answer-not-kept") if matches!(executed, "yes" | "no") => {
            let answer = Final::NotKept { executed: executed.to_owned() };
            return Reading::Final { answer, replayed: true };
        }
        (409, "request-in-flight" | "outcome-unknown") => {
            (executed == "unknown").then_some(Again::Open(word))
        }
        (503 | 429, _) => (executed == "no").then_some(Again::NotExecuted(word)),
        (502 | 504 | 408, _) if executed == "no" => Some(Again::NotExecuted(word)),
        (502 | 504, _) if executed == "unknown" => Some(Again::Failed(word)),
        // An answer that broke off in its body: its head tells what the vendor did.
        (502, "vendor-response-invalid") if executed == "yes" => Some(Again::Failed(word)),
        (500, "gateway-fault") => Some(Again::Failed(word)),
        _ => None,
    };
    match again {
        Some(again) => Reading::Again(again),
        None => Reading::Wrong(format!("{status} {problem}")),
    }
}

fn of_vendor(status: u16, answer: &Message) -> Reading {
    match status {
        _ if !answer.complete => Reading::Again(Again::Lost),
        // Of a vendor's throttle that is passed on.
        429 => Reading::Again(Again::NotExecuted("429".to_owned())),
        408 | 500 | 502..=504 => Reading::Again(Again::Failed(status.to_string())),
        200 | 201 | 422 => {
            let text = |name| answer.field(name).map(str::to_owned);
            let replayed = answer.field("idempotency-replayed") == Some("true");
            if replayed && answer.field("x-original-correlation-id").is_none() {
                return Reading::Wrong(format!("replayed, but of whom? {answer:?}"));
            }
            let answer = Final::Kept {
                status,
                body: answer.body.clone(),
                media_type: text("content-type"),
                record: text("x-record"),
            };
            Reading::Final { answer, replayed }
        }
        _ => Reading::Wrong(format!("{status} {:?}", String::from_utf8_lossy(&answer.body))),
    }
}
