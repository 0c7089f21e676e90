//! Whatever comes from outside: no parser of it panics, and what each one lets through keeps its
//! promise.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::string_slice, clippy::unwrap_used)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use erpgate::config::BaseUrl;
use erpgate::config::problem::Severity;
use erpgate::config::resolve::{Mode, load};
use erpgate::config::sources::Memory;
use erpgate::gateway::request_line::RequestLine;
use erpgate::model::path::PathPattern;
use erpgate::model::percent::{self, decode as percent_decode};
use erpgate::model::{query, size, time};
use erpgate::stages::authentication::accept::Accept;
use erpgate::stages::authentication::keys::{self, KeySet};
use erpgate::stages::authentication::presented::{self, Places};
use erpgate::stages::authentication::{api_key, jwt, opaque};
use erpgate::stages::authorization::query::Parameter;
use erpgate::stages::authorization::{query as authorized, target};
use erpgate::stages::correlation::{CORRELATION_ID, Entropy, correlate, trace};
use erpgate::stages::forwarding::links::{self, Place};
use erpgate::stages::rate_limit;
use erpgate::stages::record::{Record, line, loggable_target};
use erpgate::stages::validation::path::{AllowInPath, check};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::string::string_regex;
use std::path::Path;
use std::time::SystemTime;

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

    /// A vendor's `RateLimit` is read as a whole or not at all, and its strictest member counts.
    #[test]
    fn what_a_vendor_leaves(
        octets in "[\\x20-\\x7e]{0,60}",
        lefts in vec(any::<u32>(), 1..5),
        cut in any::<proptest::sample::Index>(),
    ) {
        rate_limit::vendors_left(&octets);
        let members: Vec<String> =
            lefts.iter().enumerate().map(|(n, left)| format!("\"p{n}\";t=1;r={left}")).collect();
        let field = members.join(", ");
        let least = lefts.iter().min().map(|least| u64::from(*least));
        prop_assert_eq!(rate_limit::vendors_left(&field).map(|left| left.requests), least);
        rate_limit::vendors_left(&field[..cut.index(field.len())]);
    }

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

