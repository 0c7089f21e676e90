//! Shows what arrived at the vendor, and moves bodies of any size.
//!
//! `/_sandbox/echo` and below: what was received, as JSON. `/_sandbox/stream/{bytes}`: an answer
//! of that many bytes, chunked, or with its length announced (`?length=1`). `/_sandbox/sink`:
//! counts the bytes of a body. None of them counts for concurrency or meets a fault.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::answer::{Answer, Media};
use super::control::NOTHING_HERE;
use super::intake;
use super::outgoing::{self, Outgoing};
use super::target::Target;
use super::wire::Line;

/// A body up to this length is shown by the echo, if it is UTF-8.
const SHOWN_BYTES_MAX: usize = 64 * 1024;

/// Answers a request to `/_sandbox/` other than control.
pub async fn answer(request: Request<Incoming>, line: Arc<Line>) -> Response<Outgoing> {
    // First of all: the tape is only good until the answer begins.
    let tape = line.take_tape();
    let target = Target::parse(request.uri());
    let segments: Vec<&str> =
        target.iter().flat_map(|target| &target.segments).map(String::as_str).collect();
    let answer = match segments.as_slice() {
        ["_sandbox", "echo", ..] => echo(request, &tape).await,
        ["_sandbox", "stream", bytes] => match bytes.parse() {
            Ok(bytes) => {
                let length = target.as_ref().and_then(|target| target.parameter("length"));
                return outgoing::flow(bytes, length == Some("1"));
            }
            Err(_) => refuse(StatusCode::BAD_REQUEST, "how many bytes?"),
        },
        ["_sandbox", "sink"] if request.method() != Method::GET => sink(request).await,
        _ => Answer::text(StatusCode::NOT_FOUND, Media::Json, NOTHING_HERE),
    };
    outgoing::send(answer, None, line)
}

async fn sink(request: Request<Incoming>) -> Answer {
    match intake::count(request.into_body(), u64::MAX).await {
        Ok(bytes) => Answer::json(StatusCode::OK, Media::Json, &json!({ "bytes": bytes })),
        Err(_) => refuse(StatusCode::BAD_REQUEST, "the body broke off"),
    }
}

async fn echo(request: Request<Incoming>, tape: &[u8]) -> Answer {
    let (head, body) = request.into_parts();
    let mut shown = Vec::new();
    let length = intake::visit(body, u64::MAX, |piece| {
        let room = (SHOWN_BYTES_MAX + 1).saturating_sub(shown.len());
        shown.extend(piece.iter().take(room));
    })
    .await;
    let Ok(length) = length else {
        return refuse(StatusCode::BAD_REQUEST, "the body broke off");
    };
    let taped = Taped::parse(tape, head.method.as_str());
    let exact = taped.is_some();
    let taped = taped.unwrap_or_else(|| Taped::from_parsed(&head));
    let body = if shown.len() <= SHOWN_BYTES_MAX { String::from_utf8(shown).ok() } else { None };
    Answer::json(
        StatusCode::OK,
        Media::Json,
        &json!({
            "method": head.method.as_str(),
            "target": taped.target,
            "version": format!("{:?}", head.version),
            "headers": taped.headers,
            "exact": exact,
            "body_length": length,
            "body": body.map_or(Value::Null, Value::String),
        }),
    )
}

fn refuse(status: StatusCode, why: &str) -> Answer {
    Answer::json(status, Media::Json, &json!({ "error": why }))
}

/// A request head as it stood on the wire: order, repetitions and the case of names kept.
#[derive(Debug, PartialEq, Eq)]
struct Taped {
    target: String,
    headers: Vec<(String, String)>,
}

impl Taped {
    /// Reads a head that hyper has found to be well formed. `None` if the tape holds another
    /// request's head, or only a part of this one's.
    fn parse(tape: &[u8], method: &str) -> Option<Taped> {
        let text = String::from_utf8_lossy(tape);
        let mut lines = text
            .split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'))
            .map(|line| line.strip_suffix('\r').unwrap_or(line))
            .skip_while(|line| line.is_empty());
        let mut words = lines.next()?.split(' ');
        if words.next()? != method {
            return None;
        }
        let target = words.next()?.to_owned();
        let mut headers = Vec::new();
        for line in lines {
            if line.is_empty() {
                return Some(Taped { target, headers });
            }
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
        None
    }

    /// The next best: names in lower case, equal ones together.
    fn from_parsed(head: &Parts) -> Taped {
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let headers = head.headers.iter().map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        Taped { target: target.to_owned(), headers: headers.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::Taped;

    #[test]
    fn a_head_is_read_as_it_stands() {
        let tape = b"\r\nPUT /a?b HTTP/1.1\r\nHost: x\r\nB: 1\r\nA:2 \r\nB: 3\r\n\r\nbody";
        let taped = Taped::parse(tape, "PUT").unwrap();
        assert_eq!(taped.target, "/a?b");
        let headers: Vec<_> =
            taped.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(headers, [("Host", "x"), ("B", "1"), ("A", "2"), ("B", "3")]);
    }

    #[test]
    fn another_or_an_unfinished_head_is_not_read() {
        assert_eq!(Taped::parse(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "PUT"), None);
        assert_eq!(Taped::parse(b"PUT / HTTP/1.1\r\nHost: x\r\n", "PUT"), None);
        assert_eq!(Taped::parse(b"", "PUT"), None);
    }
}
