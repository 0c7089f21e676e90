//! How answers of each shape go through: no body, chunks, interim ones, cut ones, links.

use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Raw, Reply, UnderTest, Vendor};

async fn answered(head: &'static str, body: &'static str) -> (UnderTest, Vendor) {
    let vendor = Vendor::answering(move |_| Reply::text(head, body)).await;
    let gateway = UnderTest::before(vendor.address).await;
    (gateway, vendor)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_keep_the_connection() {
    for (method, head, status) in [
        ("GET", "204 No Content\r\nLocation: /r/7", 204),
        ("GET", "304 Not Modified\r\nETag: \"1\"", 304),
        ("HEAD", "200 OK\r\nContent-Length: 1234", 200),
    ] {
        let (gateway, _vendor) = answered(head, "").await;
        let mut raw = gateway.connect().await;
        for _ in 0..2 {
            raw.send(format!("{method} /v/a HTTP/1.1\r\nHost: gw\r\n\r\n")).await;
            let answer = raw.any_answer(method == "HEAD").await;
            assert_eq!(answer.status, status, "{method} {head}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_head_request_has_no_body() {
    let (gateway, _vendor) = answered("200 OK\r\nContent-Length: 0", "").await;
    let mut raw = gateway.connect().await;
    raw.send("HEAD /nowhere HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    let answer = raw.head_answer().await;
    assert_eq!(answer.status, 404);
    assert!(answer.field("content-length").expect("a length").parse::<usize>().expect("one") > 0);
    raw.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    assert_eq!(raw.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_go_both_ways() {
    let vendor = Vendor::answering(|request| {
        assert!(request.to_lowercase().contains("transfer-encoding: chunked\r\n"), "{request}");
        Reply::text(
            "200 OK\r\nTransfer-Encoding: chunked",
            "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n",
        )
    })
    .await;
    let streams = to_vendor(vendor.address, "", "body_max = \"none\"");
    let gateway = UnderTest::start(&format!("{HEAD}{streams}")).await;
    let request = "POST /v/a HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3;ext=1\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n";
    let answer = gateway.send(request).await;
    assert_eq!(answer.text(), "abcdefg");
    assert!(answer.complete);
    assert!(!vendor.only().to_ascii_lowercase().contains("x-trailer"), "trailers end here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_1_0_gets_no_chunks() {
    let chunks = "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    let (gateway, _vendor) = answered("200 OK\r\nTransfer-Encoding: chunked", chunks).await;
    for connection in ["", "Connection: keep-alive\r\n"] {
        let mut raw = gateway.connect().await;
        raw.send(format!("GET /v/a HTTP/1.0\r\nHost: gw\r\n{connection}\r\n")).await;
        let answer = raw.answer().await;
        assert_eq!(answer.field("transfer-encoding"), None);
        assert_eq!(answer.text(), "abcdefg");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_stay_here_with_all_they_say() {
    let vendor = Vendor::answering(|_| {
        let early = "HTTP/1.1 103 Early Hints\r\nSet-Cookie: session=secret\r\n\r\n";
        let last = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
        Reply::Octets(format!("{early}{early}{last}").into_bytes())
    })
    .await;
    let gateway = UnderTest::before(vendor.address).await;
    let mut raw = gateway.connect().await;
    raw.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    let answer = raw.any_answer(false).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendors_broken_head_is_not_logged() {
    let broken = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=secret\r\nX: a\x01b\r\n\r\n".to_vec();
    let vendor = Vendor::answering(move |_| Reply::Close(broken.clone())).await;
    let gateway = UnderTest::before(vendor.address).await;
    assert_eq!(gateway.get("/v/a").await.slug(), "vendor-response-invalid");
    let line = gateway.log.line(&[("event", "request".into())]).await;
    assert!(line["reason"].is_string(), "{line}");
    assert!(!gateway.log.text().contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn octets_behind_an_answer_are_nobodys_answer() {
    for head in [
        "204 No Content\r\nContent-Length: 2",
        "204 No Content\r\nTransfer-Encoding: chunked",
        "200 OK\r\nTransfer-Encoding: gzip",
        "200 OK\r\nTransfer-Encoding: chunked, chunked",
    ] {
        let (gateway, _vendor) = answered(head, "hi").await;
        assert_eq!(gateway.get("/v/a").await.slug(), "vendor-response-invalid", "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_answer_is_never_passed_on_as_complete() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc".to_vec();
    let with_length = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_vec();
    for octets in [chunked, with_length] {
        let given = octets.clone();
        let vendor = Vendor::answering(move |_| Reply::Close(given.clone())).await;
        let gateway = UnderTest::before(vendor.address).await;
        let mut raw = gateway.connect().await;
        raw.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
        if let Some(answer) = raw.answer_or_end().await {
            assert!(!answer.complete || answer.status == 502, "{answer:?}");
        }
        raw.ended().await;
        let line = gateway.log.line(&[("event", "request".into())]).await;
        assert!(line["reason"].is_string(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_reaches_the_client_while_it_still_sends() {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("bound");
    let vendor = tokio::spawn(async move {
        let (mut tcp, _) = socket.accept().await.expect("a connection");
        let mut head = [0; 1024];
        let _ = tokio::io::AsyncReadExt::read(&mut tcp, &mut head).await.expect("a head");
        let answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge";
        tokio::io::AsyncWriteExt::write_all(&mut tcp, answer).await.expect("written");
        tcp
    });
    let streams = to_vendor(address, "", "body_max = \"none\"");
    let gateway = UnderTest::start(&format!("{HEAD}{streams}")).await;
    let mut raw = gateway.connect().await;
    raw.send("POST /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 1000000\r\n\r\nabc").await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (413, "large"));
    drop(vendor.await.expect("no panic"));
}

#[tokio::test(flavor = "multi_thread")]
async fn links_into_the_vendor_stay_on_the_gateway() {
    let vendor = Vendor::answering(|request| {
        let host = crate::support::vendor::field(request, "host").expect("a host");
        let head = format!(
            "201 Created\r\nLocation: http://{host}/r/7\r\nContent-Location: /r/7\r\n\
             Link: <http://{host}/r?p=2>; rel=\"next\"\r\nContent-Length: 0"
        );
        Reply::text(&head, "")
    })
    .await;
    let gateway = UnderTest::before(vendor.address).await;
    let answer = gateway.get("/v/a").await;
    assert_eq!(answer.field("location").as_deref(), Some("http://gw.test/v/r/7"));
    assert_eq!(answer.field("content-location").as_deref(), Some("/v/r/7"));
    assert_eq!(answer.field("link").as_deref(), Some("<http://gw.test/v/r?p=2>; rel=\"next\""));
    let config = format!("{HEAD}{}", to_vendor(vendor.address, "", "rewrite_links = false"));
    let gateway = UnderTest::start(&config).await;
    let answer = gateway.get("/v/a").await;
    assert_eq!(answer.field("location"), Some(format!("http://{}/r/7", vendor.address)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_into_the_vendor_is_passed_on() {
    let (gateway, vendor) =
        answered("307 Temporary Redirect\r\nLocation: /r/7\r\nContent-Length: 0", "").await;
    let answer = gateway.get("/v/a").await;
    assert_eq!(answer.status, 307);
    assert_eq!(answer.field("location").as_deref(), Some("/v/r/7"));
    assert_eq!(vendor.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendors_failure_is_told_apart_from_a_refusal() {
    let (gateway, _vendor) =
        answered("503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 4", "busy").await;
    let answer = gateway.get("/v/a").await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "busy"));
    assert_eq!(answer.field("retry-after").as_deref(), Some("7"));
    assert_eq!(answer.field("proxy-status").as_deref(), Some("erpgate; received-status=503"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_counted_and_leaks_nothing() {
    let vendor = Vendor::answering(|_| Reply::Hang).await;
    let gateway = UnderTest::before(vendor.address).await;
    let mut raw = Raw::connect(gateway.address(0)).await;
    raw.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    crate::support::wait_for("the vendor to be asked", async || vendor.seen().pop()).await;
    drop(raw);
    let line = gateway.log.line(&[("event", "request".into()), ("status", 0.into())]).await;
    assert_eq!(line["refusal"], serde_json::Value::Null);
    crate::support::wait_for("the connection to be gone", async || {
        let open = gateway.metric("erpgate_connections{listener=\"127.0.0.1:0\"} ").await;
        (open == 0.0).then_some(())
    })
    .await;
}
