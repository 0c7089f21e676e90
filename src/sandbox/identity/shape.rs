//! Writes access tokens for a client's own account the way that known providers write them.
//!
//! Only what a client-credentials token of a provider's default settings carries: no user, no
//! session, no refresh token.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value, json};
use uuid::{Builder, Uuid};

use super::keys::{base64url, members};

/// Whose tokens a tenant's look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The JWT profile for access tokens, RFC 9068.
    Rfc9068,
    /// Microsoft Entra ID, version 2.0.
    Entra,
    /// Auth0's own profile, its default.
    Auth0,
    /// Keycloak, a service account.
    Keycloak,
    /// Okta, a custom authorization server.
    Okta,
    /// No profile at all: the registered claims and a scope.
    Plain,
}

/// What a token says, before it has a shape.
#[derive(Debug, Clone)]
pub struct Grant {
    /// `iss`.
    pub issuer: String,
    /// The tenant's name.
    pub tenant: String,
    /// `aud`; none for a token without.
    pub audiences: Vec<String>,
    /// The client, which is the subject as well.
    pub client_id: String,
    /// Each once, in the order asked for.
    pub scopes: Vec<String>,
    /// When it is issued, in seconds since 1970.
    pub issued_secs: i64,
    /// When it ends, in seconds since 1970.
    pub expires_secs: i64,
    /// `x5t#S256` of the client certificate that the token is bound to.
    pub thumbprint: Option<String>,
}

impl Shape {
    const ALL: [Shape; 6] =
        [Shape::Rfc9068, Shape::Entra, Shape::Auth0, Shape::Keycloak, Shape::Okta, Shape::Plain];

    /// The shape of that name.
    pub fn named(name: &str) -> Option<Shape> {
        Shape::ALL.into_iter().find(|shape| shape.name() == name)
    }

    /// Its name in the options.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Rfc9068 => "rfc9068",
            Shape::Entra => "entra",
            Shape::Auth0 => "auth0",
            Shape::Keycloak => "keycloak",
            Shape::Okta => "okta",
            Shape::Plain => "plain",
        }
    }

    /// The header of a token.
    pub fn header(self, algorithm: &str, kid: &str) -> Map<String, Value> {
        let typ = match self {
            Shape::Rfc9068 => &[("typ", "at+jwt")][..],
            Shape::Okta => &[],
            Shape::Entra | Shape::Auth0 | Shape::Keycloak | Shape::Plain => &[("typ", "JWT")],
        };
        members(&[&[("alg", algorithm)], typ, &[("kid", kid)]].concat())
    }

    /// The claims of a token.
    pub fn claims(self, grant: &Grant) -> Map<String, Value> {
        let claims = match self {
            Shape::Rfc9068 => rfc9068(grant),
            Shape::Entra => entra(grant),
            Shape::Auth0 => auth0(grant),
            Shape::Keycloak => keycloak(grant),
            Shape::Okta => okta(grant),
            Shape::Plain => plain(grant),
        };
        let confirmation = grant.thumbprint.as_ref().map(|print| json!({ "x5t#S256": print }));
        let mut claims = object(claims);
        claims.insert("cnf".to_owned(), confirmation.into());
        // A claim without a value is not there at all.
        claims.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }

    /// A key as the provider publishes it.
    pub fn dress(self, mut jwk: Map<String, Value>, issuer: &str) -> Map<String, Value> {
        if self == Shape::Entra {
            // Its keys never say for which algorithm they are.
            jwk.shift_remove("alg");
            jwk.insert("issuer".to_owned(), issuer.into());
        }
        jwk
    }

    /// A key that the provider publishes beside those that sign.
    pub fn companion(self, tenant: &str) -> Option<Map<String, Value>> {
        (self == Shape::Keycloak).then(|| {
            let kid = format!("{tenant}-enc");
            members(&[
                ("kty", "RSA"),
                ("n", ENCRYPTION_MODULUS),
                ("e", "AQAB"),
                ("use", "enc"),
                ("alg", "RSA-OAEP"),
                ("kid", &kid),
            ])
        })
    }
}

