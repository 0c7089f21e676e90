//! Writes the documents that a tenant publishes: its metadata and its keys.

use http::StatusCode;
use http::header::CACHE_CONTROL;
use serde_json::{Map, Value, json};

use super::directory::Directory;
use super::keys::{base64url, members};
use super::lies::{Lie, OCT_SECRET, WEAK_MODULUS, WRONG_ISSUER};
use super::tenant::Profile;
use crate::sandbox::answer::{Answer, Media};

/// Answers with the metadata (RFC 8414 and OpenID Connect Discovery).
pub fn metadata(directory: &Directory, profile: &Profile, lie: Option<Lie>) -> Answer {
    let url = directory.url(profile);
    let issuer = match lie {
        Some(Lie::WrongIssuer) => WRONG_ISSUER.to_owned(),
        _ => directory.issuer(profile),
    };
    let algorithms: Vec<&str> =
        profile.algorithms.iter().map(|algorithm| algorithm.name()).collect();
    let client_secrets = ["client_secret_basic", "client_secret_post"];
    let document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/jwks"),
        "introspection_endpoint": format!("{url}/introspect"),
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
        "token_endpoint_auth_methods_supported": client_secrets,
        "introspection_endpoint_auth_methods_supported": client_secrets,
        "tls_client_certificate_bound_access_tokens": true,
    });
    published(&document)
}

/// Answers with the keys.
pub fn jwks(directory: &Directory, profile: &Profile, lie: Option<Lie>) -> Answer {
    let issuer = directory.issuer(profile);
    let dress = |jwk| Value::Object(profile.shape.dress(jwk, &issuer));
    let honest = directory.published(profile);
    let mut keys: Vec<Value> = honest.iter().map(|key| dress(key.jwk())).collect();
    keys.extend(profile.shape.companion(&profile.name).map(Value::Object));
    match lie {
        Some(Lie::EmptyJwks) => keys.clear(),
        Some(Lie::OctKey) => keys.insert(0, oct(profile).into()),
        Some(Lie::WeakKey) => {
            let kid = directory.signing(profile, None);
            keys = vec![weak(kid.as_ref().map_or("", |key| key.kid())).into()];
        }
        Some(Lie::PrivateKey) => {
            keys = honest.iter().map(|key| dress(key.private_jwk())).collect();
        }
        Some(Lie::DuplicateKid) => {
            let strangers = directory.strangers(profile);
            let doubles = strangers.iter().filter_map(|stranger| {
                let double = directory.signing(profile, Some(stranger.algorithm()))?;
                let mut jwk = stranger.jwk();
                jwk.insert("kid".to_owned(), double.kid().into());
                Some(dress(jwk))
            });
            keys = doubles.chain(keys).collect();
        }
        _ => {}
    }
    published(&json!({ "keys": keys }))
}

/// The name of the key of [`Lie::OctKey`].
pub fn oct_kid(profile: &Profile) -> String {
    format!("{}-oct", profile.name)
}

fn oct(profile: &Profile) -> Map<String, Value> {
    let (k, kid) = (base64url(OCT_SECRET), oct_kid(profile));
    members(&[("kty", "oct"), ("k", &k), ("use", "sig"), ("alg", "HS256"), ("kid", &kid)])
}

fn weak(kid: &str) -> Map<String, Value> {
    members(&[
        ("kty", "RSA"),
        ("n", WEAK_MODULUS),
        ("e", "AQAB"),
        ("use", "sig"),
        ("alg", "RS256"),
        ("kid", kid),
    ])
}

fn published(document: &Value) -> Answer {
    Answer::json(StatusCode::OK, Media::Json, document).with(CACHE_CONTROL, "max-age=600")
}
