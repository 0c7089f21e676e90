//! How rules see a path: one form for what allows, and every form that a vendor could read for
//! what denies.
//!
//! What is forwarded are always the octets received. A path that is ambiguous was refused before
//! (`stages::validation::path`); what is left are escapes, case, a trailing slash, and what the
//! route admits with `allow_in_path`.

use crate::model::percent;
use smallvec::SmallVec;
use std::borrow::Cow;

/// Octets that usually need no heap.
type Octets = SmallVec<[u8; 128]>;

/// The form that allows are matched with: escapes of unreserved characters decoded, the digits of
/// other escapes in upper case (RFC 3986 §6.2.2).
pub fn exact(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.contains(&b'%') {
        return Cow::Borrowed(path);
    }
    let mut form = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&octet, tail)) = rest.split_first() {
        rest = tail;
        match escape(octet, tail) {
            Some(escaped) if is_unreserved(escaped) => form.push(escaped),
            Some(_) => {
                form.push(b'%');
                form.extend(tail.iter().take(2).map(u8::to_ascii_uppercase));
            }
            None => {
                form.push(octet);
                continue;
            }
        }
        rest = tail.get(2..).unwrap_or(&[]);
    }
    Cow::Owned(form)
}

/// Every form that denies are matched with: all escapes decoded, in lower case, without a trailing
/// slash. Where the path holds `;` or `%2F`, which only routes that admit them let come so far,
/// also with `;…` cut off each segment and with `%2F` as a separator.
pub fn readings(path: &[u8]) -> SmallVec<[Octets; 1]> {
    let decoded = decode(path);
    let (parameters, slashes) = (decoded.contains(&b';'), decoded.contains(&SLASH));
    let mut readings = SmallVec::new();
    for (cut, split) in [(false, false), (true, false), (false, true), (true, true)] {
        if (parameters || !cut) && (slashes || !split) {
            readings.push(reading(&decoded, cut, split));
        }
    }
    readings
}

/// Stands for an escaped slash: no octet of a decoded path is this control character.
const SLASH: u8 = 0;

fn decode(path: &[u8]) -> Octets {
    let mut decoded = Octets::new();
    let mut rest = path;
    while let Some((&octet, tail)) = rest.split_first() {
        rest = tail;
        match escape(octet, tail) {
            Some(escaped) => {
                decoded.push(if escaped == b'/' { SLASH } else { escaped });
                rest = tail.get(2..).unwrap_or(&[]);
            }
            None => decoded.push(octet),
        }
    }
    decoded
}

fn reading(decoded: &[u8], cut: bool, split: bool) -> Octets {
    let mut reading = Octets::new();
    let mut cutting = false;
    for &octet in decoded {
        let ends_segment = octet == b'/' || (split && octet == SLASH);
        match octet {
            _ if ends_segment => {
                cutting = false;
                // A vendor may take several slashes for one.
                if !(split || cut) || reading.last() != Some(&b'/') {
                    reading.push(b'/');
                }
            }
            b';' if cut => cutting = true,
            _ if cutting => {}
            SLASH => reading.extend_from_slice(b"%2f"),
            _ => reading.push(octet),
        }
    }
    lower(&mut reading);
    if reading.len() > 1 && reading.last() == Some(&b'/') {
        reading.pop();
    }
    reading
}

/// Lower case, of other letters than ASCII's too.
fn lower(octets: &mut Octets) {
    if octets.is_ascii() {
        octets.make_ascii_lowercase();
        return;
    }
    match std::str::from_utf8(octets) {
        // By way of upper case, as `equalsIgnoreCase` compares: `ſ` is an `s`, `ı` an `i`.
        Ok(text) => {
            let upper = text.chars().flat_map(char::to_uppercase);
            let folded: String = upper.flat_map(char::to_lowercase).collect();
            *octets = Octets::from_slice(folded.as_bytes());
        }
        Err(_) => octets.make_ascii_lowercase(),
    }
}

/// A literal of a deny's pattern in the form of [`readings`].
pub fn folded(literal: &[u8]) -> Vec<u8> {
    reading(&decode(literal), false, false).into_vec()
}

/// A literal of an allow's pattern in the form of [`exact`]; what can't stand in a path is
/// escaped first.
pub fn canonical(literal: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(literal.len());
    for &octet in literal {
        if octet.is_ascii_graphic() && !b"\"<>\\^`{|}#?".contains(&octet) {
            escaped.push(octet);
        } else {
            escaped.extend_from_slice(format!("%{octet:02X}").as_bytes());
        }
    }
    exact(&escaped).into_owned()
}

fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~".contains(&octet)
}

/// The octet that a percent sign and the two digits behind it stand for.
fn escape(octet: u8, tail: &[u8]) -> Option<u8> {
    (octet == b'%').then(|| percent::escape(tail)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(octets: &[u8]) -> String {
        String::from_utf8_lossy(octets).into_owned()
    }

    #[test]
    fn the_exact_form_decodes_what_means_the_same() {
        for (path, expected) in [
            ("/a/b", "/a/b"),
            ("/%61/%2D%7e", "/a/-~"),
            ("/a%20b%c3%a9", "/a%20b%C3%A9"),
            ("/eid%3a7", "/eid%3A7"),
            ("/A", "/A"),
            ("/a%2Fb", "/a%2Fb"),
            ("/%", "/%"),
            ("/%4", "/%4"),
        ] {
            assert_eq!(text(&exact(path.as_bytes())), expected, "{path}");
        }
    }

    #[test]
    fn denies_see_every_reading() {
        for (path, expected) in [
            ("/a/b", vec!["/a/b"]),
            ("/", vec!["/"]),
            ("/A/B/", vec!["/a/b"]),
            ("/%45mployee/EID%3A7", vec!["/employee/eid:7"]),
            ("/%C3%89", vec!["/é"]),
            ("/%C5%BFalar%C4%B1", vec!["/salari"]),
            ("/;x/a", vec!["/;x/a", "/a"]),
            ("/a/;/b", vec!["/a/;/b", "/a/b"]),
            ("/a;v=1/b", vec!["/a;v=1/b", "/a/b"]),
            ("/a%3Bv/b;", vec!["/a;v/b;", "/a/b"]),
            ("/a%2Fb", vec!["/a%2fb", "/a/b"]),
            ("/a%2F%2fb/", vec!["/a%2f%2fb", "/a/b"]),
            ("/a;x%2Fb", vec!["/a;x%2fb", "/a", "/a;x/b", "/a/b"]),
        ] {
            let found: Vec<String> = readings(path.as_bytes()).iter().map(|r| text(r)).collect();
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn literals_take_the_same_forms() {
        assert_eq!(text(&canonical("café b".as_bytes())), "caf%C3%A9%20b");
        assert_eq!(text(&canonical(b"%61%2f")), "a%2F");
        assert_eq!(text(&folded("CAF%C3%89%2F".as_bytes())), "café%2f");
    }
}
