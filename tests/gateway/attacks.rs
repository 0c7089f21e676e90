//! What an attacker tried on the vendor lane, its slots and its repetitions.

use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{
    Answer, Authority, Folder, Raw, Reply, UnderTest, Vendor, key, wait_for, within,
};
use bytes::Bytes;
use http::Request;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;
use tokio::sync::Notify;

const IN_USE: &str = "erpgate_pool_concurrency_in_use{pool=\"v\"}";
const DEPTH: &str = "erpgate_pool_queue_depth{pool=\"v\"}";

async fn to(address: SocketAddr, vendor_lines: &str, route_lines: &str) -> UnderTest {
    UnderTest::start(&format!("{HEAD}{}", to_vendor(address, vendor_lines, route_lines))).await
}

async fn post(gateway: &UnderTest, body: &str) -> Answer {
    let length = body.len();
    let head = format!("POST /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: {length}\r\n\r\n");
    gateway.send(format!("{head}{body}")).await
}

async fn is(gateway: &UnderTest, metric: &str, value: f64) {
    wait_for(metric, async || (gateway.metric(metric).await == value).then_some(())).await;
}

/// A vendor whose socket takes little, with what it does on a connection.
async fn narrow<F, S>(serve: F) -> SocketAddr
where
    F: Fn(tokio::net::TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(256 << 10).expect("set");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let listener = socket.listen(16).expect("listens");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(tcp));
        }
    });
    address
}

