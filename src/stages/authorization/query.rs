//! What a rule asks of a query. RESTlets and their kin differ by nothing else.
//!
//! Whoever reads `?a=1&a=2` takes the first, the last or both: a repeated parameter never allows,
//! and always denies.

use crate::model::query;

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

/// Whether every reader finds each of these once in the query, with this value.
pub fn allows(needed: &[Parameter], query: Option<&str>) -> bool {
    let query = query.unwrap_or_default();
    needed.iter().all(|parameter| {
        let (name, value) = (parameter.name.as_bytes(), parameter.value.as_bytes());
        let is_there = query::pairs(query).any(|(n, v)| *n == *name && *v == *value);
        is_there && query::values(query, name).count() == 1
    })
}

/// Whether some reader could find each of these in the query, with this value.
pub fn denies(needed: &[Parameter], query: Option<&str>) -> bool {
    let query = query.unwrap_or_default();
    needed.iter().all(|parameter| {
        let (name, value) = (parameter.name.as_bytes(), parameter.value.as_bytes());
        let has_it = |v: &[u8]| same(v, value) || same(&query::spaced(v), value);
        let whole = query::pairs(query).any(|(n, v)| same(&n, name) && has_it(&v));
        let (mut found, mut is_it) = (0, whole);
        for v in query::values(query, name) {
            found += 1;
            is_it |= has_it(&v);
        }
        is_it || found > 1
    })
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

    #[test]
    fn who_separates_by_semicolons_is_not_deceived() {
        let needed = [Parameter { name: "a b".into(), value: "9".into() }];
        for query in ["x=1;a%20b=7&a%20b=9", "a%20b=9&x=1;a+b=7", "x=1;a%20b=9"] {
            assert!(!allows(&needed, Some(query)), "{query}");
        }
        assert!(allows(&needed, Some("a%20b=9&x=1;y")));
        for query in ["a%20b=1;a%20b=2", "a+b=9", "x;a%20b=9", "A+B=9"] {
            assert!(denies(&needed, Some(query)), "{query}");
        }
    }
}
