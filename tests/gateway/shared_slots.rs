//! A replacement shares the vendor: both processes together stay within its limit.

use crate::support::process::Process;
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Folder, Raw, Reply, Vendor, wait_for};
use erpgate::sandbox::{NetSuite, Options};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const LISTENER: &str = "127.0.0.1:0";

fn folder(vendor: SocketAddr, lines: &str) -> Folder {
    let of_vendor = to_vendor(vendor, lines, "deadline = \"5m\"");
    Folder::with(&format!("[server]\ndrain_timeout = \"20s\"\n{HEAD}{of_vendor}"))
}

async fn control(simulator: &NetSuite, change: Value) -> Value {
    let body = change.to_string();
    let mut raw = Raw::connect(simulator.control_address()).await.bare();
    let head = "POST /_sandbox/control HTTP/1.1\r\nHost: localhost\r\nContent-Length";
    raw.send(format!("{head}: {}\r\n\r\n{body}", body.len())).await;
    raw.answer().await.json()
}

/// Sends one request after the other; each answer has to be the vendor's own.
async fn one_client(address: SocketAddr, stop: Arc<AtomicBool>, served: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(tcp) = tokio::net::TcpStream::connect(address).await else { continue };
        let mut raw = Raw::over(tcp);
        while !stop.load(Ordering::Relaxed) {
            let target = "/v/services/rest/record/v1/customer/1";
            let request = format!("GET {target} HTTP/1.1\r\nHost: gw\r\n\r\n");
            let answer = match raw.try_send(request).await {
                Ok(()) => raw.answer_or_end().await,
                Err(_) => None,
            };
            // An idle connection may end before its next request was read.
            let Some(answer) = answer else { break };
            assert_eq!((answer.status, answer.complete), (404, true), "{answer:?}");
            served.fetch_add(1, Ordering::Relaxed);
            if answer.field("connection").as_deref() == Some("close") {
                break;
            }
        }
    }
}

async fn metric(admin: SocketAddr, name_and_value: &str) -> Option<()> {
    let mut raw = Raw::over(tokio::net::TcpStream::connect(admin).await.ok()?);
    raw.try_send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.ok()?;
    raw.answer_or_end().await?.text().contains(name_and_value).then_some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replacement_under_load_meets_no_throttle() {
    let listen = LISTENER.parse().expect("an address");
    let simulator = NetSuite::start(Options { listen, concurrency: 2 }).await.expect("listens");
    control(&simulator, json!({ "latency_ms": 5 })).await;
    let lines = "profile = \"netsuite\"\nconcurrency = 2\nqueue = { max_wait = \"5m\" }";
    let folder = folder(simulator.address(), lines);
    let mut old = Process::run(&folder, &[]);
    let address = old.address(LISTENER).await;
    let (stop, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(one_client(address, stop.clone(), served.clone()));
    }
    let has_served = async |more: u64| {
        let goal = served.load(Ordering::Relaxed) + more;
        wait_for("load", async || (served.load(Ordering::Relaxed) >= goal).then_some(())).await;
    };
    has_served(50).await;
    for _ in 0..2 {
        let new = Process::run(&folder, &["--replace"]);
        assert_eq!(new.address(LISTENER).await, address);
        assert_eq!(old.exit_status().await, 0);
        new.line(&[("event", "predecessor".into()), ("result", "gone".into())]).await;
        has_served(50).await;
        old = new;
    }
    let seen = control(&simulator, json!({})).await;
    assert_eq!((&seen["throttled"], &seen["peak_in_flight"]), (&json!(0), &json!(2)), "{seen}");
    stop.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.expect("no failed request");
    }
}

/// A vendor that takes two at a time and answers when it is told to, between two processes: the
/// predecessor has one request there, the successor one, and another one waits.
struct Between {
    vendor: Vendor,
    gate: Arc<Semaphore>,
    address: SocketAddr,
    old: Process,
    new: Process,
    /// Of the predecessor, then of the successor.
    asking: Vec<Raw>,
    /// A request to the predecessor of which the last octet is not sent.
    late: Raw,
    _folder: Folder,
}

impl Between {
    async fn begin() -> Between {
        let gate = Arc::new(Semaphore::new(0));
        let held = gate.clone();
        let vendor = Vendor::answering(move |_| {
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    held.acquire().await.expect("open").forget();
                });
            });
            Reply::ok("fine")
        })
        .await;
        let folder = folder(vendor.address, "concurrency = 2");
        let old = Process::run(&folder, &[]);
        let address = old.address(LISTENER).await;
        let mut idle = Raw::connect(address).await;
        let asking = vec![ask(address).await];
        let mut late = Raw::connect(address).await;
        late.send("POST /v/late HTTP/1.1\r\nHost: gw\r\nContent-Length: 1\r\n\r\n").await;
        asked(&vendor, 1).await;
        let new = Process::run(&folder, &["--replace"]);
        let admin = new.address("admin").await;
        // From then on the predecessor takes no connection.
        idle.ended().await;
        let mut between =
            Between { vendor, gate, address, old, new, asking, late, _folder: folder };
        for _ in 0..2 {
            between.asking.push(ask(address).await);
        }
        asked(&between.vendor, 2).await;
        let depth = "erpgate_pool_queue_depth{pool=\"v\"} 1\n";
        wait_for("the third one to wait", async || metric(admin, depth).await).await;
        assert_eq!(between.vendor.seen().len(), 2);
        between
    }
}

async fn ask(address: SocketAddr) -> Raw {
    let mut raw = Raw::connect(address).await;
    raw.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    raw
}

async fn asked(vendor: &Vendor, times: usize) {
    wait_for("the vendor to be asked", async || (vendor.seen().len() == times).then_some(())).await;
}

const GONE: [(&str, &str); 2] = [("event", "predecessor"), ("result", "gone")];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_slot_of_a_predecessor_is_the_successors_once_it_is_free() {
    let mut it = Between::begin().await;
    // The predecessor's late one asks for a slot, and gets the next one that is free.
    it.late.send("1").await;
    it.gate.add_permits(4);
    assert_eq!(it.late.answer().await.status, 200);
    for mut raw in std::mem::take(&mut it.asking) {
        assert_eq!(raw.answer().await.status, 200);
    }
    assert_eq!(it.old.exit_status().await, 0);
    it.new.line(&GONE.map(|(name, value)| (name, value.into()))).await;
    // Alone, it has both.
    let _more = [ask(it.address).await, ask(it.address).await];
    asked(&it.vendor, 6).await;
    it.gate.add_permits(2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_slot_of_a_predecessor_that_is_killed_is_the_successors() {
    let it = Between::begin().await;
    it.old.signal("KILL");
    it.new.line(&GONE.map(|(name, value)| (name, value.into()))).await;
    asked(&it.vendor, 3).await;
    it.gate.add_permits(3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_slot_of_a_successor_that_is_killed_is_the_predecessors() {
    let mut it = Between::begin().await;
    it.new.signal("KILL");
    it.late.send("1").await;
    asked(&it.vendor, 3).await;
    it.gate.add_permits(3);
    assert_eq!(it.late.answer().await.status, 200);
    assert_eq!(it.asking.remove(0).answer().await.status, 200);
    assert_eq!(it.old.exit_status().await, 0);
}
