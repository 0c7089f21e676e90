//! Keys in every spelling and from every place.

use super::*;
use http::HeaderValue;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");

fn sources(typed: &[&str]) -> Vec<Source> {
    typed.iter().map(|typed| Source::parse(typed).expect(typed)).collect()
}

fn post<'a>(headers: &'a HeaderMap, path: &'a str, body: &'a str) -> Write<'a> {
    Write { method: "POST", path, query: None, headers, body: body.as_bytes() }
}

/// The key, or the slug of the refusal.
fn outcome(found: Result<Option<Key>, Refusal>) -> Result<Option<String>, &'static str> {
    found.map(|key| key.map(|key| key.value().to_owned())).map_err(|refusal| refusal.slug())
}

fn of_header(values: &[&[u8]]) -> Result<Option<String>, &'static str> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(KEY, HeaderValue::from_bytes(value).expect("a value"));
    }
    outcome(read(&[Source::Header(KEY)], true, &post(&headers, "/", "")))
}

const INVALID: Result<Option<&str>, &str> = Err("idempotency-key-invalid");
const MISSING: Result<Option<&str>, &str> = Err("idempotency-key-missing");

fn borrowed<'a>(
    outcome: &'a Result<Option<String>, &'static str>,
) -> Result<Option<&'a str>, &'static str> {
    outcome.as_ref().map(Option::as_deref).map_err(|slug| *slug)
}

#[test]
fn fields_are_read_as_the_contract_says() {
    let long = "k".repeat(CHARACTERS_MAX);
    let longer = format!("{long}k");
    let (long_quoted, longer_quoted) = (format!("\"{long}\""), format!("\"{longer}\""));
    let escaped = format!("\"{}\"", "\\\"".repeat(CHARACTERS_MAX));
    let uuid = "8e03978e-40d5-43e8-bc93-6894a57f9324";
    for (value, expected) in [
        // IDEM-01, IDEM-02: both spellings, one key.
        ("\"8e03978e-40d5-43e8-bc93-6894a57f9324\"", Ok(Some(uuid))),
        (uuid, Ok(Some(uuid))),
        ("\"abc\"", Ok(Some("abc"))),
        ("abc", Ok(Some("abc"))),
        (" \t\"abc\" ", Ok(Some("abc"))),
        ("a", Ok(Some("a"))),
        ("a,b;c=d", Ok(Some("a,b;c=d"))),
        ("a\\b", Ok(Some("a\\b"))),
        ("\"a\\\\b\"", Ok(Some("a\\b"))),
        ("\"a\\\"b\"", Ok(Some("a\"b"))),
        ("\"a b\"", Ok(Some("a b"))),
        ("'abc'", Ok(Some("'abc'"))),
        (&long, Ok(Some(long.as_str()))),
        (&long_quoted, Ok(Some(long.as_str()))),
        // IDEM-03.
        ("\"\"", INVALID),
        ("", INVALID),
        ("   ", INVALID),
        (&longer, INVALID),
        (&longer_quoted, INVALID),
        ("a b", INVALID),
        ("a\tb", INVALID),
        ("a, b", INVALID),
        ("a\"b", INVALID),
        ("abc\"", INVALID),
        ("\"abc", INVALID),
        ("\"abc\\", INVALID),
        ("\"abc\\\"", INVALID),
        ("\"a\\bc\"", INVALID),
        ("\"abc\";v=1", INVALID),
        ("\"abc\" ;v=1", INVALID),
        ("\"a\", \"b\"", INVALID),
        ("(\"abc\")", INVALID),
        ("\"a\tb\"", INVALID),
        ("clé", INVALID),
        ("\"clé\"", INVALID),
    ] {
        let found = of_header(&[value.as_bytes()]);
        assert_eq!(borrowed(&found), expected, "{value}");
    }
    let quotes = "\"".repeat(CHARACTERS_MAX);
    assert_eq!(of_header(&[escaped.as_bytes()]), Ok(Some(quotes)), "escapes do not count");
    assert_eq!(borrowed(&of_header(&[b"a\xff"])), INVALID);
    assert_eq!(borrowed(&of_header(&[b"a", b"a"])), INVALID, "twice, though the same");
    assert_eq!(borrowed(&of_header(&[b"a", b""])), INVALID);
    // IDEM-04.
    assert_eq!(borrowed(&of_header(&[])), MISSING);
}

/// Strings that RFC 9651's own tests (httpwg `string.json`) hold to be none.
#[test]
fn the_working_groups_bad_strings_are_refused() {
    for value in
        ["\"foo ", "\"foo \t \"", "\" \\\\ \\x \"", "\"\\", "\"\\\"", "\"füü\"", "\"a\" \"b\""]
    {
        assert_eq!(borrowed(&of_header(&[value.as_bytes()])), INVALID, "{value}");
    }
}

