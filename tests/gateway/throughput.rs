//! A vendor that takes few requests at a time: nobody sees its throttles, everybody's turn comes.

use crate::support::under_test::{HEAD, to_vendor};
use crate::support::vendor::field;
use crate::support::{Answer, Folder, Raw, Reply, UnderTest, Vendor, wait_for, within};
use bytes::Bytes;
use erpgate::model::digest::Sha256;
use erpgate::sandbox::{NetSuite, Options};
use erpgate::stages::authentication::api_key;
use h2::client::SendRequest;
use http::Request;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const CLIENTS: u8 = 12;
const REQUESTS: usize = 500;
/// Streams that the gateway allows on a connection of HTTP/2.
const STREAMS: usize = 100;

/// A client of this number: the first one of high priority, shares of 1, 2 and 3 among the rest.
fn share(number: u8) -> u32 {
    u32::from(number % 3) + 1
}

fn policy(number: u8) -> String {
    let digest = Sha256::of(api_key::make([100 + number; 32]).as_bytes());
    let priority = if number == 1 { "high" } else { "normal" };
    format!(
        "client = \"client-{number}\"\npriority = \"{priority}\"\nshare = {}\n\
         [[identity]]\napi_key_sha256 = \"{digest}\"\n\
         [[allow]]\nroute = \"r\"\nmethods = [\"*\"]\npaths = [\"/**\"]\nscopes = []\n",
        share(number)
    )
}

async fn simulator() -> NetSuite {
    let listen = "127.0.0.1:0".parse().expect("an address");
    NetSuite::start(Options { listen, concurrency: 5 }).await.expect("listens")
}

async fn control(simulator: &NetSuite, change: Value) -> Value {
    let (body, host) = (change.to_string(), "Host: localhost");
    let mut raw = Raw::connect(simulator.control_address()).await.bare();
    let length = body.len();
    let head = format!("POST /_sandbox/control HTTP/1.1\r\n{host}\r\nContent-Length: {length}");
    raw.send(format!("{head}\r\n\r\n{body}")).await;
    raw.answer().await.json()
}

/// Sends a number of requests at once over one connection, and counts the answers by status.
async fn burst(gateway: std::net::SocketAddr, number: u8, requests: usize) -> HashMap<u16, usize> {
    let tcp = tokio::net::TcpStream::connect(gateway).await.expect("connects");
    let (send, connection) = h2::client::handshake(tcp).await.expect("speaks HTTP/2");
    // Who drops the burst drops its connection.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let mut streams = JoinSet::new();
    for _ in 0..requests {
        streams.spawn(one(send.clone(), number));
    }
    let mut statuses = HashMap::new();
    while let Some(status) = streams.join_next().await {
        *statuses.entry(status.expect("no panic")).or_default() += 1;
    }
    statuses
}

async fn one(send: SendRequest<Bytes>, number: u8) -> u16 {
    let mut send = send.ready().await.expect("ready");
    let target = "http://gw/v/services/rest/record/v1/customer/1";
    let request = Request::get(target).header("x-api-key", api_key::make([100 + number; 32]));
    let request = request.body(()).expect("a request");
    let (answer, _) = send.send_request(request, true).expect("sent");
    answer.await.expect("an answer").status().as_u16()
}

/// Looks at the pool until it is over: how often somebody waited then, and how many slots were in
/// use all those times together.
fn watch_slots(gateway: &UnderTest, over: Arc<AtomicBool>) -> tokio::task::JoinHandle<(u64, u64)> {
    let pool = gateway.serving.gateway.state.vendors.pool("v").expect("there");
    tokio::spawn(async move {
        let (mut looks, mut used) = (0, 0);
        while !over.load(Ordering::SeqCst) {
            let (waiting, in_use) = pool.with(|pool| (pool.waiting(), pool.in_use()));
            if waiting > 0 {
                (looks, used) = (looks + 1, used + u64::from(in_use));
            }
            tokio::time::sleep(Duration::from_millis(1)).await; // poll interval
        }
        (looks, used)
    })
}

