//! Certificates, made for the test and read back.

use super::{REST, assert_findings, loaded, now};
use crate::config::resolve::Mode;
use crate::config::sources::Memory;
use crate::config::{ClientAuth, ListenerTls};
use rcgen::{CertificateParams, KeyPair};
use std::time::{Duration, UNIX_EPOCH};

/// Chain and key in PEM, valid from and until days from the tests' now.
pub(super) fn pair(names: &[&str], from: i64, until: i64) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    let day = |days: i64| {
        let now = now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let seconds = now.checked_add_signed(days * 86_400).expect("in range");
        (UNIX_EPOCH + Duration::from_secs(seconds)).into()
    };
    params.not_before = day(from);
    params.not_after = day(until);
    (params.self_signed(&key).expect("signed").pem(), key.serialize_pem())
}

fn with_pair(sources: Memory, name: &str, names: &[&str], from: i64, until: i64) -> Memory {
    let (chain, key) = pair(names, from, until);
    sources.with(&format!("certs/{name}.pem"), chain).with(&format!("certs/{name}.key"), key)
}

fn good() -> Memory {
    with_pair(Memory::default(), "default", &["Localhost", "127.0.0.1", "::1"], -1, 300)
}

fn listener(tls: &str) -> String {
    format!("[[listener]]\naddress = \"0.0.0.0:0\"\ntls = {tls}\n{REST}")
}

fn tls(sources: Memory, text: &str) -> ListenerTls {
    let loaded = loaded(&listener(text), sources, Mode::Run);
    assert!(loaded.problems.is_empty(), "{}", loaded.human());
    let config = loaded.config.expect("a configuration");
    let listener = config.listeners.into_iter().next().expect("a listener");
    std::sync::Arc::into_inner(listener).expect("nobody else").tls.expect("TLS")
}

#[test]
fn names_come_from_inside() {
    let sources = with_pair(good(), "a", &["*.example.com"], -1, 300);
    let read = tls(sources.clone(), "{ certificates = \"certs\" }");
    let names: Vec<&[String]> = read.certificates.iter().map(|c| &c.names[..]).collect();
    assert_eq!(names, [&["*.example.com"][..], &["localhost", "127.0.0.1", "::1"]]);
    assert_eq!(read.default_certificate, 1);
    assert_eq!(read.client, ClientAuth::None);
    let again = tls(sources, "{ certificates = \"certs\" }");
    assert_eq!(read.fingerprint, again.fingerprint);
    let other = tls(good(), "{ certificates = \"certs\" }");
    assert_ne!(read.fingerprint, other.fingerprint);
}

#[test]
fn authorities_in_the_folder_are_not_served() {
    let (ca, _) = pair(&["ca"], -1, 300);
    let sources = good().with("certs/client-ca.pem", ca);
    let text = "{ certificates = \"./certs\", client_ca = \"certs/client-ca.pem\", \
                client_auth = \"AUTH\" }";
    let optional = tls(sources.clone(), &text.replace("AUTH", "optional"));
    assert_eq!(optional.certificates.len(), 1);
    assert!(
        matches!(&optional.client, ClientAuth::Optional(authorities) if authorities.len() == 1)
    );
    let required = tls(sources, &text.replace("AUTH", "required"));
    assert!(matches!(required.client, ClientAuth::Required(_)));
    assert_ne!(optional.fingerprint, required.fingerprint);
}

#[test]
fn what_is_wrong_is_said_at_the_key() {
    let (stray, _) = pair(&["stray"], -1, 300);
    let (_, other_key) = pair(&["a"], -1, 300);
    let text = "{ certificates = ◆\"certs\" }";
    for (sources, code) in [
        (Memory::default(), "certificate-missing"),
        (Memory::default().with("certs/readme.txt", ""), "certificate-missing"),
        (good().with("certs/stray.pem", stray.clone()), "bad-certificate"),
        (good().with("certs/default.pem", "nothing"), "bad-certificate"),
        (good().with("certs/default.key", "nothing"), "bad-certificate"),
        (good().with("certs/default.key", other_key), "bad-certificate"),
        (good().with("certs/default.pem", RSA_1024), "bad-certificate"),
        (with_pair(Memory::default(), "a", &["a"], -20, -1), "certificate-expired"),
        (with_pair(Memory::default(), "a", &["a"], 1, 300), "certificate-not-yet-valid"),
        (with_pair(Memory::default(), "a", &["a"], -20, 13), "certificate-expires-soon"),
        (with_pair(Memory::default(), "a", &[], -20, 300), "certificate-nameless"),
        (with_pair(good(), "a", &["localhost"], -1, 300), "certificate-name-twice"),
        (Memory { open: vec!["certs/default.key".into()], ..good() }, "key-open-to-others"),
    ] {
        assert_findings(&listener(text), &[code], sources, Mode::Run);
    }
    for (text, codes) in [
        ("{ certificates = \"certs\", client_ca = ◆\"a.pem\" }", &["client-ca-unused"]),
        ("◆{ certificates = \"certs\", client_auth = \"required\" }", &["missing-key"]),
        (
            "{ certificates = \"certs\", client_auth = \"required\", client_ca = ◆\"gone.pem\" }",
            &["file-unreadable"],
        ),
        (
            "{ certificates = \"certs\", client_auth = \"optional\", \
             client_ca = ◆\"certs/default.key\" }",
            &["bad-certificate"],
        ),
    ] {
        assert_findings(&listener(text), codes, good(), Mode::Run);
    }
}

