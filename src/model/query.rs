//! Queries as whoever is behind us might read them.

use super::percent;
use std::borrow::Cow;

/// The parameters as most programs read them: between `&`, decoded.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    query.split('&').map(halves).map(|(name, value)| (decode(name), decode(value)))
}

/// The values of a parameter that any program might find, decoded: `;` separates too, `+` in a
/// name may be a space, and case makes no difference.
pub fn values<'q>(query: &'q str, name: &[u8]) -> impl Iterator<Item = Cow<'q, [u8]>> {
    let is_named = move |of: &str| names(of).any(|of| of.eq_ignore_ascii_case(name));
    let pieces = query.split(['&', ';']).map(halves).filter(move |(of, _)| is_named(of));
    pieces.map(|(_, value)| decode(value))
}

/// The query without a parameter of that name; `None`: nothing is left of it.
pub fn without(query: &str, name: &str) -> Option<String> {
    let others = query.split('&').filter(|pair| *decode(halves(pair).0) != *name.as_bytes());
    let left: Vec<&str> = others.collect();
    (!left.is_empty()).then(|| left.join("&"))
}

/// Whether some program could find a parameter of one of these names in the query: without regard
/// to case, to spaces around it and to what stands in brackets behind it.
pub fn could_name<S: AsRef<str>>(query: &str, wanted: &[S]) -> bool {
    query.split(['&', ';']).flat_map(|piece| names(halves(piece).0)).any(|name| {
        let bare = name.split(|octet| *octet == b'[').next().unwrap_or_default();
        wanted.iter().any(|name| bare.trim_ascii().eq_ignore_ascii_case(name.as_ref().as_bytes()))
    })
}

/// With spaces for plus signs, as forms write them.
pub fn spaced(text: &[u8]) -> Vec<u8> {
    text.iter().map(|octet| if *octet == b'+' { b' ' } else { *octet }).collect()
}

fn halves(piece: &str) -> (&str, &str) {
    piece.split_once('=').unwrap_or((piece, ""))
}

/// A name in its readings, decoded.
fn names(name: &str) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let spaced = name.contains('+').then(|| percent::decode(&name.replace('+', " ")).into());
    std::iter::once(decode(name)).chain(spaced)
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
