//! The ledger, what routes say of keys, and what vendors are sent in their place.

use super::{REST, assert_findings, config, loaded};
use crate::config::protection::{Ambiguous, Place, Stores, VendorKey};
use crate::config::resolve::{Mode, needs_restart};
use crate::config::sources::Memory;
use crate::stages::authorization::rules::Idempotency;
use crate::stages::idempotency::key::Source;
use crate::stages::idempotency::vendor_key::Format;
use std::path::PathBuf;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// A route of its own, behind a vendor of which `vendor` says more.
fn text(vendor: &str, route: &str) -> String {
    format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[vendors.v]\n\
         base_url = \"https://v.example.com\"\n{vendor}\n\
         [[route]]\nname = \"r\"\npath = \"/v\"\nvendor = \"v\"\n{route}\n"
    )
}

fn check(marked: &str, codes: &[&str]) {
    assert_findings(marked, codes, Memory::default(), Mode::Run);
}

fn on_route(lines: &[(&str, &[&str])]) {
    for (line, codes) in lines {
        check(&text("", line), codes);
    }
}

#[test]
fn defaults() {
    let config = config(REST);
    let ledger = &config.ledger;
    assert_eq!((&ledger.path, ledger.create), (&PathBuf::from("data/ledger.db"), true));
    assert_eq!((ledger.retention, ledger.answer_retention), (DAY * 30, DAY * 7));
    assert_eq!((ledger.answer_bytes_max, &ledger.encryption_key), (1 << 20, &None));
    assert!(!config.watched.contains(&ledger.path), "it changes with every write");
    let protection = &config.routes[0].protection;
    let sources: Vec<String> = protection.sources.iter().map(Source::to_string).collect();
    assert_eq!(sources, ["header:idempotency-key"]);
    assert_eq!((protection.idempotency, protection.wait), (Idempotency::Optional, Duration::ZERO));
    assert_eq!((protection.ambiguous, protection.stores), (Ambiguous::Hold, Stores::All));
    assert!(protection.reconcile.is_none() && config.vendors[0].vendor_key.is_none());
}

#[test]
fn a_ledger_is_as_it_was_typed() {
    let ledger = |lines: &str| config(&format!("[ledger]\n{lines}\n{REST}")).ledger;
    let typed = ledger(
        "path = \"/var/l.db\"\ncreate = false\nretention = \"60d\"\nanswer_retention = \"60d\"\n\
         answer_max = \"64MiB\"",
    );
    assert_eq!((typed.path, typed.create), (PathBuf::from("/var/l.db"), false));
    assert_eq!((typed.retention, typed.answer_retention), (DAY * 60, DAY * 60));
    assert_eq!(typed.answer_bytes_max, 64 << 20);
    assert_eq!(ledger("retention = \"1d\"").answer_retention, DAY);
    for (line, codes) in [
        ("path = ◆\"\"", &["bad-path"][..]),
        ("path = ◆\"data/\"", &["bad-path"]),
        ("◆paht = \"x\"", &["unknown-key"]),
        ("create = ◆\"yes\"", &["wrong-type"]),
        ("retention = ◆\"0s\"", &["out-of-range"]),
        ("retention = ◆\"1y\"", &["bad-duration"]),
        ("answer_retention = ◆\"31d\"", &["out-of-range"]),
        ("retention = \"2d\"\nanswer_retention = ◆\"3d\"", &["out-of-range"]),
        ("answer_max = ◆\"1023B\"", &["out-of-range"]),
        ("answer_max = ◆\"65MiB\"", &["out-of-range"]),
        ("encryption_key = ◆\"0123\"", &["secret-literal"]),
        ("encryption_key = ◆{ env = \"GONE\" }", &["secret-missing"]),
        ("url = ◆\"postgres://me:hunter2@db/ledger\"", &["ledger-url"]),
        ("url = ◆{ env = \"URL\" }", &["ledger-url"]),
    ] {
        check(&format!("[ledger]\n{line}\n{REST}"), codes);
    }
}

#[test]
fn an_address_of_a_ledger_is_not_shown() {
    let text = format!("[ledger]\nurl = \"postgres://me:hunter2@db/ledger\"\n{REST}");
    let human = loaded(&text, Memory::default(), Mode::Run).human();
    assert!(human.contains("write `path =") && !human.contains("hunter2"), "{human}");
}

