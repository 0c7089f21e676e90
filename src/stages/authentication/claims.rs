//! The claims that count, of a JWT or of an introspection answer: who, for whom, until when, for
//! what.

use super::denial::Why;
use super::facts::Facts;
use super::jwt::Policy;
use crate::model::digest::Sha256;
use crate::model::scopes::{Scopes, is_scope};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// Later than any clock: seconds since 1970, beyond the year 9999.
const FOREVER: i64 = 1 << 38;

/// Reads the claims of a verified JWT (RFC 7519 §4.1, RFC 9068 §2.2).
///
/// # Errors
/// What is missing or wrong. Whether it has expired is not among them.
pub fn read(claims: &Map<String, Value>, policy: &Policy, now: i64) -> Result<Facts, Why> {
    if !has_audience(claims.get("aud"), &policy.audiences) {
        return Err(Why::AudienceWrong);
    }
    let expires = date(claims, "exp")?.ok_or(Why::ClaimMissing)?;
    from_parts(claims, policy, expires, now)
}

/// Whether `aud`, one text or a list of them, names one of ours.
pub fn has_audience(claim: Option<&Value>, ours: &[String]) -> bool {
    let is_ours = |audience: &Value| audience.as_str().is_some_and(|a| ours.iter().any(|o| o == a));
    match claim {
        Some(Value::Array(audiences)) => {
            audiences.iter().all(Value::is_string) && audiences.iter().any(is_ours)
        }
        Some(audience) => is_ours(audience),
        None => false,
    }
}

/// What both kinds of tokens have in common, `expires` being the moment in `exp`.
///
/// # Errors
/// As [`read`].
pub fn from_parts(
    claims: &Map<String, Value>,
    policy: &Policy,
    expires: i64,
    now: i64,
) -> Result<Facts, Why> {
    for claim in ["nbf", "iat"] {
        // RFC 7519 §4.1.5: it MUST NOT be accepted before.
        if date(claims, claim)?.is_some_and(|from| from > now.saturating_add(policy.leeway)) {
            return Err(Why::NotYetValid);
        }
    }
    if claims.get("sub").is_some_and(|sub| !sub.is_string()) {
        return Err(Why::ClaimMissing);
    }
    let client = policy.client_claims.iter().find_map(|name| claims.get(name));
    let client = client.and_then(Value::as_str).filter(|client| !client.is_empty());
    let scopes = policy.scope_claims.iter().find_map(|name| claims.get(name));
    Ok(Facts {
        issuer: policy.name.clone(),
        client_id: client.ok_or(Why::ClaimMissing)?.into(),
        scopes: scopes.map(read_scopes).transpose()?.unwrap_or_default(),
        expires: expires.saturating_add(policy.leeway),
        bound_to: claims.get("cnf").map(binding).transpose()?,
    })
}

/// A `NumericDate`, rounded down (RFC 7519 §2).
///
/// # Errors
/// `claim-missing` where it is no number, or none of a possible time.
pub fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, Why> {
    let Some(claim) = claims.get(name) else { return Ok(None) };
    let seconds = claim.as_f64().filter(|seconds| *seconds >= 0.0).ok_or(Why::ClaimMissing)?;
    // The conversion saturates.
    Ok(Some((seconds as i64).min(FOREVER)))
}

/// Scopes as one text with spaces (RFC 6749 §3.3), or as a list.
fn read_scopes(claim: &Value) -> Result<Scopes, Why> {
    let scope = |text: &str| match is_scope(text) {
        true => Ok(Box::from(text)),
        false => Err(Why::ScopeMalformed),
    };
    match claim {
        Value::String(text) => text.split(' ').filter(|text| !text.is_empty()).map(scope).collect(),
        Value::Array(list) => {
            list.iter().map(|item| scope(item.as_str().unwrap_or_default())).collect()
        }
        _ => Err(Why::ScopeMalformed),
    }
}

/// The certificate that a token is bound to (RFC 8705 §3.1). A token bound in another way, to a
/// DPoP key for one, is no bearer token (RFC 9449 §7.2).
fn binding(confirmation: &Value) -> Result<Sha256, Why> {
    let members = confirmation.as_object().ok_or(Why::BindingUnknown)?;
    if members.keys().any(|member| member != "x5t#S256") {
        return Err(Why::BindingUnknown);
    }
    let thumbprint = members.get("x5t#S256").and_then(Value::as_str);
    let octets = thumbprint.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let octets = octets.and_then(|octets| <[u8; 32]>::try_from(octets).ok());
    octets.map(Sha256).ok_or(Why::BindingUnknown)
}
