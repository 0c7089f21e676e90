//! What clients may ask for: each refusal with its exact document, what every answer tells of it,
//! and that nothing is spent, kept or forgotten that should not be.

use crate::documents::{Told, assert_told};
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Answer, Folder, Raw, Reply, UnderTest, Vendor, key, policy, wait_for};
use erpgate::model::digest::Sha256;
use erpgate::state::ReloadOutcome;
use std::net::SocketAddr;

/// A policy of the tester with these lines in front of its allows, and those behind them.
fn limited(limits: &str, of_rule: &str) -> String {
    policy(&["r"]).replacen("[[allow]]", &format!("{limits}\n[[allow]]"), 1) + of_rule
}

fn folder(vendor: SocketAddr, limits: &str, of_rule: &str) -> Folder {
    let folder = Folder::with(&format!("{HEAD}{}", to_vendor(vendor, "", "")));
    folder.write("policies/tester.toml", &limited(limits, of_rule));
    folder
}

async fn gateway(vendor: &Vendor, limits: &str, of_rule: &str) -> UnderTest {
    UnderTest::start_in(folder(vendor.address, limits, of_rule)).await
}

async fn reload(gateway: &UnderTest) {
    let outcome = gateway.serving.gateway.state.reload("admin").await;
    assert!(matches!(outcome, ReloadOutcome::Accepted { .. }), "{outcome:?}");
}

fn seconds(answer: &Answer) -> u64 {
    answer.field("retry-after").expect("a wait").parse().expect("seconds")
}

fn left(answer: &Answer) -> String {
    answer.field("ratelimit").expect("RateLimit")
}

const TOLD: Told<'static> = Told {
    status: 429,
    code: "rate-limited",
    title: "Too many requests",
    detail: "Too many requests in too short a time.",
    action: "Wait as long as Retry-After says, then try again.",
    retryable: true,
    challenge: None,
    error: "http_request_error",
};

