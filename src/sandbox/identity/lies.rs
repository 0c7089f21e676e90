//! Names the ways in which the provider's documents can be wrong, and spoils an answer that is
//! otherwise right.

use bytes::Bytes;
use http::StatusCode;
use http::header::LOCATION;
use serde::{Deserialize, Serialize};

use crate::sandbox::answer::{Answer, Media};

/// The named lies. Those about bytes are told by discovery, JWKS and introspection alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lie {
    /// A JWKS without a key.
    EmptyJwks,
    /// A JWKS with a symmetric key before the others, `TENANT-oct`; a mint with `HS256` uses it.
    OctKey,
    /// A JWKS of one RSA key of 1024 bits, under the name of the signing key.
    WeakKey,
    /// A JWKS that gives the private halves of the tenant's keys away.
    PrivateKey,
    /// A JWKS in which each signing key comes second to a stranger of its kind and name.
    DuplicateKid,
    /// Metadata and introspection that name another issuer.
    WrongIssuer,
    /// Introspection that says `"active": "true"`, or `"false"`: a text.
    ActiveString,
    /// Something that says it is JSON.
    NotJson,
    /// A page for people.
    Html,
    /// Valid JSON with megabytes of blanks in it.
    Huge,
    /// A redirect to `/TENANT/moved/…`, where the right answer is.
    Redirect,
    /// Half of the body that was announced.
    Half,
}

/// The issuer of [`Lie::WrongIssuer`]. `.invalid` never resolves.
pub const WRONG_ISSUER: &str = "https://wrong-issuer.sandbox.invalid";

/// The secret of [`Lie::OctKey`], long enough for HS256.
pub const OCT_SECRET: &[u8] = b"the-sandbox-publishes-this-secret";

/// The modulus of [`Lie::WeakKey`], 1024 bits.
pub const WEAK_MODULUS: &str = "\
    5aSBNQ0lOKtPtOEGIfGs3zXyDFT7Cf3w9p6AuZTWu230DhwNWDfSzWgjOdjppVHVWVtDQw2VdjiL9gBAFNn6S6\
    C_iv9R8dxQn9-ATCDM15KcFhh1fElxaO8g6cMBbIymMafGQbYeO5s4v56ay3kI0EWnvpTkMAXD74ysb1HpyoU";

/// Blanks in a huge answer.
const HUGE_BYTES: usize = 8 << 20;

const PAGE: &str = "<!DOCTYPE html><html><head><title>Sign in</title></head>\
    <body><h1>We'll be back soon.</h1></body></html>";

impl Lie {
    /// Spoils an answer whose bytes the lie is about; `moved_url` is where the right one is.
    /// [`Lie::Half`] is left to the connection.
    pub fn spoil(self, answer: Answer, moved_url: &str) -> Answer {
        match self {
            Lie::NotJson => Answer { body: Bytes::from_static(b"{\"keys\": [ oops"), ..answer },
            Lie::Html => Answer::text(StatusCode::OK, Media::Html, PAGE),
            Lie::Huge => Answer { body: inflate(&answer.body), ..answer },
            Lie::Redirect => {
                // Keeps the method and the body, so that a client that follows is served.
                let moved = Answer { status: StatusCode::TEMPORARY_REDIRECT, ..Answer::empty() };
                moved.with(LOCATION, moved_url)
            }
            _ => answer,
        }
    }
}

/// The same object with blanks before its end.
fn inflate(body: &Bytes) -> Bytes {
    let Some((last, rest)) = body.split_last() else {
        return Bytes::new();
    };
    let mut inflated = Vec::with_capacity(body.len() + HUGE_BYTES);
    inflated.extend(rest);
    inflated.resize(rest.len() + HUGE_BYTES, b' ');
    inflated.push(*last);
    inflated.into()
}

#[cfg(test)]
mod tests {
    use super::{HUGE_BYTES, Lie, inflate};
    use bytes::Bytes;
    use serde_json::{Value, json};

    #[test]
    fn lies_are_named_as_in_the_documentation() {
        for name in [
            "empty-jwks",
            "not-json",
            "oct-key",
            "wrong-issuer",
            "html",
            "huge",
            "redirect",
            "active-string",
            "weak-key",
            "private-key",
            "duplicate-kid",
            "half",
        ] {
            let lie: Lie = serde_json::from_value(json!(name)).unwrap();
            assert_eq!(serde_json::to_value(lie).unwrap(), name);
        }
    }

    #[test]
    fn a_huge_answer_says_the_same() {
        let huge = inflate(&Bytes::from_static(br#"{"keys":[]}"#));
        assert_eq!(huge.len(), HUGE_BYTES + 11);
        assert_eq!(serde_json::from_slice::<Value>(&huge).unwrap(), json!({"keys": []}));
    }
}
