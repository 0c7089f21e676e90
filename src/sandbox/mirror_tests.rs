//! Tries echo, stream and sink over real sockets.

use serde_json::json;

use super::raw_client::{Client, control, start};

#[tokio::test]
async fn the_echo_shows_what_arrived_byte_for_byte() {
    let netsuite = start(0).await;
    control(&netsuite, r#"{"fail":{"mode":"hang","count":9}}"#).await;
    let mut client = Client::connect(&netsuite).await;
    for round in 0..2 {
        // The head arrives in pieces, the body after it; both rounds share one connection.
        client.write(format!("PUT /_sandbox/echo/a%2Fb?x=%20&r={round} HTTP/1.1\r\nHo")).await;
        client.write("st: h\r\nX-B: 1\r\nx-a:  2\t\r\nX-B: 3\r\nContent-Length: 3\r\n\r\n").await;
        client.write("abc").await;
        let got = client.answer(true).await.unwrap();
        assert_eq!(got.header("content-type"), Some("application/json"));
        assert_eq!(
            got.json(),
            json!({
                "method": "PUT",
                "target": format!("/_sandbox/echo/a%2Fb?x=%20&r={round}"),
                "version": "HTTP/1.1",
                "headers": [["Host", "h"], ["X-B", "1"], ["x-a", "2"], ["X-B", "3"],
                            ["Content-Length", "3"]],
                "exact": true,
                "body_length": 3,
                "body": "abc",
            })
        );
    }
    let state = control(&netsuite, "{}").await;
    assert_eq!((&state["requests"], &state["faults_pending"]), (&json!(0), &json!(9)));
}

#[tokio::test]
async fn the_echo_counts_a_body_that_it_does_not_show() {
    let netsuite = start(1).await;
    let mut client = Client::connect(&netsuite).await;
    let got = client.ask("POST", "/_sandbox/echo", "", &"x".repeat(70_000)).await.json();
    assert_eq!((&got["body_length"], &got["body"]), (&json!(70_000), &json!(null)));
    let get = client.ask("GET", "/_sandbox/echo", "", "").await.json();
    assert_eq!((&get["method"], &get["body"]), (&json!("GET"), &json!("")));
}

#[tokio::test]
async fn a_stream_has_the_length_asked_for() {
    let netsuite = start(1).await;
    let mut client = Client::connect(&netsuite).await;
    for bytes in [0, 1, 16_384, 16_385, 3_000_000] {
        let path = format!("/_sandbox/stream/{bytes}");
        let chunked = client.ask("GET", &path, "", "").await;
        assert_eq!(chunked.header("transfer-encoding"), Some("chunked"));
        assert_eq!(chunked.body.len(), bytes);
        let announced = client.ask("GET", &format!("{path}?length=1"), "", "").await;
        assert_eq!(announced.header("content-length"), Some(bytes.to_string().as_str()));
        assert_eq!(announced.body.len(), bytes);
    }
    assert_eq!(client.ask("GET", "/_sandbox/stream/many", "", "").await.status, 400);
}

#[tokio::test]
async fn the_sink_counts_announced_and_chunked_bodies() {
    let netsuite = start(1).await;
    let mut client = Client::connect(&netsuite).await;
    let body = "x".repeat(2_000_000);
    let got = client.ask("POST", "/_sandbox/sink", "", &body).await;
    assert_eq!(got.json(), json!({"bytes": 2_000_000}));
    let head = "PUT /_sandbox/sink HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write(format!("{head}3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")).await;
    assert_eq!(client.answer(true).await.unwrap().json(), json!({"bytes": 5}));
    assert_eq!(client.ask("GET", "/_sandbox/sink", "", "").await.status, 404);
    assert_eq!(client.ask("GET", "/_sandbox/nothing", "", "").await.status, 404);
}
