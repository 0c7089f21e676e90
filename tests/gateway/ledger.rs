//! People look at protected writes and settle them: what each choice does to who comes again.

use crate::once::post;
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::vendor::field;
use crate::support::{Answer, Folder, Raw, Reply, UnderTest, Vendor, wait_for};
use serde_json::{Value, json};
use std::net::SocketAddr;

const LEDGER: &str = "/api/v1/ledger";

/// Of a request to the admin listener: method, path, token and body.
async fn ask(
    admin: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&str>,
) -> Answer {
    let mut raw = Raw::connect(admin).await;
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let length = body.map(|body| {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
    });
    let (token, length) = (token.unwrap_or_default(), length.unwrap_or_default());
    let body = body.unwrap_or_default();
    raw.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{token}{length}\r\n{body}"))
        .await;
    raw.answer().await
}

/// A vendor that hangs up on a POST whose path says so, in the middle of its answer.
pub async fn vendor() -> Vendor {
    Vendor::answering(|request| match request.starts_with("POST /lost") {
        true => Reply::Close(b"HTTP/1.1 201 Cre".to_vec()),
        false => {
            Reply::text("201 Created\r\nLocation: /orders/7\r\nContent-Length: 8", "{\"id\":7}")
        }
    })
    .await
}

async fn before(vendor: &Vendor, lines: &str) -> UnderTest {
    UnderTest::start(&format!("{HEAD}{}", to_vendor(vendor.address, "", lines))).await
}

/// Sends a write of which nobody knows what became, and gives its number.
async fn lose(gateway: &UnderTest, key: &str) -> i64 {
    let answer = gateway.send(post("/lost", key, "{}")).await;
    assert_eq!((answer.status, &answer.json()["executed"]), (502, &json!("unknown")));
    let listed = gateway.admin_get(LEDGER).await.json();
    let last = listed["entries"].as_array().and_then(|entries| entries.last()).expect("one");
    assert_eq!(last["key"], key);
    last["id"].as_i64().expect("a number")
}

async fn settle(gateway: &UnderTest, id: i64, said: Value) -> Answer {
    let path = format!("{LEDGER}/{id}/resolve");
    ask(gateway.serving.admin, "POST", &path, None, Some(&said.to_string())).await
}

