//! Encryption at rest: what a ledger with a key does not write in the clear.
//!
//! Sealed are the answers and what [`super::private`] packs of a claim. Names from the
//! configuration, methods, correlation ids, statuses, times and lengths stay readable. A sealed
//! value opens only in its own column of its own entry, beside the values it was written with.
//!
//! AES-256-GCM-SIV with random nonces: each nonce gets keys of its own (RFC 8452), so 2^32 values
//! under one key are far from any bound, and two values that meet the same nonce by chance give
//! away no more than whether they are the same one; they never are, for what they are bound to
//! differs. Plain GCM would give away its key for authenticating.
//!
//! Whoever can write the file can still remove entries, or put an older file back: a key keeps
//! secrets, it does not guard the disk.

use super::entry::{Trouble, Unfit};
use super::rows::trouble;
use crate::model::digest::Sha256;
use crate::model::secret::Secret;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use aws_lc_rs::{hmac, rand};
use rusqlite::{Connection, OptionalExtension};

/// Octets of a key.
const KEY_BYTES: usize = 32;

/// By which an entry is known in the file: half an identity. That of ten million others is as
/// good as never the same, and their index is a third smaller.
pub type Name = [u8; 16];

/// The key of an encrypted ledger; never shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptionKey(Secret);

impl EncryptionKey {
    /// Takes these octets, which have to be random ones.
    pub fn new(octets: &[u8; KEY_BYTES]) -> EncryptionKey {
        EncryptionKey(Secret::new(octets))
    }

    /// Takes the octets of this secret.
    ///
    /// # Errors
    /// It is not of 32 octets, which the configuration has made sure of.
    pub fn of(secret: &Secret) -> Result<EncryptionKey, String> {
        let octets: Result<[u8; KEY_BYTES], _> = secret.expose().try_into();
        octets
            .map(|octets| EncryptionKey::new(&octets))
            .map_err(|_| "the encryption key of the ledger is not 32 octets long".to_owned())
    }
}

/// What a sealed value belongs to; it opens with nothing else.
pub struct Bound(Vec<u8>);

impl Bound {
    /// To a column of the entry that is known by this name in the file.
    pub fn to(column: &str, name: &Name) -> Bound {
        let mut pieces = Vec::with_capacity(256);
        put(&mut pieces, column.as_bytes());
        put(&mut pieces, name);
        Bound(pieces)
    }

    /// And to this value.
    pub fn and(mut self, value: &[u8]) -> Bound {
        put(&mut self.0, value);
        self
    }
}

/// Appends a piece that can't be taken for a part of its neighbors.
pub fn put(pieces: &mut Vec<u8>, piece: &[u8]) {
    // No address space holds more octets than 64 bits can count.
    pieces.extend_from_slice(&u64::try_from(piece.len()).unwrap_or(u64::MAX).to_be_bytes());
    pieces.extend_from_slice(piece);
}

/// Seals and opens the values of one ledger; leaves those of one without a key as they are.
#[derive(Default)]
pub struct Seal(Option<Keys>);

/// Made of the key and the file's own salt: two ledgers with one key share nothing.
struct Keys {
    values: LessSafeKey,
    names: hmac::Key,
}

impl Seal {
    /// That of the ledger in this file.
    ///
    /// # Errors
    /// The file needs another key than the one that is given, or one at all, or none.
    pub fn of(connection: &Connection, key: Option<&EncryptionKey>) -> Result<Seal, Trouble> {
        let written: Option<(Vec<u8>, Vec<u8>)> = connection
            .query_row("SELECT salt, proof FROM seal WHERE one = 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
            .map_err(trouble)?;
        match (written, key) {
            (None, None) => Ok(Seal(None)),
            (None, Some(_)) => Err(Trouble::WrongKey(Unfit::NotSealed)),
            (Some(_), None) => Err(Trouble::WrongKey(Unfit::Missing)),
            (Some((salt, proof)), Some(key)) => {
                let root = root(&salt, key);
                match subkey(&root, "proof")?.as_slice() == proof {
                    true => Keys::of(&root).map(|keys| Seal(Some(keys))),
                    false => Err(Trouble::WrongKey(Unfit::Other)),
                }
            }
        }
    }

    /// Writes into a new ledger that it is sealed, and by what its key is recognized.
    ///
    /// # Errors
    /// Why that can't be done.
    pub fn begin(connection: &Connection, key: &EncryptionKey) -> Result<(), Trouble> {
        let mut salt = [0; KEY_BYTES];
        rand::fill(&mut salt).map_err(|_| no_randomness())?;
        let proof = subkey(&root(&salt, key), "proof")?;
        let row = (1, salt, proof);
        connection.execute("INSERT INTO seal VALUES (?1, ?2, ?3)", row).map(drop).map_err(trouble)
    }

    /// The name of an entry in the file. Whoever has the file but not the key can't try out which
    /// keys it knows.
    pub fn name(&self, identity: &Sha256) -> Name {
        let mut name = Name::default();
        let mut take = |from: &[u8]| name.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        match &self.0 {
            None => take(&identity.0),
            Some(keys) => take(hmac::sign(&keys.names, &identity.0).as_ref()),
        }
        name
    }

    /// Seals a value.
    ///
    /// # Errors
    /// There is no randomness to be had.
    pub fn close(&self, bound: &Bound, value: Vec<u8>) -> Result<Vec<u8>, Trouble> {
        let Some(keys) = &self.0 else { return Ok(value) };
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| no_randomness())?;
        let mut octets = value;
        let bound = Aad::from(&bound.0);
        let nonce_of = Nonce::assume_unique_for_key(nonce);
        keys.values
            .seal_in_place_append_tag(nonce_of, bound, &mut octets)
            .map_err(|_| Trouble::Failed("a value can't be sealed".to_owned()))?;
        octets.extend_from_slice(&nonce);
        Ok(octets)
    }

