//! The end of a process: signals, drain, replacement, and never a failed request.

use crate::support::process::Process;
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Folder, Raw, Reply, Vendor, wait_for, within};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

fn folder(vendor: SocketAddr, server: &str) -> Folder {
    Folder::with(&format!("[server]\n{server}\n{HEAD}{}", to_vendor(vendor, "", "")))
}

const LISTENER: &str = "127.0.0.1:0";

async fn get(address: SocketAddr, path: &str) -> Option<u16> {
    let tcp = tokio::net::TcpStream::connect(address).await.ok()?;
    let mut raw = Raw::over(tcp);
    raw.try_send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await.ok()?;
    Some(raw.answer_or_end().await?.status)
}

/// Clients that send one request after another, each counted; a wrong or a cut answer panics. A
/// connection that ends without any answer is opened anew: whether its request was read, the
/// vendor's count tells at the end.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    clients: JoinSet<()>,
}

impl Load {
    fn on(address: SocketAddr, clients: usize) -> Load {
        let mut load =
            Load { stop: Arc::default(), served: Arc::default(), clients: JoinSet::new() };
        for _ in 0..clients {
            load.clients.spawn(one_client(address, load.stop.clone(), load.served.clone()));
        }
        load
    }

    async fn has_served(&self, more: u64) {
        let goal = self.served.load(Ordering::Relaxed) + more;
        wait_for("load", async || (self.served.load(Ordering::Relaxed) >= goal).then_some(()))
            .await;
    }

    async fn ends_well(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.expect("no failed request");
        }
        self.served.load(Ordering::Relaxed)
    }
}

async fn one_client(address: SocketAddr, stop: Arc<AtomicBool>, served: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        // Nobody listens any more: the end of a drain.
        let Ok(tcp) = tokio::net::TcpStream::connect(address).await else { return };
        let mut raw = Raw::over(tcp);
        while !stop.load(Ordering::Relaxed) {
            let request = "POST /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}";
            let sent = raw.try_send(request).await;
            let answer = match sent {
                Ok(()) => raw.answer_or_end().await,
                Err(_) => None,
            };
            match answer {
                Some(answer) => {
                    assert_eq!((answer.status, answer.complete), (200, true), "{answer:?}");
                    served.fetch_add(1, Ordering::Relaxed);
                    if answer.field("connection").as_deref() == Some("close") {
                        break;
                    }
                }
                // The connection ended before the request was read; a fresh one was reset in
                // the queue of the system. Neither is an answer that the vendor did not give.
                None => break,
            }
        }
    }
}