/// How evenly these are spread: 1 is all the same (Jain).
fn jain(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    sum * sum / (values.len() as f64 * squares)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_end_meets_no_throttle() {
    let simulator = simulator().await;
    let queue = "profile = \"netsuite\"\nconcurrency = 5\nqueue = { max_wait = \"10m\" }";
    let route = "deadline = \"10m\"";
    let config = format!("{HEAD}{}", to_vendor(simulator.address(), queue, route));
    let folder = Folder::with(&config);
    (1..=CLIENTS).for_each(|n| folder.write(&format!("policies/client-{n}.toml"), &policy(n)));
    let gateway = UnderTest::start_in(folder).await;
    let address = gateway.address(0);
    control(&simulator, json!({ "latency_ms": 2 })).await;
    let over = Arc::new(AtomicBool::new(false));
    let watched = watch_slots(&gateway, over.clone());
    let mut bursts = JoinSet::new();
    for number in 1..=CLIENTS {
        for _ in 0..REQUESTS / STREAMS {
            bursts.spawn(burst(address, number, STREAMS));
        }
    }
    while let Some(statuses) = bursts.join_next().await {
        // There is no such customer; that it says so is its answer.
        assert_eq!(statuses.expect("no panic"), HashMap::from([(404, STREAMS)]));
    }
    let seen = control(&simulator, json!({})).await;
    assert_eq!(seen["throttled"], 0, "{seen}");
    assert_eq!(seen["peak_in_flight"], 5, "{seen}");
    // While anybody waits, no slot is free.
    over.store(true, Ordering::SeqCst);
    let (looks, used) = watched.await.expect("no panic");
    assert!(looks > 100 && used as f64 >= 0.95 * 5.0 * looks as f64, "{used} in {looks} looks");
    gateway.settled(usize::from(CLIENTS) * REQUESTS).await;
    assert_eq!(gateway.metric("erpgate_pool_concurrency_in_use{pool=\"v\"}").await, 0.0);
    assert_eq!(gateway.metric("erpgate_pool_queue_depth{pool=\"v\"}").await, 0.0);
    fair(&served(&gateway));
}

/// The clients of the finished requests, in their order, with how long each waited.
fn served(gateway: &UnderTest) -> Vec<(u8, f64)> {
    let text = gateway.log.text();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let requests = lines.filter(|line| line["event"] == "request");
    let one = |line: Value| {
        let number = line["client"].as_str()?.strip_prefix("client-")?.parse().ok()?;
        Some((number, line["queue_ms"].as_f64()?))
    };
    requests.map(|line| one(line).expect("a client's request")).collect()
}

fn fair(served: &[(u8, f64)]) {
    let percentile = |mut waits: Vec<f64>, part: f64| {
        waits.sort_by(f64::total_cmp);
        waits[((waits.len() - 1) as f64 * part) as usize]
    };
    let (high, normal): (Vec<_>, Vec<_>) = served.iter().partition(|(number, _)| *number == 1);
    let waits = |of: Vec<(u8, f64)>| of.into_iter().map(|(_, wait)| wait).collect();
    let (high, normal_waits) = (percentile(waits(high), 0.99), percentile(waits(normal), 0.5));
    assert!(high < normal_waits, "high waits {high} ms, normal {normal_waits} ms");
    // Until the first queue is empty, admissions follow the shares.
    let mut counts: HashMap<u8, usize> = HashMap::new();
    for (number, _) in served.iter().filter(|(number, _)| *number != 1) {
        let count = counts.entry(*number).or_default();
        *count += 1;
        if *count == REQUESTS {
            break;
        }
    }
    let parts: Vec<f64> =
        counts.iter().map(|(number, count)| *count as f64 / f64::from(share(*number))).collect();
    assert_eq!(parts.len(), usize::from(CLIENTS) - 1);
    assert!(jain(&parts) >= 0.98, "{counts:?}");
}

/// A vendor that turns the first few requests away, and notes when each came.
async fn busy(times: usize, refusal: &'static str) -> (Vendor, Arc<Mutex<Vec<Instant>>>) {
    let came = Arc::new(Mutex::new(Vec::new()));
    let (noted, count) = (came.clone(), AtomicUsize::new(0));
    let vendor = Vendor::answering(move |_| {
        noted.lock().expect("no panic").push(Instant::now());
        match count.fetch_add(1, Ordering::SeqCst) < times {
            true => Reply::Octets(refusal.as_bytes().to_vec()),
            false => Reply::ok("fine"),
        }
    })
    .await;
    (vendor, came)
}

const RETRY_AFTER: &str =
    "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1.5\r\nContent-Length: 4\r\n\r\nbusy";
const RESTLET: &str = concat!(
    "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 89\r\n\r\n",
    r#"{"error":{"code":"SSS_REQUEST_LIMIT_EXCEEDED","message":"The request limit was reached"}}"#
);

async fn send(gateway: &UnderTest, method: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!("{method} /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: {length}\r\n\r\n");
    gateway.send(format!("{head}{body}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_asks_for_a_pause_gets_it() {
    // Both lanes: with a limit of requests at a time the body is read first.
    for pool in ["", "concurrency = 50"] {
        let (vendor, came) = busy(1, RETRY_AFTER).await;
        let config = format!("{HEAD}{}", to_vendor(vendor.address, pool, ""));
        let gateway = Arc::new(UnderTest::start(&config).await);
        // A read and a write wait it out: the vendor has said that it did nothing.
        let (read, write) = tokio::join!(send(&gateway, "GET", ""), async {
            wait_for("the pause", async || {
                let paused = gateway.metric("erpgate_pool_paused{pool=\"v\"}").await;
                (paused == 1.0).then_some(())
            })
            .await;
            send(&gateway, "POST", "{\"memo\":1}").await
        });
        assert_eq!((read.status, write.status), (200, 200), "{read:?} {write:?}");
        let came = came.lock().expect("no panic").clone();
        assert_eq!(came.len(), 3);
        let pause = came[1].duration_since(came[0]);
        assert!(pause >= Duration::from_millis(1500), "{pause:?}");
        let attempts = "erpgate_vendor_attempts_total{result=\"throttled\",vendor=\"v\"}";
        assert_eq!(gateway.metric(attempts).await, 1.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_in_a_body_is_never_seen() {
    let (vendor, _) = busy(3, RESTLET).await;
    let lines = "profile = \"netsuite\"\nconcurrency = 4";
    let gateway =
        UnderTest::start(&format!("{HEAD}{}", to_vendor(vendor.address, lines, ""))).await;
    let answer = send(&gateway, "POST", "{}").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
    assert_eq!(vendor.seen().len(), 4);
    // Each time the same octets, and a parent of its own.
    let bodies: Vec<_> = vendor.seen().iter().map(|it| it.ends_with("\r\n\r\n{}")).collect();
    assert_eq!(bodies, [true; 4]);
    let parents: std::collections::HashSet<_> =
        vendor.seen().iter().filter_map(|it| field(it, "traceparent")).collect();
    assert_eq!(parents.len(), 4);
}

/// What calls the account past the gateway takes its requests away: the gateway believes in five.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_can_wait_never_sees_the_accounts_throttle() {
    let simulator = simulator().await;
    control(&simulator, json!({ "concurrency": 2, "latency_ms": 5 })).await;
    let lines = "profile = \"netsuite\"\nconcurrency = 5\nqueue = { max_wait = \"10m\" }";
    let config = format!("{HEAD}{}", to_vendor(simulator.address(), lines, "deadline = \"10m\""));
    let gateway = Arc::new(UnderTest::start(&config).await);
    let mut posts = JoinSet::new();
    for number in 0..200 {
        let gateway = gateway.clone();
        posts.spawn(async move {
            let target = match number % 2 {
                0 => "/v/app/site/hosting/restlet.nl?script=1&deploy=1",
                _ => "/v/services/rest/record/v1/customer",
            };
            let body = format!("{{\"externalId\":\"once-{number}\"}}");
            let length = body.len();
            let head = format!("POST {target} HTTP/1.1\r\nHost: gw\r\nContent-Length: {length}");
            let content = "Content-Type: application/json";
            gateway.send(format!("{head}\r\n{content}\r\n\r\n{body}")).await.status
        });
    }
    while let Some(status) = posts.join_next().await {
        assert!(matches!(status, Ok(200 | 204)), "{status:?}");
    }
    let seen = control(&simulator, json!({})).await;
    // Throttles there were, of both kinds; none of them was passed on, and nothing booked twice.
    assert!(seen["throttled"].as_u64() > Some(0), "{seen}");
    let booked = seen["by_external_id"].as_object().expect("counts");
    assert_eq!(booked.len(), 200);
    assert!(booked.values().all(|count| *count == 1), "{seen}");
    // The limit has come down to what the account takes, and grows back slowly.
    assert!(gateway.metric("erpgate_pool_concurrency_limit{pool=\"v\"}").await < 5.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_books_nothing_twice() {
    let simulator = simulator().await;
    let lines = "profile = \"netsuite\"\nconcurrency = 5\nqueue = { max_wait = \"10m\" }\n\
                 circuit = { consecutive_failures = 1000000, min_requests = 1000000 }";
    let config = format!("{HEAD}{}", to_vendor(simulator.address(), lines, "deadline = \"10m\""));
    let gateway = Arc::new(UnderTest::start(&config).await);
    let mut posts = JoinSet::new();
    for number in 0..1000 {
        let gateway = gateway.clone();
        posts.spawn(async move {
            let body = format!("{{\"externalId\":\"once-{number}\"}}");
            let length = body.len();
            let target = "/v/services/rest/record/v1/customer";
            let head = format!("POST {target} HTTP/1.1\r\nHost: gw\r\nContent-Length: {length}");
            let content = "Content-Type: application/json";
            gateway.send(format!("{head}\r\n{content}\r\n\r\n{body}")).await
        });
    }
    wait_for("some bookings", async || {
        let seen = control(&simulator, json!({})).await;
        (seen["requests"].as_u64().unwrap_or(0) > 100).then_some(())
    })
    .await;
    control(&simulator, json!({ "down": true })).await;
    wait_for("failures", async || {
        let failed = "erpgate_vendor_attempts_total{result=\"connect-failed\",vendor=\"v\"}";
        (gateway.metric(failed).await > 3.0).then_some(())
    })
    .await;
    control(&simulator, json!({ "down": false })).await;
    let mut unknown = 0;
    while let Some(answer) = posts.join_next().await {
        let answer = answer.expect("no panic");
        match answer.status {
            204 => {}
            502 => unknown += usize::from(answer.json()["executed"] == "unknown"),
            _ => panic!("{answer:?}"),
        }
    }
    // Those that were at the vendor when it fell.
    assert!(unknown <= 5, "{unknown}");
    let seen = control(&simulator, json!({})).await;
    assert_eq!(seen["throttled"], 0, "{seen}");
    let twice = seen["by_external_id"]
        .as_object()
        .map(|by| by.iter().filter(|(_, count)| count.as_u64().unwrap_or(0) > 1).count());
    assert_eq!(twice, Some(0), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_leaves_the_queue() {
    let vendor = Vendor::answering(|_| Reply::Hang).await;
    for lines in ["concurrency = 1", "concurrency = 1\nprofile = \"netsuite\""] {
        let config = format!("{HEAD}{}", to_vendor(vendor.address, lines, "deadline = \"10m\""));
        let gateway = UnderTest::start(&config).await;
        let depth = "erpgate_pool_queue_depth{pool=\"v\"}";
        let mut waiting = Vec::new();
        for _ in 0..30 {
            let mut raw = gateway.connect().await;
            raw.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
            waiting.push(raw);
        }
        wait_for("a queue", async || (gateway.metric(depth).await == 29.0).then_some(())).await;
        drop(waiting);
        wait_for("nobody", async || (gateway.metric(depth).await == 0.0).then_some(())).await;
        let in_use = "erpgate_pool_concurrency_in_use{pool=\"v\"}";
        wait_for("no slot", async || (gateway.metric(in_use).await == 0.0).then_some(())).await;
        within("the records", gateway.settled(30)).await;
    }
}

/// Ten thousand at once on a hundred connections of HTTP/2, each gone with its connection.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_that_leave_leave_nothing() {
    let vendor = Vendor::answering(|_| Reply::Hang).await;
    for lines in ["concurrency = 2", "rates = [\"2/day\"]"] {
        let queue = "queue = { max_waiting = 20000, max_wait = \"24h\" }";
        let vendor_lines = format!("{lines}\n{queue}");
        let to = to_vendor(vendor.address, &vendor_lines, "deadline = \"24h\"");
        let folder = Folder::with(&format!("{HEAD}{to}"));
        folder.write("policies/client-1.toml", &policy(1));
        let gateway = UnderTest::start_in(folder).await;
        let address = gateway.address(0);
        let mut bursts = JoinSet::new();
        for _ in 0..100 {
            bursts.spawn(burst(address, 1, STREAMS));
        }
        let depth = async || {
            let pools = gateway.serving.gateway.state.vendors.pool("v").expect("there");
            pools.with(|pool| (pool.waiting(), pool.in_use()))
        };
        wait_for("a queue", async || (depth().await.0 > 9_900).then_some(())).await;
        bursts.abort_all();
        wait_for("nobody", async || (depth().await == (0, 0)).then_some(())).await;
    }
}

/// A client that fills the queue gives its last places to others, and is told so.
#[tokio::test(flavor = "multi_thread")]
async fn one_client_does_not_take_the_whole_queue() {
    let vendor = Vendor::answering(|_| Reply::Hang).await;
    let lines = "concurrency = 1\nqueue = { max_waiting = 20, max_wait = \"10m\" }";
    let to = to_vendor(vendor.address, lines, "deadline = \"10m\"");
    let folder = Folder::with(&format!("{HEAD}{to}"));
    for number in [2, 3] {
        folder.write(&format!("policies/client-{number}.toml"), &policy(number));
    }
    let gateway = UnderTest::start_in(folder).await;
    let ask = async |number: u8| {
        let mut raw = gateway.connect().await.bare();
        let shown = api_key::make([100 + number; 32]);
        raw.send(format!("GET /v/a HTTP/1.1\r\nHost: gw\r\nX-API-Key: {shown}\r\n\r\n")).await;
        raw
    };
    let depth = "erpgate_pool_queue_depth{pool=\"v\"}";
    let mut greedy = Vec::new();
    for waiting in 0..=20 {
        greedy.push(ask(2).await);
        let is = f64::from(waiting);
        wait_for("its place", async || (gateway.metric(depth).await == is).then_some(())).await;
    }
    assert_eq!(ask(2).await.answer().await.slug(), "vendor-queue-full");
    let other = ask(3).await;
    let mut last = greedy.pop().expect("the last one");
    let answer = last.answer().await;
    assert_eq!((answer.status, answer.slug().as_str()), (503, "vendor-queue-full"));
    assert!(answer.field("retry-after").is_some());
    assert_eq!(gateway.metric(depth).await, 20.0);
    drop((other, greedy));
    wait_for("nobody", async || (gateway.metric(depth).await == 0.0).then_some(())).await;
}
