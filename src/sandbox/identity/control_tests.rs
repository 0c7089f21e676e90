//! Tries the provider's control endpoint and life cycle over real sockets.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::trial::{
    GRANT, introspect, keys, mint, parts, signed, start, start_one, tenant, token, verify,
};
use crate::sandbox::raw_client::{Client, control, in_time, wait_until};

const CONTROL: &str = "/_sandbox/control";

#[tokio::test]
async fn control_is_served_on_both_listeners_and_can_reset() {
    let provider = start_one("rfc9068").await;
    let fresh = control(&provider, "{}").await;
    assert_eq!(
        fresh,
        json!({
            "requests": {
                "t": {"discovery": 0, "jwks": 0, "token": 0, "introspect": 0, "moved": 0},
            },
            "kids": {"t": ["t-1"]}, "in_flight": 0, "peak_in_flight": 0, "opaque_tokens": 0,
            "revoked_tokens": 0, "slow_ms": 0, "status": null, "lie": null, "down": false,
        })
    );
    let valid = token(&provider, "t", "&format=opaque").await;
    let wish = json!({
        "rotate": "t", "keep_old": true, "slow_ms": 1, "status": 500, "lie": "html",
        "revoke": valid,
    });
    let mut client = Client::connect(&provider).await;
    let state = client.ask("PUT", CONTROL, "", &wish.to_string()).await.json();
    assert_eq!(state["kids"], json!({"t": ["t-2", "t-1"]}));
    assert_eq!((&state["slow_ms"], &state["status"]), (&json!(1), &json!(500)));
    assert_eq!((&state["lie"], &state["revoked_tokens"]), (&json!("html"), &json!(1)));
    assert_eq!((&state["opaque_tokens"], &state["peak_in_flight"]), (&json!(1), &json!(1)));
    assert_eq!(state["requests"]["t"]["token"], 1);
    assert_eq!(client.ask("POST", CONTROL, "", r#"{"reset":true}"#).await.json(), fresh);
    assert_eq!(client.ask("GET", CONTROL, "", "").await.json(), fresh);
    assert_eq!(client.ask("DELETE", CONTROL, "", "").await.status, 405);

    let mut second = Client::connect_control(&provider).await;
    assert!(provider.control_url().ends_with(CONTROL));
    assert_eq!(second.ask("GET", CONTROL, "", "").await.json(), fresh);
    assert_eq!(second.ask("GET", "/t/jwks", "", "").await.status, 404);
}

#[tokio::test]
async fn a_mistake_changes_nothing() {
    let provider = start_one("plain").await;
    let fresh = control(&provider, "{}").await;
    let mut client = Client::connect_control(&provider).await;
    for wish in [
        r#"{"slow_ms":5,"nonsense":1}"#,
        r#"{"slow_ms":5,"rotate":"nobody"}"#,
        r#"{"slow_ms":5,"rotate":true,"mint":{"tenant":"nobody"}}"#,
        r#"{"slow_ms":5,"mint":{"tenant":"t","alg":"RS256"}}"#,
        r#"{"slow_ms":5,"mint":{"tenant":"t","alg":"HS512"}}"#,
    ] {
        let got = client.ask("POST", CONTROL, "", wish).await;
        assert_eq!(got.status, 400, "{wish}");
        assert!(got.json()["error"].is_string(), "{wish}");
        assert_eq!(control(&provider, "{}").await, fresh, "{wish}");
    }
}

#[tokio::test]
async fn after_a_rotation_old_keys_go_or_stay() {
    let tenants = vec![tenant("a", "plain", &["ES256"]), tenant("b", "plain", &["EdDSA"])];
    let provider = start(tenants).await;
    let first = token(&provider, "a", "").await;
    let state = control(&provider, r#"{"rotate":"a"}"#).await;
    assert_eq!(state["kids"], json!({"a": ["a-2"], "b": ["b-1"]}));
    assert!(!verify(&first, &keys(&provider, "a").await));
    assert_eq!(introspect(&provider, "a", &first).await["active"], false);

    let second = token(&provider, "a", "").await;
    let state = control(&provider, r#"{"rotate":true,"keep_old":true}"#).await;
    assert_eq!(state["kids"], json!({"a": ["a-3", "a-2"], "b": ["b-2", "b-1"]}));
    let third = token(&provider, "a", "").await;
    assert_eq!(parts(&third).0["kid"], "a-3");
    let published = keys(&provider, "a").await;
    assert!(verify(&second, &published) && verify(&third, &published));
    assert_eq!(introspect(&provider, "a", &second).await["active"], true);

    // Back to the first keys; but a name that was used is never used for another key.
    let state = control(&provider, r#"{"reset":true}"#).await;
    assert_eq!(state["kids"], json!({"a": ["a-1"], "b": ["b-1"]}));
    assert!(verify(&first, &keys(&provider, "a").await));
    assert_eq!(control(&provider, r#"{"rotate":"a"}"#).await["kids"]["a"], json!(["a-4"]));
}

#[tokio::test]
async fn revoked_tokens_are_inactive() {
    let provider = start_one("okta").await;
    for format in ["", "&format=opaque"] {
        let valid = token(&provider, "t", format).await;
        assert_eq!(introspect(&provider, "t", &valid).await["active"], true);
        control(&provider, &json!({ "revoke": valid }).to_string()).await;
        assert_eq!(introspect(&provider, "t", &valid).await, json!({"active": false}));
    }
}

#[tokio::test]
async fn a_provider_that_is_down_refuses_connections_and_cuts_those_it_has() {
    let provider = start_one("rfc9068").await;
    let mut kept = Client::connect(&provider).await;
    assert_eq!(kept.ask("GET", "/t/jwks", "", "").await.status, 200);
    assert_eq!(control(&provider, r#"{"down":true}"#).await["down"], true);
    assert_eq!(kept.rest().await.unwrap(), b"");
    let refused = Client::try_connect(&provider).await.err().map(|error| error.kind());
    assert_eq!(refused, Some(std::io::ErrorKind::ConnectionRefused));
    assert_eq!(control(&provider, r#"{"reset":true}"#).await["down"], false);
    let mut again = Client::connect(&provider).await;
    assert_eq!(again.ask("GET", "/t/jwks", "", "").await.status, 200);
}

#[tokio::test]
async fn slow_answers_are_in_flight_together() {
    let provider = start_one("rfc9068").await;
    control(&provider, r#"{"slow_ms":600000}"#).await;
    let mut clients = Vec::new();
    for path in ["/t/jwks", "/t/.well-known/openid-configuration", "/t/jwks"] {
        let mut client = Client::connect(&provider).await;
        client.send("GET", path, "", "").await;
        clients.push(client);
    }
    wait_until(&provider, "in_flight", 3).await;
    drop(clients);
    wait_until(&provider, "in_flight", 0).await;
    assert_eq!(control(&provider, "{}").await["peak_in_flight"], 3);

    control(&provider, r#"{"slow_ms":30}"#).await;
    let begun = Instant::now();
    let mut client = Client::connect(&provider).await;
    assert_eq!(client.form("/t/token", "", GRANT).await.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn a_minted_token_says_whatever_it_is_told() {
    let provider = start(vec![tenant("t", "rfc9068", &["ES256", "EdDSA"])]).await;
    let published = keys(&provider, "t").await;
    let plain = mint(&provider, json!({"tenant": "t"})).await;
    assert!(verify(&plain, &published));
    let (header, claims) = parts(&plain);
    assert_eq!(header, json!({"alg": "ES256", "typ": "at+jwt", "kid": "t-1"}));
    assert_eq!((&claims["client_id"], &claims["aud"]), (&json!("minted"), &json!("api://erp")));
    assert_eq!(introspect(&provider, "t", &plain).await["active"], true);

    let odd = mint(
        &provider,
        json!({
            "tenant": "t", "alg": "EdDSA",
            "header": {"alg": "none", "kid": null, "crit": ["x"], "typ": "JWT"},
            "claims": {"jti": null, "exp": "soon", "roles": ["a"]},
        }),
    )
    .await;
    let (header, claims) = parts(&odd);
    assert_eq!(header, json!({"alg": "none", "typ": "JWT", "crit": ["x"]}));
    assert_eq!((claims.get("jti"), &claims["exp"]), (None, &json!("soon")));
    assert_eq!(claims["roles"], json!(["a"]));
    // Signed by the key of that algorithm all the same, but nobody would say that it is active.
    assert!(signed(&odd, &published[1], "EdDSA"));
    assert_eq!(introspect(&provider, "t", &odd).await["active"], false);

    let order = json!({"tenant": "t", "alg": "EdDSA", "header": {"alg": "ES256", "kid": "t-1"}});
    let lied = mint(&provider, order).await;
    assert!(!verify(&lied, &published) && signed(&lied, &published[1], "EdDSA"));
    assert_eq!(introspect(&provider, "t", &lied).await["active"], false);

    // A key rotated in the same change signs already.
    let wish = r#"{"rotate":true,"mint":{"tenant":"t"}}"#;
    let state = control(&provider, wish).await;
    assert_eq!(parts(state["minted"].as_str().unwrap()).0["kid"], "t-2");
}

#[tokio::test]
async fn unsigned_tokens_and_secrets_of_choice() {
    let provider = start_one("okta").await;
    let unsigned = mint(&provider, json!({"tenant": "t", "alg": "none"})).await;
    assert!(unsigned.ends_with('.'), "{unsigned}");
    let (header, _) = parts(&unsigned);
    assert_eq!(header, json!({"alg": "none"}));
    let secret = json!({
        "tenant": "t", "alg": "HS256", "secret": "public key", "header": {"kid": "t-1"},
    });
    let confused = mint(&provider, secret).await;
    assert_eq!(parts(&confused).0, json!({"alg": "HS256", "kid": "t-1"}));
    for token in [unsigned, confused] {
        assert_eq!(introspect(&provider, "t", &token).await, json!({"active": false}));
    }
}

#[tokio::test]
async fn a_stopped_provider_is_gone_with_its_connections() {
    let provider = start_one("plain").await;
    assert_eq!(provider.base_url(), format!("http://{}", provider.address()));
    let mut client = Client::connect(&provider).await;
    let state: Value = client.ask("GET", CONTROL, "", "").await.json();
    assert_eq!(state["down"], false);
    in_time(provider.stop()).await;
    assert_eq!(client.rest().await.unwrap(), b"");
}