/// A key of 2048 bits of which nobody has the other half: nothing is ever encrypted for it.
const ENCRYPTION_MODULUS: &str = "\
    lEwZFzx2o3bjnbV2HFmc4AO4F0ML2u0V4weS5vCrRdnTFbj9OmjNtQNpj24WBK4bWDT5d2rADdLquQaOpXg3J9\
    Y6PbJMTfpf777uEHnlGun8dfwLPK0kcM_7J-JrUfxpl69EAJCvLJa3SdA-dHETBcE4R-\
    kHIxLA2ONVmayizZhbJa2LJENnHB2MTQUIzb7Uv7a2Ns2CKdfZXaQrcbVFSXtsiCBlfNhApX0wrEwPFSazFpbi\
    kbsn7vXfXzcjDCc1AoWAgO-uoM6jnchDxx-\
    vu4jqHXpKiJ1edpkOcal73no1iEXkxqeMAKgkllnvPsM0P2YFTD9uZTrhv457qCBJRw";

fn rfc9068(grant: &Grant) -> Value {
    json!({
        "iss": grant.issuer,
        "exp": grant.expires_secs,
        "aud": grant.audience(),
        "sub": grant.client_id,
        "client_id": grant.client_id,
        "iat": grant.issued_secs,
        "jti": Uuid::now_v7().to_string(),
        "scope": grant.scope(),
    })
}

/// Permissions of an application are roles; `scp` is only for users.
fn entra(grant: &Grant) -> Value {
    let roles: Vec<&String> =
        grant.scopes.iter().filter(|scope| !scope.ends_with("/.default")).collect();
    let service_principal = guid(&[&grant.tenant, &grant.client_id]);
    json!({
        "aud": grant.audience(),
        "iss": grant.issuer,
        "iat": grant.issued_secs,
        "nbf": grant.issued_secs,
        "exp": grant.expires_secs,
        "azp": grant.client_id,
        "azpacr": "1",
        "oid": service_principal,
        "roles": if roles.is_empty() { Value::Null } else { json!(roles) },
        "sub": service_principal,
        "tid": guid(&[&grant.tenant]),
        "uti": base64url(Uuid::now_v7().as_bytes()),
        "ver": "2.0",
    })
}

fn auth0(grant: &Grant) -> Value {
    json!({
        "iss": grant.issuer,
        "sub": format!("{}@clients", grant.client_id),
        "aud": grant.audience(),
        "iat": grant.issued_secs,
        "exp": grant.expires_secs,
        "scope": grant.scope(),
        "gty": "client-credentials",
        "azp": grant.client_id,
    })
}

fn keycloak(grant: &Grant) -> Value {
    let realm_role = format!("default-roles-{}", grant.tenant);
    json!({
        "exp": grant.expires_secs,
        "iat": grant.issued_secs,
        "jti": format!("trrtcc:{}", Uuid::now_v7()),
        "iss": grant.issuer,
        "aud": grant.audience(),
        "sub": guid(&[&grant.tenant, &grant.client_id]),
        "typ": "Bearer",
        "azp": grant.client_id,
        "acr": "1",
        "realm_access": { "roles": [realm_role, "offline_access", "uma_authorization"] },
        // An empty text, not an absent one, for a client without scopes.
        "scope": grant.scopes.join(" "),
        "clientHost": "127.0.0.1",
        "email_verified": false,
        "preferred_username": format!("service-account-{}", grant.client_id.to_lowercase()),
        "clientAddress": "127.0.0.1",
        "client_id": grant.client_id,
    })
}

fn okta(grant: &Grant) -> Value {
    json!({
        "ver": 1,
        "jti": format!("AT.{}", base64url(&hash(&[&Uuid::now_v7().to_string()]))),
        "iss": grant.issuer,
        "aud": grant.audience(),
        "iat": grant.issued_secs,
        "exp": grant.expires_secs,
        "cid": grant.client_id,
        "scp": if grant.scopes.is_empty() { Value::Null } else { json!(grant.scopes) },
        "sub": grant.client_id,
    })
}

fn plain(grant: &Grant) -> Value {
    json!({
        "iss": grant.issuer,
        "sub": grant.client_id,
        "aud": grant.audience(),
        "iat": grant.issued_secs,
        "exp": grant.expires_secs,
        "scope": grant.scope(),
    })
}

impl Grant {
    fn scope(&self) -> Option<String> {
        (!self.scopes.is_empty()).then(|| self.scopes.join(" "))
    }

    /// A text for one audience, a list for several.
    fn audience(&self) -> Value {
        match self.audiences.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            several => json!(several),
        }
    }
}

