//! Percent-escapes (RFC 3986 §2.1).

/// The octet that the two digits at the beginning of `digits` name.
pub fn escape(digits: &[u8]) -> Option<u8> {
    let [high, low, ..] = digits else { return None };
    let digit = |d: &u8| char::from(*d).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// With an escape for everything that is not unreserved (RFC 3986 §2.3).
pub fn encode(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for &octet in octets {
        match octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~') {
            true => text.push(char::from(octet)),
            false => text.push_str(&format!("%{octet:02X}")),
        }
    }
    text
}

/// Decodes percent-escapes; a percent sign that escapes nothing is kept.
pub fn decode(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&octet, tail)) = rest.split_first() {
        match (octet, escape(tail)) {
            (b'%', Some(escaped)) => {
                decoded.push(escaped);
                rest = tail.get(2..).unwrap_or(&[]);
            }
            _ => {
                decoded.push(octet);
                rest = tail;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_can_be_decoded() {
        assert_eq!(encode(b"aZ0-._~"), "aZ0-._~");
        assert_eq!(encode("a b+ü&=%".as_bytes()), "a%20b%2B%C3%BC%26%3D%25");
        assert_eq!(decode(&encode("a b+ü&=%".as_bytes())), "a b+ü&=%".as_bytes());
    }

    #[test]
    fn escapes_are_decoded_and_the_rest_is_kept() {
        for (text, expected) in
            [("a%20b", "a b"), ("%41%2f%2F", "A//"), ("%", "%"), ("%4", "%4"), ("%zz%41", "%zzA")]
        {
            assert_eq!(decode(text), expected.as_bytes(), "{text}");
        }
    }
}
