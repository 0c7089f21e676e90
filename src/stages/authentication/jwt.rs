//! Decides whether a JWT is an access token of an issuer, by RFC 7519, 8725 and 9068.
//!
//! Never follows what a token says about where its key is. Refuses with a [`Why`]; gives
//! [`Facts`], which say nothing yet about whose certificate the token is bound to or whether it
//! has expired: those are asked again on each request.

use super::accept::Accept;
use super::claims;
use super::denial::Why;
use super::facts::Facts;
use super::keys::{self, KeySet};
use super::strict_json::{self, Unfit};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Longest token that is looked into, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// What is demanded of an issuer's tokens; made by the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The issuer's name in the configuration.
    pub name: Arc<str>,
    /// What `iss` has to be, exactly. Of an introspecting issuer it may be left out.
    pub issuer: Option<String>,
    /// One of these has to be in `aud`.
    pub audiences: Vec<String>,
    /// What `alg` may be.
    pub algorithms: Vec<Algorithm>,
    /// Which `typ` and claims are demanded.
    pub accept: Accept,
    /// How far clocks may be apart, in seconds.
    pub leeway: i64,
    /// The first of these that is present names the client.
    pub client_claims: Vec<String>,
    /// The first of these that is present holds the scopes.
    pub scope_claims: Vec<String>,
}

/// A token taken apart, of which nothing is verified.
#[derive(Debug)]
pub struct Unverified<'t> {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    /// The octets that are signed.
    signed: &'t str,
    signature: &'t str,
}

/// Characters of a header that are enough to tell one: whole groups of four.
const BEGINNING: usize = 64;

/// Whether a token means to be a JWT, well made or not: then nobody else is asked about it.
pub fn is_jwt(token: &str) -> bool {
    let Some((header, _)) = token.split_once('.') else { return false };
    // Its beginning says it: every request asks.
    let beginning = header.as_bytes().get(..BEGINNING).unwrap_or(header.as_bytes());
    let mut octets = [0; BEGINNING];
    let decoded = URL_SAFE_NO_PAD.decode_slice(beginning, &mut octets).unwrap_or(0);
    octets.get(..decoded).is_some_and(|octets| octets.trim_ascii_start().starts_with(b"{"))
}

/// Takes a token apart: three parts of canonical base64url, header and claims JSON objects that
/// nobody can read differently (RFC 7515 §5.2).
///
/// # Errors
/// What is wrong with its form.
pub fn take_apart(token: &str) -> Result<Unverified<'_>, Why> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Why::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Why::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(Why::Malformed)?;
    match claims.matches('.').count() {
        0 => {}
        // RFC 7516 §7.1: five parts.
        2 => return Err(Why::Encrypted),
        _ => return Err(Why::Malformed),
    }
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Why::Malformed);
    let header = object(&decode(header)?)?;
    let claims = object(&decode(claims)?)?;
    // Its octets are the key's business, but it has one spelling only.
    decode(signature)?;
    Ok(Unverified { header, claims, signed, signature })
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, Why> {
    strict_json::object(bytes).map_err(|unfit| match unfit {
        Unfit::NotAnObject => Why::NotJson,
        Unfit::Doubled => Why::MemberDoubled,
        Unfit::TooDeep => Why::NestedTooDeep,
    })
}

impl Unverified<'_> {
    /// The issuer that it names.
    ///
    /// # Errors
    /// `issuer-unknown` where that is not one text.
    pub fn issuer(&self) -> Result<&str, Why> {
        self.claims.get("iss").and_then(Value::as_str).ok_or(Why::IssuerUnknown)
    }

    /// Checks everything that the header says (RFC 8725 §3.1, §3.10, §3.11), before any key is
    /// looked for.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check_header(&self, policy: &Policy) -> Result<Algorithm, Why> {
        let header = &self.header;
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(Why::Critical);
        }
        if header.contains_key("enc") || header.contains_key("zip") {
            return Err(Why::Encrypted);
        }
        if header.get("cty").is_some_and(|cty| !is_other_media(cty)) {
            return Err(Why::Nested);
        }
        // Nobody else's access tokens have them; of a plain issuer they are left unread.
        let brings = |name: &&str| header.contains_key(*name);
        let keys = ["jwk", "jku", "x5u", "x5c"];
        if policy.accept != Accept::Plain && keys.iter().any(brings) {
            return Err(Why::KeyEmbedded);
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(keys::algorithm);
        let algorithm = algorithm.filter(|algorithm| policy.algorithms.contains(algorithm));
        let algorithm = algorithm.ok_or(Why::AlgorithmNotAllowed)?;
        policy.accept.check_type(header.get("typ"))?;
        Ok(algorithm)
    }

    /// Verifies the token.
    ///
    /// # Errors
    /// `key-unknown` where another set of keys may know it, or what is wrong. Whether it has
    /// expired is not among them.
    pub fn verify(&self, policy: &Policy, keys: &KeySet, now: i64) -> Result<Facts, Why> {
        let algorithm = self.check_header(policy)?;
        let id = match self.header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.as_str()),
            Some(_) => return Err(Why::KeyUnknown),
        };
        keys.verify(id, algorithm, self.signed.as_bytes(), self.signature)?;
        if self.issuer()? != policy.issuer.as_deref().unwrap_or_default() {
            return Err(Why::IssuerUnknown);
        }
        policy.accept.check_claims(&self.claims)?;
        claims::read(&self.claims, policy, now)
    }
}

/// Whether a `cty` says that the claims are no token: anything but `JWT` (RFC 7519 §5.2).
fn is_other_media(cty: &Value) -> bool {
    cty.as_str().is_some_and(|cty| {
        let cty = cty.rsplit('/').next().unwrap_or_default();
        !cty.eq_ignore_ascii_case("jwt")
    })
}

#[cfg(test)]
mod tests;