/// JSON of any shape, as an issuer could answer.
fn json() -> impl Strategy<Value = String> {
    let leaf = r#"(null|true|1|-1e9|"(a|RSA|EC|sig|RS256|AQAB|é)?")"#;
    let name = r#""(keys|kty|alg|kid|n|e|active|exp|iss|aud|scope|cnf)""#;
    let member = format!(r"{name}:({leaf}|\[{leaf}\])");
    let object = format!(r"\{{({member},){{0,5}}{member}\}}");
    let set = format!(r#"\{{"keys":\[{object}\]\}}"#);
    let noise = r#"[\[\]{}",:a-z0-9]{0,40}"#;
    string_regex(&format!("{object}|{set}|{noise}")).expect("a pattern")
}

fn policy() -> jwt::Policy {
    jwt::Policy {
        name: "idp".into(),
        issuer: None,
        audiences: Vec::new(),
        algorithms: keys::DEFAULT.to_vec(),
        accept: Accept::Plain,
        leeway: 30,
        client_claims: vec!["kid".to_owned(), "client_id".to_owned()],
        scope_claims: vec!["scope".to_owned()],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Whatever stands in the fields for credentials is read or refused.
    #[test]
    fn credentials_of_any_kind_are_read_or_refused(
        authorization in vec(field_value(), 0..3),
        typed in "(Bearer|bearer|Basic|basic|Digest)? {0,2}[a-zA-Z0-9._~+/=:-]{0,80}",
        key in field_value(),
        query in any::<String>(),
        passthrough in any::<bool>(),
    ) {
        let mut headers = HeaderMap::new();
        headers.append("authorization", HeaderValue::from_str(&typed).expect("legal"));
        authorization.into_iter().for_each(|value| { headers.append("authorization", value); });
        headers.append("x-api-key", key);
        let places = Places { passthrough, key_fields: &[] };
        let _ = presented::find(&headers, Some(&query), places);
        headers.remove("authorization");
        headers.append("authorization", HeaderValue::from_str(&typed).expect("legal"));
        let _ = presented::find(&headers, Some(&query), places);
        query::could_name(&query, &["access_token"]);
        let _ = api_key::digest(&typed);
    }

    /// No issuer's answer does harm, and none but an active one admits anybody.
    #[test]
    fn answers_of_issuers_are_read_or_refused(text in json(), octets in vec(any::<u8>(), 0..200)) {
        for answer in [text.as_bytes(), &octets] {
            let _ = KeySet::parse(answer, &keys::DEFAULT);
            if opaque::judge(answer, &policy(), 1_800_000_000).is_ok() {
                prop_assert!(text.contains("\"active\":true"), "{text}");
            }
        }
    }

    /// No text that nobody signed is a token.
    #[test]
    fn texts_are_no_tokens(header in json(), claims in json(), signature in "[a-zA-Z0-9_-]{0,90}") {
        let keys = KeySet::of_secret(&[7; 64], &[jsonwebtoken::Algorithm::HS256]);
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let token = format!("{}.{}.{signature}", encoded(&header), encoded(&claims));
        jwt::is_jwt(&token);
        if let Ok(unverified) = jwt::take_apart(&token) {
            let _ = unverified.issuer();
            let _ = unverified.check_header(&policy());
            prop_assert!(unverified.verify(&policy(), &keys, 1_800_000_000).is_err(), "{token}");
        }
    }

    /// Every reading of a path and a query is made without harm; what has to be there is not there
    /// and kept out at the same time only where readers may differ.
    #[test]
    fn rules_look_at_any_target(path in "/[ -~]{0,60}", query in any::<String>(), name in ".{0,4}", value in ".{0,4}") {
        target::exact(path.as_bytes());
        prop_assert!(!target::readings(path.as_bytes()).is_empty());
        let needed = [Parameter { name: name.clone(), value: value.clone() }];
        let plain = format!("{}={}", percent::encode(name.as_bytes()), percent::encode(value.as_bytes()));
        prop_assert!(authorized::allows(&needed, Some(&plain)) && authorized::denies(&needed, Some(&plain)));
        if authorized::allows(&needed, Some(&query)) {
            prop_assert!(authorized::denies(&needed, Some(&query)), "{query}");
        }
        let twice = format!("{plain}&{plain}");
        prop_assert!(!authorized::allows(&needed, Some(&twice)) && authorized::denies(&needed, Some(&twice)));
    }

    /// A policy file is a client's, or its problems are told.
    #[test]
    fn policies_of_any_kind_are_read_or_refused(
        lines in vec("(client|suspended|share|priority|rate|burst|daily|timezone|route|methods|paths|scopes|query|expires|issuer|client_id|api_key_sha256|certificate_san) = (\"[ -~&&[^\"\\\\]]{0,12}\"|[0-9]{1,6}|\\[\\]|\\[\"(/a/\\*\\*|GET|x)\"\\]|\\{ a = \"1\" \\}|2026-0[1-9]-1[0-9])|\\[(limits)\\]|\\[\\[(identity|allow|deny)\\]\\]", 0..12),
        text in any::<String>(),
    ) {
        let gateway = "[[listener]]\naddress = \"127.0.0.1:0\"\n[vendors.v]\nbase_url = \"https://v.test\"\n\
                       [[route]]\nname = \"r\"\npath = \"/v\"\nvendor = \"v\"\n";
        for policy in [lines.join("\n"), text] {
            for file in ["policies/c.toml", "policies/_all.toml"] {
                let sources = Memory::default().with("gateway.toml", gateway).with(file, policy.as_str());
                let loaded = load(Path::new("gateway.toml"), &sources, Mode::Check, SystemTime::now());
                let refused = loaded.problems.iter().any(|found| found.severity == Severity::Problem);
                prop_assert_eq!(loaded.config.is_none(), refused);
                loaded.human();
            }
        }
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
