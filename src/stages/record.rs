//! Decides what is written down of a request: one JSON line, and the labels of its metrics.
//!
//! Never holds a secret: no field value of a request or answer but the ids, no body, and of the
//! query only what the rules leave.

use crate::model::{percent, query};
use crate::stages::authentication::api_key;
use http::StatusCode;
use serde::Serialize;

/// One request, as the access log shows it. Members that are not known are left out.
#[derive(Debug, Default, Serialize)]
pub struct Record<'a> {
    /// When it ended, RFC 3339 in UTC.
    pub time: &'a str,
    /// Always `request`.
    pub event: &'static str,
    /// The id in `X-Correlation-ID`.
    pub correlation_id: &'a str,
    /// The client's own id, escaped, where it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_correlation_id: Option<&'a str>,
    /// The trace that it belongs to.
    pub trace_id: &'a str,
    /// Who called; `unknown` where nobody was let in.
    pub client: &'a str,
    /// The client's address, as the trusted proxies tell it.
    pub address: &'a str,
    /// The listener that it came in by.
    pub listener: &'a str,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'static str,
    /// The route, `unknown` where none was found.
    pub route: &'a str,
    /// The rule that allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'a str>,
    /// The vendor, where one was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<&'a str>,
    /// As received.
    pub method: &'a str,
    /// Path and query, the query redacted.
    pub path: &'a str,
    /// What the client was answered; 0: it left before.
    pub status: u16,
    /// What the idempotency key met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<&'static str>,
    /// Slug of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<&'static str>,
    /// The stage that refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<&'static str>,
    /// What kept the answer from being complete, for operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// Attempts at the vendor.
    pub attempts: u32,
    /// Waiting for a turn at the vendor, in milliseconds.
    pub queue_ms: f64,
    /// Milliseconds from the vendor being asked to the head of its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_ms: Option<f64>,
    /// Milliseconds from the head of the request to the end of the answer.
    pub total_ms: f64,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// The vendor's own id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_request_id: Option<&'a str>,
    /// A vendor's own value of `X-Correlation-ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_correlation_id: Option<&'a str>,
}

/// One decision about who may do what, as the audit log shows it. It never holds the credential.
#[derive(Debug, Default, Serialize)]
pub struct Decision<'a> {
    /// When it was made, RFC 3339 in UTC.
    pub time: &'a str,
    /// Always `audit`.
    pub event: &'static str,
    /// Always `access`.
    pub action: &'static str,
    /// `allowed` or `refused`.
    pub result: &'static str,
    /// The request's id.
    pub correlation_id: &'a str,
    /// The client, `unknown` where none was found.
    pub client: &'a str,
    /// How it proved who it is, or tried to.
    pub scheme: &'static str,
    /// Whose the credential says that it is: an issuer and its client, or the beginning of a
    /// digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<&'a str>,
    /// The client's address, as the trusted proxies tell it.
    pub address: &'a str,
    /// The listener that it came in by.
    pub listener: &'a str,
    /// The route.
    pub route: &'a str,
    /// As received.
    pub method: &'a str,
    /// Path and query, the query redacted.
    pub path: &'a str,
    /// The rule that allows it, denies it, or lacks a scope: file and line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'a str>,
    /// Slug of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<&'static str>,
    /// Why it is refused: a stable word, of which the client is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What the author of the rule wrote beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_reason: Option<&'a str>,
}

/// A record as one line, without its end: JSON escapes every control character.
pub fn line(record: &impl Serialize) -> Vec<u8> {
    let mut line = Vec::with_capacity(1024);
    // Writing numbers and strings to memory can't fail.
    let _ = serde_json::to_writer(&mut line, record);
    line
}

