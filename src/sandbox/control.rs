//! Lets tests see what the simulator did and decide how it behaves.
//!
//! `GET /_sandbox/control` shows the state; `POST` or `PUT` changes it and shows it afterwards:
//!
//! ```json
//! {"reset": true, "latency_ms": 50, "concurrency": 5, "down": false,
//!  "fail": {"mode": "half", "count": 2, "status": 500, "html": false,
//!           "match": {"method": "POST", "path_contains": "customer"}}}
//! ```
//!
//! Every member may be left out. `fail` may be a list, whose rules are used up in order, and
//! replaces what was pending (`[]` clears). `reset` comes first and opens a closed listener. With
//! `down` the vendor's port refuses connections and every open connection of it is cut, so it is
//! best sent to the second listener.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Media};
use super::faults::Rule;
use super::intake;
use super::simulator::{Change, Simulator};

/// What an unknown path under `/_sandbox/`, or any other on the control listener, is told.
pub const NOTHING_HERE: &str = r#"{"error":"nothing here: try /_sandbox/control"}"#;

/// More than any set of rules needs.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// The body of a change, as typed by a person.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    reset: bool,
    latency_ms: Option<u64>,
    concurrency: Option<usize>,
    down: Option<bool>,
    fail: Option<Value>,
}

/// What a request to a control endpoint is about.
#[derive(Debug)]
pub enum Received {
    /// It wants to see the state.
    Look,
    /// It wants a change, of which this is the text.
    Wish(Bytes),
    /// It wants nothing that there is.
    Refused(Answer),
}

/// Reads a request to a control endpoint.
pub async fn receive(request: Request<Incoming>) -> Received {
    let method = request.method();
    if method == Method::GET || method == Method::HEAD {
        return Received::Look;
    }
    if method != Method::POST && method != Method::PUT {
        let refused = refuse(StatusCode::METHOD_NOT_ALLOWED, "GET, POST or PUT");
        return Received::Refused(refused.with(http::header::ALLOW, "GET, HEAD, POST, PUT"));
    }
    match intake::read(request.into_body(), BODY_BYTES_MAX).await {
        Ok(body) => Received::Wish(body),
        Err(_) => {
            Received::Refused(refuse(StatusCode::BAD_REQUEST, "the body is too long or broken"))
        }
    }
}

/// Answers a request to the control endpoint.
pub async fn answer(simulator: &Simulator, request: Request<Incoming>) -> Answer {
    let body = match receive(request).await {
        Received::Look => {
            return Answer::json(StatusCode::OK, Media::Json, &simulator.document());
        }
        Received::Wish(body) => body,
        Received::Refused(answer) => return answer,
    };
    let (change, down) = match parse(&body) {
        Ok(parsed) => parsed,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, &why),
    };
    simulator.change(change);
    if let Some(down) = down
        && let Err(error) = simulator.switch(down).await
    {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string());
    }
    Answer::json(StatusCode::OK, Media::Json, &simulator.document())
}

/// Reads a change, and whether the listener is to be closed (`true`) or opened.
fn parse(body: &[u8]) -> Result<(Change, Option<bool>), String> {
    let wish: Wish = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let change = Change {
        reset: wish.reset,
        latency: wish.latency_ms.map(Duration::from_millis),
        concurrency: wish.concurrency,
        faults: wish.fail.map(rules).transpose()?,
    };
    Ok((change, wish.down.or(wish.reset.then_some(false))))
}

fn rules(fail: Value) -> Result<Vec<Rule>, String> {
    let list = match fail {
        Value::Array(list) => list,
        one => vec![one],
    };
    list.into_iter()
        .map(|value| {
            let rule: Rule = serde_json::from_value(value).map_err(|e| format!("fail: {e}"))?;
            match rule.complaint() {
                Some(complaint) => Err(format!("fail: {complaint}")),
                None => Ok(rule),
            }
        })
        .collect()
}

/// Refuses in our own words.
pub fn refuse(status: StatusCode, why: &str) -> Answer {
    Answer::json(status, Media::Json, &json!({ "error": why }))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_wish_is_read_with_all_its_members() {
        let (change, down) = parse(
            br#"{"reset":true,"latency_ms":50,"concurrency":2,"down":true,
                 "fail":[{"mode":"hang"},{"mode":"status","count":3,"status":500,"html":true}]}"#,
        )
        .unwrap();
        assert!(change.reset);
        assert_eq!(change.latency.unwrap().as_millis(), 50);
        assert_eq!(change.concurrency, Some(2));
        assert_eq!(change.faults.unwrap().len(), 2);
        assert_eq!(down, Some(true));
    }

    #[test]
    fn a_reset_opens_the_listener_and_silence_changes_nothing() {
        assert_eq!(parse(br#"{"reset":true}"#).unwrap().1, Some(false));
        let (change, down) = parse(b"{}").unwrap();
        assert!(!change.reset && change.faults.is_none() && down.is_none());
    }

    #[test]
    fn typing_errors_are_refused() {
        for bad in [
            "",
            "[]",
            r#"{"latency":1}"#,
            r#"{"fail":{"mode":"explode"}}"#,
            r#"{"fail":{"mode":"hang","counts":1}}"#,
            r#"{"fail":{"mode":"status","status":99}}"#,
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
