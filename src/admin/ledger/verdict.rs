//! What a person says came of an unknown write, read from what was sent or typed.

use crate::adapters::ledger::entry::{Answer, Settlement};
use crate::admin::reading::{Wrong, nothing_else, reason, text};
use axum::http::{HeaderValue, StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// Statuses that end a request.
const STATUSES: RangeInclusive<u64> = 200..=599;

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What comes of the entry; `None`: the vendor did not act.
    pub found: Option<Settlement>,
    /// Why, for the audit log.
    pub why: Option<String>,
}

impl Verdict {
    /// Reads it.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn read(mut members: Map<String, Value>, body_bytes_max: u64) -> Result<Verdict, Wrong> {
        let acted = match text(&mut members, "as")?.as_deref() {
            Some("executed") => true,
            Some("not-executed") => false,
            Some(_) => return Err(clause("`as` is neither `executed` nor `not-executed`")),
            None => return Err(clause("`as` is missing: write `executed` or `not-executed`")),
        };
        let why = text(&mut members, "why")?.map(reason).transpose()?;
        let answer = Typed::take(&mut members)?;
        let known = "`as`, `status`, `body`, `body_base64`, `content_type`, `location` and `why`";
        nothing_else(&members, known)?;
        let found = match acted {
            true => Some(answer.settlement(body_bytes_max)?),
            false => answer.nothing().map(|()| None)?,
        };
        Ok(Verdict { found, why })
    }

    /// The word for it.
    pub fn word(&self) -> &'static str {
        if self.found.is_some() { "executed" } else { "not-executed" }
    }

    /// Status of the answer, if it is said.
    pub fn status(&self) -> Option<u16> {
        match self.found.as_ref()? {
            Settlement::Kept(answer) => Some(answer.status),
            Settlement::NotKept(status) => *status,
        }
    }
}

/// The answer, as far as it is typed.
struct Typed {
    status: Option<u16>,
    body: Option<Bytes>,
    content_type: Option<HeaderValue>,
    location: Option<HeaderValue>,
}

impl Typed {
    fn take(members: &mut Map<String, Value>) -> Result<Typed, Wrong> {
        let status = match members.remove("status") {
            None | Some(Value::Null) => None,
            Some(status) => {
                let status = status.as_u64().filter(|status| STATUSES.contains(status));
                let status = status.and_then(|status| u16::try_from(status).ok());
                let wrong = || clause("`status` is not a number from 200 to 599");
                Some(status.ok_or_else(wrong)?)
            }
        };
        let body = match (text(members, "body")?, text(members, "body_base64")?) {
            (Some(_), Some(_)) => {
                return Err(clause("`body` and `body_base64` are two bodies: write one"));
            }
            (Some(body), None) => Some(Bytes::from(body)),
            (None, Some(body)) => {
                let octets = STANDARD.decode(body).map_err(|_| {
                    clause("`body_base64` is not base64 (RFC 4648 §4, with its padding)")
                })?;
                Some(Bytes::from(octets))
            }
            (None, None) => None,
        };
        let mut field = |name, fits: fn(&str) -> bool, wrong: &str| {
            let Some(typed) = text(members, name)? else { return Ok(None) };
            let value = HeaderValue::from_str(&typed).ok().filter(|_| fits(&typed));
            value.map(Some).ok_or_else(|| clause(wrong))
        };
        let content_type =
            field("content_type", is_media_type, "`content_type` is not a media type")?;
        let location = field("location", is_uri, "`location` is not a URL")?;
        Ok(Typed { status, body, content_type, location })
    }

    /// Without a status nobody can be told more than that the vendor acted.
    fn settlement(self, body_bytes_max: u64) -> Result<Settlement, Wrong> {
        let Some(status) = self.status else {
            return match self.first() {
                None => Ok(Settlement::NotKept(None)),
                Some(name) => Err(clause(&format!("`{name}` needs a `status`"))),
            };
        };
        let body = self.body.clone().unwrap_or_default();
        if matches!(status, 204 | 205 | 304) && !body.is_empty() {
            return Err(clause(&format!("an answer with status {status} has no body")));
        }
        if u64::try_from(body.len()).unwrap_or(u64::MAX) > body_bytes_max {
            let detail = format!(
                "The answer's body has {} octets; `answer_max` of the ledger is {body_bytes_max}.",
                body.len()
            );
            return Err(Wrong(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail));
        }
        if self.content_type.is_some() && body.is_empty() {
            return Err(clause("`content_type` needs a `body`"));
        }
        let guessed = || HeaderValue::from_static(media_type(&body));
        let content_type =
            (!body.is_empty()).then(|| self.content_type.clone().unwrap_or_else(guessed));
        let fields = [("content-type", content_type), ("location", self.location)];
        let fields = fields.into_iter().filter_map(|(name, value)| {
            Some((name.into(), Bytes::copy_from_slice(value?.as_bytes())))
        });
        Ok(Settlement::Kept(Answer { status, fields: fields.collect(), body }))
    }

    /// What did not happen has no answer.
    fn nothing(&self) -> Result<(), Wrong> {
        let typed = self.status.map(|_| "status").or_else(|| self.first());
        typed.map_or(Ok(()), |name| {
            let free = "`not-executed` frees the key, and there is no answer to give again";
            Err(clause(&format!("{free}: leave out `{name}`")))
        })
    }

