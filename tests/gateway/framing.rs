//! What HTTP/1 clients can get wrong or try on: exactly one reading, or a refusal.

use crate::support::vendor::field;
use crate::support::{UnderTest, Vendor};

/// Sends octets; the answer has to be this refusal, the vendor sees nothing, the connection ends.
async fn is_refused(octets: &str, slug: &str) {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let mut raw = gateway.connect().await;
    raw.send(octets).await;
    let answer = raw.answer().await;
    assert_eq!(answer.slug(), slug, "{octets:?}");
    raw.ended().await;
    assert!(vendor.seen().is_empty(), "{octets:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicting_lengths_are_refused() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -0",
        "Content-Length: 0x5",
        "Content-Length: 18446744073709551616",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked;foo=bar",
    ] {
        let request = format!("POST /v/a HTTP/1.1\r\nHost: gw\r\n{fields}\r\n\r\n0\r\n\r\n");
        is_refused(&request, "request-malformed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_would_need_repair_are_refused() {
    for head in [
        "GET /v/a b HTTP/1.1\r\nHost: gw\r\n\r\n",
        "GET  /v/a HTTP/1.1\r\nHost: gw\r\n\r\n",
        "GET /v/<a> HTTP/1.1\r\nHost: gw\r\n\r\n",
        "GET /v/a#b HTTP/1.1\r\nHost: gw\r\n\r\n",
        "GET /v/a HTTP/1.1\nHost: gw\n\n",
        "GET /v/a HTTP/1.1\r\nHost: gw\nX: y\r\n\r\n",
        "GET /v/a HTTP/1.1\r\nHost : gw\r\n\r\n",
        "GET /v/a HTTP/1.1\r\nHost: gw\r\nX: a\r\n b\r\n\r\n",
        "GET /v/a HTTP/1.1\r\n Host: gw\r\n\r\n",
        "GET /v/a HTTP/1.1\r\nHost: gw\r\nX: a\0b\r\n\r\n",
        "GET /v/a HTTP/1.1\r\nHost: gw\r\nHost: gw\r\n\r\n",
        "GET /v/a HTTP/1.1\r\nHost: u@gw\r\n\r\n",
        "GET /v/a HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /v/a HTTP/1.1\r\nHost: gw\r\nConnection: X-Forwarded-For\r\n\r\n",
        "GET /v/a HTTP/1.1\r\nHost: gw\r\nConnection: :authority\r\n\r\n",
        "GET /v/a HTTP/1.1\r\nHost: gw\r\nConnection: a,b,c,d,e,f,g,h,i,j\r\n\r\n",
        "GET http://other/v/a HTTP/1.1\r\nHost: gw\r\n\r\n",
        "GET http://u:p@gw/v/a HTTP/1.1\r\nHost: gw\r\n\r\n",
        "POST /v/a HTTP/1.0\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}\r\n\r\n",
    ] {
        is_refused(head, "request-malformed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leading_empty_lines_and_absolute_form_are_accepted() {
    for head in [
        "\r\nGET /v/a?b=1 HTTP/1.1\r\nHost: gw\r\n\r\n",
        "GET http://gw/v/a?b=1 HTTP/1.1\r\nHost: gw\r\n\r\n",
        "GET /v/a?b=1 HTTP/1.0\r\nHost: gw\r\n\r\n",
        &format!("GET /v/a?b=1 HTTP/1.0\r\nX-API-Key: {}\r\n\r\n", crate::support::key()),
        "GET /v/a?b=1 HTTP/1.1\r\nHost: gw\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    ] {
        let vendor = Vendor::fine().await;
        let gateway = UnderTest::before(vendor.address).await;
        let answer = gateway.send(head).await;
        assert_eq!(answer.status, 200, "{head:?}");
        assert_eq!(answer.text(), "fine");
        let seen = vendor.only();
        assert!(seen.starts_with("GET /a?b=1 HTTP/1.1\r\n"), "{seen}");
        assert_eq!(field(&seen, "upgrade"), None);
        assert_eq!(field(&seen, "connection"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_body_is_not_a_next_request() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let mut raw = gateway.connect().await;
    // The usual client puts nothing before a field that is spelled like this.
    let inner = "GET /v/smuggled HTTP/1.1\r\nHOST: gw\r\n\r\n";
    let length = inner.len();
    raw.send(format!(
        "POST /nowhere HTTP/1.1\r\nHost: gw\r\nContent-Length: {length}\r\n\r\n{inner}"
    ))
    .await;
    assert_eq!(raw.answer().await.slug(), "route-not-found");
    raw.send("GET /v/next HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    assert_eq!(raw.answer().await.text(), "fine");
    let seen = vendor.only();
    assert!(seen.starts_with("GET /next "), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_refusal_of_a_large_body_is_seen_by_its_client() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let mut raw = gateway.connect().await;
    let length = 64 << 20;
    raw.send(format!("POST /nowhere HTTP/1.1\r\nHost: gw\r\nContent-Length: {length}\r\n\r\n"))
        .await;
    // The gateway answers and closes while this is still being written.
    let part = vec![b'a'; 1 << 20];
    for _ in 0..3 {
        if raw.try_send(&part).await.is_err() {
            break;
        }
    }
    assert_eq!(raw.answer().await.slug(), "route-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let mut raw = gateway.connect().await;
    raw.send(
        "POST /v/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}\
         GET /v/2 HTTP/1.1\r\nHost: gw\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: gw\r\n\r\n",
    )
    .await;
    assert_eq!(raw.answer().await.text(), "fine");
    assert_eq!(raw.answer().await.text(), "fine");
    assert_eq!(raw.answer().await.slug(), "route-not-found");
    let targets: Vec<String> = vendor
        .seen()
        .iter()
        .map(|seen| seen[..seen.find(" HTTP").expect("a line")].into())
        .collect();
    assert_eq!(targets, ["POST /1", "GET /2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_repaired_is_the_last_request_of_its_connection() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let chunked = "POST /v/1 HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let mut raw = gateway.connect().await;
    raw.send(chunked).await;
    assert_eq!(raw.answer().await.text(), "fine");
    raw.send("GET /v/a b HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    raw.answer().await;
    raw.ended().await;
    let mut raw = gateway.connect().await;
    raw.send(chunked).await;
    assert_eq!(raw.answer().await.text(), "fine");
    raw.send("GET /v/a#b HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    assert_eq!(raw.answer().await.slug(), "request-malformed");
    raw.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_close_is_kept_to() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let mut raw = gateway.connect().await;
    let close = "GET /v/1 HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n";
    raw.send(format!("{close}GET /v/2 HTTP/1.1\r\nHost: gw\r\n\r\n")).await;
    assert_eq!(raw.answer().await.text(), "fine");
    raw.ended().await;
    assert_eq!(vendor.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_chunks_never_complete_a_request() {
    for body in ["5\r\nabc", "FFFFFFFFFFFFFFFFF\r\na", "zz\r\n", "3\r\nabcd\r\n0\r\n\r\n"] {
        let vendor = Vendor::fine().await;
        let gateway = UnderTest::before(vendor.address).await;
        let mut raw = gateway.connect().await;
        let head = "POST /v/a HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n";
        raw.send(format!("{head}{body}")).await;
        tokio::io::AsyncWriteExt::shutdown(&mut raw.stream).await.expect("half closed");
        if let Some(answer) = raw.answer_or_end().await {
            assert!(answer.status >= 400, "{body:?} {answer:?}");
        }
        assert!(vendor.seen().is_empty(), "{body:?}");
    }
}
