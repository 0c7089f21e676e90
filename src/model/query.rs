//! Queries as whoever is behind us might read them.

use super::percent;
use std::borrow::Cow;

/// Name and value, decoded.
pub type Pair<'q> = (Cow<'q, [u8]>, Cow<'q, [u8]>);

/// The parameters as most programs read them: between `&`.
pub fn pairs(query: &str) -> impl Iterator<Item = Pair<'_>> {
    query.split('&').map(pair)
}

/// The parameters as any program might read them: `;` separates too, and in a name `+` is a space.
pub fn readings(query: &str) -> impl Iterator<Item = Pair<'_>> {
    query.split(['&', ';']).map(|piece| {
        let (name, value) = pair(piece);
        (if name.contains(&b'+') { spaced(&name).into() } else { name }, value)
    })
}

/// Whether some program could find a parameter of one of these names in the query:
/// without regard to case, to spaces around it and to what stands in brackets behind it.
pub fn could_name<S: AsRef<str>>(query: &str, names: &[S]) -> bool {
    readings(query).any(|(name, _)| {
        let bare = name.split(|octet| *octet == b'[').next().unwrap_or_default();
        names
            .iter()
            .any(|wanted| bare.trim_ascii().eq_ignore_ascii_case(wanted.as_ref().as_bytes()))
    })
}

/// With spaces for plus signs, as forms write them.
pub fn spaced(text: &[u8]) -> Vec<u8> {
    text.iter().map(|octet| if *octet == b'+' { b' ' } else { *octet }).collect()
}

fn pair(piece: &str) -> Pair<'_> {
    let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
    (decode(name), decode(value))
}

fn decode(text: &str) -> Cow<'_, [u8]> {
    match text.contains('%') {
        true => Cow::Owned(percent::decode(text)),
        false => Cow::Borrowed(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_every_clothing() {
        for query in [
            "_method=PUT",
            "a=1&_method=PUT",
            "a=1;_method=PUT",
            "%5Fmethod=PUT",
            "_METHOD",
            "_method[]=PUT",
            "_method%5B0%5D=PUT",
            "+_method=PUT",
            "%20_method+=PUT",
        ] {
            assert!(could_name(query, &["_method"]), "{query}");
        }
        for query in ["", "my_method=1", "a=_method", "_methods=1"] {
            assert!(!could_name(query, &["_method"]), "{query}");
        }
    }
}
