//! Tries every named failure over real sockets: what the client sees, and what was booked.

use serde_json::{Value, json};

use super::NetSuite;
use super::raw_client::{Client, control, start, wait_until};

const CUSTOMER: &str = "/services/rest/record/v1/customer";
const BODY: &str = r#"{"externalId":"E"}"#;

/// A simulator whose next request fails in that way, and a connection to it.
async fn failing(mode: &str) -> (NetSuite, Client) {
    let netsuite = start(5).await;
    control(&netsuite, &json!({ "fail": { "mode": mode } }).to_string()).await;
    let client = Client::connect(&netsuite).await;
    (netsuite, client)
}

/// Bookings, and that nothing is left in flight, and that the account works again.
async fn bookings(netsuite: &NetSuite) -> Value {
    wait_until(netsuite, "in_flight", 0).await;
    let state = control(netsuite, "{}").await;
    assert_eq!(state["faults_pending"], 0);
    let mut client = Client::connect(netsuite).await;
    assert_eq!(client.ask("GET", CUSTOMER, "", "").await.status, 200);
    state["bookings"].clone()
}

/// Sends one write and reads all that comes back.
async fn all_bytes(client: &mut Client) -> String {
    client.send("POST", CUSTOMER, "", BODY).await;
    String::from_utf8_lossy(&client.rest().await.unwrap()).into_owned()
}

