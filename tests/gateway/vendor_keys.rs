//! What a vendor is sent in the place of a client's key, what a key in a body protects, and how an
//! unknown create is looked up.

use crate::once::post;
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::vendor::field;
use crate::support::{Answer, Reply, UnderTest, Vendor, wait_for};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

async fn gateway(vendor: &Vendor, of_vendor: &str, of_route: &str) -> UnderTest {
    UnderTest::start(&format!("{HEAD}{}", to_vendor(vendor.address, of_vendor, of_route))).await
}

fn first_line(request: &str) -> &str {
    request.lines().next().expect("a line")
}

/// A POST of this body without a field for a key.
fn plain(path: &str, body: &str) -> String {
    let key = "Idempotency-Key: none\r\n";
    post(path, "none", body).replace(key, "")
}

async fn eventually(gateway: &UnderTest, request: &str, status: u16) -> Answer {
    wait_for(&format!("status {status}"), async || {
        let answer = gateway.send(request).await;
        (answer.status == status).then_some(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_place_of_a_vendors_key() {
    for off in ["", "idempotency = \"off\""] {
        let vendor = Vendor::fine().await;
        let line = "vendor_key = { header = \"X-Key\", companion = \"Prefer: respond-async\", \
                    format = \"hex32\", window = \"24h\" }";
        let header = gateway(&vendor, line, off).await;
        assert_eq!(header.send(post("/orders", "k", "{}")).await.status, 200);
        let seen = vendor.only();
        let key = field(&seen, "x-key").expect("a key");
        assert_eq!((key.len(), field(&seen, "prefer").as_deref()), (32, Some("respond-async")));
        assert!(!seen.contains("Idempotency-Key") && !seen.contains("idempotency-key"), "{seen}");

        let vendor = Vendor::fine().await;
        let line = "vendor_key = { query = \"requestid\", format = \"hex32\" }";
        let query = gateway(&vendor, line, off).await;
        assert_eq!(query.send(post("/orders?a=1&requestid=x", "k", "{}")).await.status, 200);
        // Of another gateway's client with the same name it is the same.
        let expected = format!("POST /orders?a=1&requestid={key} HTTP/1.1");
        assert_eq!(first_line(&vendor.only()), expected);

        let vendor = Vendor::fine().await;
        let line = "vendor_key = { body = \"/code\", format = \"hex32\" }";
        let body = gateway(&vendor, line, off).await;
        assert_eq!(body.send(post("/orders", "k", "{\"code\":\"x\"}")).await.status, 200);
        let seen = vendor.only();
        assert!(seen.ends_with(&format!("\r\n\r\n{{\"code\":\"{key}\"}}")), "{seen}");
        assert_eq!(field(&seen, "content-length").as_deref(), Some("43"));

        let vendor = Vendor::fine().await;
        let line = "vendor_key = { path = \"eid\", format = \"hex32\" }";
        let path = gateway(&vendor, line, off).await;
        assert_eq!(path.send(post("/orders", "k", "{}")).await.status, 200);
        assert_eq!(first_line(&vendor.only()), format!("PUT /orders/eid:{key} HTTP/1.1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_id_in_a_body_is_a_key() {
    let vendor = Vendor::fine().await;
    let line = "idempotency_key_from = [\"header:X-Request\", \"body:/externalId\"]";
    let gateway = gateway(&vendor, "", line).await;
    let body = "{\"externalId\":\"INV-7\"}";
    assert_eq!(gateway.send(plain("/orders", body)).await.status, 200);
    let again = gateway.send(plain("/orders", body)).await;
    assert_eq!(again.field("idempotency-replayed").as_deref(), Some("true"));
    // The same name of another kind of record, and a change of the record, are other writes.
    assert_eq!(gateway.send(plain("/bills", body)).await.field("idempotency-replayed"), None);
    for _ in 0..2 {
        let patch = plain("/orders/7", body).replace("POST", "PATCH");
        assert_eq!(gateway.send(patch).await.field("idempotency-replayed"), None);
    }
    let changed = gateway.send(plain("/orders", "{\"externalId\":\"INV-7\",\"a\":1}")).await;
    assert_eq!(changed.status, 422);
    // The first source that is there is the key.
    let both = plain("/orders", body).replace("Host:", "X-Request: other\r\nHost:");
    assert_eq!(gateway.send(&both).await.field("idempotency-replayed"), None);
    let seen = vendor.seen();
    assert_eq!(seen.len(), 5);
    assert!(seen.iter().all(|request| field(request, "x-request").is_none()));
}

const LOOK_UP: &str = "idempotency_key_from = [\"body:/id\"]\n\
    reconcile = { lookup = \"GET /orders/{key}\", executed = { status = 200 }, \
    not_executed = { status = 404 } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_that_finds_the_record_answers() {
    let vendor = Vendor::answering(|request| match first_line(request) {
        "POST /orders HTTP/1.1" => Reply::Reset,
        "GET /orders/INV%2F7 HTTP/1.1" => Reply::ok("the record"),
        _ => Reply::text("404 Not Found\r\nContent-Length: 0", ""),
    })
    .await;
    let gateway = gateway(&vendor, "", LOOK_UP).await;
    let request = plain("/orders", "{\"id\":\"INV/7\"}");
    let first = gateway.send(&request).await;
    assert_eq!((first.status, first.json()["executed"].as_str()), (502, Some("unknown")));
    let found = eventually(&gateway, &request, 200).await;
    assert_eq!(found.text(), "the record");
    assert_eq!(found.field("idempotency-replayed").as_deref(), Some("true"));
    assert_eq!(found.field("x-original-correlation-id"), first.field("x-correlation-id"));
    let line = gateway.log.line(&[("action", "ledger-settled".into())]).await;
    assert_eq!((&line["event"], &line["as"]), (&"audit".into(), &"executed".into()));
    assert!(!line.to_string().contains("INV"), "{line}");
    let posts = vendor.seen().iter().filter(|seen| seen.starts_with("POST")).count();
    assert_eq!(posts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_that_finds_nothing_frees_the_key_in_time() {
    let posts = Arc::new(AtomicUsize::new(0));
    let counted = posts.clone();
    let vendor = Vendor::answering(move |request| match first_line(request) {
        "POST /orders HTTP/1.1" if counted.fetch_add(1, Ordering::SeqCst) == 0 => Reply::Reset,
        "POST /orders HTTP/1.1" => Reply::text("201 Created\r\nContent-Length: 4", "made"),
        _ => Reply::text("404 Not Found\r\nContent-Length: 0", ""),
    })
    .await;
    let gateway = gateway(&vendor, "timeouts = { response = \"1s\" }", LOOK_UP).await;
    let request = plain("/orders", "{\"id\":\"INV-7\"}");
    assert_eq!(gateway.send(&request).await.status, 502);
    assert_eq!(gateway.send(&request).await.slug(), "outcome-unknown");
    assert_eq!(eventually(&gateway, &request, 201).await.text(), "made");
    assert_eq!(posts.load(Ordering::SeqCst), 2);
    let looked_up = gateway.log.line(&[("action", "ledger-settled".into())]).await;
    assert_eq!(looked_up["as"], "not-executed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_create_was_is_not_looked_up() {
    let vendor = Vendor::answering(|request| match request.starts_with("GET") {
        true => Reply::text("404 Not Found\r\nContent-Length: 0", ""),
        false => Reply::Reset,
    })
    .await;
    // Two routes: by the first one's vendor every look-up would free the key.
    let lines = format!("{LOOK_UP}\n").replace("[\"body:/id\"]", "[\"header:K\", \"body:/id\"]");
    let gateway = gateway(&vendor, "timeouts = { response = \"1ms\" }", &lines).await;
    let keyed = |request: String| request.replace("Host:", "K: k\r\nHost:");
    let patch = keyed(plain("/orders/7", "{\"id\":\"7\"}").replace("POST", "PATCH"));
    // A key of the request is not what the vendor finds the record by.
    let by_header = keyed(plain("/orders", "{\"id\":\"7\"}")).replace("K: k", "K: h");
    let elsewhere = plain("/bills", "{\"id\":\"7\"}");
    let create = plain("/orders", "{\"id\":\"7\"}");
    for request in [&patch, &by_header, &elsewhere, &create] {
        gateway.send(request).await;
    }
    // The last one is freed, and by then every other one would be.
    gateway.log.line(&[("action", "ledger-settled".into())]).await;
    assert_eq!(gateway.metric("erpgate_ledger_entries{state=\"unknown\"}").await, 3.0);
    for request in [&patch, &by_header, &elsewhere] {
        assert_eq!(gateway.send(request).await.slug(), "outcome-unknown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_says_what_a_later_call_meets() {
    let answers = Arc::new(AtomicUsize::new(0));
    let counted = answers.clone();
    let vendor = Vendor::answering(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::text("500 Oh\r\nContent-Length: 2", "oh"),
        1 => Reply::Reset,
        _ => Reply::ok("fine"),
    })
    .await;
    let replays = gateway(&vendor, "", "idempotency_ambiguous = \"replay\"").await;
    for replayed in [None, Some("true")] {
        let answer = replays.send(post("/orders", "a", "{}")).await;
        assert_eq!((answer.status, answer.text().as_str()), (500, "oh"));
        assert_eq!(answer.field("idempotency-replayed").as_deref(), replayed);
    }
    assert_eq!(replays.send(post("/orders", "b", "{}")).await.status, 502);
    assert_eq!(replays.send(post("/orders", "b", "{}")).await.slug(), "outcome-unknown");
    // Under the vendor's own key acting twice is acting once: at once, and by a later call.
    let answers = Arc::new(AtomicUsize::new(0));
    let counted = answers.clone();
    let vendor = Vendor::answering(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0..=2 => Reply::Reset,
        _ => Reply::ok("fine"),
    })
    .await;
    let line = "vendor_key = { header = \"X-Key\", window = \"1h\" }\nretry = { attempts = 3 }";
    let retries = gateway(&vendor, line, "idempotency_ambiguous = \"retry\"").await;
    let first = retries.send(post("/orders", "a", "{}")).await;
    assert_eq!((first.status, first.json()["executed"].as_str()), (502, Some("unknown")));
    assert_eq!(retries.send(post("/orders", "a", "{}")).await.text(), "fine");
    let keys: Vec<_> = vendor.seen().iter().map(|seen| field(seen, "x-key")).collect();
    assert!(keys.len() == 4 && keys.iter().all(|key| key.is_some() && *key == keys[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_may_free_its_key() {
    let vendor = Vendor::answering(|request| match request.contains("{}") {
        true => Reply::text("422 No\r\nContent-Length: 2", "no"),
        false => Reply::text("201 Created\r\nContent-Length: 4", "made"),
    })
    .await;
    let gateway = gateway(&vendor, "", "idempotency_stores = \"success\"").await;
    assert_eq!(gateway.send(post("/orders", "k", "{}")).await.status, 422);
    assert_eq!(gateway.send(post("/orders", "k", "{\"a\":1}")).await.status, 201);
    assert_eq!(gateway.send(post("/orders", "k", "{}")).await.slug(), "idempotency-key-reused");
    assert_eq!(vendor.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_ledger_holds_no_answer_in_clear() {
    let vendor =
        Vendor::answering(|_| Reply::text("201 Created\r\nContent-Length: 9", "4711-4712")).await;
    let config = format!(
        "[ledger]\nencryption_key = {{ file = \"key\" }}\n{HEAD}{}",
        to_vendor(vendor.address, "", "")
    );
    let folder = crate::support::Folder::with(&config);
    folder.write("key", &"ab".repeat(32));
    let gateway = UnderTest::start_in(folder).await;
    assert_eq!(gateway.send(post("/orders", "INVOICE-7", "{}")).await.status, 201);
    let folder = gateway.leave().await;
    let octets = std::fs::read(folder.path().join("data/ledger.db")).expect("a ledger");
    for secret in ["4711-4712", "INVOICE-7"] {
        let found = octets.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret}");
    }
    let gateway = UnderTest::start_in(folder).await;
    let again = gateway.send(post("/orders", "INVOICE-7", "{}")).await;
    assert_eq!((again.text().as_str(), vendor.seen().len()), ("4711-4712", 1));
    let folder = gateway.leave().await;
    folder.write("key", &"cd".repeat(32));
    let gateway = UnderTest::start_in(folder).await;
    let refused = gateway.send(post("/orders", "INVOICE-7", "{}")).await;
    assert_eq!(refused.slug(), "ledger-unavailable");
    assert!(gateway.admin_get("/readyz").await.text().contains("ledger wrong-key"));
}
