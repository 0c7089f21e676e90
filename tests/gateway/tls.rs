//! TLS toward clients: certificates by name, client certificates, reload without a dropped
//! connection, and the same answers as in the clear.

use crate::support::under_test::to_vendor;
use crate::support::{Authority, Folder, Raw, UnderTest, Vendor, wait_for};
use erpgate::state::ReloadOutcome;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub fn config(client_lines: &str) -> String {
    format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n\
         tls = {{ certificates = \"certs\"{client_lines} }}\n[admin]\naddress = \"127.0.0.1:0\"\n"
    )
}

pub fn client(authority: &str, own: Option<&(String, String)>, h2: bool) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let der = CertificateDer::from_pem_slice(authority.as_bytes()).expect("PEM");
    roots.add(der).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(chain, key).expect("fits")
        }
    };
    if h2 {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    Arc::new(config)
}

pub async fn connect(
    gateway: &UnderTest,
    config: Arc<ClientConfig>,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(gateway.address(0)).await?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(config).connect(name, tcp).await
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().expect("shown")[0].clone().into_owned()
}

/// A gateway whose folder holds certificates for two names, and its authorities.
async fn gateway(client_lines: &str) -> (UnderTest, Authority, Authority, Vendor) {
    let vendor = Vendor::fine().await;
    let folder =
        Folder::with(&format!("{}{}", config(client_lines), to_vendor(vendor.address, "", "")));
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    for (file, name) in [("default", "localhost"), ("a", "a.test"), ("wild", "*.wild.test")] {
        let (certificate, key) = authority.issue(&[name], ExtendedKeyUsagePurpose::ServerAuth);
        folder.write(&format!("certs/{file}.key"), &key);
        folder.write(&format!("certs/{file}.pem"), &certificate);
    }
    folder.write("certs/client-ca.pem", &clients.pem);
    (UnderTest::start_in(folder).await, authority, clients, vendor)
}

pub const OPTIONAL: &str = ", client_ca = \"certs/client-ca.pem\", client_auth = \"optional\"";
const REQUIRED: &str = ", client_ca = \"certs/client-ca.pem\", client_auth = \"required\"";

