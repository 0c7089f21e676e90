//! Says whether a token is valid, and what it says (RFC 7662).

use http::header::CACHE_CONTROL;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::directory::{Directory, now_secs};
use super::form::{Form, Refused};
use super::jws;
use super::lies::{Lie, WRONG_ISSUER};
use super::tenant::Profile;
use crate::sandbox::answer::{Answer, Media};

/// Answers an introspection request.
///
/// # Errors
/// The refusal, if the caller is nobody or asks about nothing.
pub fn introspect(
    directory: &Directory,
    profile: &Profile,
    headers: &HeaderMap,
    body: &[u8],
    lie: Option<Lie>,
) -> Result<Answer, Refused> {
    let form = Form::read(headers, body)?;
    form.client(headers)?;
    let token = form.member("token").ok_or_else(|| Refused::bad("invalid_request", "no token"))?;
    let mut said = match valid_claims(directory, profile, token, now_secs()) {
        Some(claims) => describe(&claims),
        None => Map::from_iter([("active".to_owned(), Value::Bool(false))]),
    };
    match lie {
        Some(Lie::ActiveString) => {
            let active = said.get("active").map(Value::to_string);
            said.insert("active".to_owned(), json!(active));
        }
        Some(Lie::WrongIssuer) if said.contains_key("iss") => {
            said.insert("iss".to_owned(), WRONG_ISSUER.into());
        }
        _ => {}
    }
    let answer = Answer::json(StatusCode::OK, Media::Json, &said.into());
    Ok(answer.with(CACHE_CONTROL, "no-store"))
}

/// The claims of a token of this tenant's that is valid now.
fn valid_claims(
    directory: &Directory,
    profile: &Profile,
    token: &str,
    now_secs: i64,
) -> Option<Map<String, Value>> {
    if directory.is_revoked(token) {
        return None;
    }
    let claims = match directory.recall(profile, token) {
        Some(claims) => claims,
        None => {
            let unverified = jws::read(token)?;
            let keys = directory.published(profile);
            let named = unverified.header.get("alg").and_then(Value::as_str);
            keys.iter().find(|key| {
                named == Some(key.algorithm().name())
                    && key.verifies(unverified.message, &unverified.signature)
            })?;
            unverified.claims
        }
    };
    let secs = |name| claims.get(name).and_then(Value::as_i64);
    let begun = secs("nbf").is_none_or(|begins| begins <= now_secs);
    let over = secs("exp").is_none_or(|ends| ends <= now_secs);
    (begun && !over).then_some(claims)
}

/// All claims, and those of RFC 7662 in its own words whatever the shape calls them.
fn describe(claims: &Map<String, Value>) -> Map<String, Value> {
    let mut said = Map::from_iter([("active".to_owned(), Value::Bool(true))]);
    said.extend(claims.clone());
    // A minted token may claim anything, but this is ours to say.
    said.insert("active".to_owned(), Value::Bool(true));
    let client = ["client_id", "azp", "cid", "sub"].iter().find_map(|name| claims.get(*name));
    let scope = match (claims.get("scope"), claims.get("scp").and_then(Value::as_array)) {
        (None, Some(list)) => {
            let words: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            Some(words.join(" ").into())
        }
        (scope, _) => scope.cloned(),
    };
    let username = claims.get("preferred_username").cloned();
    for (name, value) in [
        ("scope", scope),
        ("client_id", client.cloned()),
        ("username", username),
        ("token_type", Some("Bearer".into())),
    ] {
        if let Some(value) = value {
            said.insert(name.to_owned(), value);
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::describe;
    use serde_json::{Value, json};

    #[test]
    fn the_words_are_those_of_the_standard_whatever_the_shape() {
        let said = |claims: Value| Value::from(describe(claims.as_object().unwrap()));
        assert_eq!(
            said(json!({"iss": "i", "cid": "shop", "sub": "s", "scp": ["a", "b"]})),
            json!({
                "active": true, "iss": "i", "cid": "shop", "sub": "s", "scp": ["a", "b"],
                "scope": "a b", "client_id": "shop", "token_type": "Bearer",
            })
        );
        let claims = json!({"azp": "shop", "typ": "Bearer", "scope": "a", "active": false});
        let keycloak = said(claims);
        assert_eq!((&keycloak["active"], &keycloak["client_id"]), (&json!(true), &json!("shop")));
        assert_eq!((&keycloak["scope"], &keycloak["typ"]), (&json!("a"), &json!("Bearer")));
        assert_eq!(said(json!({"sub": "s"}))["client_id"], "s");
    }
}
