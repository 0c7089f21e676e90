//! Writes and reads tokens in the compact form of a JWS (RFC 7515 §7.1).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::keys::base64url;

/// A token that was taken apart, not yet believed.
#[derive(Debug)]
pub struct Unverified<'a> {
    /// The header.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Map<String, Value>,
    /// What was signed.
    pub message: &'a [u8],
    /// By which signature.
    pub signature: Vec<u8>,
}

/// Writes a token: `sign` gets the bytes to sign.
///
/// # Errors
/// What `sign` says.
pub fn write<E>(
    header: Map<String, Value>,
    claims: Map<String, Value>,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<String, E> {
    let part = |object| base64url(Value::Object(object).to_string().as_bytes());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = sign(message.as_bytes())?;
    Ok(format!("{message}.{}", base64url(&signature)))
}

/// Takes a token apart. `None` if it is none.
pub fn read(token: &str) -> Option<Unverified<'_>> {
    let (message, signature) = token.rsplit_once('.')?;
    let (header, claims) = message.split_once('.')?;
    let object = |part| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    Some(Unverified {
        header: object(header)?,
        claims: object(claims)?,
        message: message.as_bytes(),
        signature: BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::{read, write};
    use crate::sandbox::identity::keys::members;

    #[test]
    fn a_token_is_written_and_read() {
        let sign = |message: &[u8]| Ok::<_, ()>(vec![u8::try_from(message.len()).unwrap()]);
        let token = write(members(&[("alg", "x")]), members(&[("sub", "a")]), sign).unwrap();
        assert_eq!(token, "eyJhbGciOiJ4In0.eyJzdWIiOiJhIn0.Hw");
        let read = read(&token).unwrap();
        assert_eq!(read.header, members(&[("alg", "x")]));
        assert_eq!(read.claims, members(&[("sub", "a")]));
        assert_eq!((read.message.len(), read.signature), (31, vec![31]));
    }

    #[test]
    fn what_is_no_token_is_not_read() {
        for bad in ["", "a", "a.b", "a.W10.c", "e30.e30", "e30.e30.=", "opaque"] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }
}
