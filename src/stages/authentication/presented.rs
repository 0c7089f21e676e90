//! What a request shows to prove who sends it, before any of it is believed.

use super::api_key;
use super::denial::{Denial, Why};
use crate::model::query;
use crate::refusal::{Refusal, Shown};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use smallvec::SmallVec;
use std::borrow::Cow;

/// The field for API keys that every route has.
pub const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// One credential as it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential<'h> {
    /// A bearer token, JWT or opaque.
    Token(&'h str),
    /// An API key, and whether it came as a bearer token.
    Key(Cow<'h, str>, Shown),
}

/// Everything that is shown in the head of a request; a certificate is the connection's.
pub type Presented<'h> = SmallVec<[Credential<'h>; 2]>;

/// Which fields of a request are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Whether `Authorization` is meant for the vendor.
    pub passthrough: bool,
    /// Fields in which the SDKs of the vendor put their keys, beside `X-API-Key`.
    pub key_fields: &'a [HeaderName],
}

/// Finds the credentials in a head.
///
/// # Errors
/// `credentials-ambiguous` where one place is filled twice; `token-invalid` for an
/// `Authorization` that can't be parsed.
pub fn find<'h>(
    headers: &'h HeaderMap,
    query: Option<&str>,
    places: Places<'_>,
) -> Result<Presented<'h>, Denial> {
    let mut found = Presented::new();
    if !places.passthrough
        && let Some(field) = only(headers, &header::AUTHORIZATION)?
    {
        found.push(authorization(field)?);
        // RFC 6750 §2: one method only.
        if query.is_some_and(|query| query::could_name(query, &["access_token"])) {
            return Err(ambiguous("A token is shown in the query too.", "token-in-query"));
        }
    }
    if let Some(field) = only(headers, &X_API_KEY)? {
        found.push(key(field)?);
    }
    for name in places.key_fields.iter().filter(|name| **name != X_API_KEY) {
        if let Some(field) = only(headers, name)? {
            found.push(key(field)?);
        }
    }
    Ok(found)
}

/// The one line of a field, if there is one.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, Denial> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next();
    match lines.next() {
        None => Ok(first),
        Some(_) => Err(ambiguous("A field for credentials is there twice.", "field-doubled")),
    }
}

fn key(field: &HeaderValue) -> Result<Credential<'_>, Denial> {
    let text = field.to_str().map_err(|_| invalid(Why::KeyMalformed, Shown::Key))?;
    Ok(Credential::Key(Cow::Borrowed(text), Shown::Key))
}

/// `Authorization` with one of the two schemes that are taken, compared without regard to case
/// (RFC 9110 §11.1).
fn authorization(field: &HeaderValue) -> Result<Credential<'_>, Denial> {
    let malformed = || invalid(Why::AuthorizationMalformed, Shown::Token);
    let text = field.to_str().map_err(|_| malformed())?;
    let (scheme, credentials) = text.split_once(' ').ok_or_else(malformed)?;
    let credentials = credentials.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") {
        if !is_token68(credentials) {
            return Err(malformed());
        }
        return Ok(match api_key::is_key(credentials) {
            true => Credential::Key(Cow::Borrowed(credentials), Shown::Token),
            false => Credential::Token(credentials),
        });
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let key =
            basic(credentials).ok_or_else(|| invalid(Why::AuthorizationMalformed, Shown::Key))?;
        return Ok(Credential::Key(Cow::Owned(key), Shown::Key));
    }
    Err(invalid(Why::SchemeUnknown, Shown::Key))
}

/// `b64token` (RFC 6750 §2.1).
fn is_token68(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let legal = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
    };
    // All of them, so that there is no branch for each: a token is long.
    !body.is_empty() & body.bytes().fold(true, |all, byte| all & legal(byte))
}

/// The API key in `Basic` credentials (RFC 7617): the user name or the password, whichever is
/// one. Two different ones are none.
fn basic(credentials: &str) -> Option<String> {
    let pair = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    match (api_key::is_key(user), api_key::is_key(password)) {
        (true, false) => Some(user.to_owned()),
        (false, true) => Some(password.to_owned()),
        (true, true) if user == password => Some(user.to_owned()),
        _ => None,
    }
}

fn ambiguous(what: &'static str, reason: &'static str) -> Denial {
    Denial { refusal: Refusal::CredentialsAmbiguous(what), reason }
}

