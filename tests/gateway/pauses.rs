//! Operators pause vendors and let them go on: what is paused, for whom, for how long, and that no
//! freeze is lost.

use crate::documents::{Told, assert_told};
use crate::support::process::Process;
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Answer, Folder, Raw, UnderTest, Vendor, wait_for};
use erpgate::state::ReloadOutcome;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const PAUSE: &str = "/api/v1/vendors/v/pause";
const RESUME: &str = "/api/v1/vendors/v/resume";

/// A POST with these fields and this body.
async fn post(admin: SocketAddr, path: &str, fields: &str, body: &str) -> Answer {
    let mut raw = Raw::connect(admin).await;
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n");
    raw.send(format!("{head}{fields}\r\n{body}")).await;
    raw.answer().await
}

async fn done(gateway: &UnderTest, path: &str, body: Value) -> Value {
    let fields = "Content-Type: application/json\r\n";
    let answer = post(gateway.serving.admin, path, fields, &body.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

async fn shown(gateway: &UnderTest) -> Value {
    gateway.admin_get("/api/v1/vendors/v").await.json()
}

async fn write(gateway: &UnderTest) -> Answer {
    gateway.send("POST /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}").await
}

async fn paused(gateway: &UnderTest) -> f64 {
    gateway.metric("erpgate_pool_paused{pool=\"v\"}").await
}

/// Leaves, and gives the folder back.
const TOLD: Told<'static> = Told {
    status: 503,
    code: "vendor-paused",
    title: "Vendor paused",
    detail: "This vendor takes no requests for a while.",
    action: "Wait as long as Retry-After says, then try again.",
    retryable: true,
    challenge: None,
    error: "destination_unavailable",
};

fn seconds(answer: &Answer) -> u64 {
    answer.field("retry-after").expect("a wait").parse().expect("seconds")
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_frozen_and_reads_go_on() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    assert_eq!((write(&gateway).await.status, paused(&gateway).await), (200, 0.0));
    let until = (Timestamp::now() + Duration::from_secs(1800)).to_string();
    let wish = json!({ "scope": "writes", "until": until, "why": "month end «Q4»" });
    let answer = done(&gateway, PAUSE, wish).await;
    let hold = &answer["pool"]["hold"];
    assert_eq!((&hold["scope"], &hold["until"]), (&json!("writes"), &json!(until)));
    assert_eq!((&hold["why"], &answer["notes"]), (&json!("month end «Q4»"), &json!([])));
    let answer = write(&gateway).await;
    assert_told(&answer, &TOLD);
    assert!((1_700..=1_800).contains(&seconds(&answer)), "{answer:?}");
    assert_eq!(gateway.get("/v/a").await.status, 200);
    assert_eq!(vendor.seen().len(), 2);
    assert_eq!(paused(&gateway).await, 1.0);
    let line = [("event", "audit".into()), ("action", "pause".into())];
    let line = gateway.log.line(&line).await;
    for (name, value) in [
        ("result", "done"),
        ("by", "nobody"),
        ("vendor", "v"),
        ("pool", "v"),
        ("scope", "writes"),
        ("until", &until),
        ("why", "month end «Q4»"),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    // Everything, and nobody knows for how long.
    let answer = done(&gateway, PAUSE, json!({ "why": "outage" })).await;
    assert_eq!(answer["pool"]["hold"]["scope"], "all");
    let note = answer["notes"][0].as_str().expect("a note");
    assert!(note.starts_with("It replaces a pause of writes until 2"), "{note}");
    let answer = gateway.get("/v/a").await;
    assert_told(&answer, &TOLD);
    assert_eq!(seconds(&answer), 60);
    let answer = done(&gateway, RESUME, json!({ "why": "they are back" })).await;
    assert_eq!((&answer["pool"]["hold"], &answer["notes"]), (&Value::Null, &json!([])));
    let line = gateway.log.line(&[("action", "resume".into())]).await;
    let told = (&line["why"], &line["before"]["why"]);
    assert_eq!(told, (&json!("they are back"), &json!("outage")));
    assert_eq!((write(&gateway).await.status, paused(&gateway).await), (200, 0.0));
    let answer = post(gateway.serving.admin, RESUME, "", "").await;
    assert_eq!(answer.json()["notes"], json!(["No operator had paused it."]));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_goes_on() {
    let vendor = Vendor::fine().await;
    let lines = "queue = { max_wait = \"10m\" }";
    let config = format!("{HEAD}{}", to_vendor(vendor.address, lines, "deadline = \"10m\""));
    let gateway = Arc::new(UnderTest::start(&config).await);
    for end in ["resume", "time"] {
        let long = if end == "time" { 1 } else { 300 };
        let until = (Timestamp::now() + Duration::from_secs(long)).to_string();
        done(&gateway, PAUSE, json!({ "until": until, "why": "test" })).await;
        let waiting = tokio::spawn({
            let gateway = gateway.clone();
            async move { write(&gateway).await }
        });
        if end == "resume" {
            wait_for("a queue", async || {
                (shown(&gateway).await["queue"] == json!({ "tester": 1 })).then_some(())
            })
            .await;
            let estimate = shown(&gateway).await["estimate_seconds"]["high"].as_u64();
            // The pause is as long as that, less what has passed of it.
            assert!(estimate.is_some_and(|seconds| (200..=300).contains(&seconds)), "{estimate:?}");
            done(&gateway, RESUME, json!({})).await;
        }
        assert_eq!(waiting.await.expect("no panic").status, 200, "{end}");
    }
    // Its end shows although nobody calls.
    let until = (Timestamp::now() + Duration::from_millis(700)).to_string();
    done(&gateway, PAUSE, json!({ "until": until, "why": "test" })).await;
    wait_for("the end", async || (paused(&gateway).await == 0.0).then_some(())).await;
    assert_eq!(shown(&gateway).await["pool"]["hold"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waited_in_vain_is_told_of_the_pause() {
    let vendor = Vendor::answering(|_| crate::support::Reply::Hang).await;
    let lines = "concurrency = 1\nqueue = { max_wait = \"2s\" }";
    let config = format!("{HEAD}{}", to_vendor(vendor.address, lines, ""));
    let gateway = Arc::new(UnderTest::start(&config).await);
    let mut busy = gateway.connect().await;
    busy.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    wait_for("the vendor", async || vendor.seen().pop()).await;
    let waiting = tokio::spawn({
        let gateway = gateway.clone();
        async move { write(&gateway).await }
    });
    wait_for("a queue", async || (shown(&gateway).await["pool"]["waiting"] == 1).then_some(()))
        .await;
    done(&gateway, PAUSE, json!({ "scope": "writes", "why": "freeze" })).await;
    assert_told(&waiting.await.expect("no panic"), &TOLD);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_survives_reloads_and_restarts() {
    let vendor = Vendor::fine().await;
    let gateway_1 = UnderTest::before(vendor.address).await;
    let before = gateway_1.folder.read("gateway.toml");
    done(&gateway_1, PAUSE, json!({ "scope": "writes", "why": "month end" })).await;
    let held = shown(&gateway_1).await["pool"]["hold"].clone();
    let reload = async |gateway: &UnderTest, text: &str| {
        gateway.folder.write("gateway.toml", text);
        let outcome = gateway.serving.gateway.state.reload("admin").await;
        assert!(matches!(outcome, ReloadOutcome::Accepted { .. }), "{outcome:?}");
    };
    // Another pool in between: the vendor goes on, and is frozen again when its pool is back.
    let other = before.replace("[vendors.v]\n", "[pools.p]\n[vendors.v]\npool = \"p\"\n");
    for (text, status, pool) in [(&before, 503, "v"), (&other, 200, "p"), (&before, 503, "v")] {
        reload(&gateway_1, text).await;
        let answer = write(&gateway_1).await;
        assert_eq!(
            (answer.status, &shown(&gateway_1).await["pool"]["name"]),
            (status, &json!(pool))
        );
        let gauge = gateway_1.metric("erpgate_pool_paused{pool=\"v\"}").await;
        assert_eq!(gauge, f64::from(u8::from(status == 503)));
    }
    let gateway_2 = UnderTest::start_in(gateway_1.leave().await).await;
    assert_told(&write(&gateway_2).await, &TOLD);
    assert_eq!(gateway_2.get("/v/a").await.status, 200);
    assert_eq!(shown(&gateway_2).await["pool"]["hold"], held);
    done(&gateway_2, RESUME, json!({})).await;
    // One that is over meanwhile is over.
    let until = (Timestamp::now() + Duration::from_millis(300)).to_string();
    done(&gateway_2, PAUSE, json!({ "until": until, "why": "short" })).await;
    let folder = gateway_2.leave().await;
    wait_for("its end", async || (Timestamp::now().to_string() > until).then_some(())).await;
    let gateway_3 = UnderTest::start_in(folder).await;
    assert_eq!((write(&gateway_3).await.status, paused(&gateway_3).await), (200, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_is_not_lost_in_silence() {
    let vendor = Vendor::fine().await;
    let config = format!("{HEAD}{}", to_vendor(vendor.address, "", ""));
    let folder = Folder::with(&config);
    folder.write("data/pauses.json", "{ nonsense");
    let gateway = UnderTest::start_in(folder).await;
    let line = gateway.log.line(&[("event", "pauses-unreadable".into())]).await;
    assert!(line["kept_as"].as_str().is_some_and(|it| it.ends_with("pauses.json.corrupt")));
    assert_eq!(gateway.folder.read("data/pauses.json.corrupt"), "{ nonsense");
    let reasons = async || gateway.admin_get("/readyz").await.json()["reasons"].to_string();
    assert!(reasons().await.contains("pauses may be lost"));
    done(&gateway, PAUSE, json!({ "why": "again" })).await;
    assert!(reasons().await.contains("pauses may be lost"), "until somebody has looked");
    std::fs::remove_file(gateway.folder.path().join("data/pauses.json.corrupt")).expect("removed");
    wait_for("readiness", async || (!reasons().await.contains("pauses")).then_some(())).await;
    // A file that is spoiled, or gone, while it serves ends no pause.
    gateway.folder.write("data/pauses.json", "[]");
    wait_for("the trouble", async || reasons().await.contains("pauses").then_some(())).await;
    let gateway = UnderTest::start_in(gateway.leave().await).await;
    assert_told(&write(&gateway).await, &TOLD);
    for name in ["pauses.json", "pauses.json.corrupt"] {
        std::fs::remove_file(gateway.folder.path().join("data").join(name)).expect("removed");
    }
    let reasons = async || gateway.admin_get("/readyz").await.json()["reasons"].to_string();
    wait_for("a look", async || (!reasons().await.contains("pauses")).then_some(())).await;
    assert_eq!(write(&gateway).await.status, 503);
    done(&gateway, RESUME, json!({})).await;
    assert_eq!(write(&gateway).await.status, 200);
    // What another process writes is in force here, too.
    let text = gateway.folder.read("data/pauses.json").replace(
        "{}",
        "{\"v\":{\"scope\":\"all\",\"since\":\"2026-01-01T00:00:00Z\",\"until\":null,\
         \"why\":\"theirs\"}}",
    );
    gateway.folder.write("data/pauses.json", &text);
    wait_for("it", async || (write(&gateway).await.status == 503).then_some(())).await;
    assert_eq!(shown(&gateway).await["pool"]["hold"]["why"], "theirs");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_refused() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    // A folder under its name: neither put aside (so is that name) nor replaced.
    for name in ["pauses.json/x", "pauses.json.corrupt/x"] {
        gateway.folder.write(&format!("data/{name}"), "");
    }
    let fields = "Content-Type: application/json\r\n";
    let answer = post(gateway.serving.admin, PAUSE, fields, "{\"why\":\"x\"}").await;
    assert_eq!((answer.status, &answer.json()["code"]), (500, &json!("pause-not-kept")));
    assert_eq!(shown(&gateway).await["pool"]["hold"], Value::Null);
    assert_eq!((write(&gateway).await.status, paused(&gateway).await), (200, 0.0));
    gateway.log.line(&[("action", "pause".into()), ("result", "failed".into())]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_wishes_change_nothing() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let (long, deep) =
        ("a".repeat(501), format!("{{\"why\":{}1{}}}", "[".repeat(9), "]".repeat(9)));
    let too_long = format!("{{\"why\":\"{long}\"}}");
    for (body, mention) in [
        ("", "JSON object"),
        ("[]", "JSON object"),
        ("{", "JSON object"),
        ("{\"why\":\"x\"} x", "JSON object"),
        ("{\"why\":\"\u{0}\"}", "JSON object"),
        (&deep, "too deep"),
        ("{\"why\":\"x\",\"why\":\"y\"}", "twice"),
        ("{}", "`why` is missing"),
        ("{\"why\":null}", "`why` is missing"),
        ("{\"why\":7}", "`why` is not a string"),
        ("{\"why\":\" \"}", "1 to 500"),
        (&too_long, "1 to 500"),
        ("{\"why\":\"a\\u0000b\"}", "can't be seen"),
        ("{\"why\":\"a\\u202eb\"}", "can't be seen"),
        ("{\"why\":\"a\\nb\"}", "can't be seen"),
        ("{\"why\":\"x\",\"scope\":\"reads\"}", "`scope` is neither"),
        ("{\"why\":\"x\",\"scope\":[]}", "`scope` is not a string"),
        ("{\"why\":\"x\",\"until\":1}", "`until` is not a string"),
        ("{\"why\":\"x\",\"until\":\"tomorrow\"}", "RFC 3339"),
        ("{\"why\":\"x\",\"until\":\"2999-01-01\"}", "RFC 3339"),
        ("{\"why\":\"x\",\"until\":\"2999-01-01T00:00:00\"}", "RFC 3339"),
        ("{\"why\":\"x\",\"until\":\"2020-01-01T00:00:00Z\"}", "is over"),
        ("{\"why\":\"x\",\"unitl\":\"2999-01-01T00:00:00Z\"}", "`unitl` is not known"),
    ] {
        let fields = "Content-Type: application/json; charset=utf-8\r\n";
        let answer = post(gateway.serving.admin, PAUSE, fields, body).await;
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (400, &json!("request-malformed")), "{body}");
        assert!(problem["detail"].as_str().is_some_and(|it| it.contains(mention)), "{problem}");
    }
    let big = format!("{{\"why\":\"{}\"}}", "a".repeat(16 << 10));
    let json = "Content-Type: application/json\r\n";
    for (path, fields, body, status, code) in [
        (PAUSE, json, big.as_str(), 413, "body-too-large"),
        (PAUSE, "", "{\"why\":\"x\"}", 415, "media-type"),
        (PAUSE, "Content-Type: text/plain\r\n", "{\"why\":\"x\"}", 415, "media-type"),
        (RESUME, json, "{\"scope\":\"all\"}", 400, "request-malformed"),
        (RESUME, "", "{}", 415, "media-type"),
        ("/api/v1/vendors/w/pause", json, "{\"why\":\"x\"}", 404, "not-found"),
        ("/api/v1/vendors/%ff/pause", json, "{\"why\":\"x\"}", 404, "not-found"),
        ("/api/v1/vendors/w/resume", "", "", 404, "not-found"),
        (PAUSE, "Origin: http://evil.test\r\n", "", 403, "not-permitted"),
        (RESUME, "Origin: null\r\n", "", 403, "not-permitted"),
    ] {
        let answer = post(gateway.serving.admin, path, fields, body).await;
        let told = (answer.status, answer.json()["code"].as_str().map(str::to_owned));
        assert_eq!(told, (status, Some(code.to_owned())), "{path} {fields}");
    }
    let refused = [("action", format!("POST {RESUME}").into()), ("result", "refused".into())];
    gateway.log.line(&refused).await;
    assert_eq!(gateway.admin_get("/api/v1/vendors/w").await.json()["code"], "not-found");
    assert_eq!(shown(&gateway).await["pool"]["hold"], Value::Null);
    assert!(!gateway.folder.path().join("data/pauses.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_needs_the_token_and_is_of_the_pool() {
    let vendor = Vendor::fine().await;
    let more = format!("[vendors.w]\nbase_url = \"http://{}/w\"\npool = \"p\"\n", vendor.address);
    let tokens = "token = { file = \"all\" }\nread_token = { file = \"read\" }\n[pools.p]\nconcurrency = 3\n";
    let own = to_vendor(vendor.address, "pool = \"p\"\nprofile = \"shopify\"", "");
    let folder = Folder::with(&format!("{HEAD}{tokens}{own}{more}"));
    folder.write("all", "operator-token");
    folder.write("read", "reader-token");
    let gateway = UnderTest::start_in(folder).await;
    let admin = gateway.serving.admin;
    let json = "Content-Type: application/json\r\nAuthorization: Bearer";
    let wish = "{\"why\":\"x\"}";
    for (token, status) in [("none", 401), ("reader-token", 403), ("operator-token", 200)] {
        let answer = post(admin, PAUSE, &format!("{json} {token}\r\n"), wish).await;
        assert_eq!(answer.status, status);
    }
    gateway.log.line(&[("action", "pause".into()), ("by", "token".into())]).await;
    let get = async |path: &str| {
        let mut raw = Raw::connect(admin).await;
        let token = "Authorization: Bearer reader-token";
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{token}\r\n\r\n")).await;
        raw.answer().await.json()
    };
    let vendors = get("/api/v1/vendors").await;
    let names: Vec<_> = vendors["vendors"].as_array().expect("vendors").iter().collect();
    assert_eq!(names.len(), 2);
    for (vendor, name, path, profile) in
        [(names[0], "v", "", "shopify"), (names[1], "w", "/w", "generic")]
    {
        assert_eq!((&vendor["name"], &vendor["profile"]), (&json!(name), &json!(profile)));
        let url = vendor["base_url"].as_str().expect("a URL");
        assert!(url.starts_with("http://127.0.0.1:") && url.ends_with(path), "{url}");
        assert_eq!(vendor["circuit"], json!({ "state": "closed" }));
        let mut pool = vendor["pool"].clone();
        assert_eq!(pool["hold"]["why"], "x");
        pool.as_object_mut().expect("an object").remove("hold");
        let expected = json!({
            "name": "p", "vendors": ["v", "w"], "limit": 3, "in_use": 0, "waiting": 0,
            "paused": null,
        });
        assert_eq!(pool, expected);
    }
    let whole = get("/api/v1/vendors/w").await;
    assert_eq!(whole["estimate_seconds"], json!({ "high": 60, "normal": 60, "low": 60 }));
    for (member, value) in [
        ("queue", json!({})),
        ("ramp", Value::Null),
        ("parts_paused", json!([])),
        ("parts_paused_total", json!(0)),
        ("budgets", json!({})),
    ] {
        assert_eq!(whole[member], value, "{member}");
    }
    let answer = post(admin, RESUME, "Authorization: Bearer operator-token\r\n", "").await;
    assert_eq!(answer.json()["notes"], json!(["This lets go on the pool p: v, w."]));
    assert!(!gateway.log.text().contains("-token\""), "no token in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_survives_a_replacement_and_a_crash() {
    let vendor = Vendor::fine().await;
    let folder = Folder::with(&format!("{HEAD}{}", to_vendor(vendor.address, "", "")));
    let mut old = Process::run(&folder, &[]);
    let (address, admin) = (old.address("127.0.0.1:0").await, old.address("admin").await);
    let json = "Content-Type: application/json\r\n";
    assert_eq!(post(admin, PAUSE, json, "{\"why\":\"freeze\"}").await.status, 200);
    let new = Process::run(&folder, &["--replace"]);
    assert_eq!(new.address("127.0.0.1:0").await, address);
    assert_eq!(old.exit_status().await, 0);
    let get = async |address, path: &str| {
        let mut raw = Raw::connect(address).await;
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        raw.answer().await
    };
    let hold = get(admin, "/api/v1/vendors/v").await.json()["pool"]["hold"].clone();
    assert_eq!(hold["why"], "freeze");
    assert_told(&get(address, "/v/a").await, &TOLD);
    // A crash loses nothing.
    new.signal("KILL");
    drop(new);
    let again = Process::run(&folder, &[]);
    let address = again.address("127.0.0.1:0").await;
    assert_told(&get(address, "/v/a").await, &TOLD);
    assert!(vendor.seen().is_empty());
}
