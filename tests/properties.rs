//! Whatever comes from outside: no parser of it panics, and what each one lets through keeps its
//! promise.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::string_slice, clippy::unwrap_used)]

use erpgate::config::BaseUrl;
use erpgate::gateway::request_line::RequestLine;
use erpgate::model::path::PathPattern;
use erpgate::model::percent::decode as percent_decode;
use erpgate::model::{size, time};
use erpgate::stages::correlation::{CORRELATION_ID, Entropy, correlate, trace};
use erpgate::stages::forwarding::links::{self, Place};
use erpgate::stages::record::{Record, line, loggable_target};
use erpgate::stages::validation::path::{AllowInPath, check};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};

const ENTROPY: Entropy = Entropy { id: *b"0192f0c1-2345-7abc-8def-0123456789ab", trace_id: 7 };

fn field_value() -> impl Strategy<Value = HeaderValue> {
    vec(any::<u8>(), 0..80).prop_filter_map("legal", |octets| HeaderValue::from_bytes(&octets).ok())
}

fn base() -> BaseUrl {
    BaseUrl::parse("https://vendor.test/api").expect("a base URL")
}

const PLACE: Place<'static> = Place { https: true, authority: "gw.test", prefix: "/v" };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// An id that is passed on can stand in a field, a URN and a log line.
    #[test]
    fn correlation_ids_are_harmless(ids in vec(field_value(), 0..3)) {
        let mut headers = HeaderMap::new();
        for id in ids {
            headers.append(CORRELATION_ID, id);
        }
        let correlation = correlate(&headers, ENTROPY);
        let id = correlation.id();
        prop_assert!((8..=128).contains(&id.len()));
        prop_assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b)));
        prop_assert!(correlation.refused().is_none_or(|refused| refused.is_ascii()));
    }

    /// Whatever a client sends, the vendor gets a valid `traceparent` (W3C §3.2).
    #[test]
    fn traces_are_always_valid(parent in field_value(), state in field_value(), next in any::<u64>()) {
        let mut headers = HeaderMap::new();
        headers.insert(trace::TRACEPARENT, parent);
        headers.insert(trace::TRACESTATE, state);
        let correlation = correlate(&headers, ENTROPY);
        let sent = correlation.trace().parent(next).expect("a field value");
        let mut again = HeaderMap::new();
        again.insert(trace::TRACEPARENT, sent);
        let read = correlate(&again, Entropy { trace_id: 99, ..ENTROPY });
        prop_assert_eq!(read.trace().id(), correlation.trace().id());
    }

    /// No link that is rewritten leads anywhere but below the route.
    #[test]
    fn rewritten_links_stay_on_the_gateway(
        link in "(https?:)?(//)?(vendor\\.test|evil\\.test|[@:])?(:443|:80)?(/|/api|\\\\|\\.\\.|%2e|;|[a-z?#])*"
    ) {
        for prefix in ["/v", ""] {
            let place = Place { prefix, ..PLACE };
            let Some(rewritten) = links::rewrite(&link, &base(), place) else { continue };
            prop_assert!(!rewritten.starts_with("//"), "{link} → {rewritten}");
            let path = rewritten.split(['?', '#']).next().unwrap();
            if path.contains("://") {
                let home = format!("https://gw.test{prefix}");
                prop_assert!(rewritten.starts_with(&home), "{link} → {rewritten}");
                prop_assert!(!rewritten.starts_with("https://gw.test@"), "{link} → {rewritten}");
            }
            prop_assert!(!path.contains('\\'), "{link} → {rewritten}");
        }
        links::rewrite_link_field(&link, &base(), PLACE);
    }

    /// One record is one line of JSON, whatever the request held.
    #[test]
    fn a_record_is_one_line(path in any::<String>(), query in any::<String>(), method in any::<String>()) {
        let target = loggable_target(&path, Some(&query), &[]);
        let record = Record { path: &target, method: &method, ..Record::default() };
        let line = String::from_utf8(line(&record)).expect("UTF-8");
        prop_assert!(!line.bytes().any(|b| b < 0x20));
        let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        prop_assert_eq!(read["path"].as_str(), Some(target.as_str()));
    }

    #[test]
    fn texts_of_any_kind_are_read_or_refused(text in any::<String>(), octets in vec(any::<u8>(), 0..200)) {
        let _ = check(&text, AllowInPath::default());
        let _ = check(&text, AllowInPath { encoded_slash: true, semicolon: true });
        prop_assert!(percent_decode(&text).len() <= text.len());
        let _ = time::parse_duration(&text);
        let _ = size::parse_size(&text);
        let _ = BaseUrl::parse(&text);
        let _ = RequestLine::default().takes(&octets);
        if let Ok(pattern) = PathPattern::parse(&format!("/{text}")) {
            pattern.matches(&text);
        }
        let _ = HeaderName::from_bytes(&octets);
    }

    /// `**` matches as a person would by trying every way.
    #[test]
    fn patterns_match_like_the_plain_definition(
        pattern in "(/(a|b|\\*|\\*\\*|a\\*)){1,5}", path in "(/(a|b|ab)?){1,6}"
    ) {
        let compiled = PathPattern::parse(&pattern).expect("a pattern");
        let wanted: Vec<&str> = pattern[1..].split('/').collect();
        let given: Vec<&str> = path[1..].split('/').collect();
        prop_assert_eq!(compiled.matches(&path), plainly(&wanted, &given), "{} on {}", pattern, path);
    }
}

/// The definition of INTERFACE §3, without any cleverness.
fn plainly(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => (0..=path.len()).any(|taken| plainly(rest, &path[taken..])),
        (Some((first, rest)), Some((segment, others))) => {
            let fits = match first.strip_suffix('*') {
                Some(beginning) => {
                    segment.len() > beginning.len() && segment.starts_with(beginning)
                }
                None => first == segment,
            };
            fits && plainly(rest, others)
        }
        _ => false,
    }
}