#[track_caller]
fn assert_problem(answer: &Answer, status: u16, code: &str, mention: &str) {
    let problem = answer.json();
    assert_eq!((answer.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
    let detail = problem["detail"].as_str().expect("a sentence");
    assert!(detail.contains(mention) && detail.ends_with('.'), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_listed_and_shown() {
    let vendor = vendor().await;
    let gateway = before(&vendor, "").await;
    assert_eq!(gateway.send(post("/orders", "INV-1", "{}")).await.status, 201);
    let id = lose(&gateway, "INV-2").await;
    let listed = gateway.admin_get(LEDGER).await.json();
    let entry = &listed["entries"][0];
    assert_eq!(
        (listed["entries"].as_array().map(Vec::len), &listed["next"]),
        (Some(1), &Value::Null)
    );
    let mut rest = entry.clone();
    for (name, expected) in [
        ("id", json!(id)),
        ("state", json!("unknown")),
        ("client", json!("tester")),
        ("vendor", json!("v")),
        ("route", json!("r")),
        ("method", json!("POST")),
        ("path", json!("/lost")),
        ("key", json!("INV-2")),
        ("vendor_key", Value::Null),
        ("attempts", json!(1)),
        ("status", Value::Null),
        ("answer_kept", json!(false)),
        ("generation", json!(1)),
    ] {
        assert_eq!(entry[name], expected, "{name}");
        rest.as_object_mut().expect("an object").remove(name);
    }
    for name in ["first_claimed", "since"] {
        let at = rest[name].as_str().expect("a time").to_owned();
        assert!(at.parse::<jiff::Timestamp>().is_ok() && at.ends_with('Z'), "{at}");
    }
    assert!(rest["age_seconds"].as_u64().is_some_and(|age| age < 60), "{rest}");
    let lost = gateway.log.line(&[("event", "request".into()), ("status", 502.into())]).await;
    assert_eq!(rest["correlation_id"], lost["correlation_id"]);
    assert_eq!(rest.as_object().map(serde_json::Map::len), Some(4), "{rest}");
    let mut shown = gateway.admin_get(&format!("{LEDGER}/{id}")).await.json();
    shown["age_seconds"] = entry["age_seconds"].clone();
    assert_eq!(&shown, entry, "no answer is kept");
    // One that was answered, with its answer.
    let shown = gateway.admin_get(&format!("{LEDGER}/1")).await.json();
    let told = (&shown["state"], &shown["status"], &shown["answer_kept"]);
    assert_eq!(told, (&json!("answered"), &json!(201), &json!(true)));
    let fields = json!([{ "name": "location", "value": "/orders/7" }]);
    assert_eq!(shown["answer"], json!({ "status": 201, "fields": fields, "body": "{\"id\":7}" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other() {
    let vendor = vendor().await;
    let gateway = before(&vendor, "").await;
    for key in ["a", "b", "c"] {
        lose(&gateway, key).await;
    }
    let page = async |query: &str| {
        let page = gateway.admin_get(&format!("{LEDGER}?{query}")).await.json();
        let keys = page["entries"].as_array().expect("entries").iter();
        let keys: Vec<_> = keys.map(|it| it["key"].as_str().expect("a key").to_owned()).collect();
        (keys.concat(), page["next"].as_i64())
    };
    assert_eq!(page("state=unknown&limit=2").await, ("ab".to_owned(), Some(2)));
    assert_eq!(page("limit=2&after=2").await, ("c".to_owned(), None));
    assert_eq!(page("limit=3").await, ("abc".to_owned(), None));
    assert_eq!(page("state=answered").await, (String::new(), None));
    assert_eq!(page("state=in-flight").await, (String::new(), None));
    let refused = gateway.admin_get(&format!("{LEDGER}?state=all")).await;
    assert_problem(&refused, 400, "request-malformed", "`state` is none of `in-flight`");
    for (path, mention) in [
        ("99", "no entry of this number"),
        ("0", "no entry"),
        ("x", "no entry"),
        ("%ff", "no entry"),
    ] {
        let missing = gateway.admin_get(&format!("{LEDGER}/{path}")).await;
        assert_problem(&missing, 404, "not-found", mention);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn executed_with_an_answer_is_answered_so() {
    let vendor = vendor().await;
    let gateway = before(&vendor, "").await;
    let id = lose(&gateway, "INV-1").await;
    assert_eq!(gateway.send(post("/lost", "INV-1", "{}")).await.slug(), "outcome-unknown");
    let location = format!("http://{}/orders/4711", vendor.address);
    let said = json!({
        "as": "executed", "status": 201, "body": "{\"id\":\"4711\"}", "location": location,
        "why": "found as 4711, says Ann",
    });
    let settled = settle(&gateway, id, said).await;
    let entry = settled.json();
    assert_eq!(
        (settled.status, &entry["state"], &entry["status"]),
        (200, &json!("answered"), &json!(201))
    );
    assert_eq!((&entry["id"], &entry["answer_kept"]), (&json!(id), &json!(true)));
    let again = gateway.send(post("/lost", "INV-1", "{}")).await;
    assert_eq!((again.status, again.text().as_str()), (201, "{\"id\":\"4711\"}"));
    assert_eq!(again.field("content-type").as_deref(), Some("application/json"));
    // As the vendor's own is: it stays on the gateway.
    let location = again.field("location").expect("a location");
    assert!(location.ends_with("/v/orders/4711"), "{location}");
    assert_eq!(again.field("idempotency-replayed").as_deref(), Some("true"));
    assert_eq!(
        again.field("x-original-correlation-id").as_deref(),
        entry["correlation_id"].as_str()
    );
    assert_eq!(gateway.send(post("/lost", "INV-1", "[]")).await.slug(), "idempotency-key-reused");
    vendor.only();
    let line = gateway.log.line(&[("action", "ledger-resolved".into())]).await;
    let mut line = line.as_object().expect("an object").clone();
    assert!(line.remove("time").is_some() && line.remove("correlation_id").is_some());
    let expected = json!({
        "event": "audit", "action": "ledger-resolved", "result": "done", "by": "nobody",
        "address": "127.0.0.1", "id": id, "client": "tester", "vendor": "v", "route": "r",
        "as": "executed", "status": 201, "why": "found as 4711, says Ann",
    });
    assert_eq!(Value::Object(line), expected);
    let settled = settle(&gateway, id, json!({ "as": "not-executed" })).await;
    assert_problem(&settled, 409, "not-unknown", &format!("Entry {id} is answered already"));
    let refused = [("action", "ledger-resolved".into()), ("result", "refused".into())];
    assert_eq!(gateway.log.line(&refused).await["reason"], "answered");
    assert!(!gateway.log.text().contains("INV-1"), "no key in the log");
    assert_eq!(gateway.metric("erpgate_ledger_entries{state=\"unknown\"}").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn executed_without_an_answer_is_said_so() {
    let vendor = vendor().await;
    let gateway = before(&vendor, "").await;
    for (key, said, executed) in [
        ("a", json!({ "as": "executed" }), None),
        ("b", json!({ "as": "executed", "status": 204 }), Some(204)),
        ("c", json!({ "as": "executed", "status": 200, "body_base64": "/w==" }), Some(200)),
    ] {
        let id = lose(&gateway, key).await;
        assert_eq!(settle(&gateway, id, said).await.status, 200, "{key}");
        let again = gateway.send(post("/lost", key, "{}")).await;
        let shown = gateway.admin_get(&format!("{LEDGER}/{id}")).await.json();
        let Some(status) = executed else {
            assert_eq!((again.status, again.slug().as_str()), (409, "answer-not-kept"));
            assert_eq!(again.json()["executed"], "yes");
            assert_eq!((&shown["state"], &shown["status"]), (&json!("answered"), &Value::Null));
            continue;
        };
        assert_eq!(again.status, status);
        assert_eq!(again.body, if status == 200 { vec![0xff] } else { Vec::new() });
        let body = if status == 200 { ("body_base64", "/w==") } else { ("body", "") };
        assert_eq!(shown["answer"][body.0], body.1);
    }
    assert_eq!(vendor.seen().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn not_executed_is_sent_again() {
    let vendor = Vendor::counting(|request, _| match field(request, "x-again") {
        None => Reply::Close(b"HTTP/1.1 201 Cre".to_vec()),
        Some(_) => Reply::ok("fine"),
    })
    .await;
    let gateway = before(&vendor, "").await;
    let id = lose(&gateway, "k").await;
    let settled = settle(&gateway, id, json!({ "as": "not-executed", "why": null })).await.json();
    assert_eq!((&settled["state"], &settled["answer_kept"]), (&json!("released"), &json!(false)));
    let path = format!("{LEDGER}/{id}");
    assert_problem(&gateway.admin_get(&path).await, 404, "not-found", "it was released");
    let gone = settle(&gateway, id, json!({ "as": "executed" })).await;
    assert_problem(&gone, 404, "not-found", "no entry");
    let again = post("/lost", "k", "{\"corrected\":1}").replace("Host:", "X-Again: 1\r\nHost:");
    let again = gateway.send(again).await;
    assert_eq!((again.status, again.field("idempotency-replayed")), (200, None));
    assert_eq!(vendor.seen().len(), 2);
    let line = gateway.log.line(&[("as", "not-executed".into())]).await;
    assert_eq!(
        (&line["result"], &line["status"], &line["why"]),
        (&json!("done"), &Value::Null, &Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_nobodys_to_settle() {
    let (vendor, open) = Vendor::gated(|_| Reply::ok("fine")).await;
    let gateway = before(&vendor, "").await;
    let mut raw = gateway.connect().await;
    raw.send(post("/orders", "k", "{}")).await;
    wait_for("the vendor", async || (!vendor.seen().is_empty()).then_some(())).await;
    let listed = gateway.admin_get(&format!("{LEDGER}?state=in-flight")).await.json();
    assert_eq!(listed["entries"][0]["state"], "in-flight");
    assert_eq!(gateway.admin_get(LEDGER).await.json()["entries"], json!([]));
    let refused = settle(&gateway, 1, json!({ "as": "not-executed" })).await;
    assert_problem(&refused, 409, "not-unknown", "Entry 1 is in flight");
    open.send_replace(true);
    assert_eq!(raw.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_settles_nothing() {
    let vendor = vendor().await;
    let config = format!("[ledger]\nanswer_max = \"2KiB\"\n{HEAD}");
    let config = format!("{config}{}", to_vendor(vendor.address, "", ""));
    let gateway = UnderTest::start(&config).await;
    let id = lose(&gateway, "k").await;
    let long = "x".repeat(2049);
    let too_long = json!({ "as": "executed", "status": 200, "body": long });
    for (said, status, code, mention) in [
        (json!({}), 400, "request-malformed", "`as` is missing"),
        (json!({ "as": "maybe" }), 400, "request-malformed", "`as` is neither"),
        (json!({ "as": "not-executed", "status": 200 }), 400, "request-malformed", "leave out"),
        (json!({ "as": "executed", "body": "x" }), 400, "request-malformed", "needs a `status`"),
        (json!({ "as": "executed", "status": 102 }), 400, "request-malformed", "200 to 599"),
        (too_long, 413, "body-too-large", "has 2049 octets; `answer_max` of the ledger is 2048"),
        (json!([]), 400, "request-malformed", "JSON object"),
    ] {
        assert_problem(&settle(&gateway, id, said).await, status, code, mention);
    }
    let path = format!("{LEDGER}/{id}/resolve");
    let huge =
        format!("{{\"as\":\"executed\",\"status\":200,\"body\":\"{}\"}}", "x".repeat(80 << 10));
    let refused = ask(gateway.serving.admin, "POST", &path, None, Some(&huge)).await;
    assert_problem(&refused, 413, "body-too-large", "may have 68 KiB");
    let refused = ask(gateway.serving.admin, "POST", &path, None, None).await;
    assert_eq!((refused.status, &refused.json()["code"]), (415, &json!("media-type")));
    assert_eq!(gateway.send(post("/lost", "k", "{}")).await.slug(), "outcome-unknown");
    // Exactly as much as is kept.
    let most = json!({ "as": "executed", "status": 200, "body": "x".repeat(2048) });
    assert_eq!(settle(&gateway, id, most).await.status, 200);
    assert_eq!(gateway.send(post("/lost", "k", "{}")).await.text().len(), 2048);
    assert!(!gateway.log.text().contains("xxxx"), "no body in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_read_sees_no_key_and_no_answer() {
    let vendor = vendor().await;
    let tokens = "token = { file = \"all\" }\nread_token = { file = \"read\" }\n";
    let folder = Folder::with(&format!("{HEAD}{tokens}{}", to_vendor(vendor.address, "", "")));
    folder.write("all", "operator-token");
    folder.write("read", "reader-token");
    let gateway = UnderTest::start_in(folder).await;
    let admin = gateway.serving.admin;
    assert_eq!(gateway.send(post("/orders", "INV-1", "{}")).await.status, 201);
    assert_eq!(gateway.send(post("/lost", "INV-2", "{}")).await.status, 502);
    let get = async |path: &str, token: &str| {
        ask(admin, "GET", &format!("{LEDGER}{path}"), Some(token), None).await
    };
    for path in ["", "?state=answered", "/1", "/export"] {
        assert_eq!(get(path, "wrong").await.status, 401, "{path}");
        let read = get(path, "reader-token").await;
        assert_eq!(read.status, 200, "{path}");
        for secret in ["INV-", "\"key\"", "vendor_key", "\"answer\"", "{\\\"id\\\":7}"] {
            assert!(!read.text().contains(secret), "{path}: {secret} in {}", read.text());
        }
        let all = get(path, "operator-token").await.text();
        assert!(all.contains("INV-") && all.contains("vendor_key"), "{path}");
        assert_eq!(all.contains("\"answer\""), matches!(path, "/1" | "/export"), "{path}");
    }
    assert_problem(&get("/backup", "reader-token").await, 403, "not-permitted", "a copy holds all");
    let said = "{\"as\":\"executed\"}";
    let path = format!("{LEDGER}/2/resolve");
    for (token, status) in [(None, 401), (Some("reader-token"), 403), (Some("operator-token"), 200)]
    {
        assert_eq!(ask(admin, "POST", &path, token, Some(said)).await.status, status);
    }
    let line = gateway.log.line(&[("action", "ledger-resolved".into())]).await;
    assert_eq!(line["by"], "token");
    let line = [("action", "ledger-exported".into()), ("by", "read_token".into())];
    assert_eq!(gateway.log.line(&line).await["address"], "127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_can_be_taken_away() {
    let vendor = vendor().await;
    let gateway = before(&vendor, "").await;
    for number in 0..250 {
        let answer = gateway.send(post("/orders", &format!("k{number}"), "{}")).await;
        assert_eq!(answer.status, 201);
    }
    lose(&gateway, "lost").await;
    let export = gateway.admin_get(&format!("{LEDGER}/export")).await;
    assert_eq!(export.field("content-type").as_deref(), Some("application/jsonl"));
    assert!(export.complete && export.text().ends_with('\n'));
    let lines = export.text();
    let lines: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let ids: Vec<_> = lines.iter().filter_map(|line| line["id"].as_i64()).collect();
    assert_eq!(ids, (1..=251).collect::<Vec<i64>>());
    assert_eq!(
        (&lines[0]["key"], &lines[0]["answer"]["body"]),
        (&json!("k0"), &json!("{\"id\":7}"))
    );
    assert_eq!(lines[250]["state"], "unknown");
    // The copy is a ledger, and another gateway answers out of it.
    let copy = gateway.admin_get(&format!("{LEDGER}/backup")).await;
    assert_eq!((copy.status, copy.complete), (200, true));
    assert_eq!(copy.field("content-type").as_deref(), Some("application/vnd.sqlite3"));
    gateway.log.line(&[("action", "ledger-backed-up".into()), ("result", "begun".into())]).await;
    let data = gateway.folder.path().join("data");
    let left = std::fs::read_dir(data).expect("read").map(|it| it.expect("one").file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().contains("copy")).collect();
    assert!(left.is_empty(), "{left:?}");
    let folder = Folder::with(&format!("{HEAD}{}", to_vendor(vendor.address, "", "")));
    std::fs::create_dir(folder.path().join("data")).expect("made");
    std::fs::write(folder.path().join("data/ledger.db"), &copy.body).expect("written");
    let other = UnderTest::start_in(folder).await;
    let again = other.send(post("/orders", "k7", "{}")).await;
    assert_eq!((again.status, again.field("idempotency-replayed").is_some()), (201, true));
    assert_eq!(other.send(post("/lost", "lost", "{}")).await.slug(), "outcome-unknown");
    assert_eq!(vendor.seen().len(), 251);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_in_trouble_says_why() {
    let vendor = vendor().await;
    let folder = Folder::with(&format!("{HEAD}{}", to_vendor(vendor.address, "", "")));
    folder.write("data/ledger.db", "this is no ledger, only a text that is long enough to be one");
    let gateway = UnderTest::start_in(folder).await;
    for path in ["", "/1", "/export"] {
        let answer = gateway.admin_get(&format!("{LEDGER}{path}")).await;
        assert_problem(&answer, 503, "ledger-unavailable", "The ledger is damaged");
        assert_eq!(answer.field("retry-after").as_deref(), Some("5"));
    }
    let answer = gateway.admin_get(&format!("{LEDGER}/backup")).await;
    assert_problem(&answer, 503, "ledger-unavailable", "The ledger is damaged");
    let answer = settle(&gateway, 1, json!({ "as": "executed" })).await;
    assert_problem(&answer, 503, "ledger-unavailable", "The ledger is damaged");
    let line = [("action", "ledger-resolved".into()), ("result", "failed".into())];
    assert_eq!(gateway.log.line(&line).await["reason"], "corrupt");
}
