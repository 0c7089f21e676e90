//! API keys: `egk_`, 256 random bits in base 62, and a checksum by which a mistyped or shortened
//! key is told from a foreign one, and scanners of code tell keys from noise.
//!
//! A key is known by its SHA-256 alone. Looking it up compares digests, not keys: how long that
//! takes says nothing about how a key begins.

use super::denial::Why;
use crate::model::digest::Sha256;

/// How every key begins.
pub const PREFIX: &str = "egk_";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Digits that hold 256 bits.
const RANDOM: usize = 43;
/// Digits that hold a CRC-32.
const CHECKSUM: usize = 6;

/// Makes a key of 256 random bits.
pub fn make(entropy: [u8; 32]) -> String {
    let mut key = PREFIX.to_owned();
    push_digits(&mut key, &entropy, RANDOM);
    let checksum = crc32fast::hash(key.as_bytes()).to_be_bytes();
    push_digits(&mut key, &checksum, CHECKSUM);
    key
}

/// Whether the text means to be a key.
pub fn is_key(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// The digest that a key is known by.
///
/// # Errors
/// `key-malformed` for what can't be one, so that nothing is looked up for it.
pub fn digest(key: &str) -> Result<Sha256, Why> {
    let random = key.strip_prefix(PREFIX).ok_or(Why::KeyMalformed)?;
    if random.len() != RANDOM + CHECKSUM || !random.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Why::KeyMalformed);
    }
    let (body, checksum) = key.split_at_checked(key.len() - CHECKSUM).ok_or(Why::KeyMalformed)?;
    // No heap: this is on the path of every request with a key.
    let mut value = crc32fast::hash(body.as_bytes());
    let mut right = true;
    for digit in checksum.bytes().rev() {
        right &= digit_of(value % 62) == digit;
        value /= 62;
    }
    if right { Ok(Sha256::of(key.as_bytes())) } else { Err(Why::KeyMalformed) }
}

/// Appends a big-endian number in base 62, with leading zeros.
fn push_digits(key: &mut String, number: &[u8], digits: usize) {
    let mut number = number.to_vec();
    let mut reversed = Vec::with_capacity(digits);
    for _ in 0..digits {
        let remainder = number.iter_mut().fold(0u32, |carry, byte| {
            let value = carry * 256 + u32::from(*byte);
            // A quotient by 62 of less than 62 * 256.
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            value % 62
        });
        reversed.push(char::from(digit_of(remainder)));
    }
    key.extend(reversed.into_iter().rev());
}

fn digit_of(value: u32) -> u8 {
    usize::try_from(value).ok().and_then(|index| DIGITS.get(index)).copied().unwrap_or(b'0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn a_key_is_what_it_is_made_of() {
        let key = make([0; 32]);
        assert_eq!(&key[..47], format!("egk_{}", "0".repeat(43)));
        assert_eq!(key.len(), 53);
        // The largest number there is still has 43 digits.
        assert_eq!(make([255; 32]).len(), 53);
        assert!(digest(&make([255; 32])).is_ok());
        assert_eq!(digest(&key), Ok(Sha256::of(key.as_bytes())));
    }

    #[test]
    fn what_is_mistyped_is_no_key() {
        let key = make([7; 32]);
        for wrong in [
            "",
            "egk_",
            &key[1..],
            &key[..52],
            &format!("{key}0"),
            &key.to_lowercase(),
            &key.replacen("egk_", "EGK_", 1),
            &format!("{} ", &key[..52]),
            &format!("{}é", &key[..51]),
        ] {
            assert_eq!(digest(wrong), Err(Why::KeyMalformed), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_key_checks_and_no_neighbor_does(entropy in any::<[u8; 32]>(), at in 4usize..53) {
            let key = make(entropy);
            prop_assert_eq!(digest(&key), Ok(Sha256::of(key.as_bytes())));
            let mut other = key.clone().into_bytes();
            other[at] = if other[at] == b'x' { b'y' } else { b'x' };
            let other = String::from_utf8(other).expect("ASCII");
            prop_assert_eq!(digest(&other), Err(Why::KeyMalformed));
        }
    }
}