#[tokio::test(flavor = "multi_thread")]
async fn too_fast() {
    let vendor = Vendor::fine().await;
    let gateway = gateway(&vendor, "[limits]\nrate = \"1/hour\"", "").await;
    assert_eq!(gateway.get("/v/a").await.status, 200);
    let answer = gateway.get("/v/a").await;
    assert_told(&answer, &TOLD);
    assert!((3_000..=3_600).contains(&seconds(&answer)), "{answer:?}");
    assert_eq!(answer.json()["retry_after"], seconds(&answer));
    assert_eq!(answer.field("ratelimit-policy").as_deref(), Some("\"client\";q=1;w=3600"));
    assert_eq!(left(&answer), format!("\"client\";r=0;t={}", seconds(&answer)));
    assert_eq!(vendor.seen().len(), 1);
    let line = gateway.log.line(&[("refusal", "rate-limited".into())]).await;
    assert_eq!((&line["stage"], &line["client"]), (&"rate-limit".into(), &"tester".into()));
    let labels = "{client=\"tester\",reason=\"rate-limited\",route=\"r\"} ";
    assert_eq!(gateway.metric(&format!("erpgate_refusals_total{labels}")).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn used_up_for_today() {
    let vendor = Vendor::fine().await;
    let gateway = gateway(&vendor, "", "daily = 1\n").await;
    assert_eq!(gateway.get("/v/a").await.status, 200);
    let answer = gateway.get("/v/a").await;
    let told = Told {
        code: "quota-exhausted",
        title: "Quota exhausted",
        detail: "The client has used up its requests for today.",
        ..TOLD
    };
    assert_told(&answer, &told);
    assert!((1..=86_400).contains(&seconds(&answer)));
    assert_eq!(answer.field("ratelimit-policy").as_deref(), Some("\"rule-day\";q=1;w=86400"));
    assert_eq!(left(&answer), format!("\"rule-day\";r=0;t={}", seconds(&answer)));
    assert_eq!(vendor.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_at_a_time_until_one_hangs_up() {
    let vendor = Vendor::answering(|request| match request.contains("/hang") {
        true => Reply::Hang,
        false => Reply::ok("fine"),
    })
    .await;
    let gateway = gateway(&vendor, "[limits]\nconcurrency = 1", "").await;
    let mut waiting = gateway.connect().await;
    waiting.send("GET /v/hang HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    wait_for("the vendor", async || (vendor.seen().len() == 1).then_some(())).await;
    let answer = gateway.get("/v/a").await;
    let told = Told {
        code: "concurrency-limited",
        title: "Too many requests at a time",
        detail: "The client has as many requests under way as it may.",
        action: "Wait for an answer to an earlier request, then try again.",
        ..TOLD
    };
    assert_told(&answer, &told);
    assert_eq!(seconds(&answer), 1);
    let policy = "\"client-concurrency\";q=1;qu=\"concurrent-requests\"";
    assert_eq!(answer.field("ratelimit-policy").as_deref(), Some(policy));
    assert_eq!(left(&answer), "\"client-concurrency\";r=0;t=1");
    drop(waiting);
    wait_for("its place", async || (gateway.get("/v/a").await.status == 200).then_some(())).await;
    // Whoever has read an answer to its end is not in its own way.
    for _ in 0..20 {
        assert_eq!(gateway.get("/v/a").await.status, 200);
        let head = "HEAD /v/a HTTP/1.1\r\nHost: gw\r\n\r\n";
        let mut raw = gateway.connect().await;
        raw.send(head).await;
        assert_eq!(raw.head_answer().await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_tells_what_is_left() {
    let theirs = "200 OK\r\nContent-Length: 0\r\nRateLimit-Policy: \"v\";q=9;w=9\r\n\
                  X-RateLimit-Limit: 9";
    let vendor = Vendor::answering(move |request| match request.contains("/strict") {
        true => Reply::text(&format!("{theirs}\r\nRateLimit: \"v\";r=1;t=7"), ""),
        false => Reply::text(&format!("{theirs}\r\nRateLimit: \"v\";r=1000"), ""),
    })
    .await;
    let limits = "[limits]\nrate = [{ rate = \"6/hour\", burst = 6 }]\ndaily = 50\nconcurrency = 3";
    let denied = "[[deny]]\nroute = \"r\"\npaths = [\"/denied\"]\n";
    let gateway = gateway(&vendor, limits, denied).await;
    let policy = "\"client\";q=6;w=3600, \"client-day\";q=50;w=86400, \
                  \"client-concurrency\";q=3;qu=\"concurrent-requests\"";
    let fresh = "\"client\";r=6, \"client-day\";r=6, \"client-concurrency\";r=3";
    // What is not permitted is told, and not counted.
    for _ in 0..10 {
        let answer = gateway.get("/v/denied").await;
        assert_eq!(answer.slug(), "not-permitted");
        assert_eq!(answer.field("ratelimit-policy").as_deref(), Some(policy));
        assert_eq!(left(&answer), fresh);
    }
    let answer = gateway.get("/v/a").await;
    assert_eq!(answer.field("ratelimit-policy").as_deref(), Some(policy));
    let told = left(&answer);
    let wait = told.split([';', ',']).find_map(|part| part.strip_prefix("t=")).expect("a wait");
    assert!((300..=600).contains(&wait.parse::<u32>().expect("seconds")), "{told}");
    let expected = "\"client\";r=5;t=W, \"client-day\";r=5;t=W, \"client-concurrency\";r=2;t=1";
    assert_eq!(told, expected.replace('W', wait));
    assert_eq!(answer.field("x-ratelimit-limit").as_deref(), Some("9"), "the vendor's own");
    let answer = gateway.get("/v/strict").await;
    assert!(
        left(&answer).starts_with("\"client\";r=1;t=7, \"client-day\";r=1;t=7, "),
        "{answer:?}"
    );
    // OPTIONS to the gateway itself counts too.
    let options = "OPTIONS /v/a HTTP/1.1\r\nHost: gw\r\nMax-Forwards: 0\r\n\r\n";
    let answer = gateway.send(options).await;
    assert_eq!((answer.status, vendor.seen().len()), (204, 2));
    assert!(left(&answer).starts_with("\"client\";r=3;t="), "{answer:?}");
    let shown = gateway.admin_get("/api/v1/clients").await.json();
    assert_eq!(shown["clients"][0]["remaining"]["client"], 3);
    // Nobody unknown is told anything.
    let mut raw = Raw::connect(gateway.address(0)).await.bare();
    raw.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    let answer = raw.answer().await;
    assert_eq!(answer.slug(), "credentials-missing");
    assert_eq!((answer.field("ratelimit"), answer.field("ratelimit-policy")), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_limits_is_told_nothing() {
    let head = "200 OK\r\nContent-Length: 0\r\nRateLimit: \"v\";r=1";
    let vendor = Vendor::answering(move |_| Reply::text(head, "")).await;
    let gateway = gateway(&vendor, "", "").await;
    let answer = gateway.get("/v/a").await;
    assert_eq!(answer.field("ratelimit").as_deref(), Some("\"v\";r=1"));
    assert_eq!(answer.field("ratelimit-policy"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_limit_refuses_spends_none() {
    let vendor = Vendor::fine().await;
    let limits = "[limits]\nrate = [{ rate = \"10/hour\", burst = 10 }]\ndaily = 10";
    let gateway = gateway(&vendor, limits, "rate = \"1/day\"\n").await;
    assert_eq!(gateway.get("/v/a").await.status, 200);
    for _ in 0..20 {
        let answer = gateway.get("/v/a").await;
        assert_eq!(answer.slug(), "rate-limited");
        assert!(seconds(&answer) > 80_000, "the longest wait");
        assert!(left(&answer).starts_with("\"client\";r=9;t="), "{answer:?}");
        // The rule's window is as long as the day.
        assert!(left(&answer).contains("\"client-day\";r=0;t="), "{answer:?}");
    }
    let shown = gateway.admin_get("/api/v1/clients").await.json();
    let remaining = &shown["clients"][0]["remaining"];
    assert_eq!((&remaining["client"], &remaining["client-day"]), (&9.into(), &9.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_for_all_holds_for_each_by_itself() {
    let vendor = Vendor::fine().await;
    let folder = folder(vendor.address, "", "");
    folder.write("policies/_all.toml", "[limits]\nrate = \"1/hour\"\n");
    let other = erpgate::stages::authentication::api_key::make([8; 32]);
    let text = policy(&["r"]).replace("\"tester\"", "\"other\"");
    let digest = |key: &str| Sha256::of(key.as_bytes()).to_string();
    folder.write("policies/other.toml", &text.replace(&digest(&key()), &digest(&other)));
    let gateway = UnderTest::start_in(folder).await;
    let get_as = async |key: &str| {
        let mut raw = Raw::connect(gateway.address(0)).await.bare();
        raw.send(format!("GET /v/a HTTP/1.1\r\nHost: gw\r\nX-API-Key: {key}\r\n\r\n")).await;
        raw.answer().await
    };
    for key in [key(), other] {
        assert_eq!(get_as(&key).await.status, 200);
        let answer = get_as(&key).await;
        assert_eq!(answer.slug(), "rate-limited");
        assert_eq!(answer.field("ratelimit-policy").as_deref(), Some("\"all\";q=1;w=3600"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_survive_a_reload() {
    let vendor = Vendor::fine().await;
    let limits = "[limits]\nrate = \"1/hour\"";
    let gateway = gateway(&vendor, limits, "rate = \"1/hour\"\n").await;
    assert_eq!(gateway.get("/v/a").await.status, 200);
    let rewrite = async |text: &str| {
        gateway.folder.write("policies/tester.toml", text);
        reload(&gateway).await;
        gateway.get("/v/a").await
    };
    // The rule has moved, a limit has come; the others are what they were.
    let moved = limited(&format!("# moved\n\n{limits}\ndaily = 100"), "rate = \"1/hour\"\n");
    let answer = rewrite(&moved).await;
    assert_eq!(answer.slug(), "rate-limited");
    assert!(left(&answer).contains("\"rule\";r=0;t="), "{answer:?}");
    // A client that was gone for a moment.
    gateway.folder.write("policies/elsewhere.toml", "client = \"elsewhere\"\n");
    std::fs::remove_file(gateway.folder.path().join("policies/tester.toml")).expect("removed");
    reload(&gateway).await;
    assert_eq!(rewrite(&moved).await.slug(), "rate-limited");
    // Another rate begins anew, the rule's own still holds.
    let faster = moved.replacen("1/hour", "2/minute", 1);
    let answer = rewrite(&faster).await;
    assert_eq!(answer.slug(), "rate-limited");
    assert!(left(&answer).starts_with("\"client\";r=1,"), "{answer:?}");
    assert_eq!(rewrite(&faster.replace("1/hour", "2/hour")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_survives_a_reload() {
    let vendor = Vendor::answering(|_| Reply::Hang).await;
    let gateway = gateway(&vendor, "[limits]\nconcurrency = 1", "").await;
    let mut waiting = gateway.connect().await;
    waiting.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    wait_for("the vendor", async || (vendor.seen().len() == 1).then_some(())).await;
    for limits in ["[limits]\nconcurrency = 1\ndaily = 7", "[limits]\nconcurrency = 2"] {
        gateway.folder.write("policies/tester.toml", &limited(limits, ""));
        reload(&gateway).await;
        let shown = gateway.admin_get("/api/v1/clients").await.json();
        let most = if limits.ends_with('2') { 2 } else { 1 };
        assert_eq!(shown["clients"][0]["remaining"]["client-concurrency"], most - 1);
    }
    drop(waiting);
    wait_for("its place", async || {
        let shown = gateway.admin_get("/api/v1/clients").await.json();
        (shown["clients"][0]["remaining"]["client-concurrency"] == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daily_quota_survives_a_restart() {
    let vendor = Vendor::fine().await;
    let limits = "[limits]\ndaily = 2\ntimezone = \"America/New_York\"";
    let gateway_1 = gateway(&vendor, limits, "daily = 3\n").await;
    assert_eq!(gateway_1.get("/v/a").await.status, 200);
    let folder = gateway_1.leave().await;
    let kept = folder.read("data/limits.json");
    assert!(kept.contains("America/New_York") && kept.contains("\"rule\""), "{kept}");
    let gateway_2 = UnderTest::start_in(folder).await;
    let answer = gateway_2.get("/v/a").await;
    assert_eq!(answer.status, 200);
    assert!(left(&answer).starts_with("\"client-day\";r=0;t="), "{answer:?}");
    assert!(left(&answer).contains("\"rule-day\";r=1;t="), "{answer:?}");
    assert_eq!(gateway_2.get("/v/a").await.slug(), "quota-exhausted");
    // It is written while it serves, too.
    wait_for("the file", async || {
        gateway_2.folder.read("data/limits.json").contains("\": 2").then_some(())
    })
    .await;
    // What nobody can read keeps nobody from serving.
    let folder = gateway_2.leave().await;
    for broken in ["{ nonsense", "{\"version\":7,\"clients\":{}}", "{\"version\":1,\"clients\":[]}"]
    {
        let again = Folder::with(&folder.read("gateway.toml"));
        again.write("policies/tester.toml", &folder.read("policies/tester.toml"));
        again.write("data/limits.json", broken);
        let gateway = UnderTest::start_in(again).await;
        gateway.log.line(&[("event", "limits-unreadable".into())]).await;
        assert_eq!(gateway.folder.read("data/limits.json.corrupt"), broken);
        assert_eq!(gateway.get("/v/a").await.status, 200, "{broken}");
    }
}
