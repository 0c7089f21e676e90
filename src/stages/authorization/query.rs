//! What a rule asks of a query. RESTlets and their kin differ by nothing else.
//!
//! Whoever reads `?a=1&a=2` takes the first, the last or both: a repeated parameter never allows,
//! and always denies.

use crate::model::percent;
use std::borrow::Cow;

/// One parameter and the value that it has to have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parameter {
    /// Its name, decoded.
    pub name: String,
    /// Its value, decoded.
    pub value: String,
}

impl std::fmt::Display for Parameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// Whether the query has each of these once, with this value; names that differ in case only count
/// as one, which is then repeated.
pub fn allows(needed: &[Parameter], query: Option<&str>) -> bool {
    needed.iter().all(|parameter| {
        let mut named = pairs(query).filter(|(name, _)| same(name, parameter.name.as_bytes()));
        let Some((name, value)) = named.next() else { return false };
        let is_it = *name == *parameter.name.as_bytes() && *value == *parameter.value.as_bytes();
        is_it && named.next().is_none()
    })
}

/// Whether the query could be read as having each of these with this value.
pub fn denies(needed: &[Parameter], query: Option<&str>) -> bool {
    needed.iter().all(|parameter| {
        // Some readers take `;` for `&`, and `+` for a space.
        let pieces = || pairs(query).chain(pairs_by(query, ';'));
        let of_name = |(name, _): &Pair<'_>| same(name, parameter.name.as_bytes());
        let repeated = pairs(query).filter(of_name).count() > 1;
        let wanted = parameter.value.as_bytes();
        let has_it = |(_, value): Pair<'_>| same(&value, wanted) || same(&spaced(&value), wanted);
        repeated || pieces().filter(of_name).any(has_it)
    })
}

type Pair<'q> = (Cow<'q, [u8]>, Cow<'q, [u8]>);

fn pairs(query: Option<&str>) -> impl Iterator<Item = Pair<'_>> {
    query.into_iter().flat_map(|query| query.split('&')).map(pair)
}

fn pairs_by(query: Option<&str>, separator: char) -> impl Iterator<Item = Pair<'_>> {
    let separators = ['&', separator];
    query.into_iter().flat_map(move |query| query.split(separators)).map(pair)
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

/// With spaces for plus signs, as forms write them.
fn spaced(value: &[u8]) -> Vec<u8> {
    value.iter().map(|octet| if *octet == b'+' { b' ' } else { *octet }).collect()
}

fn same(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_parameter_never_allows_and_always_denies() {
        let needed = [Parameter { name: "script".into(), value: "12 3".into() }];
        for (query, allowed, denied) in [
            (None, false, false),
            (Some(""), false, false),
            (Some("script=12%203"), true, true),
            (Some("deploy=1&script=12%203&x"), true, true),
            (Some("%73cript=12%203"), true, true),
            (Some("script=12+3"), false, true),
            (Some("script=124"), false, false),
            (Some("script"), false, false),
            (Some("Script=12%203"), false, true),
            (Some("script=12%203&script=12%203"), false, true),
            (Some("script=12%203&Script=9"), false, true),
            (Some("script=9&script=8"), false, true),
            (Some("x=1;script=12%203"), false, true),
            (Some("scripts=12%203"), false, false),
        ] {
            assert_eq!(allows(&needed, query), allowed, "{query:?}");
            assert_eq!(denies(&needed, query), denied, "{query:?}");
        }
        assert!(allows(&[], None) && denies(&[], None));
    }
}
