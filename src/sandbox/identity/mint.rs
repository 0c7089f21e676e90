//! Makes tokens that the provider would never issue, for tests.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::directory::Directory;
use super::documents::oct_kid;
use super::jws;
use super::keys::Algorithm;
use super::lies::OCT_SECRET;
use super::tenant::Profile;
use super::token::VALID_SECS;

/// The client of a minted token, unless its claims say otherwise.
const CLIENT: &str = "minted";

/// An order for a token, as typed by a person.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mint {
    tenant: String,
    /// Replaces members of the header; `null` removes one.
    #[serde(default)]
    header: Map<String, Value>,
    /// Replaces claims; `null` removes one.
    #[serde(default)]
    claims: Map<String, Value>,
    /// How it is really signed, whatever the header says: an algorithm of the tenant's, `HS256`,
    /// or `none`. The tenant's default, if not said.
    alg: Option<String>,
    /// The secret for `HS256`; if not said, the one of the lie `oct-key`.
    secret: Option<String>,
}

/// An order that can be carried out.
#[derive(Debug)]
pub struct Die<'a> {
    profile: &'a Profile,
    signer: Signer,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

/// Who signs.
#[derive(Debug)]
enum Signer {
    /// The tenant's key for that algorithm, or the default one, at the time of signing.
    Key(Option<Algorithm>),
    /// Whoever knows the secret.
    Secret(Vec<u8>),
    /// Nobody: the signature is empty.
    Nobody,
}

impl Mint {
    /// Checks the order.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(self, directory: &Directory) -> Result<Die<'_>, String> {
        let Mint { tenant, header, claims, alg, secret } = self;
        let profile = directory.profile(&tenant);
        let profile = profile.ok_or_else(|| format!("mint: there is no tenant `{tenant}`"))?;
        let signer = match alg.as_deref() {
            None => Signer::Key(None),
            Some("none") => Signer::Nobody,
            Some("HS256") => {
                Signer::Secret(secret.map_or_else(|| OCT_SECRET.to_vec(), String::into_bytes))
            }
            Some(name) => match profile.algorithms.iter().find(|known| known.name() == name) {
                Some(algorithm) => Signer::Key(Some(*algorithm)),
                None => return Err(format!("mint: `{tenant}` has no key for `{name}`")),
            },
        };
        Ok(Die { profile, signer, header, claims })
    }
}

impl Die<'_> {
    /// Makes the token: one of the tenant's shape for the client `minted`, with the replacements.
    ///
    /// # Errors
    /// When the cryptography library fails.
    pub fn strike(self, directory: &Directory) -> Result<String, Unspecified> {
        let Die { profile, signer, header: head, claims: changes } = self;
        let shape = profile.shape;
        let mut claims = shape.claims(&directory.grant(profile, CLIENT, VALID_SECS));
        replace(&mut claims, changes);
        match signer {
            Signer::Key(algorithm) => {
                let key = directory.signing(profile, algorithm).ok_or(Unspecified)?;
                let mut header = shape.header(key.algorithm().name(), key.kid());
                replace(&mut header, head);
                jws::write(header, claims, |message| key.sign(message))
            }
            Signer::Secret(secret) => {
                let mut header = shape.header("HS256", &oct_kid(profile));
                replace(&mut header, head);
                let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
                let sign = |message: &[u8]| Ok(hmac::sign(&key, message).as_ref().to_vec());
                jws::write(header, claims, sign)
            }
            Signer::Nobody => {
                let mut header = shape.header("none", "");
                header.shift_remove("kid");
                replace(&mut header, head);
                jws::write(header, claims, |_| Ok(Vec::new()))
            }
        }
    }
}

fn replace(object: &mut Map<String, Value>, changes: Map<String, Value>) {
    for (name, value) in changes {
        if value.is_null() {
            object.shift_remove(&name);
        } else {
            object.insert(name, value);
        }
    }
}
