//! Look-ups, of routes and of profiles, and the fields by which a write means something else.

use super::{REST, assert_findings, config, loaded};
use crate::config::protection::Reconcile;
use crate::config::resolve::Mode;
use crate::config::sources::Memory;
use crate::profile::when::Peek;
use http::HeaderMap;
use std::sync::Arc;

/// The look-up that others are a change of.
const LOOKUP: &str = "lookup = \"GET /orders/eid:{key}\"";
const ANSWERS: &str = "executed = { status = 200 }, not_executed = { status = 404 }";

/// A route with a vendor key, so that there is something to look up.
fn text(vendor: &str, route: &str) -> String {
    let vendor = format!("vendor_key = {{ path = \"eid\" }}\n{vendor}\nbase_url");
    format!("{}{route}\n", REST.replace("base_url", &vendor))
}

fn check(reconcile: &str, codes: &[&str]) {
    let marked = text("", &format!("reads = [\"POST /find/*\"]\nreconcile = {reconcile}"));
    assert_findings(&marked, codes, Memory::default(), Mode::Run);
}

fn of_route(vendor: &str, route: &str) -> Option<Arc<Reconcile>> {
    config(&text(vendor, route)).routes[0].protection.reconcile.clone()
}

#[test]
fn a_routes_own_comes_before_its_profiles() {
    let of_profile = of_route("profile = \"netsuite\"", "").expect("netsuite's");
    assert_eq!(&*of_profile.target, "/services/rest/record/v1/{5}/eid:{key}");
    assert!(of_profile.creates[0].matches("/services/rest/record/v1/salesOrder"));
    assert!(of_profile.executed.head_holds(200, &HeaderMap::new()));
    assert!(of_profile.not_executed.head_holds(404, &HeaderMap::new()));
    let line = format!("reconcile = {{ {LOOKUP}, {ANSWERS} }}");
    let own = of_route("profile = \"netsuite\"", &line).expect("its own");
    assert_eq!((&*own.method, &*own.target), ("GET", "/orders/eid:{key}"));
    assert!(own.creates.is_empty());
    assert_eq!(of_route("profile = \"stripe\"", ""), None);
}

#[test]
fn look_ups_that_can_be_asked() {
    for (lookup, more) in [
        ("GET /orders/{key}", ""),
        ("HEAD /{key}", ""),
        ("GET /a/{2}/eid:{key}/full", ""),
        ("GET /query?q=SELECT+Id+FROM+Order+WHERE+X__c='{key}'", ""),
        ("GET /find/{64}?id={key}&x=%20", ", creates = [\"/a/**\"]"),
        ("GET /find/{2}/{1}/{key}", ", creates = [\"/a/*\", \"/b/**\"]"),
        ("POST /find/{key}", ""),
    ] {
        let reconcile = format!("{{ lookup = \"{lookup}\", {ANSWERS}{more} }}");
        check(&reconcile, &[]);
    }
}

#[test]
fn look_ups_that_can_not() {
    for lookup in [
        "",
        "/orders/{key}",
        "GET",
        "GET orders/{key}",
        "GET /orders",
        "GET /orders/{5}",
        "DELETE /orders/{key}",
        "POST /orders/{key}",
        "get /orders/{key}",
        "GET /orders/{key",
        "GET /orders/key}{key}",
        "GET /orders/{Key}/{key}",
        "GET /orders/{}/{key}",
        "GET /orders/{0}/{key}",
        "GET /orders/{05}/{key}",
        "GET /orders/{+5}/{key}",
        "GET /orders/{65}/{key}",
        "GET /orders/{key}#x",
        "GET /orders/../{key}",
        "GET /orders//{key}",
        "GET /a b/{key}",
        "GET /%2F/{key}",
        "GET /a?q={key}%2",
        "GET /a?q=\u{e9}{key}",
        "GET https://other.example.com/{key}",
    ] {
        check(&format!("{{ lookup = ◆\"{lookup}\", {ANSWERS} }}"), &["bad-reconcile"]);
    }
}

