//! Client certificates as identities, and tokens that are bound to one (RFC 8705).

use crate::support::issuer::{Issuer, ORDERS, TENANT};
use crate::support::under_test::to_vendor;
use crate::support::{Answer, Authority, Folder, Raw, UnderTest, Vendor, wait_for};
use crate::tls::{OPTIONAL, client, config, connect};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use erpgate::model::digest::Sha256;
use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::time::{Duration, SystemTime};

type Pair = (String, String);

/// A gateway behind TLS, its authority, its clients' authority, and certificates of two of them.
struct Trial {
    gateway: UnderTest,
    authority: Authority,
    clients: Authority,
    issuer: Issuer,
    erp: Pair,
    stranger: Pair,
    _vendor: Vendor,
}

fn digest(pair: &Pair) -> Sha256 {
    Sha256::of(&CertificateDer::from_pem_slice(pair.0.as_bytes()).expect("PEM"))
}

impl Trial {
    /// With the policy that `policy` makes of the digest of erp's certificate.
    async fn start(policy: impl Fn(Sha256) -> String) -> Trial {
        let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
        let head = config(OPTIONAL);
        let route = to_vendor(vendor.address, "", "");
        let folder = Folder::with(&format!("{head}{}{route}", issuer.trusted("")));
        let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
        let (certificate, key) = authority.issue(&["localhost"], ServerAuth);
        folder.write("certs/default.key", &key);
        folder.write("certs/default.pem", &certificate);
        folder.write("certs/client-ca.pem", &clients.pem);
        let erp = clients.issue(&["ERP.partners.test"], ClientAuth);
        let stranger = clients.issue(&["stranger.test"], ClientAuth);
        folder.write("policies/erp.toml", &policy(digest(&erp)));
        let gateway = UnderTest::start_in(folder).await;
        Trial { gateway, authority, clients, issuer, erp, stranger, _vendor: vendor }
    }