#[test]
fn an_encryption_key_is_32_bytes_and_never_shown() {
    let text = format!("[ledger]\nencryption_key = {{ env = \"KEY\" }}\n{REST}");
    let read = |key: &str, mode| {
        let mut sources = Memory::default();
        sources.env.insert("KEY".to_owned(), key.to_owned());
        loaded(&text, sources, mode)
    };
    let bytes: Vec<u8> = (0..32).collect();
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    for key in [&digits, &digits.to_uppercase(), base64, base64.trim_end_matches('=')] {
        let config = read(key, Mode::Run).config.expect(key);
        let secret = config.ledger.encryption_key.as_ref().expect("a key");
        assert_eq!(secret.expose(), bytes, "{key}");
        let shown = format!("{} {:?}", config.shown, config.ledger);
        assert!(shown.contains("env:KEY") && !shown.contains(key), "{shown}");
    }
    assert_eq!(read(&digits, Mode::Sandbox).config.expect("fine").ledger.encryption_key, None);
    let colons = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    for key in ["hunter2", &digits[1..], &format!("{digits}00"), "AAECAwQF", &colons] {
        let refused = read(key, Mode::Check);
        let codes: Vec<_> = refused.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, ["secret-unusable"], "{key}");
        assert!(!refused.human().contains(key), "{}", refused.human());
    }
}

#[test]
fn another_ledger_needs_a_restart() {
    let read = |lines: &str| {
        let mut sources = Memory::default();
        sources.env.insert("KEY".to_owned(), "ab".repeat(32));
        let text = format!("[ledger]\n{lines}\n{REST}");
        loaded(&text, sources, Mode::Run).config.expect(lines)
    };
    let old = read("");
    for (lines, restart) in [
        ("path = \"data/ledger.db\"", false),
        ("retention = \"90d\"\nanswer_retention = \"1d\"", false),
        ("path = \"other.db\"", true),
        ("create = false", true),
        ("answer_max = \"2MiB\"", true),
        ("encryption_key = { env = \"KEY\" }", true),
    ] {
        let keys = if restart { &["ledger"][..] } else { &[] };
        assert_eq!(needs_restart(&old, &read(lines)), keys, "{lines}");
    }
}

#[test]
fn a_route_is_as_it_was_typed() {
    let config = config(&text(
        "vendor_key = { path = \"eid\" }",
        "idempotency = \"required\"\n\
         idempotency_key_from = [\"header:X-Key\", \"query:RequestId\", \"body:/a/b\", \
         \"path:eid:*\"]\n\
         idempotency_wait = \"60s\"\nidempotency_ambiguous = \"retry\"\n\
         idempotency_stores = \"success\"",
    ));
    let protection = &config.routes[0].protection;
    let sources: Vec<String> = protection.sources.iter().map(Source::to_string).collect();
    assert_eq!(sources, ["header:x-key", "query:RequestId", "body:/a/b", "path:eid:*"]);
    assert_eq!(protection.idempotency, Idempotency::Required);
    assert_eq!(protection.wait, Duration::from_secs(60));
    assert_eq!((protection.ambiguous, protection.stores), (Ambiguous::Retry, Stores::Success));
    assert!(config.log.redact_query.contains(&"requestid".to_owned()), "keys are not logged");
    let replay = super::config(&text("", "idempotency_ambiguous = \"replay\""));
    assert_eq!(replay.routes[0].protection.ambiguous, Ambiguous::Replay);
    let streams = super::config(&text("", "body_max = \"none\"\nidempotency = \"off\""));
    assert_eq!(streams.routes[0].protection.idempotency, Idempotency::Off);
    let streams = super::config(&text("", "body_max = \"none\""));
    assert_eq!(streams.routes[0].protection.idempotency, Idempotency::Off);
}

