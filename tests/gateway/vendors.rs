//! What the admin listener shows of vendors that throttle, fail, and keep others waiting.

use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Reply, UnderTest, Vendor, key, wait_for};
use serde_json::{Value, json};

/// A vendor that does what the end of a path says.
async fn moody() -> Vendor {
    Vendor::answering(|request| {
        let head = request.lines().next().unwrap_or_default();
        let throttled = "429 Too Many Requests\r\nRetry-After: 300\r\nContent-Length: 0";
        let budget = "200 OK\r\nX-Shopify-Shop-Api-Call-Limit: 3/40\r\nContent-Length: 0";
        match head.split(' ').nth(1).and_then(|path| path.rsplit('/').next()) {
            Some("busy") => Reply::text(throttled, ""),
            Some("fails") => Reply::text("500 Internal Server Error\r\nContent-Length: 0", ""),
            Some("hangs") => Reply::Hang,
            _ => Reply::text(budget, ""),
        }
    })
    .await
}

async fn shown(gateway: &UnderTest) -> Value {
    gateway.admin_get("/api/v1/vendors/v").await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_pause_and_what_it_says_is_left() {
    let vendor = moody().await;
    let config = to_vendor(vendor.address, "profile = \"shopify\"", "");
    let gateway = UnderTest::start(&format!("{HEAD}{config}")).await;
    assert_eq!(gateway.get("/v/a").await.status, 200);
    assert_eq!(shown(&gateway).await["budgets"], json!({ "rest": 37 }));
    assert_eq!(gateway.get("/v/busy").await.slug(), "vendor-paused");
    let now = shown(&gateway).await;
    assert_eq!((&now["pool"]["paused"]["why"], &now["ramp"]), (&json!("rate"), &json!(1)));
    let until = now["pool"]["paused"]["until"].as_str().expect("a time").to_owned();
    let left =
        until.parse::<jiff::Timestamp>().expect("a time").duration_since(jiff::Timestamp::now());
    assert!((250..=331).contains(&left.as_secs()), "{until}");
    assert!(now["estimate_seconds"]["low"].as_u64().is_some_and(|it| it > 250), "{now}");
    // An operator can't end it.
    let resume = "POST /api/v1/vendors/v/resume HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut raw = crate::support::Raw::connect(gateway.serving.admin).await;
    raw.send(resume).await;
    let notes = raw.answer().await.json()["notes"].clone();
    let stays = notes[1].as_str().expect("a note");
    assert!(stays.starts_with("The vendor's own pause (rate) stays until 2"), "{notes}");
    assert_eq!(gateway.get("/v/a").await.slug(), "vendor-paused");
}

#[tokio::test(flavor = "multi_thread")]
async fn circuits_of_routes_and_the_worst_of_them() {
    let vendor = moody().await;
    let lines = "circuit = { consecutive_failures = 1, per_route = true, open = \"5m\" }";
    let other = "[[route]]\nname = \"s\"\npath = \"/w\"\nvendor = \"v\"\n";
    let config = to_vendor(vendor.address, lines, "");
    let gateway = UnderTest::start(&format!("{HEAD}{config}{other}")).await;
    let closed = json!({ "state": "closed", "routes":
        { "r": { "state": "closed" }, "s": { "state": "closed" } } });
    assert_eq!(shown(&gateway).await["circuit"], closed);
    assert_eq!(gateway.get("/w/fails").await.status, 500);
    wait_for("the circuit", async || {
        (shown(&gateway).await["circuit"]["state"] == "open").then_some(())
    })
    .await;
    let circuit = shown(&gateway).await["circuit"].clone();
    let retry_after = circuit["retry_after"].as_u64().expect("seconds");
    assert!((250..=331).contains(&retry_after), "{circuit}");
    assert!(circuit["open_until"].as_str().is_some_and(|it| it.ends_with('Z')), "{circuit}");
    assert_eq!(circuit["routes"]["r"], json!({ "state": "closed" }));
    assert_eq!(circuit["routes"]["s"]["state"], "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_and_which_parts_are_paused() {
    let vendor = moody().await;
    let lines = "concurrency = 1\n[[vendors.v.outcome]]\nwhen = { status = 429 }\n\
                 class = \"rate\"\nscope = \"resource\"\n";
    let gateway =
        UnderTest::start(&format!("{HEAD}{}", to_vendor(vendor.address, lines, ""))).await;
    let path = format!("/v/{}/busy", key());
    assert_eq!(gateway.get(&path).await.slug(), "vendor-paused");
    let now = shown(&gateway).await;
    let part = &now["parts_paused"][0];
    assert_eq!((&part["part"], &now["parts_paused_total"]), (&json!("resource"), &json!(1)));
    assert_eq!(part["name"], "/egk_REDACTED/busy");
    assert!(part["seconds"].as_u64().is_some_and(|it| (250..=331).contains(&it)), "{part}");
    assert_eq!(now["pool"]["paused"], Value::Null, "the account goes on");
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut raw = gateway.connect().await;
        raw.send("GET /v/hangs HTTP/1.1\r\nHost: gw\r\n\r\n").await;
        waiting.push(raw);
    }
    wait_for("a queue", async || {
        let now = shown(&gateway).await;
        let pool = &now["pool"];
        let waits = now["queue"] == json!({ "tester": 2 }) && pool["waiting"] == 2;
        (waits && pool["in_use"] == 1 && pool["limit"] == 1).then_some(())
    })
    .await;
}
