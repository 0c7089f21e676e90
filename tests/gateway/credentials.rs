//! Keys and tokens: when they end, where their keys may come from, and further attacks on them.

use crate::access::assert_refused;
use crate::support::issuer::{Issuer, ORDERS, TENANT, folder, gateway, get, get_with};
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Folder, Raw, UnderTest, Vendor, wait_for};
use erpgate::model::digest::Sha256;
use erpgate::stages::authentication::api_key;
use serde_json::json;

const ORDER: &str = "/v/orders/7";

#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_with_its_last_day() {
    let vendor = Vendor::fine().await;
    let folder = Folder::with(&format!("{HEAD}{}", to_vendor(vendor.address, "", "")));
    let identity = |number: u8, expires: &str| {
        let digest = Sha256::of(api_key::make([number; 32]).as_bytes());
        format!(
            "[[identity]]\napi_key_sha256 = \"{digest}\"\nscopes = [\"orders:read\"]\nexpires = {expires}\n"
        )
    };
    let (old, new) = (identity(50, "2020-02-29"), identity(51, "2999-12-31"));
    folder.write("policies/erp.toml", &format!("client = \"erp\"\n{old}{new}{ORDERS}"));
    let gateway = UnderTest::start_in(folder).await;
    let shown = |number: u8| format!("X-API-Key: {}\r\n", api_key::make([number; 32]));
    let answer = get(&gateway, ORDER, &shown(50)).await;
    assert_eq!((answer.status, answer.slug().as_str()), (401, "token-expired"));
    gateway.log.line(&[("action", "access".into()), ("reason", "key-expired".into())]).await;
    // The one that it was exchanged for.
    assert_eq!(get(&gateway, ORDER, &shown(51)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_remembered_ends_with_its_exp() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = gateway(&issuer, vendor.address, "leeway = \"0s\"").await;
    let token = issuer.token("erp-prod", "orders:read", "&expires_in=3").await;
    assert_eq!(get_with(&gateway, ORDER, &token).await.status, 200);
    wait_for("its end", async || {
        let answer = get_with(&gateway, ORDER, &token).await;
        (answer.status == 401 && answer.slug() == "token-expired").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_one_issuer_sign_nothing_for_another() {
    let (one, two, vendor) = (Issuer::start().await, Issuer::start().await, Vendor::fine().await);
    let folder = folder(&one, vendor.address, "");
    let trusted = two.trusted("").replace(&format!("\"{TENANT}\""), "\"two\"");
    folder.write("gateway.toml", &format!("{}{trusted}", folder.read("gateway.toml")));
    let gateway = UnderTest::start_in(folder).await;
    let claims = json!({ "iss": one.url(), "client_id": "erp-prod", "scope": "orders:read" });
    let crossed = two.minted(json!({}), claims).await;
    assert_eq!(get_with(&gateway, ORDER, &crossed).await.slug(), "token-invalid");
    let line = gateway.log.line(&[("action", "access".into()), ("result", "refused".into())]).await;
    assert_eq!(line["reason"], "signature-invalid");
    let own = one.token("erp-prod", "orders:read", "").await;
    assert_eq!(get_with(&gateway, ORDER, &own).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_may_come_from_a_file_or_be_a_secret() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let folder = folder(&issuer, vendor.address, "");
    let config = folder.read("gateway.toml");
    let uri = format!("jwks_uri = \"{}/jwks\"\n", issuer.url());
    folder.write("gateway.toml", &config.replace(&uri, "jwks_file = \"keys.json\"\n"));
    let address = issuer.provider.address();
    let mut raw = Raw::connect(address).await.bare();
    raw.send(format!("GET /{TENANT}/jwks HTTP/1.1\r\nHost: {address}\r\n\r\n")).await;
    folder.write("keys.json", &raw.answer().await.text());
    let gateway = UnderTest::start_in(folder).await;
    let token = issuer.token("erp-prod", "orders:read", "").await;
    assert_eq!(get_with(&gateway, ORDER, &token).await.status, 200);
    // A secret in its place: what the keys signed is worth nothing, and the other way round.
    let secret = "0123456789abcdef0123456789abcdef";
    gateway.folder.write("secret", secret);
    gateway.folder.write(
        "gateway.toml",
        &config.replace(&uri, "hmac_secret = { file = \"secret\" }\nalgorithms = [\"HS256\"]\n"),
    );
    gateway.serving.gateway.state.reload("admin").await;
    assert_eq!(get_with(&gateway, ORDER, &token).await.slug(), "token-invalid");
    let claims = json!({ "client_id": "erp-prod", "scope": "orders:read" });
    let mac = issuer.minted_by(json!({ "alg": "HS256", "secret": secret, "claims": claims })).await;
    assert_eq!(get_with(&gateway, ORDER, &mac).await.status, 200);
    let other = json!({ "alg": "HS256", "secret": "f".repeat(32), "claims": claims });
    let other = issuer.minted_by(other).await;
    assert_eq!(get_with(&gateway, ORDER, &other).await.slug(), "token-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn further_attacks_with_their_reasons() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = gateway(&issuer, vendor.address, "").await;
    let good = issuer.token("erp-prod", "orders:read", "").await;
    let claims = json!({ "client_id": "erp-prod", "scope": "orders:read" });
    let parts: Vec<&str> = good.split('.').collect();
    let raw = URL_SAFE_NO_PAD.decode(parts[2]).expect("base64");
    let integer = |b: &[u8]| {
        let b: Vec<u8> = b.iter().copied().skip_while(|x| *x == 0).collect();
        let p = if b[0] >= 0x80 { [&[0], b.as_slice()].concat() } else { b };
        [&[2, p.len() as u8], p.as_slice()].concat()
    };
    let both = [integer(&raw[..32]), integer(&raw[32..])].concat();
    let der = [&[0x30, both.len() as u8], both.as_slice()].concat();
    let enc = |b: &[u8]| URL_SAFE_NO_PAD.encode(b);
    let mut rows = vec![
        (format!("{}.{}.{}", parts[0], parts[1], enc(&der)), "signature-invalid"),
        (format!("{}.{}.{}", parts[0], parts[1], enc(&raw[..63])), "signature-invalid"),
    ];
    for kid in ["../../dev/null", "' OR 1=1 --", "\u{1b}[31m"] {
        rows.push((issuer.minted(json!({ "kid": kid }), claims.clone()).await, "key-unknown"));
    }
    let dup = enc(b"{\"alg\":\"none\",\"alg\":\"ES256\",\"typ\":\"at+jwt\"}");
    rows.push((format!("{dup}.{}.{}", parts[1], parts[2]), "member-doubled"));
    for (token, reason) in rows {
        let answer = get_with(&gateway, ORDER, &token).await;
        assert_refused(&gateway, &answer, "token-invalid", reason, &token).await;
    }
    assert!(!gateway.log.text().contains('\u{1b}'));
    assert!(vendor.seen().is_empty());
}

/// What is refused before anybody asks who it is has its reason in the request's line.
#[tokio::test(flavor = "multi_thread")]
async fn path_tricks_are_logged_with_their_reason() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = gateway(&issuer, vendor.address, "").await;
    for path in ["/v/a%2Fb", "/v/a/../b", "/v/%2565", "/v/a;x", "/v/a%5Cb", "/v/a//b"] {
        let answer = get(&gateway, path, "").await;
        assert_eq!(answer.slug(), "path-ambiguous", "{path}");
        let id = answer.field("x-correlation-id").expect("an id");
        let members = [("event", "request".into()), ("correlation_id", id.into())];
        let line = gateway.log.line(&members).await;
        assert_eq!(
            (&line["refusal"], &line["reason"]),
            (&"path-ambiguous".into(), &answer.json()["detail"])
        );
    }
}