#[test]
fn sources_and_words() {
    on_route(&[
        ("idempotency = ◆\"yes\"", &["unknown-value"]),
        ("idempotency_ambiguous = ◆\"drop\"", &["unknown-value"]),
        ("idempotency_stores = ◆\"none\"", &["unknown-value"]),
        ("idempotency_key_from = ◆\"header:X\"", &["wrong-type"]),
        ("idempotency_key_from = ◆[]", &["empty-list"]),
        ("idempotency_key_from = [◆\"X-Key\"]", &["bad-key-source"]),
        ("idempotency_key_from = [◆\"header:a b\"]", &["bad-key-source"]),
        ("idempotency_key_from = [◆\"body:a\"]", &["bad-key-source"]),
        ("idempotency_key_from = [◆\"header:Authorization\"]", &["bad-key-source"]),
        ("idempotency_key_from = [◆\"header:X-Correlation-ID\"]", &["bad-key-source"]),
        ("idempotency_key_from = [\"query:a\", ◆\"query:a\"]", &["duplicate-source"]),
        ("idempotency_wait = ◆\"61s\"", &["out-of-range"]),
        ("idempotency_wait = ◆\"61s\"\ndeadline = \"60s\"", &["out-of-range"]),
        ("idempotency_wait = ◆\"soon\"", &["bad-duration"]),
        ("idempotency_wait = \"2m\"\ndeadline = \"2m\"", &[]),
    ]);
    let own = "credential = { kind = \"header\", name = \"X-Own\", value.file = \"t\" }";
    let marked = text(own, "idempotency_key_from = [◆\"header:X-Own\"]");
    assert_findings(&marked, &["bad-key-source"], Memory::default().with("t", "x"), Mode::Run);
}

#[test]
fn what_protects_nothing() {
    on_route(&[
        ("body_max = \"none\"\nidempotency = ◆\"optional\"", &["idempotency-stream"]),
        ("body_max = \"none\"\nidempotency = ◆\"required\"", &["idempotency-stream"]),
        (
            "body_max = \"none\"\nidempotency_wait = ◆\"1s\"\nidempotency_stores = ◆\"all\"\n\
             idempotency_ambiguous = ◆\"hold\"\nidempotency_key_from = ◆[\"header:x\"]",
            &["idempotency-unused"; 4],
        ),
        ("methods = [\"GET\"]\nidempotency = ◆\"required\"", &["idempotency-unused"]),
        ("methods = [\"GET\"]\nidempotency = \"off\"", &[]),
        ("methods = [\"GET\"]\nidempotency_wait = ◆\"1s\"", &["idempotency-unused"]),
        (
            "idempotency = ◆\"required\"\nidempotency_key_from = [\"body:/a\", \"path:eid:*\"]",
            &["key-never-there"],
        ),
        (
            "methods = [\"GET\", \"POST\"]\nidempotency = \"required\"\n\
             idempotency_key_from = [\"body:/a\"]",
            &[],
        ),
        ("idempotency_ambiguous = ◆\"retry\"", &["retry-unprotected"]),
    ]);
    let header = "vendor_key = { header = \"Idempotency-Key\" }";
    check(&text(header, "idempotency_ambiguous = ◆\"retry\""), &["retry-unprotected"]);
    for key in ["{ header = \"Idempotency-Key\", window = \"1h\" }", "{ path = \"eid\" }"] {
        let vendor = format!("vendor_key = {key}");
        check(&text(&vendor, "idempotency_ambiguous = \"retry\""), &[]);
    }
    check(&text("profile = \"stripe\"", "idempotency_ambiguous = \"retry\""), &[]);
    let off = "profile = \"stripe\"\nvendor_key = { off = true }";
    check(&text(off, "idempotency_ambiguous = ◆\"retry\""), &["retry-unprotected"]);
    let body = "vendor_key = { body = \"/code\" }";
    check(&text(body, "body_max = ◆\"none\""), &["stream-vendor-key"]);
    check(&text(body, "idempotency_key_from = ◆[\"body:/code\"]"), &["key-replaced"]);
    check(&text(body, "idempotency_key_from = [\"body:/other\"]"), &[]);
}

fn key_of(vendor: &str) -> Option<VendorKey> {
    config(&text(vendor, "")).vendors[0].vendor_key.clone()
}

#[test]
fn a_vendor_key_goes_into_one_place() {
    let full = key_of(
        "vendor_key = { header = \"X-NetSuite-Idempotency-Key\", \
         companion = \"Prefer: respond-async\", format = \"hex32\", window = \"24h\" }",
    );
    let full = full.expect("a key");
    let Place::Header(name) = &full.place else { panic!("{full:?}") };
    assert_eq!(name, "x-netsuite-idempotency-key");
    let (companion, value) = full.companion.expect("a companion");
    assert_eq!((companion.as_str(), value.as_bytes()), ("prefer", &b"respond-async"[..]));
    assert_eq!((full.format, full.window), (Format::Hex32, Some(DAY)));
    for (typed, place) in [
        ("path = \"eid\"", Place::Path("eid".into())),
        ("query = \"requestid\"", Place::Query("requestid".into())),
    ] {
        let key = key_of(&format!("vendor_key = {{ {typed} }}")).expect("a key");
        assert_eq!((key.place, key.format, key.window), (place, Format::Uuid, None));
    }
    let body = key_of("vendor_key = { body = \"/code\" }").expect("a key");
    assert!(matches!(&body.place, Place::Body(at) if at.as_str() == "/code"), "{body:?}");
    let config = config(&text("vendor_key = { query = \"ReqId\" }", ""));
    assert!(config.log.redact_query.contains(&"reqid".to_owned()), "keys are not logged");
}