#[test]
fn places_are_looked_at_in_order() {
    let all = ["header:Idempotency-Key", "header:X-Request", "query:requestid", "body:/externalId"];
    let all = sources(&all);
    let header = |name: &'static str, value: &'static str| {
        let name = HeaderName::from_static(name);
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    };
    let none = HeaderMap::new();
    let body = r#"{"externalId":"B-1"}"#;
    let mut both = header("idempotency-key", "h");
    both.extend(header("x-request", "x"));
    for (method, headers, query, body, expected) in [
        ("POST", &both, Some("requestid=q"), body, Ok(Some("h"))),
        ("POST", &header("x-request", "\"x\""), Some("requestid=q"), body, Ok(Some("x"))),
        ("POST", &none, Some("a=b&requestid=q%20%C3%BC"), body, Ok(Some("q ü"))),
        ("POST", &none, Some("RequestID=q"), body, Ok(Some("B-1"))),
        ("POST", &none, None, body, Ok(Some("B-1"))),
        ("POST", &none, None, r#"{"externalId":null}"#, MISSING),
        // What is there has to be a key: nothing further on stands in for it.
        ("POST", &header("idempotency-key", "a b"), None, body, INVALID),
        ("POST", &none, Some("requestid="), body, INVALID),
        ("POST", &none, Some("requestid=q&requestid=q"), body, INVALID),
        ("POST", &none, Some("requestid=q;RequestID=r"), body, INVALID),
        ("POST", &none, Some("requestid=%FF"), body, INVALID),
        ("POST", &none, Some("requestid=a%0Ab"), body, INVALID),
        ("POST", &none, None, r#"{"externalId":{}}"#, INVALID),
        ("POST", &none, None, r#"{"externalId":"a","externalId":"a"}"#, INVALID),
        // A later update of a record is a new write, never a replay.
        ("PATCH", &none, None, body, MISSING),
        ("PUT", &none, Some("requestid=q"), body, Ok(Some("q"))),
        ("DELETE", &both, None, "", Ok(Some("h"))),
    ] {
        let write = Write { method, path: "/r", query, headers, body: body.as_bytes() };
        let found = outcome(read(&all, true, &write));
        assert_eq!(borrowed(&found), expected, "{method} {query:?} {body}");
    }
    let plain = post(&none, "/r", "");
    assert_eq!(read(&all, false, &plain), Ok(None));
    assert_eq!(read(&[], true, &plain), Err(Refusal::IdempotencyKeyMissing));
}

#[test]
fn a_record_brings_its_method_and_path_along() {
    let none = HeaderMap::new();
    let from = sources(&["path:eid:*", "body:/externalId"]);
    let key = |path: &str, body: &str| read(&from, true, &post(&none, path, body));
    for (path, expected) in [
        ("/record/v1/vendorBill/eid:INV-7", Ok(Some("INV-7"))),
        ("/record/v1/vendorBill/eid%3AINV%207", Ok(Some("INV 7"))),
        ("/record/eid:a%2Fb/lines", Ok(Some("a/b"))),
        ("/record/eid:", MISSING),
        ("/record/xeid:7", MISSING),
        ("/record/EID:7", MISSING),
        ("/record/%FF", MISSING),
        ("/record/eid:a/eid:b", INVALID),
        ("/record/eid:%FF", INVALID),
        ("/record/eid:%00", INVALID),
    ] {
        assert_eq!(borrowed(&outcome(key(path, ""))), expected, "{path}");
    }
    let long = format!("/eid:{}", "ü".repeat(CHARACTERS_MAX));
    assert!(key(&long, "").is_ok());
    assert!(key(&format!("{long}x"), "").is_err());

    let body = r#"{"externalId":"7"}"#;
    let (bills, orders) = (key("/bill", body), key("/order", body));
    assert_ne!(bills, orders, "one id in two places is two keys");
    assert_eq!(bills, key("/bill", r#"{"externalId":7}"#));
    let bill = bills.expect("valid").expect("there");
    assert_eq!(
        bill.record().map(|record| (&*record.method, &*record.path)),
        Some(("POST", "/bill"))
    );
    let headers = HeaderMap::from_iter([(KEY, HeaderValue::from_static("7"))]);
    let requests = read(&sources(&["header:Idempotency-Key"]), true, &post(&headers, "/bill", ""));
    let request = requests.expect("valid").expect("there");
    assert_eq!(request.record(), None);
    assert_ne!(request, bill);
    assert!(!format!("{bill:?}").contains('7'), "keys are not shown");
}

#[test]
fn places_are_typed_in_files() {
    for (typed, expected) in [
        ("header:Idempotency-Key", Some(Source::Header(KEY))),
        ("query:requestid", Some(Source::Query("requestid".into()))),
        ("body:/a/0", Pointer::parse("/a/0").ok().map(Source::Body)),
        ("path:eid:*", Some(Source::Path("eid:".into()))),
        ("header:", None),
        ("header:a b", None),
        ("query:", None),
        ("body:a", None),
        ("path:eid:", None),
        ("path:*", None),
        ("path:a/*", None),
        ("cookie:a", None),
        ("Idempotency-Key", None),
        ("", None),
    ] {
        let found = Source::parse(typed);
        assert_eq!(found.ok(), expected, "{typed}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(
        method in "(POST|PUT|[A-Z]*)",
        path in any::<String>(),
        query in any::<Option<String>>(),
        values in proptest::collection::vec(any::<Vec<u8>>(), 0..3),
        body in any::<Vec<u8>>(),
    ) {
        let mut headers = HeaderMap::new();
        for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
            headers.append(KEY, value);
        }
        let query = query.as_deref();
        let write = Write { method: &method, path: &path, query, headers: &headers, body: &body };
        let all = sources(&["header:Idempotency-Key", "query:a", "body:/a", "path:e*"]);
        if let Ok(Some(key)) = read(&all, true, &write) {
            let characters = key.value().chars().count();
            prop_assert!((1..=CHARACTERS_MAX).contains(&characters));
        }
    }

    /// Whatever can be written in both spellings is one key.
    #[test]
    fn two_spellings_are_one_key(key in "[!#-~]{1,255}") {
        let quoted = format!("\"{}\"", key.replace('\\', "\\\\"));
        let found = of_header(&[key.as_bytes()]);
        prop_assert_eq!(&found, &of_header(&[quoted.as_bytes()]));
        prop_assert_eq!(found, Ok(Some(key)));
    }
}
