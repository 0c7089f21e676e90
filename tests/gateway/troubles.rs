//! Vendors in trouble: what is refused, what is sent again, what is left alone, what is bounded.

use crate::documents::{Told, assert_told};
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::vendor::field;
use crate::support::{Answer, Raw, Reply, UnderTest, Vendor, wait_for};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

const REFUSED: Told<'static> = Told {
    status: 503,
    code: "",
    title: "",
    detail: "",
    action: "Wait as long as Retry-After says, then try again.",
    retryable: true,
    challenge: None,
    error: "destination_unavailable",
};

async fn gateway(vendor: &Vendor, vendor_lines: &str, route_lines: &str) -> Arc<UnderTest> {
    let config = format!("{HEAD}{}", to_vendor(vendor.address, vendor_lines, route_lines));
    Arc::new(UnderTest::start(&config).await)
}

async fn post(gateway: &UnderTest) -> Answer {
    gateway.send("POST /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}").await
}

/// A request that is on its way, and stays there.
async fn hanging(gateway: &UnderTest, target: &str) -> Raw {
    let mut raw = gateway.connect().await;
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: gw\r\n\r\n")).await;
    raw
}

async fn is(gateway: &UnderTest, metric: &str, value: f64) {
    wait_for(metric, async || (gateway.metric(metric).await == value).then_some(())).await;
}

const IN_USE: &str = "erpgate_pool_concurrency_in_use{pool=\"v\"}";
const DEPTH: &str = "erpgate_pool_queue_depth{pool=\"v\"}";