/// A credential that does not verify.
pub fn invalid(why: Why, shown: Shown) -> Denial {
    let refusal = match why {
        Why::Expired | Why::KeyExpired => Refusal::TokenExpired(shown),
        _ => Refusal::TokenInvalid(shown),
    };
    Denial { refusal, reason: why.word() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).expect("legal"));
        }
        headers
    }

    const PLACES: Places<'_> = Places { passthrough: false, key_fields: &[] };

    #[test]
    fn credentials_are_found_where_they_may_be() {
        let (bearer, key) =
            (Credential::Token, |key| Credential::Key(Cow::Borrowed(key), Shown::Key));
        // `egk_a:` and `shop:egk_b`.
        for (fields, expected) in [
            (vec![], vec![]),
            (vec![("authorization", "Bearer abc.def")], vec![bearer("abc.def")]),
            (vec![("authorization", "bEARER  abc== ")], vec![bearer("abc==")]),
            (
                vec![("authorization", "Bearer egk_a")],
                vec![Credential::Key(Cow::Borrowed("egk_a"), Shown::Token)],
            ),
            (vec![("authorization", "Basic ZWdrX2E6")], vec![key("egk_a")]),
            (vec![("authorization", "basic c2hvcDplZ2tfYg==")], vec![key("egk_b")]),
            (vec![("x-api-key", "k")], vec![key("k")]),
            (vec![("authorization", "Bearer t"), ("x-api-key", "k")], vec![bearer("t"), key("k")]),
            (vec![("x-shopify-access-token", "s")], vec![]),
        ] {
            let headers = headers(&fields);
            let found = find(&headers, None, PLACES).expect("legal");
            assert_eq!(found.into_vec(), expected, "{fields:?}");
        }
        let shopify = [HeaderName::from_static("x-shopify-access-token"), X_API_KEY];
        let headers = headers(&[("x-shopify-access-token", "s"), ("x-api-key", "k")]);
        let places = Places { key_fields: &shopify, ..PLACES };
        let found = find(&headers, None, places).expect("legal");
        assert_eq!(found.into_vec(), vec![key("k"), key("s")]);
    }

    #[test]
    fn what_is_meant_for_the_vendor_is_not_looked_at() {
        let headers = headers(&[("authorization", "nonsense"), ("authorization", "twice")]);
        let places = Places { passthrough: true, ..PLACES };
        assert!(find(&headers, Some("access_token=a"), places).expect("unread").is_empty());
    }

    #[test]
    fn the_rest_is_refused() {
        let two = "Basic ZWdrX2E6ZWdrX2I="; // egk_a:egk_b
        for (fields, query, slug, reason) in [
            (vec![("authorization", "")], None, "token-invalid", "authorization-malformed"),
            (vec![("authorization", "Bearer")], None, "token-invalid", "authorization-malformed"),
            (vec![("authorization", "Bearer ")], None, "token-invalid", "authorization-malformed"),
            (
                vec![("authorization", "Bearer a b")],
                None,
                "token-invalid",
                "authorization-malformed",
            ),
            (
                vec![("authorization", "Bearer a,Basic b")],
                None,
                "token-invalid",
                "authorization-malformed",
            ),
            (vec![("authorization", "Basic !!")], None, "token-invalid", "authorization-malformed"),
            (
                vec![("authorization", "Basic dTpw")],
                None,
                "token-invalid",
                "authorization-malformed",
            ),
            (vec![("authorization", two)], None, "token-invalid", "authorization-malformed"),
            (vec![("authorization", "DPoP abc")], None, "token-invalid", "scheme-unknown"),
            (
                vec![("authorization", "Bearer a"), ("authorization", "Bearer a")],
                None,
                "credentials-ambiguous",
                "field-doubled",
            ),
            (
                vec![("x-api-key", "a"), ("x-api-key", "a")],
                None,
                "credentials-ambiguous",
                "field-doubled",
            ),
            (
                vec![("authorization", "Bearer a")],
                Some("x=1&access_token=a"),
                "credentials-ambiguous",
                "token-in-query",
            ),
        ] {
            let denial = find(&headers(&fields), query, PLACES).expect_err("refused");
            assert_eq!((denial.refusal.slug(), denial.reason), (slug, reason), "{fields:?}");
        }
        let none = HeaderMap::new();
        let alone = find(&none, Some("access_token=a"), PLACES).expect("no credential");
        assert!(alone.is_empty());
    }
}
