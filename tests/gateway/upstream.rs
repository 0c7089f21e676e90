//! Toward the vendor: connections kept, kept apart, and never used for a second write.

use crate::support::tls_vendor::TlsVendor;
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Authority, Folder, Reply, UnderTest, Vendor};
use erpgate::state::ReloadOutcome;
use rcgen::ExtendedKeyUsagePurpose;

const POST: &str = "POST /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}";

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    for n in 1..=5 {
        assert_eq!(gateway.get("/v/a").await.status, 200);
        gateway.settled(n).await;
    }
    // pingora gives one up now and then, when it is asked for in the moment that it comes back.
    assert!(vendor.connections() < 4, "{}", vendor.connections());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_survives_a_connection_that_died_idle_and_a_write_is_sent_once() {
    // Each connection answers once, says that it stays, and closes with the next request.
    let vendor = Vendor::counting(|_, before| match before {
        0 => Reply::ok("fine"),
        _ => Reply::Close(Vec::new()),
    })
    .await;
    let gateway = UnderTest::before(vendor.address).await;
    for n in 1..=3 {
        assert_eq!(gateway.get("/v/a").await.status, 200, "read again on a new connection");
        gateway.settled(n).await;
    }
    for n in 4..=6 {
        // 502 on a kept connection; its next one is new.
        assert!([200, 502].contains(&gateway.send(POST).await.status));
        gateway.settled(n).await;
    }
    let writes = vendor.seen().iter().filter(|seen| seen.starts_with("POST")).count();
    assert_eq!(writes, 3, "each one sent once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_is_sent_once_too() {
    for method in ["PUT", "DELETE", "PATCH", "POST"] {
        let vendor = Vendor::answering(|seen| match seen.starts_with("GET") {
            true => Reply::ok("fine"),
            false => Reply::Close(Vec::new()),
        })
        .await;
        let gateway = UnderTest::before(vendor.address).await;
        let request = format!("{method} /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n");
        let answer = gateway.send(request).await;
        assert_eq!(answer.slug(), "vendor-response-invalid");
        assert_eq!(answer.json()["executed"], "unknown");
        assert_eq!(vendor.seen().len(), 1, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_takes_no_connection_that_has_been_idle() {
    let vendor = Vendor::fine().await;
    let lines = "timeouts = { write_reuse_idle = \"0s\" }";
    let gateway =
        UnderTest::start(&format!("{HEAD}{}", to_vendor(vendor.address, lines, ""))).await;
    for n in 1..=3 {
        assert_eq!(gateway.get("/v/a").await.status, 200);
        gateway.settled(2 * n - 1).await;
        assert_eq!(gateway.send(POST).await.status, 200);
        gateway.settled(2 * n).await;
    }
    assert!(vendor.connections() >= 4, "at least one for the reads, one for each write");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reads_in_spite_of_its_method_is_a_read() {
    let vendor = Vendor::answering(|_| Reply::Close(Vec::new())).await;
    let lines = "reads = [\"POST /query/**\"]";
    let gateway =
        UnderTest::start(&format!("{HEAD}{}", to_vendor(vendor.address, "", lines))).await;
    for (path, executed) in [("/v/query/suiteql", "no"), ("/v/record", "unknown")] {
        let request = format!("POST {path} HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{{}}");
        assert_eq!(gateway.send(request).await.json()["executed"], executed, "{path}");
    }
}

/// A folder with a route to a TLS vendor whose certificate is signed by an authority of its own.
fn folder(vendor: &TlsVendor, lines: &str) -> Folder {
    let config = format!("{HEAD}{}", to_vendor(vendor.address, lines, ""))
        .replace(&format!("http://{}", vendor.address), &vendor.base_url());
    let folder = Folder::with(&config);
    folder.write("ca.pem", &vendor.authority.pem);
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_is_verified_by_its_own_authority_and_name() {
    for (names, lines, expected) in [
        (["localhost"], "tls = { ca = \"ca.pem\" }", None),
        (["other.test"], "tls = { ca = \"ca.pem\" }", Some("vendor-unreachable")),
        (["localhost"], "", Some("vendor-unreachable")),
    ] {
        let vendor = TlsVendor::start(&names, None, false).await;
        let gateway = UnderTest::start_in(folder(&vendor, lines)).await;
        let answer = gateway.get("/v/a").await;
        match expected {
            None => assert_eq!(answer.text(), "localhost HTTP/1.1"),
            Some(slug) => {
                assert_eq!(answer.slug(), slug, "{names:?} {lines}");
                let status = answer.field("proxy-status").expect("Proxy-Status");
                assert_eq!(status, "erpgate; error=tls_certificate_error");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_made_under_other_authorities_are_not_used_again() {
    let vendor = TlsVendor::start(&["localhost"], None, false).await;
    let gateway = UnderTest::start_in(folder(&vendor, "tls = { ca = \"ca.pem\" }")).await;
    assert_eq!(gateway.get("/v/a").await.status, 200);
    gateway.settled(1).await;
    gateway.folder.write("ca.pem", &Authority::new("another").pem);
    let outcome = gateway.serving.gateway.state.reload("admin").await;
    assert!(matches!(outcome, ReloadOutcome::Accepted { .. }), "{outcome:?}");
    assert_eq!(gateway.get("/v/a").await.slug(), "vendor-unreachable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_is_shown_the_gateways_certificate() {
    let clients = Authority::new("vendor's clients");
    let vendor = TlsVendor::start(&["localhost"], Some(&clients.pem), false).await;
    let (certificate, key) = clients.issue(&["gateway"], ExtendedKeyUsagePurpose::ClientAuth);
    let lines =
        "tls = { ca = \"ca.pem\", certificate = \"own.pem\", key = { file = \"own.key\" } }";
    let with = folder(&vendor, lines);
    with.write("own.pem", &certificate);
    with.write("own.key", &key);
    let gateway = UnderTest::start_in(with).await;
    assert_eq!(gateway.get("/v/a").await.status, 200);
    let without = folder(&vendor, "tls = { ca = \"ca.pem\" }");
    let gateway = UnderTest::start_in(without).await;
    assert_eq!(gateway.get("/v/a").await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_spoken_where_it_is_offered() {
    let vendor = TlsVendor::start(&["localhost"], None, true).await;
    let gateway = UnderTest::start_in(folder(&vendor, "tls = { ca = \"ca.pem\" }")).await;
    for _ in 0..3 {
        assert_eq!(gateway.get("/v/a").await.text(), "localhost HTTP/2.0");
    }
    let answer = gateway.send(POST).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "localhost HTTP/2.0"));
}
