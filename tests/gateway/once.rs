//! Writes under an idempotency key are done once: what a second one meets, and what it is told.

use crate::support::process::Process;
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::vendor::field;
use crate::support::{Answer, Folder, Raw, Reply, UnderTest, Vendor, wait_for, within};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const CREATED: &str = "HTTP/1.1 201 Created\r\nLocation: /orders/7\r\nX-Own: 1\r\n\
    Set-Cookie: session=1\r\nDate: Mon, 02 Nov 2026 00:00:00 GMT\r\nContent-Length: 8\r\n\r\n{\"id\":7}";

fn created() -> Reply {
    Reply::Octets(CREATED.as_bytes().to_vec())
}

/// A POST with this key and body.
pub fn post(path: &str, key: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v{path} HTTP/1.1\r\nHost: gw.test\r\nIdempotency-Key: {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

async fn gateway(vendor: &Vendor, lines: &str) -> UnderTest {
    UnderTest::start(&format!("{HEAD}{}", to_vendor(vendor.address, "", lines))).await
}

async fn claims(gateway: &UnderTest, result: &str) -> f64 {
    let labels = format!("erpgate_idempotency_claims_total{{result=\"{result}\",route=\"r\"}}");
    gateway.metric(&labels).await
}

#[track_caller]
fn assert_told(answer: &Answer, slug: &str, executed: &str, retryable: bool) {
    assert_eq!(answer.slug(), slug);
    let told = answer.json();
    assert_eq!(told["executed"], executed, "{told}");
    assert_eq!(told["retryable"], retryable, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_gets_the_same_answer() {
    let vendor = Vendor::answering(|_| created()).await;
    let gateway = gateway(&vendor, "").await;
    let first = gateway.send(post("/orders", "INV-7", "{}")).await;
    assert_eq!((first.status, first.text().as_str()), (201, "{\"id\":7}"));
    assert_eq!(first.field("idempotency-replayed"), None);
    // In quotes it is the same key.
    let again = gateway.send(post("/orders", "\"INV-7\"", "{}")).await;
    assert_eq!((again.status, again.text()), (first.status, first.text()));
    assert_eq!(again.field("idempotency-replayed").as_deref(), Some("true"));
    assert_eq!(again.field("x-original-correlation-id"), first.field("x-correlation-id"));
    assert_ne!(again.field("x-correlation-id"), first.field("x-correlation-id"));
    for same in ["location", "x-own", "content-length"] {
        assert_eq!(again.field(same), first.field(same), "{same}");
    }
    assert_eq!(again.field("set-cookie"), None);
    assert_ne!(again.field("date").as_deref(), Some("Mon, 02 Nov 2026 00:00:00 GMT"));
    let seen = vendor.only();
    assert_eq!(field(&seen, "idempotency-key"), None, "a client's key stays here");
    assert_eq!((claims(&gateway, "fresh").await, claims(&gateway, "replayed").await), (1.0, 1.0));
    gateway.log.line(&[("idempotency", "replayed".into()), ("attempts", 0.into())]).await;
    // Another process finds it in the file, which alone is the whole ledger.
    let folder = gateway.leave().await;
    assert!(!folder.path().join("data/ledger.db-wal").exists());
    let gateway = UnderTest::start_in(folder).await;
    let later = gateway.send(post("/orders", "INV-7", "{}")).await;
    assert_eq!((later.status, later.text()), (first.status, first.text()));
    assert_eq!(later.field("x-original-correlation-id"), first.field("x-correlation-id"));
    assert_eq!(later.field("location"), first.field("location"));
    assert_eq!(later.field("set-cookie"), None);
    vendor.only();
    assert_eq!(gateway.metric("erpgate_ledger_entries{state=\"answered\"}").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_request_with_the_key_is_refused() {
    let vendor = Vendor::answering(|_| created()).await;
    let gateway = gateway(&vendor, "").await;
    let first = gateway.send(post("/orders", "k", "{\"a\":1}")).await;
    assert_eq!(first.status, 201);
    for other in [
        post("/orders", "k", "{\"a\":2}"),
        post("/orders?b", "k", "{\"a\":1}"),
        post("/order", "k", "{\"a\":1}"),
        post("/orders", "k", "{\"a\":1}").replace("POST", "PUT"),
        post("/orders", "k", "{\"a\":1}").replace("application/json", "text/plain"),
    ] {
        let answer = gateway.send(other).await;
        assert_eq!(answer.status, 422);
        assert_told(&answer, "idempotency-key-reused", "no", false);
    }
    assert_eq!(gateway.send(post("/orders", "other", "{\"a\":2}")).await.status, 201);
    assert_eq!(vendor.seen().len(), 2);
    assert_eq!(claims(&gateway, "mismatch").await, 5.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_none_are_refused() {
    let vendor = Vendor::fine().await;
    let gateway = gateway(&vendor, "idempotency = \"required\"").await;
    let long = "a".repeat(256);
    for key in ["", "\"\"", "a b", "\"a\"; b=1", "é", "\"a", &long, "a\r\nIdempotency-Key: a"] {
        let answer = gateway.send(post("/orders", key, "{}")).await;
        assert_eq!(answer.status, 400, "{key}");
        assert_told(&answer, "idempotency-key-invalid", "no", false);
    }
    let without = post("/orders", "", "{}").replace("Idempotency-Key: \r\n", "");
    let answer = gateway.send(&without).await;
    assert_eq!(answer.status, 400);
    assert_told(&answer, "idempotency-key-missing", "no", false);
    assert_eq!(gateway.get("/v/orders").await.status, 200, "what reads needs none");
    assert_eq!(gateway.send(post("/orders", &"a".repeat(255), "{}")).await.status, 200);
    assert_eq!(vendor.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_is_not_guessed() {
    let replies = Arc::new(AtomicUsize::new(0));
    let counted = replies.clone();
    let vendor = Vendor::answering(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Reset,
        1 => Reply::Close(b"HTTP/1.1 201 Cre".to_vec()),
        2 => Reply::text("503 Busy\r\nRetry-After: 1\r\nContent-Length: 4", "busy"),
        _ => created(),
    })
    .await;
    let gateway = gateway(&vendor, "").await;
    for key in ["reset", "half"] {
        let answer = gateway.send(post("/orders", key, "{}")).await;
        assert_eq!(answer.status, 502);
        assert_told(&answer, "vendor-response-invalid", "unknown", true);
    }
    let answer = gateway.send(post("/orders", "busy", "{}")).await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "busy"), "the vendor's own");
    for key in ["reset", "half", "busy"] {
        let answer = gateway.send(post("/orders", key, "{}")).await;
        assert_eq!(answer.status, 409);
        assert_told(&answer, "outcome-unknown", "unknown", true);
        let other = gateway.send(post("/orders", key, "[]")).await;
        assert_eq!(other.slug(), "idempotency-key-reused");
    }
    assert_eq!(vendor.seen().len(), 3);
    assert_eq!(gateway.metric("erpgate_ledger_entries{state=\"unknown\"}").await, 3.0);
    assert_eq!(claims(&gateway, "unknown").await, 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_certainly_not_done_frees_the_key() {
    let replies = Arc::new(AtomicUsize::new(0));
    let counted = replies.clone();
    let vendor = Vendor::answering(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::text("401 No\r\nContent-Length: 0", ""),
        1 => Reply::text("429 Slow\r\nRetry-After: 1\r\nContent-Length: 0", ""),
        _ => created(),
    })
    .await;
    let gateway = gateway(&vendor, "").await;
    let answer = gateway.send(post("/orders", "k", "{}")).await;
    assert_told(&answer, "vendor-credential-rejected", "no", false);
    assert_eq!(gateway.metric("erpgate_ledger_entries{state=\"unknown\"}").await, 0.0);
    // The throttle is waited out within the same request.
    assert_eq!(gateway.send(post("/orders", "k", "{}")).await.status, 201);
    assert_eq!(vendor.seen().len(), 3);
    // Where nobody listens, nothing is written down either.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = listener.local_addr().expect("bound");
    drop(listener);
    let gateway = UnderTest::before(nobody).await;
    let answer = gateway.send(post("/orders", "other", "{}")).await;
    assert_eq!((answer.slug().as_str(), answer.status), ("vendor-unreachable", 502));
    assert_eq!(gateway.metric("erpgate_ledger_entries{state=\"in_flight\"}").await, 0.0);
    assert_eq!(gateway.metric("erpgate_ledger_entries{state=\"unknown\"}").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_finds_the_answer() {
    let (vendor, open) = Vendor::gated(|_| created()).await;
    let gateway = gateway(&vendor, "").await;
    let mut raw = gateway.connect().await;
    raw.send(post("/orders", "k", "{}")).await;
    wait_for("the vendor", async || (!vendor.seen().is_empty()).then_some(())).await;
    let answer = gateway.send(post("/orders", "k", "{}")).await;
    assert_eq!((answer.status, answer.field("retry-after").as_deref()), (409, Some("1")));
    assert_told(&answer, "request-in-flight", "unknown", true);
    assert_eq!(gateway.metric("erpgate_ledger_entries{state=\"in_flight\"}").await, 1.0);
    drop(raw);
    open.send_replace(true);
    let found = wait_for("the answer", async || {
        let answer = gateway.send(post("/orders", "k", "{}")).await;
        (answer.status == 201).then_some(answer)
    })
    .await;
    assert_eq!(found.field("idempotency-replayed").as_deref(), Some("true"));
    gateway.log.line(&[("event", "protected-write-ended".into()), ("status", 201.into())]).await;
    vendor.only();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_is_the_clients() {
    let (vendor, open) = Vendor::gated(|_| created()).await;
    let gateway = gateway(&vendor, "deadline = \"200ms\"").await;
    let answer = gateway.send(post("/orders", "k", "{}")).await;
    assert_eq!(answer.status, 504);
    assert_told(&answer, "deadline-exceeded", "unknown", true);
    open.send_replace(true);
    let found = wait_for("the answer", async || {
        let answer = gateway.send(post("/orders", "k", "{}")).await;
        (answer.status == 201).then_some(answer)
    })
    .await;
    assert_eq!(found.field("idempotency-replayed").as_deref(), Some("true"));
    vendor.only();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_may_wait_for_the_first_answer() {
    let (vendor, open) = Vendor::gated(|_| created()).await;
    let gateway = gateway(&vendor, "idempotency_wait = \"20s\"").await;
    let mut all: Vec<Raw> = Vec::new();
    for _ in 0..1000 {
        let mut raw = gateway.connect().await;
        raw.send(post("/orders", "k", "{}")).await;
        all.push(raw);
    }
    wait_for("the vendor", async || (!vendor.seen().is_empty()).then_some(())).await;
    open.send_replace(true);
    let mut replayed = 0;
    for mut raw in all {
        let answer = within("an answer", raw.answer()).await;
        assert_eq!((answer.status, answer.text().as_str()), (201, "{\"id\":7}"));
        replayed += usize::from(answer.field("idempotency-replayed").is_some());
    }
    assert_eq!(replayed, 999);
    vendor.only();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_not_kept() {
    let body = "x".repeat(3000);
    let vendor = Vendor::answering(move |request| {
        let head = "HTTP/1.1 201 Created\r\n";
        match field(request, "x-case").as_deref() {
            Some("long") => Reply::text("201 Created\r\nContent-Length: 3000", &body),
            Some("chunks") => {
                let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\nbb8\r\n{body}\r\n");
                Reply::Octets(format!("{chunked}0\r\n\r\n").into_bytes())
            }
            Some("business") => Reply::text("422 No\r\nContent-Length: 3000", &body),
            _ => Reply::Close(format!("{head}Content-Length: 30\r\n\r\nhalf").into_bytes()),
        }
    })
    .await;
    let of_vendor = to_vendor(vendor.address, "", "");
    let gateway =
        UnderTest::start(&format!("[ledger]\nanswer_max = \"2KiB\"\n{HEAD}{of_vendor}")).await;
    let with = |case: &str| {
        post("/orders", case, "{}").replace("Host:", &format!("X-Case: {case}\r\nHost:"))
    };
    for (case, status, executed) in
        [("long", 201, "yes"), ("chunks", 201, "yes"), ("business", 422, "no")]
    {
        let answer = gateway.send(with(case)).await;
        assert_eq!((answer.status, answer.text().len()), (status, 3000), "{case}");
        let again = gateway.send(with(case)).await;
        assert_eq!(again.status, 409, "{case}");
        assert_told(&again, "answer-not-kept", executed, false);
    }
    let answer = gateway.send(with("cut")).await;
    assert_eq!(answer.status, 502);
    assert_told(&answer, "vendor-response-invalid", "yes", false);
    assert_told(&gateway.send(with("cut")).await, "answer-not-kept", "yes", false);
    assert_eq!(vendor.seen().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_damaged_is_left_alone() {
    let vendor = Vendor::answering(|_| created()).await;
    let config = format!("{HEAD}{}", to_vendor(vendor.address, "", ""));
    let folder = Folder::with(&config);
    folder.write("data/ledger.db", "this is no ledger");
    let gateway = UnderTest::start_in(folder).await;
    let answer = gateway.send(post("/orders", "k", "{}")).await;
    assert_eq!(answer.status, 503);
    assert_told(&answer, "ledger-unavailable", "no", true);
    assert_eq!(answer.field("retry-after").as_deref(), Some("5"));
    assert_eq!(vendor.seen().len(), 0);
    let ready = gateway.admin_get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("ledger corrupt"), "{}", ready.text());
    assert_eq!(gateway.metric("erpgate_ledger_available").await, 0.0);
    // Everything else goes on.
    let without = post("/orders", "", "{}").replace("Idempotency-Key: \r\n", "");
    assert_eq!(gateway.send(without).await.status, 201);
    assert_eq!(gateway.folder.read("data/ledger.db"), "this is no ledger");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_may_be_stricter_than_its_route() {
    let vendor = Vendor::answering(|_| created()).await;
    let config = format!("{HEAD}{}", to_vendor(vendor.address, "", "idempotency = \"off\""));
    let folder = Folder::with(&config);
    let policy = folder.read("policies/tester.toml");
    folder.write("policies/tester.toml", &format!("{policy}idempotency = \"required\"\n"));
    let gateway = UnderTest::start_in(folder).await;
    let without = post("/orders", "", "{}").replace("Idempotency-Key: \r\n", "");
    assert_eq!(gateway.send(without).await.slug(), "idempotency-key-missing");
    for replayed in [None, Some("true")] {
        let answer = gateway.send(post("/orders", "k", "{}")).await;
        assert_eq!(answer.field("idempotency-replayed").as_deref(), replayed);
    }
    vendor.only();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_without_protection_lets_no_key_through() {
    let vendor = Vendor::answering(|_| created()).await;
    let gateway = gateway(&vendor, "idempotency = \"off\"").await;
    for _ in 0..2 {
        let answer = gateway.send(post("/orders", "k", "{}")).await;
        assert_eq!((answer.status, answer.field("idempotency-replayed")), (201, None));
    }
    let seen = vendor.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|request| field(request, "idempotency-key").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_ledger_is_said_to_be_new() {
    let vendor = Vendor::answering(|_| created()).await;
    let gateway = gateway(&vendor, "").await;
    gateway.log.line(&[("event", "audit".into()), ("action", "ledger-created".into())]).await;
    assert!(gateway.admin_get("/readyz").await.text().contains("ledger created"));
    let folder = gateway.leave().await;
    let gateway = UnderTest::start_in(folder).await;
    assert_eq!(gateway.admin_get("/readyz").await.json()["reasons"].to_string(), "[]");
    let folder = gateway.leave().await;
    let config = folder.read("gateway.toml");
    folder.write("gateway.toml", &format!("[ledger]\ncreate = false\n{config}"));
    let mut process = Process::run(&folder, &[]);
    process.address("127.0.0.1:0").await;
    process.signal("TERM");
    assert_eq!(process.exit_status().await, 0);
    std::fs::remove_file(folder.path().join("data/ledger.db")).expect("removed");
    assert_eq!(Process::run(&folder, &[]).exit_status().await, 1);
    assert!(!folder.path().join("data/ledger.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_uses_no_key() {
    let vendor = Vendor::answering(|_| created()).await;
    let gateway = gateway(&vendor, "body_max = \"1KiB\"").await;
    let body = |octets: usize| "x".repeat(octets);
    assert_eq!(gateway.send(post("/orders", "k", &body(1025))).await.slug(), "payload-too-large");
    assert_eq!(gateway.send(post("/orders", "k", &body(1024))).await.status, 201);
    assert_eq!(gateway.send(post("/orders", "none", "")).await.status, 201);
    assert_eq!(vendor.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_an_end_is_settled_before_it_is_given() {
    let chunks = format!("bb8\r\n{}\r\n", "x".repeat(3000));
    let head = "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n";
    let octets = format!("{head}{chunks}").into_bytes();
    let vendor = Vendor::answering(move |_| Reply::Octets(octets.clone())).await;
    let of_vendor = to_vendor(vendor.address, "", "");
    let gateway =
        UnderTest::start(&format!("[ledger]\nanswer_max = \"2KiB\"\n{HEAD}{of_vendor}")).await;
    let mut raw = gateway.connect().await;
    raw.send(post("/orders", "k", "{}")).await;
    let again = wait_for("the status to be settled", async || {
        let again = gateway.send(post("/orders", "k", "{}")).await;
        (again.slug() == "answer-not-kept").then_some(again)
    })
    .await;
    assert_eq!(again.json()["executed"], "yes");
    vendor.only();
    drop(raw);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_be_written_is_still_read() {
    let vendor = Vendor::answering(|_| created()).await;
    let gateway_before = gateway(&vendor, "").await;
    assert_eq!(gateway_before.send(post("/orders", "k", "{}")).await.status, 201);
    let folder = gateway_before.leave().await;
    let gateway = UnderTest::start_in(folder).await;
    let path = gateway.folder.path().join("data/ledger.db");
    let other = rusqlite::Connection::open(path).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("held by somebody else");
    let refused = gateway.send(post("/orders", "new", "{}")).await;
    assert_told(&refused, "ledger-unavailable", "no", true);
    let again = gateway.send(post("/orders", "k", "{}")).await;
    assert_eq!(again.field("idempotency-replayed").as_deref(), Some("true"));
    assert!(gateway.admin_get("/readyz").await.text().contains("ledger busy"));
    assert_eq!(gateway.metric("erpgate_ledger_available").await, 0.0);
    vendor.only();
    other.execute_batch("ROLLBACK").expect("let go");
    assert_eq!(gateway.send(post("/orders", "new", "{}")).await.status, 201);
    assert_eq!(gateway.metric("erpgate_ledger_available").await, 1.0);
}
