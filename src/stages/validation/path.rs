//! Decides whether two readers could take a path for two different ones.
//!
//! Refuses with `path-ambiguous`. The path that is matched and authorized is, byte for byte, the
//! one that is forwarded, so whatever a vendor could read differently is refused.

use crate::model::percent::{decode, escape};
use crate::refusal::Refusal;

/// What a path may hold in spite of being ambiguous.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllowInPath {
    /// `%2F`.
    pub encoded_slash: bool,
    /// `;`.
    pub semicolon: bool,
}

/// Checks a raw path.
///
/// # Errors
/// `path-ambiguous`, with what was found.
pub fn check(path: &str, allow: AllowInPath) -> Result<(), Refusal> {
    // Almost every path is made of these alone, and then only empty and dot segments matter.
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'~');
    if !path.bytes().all(plain) {
        check_octets(path.as_bytes(), allow)?;
    }
    if path.contains('%') {
        check_decoded(&decode(path))?;
    }
    check_segments(path)
}

fn check_octets(path: &[u8], allow: AllowInPath) -> Result<(), Refusal> {
    let mut rest = path;
    while let Some((&octet, tail)) = rest.split_first() {
        rest = tail;
        match octet {
            b'%' => {
                let escaped =
                    escape(tail).ok_or_else(|| found("A percent sign escapes nothing."))?;
                check_escaped(escaped, allow)?;
            }
            b'\\' => return Err(found("The path holds a backslash.")),
            b';' if !allow.semicolon => return Err(found("The path holds a semicolon.")),
            b'#' => return Err(found("The path holds a fragment.")),
            0..=0x20 | 0x7f..=0xff => {
                return Err(found("The path holds an octet that has to be escaped."));
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_escaped(octet: u8, allow: AllowInPath) -> Result<(), Refusal> {
    match octet {
        b'/' if !allow.encoded_slash => Err(found("The path holds an encoded slash.")),
        b'\\' => Err(found("The path holds an encoded backslash.")),
        b';' if !allow.semicolon => Err(found("The path holds an encoded semicolon.")),
        0..=0x1f | 0x7f => Err(found("The path holds a control character.")),
        _ => Ok(()),
    }
}

/// What a second reader would decode again, or in his own way: `%2541` and `%25%34%31` decode to
/// `%41`; `%C0%AE` is a dot for readers that take overlong UTF-8.
fn check_decoded(decoded: &[u8]) -> Result<(), Refusal> {
    let escapes =
        |three: &[u8]| three.first() == Some(&b'%') && three.get(1..).and_then(escape).is_some();
    if decoded.windows(3).any(escapes) {
        return Err(found("The path is encoded twice."));
    }
    match std::str::from_utf8(decoded) {
        Ok(_) => Ok(()),
        Err(_) => Err(found("The path is not UTF-8.")),
    }
}

fn check_segments(path: &str) -> Result<(), Refusal> {
    let Some(inner) = path.strip_prefix('/') else {
        return Err(found("The path does not begin with a slash."));
    };
    let mut segments = inner.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(found("The path holds an empty segment."));
        }
        if is_dots(segment) {
            return Err(found("The path holds a dot segment."));
        }
        if is_dropped(segment) {
            return Err(found("The path holds a segment that some servers leave out."));
        }
    }
    Ok(())
}

/// `.` and `..`, plain or encoded, also with matrix parameters or a further encoded part behind.
fn is_dots(segment: &str) -> bool {
    if !segment.contains('.') && !segment.contains('%') {
        return false;
    }
    let decoded = decode(segment);
    decoded
        .split(|octet| matches!(octet, b'/' | b'\\'))
        .map(|part| part.split(|octet| *octet == b';').next().unwrap_or(&[]))
        .any(|part| part == b"." || part == b"..")
}

/// `(S(…))` and its kin: where ASP.NET keeps a session that is not in a cookie.
fn is_dropped(segment: &str) -> bool {
    if !segment.starts_with(['(', '%']) {
        return false;
    }
    match decode(segment).as_slice() {
        [b'(', letter, b'(', .., b')', b')'] => letter.is_ascii_alphabetic(),
        _ => false,
    }
}

fn found(what: &'static str) -> Refusal {
    Refusal::PathAmbiguous(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, prop_assert, proptest};

    #[test]
    fn plain_paths_pass() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a/b.c",
            "/eid:7",
            "/a%20b",
            "/caf%C3%A9",
            "/a/...",
            "/a.b/..c",
            "/@x,y",
            "/a%25",
            "/100%25z",
            "/Products(7)",
            "/f(a=(1))",
            "/(a)",
        ] {
            assert_eq!(check(path, AllowInPath::default()), Ok(()), "{path}");
        }
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        for path in [
            "",
            "a",
            "//",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/a/./b",
            "/a/../b",
            "/%2e",
            "/%2E%2e/a",
            "/.%2e",
            "/..;x",
            "/a/%2e%2e;y=1/b",
            "/a%2Fb",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/a;b",
            "/a%3Bb",
            "/%252e%252e/a",
            "/a%2541",
            "/%25%36%35",
            "/a/%25%32%65%25%32%65/b",
            "/%252%65",
            "/%25%32e",
            "/a%25%32%66b",
            "/%c0%ae%c0%ae/x",
            "/a%c0%afb",
            "/%ff",
            "/(S(abc))/a",
            "/a/(W(10006))/b",
            "/%28S%28x%29%29/a",
            "/a%00",
            "/a%0d%0a",
            "/a%7f",
            "/a%",
            "/a%4",
            "/a%zz",
            "/a b",
            "/a#b",
            "/caf\u{e9}",
            "/a\u{7f}",
            "*",
        ] {
            assert!(check(path, AllowInPath::default()).is_err(), "{path}");
        }
    }

    #[test]
    fn a_route_can_admit_two_of_them() {
        let allow = AllowInPath { encoded_slash: true, semicolon: true };
        for path in ["/a%2Fb", "/a;v=1/b", "/a%3Bb"] {
            assert_eq!(check(path, allow), Ok(()), "{path}");
        }
        for path in ["/..;x", "/a/..%2Fb", "/%2e%2e%2fb", "/a%252Fb", "/a%5Cb"] {
            assert!(check(path, allow).is_err(), "{path}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// What passes has no other reading: decoding it once more finds no separator, no dot
        /// segment and no further escape.
        #[test]
        fn what_passes_has_one_reading(path in "/[a-c./%2-7eEfF0;\\\\]{0,12}") {
            if check(&path, AllowInPath::default()).is_ok() {
                let decoded = decode(&path);
                let slashes = |text: &[u8]| text.iter().filter(|b| **b == b'/').count();
                prop_assert!(slashes(&decoded) == slashes(path.as_bytes()));
                for segment in decoded.split(|b| *b == b'/') {
                    prop_assert!(segment != b"." && segment != b"..");
                }
                prop_assert!(!decoded.contains(&b'\\') && !decoded.contains(&b';'));
                let text = String::from_utf8_lossy(&decoded).into_owned();
                prop_assert!(decode(&text).len() == text.len());
            }
        }
    }
}
