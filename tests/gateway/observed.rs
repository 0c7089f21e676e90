//! What is written down: the access log and the metrics, and what they never hold.

use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Reply, UnderTest, Vendor};

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_one_line_with_what_an_operator_needs() {
    let vendor = Vendor::answering(|_| {
        Reply::text("200 OK\r\nX-N-OperationId: op-7\r\nContent-Length: 4", "fine")
    })
    .await;
    let lines = "profile = \"netsuite\"";
    let gateway =
        UnderTest::start(&format!("{HEAD}{}", to_vendor(vendor.address, lines, ""))).await;
    gateway
        .send("POST /v/a?token=hush&b=1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    let line = gateway.log.line(&[("event", "request".into())]).await;
    let expected: [(&str, serde_json::Value); 13] = [
        ("route", "r".into()),
        ("vendor", "v".into()),
        ("client", "tester".into()),
        ("rule", "tester.toml:4".into()),
        ("method", "POST".into()),
        ("path", "/v/a?token=REDACTED&b=1".into()),
        ("status", 200.into()),
        ("attempts", 1.into()),
        ("bytes_in", 3.into()),
        ("bytes_out", 4.into()),
        ("vendor_request_id", "op-7".into()),
        ("protocol", "HTTP/1.1".into()),
        ("address", "127.0.0.1".into()),
    ];
    for (member, value) in expected {
        assert_eq!(line[member], value, "{member}: {line}");
    }
    assert!(line["total_ms"].as_f64() >= line["vendor_ms"].as_f64(), "{line}");
    assert!(!gateway.log.text().contains("hush"));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_once_by_bounded_labels() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    gateway.get("/v/a").await;
    let labels = "{client=\"tester\",method=\"GET\",route=\"r\",status=\"200\"} ";
    let metric = format!("erpgate_requests_total{labels}");
    crate::support::wait_for(&metric, async || {
        (gateway.metric(&metric).await == 1.0).then_some(())
    })
    .await;
    assert_eq!(gateway.metric("erpgate_request_duration_seconds_count{route=\"r\"} ").await, 1.0);
    let outcome = "erpgate_vendor_requests_total{outcome=\"answered\",vendor=\"v\"} ";
    assert_eq!(gateway.metric(outcome).await, 1.0);
    let tries = "erpgate_vendor_attempts_total{result=\"answered\",vendor=\"v\"} ";
    assert_eq!(gateway.metric(tries).await, 1.0);
    assert_eq!(gateway.metric("erpgate_config_generation ").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_input_makes_a_new_label() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let series = async || gateway.admin_get("/metrics").await.text().lines().count();
    for n in 0..3 {
        gateway.send(format!("M{n} /p{n} HTTP/1.1\r\nHost: h{n}\r\n\r\n")).await;
        gateway.get(&format!("/p{n}")).await;
    }
    let before = series().await;
    for n in 3..60 {
        gateway.send(format!("M{n} /p{n} HTTP/1.1\r\nHost: h{n}\r\n\r\n")).await;
        gateway.get(&format!("/p{n}")).await;
    }
    assert_eq!(series().await, before);
}