#[test]
fn vendors_have_authorities_and_a_client_certificate() {
    let (ca, _) = pair(&["ca"], -1, 300);
    let (chain, key) = pair(&["gateway"], -1, 300);
    let (_, other) = pair(&["gateway"], -1, 300);
    let sources = Memory::default()
        .with("ca.pem", format!("{ca}{ca}"))
        .with("me.pem", chain)
        .with("me.key", key)
        .with("other.key", other);
    let text = |tls: &str| REST.replace("base_url", &format!("tls = {tls}\nbase_url"));
    let good = text("{ ca = \"ca.pem\", certificate = \"me.pem\", key = { file = \"me.key\" } }");
    let vendor_tls = |mode| {
        let loaded = loaded(&good, sources.clone(), mode);
        assert!(loaded.problems.is_empty(), "{}", loaded.human());
        let config = loaded.config.expect("a configuration");
        let tls = &config.vendors[0].tls;
        (tls.authorities.len(), tls.client.is_some())
    };
    assert_eq!(vendor_tls(Mode::Run), (2, true));
    assert_eq!(vendor_tls(Mode::Sandbox), (0, false));
    for (tls, code) in [
        ("{ certificate = ◆\"me.pem\", key = { file = \"other.key\" } }", "bad-certificate"),
        ("{ certificate = \"me.pem\", key = ◆{ file = \"me.pem\" } }", "bad-certificate"),
        ("◆{ key = { file = \"me.key\" } }", "missing-key"),
        ("{ ca = ◆\"me.key\" }", "bad-certificate"),
    ] {
        assert_findings(&text(tls), &[code], sources.clone(), Mode::Run);
    }
}

/// Made with `openssl req -x509 -newkey rsa:1024`.
const RSA_1024: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIICBDCCAW2gAwIBAgIUN8x3p+xFesg8tHYSCNm6qk+++YUwDQYJKoZIhvcNAQEL\n\
BQAwDDEKMAgGA1UEAwwBeDAgFw0yNjExMjEwNDQ3MDBaGA8yMTI2MTAyODA0NDcw\n\
MFowDDEKMAgGA1UEAwwBeDCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkCgYEAspB7\n\
Yih0E98JJOtm5RSs34gh41D7UW+60Bk+rHRT2fz0iQSoPfeP0kQFIKy05y97F2jb\n\
Y8lAUhbPo5hm3iiCKciO5JTjADY0vDK4xajp11VSysvak8UzUyjQlluMCJ7PWXIE\n\
ETR/bt4N3D4Z0iVrJwmjEm6ECTHlhct974SjjWcCAwEAAaNhMF8wHQYDVR0OBBYE\n\
FJwuF55cMGDXUsVqTkDz/Q2zJwRvMB8GA1UdIwQYMBaAFJwuF55cMGDXUsVqTkDz\n\
/Q2zJwRvMA8GA1UdEwEB/wQFMAMBAf8wDAYDVR0RBAUwA4IBeDANBgkqhkiG9w0B\n\
AQsFAAOBgQCu4YvSiK3AMzsCqMOYfOCVpL4scfdecmdvZ4PSb0cUqfS2i34niZL+\n\
QV9pKsehJpJKCrRSSk0G/LElHscfheHRxkwHcxk5xqkItF2UW3kY6keazrYmJMPD\n\
vUx0sfGnMf7o0vrn4RXNo9iX8C5ZZFSAjxTs0a3jgrWNpAVIlUfKSw==\n\
-----END CERTIFICATE-----\n\
";