    /// Opens one.
    ///
    /// # Errors
    /// It is not what was sealed there.
    pub fn open(&self, bound: &Bound, octets: Vec<u8>) -> Result<Vec<u8>, Trouble> {
        let Some(keys) = &self.0 else { return Ok(octets) };
        let damaged = || Trouble::Corrupt("a sealed value is not what was sealed".to_owned());
        let mut value = octets;
        let nonce = value.split_last_chunk::<NONCE_LEN>().map(|(_, nonce)| *nonce);
        let nonce = Nonce::assume_unique_for_key(nonce.ok_or_else(damaged)?);
        value.truncate(value.len() - NONCE_LEN);
        let opened = keys.values.open_in_place(nonce, Aad::from(&bound.0), &mut value);
        let length = opened.map_err(|_| damaged())?.len();
        value.truncate(length);
        Ok(value)
    }
}

impl Keys {
    fn of(root: &Prk) -> Result<Keys, Trouble> {
        let values = UnboundKey::new(&AES_256_GCM_SIV, &subkey(root, "values")?);
        let values = LessSafeKey::new(values.map_err(|_| no_subkey())?);
        Ok(Keys { values, names: hmac::Key::new(hmac::HMAC_SHA256, &subkey(root, "names")?) })
    }
}

fn root(salt: &[u8], key: &EncryptionKey) -> Prk {
    Salt::new(HKDF_SHA256, salt).extract(key.0.expose())
}

fn subkey(root: &Prk, purpose: &str) -> Result<[u8; KEY_BYTES], Trouble> {
    let mut key = [0; KEY_BYTES];
    root.expand(&[b"erpgate ledger 1 ", purpose.as_bytes()], HKDF_SHA256)
        .and_then(|expanded| expanded.fill(&mut key))
        .map_err(|_| no_subkey())?;
    Ok(key)
}

fn no_subkey() -> Trouble {
    Trouble::Failed("no key can be made of the encryption key".to_owned())
}

fn no_randomness() -> Trouble {
    Trouble::Failed("there is no randomness to be had".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    fn seal(octet: u8) -> Seal {
        let root = root(b"salt", &EncryptionKey::new(&[octet; KEY_BYTES]));
        Seal(Some(Keys::of(&root).expect("keys")))
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = EncryptionKey::of(&Secret::new(&[0xab; KEY_BYTES])).expect("a key");
        assert_eq!(format!("{key:?}"), "EncryptionKey(Secret(…))");
        assert!(EncryptionKey::of(&Secret::new(&[0xab; 31])).is_err());
    }

    #[test]
    fn a_name_needs_the_key() {
        let identity = Sha256::of(b"a");
        let names = [
            Seal(None).name(&identity),
            seal(1).name(&identity),
            seal(2).name(&identity),
            seal(1).name(&Sha256::of(b"b")),
        ];
        assert_eq!(names[0], identity.0[..16]);
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
        assert_eq!(names[1], seal(1).name(&identity));
    }

    #[test]
    fn what_is_bound_can_not_be_shifted() {
        let sealed = seal(1).close(&Bound::to("ab", &[1; 16]).and(b"d"), b"value".to_vec());
        let sealed = sealed.expect("sealed");
        for other in [
            Bound::to("ab", &[1; 16]),
            Bound::to("a", &[1; 16]).and(b"").and(b"d"),
            Bound::to("ab", &[2; 16]).and(b"d"),
            Bound::to("ab", &[1; 16]).and(b"d").and(b""),
        ] {
            assert!(seal(1).open(&other, sealed.clone()).is_err());
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened_or_nothing_is(value: Vec<u8>, at: usize, bit in 0u8..8) {
            let bound = || Bound::to("column", &[9; 16]);
            let sealed = seal(1).close(&bound(), value.clone()).expect("sealed");
            assert_ne!(&sealed, &seal(1).close(&bound(), value.clone()).expect("sealed"));
            prop_assert_eq!(seal(1).open(&bound(), sealed.clone()), Ok(value));
            let mut flipped = sealed.clone();
            let at = at % flipped.len();
            flipped[at] ^= 1 << bit;
            for (seal, octets) in [
                (seal(1), flipped),
                (seal(1), sealed[..at].to_vec()),
                (seal(1), sealed[at + 1..].to_vec()),
                (seal(2), sealed),
            ] {
                let opened = seal.open(&bound(), octets).map_err(|trouble| trouble.word());
                prop_assert_eq!(opened, Err("corrupt"));
            }
        }

        #[test]
        fn without_a_key_nothing_changes(value in any::<Vec<u8>>()) {
            let bound = Bound::to("column", &[9; 16]);
            let sealed = Seal(None).close(&bound, value.clone());
            prop_assert_eq!(&sealed, &Ok(value.clone()));
            prop_assert_eq!(Seal(None).open(&bound, value), sealed);
        }
    }
}