    /// What is typed besides a status.
    fn first(&self) -> Option<&'static str> {
        let typed = [
            ("body", self.body.is_some()),
            ("content_type", self.content_type.is_some()),
            ("location", self.location.is_some()),
        ];
        typed.into_iter().find(|(_, there)| *there).map(|(name, _)| name)
    }
}

fn clause(clause: &str) -> Wrong {
    Wrong::from(clause.to_owned())
}

fn is_media_type(typed: &str) -> bool {
    let essence = typed.split(';').next().unwrap_or_default().trim();
    let token = |part: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c);
        !part.is_empty() && part.chars().all(known)
    };
    essence.split_once('/').is_some_and(|(kind, of)| token(kind) && token(of))
}

fn is_uri(typed: &str) -> bool {
    typed.parse::<Uri>().is_ok()
}

/// What a body probably is whose media type nobody says.
fn media_type(body: &[u8]) -> &'static str {
    if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() {
        "application/json"
    } else if std::str::from_utf8(body).is_ok() {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(members: &Value) -> Result<Verdict, String> {
        let members = members.as_object().expect("an object").clone();
        Verdict::read(members, 10).map_err(|Wrong(_, _, detail)| detail)
    }

    #[test]
    fn what_is_said_becomes_an_answer_or_none() {
        let kept = |status, fields: &[(&str, &'static str)], body: &'static [u8]| {
            let fields = fields.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            let fields = fields.collect();
            Some(Settlement::Kept(Answer { status, fields, body: Bytes::from_static(body) }))
        };
        let json_type = ("content-type", "application/json");
        for (said, found) in [
            (json!({ "as": "not-executed" }), None),
            (json!({ "as": "not-executed", "status": null }), None),
            (json!({ "as": "executed" }), Some(Settlement::NotKept(None))),
            (json!({ "as": "executed", "status": 204 }), kept(204, &[], b"")),
            (
                json!({ "as": "executed", "status": 200, "body": "{}" }),
                kept(200, &[json_type], b"{}"),
            ),
            (
                json!({ "as": "executed", "status": 422, "body": "no" }),
                kept(422, &[("content-type", "text/plain; charset=utf-8")], b"no"),
            ),
            (
                json!({ "as": "executed", "status": 200, "body_base64": "//8=" }),
                kept(200, &[("content-type", "application/octet-stream")], b"\xff\xff"),
            ),
            (
                json!({ "as": "executed", "status": 201, "body": "1234567890",
                        "content_type": "text/csv; a=b", "location": "/orders/7" }),
                kept(
                    201,
                    &[("content-type", "text/csv; a=b"), ("location", "/orders/7")],
                    b"1234567890",
                ),
            ),
        ] {
            assert_eq!(read(&said).map(|verdict| verdict.found), Ok(found), "{said}");
        }
        let said = json!({ "as": "executed", "status": 404, "why": " looked it up " });
        let verdict = read(&said).expect("taken");
        assert_eq!((verdict.word(), verdict.status()), ("executed", Some(404)));
        assert_eq!(verdict.why.as_deref(), Some("looked it up"));
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        let executed = |more: Value| {
            let mut said = json!({ "as": "executed" });
            let members = said.as_object_mut().expect("an object");
            members.extend(more.as_object().expect("an object").clone());
            said
        };
        for (said, mention) in [
            (json!({}), "`as` is missing"),
            (json!({ "as": "done" }), "`as` is neither"),
            (json!({ "as": 1 }), "`as` is not a string"),
            (json!({ "as": "not-executed", "status": 200 }), "leave out `status`"),
            (json!({ "as": "not-executed", "body": "" }), "leave out `body`"),
            (json!({ "as": "not-executed", "location": "/" }), "leave out `location`"),
            (executed(json!({ "status": 100 })), "from 200 to 599"),
            (executed(json!({ "status": 600 })), "from 200 to 599"),
            (executed(json!({ "status": "200" })), "from 200 to 599"),
            (executed(json!({ "status": 200.5 })), "from 200 to 599"),
            (executed(json!({ "body": "x" })), "`body` needs a `status`"),
            (executed(json!({ "location": "/" })), "`location` needs a `status`"),
            (executed(json!({ "status": 204, "body": "x" })), "status 204 has no body"),
            (executed(json!({ "status": 200, "body": "12345678901" })), "has 11 octets"),
            (executed(json!({ "status": 200, "body": "x", "body_base64": "" })), "two bodies"),
            (executed(json!({ "status": 200, "body_base64": "/" })), "not base64"),
            (executed(json!({ "status": 200, "content_type": "text/csv" })), "needs a `body`"),
            (
                executed(json!({ "status": 200, "body": "x", "content_type": "csv" })),
                "not a media type",
            ),
            (
                executed(json!({ "status": 200, "body": "x", "content_type": "a/b\r\nc: d" })),
                "not a media type",
            ),
            (executed(json!({ "status": 200, "location": "a b" })), "not a URL"),
            (executed(json!({ "why": "" })), "1 to 500"),
            (executed(json!({ "stauts": 200 })), "`stauts` is not known"),
        ] {
            let refused = read(&said).expect_err("refused");
            assert!(refused.contains(mention), "{said}: {refused}");
        }
    }
}
