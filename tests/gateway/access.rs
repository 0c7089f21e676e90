//! Who is let in and who is kept out: every attack meets its refusal, and the audit log says why.

use crate::support::issuer::{Issuer, gateway, get, get_with};
use crate::support::vendor::field;
use crate::support::{Answer, UnderTest, Vendor, key};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_secs()).expect("before the year 292e9")
}

/// The audit line of an answer.
async fn audit(gateway: &UnderTest, answer: &Answer) -> Value {
    let id = answer.field("x-correlation-id").expect("an id");
    gateway.log.line(&[("event", "audit".into()), ("correlation_id", id.into())]).await
}

/// Asserts slug, audit reason and that nobody but the log learns the reason.
pub async fn assert_refused(
    gateway: &UnderTest,
    answer: &Answer,
    slug: &str,
    reason: &str,
    what: &str,
) {
    let line = audit(gateway, answer).await;
    assert_eq!((answer.slug().as_str(), &line["reason"]), (slug, &reason.into()), "{what}: {line}");
    assert_eq!((&line["result"], &line["refusal"]), (&"refused".into(), &slug.into()), "{what}");
    let body = answer.json();
    assert_eq!((&body["executed"], &body["retryable"]), (&"no".into(), &false.into()), "{what}");
    if !slug.contains(reason) {
        assert!(!answer.text().contains(reason), "{what}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_what_its_scopes_and_policy_allow() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = gateway(&issuer, vendor.address, "").await;
    let token = issuer.token("erp-prod", "orders:read", "").await;
    let answer = get_with(&gateway, "/v/orders/7", &token).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
    let line = audit(&gateway, &answer).await;
    for (member, value) in [
        ("action", "access"),
        ("result", "allowed"),
        ("client", "erp"),
        ("scheme", "jwt"),
        ("identity", "corporate/erp-prod"),
        ("route", "r"),
        ("method", "GET"),
        ("path", "/v/orders/7"),
        ("rule", "erp.toml:6"),
    ] {
        assert_eq!(line[member], value, "{member}: {line}");
    }
    let seen = vendor.only();
    assert_eq!(field(&seen, "authorization"), None, "{seen}");
    let metric = "erpgate_authentications_total{result=\"accepted\",scheme=\"jwt\"} ";
    assert_eq!(gateway.metric(metric).await, 1.0);
    let refused = get_with(&gateway, "/v/invoices/7", &token).await;
    assert_refused(&gateway, &refused, "not-permitted", "no-rule", "another path").await;
    let unscoped = issuer.token("erp-prod", "orders:write", "").await;
    let refused = get_with(&gateway, "/v/orders/7", &unscoped).await;
    assert_refused(&gateway, &refused, "scope-missing", "scope-missing", "another scope").await;
    assert_eq!(
        refused.field("www-authenticate").as_deref(),
        Some("Bearer realm=\"erpgate\", error=\"insufficient_scope\", scope=\"orders:read\"")
    );
    let stranger = issuer.token("somebody", "orders:read", "").await;
    let refused = get_with(&gateway, "/v/orders/7", &stranger).await;
    assert_refused(&gateway, &refused, "client-unknown", "client-unknown", "no policy").await;
    assert_eq!(audit(&gateway, &refused).await["identity"], "corporate/somebody");
    for token in [token, unscoped, stranger] {
        assert!(!gateway.log.text().contains(&token), "no token in the log");
    }
}

/// JWS headers that no token may have, each with the reason that the audit log gives.
fn bad_headers() -> Vec<(Value, &'static str)> {
    vec![
        (json!({ "alg": "none" }), "algorithm-not-allowed"),
        (json!({ "alg": "nOnE" }), "algorithm-not-allowed"),
        (json!({ "alg": "HS256" }), "algorithm-not-allowed"),
        (json!({ "alg": "ES512" }), "algorithm-not-allowed"),
        (json!({ "alg": "RS256" }), "key-of-other-algorithm"),
        (json!({ "typ": "JWT" }), "type-wrong"),
        (json!({ "typ": null }), "type-wrong"),
        (json!({ "typ": "dpop+jwt" }), "type-wrong"),
        (json!({ "crit": ["exp"] }), "critical-header"),
        (json!({ "cty": "JWT" }), "token-nested"),
        (json!({ "jwk": { "kty": "EC" } }), "key-embedded"),
        (json!({ "jku": "http://127.0.0.1:1/keys" }), "key-embedded"),
        (json!({ "x5u": "http://127.0.0.1:1/cert" }), "key-embedded"),
        (json!({ "x5c": ["MIIB"] }), "key-embedded"),
        (json!({ "kid": null, "alg": "RS256" }), "key-unknown"),
    ]
}

/// Claims that no token may have, with slug and reason.
fn bad_claims(issuer: &str) -> Vec<(Value, &'static str, &'static str)> {
    vec![
        (json!({ "iss": "https://evil.test" }), "token-invalid", "issuer-unknown"),
        (json!({ "iss": format!("{}/", issuer) }), "token-invalid", "issuer-unknown"),
        (json!({ "iss": [issuer] }), "token-invalid", "issuer-unknown"),
        (json!({ "aud": "another" }), "token-invalid", "audience-wrong"),
        (json!({ "aud": null }), "token-invalid", "audience-wrong"),
        (json!({ "exp": null }), "token-invalid", "claim-missing"),
        (json!({ "exp": "tomorrow" }), "token-invalid", "claim-missing"),
        (json!({ "exp": now() - 31 }), "token-expired", "expired"),
        (json!({ "exp": now() - 31, "aud": "another" }), "token-invalid", "audience-wrong"),
        (json!({ "nbf": now() + 300 }), "token-invalid", "not-yet-valid"),
        (json!({ "iat": now() + 300 }), "token-invalid", "not-yet-valid"),
        (json!({ "jti": null }), "token-invalid", "claim-missing"),
        (json!({ "client_id": null }), "token-invalid", "claim-missing"),
        (json!({ "nonce": "of an ID token" }), "token-invalid", "not-an-access-token"),
        (json!({ "cnf": { "jkt": "x" } }), "token-invalid", "binding-unknown"),
        (
            json!({ "cnf": { "x5t#S256": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" } }),
            "token-invalid",
            "binding-broken",
        ),
        (json!({ "scope": ["a b"] }), "token-invalid", "scope-malformed"),
    ]
}

/// Texts that are no token, though made of a good one.
fn bad_texts(good: &str) -> Vec<(String, &'static str, &'static str)> {
    let parts: Vec<&str> = good.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    vec![
        (format!("{head}.{body}.{}", "A".repeat(86)), "signature-invalid", "zeros"),
        (format!("{head}.{body}."), "signature-invalid", "an empty signature"),
        (format!("{head}.{body}.{signature}AAAA"), "signature-invalid", "a longer one"),
        (format!("{head}.{body}"), "token-malformed", "two parts"),
        (format!("{good}.a.b"), "token-encrypted", "five parts"),
        (format!("{head}.{body}.{signature}=="), "token-malformed", "padding"),
        (format!("{head}.{}.{signature}", "A".repeat(9000)), "token-too-long", "huge"),
        ("not-a-jwt".to_owned(), "token-opaque", "an opaque token that nobody is asked about"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_token_attack_meets_its_refusal() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = gateway(&issuer, vendor.address, "").await;
    let good = issuer.token("erp-prod", "orders:read", "").await;
    let good_claims = json!({ "client_id": "erp-prod", "scope": "orders:read" });
    let with = |more: Value| {
        let mut claims = good_claims.clone();
        claims.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
        claims
    };
    let mut rows: Vec<(String, &str, &str, String)> = Vec::new();
    for (header, reason) in bad_headers() {
        let token = issuer.minted(header.clone(), good_claims.clone()).await;
        rows.push((token, "token-invalid", reason, header.to_string()));
    }
    for (claims, slug, reason) in bad_claims(&issuer.url()) {
        let token = issuer.minted(json!({}), with(claims.clone())).await;
        rows.push((token, slug, reason, claims.to_string()));
    }
    let unsigned = issuer.minted_by(json!({ "alg": "none", "claims": good_claims })).await;
    rows.push((unsigned, "token-invalid", "algorithm-not-allowed", "no signature".to_owned()));
    let secret = format!("{}/jwks", issuer.url());
    let hmac = json!({ "alg": "HS256", "secret": secret, "claims": good_claims });
    let hmac = issuer.minted_by(hmac).await;
    rows.push((hmac, "token-invalid", "algorithm-not-allowed", "a public secret".to_owned()));
    for (token, reason, what) in bad_texts(&good) {
        rows.push((token, "token-invalid", reason, what.to_owned()));
    }
    // The rows again, so that nothing depends on what is remembered.
    for (token, slug, reason, what) in rows.iter().chain(&rows) {
        let answer = get_with(&gateway, "/v/orders/7", token).await;
        assert_refused(&gateway, &answer, slug, reason, what).await;
        assert_eq!(answer.status, 401, "{what}");
        assert_eq!(
            answer.field("www-authenticate").as_deref(),
            Some("Bearer realm=\"erpgate\", error=\"invalid_token\""),
            "{what}"
        );
    }
    assert_eq!(get_with(&gateway, "/v/orders/7", &good).await.status, 200);
    assert_eq!(vendor.seen().len(), 1, "nothing else has reached the vendor");
    // One for the start, one for the unknown keys.
    assert!(issuer.key_fetches().await <= 2);
}

type BadField = (String, u16, &'static str, &'static str, &'static str);

/// Fields, with the status, slug, reason and challenge that they meet.
fn bad_fields(token: &str, good: &str, other: &str) -> Vec<BadField> {
    let plain = "Bearer realm=\"erpgate\"";
    let invalid = "Bearer realm=\"erpgate\", error=\"invalid_token\"";
    let request = "Bearer realm=\"erpgate\", error=\"invalid_request\"";
    vec![
        (String::new(), 401, "credentials-missing", "credentials-missing", plain),
        (format!("X-API-Key: {other}\r\n"), 401, "token-invalid", "key-not-listed", plain),
        (format!("X-API-Key: {good}x\r\n"), 401, "token-invalid", "key-malformed", plain),
        ("X-API-Key: hunter2\r\n".to_owned(), 401, "token-invalid", "key-malformed", plain),
        ("X-API-Key:\r\n".to_owned(), 401, "token-invalid", "key-malformed", plain),
        (
            format!("Authorization: Bearer {other}\r\n"),
            401,
            "token-invalid",
            "key-not-listed",
            invalid,
        ),
        (
            "Authorization: Bearer a b\r\n".to_owned(),
            401,
            "token-invalid",
            "authorization-malformed",
            invalid,
        ),
        (
            "Authorization: Basic dXNlcjpwYXNz\r\n".to_owned(),
            401,
            "token-invalid",
            "authorization-malformed",
            plain,
        ),
        ("Authorization: Digest x\r\n".to_owned(), 401, "token-invalid", "scheme-unknown", plain),
        (
            format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n"),
            400,
            "credentials-ambiguous",
            "field-doubled",
            request,
        ),
        (
            format!("X-API-Key: {good}\r\nX-API-Key: {good}\r\n"),
            400,
            "credentials-ambiguous",
            "field-doubled",
            request,
        ),
        // The token is erp's, the key is the tester's.
        (
            format!("Authorization: Bearer {token}\r\nX-API-Key: {good}\r\n"),
            400,
            "credentials-ambiguous",
            "two-clients",
            request,
        ),
        // Both would do, but one of them is no good: it is not left unsaid.
        (
            format!("Authorization: Bearer {token}\r\nX-API-Key: {other}\r\n"),
            401,
            "token-invalid",
            "key-not-listed",
            plain,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn other_credentials_meet_theirs() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = gateway(&issuer, vendor.address, "").await;
    let token = issuer.token("erp-prod", "orders:read", "").await;
    let good = key();
    let other = erpgate::stages::authentication::api_key::make([8; 32]);
    for (fields, status, slug, reason, challenge) in bad_fields(&token, &good, &other) {
        let answer = get(&gateway, "/v/orders/7", &fields).await;
        assert_refused(&gateway, &answer, slug, reason, &fields).await;
        assert_eq!(answer.status, status, "{fields}");
        assert_eq!(answer.field("www-authenticate").as_deref(), Some(challenge), "{fields}");
    }
    let both = format!("Authorization: Bearer {token}\r\n");
    let answer = get(&gateway, "/v/orders/7?access_token=x", &both).await;
    assert_refused(&gateway, &answer, "credentials-ambiguous", "token-in-query", "query").await;
    let answer = get(&gateway, "/v/orders/7?access_token=x", "").await;
    assert_refused(&gateway, &answer, "credentials-missing", "credentials-missing", "query").await;
    assert!(vendor.seen().is_empty());
    for secret in [good, other, token] {
        assert!(!gateway.log.text().contains(&secret), "no credential in the log");
    }
    assert!(!gateway.log.text().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_wherever_a_sdk_puts_it() {
    use base64::Engine;
    let vendor = Vendor::fine().await;
    let profile = "profile = \"./mine.toml\"";
    let config = crate::support::under_test::to_vendor(vendor.address, profile, "");
    let folder =
        crate::support::Folder::with(&format!("{}{config}", crate::support::under_test::HEAD));
    folder.write("mine.toml", "key_headers = [\"X-Shopify-Access-Token\"]\n");
    let gateway = UnderTest::start_in(folder).await;
    let key = key();
    let basic = |pair: String| base64::engine::general_purpose::STANDARD.encode(pair);
    let fields = [
        format!("X-API-Key: {key}"),
        format!("x-api-key: {key}"),
        format!("Authorization: Bearer {key}"),
        format!("Authorization: bearer {key}"),
        format!("Authorization: Basic {}", basic(format!("{key}:"))),
        format!("Authorization: Basic {}", basic(format!("shop:{key}"))),
        format!("X-Shopify-Access-Token: {key}"),
    ];
    for field in &fields {
        let answer = get(&gateway, "/v/a", &format!("{field}\r\n")).await;
        assert_eq!(answer.status, 200, "{field}: {}", answer.text());
        assert_eq!(audit(&gateway, &answer).await["scheme"], "api-key", "{field}");
    }
    // What a program behind could take for it ends here too.
    let spelled = format!("X-API-Key: {key}\r\nX_Shopify_Access_Token: {key}\r\n");
    assert_eq!(get(&gateway, "/v/a", &spelled).await.status, 200);
    for seen in vendor.seen() {
        for gone in ["authorization", "x-api-key", "x-shopify-access-token"] {
            assert_eq!(field(&seen, gone), None, "{seen}");
        }
        assert!(!seen.contains(&key));
    }
    assert!(!gateway.log.text().contains(&key));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_client_sends_poses_as_the_gateway() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let fields = "Client-Cert: :AAAA:\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-User: root\r\n\
                  x_forwarded_for: 1.1.1.1\r\nForwarded: for=1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\n\
                  X-Forwarded-Client-Cert: By=x\r\nIdempotency-Replayed: true\r\n\
                  X-Original-Correlation-ID: x\r\nCookie: session=1\r\nX-Mine: kept\r\n";
    let request = format!("GET /v/a HTTP/1.1\r\nHost: gw.test\r\n{fields}\r\n");
    assert_eq!(gateway.send(request).await.status, 200);
    let seen = vendor.only();
    let names: Vec<String> = seen
        .lines()
        .skip(1)
        .filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase()))
        .collect();
    for gone in fields.lines().filter_map(|line| line.split_once(':')) {
        let gone = gone.0.to_ascii_lowercase();
        assert_eq!(names.contains(&gone), gone == "x-mine", "{gone}: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_can_get_the_clients_own_authorization() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let lines = "credentials.own = { kind = \"passthrough\" }";
    let config =
        crate::support::under_test::to_vendor(vendor.address, lines, "credential = \"own\"");
    let trusted = issuer.trusted("");
    let folder = crate::support::Folder::with(&format!(
        "{}{trusted}{config}",
        crate::support::under_test::HEAD
    ));
    let gateway = UnderTest::start_in(folder).await;
    let fields = format!("X-API-Key: {}\r\nAuthorization: Custom anything\r\n", key());
    assert_eq!(get(&gateway, "/v/a", &fields).await.status, 200);
    let seen = vendor.only();
    assert_eq!(field(&seen, "authorization").as_deref(), Some("Custom anything"));
    assert_eq!(field(&seen, "x-api-key"), None);
    // It proves nothing to the gateway.
    let fields = format!("Authorization: Bearer {}\r\n", key());
    let answer = get(&gateway, "/v/a", &fields).await;
    assert_refused(&gateway, &answer, "credentials-missing", "credentials-missing", "alone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_limited_before_any_signature_is_looked_at() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let folder = crate::support::issuer::folder(&issuer, vendor.address, "");
    let config = folder.read("gateway.toml").replace("100000/minute", "3/minute");
    folder.write("gateway.toml", &config);
    let gateway = UnderTest::start_in(folder).await;
    let known = issuer.token("erp-prod", "orders:read", "").await;
    let unseen = issuer.token("erp-prod", "orders:read", "&expires_in=1800").await;
    assert_eq!(get_with(&gateway, "/v/orders/7", &known).await.status, 200);
    assert_eq!(get_with(&gateway, "/v/a", &key()).await.status, 200);
    for _ in 0..3 {
        let answer = get_with(&gateway, "/v/orders/7", "not-a-token").await;
        assert_eq!(answer.slug(), "token-invalid");
    }
    for token in ["not-a-token", unseen.as_str(), "egk_nonsense"] {
        let answer = get_with(&gateway, "/v/orders/7", token).await;
        assert_eq!((answer.status, answer.slug().as_str()), (429, "rate-limited"));
        let seconds: u64 = answer.field("retry-after").expect("a time").parse().expect("a number");
        assert!((1..=20).contains(&seconds), "one every 20 seconds: {seconds}");
        assert_eq!(answer.json()["retry_after"], seconds);
        assert_eq!(answer.json()["retryable"], true);
    }
    // What was right before is not kept out.
    assert_eq!(get_with(&gateway, "/v/orders/7", &known).await.status, 200);
    assert_eq!(get_with(&gateway, "/v/a", &key()).await.status, 200);
    // Not even after a reload.
    gateway.serving.gateway.state.reload("admin").await;
    assert_eq!(get_with(&gateway, "/v/orders/7", &known).await.status, 200);
    assert_eq!(get_with(&gateway, "/v/a", &key()).await.status, 200);
}