    async fn get(&self, own: Option<&Pair>, fields: &str) -> Answer {
        let config = client(&self.authority.pem, own, false);
        let stream = connect(&self.gateway, config, "localhost").await.expect("shakes hands");
        let mut raw = Raw::over(stream).bare();
        raw.send(format!("GET /v/orders/7 HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).await;
        raw.answer().await
    }

    async fn outcome(&self, own: Option<&Pair>, fields: &str) -> String {
        let answer = self.get(own, fields).await;
        if answer.status == 200 { "allowed".to_owned() } else { answer.slug() }
    }
}

fn by_certificate(line: &str) -> String {
    format!("client = \"erp\"\n[[identity]]\n{line}\nscopes = [\"orders:read\"]\n{ORDERS}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_an_identity_by_digest_and_by_name() {
    for by_name in [false, true] {
        let trial = Trial::start(|digest| {
            by_certificate(&match by_name {
                true => "certificate_san = \"erp.partners.test\"".to_owned(),
                false => format!("certificate_sha256 = \"{digest}\""),
            })
        })
        .await;
        let answer = trial.get(Some(&trial.erp), "").await;
        assert_eq!(answer.status, 200);
        let id = answer.field("x-correlation-id").expect("an id");
        let audit = [("event", "audit".into()), ("correlation_id", id.into())];
        let line = trial.gateway.log.line(&audit).await;
        let of_certificate = format!("certificate {}", digest(&trial.erp).short());
        assert_eq!((&line["scheme"], &line["client"]), (&"certificate".into(), &"erp".into()));
        assert_eq!(line["identity"], of_certificate);
        // One that no policy names is no identity, and harms nothing.
        let key = format!("X-API-Key: {}\r\n", crate::support::key());
        assert_eq!(trial.outcome(Some(&trial.stranger), "").await, "credentials-missing");
        assert_eq!(trial.outcome(Some(&trial.stranger), &key).await, "allowed");
        // Erp's certificate with the tester's key: two clients.
        assert_eq!(trial.outcome(Some(&trial.erp), &key).await, "credentials-ambiguous");
        assert_eq!(trial.outcome(None, "").await, "credentials-missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_uri_is_compared_to_the_letter_and_other_names_are_not() {
    for (typed, outcome) in [
        ("urn:partner:ERP", "allowed"),
        ("urn:partner:erp", "credentials-missing"),
        ("spiffe://Partner/erp", "allowed"),
        ("spiffe://partner/erp", "credentials-missing"),
        ("Other.Partners.TEST", "allowed"),
        ("urn:other.partners.test", "credentials-missing"),
    ] {
        let by_name = by_certificate(&format!("certificate_san = \"{typed}\""));
        let trial = Trial::start(|_| by_name.clone()).await;
        let names = ["urn:partner:ERP", "spiffe://Partner/erp", "OTHER.partners.test"];
        let own = trial.clients.issue(&names, ClientAuth);
        assert_eq!(trial.outcome(Some(&own), "").await, outcome, "{typed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_are_those_of_the_token_and_never_a_union() {
    let trial = Trial::start(|digest| {
        format!(
            "{}[[identity]]\nissuer = \"{TENANT}\"\nclient_id = \"erp-prod\"\n",
            by_certificate(&format!("certificate_sha256 = \"{digest}\"")).replace(ORDERS, "")
        ) + ORDERS
    })
    .await;
    let unscoped = trial.issuer.token("erp-prod", "orders:write", "").await;
    let bearer = format!("Authorization: Bearer {unscoped}\r\n");
    // The certificate alone would do.
    assert_eq!(trial.outcome(Some(&trial.erp), "").await, "allowed");
    assert_eq!(trial.outcome(Some(&trial.erp), &bearer).await, "scope-missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_token_is_worth_nothing_without_its_certificate() {
    for required in [false, true] {
        let trial = Trial::start(|_| {
            format!(
                "client = \"erp\"\n[[identity]]\nissuer = \"{TENANT}\"\nclient_id = \"erp-prod\"\n\
                 require_bound_token = {required}\n{ORDERS}"
            )
        })
        .await;
        let thumbprint = URL_SAFE_NO_PAD.encode(digest(&trial.erp).0);
        let cnf = format!("&cnf_x5t_s256={thumbprint}");
        let bound = trial.issuer.token("erp-prod", "orders:read", &cnf).await;
        let bound = format!("Authorization: Bearer {bound}\r\n");
        let unbound = trial.issuer.token("erp-prod", "orders:read", "").await;
        let unbound = format!("Authorization: Bearer {unbound}\r\n");
        // Twice, so that what is remembered is asked as well.
        for _ in 0..2 {
            assert_eq!(trial.outcome(Some(&trial.erp), &bound).await, "allowed");
            assert_eq!(trial.outcome(Some(&trial.stranger), &bound).await, "token-invalid");
            assert_eq!(trial.outcome(None, &bound).await, "token-invalid");
            let expected = if required { "token-invalid" } else { "allowed" };
            assert_eq!(trial.outcome(Some(&trial.erp), &unbound).await, expected);
            // A field is no certificate.
            let posing = format!("{bound}Client-Cert: :AAAA:\r\n");
            assert_eq!(trial.outcome(None, &posing).await, "token-invalid");
        }
        let reason = if required { "token-unbound" } else { "binding-broken" };
        trial.gateway.log.line(&[("action", "access".into()), ("reason", reason.into())]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_no_identity_beyond_its_end() {
    let vendor = Vendor::fine().await;
    let config = format!("{}{}", config(OPTIONAL), to_vendor(vendor.address, "", ""));
    let folder = Folder::with(&config);
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let (certificate, key) = authority.issue(&["localhost"], ServerAuth);
    folder.write("certs/default.key", &key);
    folder.write("certs/default.pem", &certificate);
    folder.write("certs/client-ca.pem", &clients.pem);
    let until = SystemTime::now() + Duration::from_secs(3);
    let own = clients.issue_until(&["erp.partners.test"], ClientAuth, Some(until));
    folder.write("policies/erp.toml", &by_certificate("certificate_san = \"erp.partners.test\""));
    let gateway = UnderTest::start_in(folder).await;
    let config = client(&authority.pem, Some(&own), false);
    let stream = connect(&gateway, config, "localhost").await.expect("shakes hands");
    let mut raw = Raw::over(stream).bare();
    let mut statuses = Vec::new();
    // On one connection, that was shaken while the certificate held.
    wait_for("its end", async || {
        raw.send("GET /v/orders/7 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        statuses.push(raw.answer().await.status);
        statuses.ends_with(&[421]).then_some(())
    })
    .await;
    assert!(statuses.len() > 1 && statuses.iter().rev().skip(1).all(|status| *status == 200));
}
