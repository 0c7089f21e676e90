//! What could book a write twice, free its key wrongly, or say of it what is not so.

use crate::once::post;
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::vendor::field;
use crate::support::{Reply, UnderTest, Vendor, wait_for};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A vendor that gives these replies in turn, the last one for ever.
async fn in_turn(replies: Vec<Reply>) -> Vendor {
    let asked = Arc::new(AtomicUsize::new(0));
    Vendor::answering(move |_| {
        let number = asked.fetch_add(1, Ordering::SeqCst).min(replies.len() - 1);
        replies[number].clone()
    })
    .await
}

fn created() -> Reply {
    Reply::text("201 Created\r\nContent-Length: 2", "ok")
}

/// The vendor knows writes by a key of this form, and what is in doubt is made again.
fn again(vendor: SocketAddr, format: &str, window: &str) -> String {
    let key = format!(
        "vendor_key = {{ header = \"X-Key\", format = \"{format}\", window = \"{window}\" }}"
    );
    let of_vendor = format!("{key}\nretry = {{ attempts = 1 }}");
    format!("{HEAD}{}", to_vendor(vendor, &of_vendor, "idempotency_ambiguous = \"retry\""))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_again_has_the_key_of_the_first_time() {
    let vendor = in_turn(vec![Reply::Reset, Reply::Reset, created()]).await;
    let gateway = UnderTest::start(&again(vendor.address, "uuid", "24h")).await;
    for key in ["same", "other"] {
        assert_eq!(gateway.send(post("/orders", key, "{}")).await.status, 502);
    }
    let answer = gateway.send(post("/orders", "same", "{}")).await;
    assert_eq!(answer.status, 201);
    let seen = vendor.seen();
    assert_eq!(field(&seen[0], "x-key"), field(&seen[2], "x-key"));
    // The vendor would not know the first attempt by a key of another form.
    let folder = gateway.leave().await;
    folder.write("gateway.toml", &again(vendor.address, "hex32", "24h"));
    let gateway = UnderTest::start_in(folder).await;
    let answer = gateway.send(post("/orders", "other", "{}")).await;
    assert_eq!((answer.status, answer.slug().as_str()), (409, "outcome-unknown"));
    assert_eq!(vendor.seen().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_not_be_asked_again_may_have_acted() {
    let vendor = in_turn(vec![Reply::Reset, Reply::text("401 No\r\nContent-Length: 0", "")]).await;
    let gateway = UnderTest::start(&again(vendor.address, "uuid", "24h")).await;
    assert_eq!(gateway.send(post("/orders", "k", "{}")).await.status, 502);
    // Refused by the vendor; then nobody listens there any more.
    let mut vendor = Some(vendor);
    for _ in 0..2 {
        let answer = gateway.send(post("/orders", "k", "{}")).await;
        assert_eq!((answer.status, answer.slug().as_str()), (409, "outcome-unknown"));
        let told = answer.json();
        assert_eq!((&told["executed"], &told["retryable"]), (&"unknown".into(), &true.into()));
        assert_eq!(gateway.metric("erpgate_ledger_entries{state=\"unknown\"}").await, 1.0);
        if let Some(vendor) = vendor.take() {
            assert_eq!(vendor.seen().len(), 2);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_had_answered_is_told_beside_one_who_waits() {
    let vendor = Vendor::answering(|request| match request.contains("/slow") {
        true => Reply::Hang,
        false => Reply::text("201 Created\r\nContent-Length: 4", "made"),
    })
    .await;
    let shared = tempfile::tempdir().expect("a folder");
    let ledger = shared.path().join("ledger.db");
    let of_vendor = to_vendor(vendor.address, "concurrency = 1", "");
    let config = format!("[ledger]\npath = \"{}\"\n{HEAD}{of_vendor}", ledger.display());
    let (old, new) = (UnderTest::start(&config).await, UnderTest::start(&config).await);
    let mut slow = new.connect().await;
    slow.send(post("/slow", "slow", "{}")).await;
    wait_for("the vendor", async || (!vendor.seen().is_empty()).then_some(())).await;
    let mut waiting = new.connect().await;
    waiting.send(post("/orders", "k", "{}")).await;
    wait_for("a queue", async || {
        (new.metric("erpgate_pool_queue_depth{pool=\"v\"}").await == 1.0).then_some(())
    })
    .await;
    assert_eq!(new.send(post("/orders", "k", "{}")).await.slug(), "request-in-flight");
    assert_eq!(old.send(post("/orders", "k", "{}")).await.status, 201);
    let again = new.send(post("/orders", "k", "{}")).await;
    assert_eq!((again.status, again.text().as_str()), (201, "made"));
    assert_eq!(again.field("idempotency-replayed").as_deref(), Some("true"));
    assert_eq!(new.send(post("/orders", "k", "[]")).await.slug(), "idempotency-key-reused");
    assert_eq!(vendor.seen().len(), 2);
}
