//! Tries every lie over real sockets: what is told, and what stays true.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::IdentityProvider;
use super::trial::{introspect, keys, mint, start, start_one, tenant, token, verify, verify_with};
use crate::sandbox::raw_client::{Client, Got, control};

const DISCOVERY: &str = "/t/.well-known/openid-configuration";

async fn lying(lie: &str) -> IdentityProvider {
    let provider = start_one("rfc9068").await;
    let state = control(&provider, &json!({ "lie": lie }).to_string()).await;
    assert_eq!(state["lie"], lie);
    provider
}

async fn get(provider: &IdentityProvider, path: &str) -> Got {
    Client::connect(provider).await.ask("GET", path, "", "").await
}

/// What the three documents answer, in the same order.
async fn documents(provider: &IdentityProvider) -> [Got; 3] {
    let form = "client_id=erpgate&client_secret=sandbox&token=x";
    let mut client = Client::connect(provider).await;
    [
        get(provider, DISCOVERY).await,
        get(provider, "/t/jwks").await,
        client.form("/t/introspect", "", form).await,
    ]
}

#[tokio::test]
async fn a_jwks_may_be_empty() {
    let provider = lying("empty-jwks").await;
    assert!(keys(&provider, "t").await.is_empty());
    control(&provider, r#"{"lie":null}"#).await;
    assert_eq!(keys(&provider, "t").await.len(), 1);
}

#[tokio::test]
async fn a_symmetric_key_signs_what_is_minted_with_it() {
    let provider = lying("oct-key").await;
    let published = keys(&provider, "t").await;
    assert_eq!(published.len(), 2);
    let oct = &published[0];
    assert_eq!((&oct["kty"], &oct["kid"]), (&json!("oct"), &json!("t-oct")));
    let secret = BASE64_URL_SAFE_NO_PAD.decode(oct["k"].as_str().unwrap()).unwrap();
    let minted = mint(&provider, json!({"tenant": "t", "alg": "HS256"})).await;
    let (message, signature) = minted.rsplit_once('.').unwrap();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    aws_lc_rs::hmac::verify(&key, message.as_bytes(), &signature).unwrap();
    assert!(verify(&token(&provider, "t", "").await, &published));
}

#[tokio::test]
async fn a_weak_key_bears_the_name_of_the_right_one() {
    let provider = lying("weak-key").await;
    let published = keys(&provider, "t").await;
    assert_eq!(published.len(), 1);
    assert_eq!((&published[0]["kty"], &published[0]["kid"]), (&json!("RSA"), &json!("t-1")));
    let modulus = BASE64_URL_SAFE_NO_PAD.decode(published[0]["n"].as_str().unwrap()).unwrap();
    assert_eq!((modulus.len() * 8, modulus[0] >> 7), (1024, 1));
}

#[tokio::test]
async fn private_halves_are_given_away() {
    let provider = start(vec![tenant("t", "plain", &["RS256", "ES384", "EdDSA"])]).await;
    control(&provider, r#"{"lie":"private-key"}"#).await;
    let published = keys(&provider, "t").await;
    let lengths: Vec<usize> = published
        .iter()
        .map(|key| BASE64_URL_SAFE_NO_PAD.decode(key["d"].as_str().unwrap()).unwrap().len())
        .collect();
    assert_eq!(lengths[1..], [48, 32]);
    assert!((250..=256).contains(&lengths[0]), "{lengths:?}");
    assert!(verify(&token(&provider, "t", "").await, &published));
}

#[tokio::test]
async fn two_keys_may_have_one_name_even_after_a_rotation() {
    let provider = lying("duplicate-kid").await;
    for kid in ["t-1", "t-2"] {
        let published = keys(&provider, "t").await;
        let kids: Vec<&Value> = published.iter().map(|key| &key["kid"]).collect();
        assert_eq!(kids, [kid, kid]);
        let token = token(&provider, "t", "").await;
        assert!(!verify_with(&token, &published[0]) && verify_with(&token, &published[1]));
        control(&provider, r#"{"rotate":true}"#).await;
    }
}

#[tokio::test]
async fn metadata_and_introspection_may_name_another_issuer() {
    let provider = lying("wrong-issuer").await;
    let wrong = "https://wrong-issuer.sandbox.invalid";
    assert_eq!(get(&provider, DISCOVERY).await.json()["issuer"], wrong);
    let valid = token(&provider, "t", "").await;
    assert_eq!(introspect(&provider, "t", &valid).await["iss"], wrong);
    assert_eq!(introspect(&provider, "t", "x").await, json!({"active": false}));
}

#[tokio::test]
async fn introspection_may_answer_in_texts() {
    let provider = lying("active-string").await;
    let valid = token(&provider, "t", "").await;
    assert_eq!(introspect(&provider, "t", &valid).await["active"], "true");
    assert_eq!(introspect(&provider, "t", "x").await, json!({"active": "false"}));
}

#[tokio::test]
async fn documents_may_be_no_json_or_a_page_for_people() {
    for (lie, media) in [("not-json", "application/json"), ("html", "text/html;charset=utf-8")] {
        let provider = lying(lie).await;
        for got in documents(&provider).await {
            assert_eq!((got.status, got.header("content-type")), (200, Some(media)), "{lie}");
            assert!(serde_json::from_slice::<Value>(&got.body).is_err(), "{lie}");
        }
        // The token endpoint tells no lies.
        token(&provider, "t", "").await;
    }
}

#[tokio::test]
async fn documents_may_be_huge_and_still_true() {
    let provider = lying("huge").await;
    let [discovery, jwks, said] = documents(&provider).await;
    for got in [&discovery, &jwks, &said] {
        assert!(got.body.len() > 8 << 20);
    }
    assert_eq!(said.json(), json!({"active": false}));
    let token = token(&provider, "t", "").await;
    assert!(verify(&token, jwks.json()["keys"].as_array().unwrap()));
}

#[tokio::test]
async fn a_redirect_leads_to_the_right_answer_and_is_counted() {
    let provider = lying("redirect").await;
    for (got, name) in documents(&provider).await.iter().zip(["discovery", "jwks", "introspect"]) {
        let url = format!("{}/moved/{name}", provider.tenant_url("t"));
        assert_eq!((got.status, got.header("location")), (307, Some(url.as_str())));
    }
    let requests = |state: &Value| state["requests"]["t"].clone();
    let state = control(&provider, "{}").await;
    let counts = json!({"discovery": 1, "jwks": 1, "token": 0, "introspect": 1, "moved": 0});
    assert_eq!(requests(&state), counts);
    assert_eq!(get(&provider, "/t/moved/jwks").await.json()["keys"][0]["kid"], "t-1");
    assert_eq!(get(&provider, "/t/moved/discovery").await.status, 200);
    let state = control(&provider, "{}").await;
    assert_eq!(requests(&state)["moved"], 2);
}

#[tokio::test]
async fn half_a_document_ends_before_its_end() {
    let provider = lying("half").await;
    for path in [DISCOVERY, "/t/jwks"] {
        let mut client = Client::connect(&provider).await;
        client.send("GET", path, "", "").await;
        let head = client.head().await.unwrap();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        assert_eq!(client.rest().await.unwrap().len(), length / 2, "{path}");
    }
    assert_eq!(control(&provider, "{}").await["in_flight"], 0);
}

#[tokio::test]
async fn documents_may_answer_with_any_status() {
    let provider = start_one("okta").await;
    assert_eq!(control(&provider, r#"{"status":503}"#).await["status"], 503);
    for got in documents(&provider).await {
        assert_eq!(got.status, 503);
    }
    token(&provider, "t", "").await;
    assert_eq!(control(&provider, r#"{"status":null}"#).await["status"], Value::Null);
    for got in documents(&provider).await {
        assert_eq!(got.status, 200);
    }
}
