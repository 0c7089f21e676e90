//! The keys of an issuer: which of a published set are fit, and which one a token means.
//!
//! A key is bound to its issuer, its id and its algorithms (RFC 8725 §3.1): what the header of a
//! token says only picks among them.

use super::denial::Why;
use super::strict_json;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519};
use aws_lc_rs::signature::{ParsedPublicKey, VerificationAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

/// Keys that one set may have.
const KEYS_MAX: usize = 100;
/// Bits of an RSA modulus: what is shorter can be factored (RFC 7518 §3.3), what is longer costs
/// whoever verifies more than whoever asks.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Longest `kid`.
const ID_BYTES_MAX: usize = 256;

/// One key that verifies.
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// The keys of one issuer that are fit for use, at least one.
pub struct KeySet {
    keys: Vec<Key>,
}

/// A key of a set that is not used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its `kid`, cut if it is long; empty where it has none.
    pub id: String,
    /// Why.
    pub why: &'static str,
}

impl KeySet {
    /// The one key of an issuer that shares a secret with us.
    pub fn of_secret(secret: &[u8], algorithms: &[Algorithm]) -> KeySet {
        let key = DecodingKey::from_secret(secret);
        KeySet { keys: vec![Key { id: None, algorithms: algorithms.to_vec(), key }] }
    }

    /// Reads a JWK set (RFC 7517 §5), as far as its keys are fit for these algorithms.
    ///
    /// # Errors
    /// Why no key of it may be used, in words.
    pub fn parse(
        document: &[u8],
        algorithms: &[Algorithm],
    ) -> Result<(KeySet, Vec<Skipped>), String> {
        let members = strict_json::object(document).map_err(|_| "it is not a JSON object")?;
        let listed = members.get("keys").and_then(Value::as_array).ok_or("it has no `keys`")?;
        if listed.len() > KEYS_MAX {
            return Err(format!("it has {} keys, more than {KEYS_MAX}", listed.len()));
        }
        let kind = |key: &Value| key.get("kty").and_then(Value::as_str).map(str::to_owned);
        if listed.iter().any(|key| kind(key).as_deref() == Some("oct")) {
            // Whoever reads the set could sign with it.
            return Err("it publishes a symmetric key".to_owned());
        }
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for listed_key in listed {
            let id = listed_key.get("kid").and_then(Value::as_str).unwrap_or_default();
            let doubled = !id.is_empty() && listed.iter().filter(|k| k["kid"] == id).count() > 1;
            let read = match listed_key.as_object() {
                _ if doubled => Err("another key has the same `kid`"),
                Some(members) => read(members, algorithms),
                None => Err("it is not an object"),
            };
            match read {
                Ok(key) => keys.push(key),
                Err(why) => skipped.push(Skipped { id: id.chars().take(64).collect(), why }),
            }
        }
        if keys.is_empty() {
            return Err("it has no key that is fit for use".to_owned());
        }
        Ok((KeySet { keys }, skipped))
    }

    /// How many keys are fit.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none; a set always has one.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Verifies a signature, `signed` being the octets up to the second dot.
    ///
    /// # Errors
    /// `key-unknown` where another set may have the key, or what is wrong.
    pub fn verify(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        signed: &[u8],
        signature: &str,
    ) -> Result<(), Why> {
        let key = match id {
            Some(id) => {
                let named = self.keys.iter().find(|key| key.id.as_deref() == Some(id));
                // A shared secret needs no name, whatever the token calls it.
                let shared = || self.keys.iter().find(|key| key.is_secret());
                let key = named.or_else(shared).ok_or(Why::KeyUnknown)?;
                let fits = key.algorithms.contains(&algorithm);
                if fits { key } else { return Err(Why::KeyOfOtherAlgorithm) }
            }
            None => {
                let mut fit = self.keys.iter().filter(|key| key.algorithms.contains(&algorithm));
                match (fit.next(), fit.next()) {
                    (Some(only), None) => only,
                    (Some(_), Some(_)) => return Err(Why::KeyUnnamed),
                    (None, _) => return Err(Why::KeyUnknown),
                }
            }
        };
        match jsonwebtoken::crypto::verify(signature, signed, &key.key, algorithm) {
            Ok(true) => Ok(()),
            _ => Err(Why::SignatureInvalid),
        }
    }
}

impl Key {
    fn is_secret(&self) -> bool {
        self.algorithms.iter().any(|algorithm| is_symmetric(*algorithm))
    }
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Among them may be a shared secret.
        write!(f, "KeySet({} keys)", self.keys.len())
    }
}

/// Whether whoever verifies with a key of this algorithm could sign too.
pub fn is_symmetric(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}

/// Shortest secret of an HMAC algorithm, in bytes: as long as its output (RFC 7518 §3.2).
pub fn secret_bytes_min(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::HS512 => 64,
        Algorithm::HS384 => 48,
        _ => 32,
    }
}