/// Says nothing to `/hang`, and answers everything else.
async fn patient() -> Vendor {
    Vendor::answering(|request| match request.contains(" /hang") {
        true => Reply::Hang,
        false => Reply::ok("fine"),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_and_a_long_wait_are_refused() {
    let vendor = patient().await;
    let lines = "concurrency = 1\nqueue = { max_waiting = 1, max_wait = \"300ms\" }";
    let gateway = gateway(&vendor, lines, "").await;
    let _holds = hanging(&gateway, "/v/hang").await;
    is(&gateway, IN_USE, 1.0).await;
    let mut waits = hanging(&gateway, "/v/a").await;
    is(&gateway, DEPTH, 1.0).await;
    let full = Told {
        code: "vendor-queue-full",
        title: "Vendor queue full",
        detail: "Too many requests wait for this vendor.",
        error: "connection_limit_reached",
        ..REFUSED
    };
    assert_told(&post(&gateway).await, &full);
    let late = Told {
        code: "vendor-queue-timeout",
        title: "Vendor queue timeout",
        detail: "The request waited for this vendor as long as it may; nothing was sent.",
        ..full
    };
    assert_told(&waits.answer().await, &late);
    assert_eq!(vendor.seen().len(), 1);
    is(&gateway, DEPTH, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_with_the_deadline() {
    let vendor = patient().await;
    let short = "[[route]]\nname = \"q\"\npath = \"/q\"\nvendor = \"v\"\ndeadline = \"300ms\"";
    let gateway = gateway(&vendor, "concurrency = 1", short).await;
    let holds = hanging(&gateway, "/v/hang").await;
    is(&gateway, IN_USE, 1.0).await;
    let answer = gateway.send("POST /q/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!((answer.status, answer.slug().as_str()), (504, "deadline-exceeded"));
    assert_eq!(answer.json()["executed"], "no");
    // An answer that is not there in time gives its slot back too.
    let mut late = gateway.connect().await;
    drop(holds);
    late.send("GET /q/hang HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    assert_eq!(late.answer().await.slug(), "deadline-exceeded");
    is(&gateway, IN_USE, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_is_too_long_is_told_at_once() {
    let busy = "HTTP/1.1 429 Too Many\r\nRetry-After: 120\r\nContent-Length: 2\r\n\r\n{}";
    for lines in ["", "concurrency = 2"] {
        let vendor = Vendor::answering(|_| Reply::Octets(busy.as_bytes().to_vec())).await;
        let gateway = gateway(&vendor, lines, "").await;
        let first = post(&gateway).await;
        assert_eq!((first.status, first.slug().as_str()), (503, "vendor-paused"), "{first:?}");
        let json = first.json();
        assert_eq!((&json["executed"], &json["vendor"]["status"]), (&"no".into(), &429.into()));
        let told = Told {
            code: "vendor-paused",
            title: "Vendor paused",
            detail: "This vendor takes no requests for a while.",
            ..REFUSED
        };
        let second = post(&gateway).await;
        assert_told(&second, &told);
        let wait: u32 = second.field("retry-after").expect("a wait").parse().expect("seconds");
        assert!((100..=132).contains(&wait), "{wait}");
        assert_eq!(vendor.seen().len(), 1);
    }
}

/// Whatever a vendor writes there, nothing waits for ever and nothing breaks.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_waits_are_bounded() {
    for hint in ["-1", "99999999999999999999", "1e308", "NaN", "Fri, 31 Dec 9999 23:59:59 GMT", ""]
    {
        let busy = format!("HTTP/1.1 429 X\r\nRetry-After: {hint}\r\nContent-Length: 0\r\n\r\n");
        let vendor = Vendor::answering(move |_| Reply::Octets(busy.clone().into_bytes())).await;
        let gateway = gateway(&vendor, "concurrency = 2", "deadline = \"400ms\"").await;
        let answer = post(&gateway).await;
        assert_eq!((answer.status, answer.slug().as_str()), (503, "vendor-paused"), "{hint}");
        let wait: u32 = answer.field("retry-after").expect("a wait").parse().expect("seconds");
        assert!((1..=330).contains(&wait), "{hint}: {wait}");
        is(&gateway, IN_USE, 0.0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_opens_and_a_read_closes_it() {
    let sick = Arc::new(AtomicBool::new(true));
    let says = sick.clone();
    let vendor = Vendor::answering(move |_| match says.load(Ordering::SeqCst) {
        true => Reply::text("500 No\r\nContent-Length: 2", "no"),
        false => Reply::ok("fine"),
    })
    .await;
    let lines = "circuit = { consecutive_failures = 3, open = \"500ms\", probes = 1 }";
    for pool in ["", "concurrency = 3"] {
        sick.store(true, Ordering::SeqCst);
        let before = vendor.seen().len();
        let gateway = gateway(&vendor, &format!("{lines}\n{pool}"), "").await;
        for _ in 0..3 {
            assert_eq!(post(&gateway).await.status, 500);
        }
        let open = Told {
            code: "vendor-circuit-open",
            title: "Vendor circuit open",
            detail: "This vendor failed too often and is left alone for a while.",
            ..REFUSED
        };
        assert_told(&post(&gateway).await, &open);
        assert_eq!(gateway.metric("erpgate_circuit_state{state=\"open\",vendor=\"v\"}").await, 1.0);
        assert_eq!(vendor.seen().len(), before + 3);
        sick.store(false, Ordering::SeqCst);
        // No booking is the one that tries: only a read closes it.
        let slug = |answer: &Answer| (answer.status == 503).then(|| answer.slug());
        wait_for("a read", async || {
            let (written, read) = (post(&gateway).await, gateway.get("/v/a").await);
            assert_eq!(slug(&written).as_deref(), Some("vendor-circuit-open"));
            (read.status == 200).then_some(())
        })
        .await;
        assert_eq!(post(&gateway).await.status, 200);
        let closed = "erpgate_circuit_transitions_total{to=\"closed\",vendor=\"v\"}";
        assert_eq!(gateway.metric(closed).await, 1.0);
        let writes = vendor.seen().iter().skip(before).filter(|it| it.starts_with("POST")).count();
        assert_eq!(writes, 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_tries_by_itself_where_it_is_told_how() {
    let vendor = Vendor::answering(|request| match request.starts_with("GET /base/health") {
        true => Reply::ok("well"),
        false => Reply::text("503 No\r\nContent-Length: 2", "no"),
    })
    .await;
    let lines = "circuit = { consecutive_failures = 2, open = \"200ms\", probes = 2, \
                 probe = \"GET /health\" }";
    let config = format!("{HEAD}{}", to_vendor(vendor.address, lines, ""));
    let config =
        config.replace(&format!("{}\"", vendor.address), &format!("{}/base\"", vendor.address));
    let gateway = UnderTest::start(&config).await;
    for _ in 0..2 {
        assert_eq!(post(&gateway).await.status, 503);
    }
    let closed = "erpgate_circuit_transitions_total{to=\"closed\",vendor=\"v\"}";
    is(&gateway, closed, 1.0).await;
    let probes: Vec<_> =
        vendor.seen().into_iter().filter(|it| it.starts_with("GET /base/health")).collect();
    assert_eq!(probes.len(), 2);
    assert_eq!(field(&probes[0], "host"), Some(vendor.address.to_string()));
    assert!(field(&probes[0], "x-correlation-id").is_some());
    is(&gateway, IN_USE, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_sent_again_and_writes_are_not() {
    for (pool, reply) in [
        ("", Reply::text("503 No\r\nContent-Length: 2", "no")),
        ("concurrency = 2", Reply::text("503 No\r\nContent-Length: 2", "no")),
        ("", Reply::Reset),
        ("concurrency = 2", Reply::Reset),
        ("concurrency = 2", Reply::Close(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec())),
        ("concurrency = 2", Reply::Octets(b"not HTTP at all\r\n\r\n".to_vec())),
    ] {
        let count = Arc::new(AtomicUsize::new(0));
        let (counted, first) = (count.clone(), reply.clone());
        let vendor = Vendor::answering(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
            0 | 2 => first.clone(),
            _ => Reply::ok("fine"),
        })
        .await;
        let gateway = gateway(&vendor, &format!("retry = {{ base = \"1ms\" }}\n{pool}"), "").await;
        let read = gateway.get("/v/a").await;
        assert_eq!((read.status, vendor.seen().len()), (200, 2), "{pool} {reply:?} {read:?}");
        let write = post(&gateway).await;
        assert_ne!(write.status, 200, "{pool} {reply:?}");
        assert_eq!(vendor.seen().len(), 3, "{pool} {reply:?}");
        if write.status != 503 {
            assert_eq!(write.json()["executed"], "unknown", "{write:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repetitions_have_a_budget() {
    let vendor = Vendor::answering(|_| Reply::text("503 No\r\nContent-Length: 2", "no")).await;
    let lines = "retry = { base = \"1ms\", max = \"1ms\", budget = 0.1 }\n\
                 circuit = { consecutive_failures = 1000000, min_requests = 1000000 }";
    let gateway = gateway(&vendor, lines, "").await;
    for _ in 0..100 {
        assert_eq!(gateway.get("/v/a").await.status, 503);
    }
    // A tenth of the requests, and the few that are always possible.
    let attempts = vendor.seen().len();
    assert!((101..=100 + 10 + 10).contains(&attempts), "{attempts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_where_the_route_says_so() {
    let vendor = patient().await;
    let gateway = gateway(&vendor, "", "serialize_by = \"path:2\"").await;
    let holds = hanging(&gateway, "/v/hang/7").await;
    wait_for("the first", async || (!vendor.seen().is_empty()).then_some(())).await;
    let mut same = hanging(&gateway, "/v/orders/7").await;
    // Another one goes at once; the same waits until the first one is over.
    assert_eq!(gateway.get("/v/orders/8").await.status, 200);
    assert_eq!(vendor.seen().len(), 2);
    drop(holds);
    assert_eq!(same.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_go_to_disk_and_then_nowhere() {
    let vendor = patient().await;
    let server = "[server]\nbuffer_memory = \"1MiB\"\nbuffer_disk = \"2MiB\"\n";
    let to = to_vendor(vendor.address, "concurrency = 1", "");
    let gateway = UnderTest::start(&format!("{server}{HEAD}{to}")).await;
    let body = "0123456789abcdef".repeat((5 << 20) / 32);
    let request = |target: &str| {
        let length = body.len();
        format!("POST {target} HTTP/1.1\r\nHost: gw\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    // More than fits into memory arrives whole.
    assert_eq!(gateway.send(request("/v/a")).await.status, 200);
    assert!(vendor.only().ends_with(&format!("\r\n\r\n{body}")));
    // While it is held, a second one has no room.
    let mut holds = gateway.connect().await;
    holds.send(request("/v/hang")).await;
    is(&gateway, IN_USE, 1.0).await;
    let answer = gateway.send(request("/v/a")).await;
    let told = Told {
        code: "gateway-overloaded",
        title: "Gateway overloaded",
        detail: "The gateway has no room for this request.",
        error: "proxy_internal_error",
        ..REFUSED
    };
    assert_told(&answer, &told);
    drop(holds);
    is(&gateway, IN_USE, 0.0).await;
    assert_eq!(gateway.serving.gateway.state.buffers.held(), (0, 0));
    assert_eq!(gateway.send(request("/v/a")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_heeded_before_it_is_used_up() {
    // Shopify: 40 calls, two of them come back each second.
    let left = Arc::new(AtomicUsize::new(10));
    let told = left.clone();
    let vendor = Vendor::answering(move |_| {
        let used = 40 - told.load(Ordering::SeqCst);
        let head =
            format!("200 OK\r\nX-Shopify-Shop-Api-Call-Limit: {used}/40\r\nContent-Length: 4");
        Reply::text(&head, "fine")
    })
    .await;
    let gateway = gateway(&vendor, "profile = \"shopify\"", "").await;
    assert_eq!(gateway.get("/v/a").await.status, 200);
    let budget = gateway.admin_get("/metrics").await.text();
    let line = budget.lines().find(|line| line.starts_with("erpgate_pool_budget_remaining{"));
    assert!(line.is_some_and(|line| line.ends_with(" 10")), "{line:?}");
    left.store(0, Ordering::SeqCst);
    assert_eq!(gateway.get("/v/a").await.status, 200);
    // Nothing is left: the next one waits for what comes back.
    let began = Instant::now();
    assert_eq!(gateway.get("/v/a").await.status, 200);
    assert!(began.elapsed().as_millis() >= 400, "{:?}", began.elapsed());
}

/// A 2xx that speaks of a throttle may all the same have booked something.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_may_have_acted_is_never_sent_again() {
    let busy = r#"{"errors":[{"code":"BUSY"}]}"#;
    let when = "[[vendors.v.outcome]]\n\
                when = { status = 200, pointer = \"/errors/0/code\", equals = \"BUSY\" }\n\
                class = \"rate\"\nwait = \"10ms\"";
    for (executed, repeated) in [("", false), ("executed = \"no\"", true)] {
        let count = Arc::new(AtomicUsize::new(0));
        let vendor = Vendor::answering(move |_| match count.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => Reply::ok(busy),
            _ => Reply::ok("fine"),
        })
        .await;
        let gateway = gateway(&vendor, &format!("{when}\n{executed}"), "").await;
        let (written, seen) = (post(&gateway).await, vendor.seen().len());
        match repeated {
            true => assert_eq!((written.text().as_str(), seen), ("fine", 2)),
            false => assert_eq!((written.text().as_str(), seen), (busy, 1)),
        }
        let read = gateway.get("/v/a").await;
        assert_eq!(read.text(), "fine", "{executed}");
    }
}
