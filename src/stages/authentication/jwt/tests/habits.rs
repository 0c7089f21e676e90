//! What the common issuers' access tokens look like, and what tells them from ID tokens.

use super::{Idp, NOW, header, policy, verified, with};
use crate::stages::authentication::accept::Accept;
use crate::stages::authentication::denial::Why;
use crate::stages::authentication::jwt::Policy;
use serde_json::json;

#[test]
fn issuers_have_habits_of_their_own() {
    let idp = Idp::new();
    let base = json!({
        "iss": "https://idp.test", "aud": "gw", "exp": NOW + 300, "iat": NOW, "nbf": NOW,
        "sub": "s", "jti": "1",
    });
    let entra = json!({ "tid": "t", "ver": "2.0", "azp": "app", "roles": ["r"] });
    let keycloak = json!({ "typ": "Bearer", "azp": "app", "scope": "email", "nonce": "n" });
    let okta = json!({ "ver": 1, "cid": "app", "scp": ["custom"] });
    for (accept, typ, more, expected) in [
        (Accept::Entra, Some("JWT"), entra.clone(), Ok("app")),
        (Accept::Entra, Some("at+jwt"), entra.clone(), Err(Why::TypeWrong)),
        (
            Accept::Entra,
            Some("JWT"),
            with(entra.clone(), json!({ "nonce": "n" })),
            Err(Why::NotAnAccessToken),
        ),
        (
            Accept::Entra,
            Some("JWT"),
            with(entra.clone(), json!({ "azp": null, "appid": "v1" })),
            Ok("v1"),
        ),
        (Accept::Entra, Some("JWT"), with(entra, json!({ "azp": null })), Err(Why::ClaimMissing)),
        (
            Accept::Auth0,
            Some("JWT"),
            json!({ "azp": "app", "gty": "client-credentials" }),
            Ok("app"),
        ),
        (Accept::Auth0, Some("at+jwt"), json!({ "client_id": "app" }), Ok("app")),
        (Accept::Keycloak, Some("JWT"), keycloak.clone(), Ok("app")),
        (
            Accept::Keycloak,
            Some("JWT"),
            with(keycloak.clone(), json!({ "typ": "ID" })),
            Err(Why::NotAnAccessToken),
        ),
        (
            Accept::Keycloak,
            Some("JWT"),
            with(keycloak, json!({ "typ": "Refresh" })),
            Err(Why::NotAnAccessToken),
        ),
        (Accept::Okta, None, okta.clone(), Ok("app")),
        (Accept::Okta, None, with(okta, json!({ "cid": null })), Err(Why::ClaimMissing)),
        (Accept::Plain, None, json!({ "client_id": "app" }), Ok("app")),
        (Accept::Plain, Some("logout+jwt"), json!({ "client_id": "app" }), Err(Why::TypeWrong)),
        (
            Accept::Plain,
            None,
            json!({ "client_id": "app", "c_hash": "x" }),
            Err(Why::NotAnAccessToken),
        ),
    ] {
        let claims_of = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let policy = Policy {
            accept,
            client_claims: claims_of(accept.client_claims()),
            scope_claims: claims_of(accept.scope_claims()),
            ..policy()
        };
        let token =
            idp.token(&with(header(), json!({ "typ": typ })), &with(base.clone(), more.clone()));
        let found = verified(&token, &policy, &idp.keys()).map(|facts| facts.client_id);
        assert_eq!(found.as_deref().map_err(|why| *why), expected, "{accept:?} {more}");
    }
}
