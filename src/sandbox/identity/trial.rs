//! Starts a provider for tests, and checks its tokens as a stranger would: by its documents alone.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{IdentityOptions, IdentityProvider, Tenant};
use crate::sandbox::raw_client::{Client, control};

/// What a client sends for a token.
pub const GRANT: &str = "grant_type=client_credentials&client_id=shop&client_secret=sandbox";

pub fn tenant(name: &str, shape: &str, algorithms: &[&str]) -> Tenant {
    Tenant {
        name: name.to_owned(),
        issuer: None,
        audiences: vec!["api://erp".to_owned()],
        shape: shape.to_owned(),
        algorithms: algorithms.iter().map(|name| (*name).to_owned()).collect(),
    }
}

pub async fn start(tenants: Vec<Tenant>) -> IdentityProvider {
    let listen = "127.0.0.1:0".parse().unwrap();
    IdentityProvider::start(IdentityOptions { listen, tenants }).await.unwrap()
}

/// One tenant `t` with a key that is made quickly.
pub async fn start_one(shape: &str) -> IdentityProvider {
    start(vec![tenant("t", shape, &["ES256"])]).await
}

/// Asks for a token with more members in the form.
pub async fn token(provider: &IdentityProvider, tenant: &str, more: &str) -> String {
    let mut client = Client::connect(provider).await;
    let got = client.form(&format!("/{tenant}/token"), "", &format!("{GRANT}{more}")).await;
    assert_eq!(got.status, 200, "{}", String::from_utf8_lossy(&got.body));
    got.json()["access_token"].as_str().unwrap().to_owned()
}

/// Has a token made by the control endpoint.
pub async fn mint(provider: &IdentityProvider, order: Value) -> String {
    let state = control(provider, &json!({ "mint": order }).to_string()).await;
    state["minted"].as_str().unwrap().to_owned()
}

/// The keys that a tenant publishes.
pub async fn keys(provider: &IdentityProvider, tenant: &str) -> Vec<Value> {
    let mut client = Client::connect(provider).await;
    let got = client.ask("GET", &format!("/{tenant}/jwks"), "", "").await;
    assert_eq!(got.status, 200);
    got.json()["keys"].as_array().unwrap().clone()
}

pub async fn introspect(provider: &IdentityProvider, tenant: &str, token: &str) -> Value {
    let mut client = Client::connect(provider).await;
    let form = format!("client_id=erpgate&client_secret=sandbox&token={token}");
    let got = client.form(&format!("/{tenant}/introspect"), "", &form).await;
    assert_eq!(got.status, 200);
    got.json()
}

/// A token's header and claims, not checked.
pub fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(bytes);
    let mut next = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (next(), next())
}

/// Whether the key of that name among `keys` made the token's signature.
pub fn verify(token: &str, keys: &[Value]) -> bool {
    let (header, _) = parts(token);
    keys.iter().find(|key| key["kid"] == header["kid"]).is_some_and(|key| verify_with(token, key))
}

/// Whether `key` made the token's signature, by the algorithm in the token's header.
pub fn verify_with(token: &str, key: &Value) -> bool {
    signed(token, key, parts(token).0["alg"].as_str().unwrap())
}

/// Whether `key` made the token's signature by the algorithm of that name.
pub fn signed(token: &str, key: &Value, name: &str) -> bool {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (message, signature) = (message.as_bytes(), bytes(signature));
    let number = |name: &str| bytes(key[name].as_str().unwrap());
    if let "RS256" | "PS256" = name {
        let components = PublicKeyComponents { n: number("n"), e: number("e") };
        let algorithm =
            if name == "RS256" { &RSA_PKCS1_2048_8192_SHA256 } else { &RSA_PSS_2048_8192_SHA256 };
        return components.verify(algorithm, message, &signature).is_ok();
    }
    let (algorithm, point): (&dyn VerificationAlgorithm, _) = match name {
        "ES256" => (&ECDSA_P256_SHA256_FIXED, [vec![4], number("x"), number("y")].concat()),
        "ES384" => (&ECDSA_P384_SHA384_FIXED, [vec![4], number("x"), number("y")].concat()),
        "EdDSA" => (&ED25519, number("x")),
        _ => return false,
    };
    UnparsedPublicKey::new(algorithm, point).verify(message, &signature).is_ok()
}

fn bytes(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}
