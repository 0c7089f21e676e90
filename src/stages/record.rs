//! Decides what is written down of a request: one JSON line, and the labels of its metrics.
//!
//! Never holds a secret: no field value of a request or answer but the ids, no body, and of the
//! query only what the rules leave.

use super::validation::path::percent_decode;
use serde::Serialize;

/// Query parameters whose values are never logged, whatever the configuration says: names that
/// commonly carry credentials or signatures (OpenTelemetry `url.query` and ours).
const ALWAYS_REDACTED: [&str; 16] = [
    "access_token",
    "api_key",
    "apikey",
    "assertion",
    "client_assertion",
    "client_secret",
    "code",
    "id_token",
    "key",
    "oauth_signature",
    "password",
    "refresh_token",
    "secret",
    "sig",
    "signature",
    "token",
];

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
    /// Who called; without authentication there is nobody to name.
    pub client: &'a str,
    /// The client's address, as the trusted proxies tell it.
    pub address: &'a str,
    /// The listener that it came in by.
    pub listener: &'a str,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'static str,
    /// The route, `unknown` where none was found.
    pub route: &'a str,
    /// The vendor, where one was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<&'a str>,
    /// As received.
    pub method: &'a str,
    /// Path and query, the query redacted.
    pub path: &'a str,
    /// What the client was answered; 0: it left before.
    pub status: u16,
    /// Slug of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<&'static str>,
    /// The stage that refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<&'static str>,
    /// What kept the answer from being complete, for operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// Tries at the vendor.
    pub attempts: u32,
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

impl Record<'_> {
    /// The record as one line, without its end: JSON escapes every control character.
    pub fn line(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(512);
        // Writing numbers and strings to memory can't fail.
        let _ = serde_json::to_writer(&mut line, self);
        line
    }
}

/// Path and query as they may be logged: the values of redacted parameters are replaced.
pub fn loggable_target(path: &str, query: Option<&str>, redacted: &[String]) -> String {
    let mut target = path.to_owned();
    let Some(query) = query else { return target };
    for (index, pair) in query.split('&').enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if is_redacted(name, redacted) => {
                target.push_str(name);
                target.push_str("=REDACTED");
            }
            _ => target.push_str(pair),
        }
    }
    target
}

fn is_redacted(name: &str, redacted: &[String]) -> bool {
    let decoded = percent_decode(name);
    let is = |rule: &str| decoded.eq_ignore_ascii_case(rule.as_bytes());
    ALWAYS_REDACTED.iter().any(|rule| is(rule))
        || redacted.iter().any(|rule| is(rule))
        || decoded.to_ascii_lowercase().starts_with(b"x-amz-")
        || decoded.to_ascii_lowercase().starts_with(b"x-goog-")
}

/// The status as a metric label: the code if it is registered, else its class as `Nxx`; 0, a
/// client that left before it was answered, is `none`.
pub fn status_label(status: u16) -> &'static str {
    const REGISTERED: [(u16, &str); 47] = [
        (200, "200"),
        (201, "201"),
        (202, "202"),
        (203, "203"),
        (204, "204"),
        (205, "205"),
        (206, "206"),
        (207, "207"),
        (208, "208"),
        (226, "226"),
        (300, "300"),
        (301, "301"),
        (302, "302"),
        (303, "303"),
        (304, "304"),
        (307, "307"),
        (308, "308"),
        (400, "400"),
        (401, "401"),
        (402, "402"),
        (403, "403"),
        (404, "404"),
        (405, "405"),
        (406, "406"),
        (407, "407"),
        (408, "408"),
        (409, "409"),
        (410, "410"),
        (411, "411"),
        (412, "412"),
        (413, "413"),
        (414, "414"),
        (415, "415"),
        (416, "416"),
        (417, "417"),
        (421, "421"),
        (422, "422"),
        (423, "423"),
        (424, "424"),
        (428, "428"),
        (429, "429"),
        (431, "431"),
        (500, "500"),
        (501, "501"),
        (502, "502"),
        (503, "503"),
        (504, "504"),
    ];
    if let Ok(found) = REGISTERED.binary_search_by_key(&status, |(code, _)| *code) {
        return REGISTERED.get(found).map_or("none", |(_, label)| label);
    }
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "none",
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
        let line = String::from_utf8(record.line()).expect("JSON is UTF-8");
        assert!(!line.contains(['\r', '\n', '\u{1b}']), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).expect("valid JSON");
        assert_eq!(read["path"], record.path);
        assert!(read.get("refusal").is_none());
    }

    #[test]
    fn secrets_in_the_query_are_redacted() {
        let redacted = ["mine".to_owned()];
        for (query, expected) in [
            ("a=1&token=abc&b=2", "/p?a=1&token=REDACTED&b=2"),
            ("Access_Token=x", "/p?Access_Token=REDACTED"),
            ("%74oken=x", "/p?%74oken=REDACTED"),
            ("mine=1&yours=2", "/p?mine=REDACTED&yours=2"),
            ("X-Amz-Signature=1", "/p?X-Amz-Signature=REDACTED"),
            ("token", "/p?token"),
        ] {
            assert_eq!(loggable_target("/p", Some(query), &redacted), expected);
        }
        assert_eq!(loggable_target("/p", None, &redacted), "/p");
    }

    #[test]
    fn status_labels_are_bounded() {
        assert_eq!(status_label(204), "204");
        assert_eq!(status_label(299), "2xx");
        assert_eq!(status_label(555), "5xx");
        assert_eq!(status_label(0), "none");
    }
}