#[test]
fn answers_that_prove_nothing() {
    for (answers, codes) in [
        ("executed = { status = 200 }, not_executed = ◆{ status = 200 }", &["bad-reconcile"][..]),
        ("executed = { status = \"2xx\" }, not_executed = ◆{ status = 204 }", &["bad-reconcile"]),
        ("executed = { status = 200 }, not_executed = ◆{ status = \"4xx\" }", &["bad-reconcile"]),
        ("executed = { status = 200 }, not_executed = ◆{ status = 503 }", &["bad-reconcile"]),
        (
            "executed = ◆{ status = [200, 429] }, not_executed = { status = 404 }",
            &["bad-reconcile"],
        ),
        (
            "executed = { status = 200, pointer = \"/items/0\" }, not_executed = ◆{ status = 200 }",
            &["bad-reconcile"],
        ),
        ("executed = ◆{ }, not_executed = { status = 404 }", &["bad-matcher"]),
        ("executed = { status = ◆\"ok\" }, not_executed = { status = 404 }", &["bad-matcher"]),
        ("executed = { status = 200 }, not_executed = ◆5", &["wrong-type"]),
    ] {
        check(&format!("{{ {LOOKUP}, {answers} }}"), codes);
    }
    check("◆◆◆{ }", &["missing-key"; 3]);
    check(&format!("◆{{ {LOOKUP}, executed = {{ status = 200 }} }}"), &["missing-key"]);
    check(&format!("{{ {LOOKUP}, ◆serched = 1, {ANSWERS} }}"), &["unknown-key"]);
}

