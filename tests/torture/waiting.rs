//! Those who wait, those who hang up, and those who ask all at once.

use crate::plan::Plan;
use crate::pulse::Beat;
use crate::reading::{Final, Reading};
use crate::site::Memory;
use crate::stage::Stage;
use crate::vendor::temper::Temper;
use crate::write::{Lane, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(30);

async fn gated() -> (Stage, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let plan = Plan::held();
    let stage = Stage::open(plan, Temper::Gated(gate.clone()), Memory::Kept, None).await;
    (stage, gate)
}

/// Each of the writes by a client of its own, until it is answered.
fn send_all(stage: &Stage, writes: &[Write]) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    for (copy, write) in (0..).zip(writes.iter().copied()) {
        let clients = stage.clients.clone();
        workers.spawn(async move { clients.settle(write, copy).await });
    }
    workers
}

async fn wait_for(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !fact().await {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await; // poll interval
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_when_the_gateway_is_killed_is_not_unknown() {
    const WAITING: u64 = 200;
    let (mut stage, gate) = gated().await;
    let writes: Vec<Write> =
        (0..WAITING).map(|number| Write { number, lane: Lane::Narrow }).collect();
    let workers = send_all(&stage, &writes);
    wait_for("a queue", async || {
        let metrics = stage.admin("/metrics").await;
        let text = metrics.map(|metrics| String::from_utf8_lossy(&metrics.body).into_owned());
        let depth = "erpgate_pool_queue_depth{pool=\"narrow\"} ";
        let depth =
            text.iter().flat_map(|text| text.lines()).find_map(|line| line.strip_prefix(depth));
        // Some of the clients hang up or break off: they come again.
        depth.and_then(|depth| depth.parse::<f64>().ok()).is_some_and(|depth| depth >= 190.0)
    })
    .await;
    let sent = stage.pulse.count(Beat::Arrived);
    stage.kill();
    stage.revive().await;
    let unknown = stage.unknown().await.expect("a list");
    assert!(unknown.len() as u64 <= sent, "{sent} were sent, unknown are {unknown:#?}");
    stage.vendor.becomes(Temper::Calm);
    gate.add_permits(1000);
    stage.settles(workers).await;
    for write in writes {
        assert_eq!(stage.vendor.books.entry(&write.external_id()).booked, 1, "{write:?}");
    }
    stage.holds("a queue");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_finds_the_answer() {
    for lane in [Lane::ExternalId, Lane::Header, Lane::Remembered] {
        let (stage, gate) = gated().await;
        let writes: Vec<Write> = (0..20).map(|number| Write { number, lane }).collect();
        for write in &writes {
            assert!(stage.clients.hang_up(*write).await);
            if write.number.is_multiple_of(2) {
                // From here on it is the vendor's, with or without its client.
                let id = write.external_id();
                wait_for("it", async || stage.vendor.books.entry(&id).arrivals == 1).await;
            }
        }
        gate.add_permits(1000);
        stage.settles(send_all(&stage, &writes)).await;
        for write in writes {
            let entry = stage.vendor.books.entry(&write.external_id());
            assert_eq!((entry.arrivals, entry.booked), (1, 1), "{write:?}");
        }
        stage.holds("who hangs up");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_duplicates_reach_the_vendor_once() {
    for lane in [Lane::ExternalId, Lane::Header] {
        let (stage, gate) = gated().await;
        let write = Write { number: 1, lane };
        let workers = send_all(&stage, &[write; 1000]);
        assert!(stage.pulse.reaches(Beat::Sent, 1000).await, "all have sent");
        gate.add_permits(1);
        stage.settles(workers).await;
        let entry = stage.vendor.books.entry(&write.external_id());
        assert_eq!((entry.arrivals, entry.booked), (1, 1));
        let again = stage.clients.ask_once(write).await;
        let kept = |reading: &Reading| match reading {
            Reading::Final { answer: Final::Kept { status, .. }, replayed } => {
                (*status, *replayed) == (201, true)
            }
            _ => false,
        };
        assert!(kept(&again), "{again:?}");
        stage.holds("duplicates");
    }
}