/// A vendor that answers each request when told to.
async fn gated_vendor() -> (Vendor, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let vendor = Vendor::answering(move |_| {
        // The reply is made on a runtime thread: wait for the gate without blocking the others.
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                held.acquire().await.expect("open").forget();
            });
        });
        Reply::ok("fine")
    })
    .await;
    (vendor, gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sigterm_finishes_what_is_under_way_and_exits_with_0() {
    let (vendor, gate) = gated_vendor().await;
    let folder = folder(vendor.address, "drain_timeout = \"20s\"");
    let mut process = Process::run(&folder, &[]);
    let address = process.address(LISTENER).await;
    let admin = process.address("admin").await;
    assert_eq!(get(admin, "/readyz").await, Some(200));
    let mut idle = Raw::connect(address).await;
    let mut busy = Raw::connect(address).await;
    busy.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    wait_for("the vendor to be asked", async || vendor.seen().pop()).await;
    process.signal("TERM");
    wait_for("readiness to end", async || (get(admin, "/readyz").await == Some(503)).then_some(()))
        .await;
    idle.ended().await;
    gate.add_permits(1);
    let answer = busy.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
    assert_eq!(process.exit_status().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_outlasts_the_drain_is_cut_and_said() {
    let (vendor, _gate) = gated_vendor().await;
    let folder = folder(vendor.address, "drain_timeout = \"300ms\"");
    let mut process = Process::run(&folder, &[]);
    let mut busy = Raw::connect(process.address(LISTENER).await).await;
    busy.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    wait_for("the vendor to be asked", async || vendor.seen().pop()).await;
    process.signal("TERM");
    assert_eq!(process.exit_status().await, 3);
    _gate.add_permits(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_sigterm_ends_at_once() {
    let (vendor, gate) = gated_vendor().await;
    let folder = folder(vendor.address, "drain_timeout = \"1h\"");
    let mut process = Process::run(&folder, &[]);
    let mut busy = Raw::connect(process.address(LISTENER).await).await;
    busy.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    wait_for("the vendor to be asked", async || vendor.seen().pop()).await;
    process.signal("TERM");
    process.line(&[("event", "leaving".into())]).await;
    process.signal("TERM");
    assert_eq!(process.exit_status().await, 3);
    gate.add_permits(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sigterm_under_load_fails_no_request() {
    let vendor = Vendor::fine().await;
    let folder = folder(vendor.address, "drain_timeout = \"20s\"");
    let mut process = Process::run(&folder, &[]);
    let load = Load::on(process.address(LISTENER).await, 8);
    load.has_served(500).await;
    process.signal("TERM");
    assert_eq!(process.exit_status().await, 0);
    let answered = load.ends_well().await;
    assert_eq!(vendor.seen().len() as u64, answered, "each request that was read was answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sighup_reloads() {
    let vendor = Vendor::fine().await;
    let folder = folder(vendor.address, "");
    let process = Process::run(&folder, &[]);
    process.address("admin").await;
    process.signal("HUP");
    let audit = [("action", "reload".into()), ("asked_by", "signal".into())];
    assert_eq!(process.line(&audit).await["result"], "accepted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replacement_under_load_fails_no_request() {
    let vendor = Vendor::fine().await;
    let folder = folder(vendor.address, "drain_timeout = \"20s\"");
    let mut old = Process::run(&folder, &[]);
    let (address, admin) = (old.address(LISTENER).await, old.address("admin").await);
    let load = Load::on(address, 8);
    load.has_served(300).await;
    for _ in 0..2 {
        let new = Process::run(&folder, &["--replace"]);
        assert_eq!(new.address(LISTENER).await, address, "the same sockets");
        assert_eq!(new.address("admin").await, admin);
        assert_eq!(old.exit_status().await, 0);
        load.has_served(300).await;
        assert_eq!(get(admin, "/readyz").await, Some(200));
        old = new;
    }
    let answered = load.ends_well().await;
    assert_eq!(vendor.seen().len() as u64, answered, "each request that was read was answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_draining_gateway_takes_no_further_connection() {
    let (vendor, gate) = gated_vendor().await;
    let folder = folder(vendor.address, "drain_timeout = \"20s\"");
    let mut process = Process::run(&folder, &[]);
    let address = process.address(LISTENER).await;
    let mut busy = Raw::connect(address).await;
    busy.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    wait_for("the vendor to be asked", async || vendor.seen().pop()).await;
    process.signal("TERM");
    // Refused by the system, not accepted by a socket that nobody serves.
    wait_for("the end of the listener", async || {
        tokio::net::TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    gate.add_permits(1);
    assert_eq!(busy.answer().await.status, 200);
    assert_eq!(process.exit_status().await, 0);
    assert!(!folder.path().join("data/handover.sock").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_successor_that_fails_leaves_the_old_one_serving() {
    let vendor = Vendor::fine().await;
    let folder = folder(vendor.address, "");
    let old = Process::run(&folder, &[]);
    let address = old.address(LISTENER).await;
    // It takes the sockets and says nothing more.
    let path = folder.path().join("data/handover.sock");
    let taken = tokio::task::spawn_blocking(move || erpgate::gateway::handover::take(&path));
    let (sockets, predecessor) =
        within("the sockets", taken).await.expect("no panic").expect("given");
    assert_eq!(sockets.len(), 2);
    drop((sockets, predecessor));
    let audit = [("action", "handover".into()), ("result", "the successor failed".into())];
    old.line(&audit).await;
    assert_eq!(get(address, "/v/a").await, Some(200));
}
