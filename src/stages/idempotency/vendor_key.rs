//! Decides what a vendor is sent in the place of a client's key: a name that is always the same
//! for it, tells nothing of it, and has the form that the vendor takes.

use super::digest;
use super::key::Key;
use crate::model::digest::Pieces;

/// Bits that a form has to hold at the least: with 2⁴⁰ keys, fewer than one in a million is that
/// of another.
const BITS_MIN: u32 = 100;

const ALPHANUMERIC: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The form that a vendor takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// `3f2a…-…`, 36 characters.
    Uuid,
    /// 32 hexadecimal digits, in lower case.
    Hex32,
    /// So many characters, each one of these.
    Characters {
        /// How many.
        count: u8,
        /// Which: ASCII, none of them twice.
        of: Box<[u8]>,
    },
}

impl Format {
    /// Reads one as typed in a file: `uuid`, `hex32`, `alphanumeric:20`, `20 of 0-9A-Z_`.
    ///
    /// # Errors
    /// One sentence: what is wrong and what to write instead.
    pub fn parse(typed: &str) -> Result<Format, String> {
        let wrong = || {
            format!(
                "`{typed}` is no format of a vendor key: write `uuid`, `hex32`, \
                 `alphanumeric:20` or `20 of 0-9A-Z_`"
            )
        };
        let (count, of) = match typed {
            "uuid" => return Ok(Format::Uuid),
            "hex32" => return Ok(Format::Hex32),
            _ => match (typed.strip_prefix("alphanumeric:"), typed.split_once(" of ")) {
                (Some(count), _) => (count, ALPHANUMERIC.to_vec()),
                (None, Some((count, set))) => (count, expanded(set).ok_or_else(wrong)?),
                (None, None) => return Err(wrong()),
            },
        };
        let count: u8 = count.parse().map_err(|_| wrong())?;
        let bits = u32::from(count) * of.len().checked_ilog2().unwrap_or(0);
        if bits < BITS_MIN {
            return Err(format!(
                "`{typed}` is too short a form: two keys could become one; take more characters"
            ));
        }
        Ok(Format::Characters { count, of: of.into() })
    }
}

/// `0-9A-F_` → its characters; a `-` at the end is one itself. Only what needs no quoting
/// anywhere: a key may go into a path or a query.
fn expanded(set: &str) -> Option<Vec<u8>> {
    let mut characters = Vec::new();
    let mut rest = set.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let (last, tail) = match tail {
            [b'-', last, tail @ ..] => (*last, tail),
            _ => (first, tail),
        };
        characters.extend(first..=last);
        rest = tail;
    }
    let plain = |octet: &u8| octet.is_ascii_alphanumeric() || b"-._~".contains(octet);
    let count = characters.len();
    characters.sort_unstable();
    characters.dedup();
    (characters.len() == count && characters.iter().all(plain)).then_some(characters)
}

/// What the vendor is sent in the place of this client's key.
pub fn derive(client: &str, vendor: &str, key: &Key, format: &Format) -> String {
    let seed = digest("erpgate vendor key 1", client, vendor, key);
    match format {
        Format::Hex32 => seed.to_string().chars().take(32).collect(),
        Format::Uuid => uuid(&seed.0),
        Format::Characters { count, of } => {
            stream(seed.0, of).take(usize::from(*count)).map(char::from).collect()
        }
    }
}

/// In the form of a random one: there is none of SHA-256 that every vendor would take, and to a
/// vendor it is as good as random (RFC 9562 §5.4).
fn uuid(seed: &[u8; 32]) -> String {
    let mut text = String::with_capacity(36);
    for (index, octet) in seed.iter().take(16).enumerate() {
        let octet = match index {
            6 => octet & 0x0f | 0x40,
            8 => octet & 0x3f | 0x80,
            _ => *octet,
        };
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{octet:02x}"));
    }
    text
}

