//! Makes signing keys, signs with them, and shows them as JWKs (RFC 7517, 7518, 8037).

use aws_lc_rs::encoding::{AsBigEndian, AsDer, Curve25519SeedBin, EcPrivateKeyBin, Pkcs8V1Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::der;

/// The signing algorithms of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// RSA PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    const ALL: [Algorithm; 5] =
        [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa];

    /// The algorithm of that name.
    pub fn named(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Its name in a header or a JWK.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Ps256 => "PS256",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::EdDsa => "EdDSA",
        }
    }
}

/// A key pair with its name.
#[derive(Debug)]
pub struct Key {
    kid: String,
    algorithm: Algorithm,
    pair: Pair,
    /// `kty` and the numbers of the public half.
    public: Map<String, Value>,
    /// `d`, which no honest document shows.
    private: String,
}

#[derive(Debug)]
enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Key {
    /// Makes a key. An RSA one takes a good while.
    ///
    /// # Errors
    /// When the cryptography library has no randomness or memory.
    pub fn generate(kid: String, algorithm: Algorithm) -> Result<Key, Unspecified> {
        let (pair, public, private) = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => rsa()?,
            Algorithm::Es256 => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")?,
            Algorithm::Es384 => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")?,
            Algorithm::EdDsa => ed()?,
        };
        Ok(Key { kid, algorithm, pair, public, private })
    }

    /// Its name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm that it is for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public half as a JWK.
    pub fn jwk(&self) -> Map<String, Value> {
        let mut jwk = self.public.clone();
        for (name, value) in [("use", "sig"), ("alg", self.algorithm.name()), ("kid", &self.kid)] {
            jwk.insert(name.to_owned(), value.into());
        }
        jwk
    }

    /// The whole key as a JWK, as nobody should ever publish it.
    pub fn private_jwk(&self) -> Map<String, Value> {
        let mut jwk = self.jwk();
        jwk.insert("d".to_owned(), self.private.clone().into());
        jwk
    }

    /// Signs in the form of a JWS (RFC 7518 §3).
    ///
    /// # Errors
    /// When the cryptography library has no randomness or memory.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding: &dyn RsaEncoding = match self.algorithm {
                    Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature)?;
                Ok(signature)
            }
            Pair::Ec(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Pair::Ed(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }

    /// Whether this key made that signature.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match self.algorithm {
            Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
            Algorithm::EdDsa => &signature::ED25519,
        };
        let public = match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref(),
            Pair::Ec(pair) => pair.public_key().as_ref(),
            Pair::Ed(pair) => pair.public_key().as_ref(),
        };
        UnparsedPublicKey::new(algorithm, public).verify(message, signature).is_ok()
    }
}

type Material = (Pair, Map<String, Value>, String);

fn rsa() -> Result<Material, Unspecified> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
    let der: Pkcs8V1Der<'_> = pair.as_der()?;
    let numbers = der::rsa_numbers(der.as_ref()).ok_or(Unspecified)?;
    let public =
        members(&[("kty", "RSA"), ("n", &base64url(numbers.n)), ("e", &base64url(numbers.e))]);
    let private = base64url(numbers.d);
    Ok((Pair::Rsa(pair), public, private))
}

fn ec(
    algorithm: &'static signature::EcdsaSigningAlgorithm,
    curve: &str,
) -> Result<Material, Unspecified> {
    let pair = EcdsaKeyPair::generate(algorithm)?;
    // An uncompressed point is a 4 and two coordinates of the same length.
    let (_, point) = pair.public_key().as_ref().split_first().ok_or(Unspecified)?;
    let (x, y) = point.split_at_checked(point.len() / 2).ok_or(Unspecified)?;
    let public =
        members(&[("kty", "EC"), ("crv", curve), ("x", &base64url(x)), ("y", &base64url(y))]);
    let number: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes()?;
    let private = base64url(number.as_ref());
    Ok((Pair::Ec(pair), public, private))
}

fn ed() -> Result<Material, Unspecified> {
    let pair = Ed25519KeyPair::generate()?;
    let x = base64url(pair.public_key().as_ref());
    let public = members(&[("kty", "OKP"), ("crv", "Ed25519"), ("x", &x)]);
    let seed: Curve25519SeedBin<'_> = pair.seed()?.as_be_bytes()?;
    let private = base64url(seed.as_ref());
    Ok((Pair::Ed(pair), public, private))
}

/// A JSON object of texts.
pub fn members(pairs: &[(&str, &str)]) -> Map<String, Value> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
}

/// The encoding of all that is bytes in JOSE.
pub fn base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, Key};

    #[test]
    fn every_algorithm_signs_and_verifies_only_what_it_signed() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
            let key = Key::generate("k".to_owned(), algorithm).unwrap();
            let signature = key.sign(b"message").unwrap();
            assert!(key.verifies(b"message", &signature), "{algorithm:?}");
            assert!(!key.verifies(b"massage", &signature), "{algorithm:?}");
            let other = Key::generate("k".to_owned(), algorithm).unwrap();
            assert!(!other.verifies(b"message", &signature), "{algorithm:?}");
        }
        assert_eq!(Algorithm::named("HS256"), None);
    }

    #[test]
    fn a_jwk_is_public_unless_asked_otherwise() {
        for (algorithm, names) in [
            (Algorithm::Rs256, "kty n e use alg kid"),
            (Algorithm::Es384, "kty crv x y use alg kid"),
            (Algorithm::EdDsa, "kty crv x use alg kid"),
        ] {
            let key = Key::generate("k".to_owned(), algorithm).unwrap();
            let shown: Vec<String> = key.jwk().into_iter().map(|(name, _)| name).collect();
            assert_eq!(shown.join(" "), names);
            assert!(!key.jwk().contains_key("d") && key.private_jwk().contains_key("d"));
        }
    }
}
