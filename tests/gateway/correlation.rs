//! Every answer and every vendor request carries the correlation id; traces go on.

use crate::support::vendor::field;
use crate::support::{Reply, UnderTest, Vendor};

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_id_is_kept_and_reaches_the_vendor() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let request = "GET /v/a HTTP/1.1\r\nHost: gw\r\nX-Correlation-ID: client-chosen.1\r\n\r\n";
    let answer = gateway.send(request).await;
    assert_eq!(answer.field("x-correlation-id").as_deref(), Some("client-chosen.1"));
    assert_eq!(field(&vendor.only(), "x-correlation-id").as_deref(), Some("client-chosen.1"));
    gateway.log.line(&[("correlation_id", "client-chosen.1".into())]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_id_is_replaced_and_logged_escaped() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let request = "GET /v/a HTTP/1.1\r\nHost: gw\r\nX-Correlation-ID: <script>alert(1)\r\n\r\n";
    let answer = gateway.send(request).await;
    let id = answer.field("x-correlation-id").expect("an id");
    assert_eq!(id.len(), 36, "{id}");
    assert_eq!(id.as_bytes()[14], b'7', "a UUIDv7: {id}");
    assert_eq!(field(&vendor.only(), "x-correlation-id"), Some(id.clone()));
    let line =
        gateway.log.line(&[("event", "request".into()), ("correlation_id", id.into())]).await;
    assert_eq!(line["client_correlation_id"], "<script>alert(1)");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_carry_it_too() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let request = "GET /nowhere HTTP/1.1\r\nHost: gw\r\nX-Correlation-ID: client-chosen.2\r\n\r\n";
    let answer = gateway.send(request).await;
    assert_eq!(answer.slug(), "route-not-found");
    assert_eq!(answer.json()["correlation_id"], "client-chosen.2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_cannot_be_parsed_gets_one_as_well() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let mut raw = gateway.connect().await;
    raw.send("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n").await;
    let answer = raw.answer().await;
    assert_eq!(answer.slug(), "request-malformed");
    raw.ended().await;
    assert!(vendor.seen().is_empty());
    let id = answer.field("x-correlation-id").expect("an id");
    gateway.log.line(&[("event", "malformed-head".into()), ("correlation_id", id.into())]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendors_own_id_is_not_the_gateways() {
    let vendor = Vendor::answering(|_| {
        Reply::text("200 OK\r\nX-Correlation-ID: theirs\r\nContent-Length: 0", "")
    })
    .await;
    let gateway = UnderTest::before(vendor.address).await;
    let answer = gateway.get("/v/a").await;
    assert_eq!(answer.field("x-vendor-correlation-id").as_deref(), Some("theirs"));
    let id = answer.field("x-correlation-id").expect("an id");
    assert_ne!(id, "theirs");
    let line =
        gateway.log.line(&[("event", "request".into()), ("correlation_id", id.into())]).await;
    assert_eq!(line["vendor_correlation_id"], "theirs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_on_with_a_new_parent() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = format!(
        "GET /v/a HTTP/1.1\r\nHost: gw\r\ntraceparent: {parent}\r\ntracestate: b=2\r\n\r\n"
    );
    gateway.send(request).await;
    let sent = field(&vendor.only(), "traceparent").expect("a parent");
    assert!(sent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{sent}");
    assert_ne!(sent, parent);
    assert_eq!(field(&vendor.only(), "tracestate").as_deref(), Some("b=2"));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    gateway.log.line(&[("trace_id", trace.into())]).await;
}
