//! Streams of any size in constant memory, both ways.

use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Raw, UnderTest, wait_for};
use erpgate::sandbox::{NetSuite, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Larger than every buffer on the way together; `make bench` does it with 1 GiB and looks at
/// the memory.
const SIZE: u64 = 64 << 20;

async fn to_simulator(listener_lines: &str) -> (UnderTest, NetSuite) {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let simulator = NetSuite::start(Options { listen, concurrency: 5 }).await.expect("listens");
    let lines = "body_max = \"none\"";
    let head = HEAD.replacen("[admin]", &format!("{listener_lines}\n[admin]"), 1);
    let config = format!("{head}{}", to_vendor(simulator.address(), "", lines));
    (UnderTest::start(&config).await, simulator)
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads() {
    let (gateway, _simulator) = to_simulator("").await;
    for query in ["", "?length=1"] {
        let mut raw = Raw::connect(gateway.address(0)).await;
        let target = format!("/v/_sandbox/stream/{SIZE}{query}");
        raw.send(format!("GET {target} HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")).await;
        let mut received = 0;
        let mut part = vec![0; 1 << 16];
        loop {
            match raw.stream.read(&mut part).await.expect("no reset") {
                0 => break,
                read => received += read as u64,
            }
        }
        assert!(received >= SIZE, "{received}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads() {
    let (gateway, _simulator) = to_simulator("").await;
    let mut raw = Raw::connect(gateway.address(0)).await;
    let target = "/v/_sandbox/sink";
    raw.send(format!("POST {target} HTTP/1.1\r\nHost: gw\r\nContent-Length: {SIZE}\r\n\r\n")).await;
    let part = vec![b'a'; 1 << 20];
    for _ in 0..SIZE >> 20 {
        raw.stream.write_all(&part).await.expect("taken");
    }
    let answer = raw.answer().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["bytes"], SIZE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_take_its_answer_is_cut() {
    let (gateway, _simulator) = to_simulator("body_timeout = \"300ms\"").await;
    let mut raw = Raw::connect(gateway.address(0)).await;
    raw.send(format!("GET /v/_sandbox/stream/{SIZE} HTTP/1.1\r\nHost: gw\r\n\r\n")).await;
    let labels = "{listener=\"127.0.0.1:0\",reason=\"body-timeout\"} ";
    let metric = format!("erpgate_connections_closed_total{labels}");
    wait_for(&metric, async || (gateway.metric(&metric).await == 1.0).then_some(())).await;
    gateway.log.line(&[("event", "request".into()), ("status", 200.into())]).await;
}
