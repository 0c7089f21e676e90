//! Tries the control endpoint and the simulator's life cycle over real sockets.

use serde_json::json;

use super::raw_client::{Client, control, in_time, start};

const CUSTOMER: &str = "/services/rest/record/v1/customer";

#[tokio::test]
async fn control_is_served_beside_the_vendor_and_can_reset() {
    let netsuite = start(5).await;
    let mut client = Client::connect(&netsuite).await;
    client.ask("POST", CUSTOMER, "X-Test-Id: a\r\n", r#"{"externalId":"E"}"#).await;
    let path = "/_sandbox/control";
    let wish = r#"{"concurrency":2,"latency_ms":1,"fail":{"mode":"hang","count":9}}"#;
    let state = client.ask("PUT", path, "", wish).await.json();
    assert_eq!((&state["concurrency"], &state["faults_pending"]), (&json!(2), &json!(9)));
    assert_eq!(client.ask("POST", path, "", r#"{"fail":[]}"#).await.json()["faults_pending"], 0);
    assert_eq!(client.ask("POST", path, "", r#"{"nonsense":1}"#).await.status, 400);
    assert_eq!(client.ask("DELETE", path, "", "").await.status, 405);

    let state = client.ask("POST", path, "", r#"{"reset":true}"#).await.json();
    assert_eq!(
        state,
        json!({
            "bookings": 0, "by_test_id": {}, "by_external_id": {}, "executed": {},
            "uncounted": 0, "records": {}, "requests": 0, "throttled": 0, "in_flight": 0,
            "peak_in_flight": 0, "faults_pending": 0, "latency_ms": 0, "concurrency": 5,
            "down": false,
        })
    );
    assert_eq!(client.ask("GET", path, "", "").await.json(), state);
    let created = client.ask("POST", CUSTOMER, "", r#"{"externalId":"E"}"#).await;
    assert!(created.header("location").unwrap().ends_with("/1"));
}

#[tokio::test]
async fn the_control_listener_is_no_vendor() {
    let netsuite = start(5).await;
    let url = netsuite.control_url();
    assert!(url.ends_with("/_sandbox/control"), "{url}");
    let mut client = Client::connect_control(&netsuite).await;
    let vendor = client.ask("GET", CUSTOMER, "", "").await;
    assert_eq!((vendor.status, vendor.header("content-type")), (404, Some("application/json")));
    assert_eq!(client.ask("GET", "/_sandbox/echo", "", "").await.status, 200);
    let state = control(&netsuite, "{}").await;
    assert_eq!(state["requests"], 0);
}

#[tokio::test]
async fn a_stopped_simulator_is_gone_with_its_connections() {
    let netsuite = start(5).await;
    assert_eq!(netsuite.base_url(), format!("http://{}", netsuite.address()));
    let address = netsuite.address();
    let mut client = Client::connect(&netsuite).await;
    assert_eq!(client.ask("GET", CUSTOMER, "", "").await.status, 200);
    in_time(netsuite.stop()).await;
    assert_eq!(client.rest().await.unwrap(), b"");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_dropped_simulator_is_gone_as_well() {
    let netsuite = start(5).await;
    let mut client = Client::connect(&netsuite).await;
    assert_eq!(client.ask("GET", CUSTOMER, "", "").await.status, 200);
    drop(netsuite);
    assert_eq!(client.rest().await.unwrap(), b"");
}