/// Path and query as they may be logged: the values of redacted parameters are replaced, and API
/// keys wherever they stand.
pub fn loggable_target(path: &str, query: Option<&str>, redacted: &[String]) -> String {
    let mut target = path.to_owned();
    if let Some(query) = query {
        target.push('?');
        for piece in query.split_inclusive(['&', ';']) {
            let (pair, separator) = match piece.strip_suffix(['&', ';']) {
                Some(pair) => (pair, piece.get(pair.len()..).unwrap_or_default()),
                None => (piece, ""),
            };
            match pair.split_once('=') {
                Some((name, _)) if is_redacted(name, redacted) => {
                    target.push_str(name);
                    target.push_str("=REDACTED");
                }
                _ => target.push_str(pair),
            }
            target.push_str(separator);
        }
    }
    without_keys(target)
}

/// By a rule's name, or by how signed URLs of two clouds begin their parameters.
fn is_redacted(name: &str, redacted: &[String]) -> bool {
    let decoded = percent::decode(name);
    let begins = |beginning: &[u8]| {
        decoded.get(..beginning.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(beginning))
    };
    query::could_name(name, redacted) || begins(b"x-amz-") || begins(b"x-goog-")
}

/// Whoever puts an API key into a path or a parameter does not find it in the log.
fn without_keys(target: String) -> String {
    if !target.contains(api_key::PREFIX) {
        return target;
    }
    let mut parts = target.split(api_key::PREFIX);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        kept.push_str(api_key::PREFIX);
        kept.push_str(if rest.len() < part.len() { "REDACTED" } else { "" });
        kept.push_str(rest);
    }
    kept
}

/// The status as a metric label: the code if it is registered, else its class as `Nxx`; `none`
/// for a client that left before it was answered.
pub fn status_label(status: Option<&StatusCode>) -> &str {
    let Some(status) = status else { return "none" };
    if status.canonical_reason().is_some() {
        return status.as_str();
    }
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_whatever_it_holds() {
        let record = Record {
            event: "request",
            path: "/a\r\n{\"event\":\"audit\"}\u{1b}[31m",
            client: "unknown",
            ..Record::default()
        };
        let line = String::from_utf8(line(&record)).expect("JSON is UTF-8");
        assert!(!line.contains(['\r', '\n', '\u{1b}']), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).expect("valid JSON");
        assert_eq!(read["path"], record.path);
        assert!(read.get("refusal").is_none());
    }

    #[test]
    fn secrets_in_the_query_are_redacted() {
        let redacted = ["mine", "token", "access_token"].map(str::to_owned);
        for (query, expected) in [
            ("a=1&token=abc&b=2", "/p?a=1&token=REDACTED&b=2"),
            ("Access_Token=x", "/p?Access_Token=REDACTED"),
            ("%74oken=x", "/p?%74oken=REDACTED"),
            ("mine=1&yours=2", "/p?mine=REDACTED&yours=2"),
            ("X-Amz-Signature=1", "/p?X-Amz-Signature=REDACTED"),
            ("token", "/p?token"),
            ("a=1;token=abc;b=2", "/p?a=1;token=REDACTED;b=2"),
            (
                "token[]=a&+token=b&token%5B0%5D=c",
                "/p?token[]=REDACTED&+token=REDACTED&token%5B0%5D=REDACTED",
            ),
            ("k=egk_abc123&x=egk_", "/p?k=egk_REDACTED&x=egk_"),
        ] {
            assert_eq!(loggable_target("/p", Some(query), &redacted), expected);
        }
        assert_eq!(loggable_target("/p", None, &redacted), "/p");
        assert_eq!(loggable_target("/p/egk_abc/x", None, &redacted), "/p/egk_REDACTED/x");
    }

    #[test]
    fn status_labels_are_bounded() {
        for (status, label) in
            [(204, "204"), (451, "451"), (511, "511"), (299, "2xx"), (555, "5xx")]
        {
            assert_eq!(status_label(StatusCode::from_u16(status).ok().as_ref()), label);
        }
        assert_eq!(status_label(None), "none");
    }
}
