//! Each refusal that can occur now, met once, with its exact document.

use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Answer, Reply, UnderTest, Vendor, wait_for};
use serde_json::{Value, json};

/// The document without the members that every refusal has alike; those are checked by `slug`.
fn document(answer: &Answer) -> Value {
    answer.slug();
    let mut document = answer.json();
    let members = document.as_object_mut().expect("an object");
    for alike in ["type", "status", "instance", "correlation_id"] {
        members.remove(alike).unwrap_or_else(|| panic!("{alike} is missing"));
    }
    document
}

/// What a refusal before anything was sent says.
fn unsent(code: &str, title: &str, detail: &str, action: &str, retryable: bool) -> Value {
    json!({
        "code": code, "title": title, "detail": detail, "action": action,
        "executed": "no", "retryable": retryable,
    })
}

async fn refused(request: &str) -> (u16, Answer, Vendor) {
    let vendor = Vendor::fine().await;
    let lines = "methods = [\"GET\", \"HEAD\", \"POST\", \"OPTIONS\"]\nbody_max = \"64B\"";
    let gateway =
        UnderTest::start(&format!("{HEAD}{}", to_vendor(vendor.address, "", lines))).await;
    let answer = gateway.send(request).await;
    assert!(vendor.seen().is_empty(), "nothing reaches the vendor");
    let slug = answer.slug();
    let metric = format!(",reason=\"{slug}\",route=\"");
    wait_for(&metric, async || {
        let counted = gateway.admin_get("/metrics").await.text();
        let mut refusals = counted.lines().filter(|l| l.starts_with("erpgate_refusals_total{"));
        refusals.any(|line| line.contains(&metric)).then_some(())
    })
    .await;
    (answer.status, answer, vendor)
}