#[test]
fn an_answer_to_a_look_up_may_hold_the_record() {
    let answers = "executed = { status = 200, pointer = \"/items/0/id\" }, \
                   not_executed = { status = 200, pointer = \"/totalResults\", equals = \"0\" }";
    let line = format!("reconcile = {{ {LOOKUP}, {answers} }}");
    let reconcile = of_route("", &line).expect("a look-up");
    let found = Peek::new(br#"{"totalResults":1,"items":[{"id":"7"}]}"#, true);
    let none = Peek::new(br#"{"totalResults":0,"items":[]}"#, true);
    let said =
        |peek| (reconcile.executed.body_holds(peek), reconcile.not_executed.body_holds(peek));
    assert_eq!((said(&found), said(&none)), ((true, false), (false, true)));
}

#[test]
fn what_is_never_looked_up() {
    for (lookup, more, codes) in [
        ("◆\"GET /x/{5}/eid:{key}\"", "", &["unused-reconcile"][..]),
        ("◆\"GET /{1}-{key}\"", "", &["unused-reconcile"]),
        ("◆\"GET /x/y?a={3}&b={key}\"", "", &["unused-reconcile"]),
        ("\"GET /x/{5}/{key}\"", ", creates = [\"/a/b/c/d/*\", ◆\"/a/b\"]", &["unused-reconcile"]),
        ("\"GET /x/{5}/{key}\"", ", creates = ◆[]", &["empty-list"]),
        ("\"GET /x/{1}/{key}\"", ", creates = [◆\"a\"]", &["bad-pattern"]),
    ] {
        check(&format!("{{ lookup = {lookup}, {ANSWERS}{more} }}"), codes);
    }
    let line = format!("reconcile = ◆{{ {LOOKUP}, {ANSWERS} }}\n");
    let keyless = |more: &str| format!("{REST}{more}{line}");
    let assert = |marked: &str, codes: &[&str]| {
        assert_findings(marked, codes, Memory::default(), Mode::Run);
    };
    assert(&keyless(""), &["unused-reconcile"]);
    let record = "idempotency_key_from = [\"body:/externalId\"]\n";
    assert(&keyless(record).replace('◆', ""), &[]);
    assert(&text("", &format!("methods = [\"GET\", \"PUT\"]\n{line}")), &["unused-reconcile"]);
    assert(&text("", &format!("methods = [\"GET\"]\n{line}")), &["idempotency-unused"]);
    assert(&text("", &format!("body_max = \"none\"\n{line}")), &["idempotency-unused"]);
}

#[test]
fn a_record_is_asked_for_by_nothing_but_its_name() {
    let netsuite = |key: &str, sources: &str| {
        let vendor = format!("profile = \"netsuite\"\n{key}\nbase_url");
        let route = format!("idempotency_key_from = [{sources}]\n");
        let text = format!("{}{route}", REST.replace("base_url", &vendor));
        config(&text).routes[0].protection.reconcile.is_some()
    };
    let job = "vendor_key = { header = \"X-NetSuite-Idempotency-Key\" }";
    let usual = "\"header:Idempotency-Key\"";
    for (key, sources, asked) in [
        ("", usual, true),
        ("", "\"body:/externalId\", \"header:x\"", true),
        ("", "\"body:/tranId\"", false),
        ("", "\"body:/externalId\", \"body:/tranId\"", false),
        ("vendor_key = { path = \"eid\" }", usual, true),
        // A key that names a record is not mapped: the vendor would be asked for another name.
        ("vendor_key = { path = \"eid\" }", "\"body:/tranId\"", false),
        ("vendor_key = { body = \"/externalId\" }", usual, true),
        ("vendor_key = { body = \"/memo\" }", usual, false),
        ("vendor_key = { path = \"id\" }", usual, false),
        (job, usual, false),
    ] {
        assert_eq!(netsuite(key, sources), asked, "{key} {sources}");
    }
    let own = |more: &str| format!("reconcile = ◆{{ {LOOKUP}, {ANSWERS}{more} }}\n");
    let by_header = REST.replace("base_url", "vendor_key = { header = \"X-Key\" }\nbase_url");
    for (place, code) in [
        ("", "unsure-reconcile"),
        (", sent_in = [\"path:eid:*\"]", "unused-reconcile"),
        (", sent_in = [\"header:X-Key\"]", ""),
    ] {
        let marked = format!("{by_header}{}", own(place));
        let (marked, codes) = match code {
            "" => (marked.replace('◆', ""), &[][..]),
            _ => (marked, &[code][..]),
        };
        assert_findings(&marked, codes, Memory::default(), Mode::Run);
    }
    check(&format!("{{ {LOOKUP}, {ANSWERS}, sent_in = ◆[] }}"), &["empty-list"]);
    check(&format!("{{ {LOOKUP}, {ANSWERS}, sent_in = [◆\"eid\"] }}"), &["bad-key-source"]);
}

#[test]
fn a_profile_of_ones_own_says_all_three() {
    let profiled = REST.replace("base_url", "profile = \"mine.toml\"\nbase_url");
    let read = |profile: &str| {
        let sources = Memory::default().with("mine.toml", profile);
        loaded(&profiled, sources, Mode::Run)
    };
    let good = format!(
        "semantic_headers = [\"If-Match\", \"X-Mode\"]\nvendor_key = {{ query = \"id\" }}\n\
         reconcile = {{ {LOOKUP}, {ANSWERS} }}\n"
    );
    let config = read(&good).config.expect("nothing is wrong");
    assert_eq!(config.vendors[0].profile.semantic_headers, ["if-match", "x-mode"]);
    assert!(config.vendors[0].vendor_key.is_some());
    assert!(config.routes[0].protection.reconcile.is_some());
    let urls = crate::config::BaseUrl::parse("http://127.0.0.1:7070").expect("a URL");
    let redirected = config.with_vendor_urls(&|_| Some(urls.clone()));
    assert!(redirected.vendors[0].reconcile.is_some());
    let bad = format!(
        "semantic_headers = [\"a b\", \"Date\", \"Idempotency-Key\"]\n\
         vendor_key = {{ path = \"/\" }}\n\
         reconcile = {{ lookup = \"POST /find/{{key}}\", {ANSWERS} }}\n"
    );
    let found: Vec<_> = read(&bad).problems.iter().map(|p| (p.code, p.line, p.column)).collect();
    assert_eq!(
        found,
        [
            ("bad-field-name", 1, 21),
            ("bad-field-name", 1, 28),
            ("bad-field-name", 1, 36),
            ("bad-vendor-key", 2, 23),
            ("bad-reconcile", 3, 24),
        ]
    );
}

#[test]
fn shipped_profiles_know_what_changes_a_write() {
    for (name, field) in [
        ("generic", "if-match"),
        ("generic", "prefer"),
        ("acumatica", "if-match"),
        ("netsuite", "prefer"),
        ("netsuite", "soapaction"),
        ("salesforce", "sforce-duplicate-rule-header"),
        ("stripe", "stripe-account"),
        ("stripe", "stripe-version"),
    ] {
        let config = config(&REST.replace("base_url", &format!("profile = \"{name}\"\nbase_url")));
        let known = &config.vendors[0].profile.semantic_headers;
        assert!(known.iter().any(|known| known == field), "{name} {field}");
    }
}
