//! SHA-256 values: of API keys, of certificates.

use aws_lc_rs::digest::{Context, SHA256, digest};
use std::fmt;

/// A SHA-256 value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Sha256 {
        Sha256::taken(digest(&SHA256, bytes).as_ref())
    }

    fn taken(bytes: &[u8]) -> Sha256 {
        let mut value = [0; 32];
        for (to, from) in value.iter_mut().zip(bytes) {
            *to = *from;
        }
        Sha256(value)
    }

    /// Reads 64 hexadecimal digits of either case; between pairs of them a colon may stand, as
    /// `openssl x509 -fingerprint` prints them.
    pub fn parse(text: &str) -> Option<Sha256> {
        let digits: Vec<u8> = match text.len() {
            64 => text.bytes().collect(),
            95 if text.bytes().skip(2).step_by(3).all(|byte| byte == b':') => {
                text.bytes().filter(|byte| *byte != b':').collect()
            }
            _ => return None,
        };
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let mut value = [0; 32];
        let mut pairs = digits.chunks_exact(2);
        for to in &mut value {
            let [high, low] = pairs.next()? else { return None };
            *to = digit(high)? << 4 | digit(low)?;
        }
        pairs.next().is_none().then_some(Sha256(value))
    }

    /// The first eight digits: enough for a person to find it by, too few to be of use.
    pub fn short(&self) -> String {
        let [a, b, c, d, ..] = self.0;
        format!("{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A digest of bytes that come in pieces.
#[derive(Clone)]
pub struct Pieces(Context);

impl Default for Pieces {
    fn default() -> Self {
        Pieces(Context::new(&SHA256))
    }
}

impl Pieces {
    /// The next piece.
    pub fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Of all of them.
    pub fn finish(self) -> Sha256 {
        Sha256::taken(self.0.finish().as_ref())
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pieces(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn digests_and_digits() {
        let abc = Sha256::of(b"abc");
        assert_eq!(abc.to_string(), ABC);
        assert_eq!(abc.short(), "ba7816bf");
        assert_eq!(Sha256::parse(ABC), Some(abc));
        assert_eq!(Sha256::parse(&ABC.to_uppercase()), Some(abc));
        let pairs: Vec<String> =
            ABC.as_bytes().chunks(2).map(|p| String::from_utf8_lossy(p).into_owned()).collect();
        assert_eq!(Sha256::parse(&pairs.join(":")), Some(abc));
    }

    #[test]
    fn pieces_are_one_digest() {
        let mut pieces = Pieces::default();
        for piece in ["a", "", "bc"] {
            pieces.add(piece.as_bytes());
        }
        assert_eq!(pieces.finish(), Sha256::of(b"abc"));
    }

    #[test]
    fn nothing_else_is_one() {
        for text in ["", "ba78", &ABC[1..], &format!("{ABC}0"), &ABC.replace('b', "x")] {
            assert_eq!(Sha256::parse(text), None, "{text}");
        }
        let odd = format!("{}:{}", &ABC[..47], &ABC[47..]);
        assert_eq!(Sha256::parse(&odd), None);
        assert_eq!(Sha256::parse(&"é".repeat(32)), None);
    }
}