#[tokio::test(flavor = "multi_thread")]
async fn route_not_found() {
    let (status, answer, _) = refused("GET /nowhere HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    assert_eq!(status, 404);
    let expected = unsent(
        "route-not-found",
        "No route",
        "No route serves this host and path.",
        "Check the base URL and the path.",
        false,
    );
    assert_eq!(document(&answer), expected);
    let proxy_status = answer.field("proxy-status");
    assert_eq!(proxy_status.as_deref(), Some("erpgate; error=destination_not_found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn method_not_allowed() {
    let (status, answer, _) = refused("DELETE /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    assert_eq!(status, 405);
    assert_eq!(answer.field("allow").as_deref(), Some("GET, HEAD, POST, OPTIONS"));
    let expected = unsent(
        "method-not-allowed",
        "Method not allowed",
        "This route serves GET, HEAD, POST, OPTIONS.",
        "Use one of the methods in the Allow field.",
        false,
    );
    assert_eq!(document(&answer), expected);
    let (status, ..) = refused("TRACE /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    assert_eq!(status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn method_unknown() {
    let (status, answer, _) = refused("BREW /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    assert_eq!(status, 501);
    let expected = unsent(
        "method-unknown",
        "Method unknown",
        "The method is not a registered HTTP method.",
        "Use a standard method.",
        false,
    );
    assert_eq!(document(&answer), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrade_refused() {
    let websocket = "GET /v/a HTTP/1.1\r\nHost: gw\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let connect = "CONNECT vendor.test:443 HTTP/1.1\r\nHost: vendor.test:443\r\n\r\n";
    for request in [websocket, connect] {
        let (status, answer, _) = refused(request).await;
        assert_eq!(status, 501, "{request}");
        let expected = unsent(
            "upgrade-refused",
            "Upgrade refused",
            "The gateway opens no tunnels.",
            "Send plain requests.",
            false,
        );
        assert_eq!(document(&answer), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_malformed() {
    let request = "GET /v/a HTTP/1.1\r\nHost: gw\r\nX-HTTP-Method-Override: DELETE\r\n\r\n";
    let (status, answer, _) = refused(request).await;
    assert_eq!(status, 400);
    let expected = unsent(
        "request-malformed",
        "Request malformed",
        "The request names a second method.",
        "Correct the request.",
        false,
    );
    assert_eq!(document(&answer), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn path_ambiguous() {
    let (status, answer, _) = refused("GET /v/a/../b HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    assert_eq!(status, 400);
    let expected = unsent(
        "path-ambiguous",
        "Path ambiguous",
        "The path holds a dot segment.",
        "Send the path in its plain form.",
        false,
    );
    assert_eq!(document(&answer), expected);
    for path in ["/v/a%2Fb", "/v/%2e%2e/b", "/v//b", "/v/a;b", "/v/a%252Fb", "/v/a\\b", "/v/%00"] {
        let (_, answer, _) = refused(&format!("GET {path} HTTP/1.1\r\nHost: gw\r\n\r\n")).await;
        assert_eq!(answer.slug(), "path-ambiguous", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn host_missing() {
    let (status, answer, _) = refused("GET /v/a HTTP/1.1\r\n\r\n").await;
    assert_eq!(status, 400);
    let expected = unsent(
        "host-missing",
        "Host missing",
        "An HTTP/1.1 request needs a Host field.",
        "Send a Host field.",
        false,
    );
    assert_eq!(document(&answer), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn uri_too_long() {
    let target = format!("/v/{}", "a".repeat(8192));
    let (status, answer, _) = refused(&format!("GET {target} HTTP/1.1\r\nHost: gw\r\n\r\n")).await;
    assert_eq!(status, 414);
    let expected = unsent(
        "uri-too-long",
        "Request target too long",
        "The request target is longer than 8192 bytes.",
        "Shorten the path or the query.",
        false,
    );
    assert_eq!(document(&answer), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn header_too_large() {
    let value = "a".repeat(33 << 10);
    let request = format!("GET /v/a HTTP/1.1\r\nHost: gw\r\nX-Wide: {value}\r\n\r\n");
    let (status, answer, _) = refused(&request).await;
    assert_eq!(status, 431);
    let expected = unsent(
        "header-too-large",
        "Request head too large",
        "The request head is too long.",
        "Send fewer or shorter fields.",
        false,
    );
    assert_eq!(document(&answer), expected);
    let fields: String = (0..101).map(|n| format!("X-{n}: 1\r\n")).collect();
    let (_, answer, _) = refused(&format!("GET /v/a HTTP/1.1\r\nHost: gw\r\n{fields}\r\n")).await;
    assert_eq!(answer.slug(), "header-too-large");
}

#[tokio::test(flavor = "multi_thread")]
async fn payload_too_large() {
    let body = "a".repeat(65);
    let request = format!("POST /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 65\r\n\r\n{body}");
    let (status, answer, _) = refused(&request).await;
    assert_eq!(status, 413);
    let expected = unsent(
        "payload-too-large",
        "Request body too large",
        "The request body is larger than 64 bytes.",
        "Send a smaller body, or ask for a larger limit.",
        false,
    );
    assert_eq!(document(&answer), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn loop_detected() {
    let request = "GET /v/a HTTP/1.1\r\nHost: gw\r\nVia: 1.1 fred, 1.1 erpgate\r\n\r\n";
    let (status, answer, _) = refused(request).await;
    assert_eq!(status, 502);
    let expected = unsent(
        "loop-detected",
        "Loop detected",
        "The request has passed this gateway before.",
        "Ask the gateway's operator to correct the vendor's base URL.",
        false,
    );
    assert_eq!(document(&answer), expected);
    let proxy_status = answer.field("proxy-status");
    assert_eq!(proxy_status.as_deref(), Some("erpgate; error=proxy_loop_detected"));
}

#[tokio::test(flavor = "multi_thread")]
async fn vendor_unreachable() {
    // A port that was free a moment ago refuses connections.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("bound");
    drop(free);
    let gateway = UnderTest::before(address).await;
    let answer =
        gateway.send("POST /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}").await;
    assert_eq!(answer.status, 502);
    let expected = json!({
        "code": "vendor-unreachable", "title": "Vendor unreachable",
        "detail": "The vendor refused the connection.",
        "action": "Try again later; nothing was sent.",
        "executed": "no", "retryable": true, "vendor": { "name": "v" },
    });
    assert_eq!(document(&answer), expected);
    let proxy_status = answer.field("proxy-status");
    assert_eq!(proxy_status.as_deref(), Some("erpgate; error=connection_refused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_without_address_is_unreachable() {
    let config = format!("{HEAD}{}", to_vendor("127.0.0.1:1".parse().expect("one"), "", ""))
        .replace("http://127.0.0.1:1", "https://name.invalid");
    let gateway = UnderTest::start(&config).await;
    let answer = gateway.get("/v/a").await;
    assert_eq!(answer.slug(), "vendor-unreachable");
    assert_eq!(answer.json()["detail"], "The vendor's name has no address.");
    let proxy_status = answer.field("proxy-status");
    assert_eq!(proxy_status.as_deref(), Some("erpgate; error=dns_error"));
}

fn after_sending(code: &str, title: &str, detail: &str, executed: &str) -> Value {
    json!({
        "code": code, "title": title, "detail": detail,
        "action": "Repeat a write only with its idempotency key, or look up first whether the vendor acted.",
        "executed": executed, "retryable": executed == "no", "vendor": { "name": "v" },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn vendor_response_invalid() {
    let half_a_head = "HTTP/1.1 200 OK\r\nContent-Le".as_bytes().to_vec();
    for (reply, detail) in [
        (Reply::Reset, "The vendor's connection ended before its answer was complete."),
        (Reply::Close(vec![]), "The vendor's connection ended before its answer was complete."),
        (
            Reply::Close(half_a_head),
            "The vendor's connection ended before its answer was complete.",
        ),
        (
            Reply::Close(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()),
            "The vendor's answer is not valid HTTP.",
        ),
    ] {
        let given = reply.clone();
        let vendor = Vendor::answering(move |_| given.clone()).await;
        let gateway = UnderTest::before(vendor.address).await;
        for (request, executed) in [
            ("POST /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}", "unknown"),
            ("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n", "no"),
        ] {
            let answer = gateway.send(request).await;
            assert_eq!(answer.status, 502);
            let title = "Vendor answer invalid";
            let expected = after_sending("vendor-response-invalid", title, detail, executed);
            assert_eq!(document(&answer), expected, "{reply:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_no_vendor_may_give() {
    for head in [
        "101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket",
        "999 Beyond\r\nContent-Length: 0",
        "600 Beyond\r\nContent-Length: 0",
        "200 OK\r\nContent-Length: 5\r\nContent-Length: 6",
        "200 OK\r\nContent-Length: 5, 6",
        "200 OK\r\nContent-Length: five",
    ] {
        let vendor = Vendor::answering(move |_| Reply::text(head, "abcdef")).await;
        let gateway = UnderTest::before(vendor.address).await;
        let answer = gateway.get("/v/a").await;
        assert_eq!(answer.status, 502, "{head}");
        assert_eq!(answer.slug(), "vendor-response-invalid", "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vendor_redirect_refused() {
    let vendor = Vendor::answering(|_| {
        Reply::text("302 Found\r\nLocation: https://elsewhere.test/a\r\nContent-Length: 0", "")
    })
    .await;
    let gateway = UnderTest::before(vendor.address).await;
    let answer =
        gateway.send("POST /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}").await;
    assert_eq!(answer.status, 502);
    let expected = json!({
        "code": "vendor-redirect-refused", "title": "Vendor redirect refused",
        "detail": "The vendor answered with a redirect to another place.",
        "action": "Ask the gateway's operator to check the vendor's base URL.",
        "executed": "unknown", "retryable": false, "vendor": { "name": "v", "status": 302 },
    });
    assert_eq!(document(&answer), expected);
    assert_eq!(answer.field("location"), None);
    assert_eq!(vendor.seen().len(), 1, "a redirect is never followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn vendor_credential_rejected() {
    let vendor = Vendor::answering(|_| {
        let challenge =
            "401 Unauthorized\r\nWWW-Authenticate: OAuth realm=\"1\"\r\nContent-Length: 3";
        Reply::text(challenge, "no!")
    })
    .await;
    let gateway = UnderTest::before(vendor.address).await;
    let answer = gateway.get("/v/a").await;
    assert_eq!(answer.status, 502);
    let expected = json!({
        "code": "vendor-credential-rejected", "title": "Vendor refused the gateway's credential",
        "detail": "The vendor does not accept the credential that the gateway presents.",
        "action": "Ask the gateway's operator to check the vendor's credential.",
        "executed": "no", "retryable": false, "vendor": { "name": "v", "status": 401 },
    });
    assert_eq!(document(&answer), expected);
    assert_eq!(answer.field("www-authenticate"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn vendor_timeout() {
    let vendor = Vendor::answering(|_| Reply::Hang).await;
    let lines = "timeouts = { response = \"200ms\" }";
    let gateway =
        UnderTest::start(&format!("{HEAD}{}", to_vendor(vendor.address, lines, ""))).await;
    let answer =
        gateway.send("POST /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}").await;
    assert_eq!(answer.status, 504);
    let title = "Vendor did not answer in time";
    let detail = "The vendor sent no answer in time.";
    assert_eq!(document(&answer), after_sending("vendor-timeout", title, detail, "unknown"));
    let answer = gateway.get("/v/a").await;
    assert_eq!(document(&answer), after_sending("vendor-timeout", title, detail, "no"));
}

#[tokio::test(flavor = "multi_thread")]
async fn deadline_exceeded() {
    let vendor = Vendor::answering(|_| Reply::Hang).await;
    let lines = "deadline = \"200ms\"";
    let gateway =
        UnderTest::start(&format!("{HEAD}{}", to_vendor(vendor.address, "", lines))).await;
    let answer =
        gateway.send("POST /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}").await;
    assert_eq!(answer.status, 504);
    let title = "Deadline exceeded";
    let detail = "The route's deadline passed without an answer.";
    assert_eq!(document(&answer), after_sending("deadline-exceeded", title, detail, "unknown"));
}

#[tokio::test(flavor = "multi_thread")]
async fn request_timeout() {
    let vendor = Vendor::fine().await;
    let head = HEAD.replacen("[admin]", "body_timeout = \"200ms\"\n[admin]", 1);
    let gateway = UnderTest::start(&format!("{head}{}", to_vendor(vendor.address, "", ""))).await;
    let mut raw = gateway.connect().await;
    raw.send("POST /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 10\r\n\r\nabc").await;
    let answer = raw.answer().await;
    assert_eq!(answer.status, 408);
    let mut document = document(&answer);
    let executed = document["executed"].take();
    assert!(executed == "unknown" || executed == "no", "{executed}");
    assert_eq!(document["code"], "request-timeout");
    assert_eq!(document["detail"], "The request body made no progress in time.");
    raw.ended().await;
    assert!(vendor.seen().is_empty(), "the vendor never sees a complete request");
}
