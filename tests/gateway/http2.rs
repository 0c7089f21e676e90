//! HTTP/2, by prior knowledge on loopback and by ALPN: the same answers, and its own traps.

use crate::support::under_test::{HEAD, to_vendor};
use crate::support::vendor::field;
use crate::support::{Reply, UnderTest, Vendor, key, within};
use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Response};

/// An HTTP/2 connection by prior knowledge.
async fn connect(gateway: &UnderTest) -> SendRequest<Bytes> {
    let tcp = tokio::net::TcpStream::connect(gateway.address(0)).await.expect("connects");
    let (send, connection) = h2::client::handshake(tcp).await.expect("speaks HTTP/2");
    tokio::spawn(connection);
    send
}

async fn exchange(
    send: &mut SendRequest<Bytes>,
    request: Request<()>,
    body: &[Bytes],
) -> Result<(Response<()>, Vec<u8>), h2::Error> {
    let (answer, mut stream) = send.send_request(request, body.is_empty())?;
    for (index, part) in body.iter().enumerate() {
        stream.send_data(part.clone(), index + 1 == body.len())?;
    }
    let (head, mut rest) = within("an answer", answer).await?.into_parts();
    let mut octets = Vec::new();
    while let Some(part) = rest.data().await {
        let part = part?;
        rest.flow_control().release_capacity(part.len())?;
        octets.extend_from_slice(&part);
    }
    Ok((Response::from_parts(head, ()), octets))
}

/// A request that shows the key of the usual client.
fn to(uri: &str) -> http::request::Builder {
    Request::builder().uri(uri).header("x-api-key", key())
}

fn get(uri: &str) -> Request<()> {
    to(uri).body(()).expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_through_with_one_host_and_joined_cookies_gone() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let mut send = connect(&gateway).await;
    let (head, body) =
        exchange(&mut send, get("http://gw.test/v/a?b=1"), &[]).await.expect("answered");
    assert_eq!((head.status().as_u16(), body.as_slice()), (200, b"fine".as_slice()));
    assert!(head.headers().contains_key("x-correlation-id"));
    let seen = vendor.only();
    assert!(seen.starts_with("GET /a?b=1 HTTP/1.1\r\n"), "{seen}");
    assert_eq!(field(&seen, "host"), Some(vendor.address.to_string()));
    assert_eq!(field(&seen, "via").as_deref(), Some("2 erpgate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_refusals_are_the_same() {
    let vendor = Vendor::fine().await;
    let config = format!("{HEAD}{}", to_vendor(vendor.address, "", "body_max = \"64B\""));
    let gateway = UnderTest::start(&config).await;
    let mut send = connect(&gateway).await;
    let post = |uri: &str| to(uri).method("POST").body(()).expect("a request");
    let part = Bytes::from_static(b"0123456789");
    let (head, _) = exchange(&mut send, post("http://gw/v/a"), &[part.clone(), part.clone()])
        .await
        .expect("fine");
    assert_eq!(head.status(), 200);
    assert_eq!(vendor.only().matches("0123456789").count(), 2, "{:?}", vendor.only());
    for (request, body, slug) in [
        (get("http://gw/nowhere"), vec![], "route-not-found"),
        (get("http://gw/v/%2e%2e/a"), vec![], "path-ambiguous"),
        (post("http://gw/v/a"), vec![part; 7], "payload-too-large"),
        (to("http://gw/v/a").method("BREW").body(()).expect("one"), vec![], "method-unknown"),
    ] {
        let (head, body) = exchange(&mut send, request, &body).await.expect(slug);
        let problem: serde_json::Value = serde_json::from_slice(&body).expect("a problem");
        assert_eq!(problem["code"], slug);
        assert_eq!(
            head.headers()["x-correlation-id"],
            problem["correlation_id"].as_str().expect("one")
        );
    }
    assert_eq!(vendor.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_reaches_nobody() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    for request in [
        to("http://gw/v/a").header("host", "other"),
        to("http://gw/v/a").header("transfer-encoding", "chunked"),
        to("http://gw/v/a").header("connection", "close"),
        to("http://gw/v/a").method("POST").header("content-length", "5"),
    ] {
        let mut send = connect(&gateway).await;
        let body = [Bytes::from_static(b"abc")];
        let result = exchange(&mut send, request.body(()).expect("a request"), &body).await;
        if let Ok((head, _)) = result {
            assert!(head.status().is_client_error() || head.status().is_server_error(), "{head:?}");
        }
    }
    assert!(vendor.seen().is_empty(), "{:?}", vendor.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_body_is_reset_and_its_neighbors_go_on() {
    let vendor = Vendor::answering(|_| Reply::ok("fine")).await;
    let head = HEAD.replacen("[admin]", "body_timeout = \"300ms\"\n[admin]", 1);
    let gateway = UnderTest::start(&format!("{head}{}", to_vendor(vendor.address, "", ""))).await;
    let mut send = connect(&gateway).await;
    let request = to("http://gw/v/a").method("POST").body(()).expect("a request");
    let (answer, mut stream) = send.send_request(request, false).expect("sent");
    stream.send_data(Bytes::from_static(b"abc"), false).expect("sent");
    let ended = within("the end of the stream", answer).await;
    if let Ok(head) = &ended {
        assert_eq!(head.status(), 408, "{head:?}");
    }
    let (head, _) = exchange(&mut send, get("http://gw/v/b"), &[]).await.expect("still serves");
    assert_eq!(head.status(), 200);
    assert!(vendor.seen().iter().all(|seen| !seen.contains("/a ")), "never complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_share_a_connection() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let send = connect(&gateway).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..50 {
        let mut send = send.clone().ready().await.expect("ready");
        tasks.spawn(async move {
            let (head, body) =
                exchange(&mut send, get(&format!("http://gw/v/{n}")), &[]).await.expect("answered");
            (head.status().as_u16(), body)
        });
    }
    while let Some(done) = tasks.join_next().await {
        assert_eq!(done.expect("no panic"), (200, b"fine".to_vec()));
    }
    assert_eq!(vendor.seen().len(), 50);
}
