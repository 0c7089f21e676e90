//! Issues access tokens to clients for their own account (RFC 6749 §4.4).

use aws_lc_rs::rand;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::directory::Directory;
use super::form::{Form, Refused};
use super::jws;
use super::keys::{Algorithm, base64url};
use super::tenant::Profile;
use crate::sandbox::answer::{Answer, Media};

/// How long a token is valid if nothing else is asked for.
pub const VALID_SECS: i64 = 3600;

/// Answers a token request.
///
/// Beside the standard members a form may have some for tests: `audience`, `expires_in` (seconds,
/// also negative), `alg`, `format=opaque` or `token_type_hint=opaque`, and `cnf_x5t_s256`.
///
/// # Errors
/// The refusal, if the request is not as it should be.
pub fn issue(
    directory: &Directory,
    profile: &Profile,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Answer, Refused> {
    let form = Form::read(headers, body)?;
    let client_id = form.client(headers)?;
    match form.member("grant_type") {
        Some("client_credentials") => {}
        Some(_) => return Err(Refused::bad("unsupported_grant_type", "only client_credentials")),
        None => return Err(Refused::bad("invalid_request", "no grant_type")),
    }
    let invalid = |name| Refused::bad("invalid_request", format!("`{name}` makes no sense"));

    let valid_secs = match form.member("expires_in") {
        Some(text) => text.parse().map_err(|_| invalid("expires_in"))?,
        None => VALID_SECS,
    };
    let mut grant = directory.grant(profile, &client_id, valid_secs);
    for scope in form.member("scope").unwrap_or_default().split_ascii_whitespace() {
        if !grant.scopes.iter().any(|granted| granted == scope) {
            grant.scopes.push(scope.to_owned());
        }
    }
    if let Some(audience) = form.member("audience") {
        grant.audiences = vec![audience.to_owned()];
    }
    grant.thumbprint = form.member("cnf_x5t_s256").map(str::to_owned);

    let claims = profile.shape.claims(&grant);
    let opaque = ["format", "token_type_hint"].map(|name| form.member(name) == Some("opaque"));
    let token = if opaque.contains(&true) {
        let token = random().ok_or_else(Refused::broken)?;
        directory.remember(profile, &token, claims);
        token
    } else {
        let algorithm = match form.member("alg") {
            Some(name) => Some(Algorithm::named(name).ok_or_else(|| invalid("alg"))?),
            None => None,
        };
        let key = directory.signing(profile, algorithm).ok_or_else(|| invalid("alg"))?;
        let header = profile.shape.header(key.algorithm().name(), key.kid());
        let sign = |message: &[u8]| key.sign(message);
        jws::write(header, claims, sign).map_err(|_| Refused::broken())?
    };
    Ok(granted(&token, valid_secs, &grant.scopes))
}

/// The token comes first, so that a shell can cut it out.
fn granted(token: &str, valid_secs: i64, scopes: &[String]) -> Answer {
    let mut body = Map::new();
    for (name, value) in [
        ("access_token", token.into()),
        ("token_type", "Bearer".into()),
        ("expires_in", valid_secs.into()),
        ("scope", if scopes.is_empty() { Value::Null } else { json!(scopes.join(" ")) }),
    ] {
        if !value.is_null() {
            body.insert(name.to_owned(), value);
        }
    }
    Answer::json(StatusCode::OK, Media::Json, &body.into()).with(CACHE_CONTROL, "no-store")
}

fn random() -> Option<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).ok()?;
    Some(base64url(&bytes))
}
