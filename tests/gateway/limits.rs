//! Deadlines between requests, and how many connections there may be.

use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Raw, Reply, UnderTest, Vendor, wait_for};
use erpgate::cli::question::Question;
use erpgate::refusal::Refusal;
use std::time::Duration;

async fn with_listener_lines(lines: &str) -> (UnderTest, Vendor) {
    let vendor = Vendor::fine().await;
    let head = HEAD.replacen("[admin]", &format!("{lines}\n[admin]"), 1);
    let gateway = UnderTest::start(&format!("{head}{}", to_vendor(vendor.address, "", ""))).await;
    (gateway, vendor)
}

async fn closed(gateway: &UnderTest, reason: &str) {
    let labels = format!("{{listener=\"127.0.0.1:0\",reason=\"{reason}\"}} ");
    let metric = format!("erpgate_connections_closed_total{labels}");
    wait_for(&metric, async || (gateway.metric(&metric).await >= 1.0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_to_come_in_time_however_its_bytes_drip() {
    let (gateway, vendor) = with_listener_lines("header_timeout = \"300ms\"").await;
    let mut raw = gateway.connect().await;
    raw.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n").await;
    // A byte now and then does not help: the deadline is for the whole head.
    let dripping = async {
        while raw.try_send("X: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await; // poll interval
        }
    };
    crate::support::within("the end of the connection", dripping).await;
    closed(&gateway, "header-timeout").await;
    gateway.log.line(&[("reason", "header-timeout".into())]).await;
    assert!(vendor.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_ends_before_and_after_a_request() {
    let (gateway, _vendor) = with_listener_lines("idle_timeout = \"300ms\"").await;
    let mut fresh = gateway.connect().await;
    fresh.ended().await;
    let mut used = gateway.connect().await;
    used.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    assert_eq!(used.answer().await.status, 200);
    used.ended().await;
    closed(&gateway, "idle-timeout").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_does_not_keep_the_others_waiting() {
    let (gateway, _vendor) = with_listener_lines("").await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut raw = gateway.connect().await;
        raw.send("GET /v/a HTTP/1.1\r\nHos").await;
        slow.push(raw);
    }
    assert_eq!(gateway.get("/v/a").await.status, 200);
    drop(slow);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_more_connections_than_allowed() {
    for (lines, reason) in [
        ("connections_max = 2", "listener-full"),
        ("connections_max_per_address = 2", "address-full"),
    ] {
        let (gateway, _vendor) = with_listener_lines(lines).await;
        let mut first = gateway.connect().await;
        let mut second = gateway.connect().await;
        for raw in [&mut first, &mut second] {
            raw.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
            assert_eq!(raw.answer().await.status, 200);
        }
        gateway.connect().await.ended().await;
        closed(&gateway, reason).await;
        drop(first);
        // The place is given back.
        wait_for("a free place", async || {
            let mut raw = Raw::connect(gateway.address(0)).await;
            raw.try_send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await.ok()?;
            raw.answer_or_end().await
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stalls_half_way_is_cut_and_said() {
    let stalled = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".to_vec();
    let vendor = Vendor::answering(move |_| Reply::Octets(stalled.clone())).await;
    let lines = "deadline = \"300ms\"";
    let gateway =
        UnderTest::start(&format!("{HEAD}{}", to_vendor(vendor.address, "", lines))).await;
    let answer = gateway.get("/v/a").await;
    assert_eq!((answer.status, answer.complete), (200, false));
    let line = gateway.log.line(&[("event", "request".into())]).await;
    assert_eq!(line["status"], 200);
    assert!(line["reason"].is_string(), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_drips_its_head_is_not_waited_for() {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("bound");
    let vendor = tokio::spawn(async move {
        let (mut tcp, _) = socket.accept().await.expect("a connection");
        let mut drip = b"HTTP/1.1 200 OK\r\n".to_vec();
        while tokio::io::AsyncWriteExt::write_all(&mut tcp, &drip).await.is_ok() {
            drip = b"X: y\r\n".to_vec();
            tokio::time::sleep(Duration::from_millis(20)).await; // poll interval
        }
    });
    let lines = "deadline = \"300ms\"\nbody_max = \"none\"";
    let gateway = UnderTest::start(&format!("{HEAD}{}", to_vendor(address, "", lines))).await;
    let mut raw = gateway.connect().await;
    raw.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    if let Some(answer) = raw.answer_or_end().await {
        assert_eq!(answer.slug(), "deadline-exceeded");
    }
    raw.ended().await;
    crate::support::within("the vendor to be left", vendor).await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_late_already_asks_no_vendor() {
    let vendor = Vendor::fine().await;
    let lines = "deadline = \"300ms\"";
    let gateway =
        UnderTest::start(&format!("{HEAD}{}", to_vendor(vendor.address, "", lines))).await;
    let question = Question {
        method: "GET".to_owned(),
        target: "/v/a".to_owned(),
        client: "tester".to_owned(),
        scopes: Vec::new(),
    };
    let snapshot = gateway.serving.gateway.state.snapshot.load_full();
    let mut exchange = question.ask(&snapshot).expect("a listener").exchange;
    let deadline = exchange.began + Duration::from_millis(300);
    assert_eq!(exchange.begin_attempt(deadline), Err(Refusal::DeadlineExceeded));
    assert_eq!((exchange.vendor.attempts, exchange.vendor.asked), (0, None));
    let last = Duration::from_millis(1);
    assert_eq!(exchange.begin_attempt(deadline - last), Ok((0, last)));
    assert_eq!(exchange.begin_attempt(deadline), Err(Refusal::DeadlineExceeded));
    assert_eq!((exchange.vendor.attempts, exchange.vendor.asked), (1, Some(deadline - last)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_counted_whatever_its_framing() {
    let vendor = Vendor::fine().await;
    let config = format!("{HEAD}{}", to_vendor(vendor.address, "", "body_max = \"64B\""));
    let gateway = UnderTest::start(&config).await;
    let chunked = |body: &str| {
        let head = "POST /v/a HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
    };
    assert_eq!(gateway.send(chunked(&"a".repeat(64))).await.status, 200);
    let answer = gateway.send(chunked(&"a".repeat(65))).await;
    assert_eq!(answer.slug(), "payload-too-large");
    assert_eq!(vendor.seen().len(), 1, "the second one never completes at the vendor");
}
