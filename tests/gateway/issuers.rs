//! Issuers that rotate, fall silent, lie or are asked by everybody at once.

use crate::support::issuer::{Issuer, ORDERS, TENANT, folder, gateway, get_with, policy_of};
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Folder, UnderTest, Vendor};
use serde_json::{Value, json};
use std::sync::Arc;

const ORDER: &str = "/v/orders/7";

async fn status(gateway: &UnderTest, token: &str) -> (u16, String) {
    let answer = get_with(gateway, ORDER, token).await;
    let slug = if answer.status == 200 { String::new() } else { answer.slug() };
    (answer.status, slug)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_is_taken_up_at_once_and_the_old_one_is_gone() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = gateway(&issuer, vendor.address, "").await;
    let old = issuer.token("erp-prod", "orders:read", "").await;
    assert_eq!(status(&gateway, &old).await.0, 200);
    issuer.control(json!({ "rotate": TENANT })).await;
    let new = issuer.token("erp-prod", "orders:read", "").await;
    // Its key is unknown here: the request waits for the one refresh.
    assert_eq!(status(&gateway, &new).await, (200, String::new()));
    // What was verified by the key that is gone is verified again, and no more.
    assert_eq!(status(&gateway, &old).await, (401, "token-invalid".to_owned()));
    assert_eq!(issuer.key_fetches().await, 2);
    let metric = "erpgate_jwks_refreshes_total{issuer=\"corporate\",result=\"success\"} ";
    assert_eq!(gateway.metric(metric).await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_keys_make_one_refresh_for_everybody() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = Arc::new(gateway(&issuer, vendor.address, "").await);
    let good = issuer.token("erp-prod", "orders:read", "").await;
    assert_eq!(status(&gateway, &good).await.0, 200);
    let claims = json!({ "client_id": "erp-prod", "scope": "orders:read" });
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..20 {
        let header = json!({ "kid": format!("unknown-{client}") });
        let token = issuer.minted(header, claims.clone()).await;
        let gateway = gateway.clone();
        clients.spawn(async move {
            let mut raw = gateway.connect().await.bare();
            for _ in 0..50 {
                raw.send(format!(
                    "GET {ORDER} HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {token}\r\n\r\n"
                ))
                .await;
                assert_eq!(raw.answer().await.slug(), "token-invalid");
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("refused each time");
    }
    assert_eq!(issuer.key_fetches().await, 2, "one at the start, one for all of them");
    assert_eq!(status(&gateway, &good).await.0, 200);
    assert_eq!(vendor.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_first_seen_tokens_are_no_herd() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    // All at once, before the first keys are there.
    issuer.control(json!({ "slow_ms": 500 })).await;
    let gateway = Arc::new(gateway(&issuer, vendor.address, "").await);
    issuer.control(json!({ "slow_ms": 0 })).await;
    let seed = issuer.token("erp-prod", "orders:read", "").await;
    let tokens: Arc<Vec<String>> = Arc::new(distinct(&seed, 10_000));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..50 {
        let (gateway, tokens) = (gateway.clone(), tokens.clone());
        clients.spawn(async move {
            let mut raw = gateway.connect().await.bare();
            for token in tokens.iter().skip(client).step_by(50) {
                raw.send(format!(
                    "GET {ORDER} HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {token}\r\n\r\n"
                ))
                .await;
                let answer = raw.answer().await;
                assert_eq!(answer.slug(), "token-invalid", "no false accept");
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("answered");
    }
    assert_eq!(status(&gateway, &seed).await.0, 200);
    assert!(issuer.key_fetches().await <= 2);
    assert_eq!(vendor.seen().len(), 1);
}

/// Tokens of the same key whose signature does not hold: each one has to be looked at.
fn distinct(seed: &str, count: usize) -> Vec<String> {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let parts: Vec<&str> = seed.split('.').collect();
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).expect("base64")).expect("JSON");
    let token = |number: usize| {
        let mut claims = claims.clone();
        claims["jti"] = format!("forged-{number}").into();
        format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2])
    };
    (0..count).map(token).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_down_at_first_is_unavailable() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let token = issuer.token("erp-prod", "orders:read", "").await;
    issuer.control(json!({ "down": true })).await;
    let gateway = gateway(&issuer, vendor.address, "").await;
    let answer = get_with(&gateway, ORDER, &token).await;
    assert_eq!((answer.status, answer.slug().as_str()), (503, "issuer-unavailable"));
    let seconds: u64 = answer.field("retry-after").expect("a time").parse().expect("a number");
    assert!((1..=36).contains(&seconds), "{seconds}");
    assert_eq!(answer.json()["retryable"], true);
    gateway.log.line(&[("event", "keys-unavailable".into())]).await;
    let ready = gateway.admin_get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("issuer corporate: no keys"), "{}", ready.text());
    issuer.control(json!({ "down": false })).await;
    // It is asked again after the cool-down; who starts now does not have to wait for that.
    let trusting = crate::support::issuer::gateway(&issuer, vendor.address, "").await;
    assert_eq!(status(&trusting, &token).await.0, 200);
    assert!(!trusting.admin_get("/readyz").await.text().contains("issuer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn good_keys_outlive_an_issuer_that_is_down_slow_or_lies() {
    for trouble in [
        json!({ "down": true }),
        json!({ "slow_ms": 60_000 }),
        json!({ "status": 500 }),
        json!({ "lie": "empty-jwks" }),
        json!({ "lie": "not-json" }),
        json!({ "lie": "html" }),
        json!({ "lie": "oct-key" }),
        json!({ "lie": "weak-key" }),
        json!({ "lie": "private-key" }),
        json!({ "lie": "half" }),
        json!({ "lie": "huge" }),
        json!({ "lie": "redirect" }),
    ] {
        let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
        let gateway = gateway(&issuer, vendor.address, "").await;
        let good = issuer.token("erp-prod", "orders:read", "").await;
        assert_eq!(status(&gateway, &good).await.0, 200, "{trouble}");
        let claims = json!({ "client_id": "erp-prod", "scope": "orders:read" });
        let unknown = issuer.minted(json!({ "kid": "unknown" }), claims).await;
        issuer.control(trouble.clone()).await;
        // It asks for a refresh, which gives nothing.
        assert_eq!(status(&gateway, &unknown).await.1, "issuer-unavailable", "{trouble}");
        let fresh = issuer.control(json!({})).await;
        assert_eq!(fresh["requests"][TENANT]["moved"].as_u64().unwrap_or(0), 0, "{trouble}");
        assert_eq!(status(&gateway, &good).await.0, 200, "{trouble}");
        // Tokens that nobody has seen yet are verified by the keys that are left.
        issuer.control(json!({ "down": false, "slow_ms": 0, "status": null, "lie": null })).await;
        let unseen = issuer.token("erp-prod", "orders:read", "&expires_in=1800").await;
        issuer.control(trouble.clone()).await;
        assert_eq!(status(&gateway, &unseen).await.0, 200, "{trouble}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubled_kid_verifies_nothing() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    issuer.control(json!({ "lie": "duplicate-kid" })).await;
    let gateway = gateway(&issuer, vendor.address, "").await;
    let token = issuer.token("erp-prod", "orders:read", "").await;
    // A set in which a name means two keys is none.
    assert_eq!(status(&gateway, &token).await.1, "issuer-unavailable");
    assert!(vendor.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_found_by_discovery_and_only_those_of_this_issuer() {
    for (lie, expected) in [(None, 200), (Some("wrong-issuer"), 503)] {
        let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
        issuer.control(json!({ "lie": lie })).await;
        let folder = folder(&issuer, vendor.address, "");
        let config = folder.read("gateway.toml");
        let without = config.lines().filter(|line| !line.starts_with("jwks_uri"));
        folder.write("gateway.toml", &without.collect::<Vec<_>>().join("\n"));
        let gateway = UnderTest::start_in(folder).await;
        let token = issuer.token("erp-prod", "orders:read", "").await;
        assert_eq!(status(&gateway, &token).await.0, expected, "{lie:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_issuers_habits_are_known() {
    for accept in ["rfc9068", "entra", "auth0", "keycloak", "okta", "plain"] {
        let (issuer, vendor) = (Issuer::shaped(accept).await, Vendor::fine().await);
        let mut lines = format!("accept = \"{accept}\"\n");
        if accept == "plain" {
            lines.push_str("client_claims = [\"sub\"]\n");
        }
        let gateway = gateway(&issuer, vendor.address, &lines).await;
        let token = issuer.token("erp-prod", "orders:read", "").await;
        assert_eq!(status(&gateway, &token).await, (200, String::new()), "{accept}");
        // An ID token for somebody else's client, and one that only lacks `aud`.
        let claims = json!({ "aud": "erp-prod", "nonce": "n" });
        let id_token = issuer.minted(json!({}), claims).await;
        assert_eq!(status(&gateway, &id_token).await.1, "token-invalid", "{accept}");
    }
}

fn asking(issuer: &Issuer, vendor: &Vendor) -> Folder {
    let url = issuer.url();
    let introspection = format!(
        "[[issuer]]\nname = \"{TENANT}\"\naudiences = [\"erp-gateway\"]\n\
         introspection = {{ url = \"{url}/introspect\", client_id = \"erpgate\", \
         client_secret = {{ file = \"secret\" }} }}\n"
    );
    let server = "[server]\nfailed_auth_rate = \"100000/minute\"\n";
    let route = to_vendor(vendor.address, "", "");
    let folder = Folder::with(&format!("{server}{HEAD}{introspection}{route}"));
    folder.write("secret", "sandbox");
    folder.write("policies/erp.toml", &policy_of(ORDERS));
    folder
}

async fn asked(issuer: &Issuer) -> u64 {
    let state = issuer.control(json!({})).await;
    state["requests"][TENANT]["introspect"].as_u64().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn opaque_tokens_are_asked_about_once() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = Arc::new(UnderTest::start_in(asking(&issuer, &vendor)).await);
    let token = issuer.token("erp-prod", "orders:read", "&format=opaque").await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (gateway, token) = (gateway.clone(), token.clone());
        clients.spawn(async move { status(&gateway, &token).await });
    }
    while let Some(client) = clients.join_next().await {
        assert_eq!(client.expect("answered"), (200, String::new()));
    }
    assert_eq!(asked(&issuer).await, 1);
    let line = gateway.log.line(&[("scheme", "opaque".into())]).await;
    assert_eq!(line["identity"], "corporate/erp-prod");
    // A wrong one, too, is asked about once in a while.
    for _ in 0..20 {
        assert_eq!(status(&gateway, "unheard-of").await, (401, "token-invalid".to_owned()));
    }
    assert_eq!(asked(&issuer).await, 2);
    let unscoped = issuer.token("erp-prod", "orders:write", "&format=opaque").await;
    assert_eq!(status(&gateway, &unscoped).await.1, "scope-missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_does_not_say_yes_has_said_no() {
    for (trouble, slug) in [
        (json!({ "status": 500 }), "issuer-unavailable"),
        (json!({ "down": true }), "issuer-unavailable"),
        (json!({ "lie": "html" }), "issuer-unavailable"),
        (json!({ "lie": "not-json" }), "issuer-unavailable"),
        (json!({ "lie": "half" }), "issuer-unavailable"),
        (json!({ "lie": "redirect" }), "issuer-unavailable"),
        (json!({ "lie": "huge" }), "issuer-unavailable"),
        (json!({ "lie": "active-string" }), "token-invalid"),
    ] {
        let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
        let gateway = UnderTest::start_in(asking(&issuer, &vendor)).await;
        let token = issuer.token("erp-prod", "orders:read", "&format=opaque").await;
        issuer.control(trouble.clone()).await;
        let answer = get_with(&gateway, ORDER, &token).await;
        assert_eq!(answer.slug(), slug, "{trouble}");
        assert_eq!(answer.field("retry-after").is_some(), slug == "issuer-unavailable");
        assert!(vendor.seen().is_empty(), "{trouble}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_to_its_own_issuer_only() {
    let (issuer, other, vendor) =
        (Issuer::start().await, Issuer::start().await, Vendor::fine().await);
    let folder = asking(&issuer, &vendor);
    let trusted = other.trusted("").replace(&format!("\"{TENANT}\""), "\"other\"");
    folder.write("gateway.toml", &format!("{}{trusted}", folder.read("gateway.toml")));
    let gateway = UnderTest::start_in(folder).await;
    // A JWT of an issuer that has keys, and one of nobody's.
    let theirs = other.token("erp-prod", "orders:read", "").await;
    let nobodys = other.minted(json!({}), json!({ "iss": "https://nobody.test" })).await;
    assert_eq!(status(&gateway, &theirs).await.1, "client-unknown");
    assert_eq!(status(&gateway, &nobodys).await.1, "token-invalid");
    assert_eq!(asked(&issuer).await, 0);
    assert_eq!(asked(&other).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_with_other_rules_keeps_its_keys() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = gateway(&issuer, vendor.address, "").await;
    let token = issuer.token("erp-prod", "orders:read", "").await;
    assert_eq!(status(&gateway, &token).await.0, 200);
    // A change of something else keeps the keys.
    let config = gateway.folder.read("gateway.toml");
    gateway.folder.write("gateway.toml", &format!("[log]\nredact_query = [\"x\"]\n{config}"));
    gateway.serving.gateway.state.reload("admin").await;
    assert_eq!(status(&gateway, &token).await.0, 200);
    assert_eq!(issuer.key_fetches().await, 1);
    // Another audience: what was verified for the old one is not for this one.
    gateway.folder.write("gateway.toml", &config.replace("[\"erp-gateway\"]", "[\"another\"]"));
    gateway.serving.gateway.state.reload("admin").await;
    assert_eq!(status(&gateway, &token).await.1, "token-invalid");
    // The keys are the same.
    assert_eq!(issuer.key_fetches().await, 1);
}
