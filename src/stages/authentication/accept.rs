//! Which tokens are access tokens: what the common issuers write into `typ` and claims, and what
//! tells their access tokens from their ID tokens (RFC 8725 §3.11, §3.12).

use super::denial::Why;
use serde_json::{Map, Value};

/// Whose habits an issuer's tokens follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accept {
    /// RFC 9068: `typ` is `at+jwt`.
    #[default]
    Rfc9068,
    /// Microsoft Entra ID, version 1.0 and 2.0 access tokens.
    Entra,
    /// Auth0, both of its token profiles.
    Auth0,
    /// Keycloak.
    Keycloak,
    /// Okta custom authorization servers.
    Okta,
    /// Whatever has `iss`, `aud` and `exp`.
    Plain,
}

struct Preset {
    /// Values of `typ`, in lower case; the empty one stands for none.
    types: &'static [&'static str],
    /// Claims that have to be there, beside `iss`, `aud` and `exp`.
    claims: &'static [&'static str],
    /// Claims that no access token has.
    foreign: &'static [&'static str],
    client_claims: &'static [&'static str],
    scope_claims: &'static [&'static str],
}

/// What stands in ID tokens, logout tokens, security events and DPoP proofs only.
const FOREIGN: &[&str] = &["nonce", "at_hash", "c_hash", "s_hash", "events", "htm", "htu"];
const CLIENT: &[&str] = &["client_id", "azp"];
const SCOPE: &[&str] = &["scope", "scp"];

impl Accept {
    fn preset(self) -> Preset {
        let plain = Preset {
            types: &["", "jwt", "at+jwt"],
            claims: &[],
            foreign: FOREIGN,
            client_claims: CLIENT,
            scope_claims: SCOPE,
        };
        match self {
            Accept::Rfc9068 => {
                Preset { types: &["at+jwt"], claims: &["sub", "client_id", "iat", "jti"], ..plain }
            }
            Accept::Entra => Preset {
                types: &["jwt"],
                claims: &["iat", "nbf", "sub", "tid", "ver"],
                client_claims: &["azp", "appid"],
                scope_claims: &["scp", "roles"],
                ..plain
            },
            Accept::Auth0 => Preset { types: &["jwt", "at+jwt"], claims: &["sub", "iat"], ..plain },
            Accept::Keycloak => Preset {
                // A client can be set to get the second one.
                types: &["jwt", "at+jwt"],
                claims: &["iat", "jti", "azp"],
                // Older releases write `nonce` into access tokens too; `typ` among the claims
                // tells them apart.
                foreign: &["at_hash", "c_hash", "s_hash", "events", "htm", "htu"],
                client_claims: &["azp", "client_id"],
                ..plain
            },
            // Its org server types its own `application/okta-internal-at+jwt`: for Okta alone.
            Accept::Okta => Preset {
                types: &["", "jwt"],
                claims: &["iat", "jti", "cid", "sub", "ver"],
                client_claims: &["cid"],
                scope_claims: &["scp"],
                ..plain
            },
            Accept::Plain => plain,
        }
    }

    /// The claims that name the client, where the configuration says nothing else.
    pub fn client_claims(self) -> &'static [&'static str] {
        self.preset().client_claims
    }

    /// The claims that hold the scopes, where the configuration says nothing else.
    pub fn scope_claims(self) -> &'static [&'static str] {
        self.preset().scope_claims
    }

    /// Checks `typ`; media types are compared without regard to case, and with or without
    /// `application/` (RFC 7515 §4.1.9).
    ///
    /// # Errors
    /// `type-wrong`.
    pub fn check_type(self, typ: Option<&Value>) -> Result<(), Why> {
        let typ = match typ {
            None => String::new(),
            Some(Value::String(typ)) if !typ.is_empty() => typ.to_ascii_lowercase(),
            Some(_) => return Err(Why::TypeWrong),
        };
        let typ = typ.strip_prefix("application/").unwrap_or(&typ);
        if self.preset().types.contains(&typ) { Ok(()) } else { Err(Why::TypeWrong) }
    }

    /// Checks that the claims are those of an access token.
    ///
    /// # Errors
    /// `claim-missing`, `not-an-access-token`.
    pub fn check_claims(self, claims: &Map<String, Value>) -> Result<(), Why> {
        let preset = self.preset();
        if preset.foreign.iter().any(|claim| claims.contains_key(*claim)) {
            return Err(Why::NotAnAccessToken);
        }
        if self == Accept::Keycloak && claims.get("typ").and_then(Value::as_str) != Some("Bearer") {
            return Err(Why::NotAnAccessToken);
        }
        let missing = |claim: &&&str| claims.get(**claim).is_none_or(Value::is_null);
        match preset.claims.iter().find(missing) {
            Some(_) => Err(Why::ClaimMissing),
            None => Ok(()),
        }
    }

    /// The presets by the names that the configuration gives them.
    pub const NAMED: [(&'static str, Accept); 6] = [
        ("rfc9068", Accept::Rfc9068),
        ("entra", Accept::Entra),
        ("auth0", Accept::Auth0),
        ("keycloak", Accept::Keycloak),
        ("okta", Accept::Okta),
        ("plain", Accept::Plain),
    ];
}
