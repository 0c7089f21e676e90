//! What reaches the vendor, octet by octet, and what comes back.

use crate::support::under_test::{HEAD, to_vendor};
use crate::support::vendor::field;
use crate::support::{Raw, Reply, UnderTest, Vendor, key};

#[tokio::test(flavor = "multi_thread")]
async fn the_target_goes_on_byte_for_byte_under_the_base_path() {
    let vendor = Vendor::fine().await;
    let config = format!("{HEAD}{}", to_vendor(vendor.address, "", ""))
        .replace(&format!("{}\"", vendor.address), &format!("{}/base\"", vendor.address));
    let gateway = UnderTest::start(&config).await;
    for (target, expected) in [
        ("/v/eid:A-7?a=1&a=2&b=%2F+%20&$x='y'", "/base/eid:A-7?a=1&a=2&b=%2F+%20&$x='y'"),
        ("/v/caf%C3%A9/%7Euser", "/base/caf%C3%A9/%7Euser"),
        ("/v", "/base"),
        ("/v/", "/base/"),
        ("/v?a", "/base?a"),
    ] {
        assert_eq!(gateway.get(target).await.status, 200, "{target}");
        let seen = vendor.seen().pop().expect("a request");
        assert!(seen.starts_with(&format!("GET {expected} HTTP/1.1\r\n")), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hop_by_hop_and_named_fields_end_here_both_ways() {
    let vendor = Vendor::answering(|_| {
        let head = "200 OK\r\nConnection: x-vendor-hop, keep-alive\r\nX-Vendor-Hop: 1\r\n\
                    Keep-Alive: timeout=5\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Kept: 1\r\n\
                    Alt-Svc: h3=\":443\"\r\nContent-Length: 4";
        Reply::text(head, "fine")
    })
    .await;
    let gateway = UnderTest::before(vendor.address).await;
    let answer = gateway
        .send(format!(
            "GET /v/a HTTP/1.1\r\nHost: gw\r\nConnection: x-hop, x-correlation-id\r\nX-Hop: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n\
             Proxy-Authorization: Basic x\r\nAuthorization: Bearer {}\r\nCookie: a=b\r\n\
             X-Unknown: 1\r\nX-Unknown: 2\r\n\r\n",
            key()
        ))
        .await;
    let seen = vendor.only();
    for gone in [
        "connection",
        "x-hop",
        "keep-alive",
        "proxy-connection",
        "te",
        "proxy-authorization",
        "authorization",
        "cookie",
        "x-api-key",
    ] {
        assert_eq!(field(&seen, gone), None, "{gone}: {seen}");
    }
    assert!(field(&seen, "x-correlation-id").is_some(), "{seen}");
    assert_eq!(field(&seen, "x-unknown").as_deref(), Some("1, 2"));
    assert_eq!(field(&seen, "host"), Some(vendor.address.to_string()));
    assert_eq!(field(&seen, "via").as_deref(), Some("1.1 erpgate"));
    for gone in ["x-vendor-hop", "keep-alive", "set-cookie", "alt-svc"] {
        assert_eq!(answer.field(gone), None, "{gone}");
    }
    assert_eq!(answer.field("x-kept").as_deref(), Some("1"));
    assert!(answer.field("server-timing").expect("timing").contains("vendor;dur="));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_client_is_told_unless_configured() {
    for (forwarded, name, expected) in [
        ("off", "x-forwarded-for", None),
        ("off", "forwarded", None),
        ("x-forwarded", "x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded", "x-forwarded-host", Some("gw.test")),
        ("rfc7239", "forwarded", Some("for=127.0.0.1;proto=http;host=\"gw.test\"")),
        ("rfc7239", "x-forwarded-for", None),
    ] {
        let vendor = Vendor::fine().await;
        let lines = format!("forwarded = \"{forwarded}\"");
        let config = format!("{HEAD}{}", to_vendor(vendor.address, &lines, ""));
        let gateway = UnderTest::start(&config).await;
        let request = "GET /v/a HTTP/1.1\r\nHost: gw.test\r\nX-Forwarded-For: 1.1.1.1\r\n\
                       Forwarded: for=1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\nClient-Cert: :AA==:\r\n\
                       X_Forwarded_For: 1.1.1.1\r\n\r\n";
        gateway.send(request).await;
        let seen = vendor.only();
        assert_eq!(field(&seen, name).as_deref(), expected, "{forwarded}");
        assert!(!seen.contains("1.1.1.1"), "{seen}");
        assert_eq!(field(&seen, "client-cert"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_trusted_proxies_are_believed() {
    for (trusted, expected) in [("10.0.0.0/8", "127.0.0.1"), ("127.0.0.0/8", "192.0.2.7")] {
        let vendor = Vendor::fine().await;
        let server = format!("[server]\ntrusted_proxies = [\"{trusted}\"]\n");
        let lines = "forwarded = \"x-forwarded\"";
        let config = format!("{server}{HEAD}{}", to_vendor(vendor.address, lines, ""));
        let gateway = UnderTest::start(&config).await;
        let request = "GET /v/a HTTP/1.1\r\nHost: gw\r\n\
                       X-Forwarded-For: 6.6.6.6, 192.0.2.7, 127.0.0.9\r\n\r\n";
        gateway.send(request).await;
        assert_eq!(field(&vendor.only(), "x-forwarded-for").as_deref(), Some(expected));
        gateway.log.line(&[("address", expected.into())]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn max_forwards_is_counted_down_and_answered() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let asks =
        |hops: u32| format!("OPTIONS /v/a HTTP/1.1\r\nHost: gw\r\nMax-Forwards: {hops}\r\n\r\n");
    let answer = gateway.send(asks(0)).await;
    assert_eq!(answer.status, 204);
    assert!(answer.field("allow").expect("Allow").contains("OPTIONS"));
    assert_eq!(answer.field("proxy-status").as_deref(), Some("erpgate"));
    assert!(answer.field("x-correlation-id").is_some());
    assert!(vendor.seen().is_empty());
    gateway.send(asks(5)).await;
    assert_eq!(field(&vendor.only(), "max-forwards").as_deref(), Some("4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_there_is_declared() {
    for (method, length) in [("POST", Some("0")), ("PATCH", Some("0")), ("DELETE", None)] {
        let vendor = Vendor::fine().await;
        let gateway = UnderTest::before(vendor.address).await;
        gateway.send(format!("{method} /v/a HTTP/1.1\r\nHost: gw\r\n\r\n")).await;
        assert_eq!(field(&vendor.only(), "content-length").as_deref(), length, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_the_gateway_replace_the_clients() {
    let clients_own = format!("Bearer {}", key());
    for (credential, expected) in [
        ("{ kind = \"none\" }", None),
        ("{ kind = \"bearer\", token = { file = \"token\" } }", Some("Bearer vendor-secret")),
        ("{ kind = \"passthrough\" }", Some(clients_own.as_str())),
    ] {
        let vendor = Vendor::fine().await;
        let lines = format!("credential = {credential}");
        let folder = crate::support::Folder::with(&format!(
            "{HEAD}{}",
            to_vendor(vendor.address, &lines, "")
        ));
        folder.write("token", "vendor-secret\n");
        let gateway = UnderTest::start_in(folder).await;
        gateway
            .send(format!("GET /v/a HTTP/1.1\r\nHost: gw\r\nAuthorization: {clients_own}\r\n\r\n"))
            .await;
        assert_eq!(field(&vendor.only(), "authorization").as_deref(), expected, "{credential}");
        assert!(!gateway.log.text().contains("secret"), "no secret in the log");
        assert!(!gateway.admin_get("/api/v1/config").await.text().contains("vendor-secret"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_to_continue_and_the_vendor_never_asked() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let mut raw = gateway.connect().await;
    raw.send("POST /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(raw.any_answer(false).await.status, 100);
    raw.send("{}").await;
    assert_eq!(raw.answer().await.text(), "fine");
    assert_eq!(field(&vendor.only(), "expect"), None);
    // A refusal comes at once, without the body.
    let mut raw = gateway.connect().await;
    raw.send(
        "POST /nowhere HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
    )
    .await;
    assert_eq!(raw.any_answer(false).await.slug(), "route-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_its_own_vendor_says_so() {
    let own = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = own.local_addr().expect("bound");
    drop(own);
    let head = HEAD.replacen("127.0.0.1:0", &address.to_string(), 1);
    let credential =
        "credential = { kind = \"header\", name = \"X-API-Key\", value = { file = \"key\" } }";
    let config = format!("{head}{}", to_vendor(address, credential, ""))
        .replace(&format!("{address}\"\n"), &format!("{address}/v\"\n"));
    let config = config.replacen(&format!("{address}/v"), &address.to_string(), 1);
    let folder = crate::support::Folder::with(&config);
    folder.write("key", &key());
    let gateway = UnderTest::start_in(folder).await;
    let mut raw = Raw::connect(address).await;
    raw.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    let answer = raw.answer().await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.slug(), "loop-detected");
    drop(gateway);
}