/// Characters without end, each as likely as the others.
fn stream(seed: [u8; 32], of: &[u8]) -> impl Iterator<Item = u8> {
    // Octets past the last whole multiple would make the first characters likelier.
    let fair = (256 / of.len().max(1)) * of.len();
    let octets = (0u32..).flat_map(move |block| {
        let mut pieces = Pieces::default();
        pieces.add(&seed);
        pieces.add(&block.to_be_bytes());
        pieces.finish().0
    });
    let indices = octets.map(usize::from).filter(move |octet| *octet < fair);
    indices.filter_map(move |octet| of.get(octet % of.len().max(1)).copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert, prop_assert_eq, prop_assert_ne, prop_assume, proptest};
    use std::collections::BTreeSet;

    fn format(typed: &str) -> Format {
        Format::parse(typed).expect(typed)
    }

    fn derived(client: &str, key: &str, typed: &str) -> String {
        derive(client, "v", &Key::kept(key.into(), None), &format(typed))
    }

    /// A key has to be the same after an upgrade: the vendor remembers it.
    #[test]
    fn keys_do_not_change() {
        let all = ["uuid", "hex32", "alphanumeric:50", "20 of 0-9A-Z_-"];
        assert_eq!(all.map(|typed| derived("shiphawk", "INV-7", typed)), KNOWN);
    }

    /// Computed once, with another program.
    const KNOWN: [&str; 4] = [
        "25bf5c0c-1d80-40ba-b347-d9f903ac896f",
        "25bf5c0c1d80f0ba7347d9f903ac896f",
        "FxsZNnJ4nRY8ruZyZwNqyOfeaIGJamLbCEuykfeh9ep1wDo8Z5",
        "0K168YE3AQT73UYILN_P",
    ];

    #[test]
    fn forms_are_typed_in_files() {
        let base16 = Format::Characters { count: 25, of: b"0123456789abcdef".as_slice().into() };
        assert_eq!(Format::parse("25 of 0-9a-f"), Ok(base16.clone()));
        assert_eq!(Format::parse("25 of a-f0-9"), Ok(base16));
        for typed in [
            "",
            "guid",
            "UUID",
            "alphanumeric",
            "alphanumeric:",
            "alphanumeric:16",
            "alphanumeric:300",
            "24 of 0-9a-f",
            "50 of ",
            "50 of a",
            "50 of aa-z",
            "50 of z-a",
            "50 of a-z/",
            "50 of a-zé",
        ] {
            assert!(Format::parse(typed).is_err_and(|why| why.contains(typed)), "{typed}");
        }
    }

    #[test]
    fn characters_are_equally_likely() {
        let mut counts = [0u32; 10];
        stream([7; 32], b"0123456789")
            .take(100_000)
            .for_each(|c| counts[usize::from(c - b'0')] += 1);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    proptest! {
        #[test]
        fn keys_have_their_form(client in ".{0,9}", key in ".{1,9}") {
            let uuid = derived(&client, &key, "uuid");
            let groups: Vec<usize> = uuid.split('-').map(str::len).collect();
            prop_assert_eq!(groups, [8, 4, 4, 4, 12]);
            prop_assert!(uuid[14..].starts_with('4'));
            prop_assert!(uuid[19..].starts_with(['8', '9', 'a', 'b']));
            for (typed, length, of) in [
                ("hex32", 32, "0123456789abcdef"),
                ("alphanumeric:36", 36, std::str::from_utf8(ALPHANUMERIC).expect("ASCII")),
                ("255 of 01", 255, "01"),
                ("34 of A-H.", 34, "ABCDEFGH."),
            ] {
                let derived = derived(&client, &key, typed);
                prop_assert_eq!(derived.len(), length);
                let set: BTreeSet<char> = of.chars().collect();
                prop_assert!(derived.chars().all(|character| set.contains(&character)));
            }
        }

        #[test]
        fn other_keys_are_other_keys(
            one in (".{0,4}", ".{1,4}"),
            other in (".{0,4}", ".{1,4}"),
        ) {
            prop_assume!(one != other);
            for typed in ["uuid", "hex32", "alphanumeric:20"] {
                prop_assert_ne!(derived(&one.0, &one.1, typed), derived(&other.0, &other.1, typed));
            }
        }
    }
}