/// One key, if it is fit for at least one of these algorithms.
fn read(members: &Map<String, Value>, wanted: &[Algorithm]) -> Result<Key, &'static str> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|m| members.contains_key(*m)) {
        return Err("it is published with its private part");
    }
    if members.get("use").is_some_and(|usage| usage != "sig") {
        return Err("its `use` is not `sig`");
    }
    let verifies =
        |ops: &Value| ops.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify"));
    if members.get("key_ops").is_some_and(|ops| !verifies(ops)) {
        return Err("its `key_ops` has no `verify`");
    }
    let id = match members.get("kid") {
        None => None,
        Some(Value::String(id)) if id.len() <= ID_BYTES_MAX => Some(id.clone()),
        Some(_) => return Err("its `kid` is no text, or too long"),
    };
    let part = |name: &str| {
        let decoded = text(name).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        decoded.filter(|part| !part.is_empty())
    };
    let (key, of_kind): (DecodingKey, &[Algorithm]) = match text("kty") {
        Some("RSA") => (rsa(part("n"), part("e"))?, &RSA),
        Some("EC") => elliptic(text("crv"), part("x"), part("y"))?,
        Some("OKP") => edwards(text("crv"), part("x"))?,
        _ => return Err("its `kty` is not RSA, EC or OKP"),
    };
    let named = text("alg");
    let fits = |algorithm: &&Algorithm| {
        let named = named.is_none_or(|named| named == name(**algorithm));
        named && wanted.contains(algorithm)
    };
    let algorithms: Vec<Algorithm> = of_kind.iter().filter(fits).copied().collect();
    if algorithms.is_empty() || members.get("alg").is_some_and(|alg| !alg.is_string()) {
        return Err("it is for an algorithm that is not in `algorithms`");
    }
    Ok(Key { id, algorithms, key })
}

const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

fn rsa(modulus: Option<Vec<u8>>, exponent: Option<Vec<u8>>) -> Result<DecodingKey, &'static str> {
    let (modulus, exponent) = modulus.zip(exponent).ok_or("its `n` or `e` can't be read")?;
    let significant = modulus.iter().skip_while(|byte| **byte == 0);
    let leading = significant.clone().next().map_or(0, |byte| byte.leading_zeros());
    let bits = (significant.count() * 8).saturating_sub(usize::try_from(leading).unwrap_or(0));
    if !RSA_BITS.contains(&bits) {
        return Err("its RSA modulus is shorter than 2048 bits, or longer than 8192");
    }
    let value = exponent
        .iter()
        .try_fold(0u64, |value, byte| value.checked_mul(256).map(|value| value + u64::from(*byte)));
    // One: every signature would hold. Even: none would.
    match value {
        Some(3..) if exponent.last().is_some_and(|last| last % 2 == 1) => {}
        _ => return Err("its RSA exponent is 1, even or too long"),
    }
    Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

type Fit = (DecodingKey, &'static [Algorithm]);

fn elliptic(
    curve: Option<&str>,
    x: Option<Vec<u8>>,
    y: Option<Vec<u8>>,
) -> Result<Fit, &'static str> {
    let (x, y) = x.zip(y).ok_or("its `x` or `y` can't be read")?;
    let (bytes, check, algorithms): (usize, &'static dyn VerificationAlgorithm, _) = match curve {
        Some("P-256") => (32, &ECDSA_P256_SHA256_FIXED, &[Algorithm::ES256]),
        Some("P-384") => (48, &ECDSA_P384_SHA384_FIXED, &[Algorithm::ES384]),
        _ => return Err("its curve is not P-256, P-384 or Ed25519"),
    };
    if x.len() != bytes || y.len() != bytes {
        return Err("its coordinates have the wrong length");
    }
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    // RFC 8725 §3.4.
    ParsedPublicKey::new(check, &point).map_err(|_| "its point is not on its curve")?;
    let encoded = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let key = DecodingKey::from_ec_components(&encoded(&x), &encoded(&y));
    Ok((key.map_err(|_| "its point can't be used")?, algorithms))
}

fn edwards(curve: Option<&str>, x: Option<Vec<u8>>) -> Result<Fit, &'static str> {
    if curve != Some("Ed25519") {
        return Err("its curve is not P-256, P-384 or Ed25519");
    }
    let x = x.filter(|x| x.len() == 32).ok_or("its `x` has the wrong length")?;
    ParsedPublicKey::new(&ED25519, &x).map_err(|_| "its point is not on its curve")?;
    let key = DecodingKey::from_ed_components(&URL_SAFE_NO_PAD.encode(&x));
    Ok((key.map_err(|_| "its point can't be used")?, &[Algorithm::EdDSA]))
}

/// The algorithms that can be configured, by their names (RFC 7518 §3.1, RFC 8037 §3.1).
pub const ALGORITHMS: [(&str, Algorithm); 12] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
];

/// Those that are taken where nothing else is configured.
pub const DEFAULT: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

/// The algorithm of this name, compared exactly.
pub fn algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
}

/// The name of an algorithm.
pub fn name(algorithm: Algorithm) -> &'static str {
    ALGORITHMS.iter().find(|(_, known)| *known == algorithm).map_or("none", |(name, _)| *name)
}