/// A GUID that is the same for the same names.
fn guid(names: &[&str]) -> String {
    let mut bytes = [0; 16];
    for (byte, value) in bytes.iter_mut().zip(hash(names)) {
        *byte = value;
    }
    Builder::from_random_bytes(bytes).into_uuid().to_string()
}

fn hash(names: &[&str]) -> Vec<u8> {
    digest(&SHA256, names.join("\n").as_bytes()).as_ref().to_vec()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Grant, Shape};
    use serde_json::{Value, json};

    fn grant() -> Grant {
        Grant {
            issuer: "https://i.test".to_owned(),
            tenant: "t".to_owned(),
            audiences: vec!["api".to_owned()],
            client_id: "Shop".to_owned(),
            scopes: vec!["a".to_owned(), "b".to_owned()],
            issued_secs: 100,
            expires_secs: 400,
            thumbprint: None,
        }
    }

    #[test]
    fn each_shape_has_its_header_and_its_claims() {
        for (shape, typ, names) in [
            (Shape::Rfc9068, Some("at+jwt"), "iss exp aud sub client_id iat jti scope"),
            (Shape::Entra, Some("JWT"), "aud iss iat nbf exp azp azpacr oid roles sub tid uti ver"),
            (Shape::Auth0, Some("JWT"), "iss sub aud iat exp scope gty azp"),
            (
                Shape::Keycloak,
                Some("JWT"),
                "exp iat jti iss aud sub typ azp acr realm_access scope clientHost \
                 email_verified preferred_username clientAddress client_id",
            ),
            (Shape::Okta, None, "ver jti iss aud iat exp cid scp sub"),
            (Shape::Plain, Some("JWT"), "iss sub aud iat exp scope"),
        ] {
            assert_eq!(Shape::named(shape.name()), Some(shape));
            let header = shape.header("ES256", "k");
            assert_eq!(header.get("typ").and_then(Value::as_str), typ, "{shape:?}");
            assert_eq!((&header["alg"], &header["kid"]), (&json!("ES256"), &json!("k")));
            let claims = shape.claims(&grant());
            let found: Vec<&str> = claims.keys().map(String::as_str).collect();
            assert_eq!(found.join(" "), names, "{shape:?}");
            assert_eq!((&claims["iat"], &claims["exp"]), (&json!(100), &json!(400)));
            assert_eq!((&claims["iss"], &claims["aud"]), (&json!("https://i.test"), &json!("api")));
        }
    }

    #[test]
    fn what_the_providers_call_things() {
        let claims = |shape: Shape| Value::from(shape.claims(&grant()));
        assert_eq!(claims(Shape::Entra)["roles"], json!(["a", "b"]));
        assert_eq!(claims(Shape::Entra)["oid"], claims(Shape::Entra)["sub"]);
        assert_eq!(claims(Shape::Auth0)["sub"], "Shop@clients");
        assert_eq!(claims(Shape::Keycloak)["typ"], "Bearer");
        assert_eq!(claims(Shape::Keycloak)["preferred_username"], "service-account-shop");
        assert_eq!(claims(Shape::Okta)["scp"], json!(["a", "b"]));
        assert_eq!(claims(Shape::Plain)["scope"], "a b");
        let ids = [claims(Shape::Rfc9068)["jti"].clone(), claims(Shape::Rfc9068)["jti"].clone()];
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn what_is_not_granted_is_not_there() {
        let bare = Grant { audiences: Vec::new(), scopes: Vec::new(), ..grant() };
        for shape in Shape::ALL {
            let claims = shape.claims(&bare);
            for name in ["aud", "roles", "scp", "cnf"] {
                assert!(!claims.contains_key(name), "{shape:?} {name}");
            }
            let scope = claims.get("scope");
            assert_eq!(scope, (shape == Shape::Keycloak).then_some(&json!("")), "{shape:?}");
        }
        let default = vec!["api://x/.default".to_owned()];
        let claims = Shape::Entra.claims(&Grant { scopes: default, ..grant() });
        assert!(!claims.contains_key("roles"));
    }

    #[test]
    fn a_bound_token_and_one_for_two_audiences() {
        let audiences = vec!["a".to_owned(), "b".to_owned()];
        let bound = Grant { audiences, thumbprint: Some("print".to_owned()), ..grant() };
        for shape in Shape::ALL {
            let claims = shape.claims(&bound);
            assert_eq!(claims["aud"], json!(["a", "b"]));
            assert_eq!(claims["cnf"], json!({"x5t#S256": "print"}));
        }
    }
}
