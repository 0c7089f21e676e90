//! `[[issuer]]` as a person typed it.

use super::at::At;
use super::secret::RawSecret;
use super::table::Section;
use super::text::DurationText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who makes tokens for clients.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawIssuer {
    /// Its name in policies, logs and metrics.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// What `iss` has to be, exactly; without `jwks_uri` and `jwks_file` its metadata are looked
    /// for there (RFC 8414, OpenID discovery).
    pub issuer: Option<At<String>>,
    /// Where its keys are: https, except on loopback addresses.
    pub jwks_uri: Option<At<String>>,
    /// A file with its keys, in place of `jwks_uri`.
    pub jwks_file: Option<At<String>>,
    /// A secret shared with it, for HS256, HS384 and HS512; excludes keys from a set.
    pub hmac_secret: Option<At<RawSecret>>,
    /// One of these has to be in `aud`.
    pub audiences: Option<At<Vec<At<String>>>>,
    /// What `alg` may be.
    #[schemars(extend("default" = ["RS256", "PS256", "ES256", "ES384", "EdDSA"]))]
    pub algorithms: Option<At<Vec<At<String>>>>,
    /// Which `typ` and claims are demanded.
    #[schemars(extend("default" = "rfc9068"))]
    pub accept: Option<At<RawAccept>>,
    /// How far clocks may be apart.
    #[schemars(extend("default" = "30s"))]
    pub leeway: Option<At<DurationText>>,
    /// The first of these claims that is present names the client.
    #[schemars(extend("default" = ["client_id", "azp"]))]
    pub client_claims: Option<At<Vec<At<String>>>>,
    /// The first of these claims that is present holds the scopes: a text with spaces, or a list.
    #[schemars(extend("default" = ["scope", "scp"]))]
    pub scope_claims: Option<At<Vec<At<String>>>>,
    /// The scopes that it grants, where they are known: `check` warns of rules that ask for
    /// another.
    pub scopes: Option<Vec<At<String>>>,
    /// Its introspection endpoint, for opaque tokens (RFC 7662).
    pub introspection: Option<Section<RawIntrospection>>,
}

/// Where opaque tokens are asked about, and as whom.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawIntrospection {
    /// The endpoint: https, except on loopback addresses.
    #[schemars(required)]
    pub url: Option<At<String>>,
    /// What the issuer calls the gateway.
    #[schemars(required)]
    pub client_id: Option<At<String>>,
    /// What proves the gateway to the issuer.
    #[schemars(required)]
    pub client_secret: Option<At<RawSecret>>,
}

/// Whose habits an issuer's tokens follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawAccept {
    /// RFC 9068: `typ` is `at+jwt`.
    Rfc9068,
    /// Microsoft Entra ID.
    Entra,
    /// Auth0.
    Auth0,
    /// Keycloak.
    Keycloak,
    /// Okta.
    Okta,
    /// Whatever has `iss`, `aud` and `exp`.
    Plain,
}
