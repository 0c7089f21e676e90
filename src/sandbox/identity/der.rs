//! Reads the numbers of an RSA key out of its DER encoding (PKCS #8, RFC 5208 and RFC 8017).

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// The numbers of an RSA key that a JWK shows, as unsigned big-endian bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RsaNumbers<'a> {
    /// The modulus.
    pub n: &'a [u8],
    /// The public exponent.
    pub e: &'a [u8],
    /// The private exponent.
    pub d: &'a [u8],
}

/// Reads a private key. `None` if it is not one.
pub fn rsa_numbers(pkcs8: &[u8]) -> Option<RsaNumbers<'_>> {
    let mut outer = Elements(Elements(pkcs8).next(SEQUENCE)?);
    outer.next(INTEGER)?;
    outer.next(SEQUENCE)?;
    let mut key = Elements(Elements(outer.next(OCTET_STRING)?).next(SEQUENCE)?);
    key.next(INTEGER)?;
    Some(RsaNumbers { n: key.number()?, e: key.number()?, d: key.number()? })
}

/// What is left of the elements in a row.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The content of the next element, if it has that tag.
    fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, rest) = self.0.split_first()?;
        let (length, rest) = length(rest)?;
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (*found == tag).then_some(content)
    }

    /// The next element as a number without a sign: DER puts a zero before a high first bit.
    fn number(&mut self) -> Option<&'a [u8]> {
        let content = self.next(INTEGER)?;
        Some(content.strip_prefix(&[0]).unwrap_or(content))
    }
}

/// Reads a length: one byte, or a first one that says how many follow.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let Some(count) = first.checked_sub(0x80) else {
        return Some((usize::from(*first), rest));
    };
    let (digits, rest) = rest.split_at_checked(usize::from(count))?;
    let length = digits.iter().try_fold(0usize, |length, digit| {
        length.checked_mul(256)?.checked_add(usize::from(*digit))
    })?;
    Some((length, rest))
}

#[cfg(test)]
mod tests {
    use super::rsa_numbers;

    /// A key with the numbers n = 0x8001 (long form of the length), e = 3 and d = 5.
    const TINY: &[u8] = &[
        0x30, 0x18, 0x02, 0x01, 0x00, 0x30, 0x00, 0x04, 0x11, 0x30, 0x0f, 0x02, 0x01, 0x00, 0x02,
        0x81, 0x03, 0x00, 0x80, 0x01, 0x02, 0x01, 0x03, 0x02, 0x01, 0x05,
    ];

    #[test]
    fn the_numbers_are_found_without_their_sign() {
        let numbers = rsa_numbers(TINY).unwrap();
        assert_eq!((numbers.n, numbers.e, numbers.d), (&[0x80, 1][..], &[3][..], &[5][..]));
    }

    #[test]
    fn what_is_cut_or_something_else_has_none() {
        for end in 0..TINY.len() {
            assert_eq!(rsa_numbers(&TINY[..end]), None, "{end}");
        }
        assert_eq!(rsa_numbers(&[0x31, 0x00]), None);
        assert_eq!(rsa_numbers(&[0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]), None);
    }
}
