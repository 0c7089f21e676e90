//! What still waits when a drain ends is told so, and is not cut.

use crate::documents::{Told, assert_told};
use crate::support::process::Process;
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Folder, Raw, Reply, Vendor, wait_for};
use std::net::SocketAddr;

const DRAINING: Told<'static> = Told {
    status: 503,
    code: "gateway-draining",
    title: "Gateway draining",
    detail: "The gateway is leaving, and the request was not sent.",
    action: "Wait as long as Retry-After says, then try again.",
    retryable: true,
    challenge: None,
    error: "proxy_internal_error",
};

const BUSY: &str =
    "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3000\r\nContent-Length: 4\r\n\r\nbusy";

async fn metrics(admin: SocketAddr) -> String {
    let mut raw = Raw::connect(admin).await;
    raw.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    raw.answer().await.text()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_waits_until_the_drain_ends_is_turned_away_and_nothing_is_cut() {
    let vendor = Vendor::answering(|_| Reply::Octets(BUSY.as_bytes().to_vec())).await;
    let vendor_lines = "concurrency = 1\nqueue = { max_wait = \"1h\" }";
    let route_lines = "deadline = \"1h\"\nserialize_by = \"path:1\"";
    let of_vendor = to_vendor(vendor.address, vendor_lines, route_lines);
    let folder = Folder::with(&format!("[server]\ndrain_timeout = \"10s\"\n{HEAD}{of_vendor}"));
    let mut process = Process::run(&folder, &[]);
    let address = process.address("127.0.0.1:0").await;
    let admin = process.address("admin").await;
    // The vendor asks for a long pause: all of them wait, the second one for the first one's turn.
    let mut waiting = Vec::new();
    for path in ["/v/a", "/v/a", "/v/b"] {
        let mut raw = Raw::connect(address).await;
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: gw\r\n\r\n")).await;
        waiting.push(raw);
        wait_for("the pause", async || {
            metrics(admin).await.contains("pool_paused{pool=\"v\"} 1").then_some(())
        })
        .await;
    }
    wait_for("a queue", async || {
        metrics(admin).await.contains("pool_queue_depth{pool=\"v\"} 2").then_some(())
    })
    .await;
    let mut uploading = Raw::connect(address).await;
    uploading.send("POST /v/c HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{").await;
    process.signal("TERM");
    // The first one was at the vendor before, which said that it did nothing.
    let answer = waiting.remove(0).answer().await;
    assert_eq!((answer.slug(), answer.status), ("gateway-draining".into(), 503));
    let told = answer.json();
    assert_eq!((&told["executed"], &told["vendor"]["name"]), (&"no".into(), &"v".into()));
    for mut raw in waiting {
        let answer = raw.answer().await;
        assert_told(&answer, &DRAINING);
        assert_eq!(answer.field("retry-after").as_deref(), Some("1"));
        assert_eq!(answer.field("connection").as_deref(), Some("close"));
    }
    // Nobody begins to wait either.
    uploading.send("}").await;
    assert_told(&uploading.answer().await, &DRAINING);
    assert_eq!(process.exit_status().await, 0);
    assert_eq!(vendor.seen().len(), 1);
}