#[test]
fn a_vendors_own_key_comes_before_its_profiles() {
    let of_stripe = key_of("profile = \"stripe\"").expect("a key");
    assert!(matches!(&of_stripe.place, Place::Header(name) if name == "idempotency-key"));
    assert_eq!((of_stripe.format, of_stripe.window), (Format::Uuid, Some(DAY)));
    let own = key_of("profile = \"stripe\"\nvendor_key = { header = \"X-Key\" }").expect("a key");
    assert!(matches!(&own.place, Place::Header(name) if name == "x-key"), "{own:?}");
    assert_eq!(key_of("profile = \"stripe\"\nvendor_key = { off = true }"), None);
    for (name, _) in crate::profile::SHIPPED.iter().filter(|(name, _)| *name != "stripe") {
        assert_eq!(key_of(&format!("profile = \"{name}\"")), None, "{name}");
    }
}

#[test]
fn vendor_keys_that_no_vendor_takes() {
    for (typed, codes) in [
        ("◆{ }", &["bad-vendor-key"][..]),
        ("◆{ format = \"uuid\" }", &["bad-vendor-key"]),
        ("◆{ off = false }", &["bad-vendor-key"]),
        ("◆{ off = true, header = \"X\" }", &["bad-vendor-key"]),
        ("◆{ header = \"X\", path = \"eid\" }", &["bad-vendor-key"]),
        ("{ ◆haeder = \"X\" }", &["unknown-key"]),
        ("◆\"Idempotency-Key\"", &["wrong-type"]),
        ("{ header = ◆5 }", &["wrong-type"]),
        ("{ header = ◆\"a b\" }", &["bad-field-name"]),
        ("{ header = ◆\"Content-Type\" }", &["bad-field-name"]),
        ("{ header = ◆\"Authorization\" }", &["bad-field-name"]),
        ("{ header = \"X\", companion = ◆\"Prefer\" }", &["bad-vendor-key"]),
        ("{ header = \"X\", companion = ◆\"Prefer:\" }", &["bad-vendor-key"]),
        ("{ header = \"X\", companion = ◆\"Prefer: é\" }", &["bad-vendor-key"]),
        ("{ header = \"X\", companion = ◆\"x: 1\" }", &["bad-vendor-key"]),
        ("{ header = \"X\", companion = ◆\"a b: 1\" }", &["bad-field-name"]),
        ("{ header = \"X\", companion = ◆\"Host: a\" }", &["bad-field-name"]),
        ("{ path = \"eid\", companion = ◆\"Prefer: a\" }", &["bad-vendor-key"]),
        ("{ path = ◆\"a/b\" }", &["bad-vendor-key"]),
        ("{ path = ◆\"\" }", &["bad-vendor-key"]),
        ("{ query = ◆\"a=b\" }", &["bad-vendor-key"]),
        ("{ body = ◆\"code\" }", &["bad-vendor-key"]),
        ("{ header = \"X\", format = ◆\"guid\" }", &["bad-vendor-key"]),
        ("{ header = \"X\", format = ◆\"alphanumeric:4\" }", &["bad-vendor-key"]),
        ("{ header = \"X\", window = ◆\"0s\" }", &["out-of-range"]),
        ("{ header = \"X\", window = ◆\"366d\" }", &["out-of-range"]),
    ] {
        check(&text(&format!("vendor_key = {typed}"), ""), codes);
    }
    let shopify = "profile = \"shopify\"\nvendor_key = { header = ◆\"X-Shopify-Access-Token\" }";
    check(&text(shopify, ""), &["bad-field-name"]);
    let companion = "profile = \"shopify\"\nvendor_key = { header = \"X\", \
                     companion = ◆\"X-Shopify-Access-Token: a\" }";
    check(&text(companion, ""), &["bad-field-name"]);
}

#[test]
fn what_is_wrong_with_a_vendor_key_can_be_read() {
    let text = text("vendor_key = { header = \"a b\" }", "");
    let human = loaded(&text, Memory::default(), Mode::Run).human();
    assert!(human.contains("vendor_key = { header = \"a b\" }"), "{human}");
}