#[tokio::test]
async fn refuse_resets_a_connection_at_accept() {
    let netsuite = start(5).await;
    control(&netsuite, r#"{"fail":{"mode":"refuse"}}"#).await;
    // The reset may come while the client still connects.
    if let Ok(mut client) = Client::try_connect(&netsuite).await {
        assert!(client.is_reset().await);
    }
    assert_eq!(control(&netsuite, "{}").await["requests"], 0);
    assert_eq!(bookings(&netsuite).await, 0);
}

#[tokio::test]
async fn refuse_resets_an_open_connection_at_its_next_request() {
    let netsuite = start(5).await;
    let mut client = Client::connect(&netsuite).await;
    assert_eq!(client.ask("GET", CUSTOMER, "", "").await.status, 200);
    control(&netsuite, r#"{"fail":{"mode":"refuse"}}"#).await;
    client.send("POST", CUSTOMER, "", BODY).await;
    assert!(client.is_reset().await);
    assert_eq!(bookings(&netsuite).await, 0);
}

#[tokio::test]
async fn refuse_with_a_match_waits_for_its_request() {
    let netsuite = start(5).await;
    let wish = r#"{"fail":{"mode":"refuse","match":{"method":"POST"}}}"#;
    control(&netsuite, wish).await;
    let mut client = Client::connect(&netsuite).await;
    assert_eq!(client.ask("GET", CUSTOMER, "", "").await.status, 200);
    client.send("POST", CUSTOMER, "", BODY).await;
    assert!(client.is_reset().await);
    assert_eq!(bookings(&netsuite).await, 0);
}

#[tokio::test]
async fn a_vendor_that_is_down_refuses_connections_and_cuts_those_it_has() {
    let netsuite = start(5).await;
    let mut kept = Client::connect(&netsuite).await;
    assert_eq!(kept.ask("POST", CUSTOMER, "", BODY).await.status, 204);
    for _ in 0..3 {
        assert_eq!(control(&netsuite, r#"{"down":true}"#).await["down"], true);
        let refused = Client::try_connect(&netsuite).await;
        let kind = refused.err().map(|error| error.kind());
        assert_eq!(kind, Some(std::io::ErrorKind::ConnectionRefused));
        assert_eq!(kept.rest().await.unwrap(), b"");

        assert_eq!(control(&netsuite, r#"{"down":false}"#).await["down"], false);
        kept = Client::connect(&netsuite).await;
        assert_eq!(kept.ask("GET", &format!("{CUSTOMER}/eid:E"), "", "").await.status, 200);
    }
    // Twice the same order is no error, and a reset opens.
    control(&netsuite, r#"{"down":true}"#).await;
    control(&netsuite, r#"{"down":true}"#).await;
    assert_eq!(control(&netsuite, r#"{"reset":true}"#).await["down"], false);
    assert_eq!(bookings(&netsuite).await, 0);
}

#[tokio::test]
async fn hanging_requests_hold_their_slot_until_the_client_goes() {
    for (mode, booked) in [("hang", 0), ("hang-after", 1)] {
        let (netsuite, mut client) = failing(mode).await;
        client.send("POST", CUSTOMER, "", BODY).await;
        wait_until(&netsuite, "in_flight", 1).await;
        wait_until(&netsuite, "bookings", booked).await;
        drop(client);
        assert_eq!(bookings(&netsuite).await, booked, "{mode}");
    }
}

#[tokio::test]
async fn resets_come_before_or_after_the_booking() {
    for (mode, booked) in [("reset-before", 0), ("reset-after", 1)] {
        let (netsuite, mut client) = failing(mode).await;
        client.send("POST", CUSTOMER, "", BODY).await;
        assert!(client.is_reset().await, "{mode}");
        let state = control(&netsuite, "{}").await;
        let expected = if booked == 1 { json!({"E": 1}) } else { json!({}) };
        assert_eq!(state["by_external_id"], expected, "{mode}");
        assert_eq!(bookings(&netsuite).await, booked, "{mode}");
    }
}

#[tokio::test]
async fn half_an_answer_is_a_head_and_half_its_body() {
    let (netsuite, mut client) = failing("half").await;
    client.send("POST", CUSTOMER, "", BODY).await;
    let head = client.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("location: http://erp.test/"), "{head}");
    let (_, length) = head.split_once("content-length: ").unwrap();
    let length: usize = length.lines().next().unwrap().parse().unwrap();
    assert_eq!(client.rest().await.unwrap().len(), length / 2);
    assert_eq!(bookings(&netsuite).await, 1);
}

#[tokio::test]
async fn half_a_head_has_no_end() {
    let (netsuite, mut client) = failing("half-head").await;
    let all = all_bytes(&mut client).await;
    assert!(all.starts_with("HTTP/1.1 204 No Content\r\n"), "{all}");
    assert!(!all.contains("\r\n\r\n"), "{all}");
    assert_eq!(bookings(&netsuite).await, 1);
}

#[tokio::test]
async fn half_a_chunked_answer_lacks_the_last_chunk() {
    let (netsuite, mut client) = failing("half-chunked").await;
    let all = all_bytes(&mut client).await;
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    let (length, chunk) = body.split_once("\r\n").unwrap();
    assert_eq!(usize::from_str_radix(length, 16).unwrap() + 2, chunk.len());
    assert_eq!(bookings(&netsuite).await, 1);
}

#[tokio::test]
async fn a_slow_answer_begins_with_its_first_byte_and_holds_its_slot() {
    let (netsuite, mut client) = failing("slow-head").await;
    client.send("POST", CUSTOMER, "", BODY).await;
    wait_until(&netsuite, "bookings", 1).await;
    assert_eq!(control(&netsuite, "{}").await["in_flight"], 1);
    drop(client);
    assert_eq!(bookings(&netsuite).await, 1);
}

#[tokio::test]
async fn answers_that_break_the_rules() {
    for (mode, start, part) in [
        ("garbage", "\u{15}\u{3}\u{1}", "this is not HTTP"),
        ("conflicting-lengths", "HTTP/1.1 200 OK\r\n", "content-length: 63\r\ncontent-length: 70"),
        ("obs-fold", "HTTP/1.1 204 No Content\r\n", "x-folded: one\r\n two\r\n"),
        ("bad-status", "HTTP/1.1 999 Strange\r\n", "location: http://erp.test/"),
        ("close-idle", "HTTP/1.1 204 No Content\r\n", "location: http://erp.test/"),
    ] {
        let (netsuite, mut client) = failing(mode).await;
        let all = all_bytes(&mut client).await;
        assert!(all.starts_with(start) && all.contains(part), "{mode}: {all}");
        assert!(!all.contains("connection: close"), "{mode}: {all}");
        assert_eq!(bookings(&netsuite).await, 1, "{mode}");
    }
}

#[tokio::test]
async fn an_unasked_upgrade_leaves_the_connection_open() {
    let (netsuite, mut client) = failing("unasked-101").await;
    client.send("POST", CUSTOMER, "", BODY).await;
    let head = client.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client.write("still there").await;
    assert_eq!(bookings(&netsuite).await, 1);
}

#[tokio::test]
async fn a_status_is_answered_instead_of_a_booking() {
    let netsuite = start(5).await;
    let mut client = Client::connect(&netsuite).await;
    let wish = r#"{"fail":[{"mode":"status"},{"mode":"status","status":500,"html":true},
                   {"mode":"status","status":401}]}"#;
    control(&netsuite, wish).await;
    let shaped = client.ask("POST", CUSTOMER, "", BODY).await;
    assert_eq!((shaped.status, shaped.code()), (503, "UNEXPECTED_ERROR".to_owned()));
    let page = client.ask("POST", CUSTOMER, "", BODY).await;
    assert_eq!((page.status, page.header("content-type")), (500, Some("text/html;charset=utf-8")));
    assert!(page.header("x-n-operationid").is_some());
    assert_eq!(client.ask("POST", CUSTOMER, "", BODY).await.json()["title"], "Unauthorized");
    assert_eq!(bookings(&netsuite).await, 0);
}

#[tokio::test]
async fn a_redirect_leads_to_another_data_centre() {
    let (netsuite, mut client) = failing("redirect").await;
    let got = client.ask("POST", &format!("{CUSTOMER}?x=1"), "", BODY).await;
    assert_eq!(got.status, 302);
    let location = got.header("location").unwrap();
    assert!(location.ends_with(".invalid/services/rest/record/v1/customer?x=1"), "{location}");
    assert_eq!(bookings(&netsuite).await, 0);
}

#[tokio::test]
async fn a_fault_meets_only_the_requests_it_means() {
    let netsuite = start(5).await;
    let wish = r#"{"fail":{"mode":"status","count":2,
                   "match":{"method":"POST","path_contains":"customer"}}}"#;
    control(&netsuite, wish).await;
    let mut client = Client::connect(&netsuite).await;
    let order = "/services/rest/record/v1/salesOrder";
    for (method, path, status) in [
        ("GET", CUSTOMER, 200),
        ("POST", order, 204),
        ("POST", CUSTOMER, 503),
        ("POST", CUSTOMER, 503),
        ("POST", CUSTOMER, 204),
    ] {
        let body = if method == "POST" { BODY } else { "" };
        assert_eq!(client.ask(method, path, "", body).await.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn a_throttled_request_uses_no_fault_up() {
    let netsuite = start(0).await;
    control(&netsuite, r#"{"fail":{"mode":"status"}}"#).await;
    let mut client = Client::connect(&netsuite).await;
    assert_eq!(client.ask("GET", CUSTOMER, "", "").await.status, 429);
    control(&netsuite, r#"{"concurrency":1}"#).await;
    assert_eq!(client.ask("GET", CUSTOMER, "", "").await.status, 503);
}
