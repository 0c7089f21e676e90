//! Reads what an operator sends: one JSON object, within bounds, that nobody could read otherwise.

use super::access::problem;
use crate::config::problem::deceives;
use crate::stages::authentication::strict_json::{self, Unfit};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};
use std::time::Duration;

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of a reason.
const WHY_MAX: usize = 500;

/// Why a request is not taken: status, code and detail of the problem.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong(pub StatusCode, pub &'static str, pub String);

/// Whether there has to be a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// There has.
    Yes,
    /// None is as good as one without members.
    No,
}

/// The members of the body.
///
/// # Errors
/// Why it is not taken.
pub async fn members(
    request: Request,
    needed: Needed,
    bytes_max: usize,
) -> Result<Map<String, Value>, Wrong> {
    let (head, body) = request.into_parts();
    let is_json = is_json(&head.headers);
    let octets = read(body, bytes_max).await?;
    if octets.is_empty() && needed == Needed::No {
        return Ok(Map::new());
    }
    if !is_json {
        let detail = "Send the body as `Content-Type: application/json`.";
        return Err(Wrong(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail.into()));
    }
    strict_json::object(&octets).map_err(|unfit| {
        let detail = match unfit {
            Unfit::NotAnObject => "the body is not a JSON object",
            Unfit::Doubled => "a member of the body is there twice",
            Unfit::TooDeep => "the body is nested too deep",
        };
        Wrong::from(detail.to_owned())
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let essence = only.to_str().unwrap_or("").split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
}

async fn read(body: Body, bytes_max: usize) -> Result<Vec<u8>, Wrong> {
    let reading = Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!("The body may have {} KiB.", bytes_max >> 10);
            Err(Wrong(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail))
        }
        Ok(Err(_)) => Err(Wrong::from("the body can't be read".to_owned())),
        Err(_) => {
            let detail = "The body did not come in time.";
            Err(Wrong(StatusCode::REQUEST_TIMEOUT, "request-timeout", detail.into()))
        }
    }
}

impl Wrong {
    /// As it is told.
    pub fn answer(self) -> Response {
        problem(self.0, self.1, &self.2)
    }
}

/// A clause is what is wrong with a body.
impl From<String> for Wrong {
    fn from(clause: String) -> Wrong {
        Wrong(StatusCode::BAD_REQUEST, "request-malformed", sentence(&clause))
    }
}

/// A clause as a sentence of its own.
pub fn sentence(clause: &str) -> String {
    let mut rest = clause.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(rest).chain(['.']).collect()
}

/// A member that is a text; `null` is as good as none.
///
/// # Errors
/// It is something else.
pub fn text(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{name}` is not a string")),
    }
}

/// Why somebody does what he does, for whoever reads the audit log.
///
/// # Errors
/// It is none, too long, or can't be read.
pub fn reason(typed: String) -> Result<String, String> {
    let why = typed.trim();
    if why.is_empty() || why.chars().count() > WHY_MAX {
        return Err(format!("`why` has 1 to {WHY_MAX} characters"));
    }
    if why.chars().any(|c| deceives(c) || c.is_control()) {
        return Err("`why` holds characters that can't be seen".to_owned());
    }
    Ok(why.to_owned())
}

/// Whatever is left is a mistake.
///
/// # Errors
/// Its name, and what is known.
pub fn nothing_else(members: &Map<String, Value>, known: &str) -> Result<(), String> {
    match members.keys().next() {
        None => Ok(()),
        Some(name) => {
            let name: String = name.chars().take(40).collect();
            Err(format!("`{}` is not known here: known are {known}", name.escape_debug()))
        }
    }
}