async fn answers(stream: TlsStream<TcpStream>, host: &str) -> Option<u16> {
    let mut raw = Raw::over(stream);
    let request = format!("GET /v/a HTTP/1.1\r\nHost: {host}\r\n\r\n");
    raw.try_send(request).await.ok()?;
    Some(raw.answer_or_end().await?.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_is_chosen_by_name() {
    let (gateway, authority, _clients, _vendor) = gateway("").await;
    for (name, file) in [("localhost", "default"), ("a.test", "a"), ("b.wild.test", "wild")] {
        let config = client(&authority.pem, None, false);
        let stream = connect(&gateway, config, name).await.expect("trusted for the name");
        let pem = gateway.folder.read(&format!("certs/{file}.pem"));
        assert_eq!(shown(&stream), CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM"));
        assert_eq!(answers(stream, name).await, Some(200));
    }
    // Every other name is served the default one, which its client does not trust for it.
    assert!(connect(&gateway, client(&authority.pem, None, false), "other.test").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_another_name_is_misdirected() {
    let (gateway, authority, _clients, _vendor) = gateway("").await;
    let stream =
        connect(&gateway, client(&authority.pem, None, false), "a.test").await.expect("ok");
    let mut raw = Raw::over(stream);
    raw.send("GET /v/a HTTP/1.1\r\nHost: other.test\r\n\r\n").await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.slug().as_str()), (421, "misdirected-request"));
    assert_eq!(
        answer.json()["detail"],
        "The connection is another name's, or its certificate no longer holds."
    );
    assert_eq!(answer.json()["action"], "Send the request on a connection of its own.");
    assert_eq!(answer.json()["title"], "Misdirected request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_may_end_with_the_dot_of_the_root() {
    let (gateway, authority, _clients, _vendor) = gateway("").await;
    for (server_name, host, status) in [
        ("localhost", "localhost.", 200),
        ("localhost", "localhost.:8443", 200),
        ("b.wild.test", "c.wild.test.", 200),
        ("localhost", "other.test.", 421),
    ] {
        let config = client(&authority.pem, None, false);
        let stream = connect(&gateway, config, server_name).await.expect("trusted");
        assert_eq!(answers(stream, host).await, Some(status), "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_are_asked_for_as_configured() {
    let (gateway, authority, clients, _vendor) = gateway(OPTIONAL).await;
    let known = clients.issue(&["client"], ExtendedKeyUsagePurpose::ClientAuth);
    let stranger = Authority::new("strangers").issue(&["x"], ExtendedKeyUsagePurpose::ClientAuth);
    let outcome = async |gateway: &UnderTest, own: Option<&(String, String)>| match connect(
        gateway,
        client(&authority.pem, own, false),
        "localhost",
    )
    .await
    {
        Ok(stream) => answers(stream, "localhost").await,
        Err(_) => None,
    };
    assert_eq!(outcome(&gateway, None).await, Some(200));
    assert_eq!(outcome(&gateway, Some(&known)).await, Some(200));
    assert_eq!(outcome(&gateway, Some(&stranger)).await, None);
    let lines = config(REQUIRED);
    gateway.folder.write(
        "gateway.toml",
        &gateway.folder.read("gateway.toml").replace(&config(OPTIONAL), &lines),
    );
    let reloaded = gateway.serving.gateway.state.reload("admin").await;
    assert!(matches!(reloaded, ReloadOutcome::Accepted { .. }), "{reloaded:?}");
    assert_eq!(outcome(&gateway, None).await, None);
    assert_eq!(outcome(&gateway, Some(&known)).await, Some(200));
    gateway.log.line(&[("event", "handshake-failed".into())]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_change_without_a_dropped_connection() {
    let (gateway, authority, _clients, _vendor) = gateway("").await;
    let config = client(&authority.pem, None, false);
    let stream = connect(&gateway, config.clone(), "localhost").await.expect("trusted");
    let old = shown(&stream);
    let mut kept = Raw::over(stream);
    let (certificate, key) = authority.issue(&["localhost"], ExtendedKeyUsagePurpose::ServerAuth);
    gateway.folder.write("certs/default.key", &key);
    gateway.folder.write("certs/default.pem", &certificate);
    // Nobody asks: the files have changed.
    let new = wait_for("the new certificate", async || {
        let stream = connect(&gateway, config.clone(), "localhost").await.ok()?;
        Some(shown(&stream)).filter(|shown| *shown != old)
    })
    .await;
    assert_eq!(new, CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM"));
    kept.send("GET /v/a HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(kept.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_authority_ends_resumption_and_idle_connections() {
    let (gateway, authority, clients, _vendor) = gateway(REQUIRED).await;
    let known = clients.issue(&["client"], ExtendedKeyUsagePurpose::ClientAuth);
    let config = client(&authority.pem, Some(&known), false);
    let stream = connect(&gateway, config.clone(), "localhost").await.expect("trusted");
    let mut kept = Raw::over(stream);
    kept.send("GET /v/a HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(kept.answer().await.status, 200);
    // The same client comes back with its session.
    let again = connect(&gateway, config.clone(), "localhost").await.expect("resumes");
    let mut again = Raw::over(again);
    again.send("GET /v/a HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(again.answer().await.status, 200);
    assert_eq!(again.stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    gateway.folder.write("certs/client-ca.pem", &Authority::new("others").pem);
    let reloaded = gateway.serving.gateway.state.reload("admin").await;
    assert!(matches!(reloaded, ReloadOutcome::Accepted { .. }), "{reloaded:?}");
    kept.ended().await;
    let refused = match connect(&gateway, config, "localhost").await {
        Ok(stream) => answers(stream, "localhost").await,
        Err(_) => None,
    };
    assert_eq!(refused, None, "neither resumed nor shaken anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_restart_keeps_no_certificate_and_no_authority() {
    let (gateway, authority, clients, _vendor) = gateway(REQUIRED).await;
    let known = clients.issue(&["client"], ExtendedKeyUsagePurpose::ClientAuth);
    let config = client(&authority.pem, Some(&known), false);
    let stream = connect(&gateway, config.clone(), "localhost").await.expect("trusted");
    let old = shown(&stream);
    let mut kept = Raw::over(stream);
    // It waits for a restart, and names other files than the one in force.
    let text = gateway.folder.read("gateway.toml").replace("\"certs\"", "\"tonight\"");
    let tonight = format!("{text}[[listener]]\naddress = \"127.0.0.1:00\"\n");
    for file in ["default.key", "default.pem"] {
        let content = gateway.folder.read(&format!("certs/{file}"));
        gateway.folder.write(&format!("tonight/{file}"), &content);
    }
    gateway.folder.write("gateway.toml", &tonight);
    gateway.log.line(&[("action", "reload".into()), ("result", "refused".into())]).await;
    let (certificate, key) = authority.issue(&["localhost"], ExtendedKeyUsagePurpose::ServerAuth);
    gateway.folder.write("certs/default.key", &key);
    gateway.folder.write("certs/default.pem", &certificate);
    // Nobody asks: the files have changed.
    wait_for("the new certificate", async || {
        let stream = connect(&gateway, config.clone(), "localhost").await.ok()?;
        (shown(&stream) != old).then_some(())
    })
    .await;
    let accepted = [("action", "reload".into()), ("result", "accepted".into())];
    let line = gateway.log.line(&accepted).await;
    assert!(line["warnings"].to_string().contains("restart"), "{line}");
    kept.send("GET /v/a HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(kept.answer().await.status, 200);
    gateway.folder.write("certs/client-ca.pem", &Authority::new("others").pem);
    kept.ended().await;
    // Nothing else has changed.
    let state = &gateway.serving.gateway.state;
    wait_for("the files to rest", async || {
        matches!(state.reload("admin").await, ReloadOutcome::Refused { .. }).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_authority_ends_streams_on_a_busy_connection() {
    let (gateway, authority, clients, _vendor) = gateway(REQUIRED).await;
    let known = clients.issue(&["client"], ExtendedKeyUsagePurpose::ClientAuth);
    let config = client(&authority.pem, Some(&known), true);
    let stream = connect(&gateway, config, "localhost").await.expect("trusted");
    let (mut send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let post = || {
        let post = http::Request::post("https://localhost/v/a");
        post.header("x-api-key", crate::support::key()).body(()).expect("one")
    };
    // An upload that goes on: the connection is never idle.
    let (_held, _open) = send.send_request(post(), false).expect("sent");
    gateway.log.line(&[("action", "access".into())]).await;
    gateway.folder.write("certs/client-ca.pem", &Authority::new("others").pem);
    let reloaded = gateway.serving.gateway.state.reload("admin").await;
    assert!(matches!(reloaded, ReloadOutcome::Accepted { .. }), "{reloaded:?}");
    let (answer, _) = send.send_request(post(), true).expect("sent");
    let answer = crate::support::within("an answer", answer).await.expect("answered");
    assert_eq!(answer.status(), 421);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_agreed_on_and_old_versions_are_not() {
    let (gateway, authority, _clients, _vendor) = gateway("").await;
    let stream =
        connect(&gateway, client(&authority.pem, None, true), "localhost").await.expect("ok");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::builder().uri("https://localhost/v/a");
    let request = request.header("x-api-key", crate::support::key()).body(()).expect("one");
    let (answer, _) = send.send_request(request, true).expect("sent");
    let answer = crate::support::within("an answer", answer).await.expect("answered");
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("x-correlation-id"));
    // A hello of TLS 1.1 gets an alert, not a session.
    let mut old = gateway.connect().await;
    let hello = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x02\
        0123456789abcdef0123456789abcdef\x00\x00\x04\xc0\x14\x00\x35\x01\x00";
    old.send(hello).await;
    let mut alert = [0; 2];
    use tokio::io::AsyncReadExt;
    let read = crate::support::within("an alert", old.stream.read(&mut alert)).await;
    assert!(read.is_err() || read.is_ok_and(|n| n == 0 || alert[0] == 0x15), "{alert:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_has_to_end_in_time() {
    let vendor = Vendor::fine().await;
    let head = config("").replacen("[admin]", "handshake_timeout = \"200ms\"\n[admin]", 1);
    let folder = Folder::with(&format!("{head}{}", to_vendor(vendor.address, "", "")));
    folder.make_certificates();
    let gateway = UnderTest::start_in(folder).await;
    let mut silent = gateway.connect().await;
    silent.ended().await;
    let labels = "{listener=\"127.0.0.1:0\",reason=\"handshake-timeout\"} ";
    let metric = format!("erpgate_connections_closed_total{labels}");
    wait_for("the count", async || (gateway.metric(&metric).await == 1.0).then_some(())).await;
}