/// INTERFACE §6.3: a 2xx is unexecuted only if its matcher says so; §6.6: else no write is repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_may_have_acted_is_not_sent_again_for_its_class() {
    for (status, executed) in
        [("200", ""), ("500", "executed = \"unknown\""), ("500", "executed = \"yes\"")]
    {
        for class in ["rate", "lock"] {
            let outcome = format!(
                "[[vendors.v.outcome]]\nwhen = {{ status = {status}, pointer = \"/error/code\", \
                 equals = \"BUSY\" }}\nclass = \"{class}\"\nwait = \"1s\"\n{executed}"
            );
            let body = r#"{"error":{"code":"BUSY"},"booked":true}"#;
            let head = format!("{status} X\r\nContent-Length: {}", body.len());
            let vendor = Vendor::answering(move |_| Reply::text(&head, body)).await;
            let gateway = to(vendor.address, &outcome, "deadline = \"3s\"").await;
            let answer = post(&gateway, "{}").await;
            assert_eq!(vendor.seen().len(), 1, "{status} {executed} {class}: {answer:?}");
            // Nothing promises that nothing was executed.
            assert_ne!(answer.status, 503, "{status} {executed} {class}: {answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_over_http2_that_never_begins_is_reset() {
    let vendor = Vendor::fine().await;
    let head = HEAD.replacen("[admin]", "body_timeout = \"300ms\"\n[admin]", 1);
    let to = to_vendor(vendor.address, "concurrency = 1", "");
    let gateway = UnderTest::start(&format!("{head}{to}")).await;
    let tcp = tokio::net::TcpStream::connect(gateway.address(0)).await.expect("connects");
    let (mut send, connection) = h2::client::handshake(tcp).await.expect("speaks HTTP/2");
    tokio::spawn(connection);
    let request = Request::post("http://gw/v/a").header("x-api-key", key()).body(()).expect("one");
    let (answer, _stream) = send.send_request(request, false).expect("sent");
    let _ = within("the end of the stream", answer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_ends_with_the_deadline() {
    let vendor = Vendor::fine().await;
    let gateway = to(vendor.address, "concurrency = 1", "deadline = \"500ms\"").await;
    let mut raw = gateway.connect().await;
    raw.send("POST /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 1000000\r\n\r\n").await;
    // It drips on: each octet is progress.
    wait_for("the end of an upload that can't be sent any more", async || {
        raw.try_send("a").await.is_err().then_some(())
    })
    .await;
    assert!(vendor.seen().is_empty());
}

/// The deadline bounds the stream lane's wait for the next octet; here a slot hangs on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stalls_gives_its_slot_back() {
    for lines in ["", "concurrency = 1"] {
        let half = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n".to_vec();
        let vendor = Vendor::answering(move |_| Reply::Octets(half.clone())).await;
        let gateway = to(vendor.address, lines, "deadline = \"400ms\"").await;
        let mut raw = gateway.connect().await;
        raw.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
        let answer = raw.any_answer(false).await;
        assert!(!answer.complete, "{lines}");
        is(&gateway, IN_USE, 0.0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_reads_slowly_and_says_nothing_is_told_in_time() {
    let goes_on = Arc::new(Notify::new());
    let told = goes_on.clone();
    let address = narrow(move |mut tcp| {
        let told = told.clone();
        async move {
            let mut part = vec![0; 1 << 20];
            let head = tcp.read(&mut part).await.unwrap_or(0);
            if part[..head].starts_with(b"POST") {
                // Nothing for a while, then all of it, then silence.
                told.notified().await;
            }
            while let Ok(1..) = tcp.read(&mut part).await {}
        }
    })
    .await;
    let shorter = "[[route]]\nname = \"q\"\npath = \"/q\"\nvendor = \"v\"\ndeadline = \"2s\"";
    let lines = format!("deadline = \"3s\"\nbody_max = \"32MiB\"\n{shorter}");
    let gateway = Arc::new(to(address, "concurrency = 2", &lines).await);
    let mut raw = gateway.connect().await;
    let body = "a".repeat(9 << 20);
    let length = body.len();
    raw.send(format!("POST /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: {length}\r\n\r\n")).await;
    raw.send(body).await;
    is(&gateway, IN_USE, 1.0).await;
    // Most of the deadline has passed when this one's is over.
    assert_eq!(gateway.get("/q/a").await.slug(), "deadline-exceeded");
    goes_on.notify_one();
    let answer = raw.answer_or_end().await;
    assert_eq!(answer.map(|answer| answer.slug()).as_deref(), Some("deadline-exceeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_attempt_met_is_not_told_of_a_later_one() {
    let count = AtomicUsize::new(0);
    let vendor = Vendor::answering(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::text("429 X\r\nX-Request-Id: first\r\nRetry-After: 1\r\nContent-Length: 0", ""),
        _ => Reply::Hang,
    })
    .await;
    for lines in ["concurrency = 1"] {
        let gateway = to(vendor.address, lines, "deadline = \"2500ms\"").await;
        let answer = post(&gateway, "{}").await;
        assert_eq!(answer.slug(), "deadline-exceeded");
        assert_eq!(answer.json()["executed"], "unknown");
        assert_eq!(answer.json()["vendor"]["status"], serde_json::Value::Null, "{answer:?}");
        let told = answer.field("proxy-status").expect("told");
        assert!(!told.contains("received-status"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_pauses_also_where_bodies_are_of_any_size() {
    let throttle = "HTTP/1.1 429 X\r\nContent-Length: 2\r\n\r\n{}";
    let vendor = Vendor::answering(|_| Reply::Octets(throttle.as_bytes().to_vec())).await;
    let lines = "profile = \"netsuite\"";
    let gateway = to(vendor.address, lines, "body_max = \"none\"\ndeadline = \"1s\"").await;
    let answer = gateway.get("/v/a").await;
    assert_eq!(answer.status, 503, "the vendor's own throttle went through: {answer:?}");
}

/// A vendor of HTTP/2 that answers the first stream of a connection and resets all others.
async fn resetting(asked: Arc<AtomicUsize>) -> (SocketAddr, Authority) {
    let authority = Authority::new("vendor");
    let (certificate, key) = authority.issue(&["localhost"], ExtendedKeyUsagePurpose::ServerAuth);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("fits");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((tcp, _)) = socket.accept().await {
            let (acceptor, asked) = (acceptor.clone(), asked.clone());
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else { return };
                let Ok(mut connection) = h2::server::handshake(tls).await else { return };
                let mut first = true;
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    asked.fetch_add(1, Ordering::SeqCst);
                    if std::mem::replace(&mut first, false) {
                        let mut stream =
                            respond.send_response(http::Response::new(()), false).expect("ok");
                        stream.send_data(Bytes::from_static(b"fine"), true).expect("ok");
                    } else {
                        respond.send_reset(h2::Reason::INTERNAL_ERROR);
                    }
                }
            });
        }
    });
    (address, authority)
}

/// Streams share a connection: that it was used before says nothing of one that the vendor resets.
#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_resets_streams_is_left_alone() {
    for pool in ["", "concurrency = 2\n"] {
        let asked = Arc::new(AtomicUsize::new(0));
        let (address, authority) = resetting(asked.clone()).await;
        let lines = format!(
            "tls = {{ ca = \"ca.pem\" }}\n{pool}retry = {{ base = \"1ms\", max = \"1ms\", \
             budget = 0.0 }}\ncircuit = {{ consecutive_failures = 5, open = \"5m\" }}"
        );
        let config = format!("{HEAD}{}", to_vendor(address, &lines, "")).replace(
            &format!("http://{address}"),
            &format!("https://localhost:{}", address.port()),
        );
        let folder = Folder::with(&config);
        folder.write("ca.pem", &authority.pem);
        let gateway = UnderTest::start_in(folder).await;
        assert_eq!(gateway.get("/v/a").await.status, 200);
        for _ in 0..30 {
            assert_ne!(gateway.get("/v/a").await.status, 200);
        }
        let asked = asked.load(Ordering::SeqCst);
        assert!(asked <= 12, "{pool}: asked {asked} times, its circuit never opened");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_keeps_nobody_from_his_turn() {
    let vendor = Vendor::fine().await;
    let gateway = to(vendor.address, "", "serialize_by = \"path:2\"").await;
    let mut slow = gateway.connect().await;
    slow.send("POST /v/orders/7 HTTP/1.1\r\nHost: gw\r\nContent-Length: 10\r\n\r\nslow").await;
    let state = &gateway.serving.gateway.state;
    wait_for("the upload", async || (state.buffers.held().0 == 4).then_some(())).await;
    assert_eq!(gateway.get("/v/orders/7").await.status, 200);
}

/// Not an attack that worked: what has to stay so.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_goes_on_after_every_kind_of_answer() {
    let vendor = Vendor::answering(|request| {
        if request.starts_with("HEAD") || request.contains(" /304") {
            let status = if request.contains(" /304") { "304 X" } else { "200 OK" };
            return Reply::text(&format!("{status}\r\nContent-Length: 10"), "");
        }
        match request.split(' ').nth(1) {
            Some("/long") => Reply::text("200 OK\r\nContent-Length: 2", "fineHTTP/1.1 200 OK\r\n\r\n"),
            Some("/twice") => Reply::text("200 OK\r\nContent-Length: 4\r\nContent-Length: 4", "fine"),
            Some("/both") => Reply::text(
                "200 OK\r\nContent-Length: 40\r\nTransfer-Encoding: chunked",
                "4\r\nfine\r\n0\r\n\r\n",
            ),
            Some("/early") => Reply::Octets(
                b"HTTP/1.1 103 Early\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine".to_vec(),
            ),
            _ => Reply::ok("fine"),
        }
    })
    .await;
    for lines in ["", "concurrency = 4"] {
        let gateway = to(vendor.address, lines, "").await;
        let mut raw = gateway.connect().await;
        for round in 0..2 {
            raw.send("HEAD /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
            let head = raw.head_answer().await;
            assert_eq!((head.status, head.field("content-length").as_deref()), (200, Some("10")));
            raw.send("GET /v/304 HTTP/1.1\r\nHost: gw\r\n\r\n").await;
            assert_eq!(raw.answer().await.status, 304, "{lines} {round}");
            for (target, body) in [
                ("long", "fi"),
                ("twice", "fine"),
                ("both", "fine"),
                ("early", "fine"),
                ("a", "fine"),
            ] {
                raw.send(format!("GET /v/{target} HTTP/1.1\r\nHost: gw\r\n\r\n")).await;
                let answer = raw.answer().await;
                assert_eq!(
                    (answer.status, answer.text().as_str()),
                    (200, body),
                    "{lines} {target}"
                );
                let length = answer.field("content-length");
                assert!(length.is_none_or(|length| !length.contains(',')), "{lines} {target}");
            }
        }
        // Pipelined.
        let one = "GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n";
        raw.send(format!("{one}{one}{one}")).await;
        for _ in 0..3 {
            assert_eq!(raw.answer().await.text(), "fine");
        }
        is(&gateway, IN_USE, 0.0).await;
    }
}

/// What a client sends bit by bit is not held bit by bit.
#[tokio::test(flavor = "multi_thread")]
async fn every_refused_or_left_request_gives_its_slot_back() {
    let vendor = Vendor::answering(|request| match request.split(' ').nth(1) {
        Some("/cut") => Reply::Close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nha".to_vec()),
        Some("/junk") => Reply::Close(b"junk\r\n\r\n".to_vec()),
        Some("/101") => Reply::Close(b"HTTP/1.1 101 X\r\n\r\n".to_vec()),
        Some("/999") => Reply::Close(b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Some("/401") => Reply::text("401 X\r\nContent-Length: 0", ""),
        Some("/302") => {
            Reply::text("302 X\r\nLocation: http://elsewhere/\r\nContent-Length: 0", "")
        }
        Some("/gzip") => Reply::text("400 X\r\nContent-Encoding: gzip\r\nContent-Length: 3", "abc"),
        Some("/hang") => Reply::Hang,
        _ => Reply::ok("fine"),
    })
    .await;
    let lines = "concurrency = 2\nprofile = \"netsuite\"\nretry = { base = \"1ms\" }\n\
                 circuit = { consecutive_failures = 1000000, min_requests = 1000000 }";
    let gateway = to(vendor.address, lines, "deadline = \"300ms\"").await;
    for target in ["cut", "junk", "101", "999", "401", "302", "gzip", "hang", "a"] {
        for method in ["GET", "HEAD", "POST"] {
            let mut raw: Raw = gateway.connect().await;
            raw.send(format!(
                "{method} /v/{target} HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n"
            ))
            .await;
            let _ = within(target, async {
                let mut part = [0; 4096];
                raw.stream.read(&mut part).await
            })
            .await;
        }
    }
    is(&gateway, IN_USE, 0.0).await;
    is(&gateway, DEPTH, 0.0).await;
}
