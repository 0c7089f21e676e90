//! Tries the account over real sockets: records, queries, errors, concurrency.

use serde_json::json;

use super::raw_client::{Client, control, start, wait_until};

const CUSTOMER: &str = "/services/rest/record/v1/customer";
const SUITEQL: &str = "/services/rest/query/v1/suiteql";

#[tokio::test]
async fn a_record_lives_from_creation_to_deletion() {
    let netsuite = start(5).await;
    let mut client = Client::connect(&netsuite).await;
    let created = client.ask("POST", CUSTOMER, "", r#"{"companyName":"A","b":{"c":1}}"#).await;
    assert_eq!(created.status, 204);
    assert_eq!(created.header("content-length"), None);
    let url = "http://erp.test/services/rest/record/v1/customer/1";
    assert_eq!(created.header("location"), Some(url));
    assert_eq!(created.header("x-n-operationid"), Some("00000000-0000-4000-8000-000000000001"));
    assert!(created.header("ns_rtimer_composite").is_some());

    let path = format!("{CUSTOMER}/1");
    let read = client.ask("GET", &path, "", "").await;
    assert_eq!(
        read.header("content-type"),
        Some("application/vnd.oracle.resource+json; type=singular")
    );
    let record = json!({
        "links": [{"rel": "self", "href": url}], "id": "1", "companyName": "A", "b": {"c": 1},
    });
    assert_eq!(read.json(), record);
    let head = client.ask("HEAD", &path, "", "").await;
    assert_eq!(head.header("content-length"), read.header("content-length"));

    let patched = client.ask("PATCH", &path, "", r#"{"companyName":"B","id":"9"}"#).await;
    assert_eq!((patched.status, patched.header("location")), (204, Some(url)));
    assert_eq!(client.ask("GET", &path, "", "").await.json()["companyName"], "B");
    let put = client.ask("PUT", &path, "", "{}").await;
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, PATCH, DELETE")));

    let deleted = client.ask("DELETE", &path, "", "").await;
    assert_eq!((deleted.status, deleted.header("location")), (204, None));
    for method in ["GET", "PATCH", "DELETE"] {
        let body = if method == "PATCH" { "{}" } else { "" };
        let missing = client.ask(method, &path, "", body).await;
        assert_eq!((missing.status, missing.code()), (404, "NONEXISTENT_ID".to_owned()));
        assert_eq!(
            missing.header("content-type"),
            Some("application/vnd.oracle.resource+json; type=error")
        );
    }
    let state = control(&netsuite, "{}").await;
    assert_eq!(state["bookings"], 3);
    assert_eq!(state["records"], json!({"customer": 0}));
    assert_eq!(state["requests"], 10);
}

#[tokio::test]
async fn an_external_id_is_upserted_read_and_unique() {
    let netsuite = start(5).await;
    let mut client = Client::connect(&netsuite).await;
    let path = format!("{CUSTOMER}/eid:C-1");
    let mark = "X-Test-Id: t1\r\nIdempotency-Key: k1\r\n";
    let first = client.ask("PUT", &path, mark, r#"{"a":1,"externalId":"other"}"#).await;
    let second = client.ask("PUT", &path, mark, r#"{"b":2}"#).await;
    for got in [first, second] {
        assert_eq!(got.status, 204);
        assert!(got.header("location").unwrap().ends_with("/customer/1"));
    }
    let read = client.ask("GET", &path, "", "").await.json();
    assert_eq!(
        (&read["a"], &read["b"], &read["externalId"]),
        (&json!(1), &json!(2), &json!("C-1"))
    );

    let twice = client.ask("POST", CUSTOMER, "", r#"{"externalId":"C-1"}"#).await;
    assert_eq!((twice.status, twice.code()), (400, "USER_ERROR".to_owned()));
    assert_eq!(client.ask("PATCH", &path, "", r#"{"externalId":"C-2"}"#).await.status, 204);
    assert_eq!(client.ask("GET", &path, "", "").await.status, 404);
    assert_eq!(client.ask("DELETE", &format!("{CUSTOMER}/eid:C-2"), "", "").await.status, 204);

    let state = control(&netsuite, "{}").await;
    assert_eq!(state["by_test_id"], json!({"t1": 2}));
    assert_eq!(state["by_external_id"], json!({"C-1": 2, "C-2": 2}));
    assert_eq!(state["executed"], json!({"C-1": 2, "C-2": 2, "k1": 2}));
}

#[tokio::test]
async fn lists_and_queries_come_in_pages() {
    let netsuite = start(5).await;
    let mut client = Client::connect(&netsuite).await;
    for city in ["Rome", "Oslo", "Rome"] {
        client.ask("POST", CUSTOMER, "", &json!({ "city": city }).to_string()).await;
    }
    let list = client.ask("GET", &format!("{CUSTOMER}?limit=2"), "", "").await;
    assert_eq!(
        list.header("content-type"),
        Some("application/vnd.oracle.resource+json; type=collection")
    );
    let list = list.json();
    let members: Vec<&String> = list.as_object().unwrap().keys().collect();
    assert_eq!(members, ["links", "count", "hasMore", "items", "offset", "totalResults"]);
    assert_eq!((&list["count"], &list["hasMore"]), (&json!(2), &json!(true)));
    let next = list["links"][0]["href"].as_str().unwrap().to_owned();
    let next = client.ask("GET", next.strip_prefix("http://erp.test").unwrap(), "", "").await;
    assert_eq!(next.json()["items"][0]["id"], "3");
    for bad in ["limit=0", "limit=1001", "limit=x", "offset=-1"] {
        let got = client.ask("GET", &format!("{CUSTOMER}?{bad}"), "", "").await;
        assert_eq!((got.status, got.code()), (400, "INVALID_PARAMETER".to_owned()), "{bad}");
    }

    let query = r#"{"q":"SELECT id FROM Customer WHERE city = 'Rome'"}"#;
    let path = format!("{SUITEQL}?limit=1&offset=1");
    let got = client.ask("POST", &path, "Prefer: transient\r\n", query).await;
    assert_eq!(got.status, 200);
    let rows = got.json();
    assert_eq!(rows["items"], json!([{"links": [], "id": "3"}]));
    assert_eq!((&rows["totalResults"], &rows["hasMore"]), (&json!(2), &json!(false)));
    assert_eq!(client.ask("POST", SUITEQL, "", query).await.code(), "INVALID_HEADER");
    let bad = client.ask("POST", SUITEQL, "Prefer: transient\r\n", r#"{"q":"SELECT"}"#).await;
    assert_eq!((bad.status, bad.code()), (400, "INVALID_PARAMETER".to_owned()));
    // Queries are reads, in spite of their method.
    assert_eq!(control(&netsuite, "{}").await["bookings"], 3);
}

#[tokio::test]
async fn the_account_tells_about_itself() {
    let netsuite = start(7).await;
    let mut client = Client::connect(&netsuite).await;
    let limits = client.ask("GET", "/services/rest/system/v1/governanceLimits", "", "").await;
    assert_eq!(limits.json()["accountConcurrencyLimit"], 7);
    let catalog = client.ask("GET", "/services/rest/record/v1/metadata-catalog/", "", "").await;
    let names = catalog.json()["items"].clone();
    assert!(names.as_array().unwrap().iter().any(|item| item["name"] == "salesOrder"));
    let nowhere = client.ask("GET", "/app/site", "", "").await;
    assert_eq!((nowhere.status, nowhere.code()), (404, "INVALID_URL".to_owned()));
}

#[tokio::test]
async fn a_body_that_is_announced_too_long_is_refused_unread() {
    let netsuite = start(5).await;
    let mut client = Client::connect(&netsuite).await;
    let head = "Host: x\r\nContent-Type: application/json\r\nContent-Length: 104000001\r\n\r\n";
    client.write(format!("POST {CUSTOMER} HTTP/1.1\r\n{head}{{")).await;
    assert_eq!(client.answer(true).await.unwrap().status, 413);
    wait_until(&netsuite, "in_flight", 0).await;
}

#[tokio::test]
async fn one_request_too_many_is_throttled() {
    let netsuite = start(1).await;
    control(&netsuite, r#"{"fail":{"mode":"hang"}}"#).await;
    let mut first = Client::connect(&netsuite).await;
    first.send("GET", CUSTOMER, "", "").await;
    wait_until(&netsuite, "in_flight", 1).await;

    let mut second = Client::connect(&netsuite).await;
    let got = second.ask("POST", CUSTOMER, "", r#"{"a":1}"#).await;
    assert_eq!((got.status, got.header("retry-after")), (429, None));
    assert_eq!(got.json()["title"], "Bad Request");
    assert_eq!(got.code(), "CONCURRENCY_LIMIT_EXCEEDED");
    assert!(got.header("x-n-operationid").is_some());

    // The one in flight is given back when its client goes, and the connection was kept.
    drop(first);
    wait_until(&netsuite, "in_flight", 0).await;
    assert_eq!(second.ask("POST", CUSTOMER, "", r#"{"a":1}"#).await.status, 204);
    let state = control(&netsuite, "{}").await;
    assert_eq!((&state["throttled"], &state["requests"]), (&json!(1), &json!(3)));
    assert_eq!((&state["peak_in_flight"], &state["bookings"]), (&json!(1), &json!(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_has_seen_the_whole_answer_can_always_send_the_next_request() {
    let netsuite = start(1).await;
    let mut client = Client::connect(&netsuite).await;
    let text = "x".repeat(100_000);
    let body = json!({ "text": text }).to_string();
    assert_eq!(client.ask("POST", CUSTOMER, "", &body).await.status, 204);
    let large = format!("{CUSTOMER}/1");
    for round in 0..300 {
        let mut fresh = Client::connect(&netsuite).await;
        for (method, path, body, status) in [
            ("GET", large.as_str(), "", 200),
            ("PATCH", large.as_str(), "{}", 204),
            ("HEAD", large.as_str(), "", 200),
            ("GET", CUSTOMER, "", 200),
            ("GET", "/nowhere", "", 404),
        ] {
            std::mem::swap(&mut client, &mut fresh);
            let got = client.ask(method, path, "", body).await;
            assert_eq!(got.status, status, "{method} {path} in round {round}");
        }
    }
    assert_eq!(control(&netsuite, "{}").await["throttled"], 0);
}

#[tokio::test]
async fn a_slow_reader_holds_its_slot() {
    let netsuite = start(1).await;
    let mut other = Client::connect(&netsuite).await;
    // More than the kernel keeps for both ends.
    let body = json!({ "text": "x".repeat(40_000_000) }).to_string();
    assert_eq!(other.ask("POST", CUSTOMER, "", &body).await.status, 204);
    let path = format!("{CUSTOMER}/1");

    let mut slow = Client::connect(&netsuite).await;
    slow.send("GET", &path, "", "").await;
    let head = slow.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(other.ask("GET", CUSTOMER, "", "").await.status, 429);
    drop(slow);
    wait_until(&netsuite, "in_flight", 0).await;
    assert!(other.ask("GET", &path, "", "").await.body.len() > 40_000_000);
}

#[tokio::test]
async fn a_slow_upload_holds_its_slot_too() {
    let netsuite = start(1).await;
    let mut slow = Client::connect(&netsuite).await;
    let head = "Host: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n";
    slow.write(format!("POST {CUSTOMER} HTTP/1.1\r\n{head}{{")).await;
    wait_until(&netsuite, "in_flight", 1).await;
    let mut other = Client::connect(&netsuite).await;
    assert_eq!(other.ask("GET", CUSTOMER, "", "").await.status, 429);
    slow.write("}").await;
    assert_eq!(slow.answer(true).await.unwrap().status, 204);
    assert_eq!(other.ask("GET", CUSTOMER, "", "").await.status, 200);
}

#[tokio::test]
async fn latency_comes_before_the_booking() {
    let netsuite = start(5).await;
    control(&netsuite, r#"{"latency_ms":3600000}"#).await;
    let mut client = Client::connect(&netsuite).await;
    client.send("POST", CUSTOMER, "", "{}").await;
    wait_until(&netsuite, "in_flight", 1).await;
    assert_eq!(control(&netsuite, "{}").await["bookings"], 0);
    drop(client);
    wait_until(&netsuite, "in_flight", 0).await;

    control(&netsuite, r#"{"latency_ms":5}"#).await;
    let mut client = Client::connect(&netsuite).await;
    assert_eq!(client.ask("POST", CUSTOMER, "", "{}").await.status, 204);
    let state = control(&netsuite, "{}").await;
    assert_eq!((&state["bookings"], &state["latency_ms"]), (&json!(1), &json!(5)));
}
