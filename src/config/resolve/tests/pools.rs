//! Findings about pools, circuits, retries, turns and streams; and what they come to.

use super::{assert_findings, config};
use crate::config::resolve::Mode;
use crate::config::sources::Memory;
use std::time::Duration;

/// A whole file, with lines for the vendor, its route, and what comes after them.
fn file(vendor: &str, route: &str, rest: &str) -> String {
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
    format!(
        "{listener}[vendors.erp]\nbase_url = \"https://erp.example.com\"\n{vendor}\n\
         [[route]]\nname = \"rest\"\npath = \"/rest\"\nvendor = \"erp\"\n{route}\n{rest}"
    )
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    let pool = "[pools.p]\nconcurrency = 4\n";
    for (vendor, route, rest, codes) in [
        ("pool = ◆\"q\"", "", pool, &["unknown-pool", "unused-pool"][..]),
        ("pool = \"p\"\nconcurrency = ◆4", "", pool, &["two-pools"]),
        ("pool = \"p\"\nrates = ◆\"1/second\"", "", pool, &["two-pools"]),
        ("pool = \"p\"\nqueue = ◆{ max_waiting = 1 }", "", pool, &["two-pools"]),
        ("", "", "[pools.◆p]\nconcurrency = 4\n", &["unused-pool"]),
        ("concurrency = ◆0", "", "", &["out-of-range"]),
        ("concurrency = ◆-4", "", "", &["out-of-range"]),
        ("concurrency = ◆100001", "", "", &["out-of-range"]),
        ("rates = ◆\"10/fortnight\"", "", "", &["bad-rate"]),
        ("rates = [\"1/second\", ◆\"0/second\"]", "", "", &["bad-rate"]),
        ("queue = { max_wait = ◆\"0s\" }", "", "", &["out-of-range"]),
        ("concurrency = 4\nadaptive = ◆true", "", "", &["missing-key"]),
        ("concurrency = 4\nadaptive = ◆{}", "", "", &["missing-key"]),
        ("adaptive = ◆{ min = 1 }", "", "", &["missing-key"]),
        ("concurrency = 4\nadaptive = { min = ◆5 }", "", "", &["out-of-range"]),
        ("reserve = ◆{ high = 0.1 }", "", "", &["unused-reserve"]),
        ("concurrency = 4\nreserve = { high = ◆1.5 }", "", "", &["out-of-range"]),
        ("circuit = { failure_ratio = ◆0.0 }", "", "", &["out-of-range"]),
        ("circuit = { open = ◆\"10m\" }", "", "", &["out-of-range"]),
        ("circuit = { probes = ◆0 }", "", "", &["out-of-range"]),
        ("circuit = { probe = ◆\"POST /x\" }", "", "", &["bad-probe"]),
        ("circuit = { probe = ◆\"GET health\" }", "", "", &["bad-probe"]),
        ("retry = { attempts = ◆0 }", "", "", &["out-of-range"]),
        ("retry = { budget = ◆-0.1 }", "", "", &["out-of-range"]),
        ("", "serialize_by = ◆\"path:0\"", "", &["bad-serialize-by"]),
        ("", "serialize_by = ◆\"header:x\"", "", &["bad-serialize-by"]),
        ("concurrency = 4", "body_max = ◆\"none\"", "", &["stream-holds-slot"]),
        ("profile = \"netsuite\"", "body_max = ◆\"none\"", "", &["stream-unseen"]),
    ] {
        let text = file(vendor, route, rest);
        // Where two are found, the second one stands at the pool's name.
        let text = if codes.len() == 2 { text.replace("[pools.p]", "[pools.◆p]") } else { text };
        assert_findings(&text, codes, Memory::default(), Mode::Run);
    }
}

#[test]
fn a_vendor_that_is_only_written_to_needs_a_probe() {
    let writes = "methods = [\"POST\"]";
    let text = file("", writes, "").replace("[vendors.erp]", "[vendors.◆erp]");
    assert_findings(&text, &["no-probe"], Memory::default(), Mode::Run);
    let read = "methods = [\"POST\"]\nreads = [\"POST /query\"]";
    for text in [file("circuit = { probe = \"GET /health\" }", writes, ""), file("", read, "")] {
        config(&text);
    }
}

#[test]
fn defaults_are_those_of_the_contract() {
    let plain = config(&file("", "", ""));
    let (pool, vendor) = (&plain.pools[0], &plain.vendors[0]);
    assert_eq!((&*pool.name, &*vendor.handling.pool), ("erp", "erp"));
    assert_eq!(pool.policy.concurrency, None);
    assert_eq!((pool.policy.waiting_max, pool.policy.wait_max), (10_000, Duration::from_secs(30)));
    let circuit = &vendor.handling.circuit.policy;
    assert_eq!((circuit.window, circuit.requests_min), (Duration::from_secs(30), 20));
    assert_eq!((circuit.consecutive_failures, circuit.probes), (8, 3));
    let retry = &vendor.handling.retry;
    assert_eq!((retry.attempts, retry.base), (3, Duration::from_millis(200)));
    // Two vendors, one account.
    let shared = file("pool = \"p\"", "", "[pools.p]\nconcurrency = 4\nrates = [\"10/second\"]\n");
    let shared = config(&format!(
        "{shared}[vendors.soap]\nbase_url = \"https://soap.example.com\"\npool = \"p\"\n\
         [[route]]\nname = \"soap\"\npath = \"/soap\"\nvendor = \"soap\"\n"
    ));
    assert_eq!(shared.pools.len(), 1);
    assert!(shared.vendors.iter().all(|vendor| vendor.handling.limits_concurrency));
}
