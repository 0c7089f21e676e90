//! Scopes: what a token is good for, in the words of its issuer (RFC 6749 §3.3).

use std::ops::Deref;
use std::sync::Arc;

/// Whether the text is one scope: `%x21 / %x23-5B / %x5D-7E`, compared byte for byte.
pub fn is_scope(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    !text.is_empty() && text.bytes().all(legal)
}

/// Some scopes, sorted, each once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scopes(Arc<[Box<str>]>);

impl Scopes {
    /// Whether every one of `needed` is among these.
    pub fn holds(&self, needed: &Scopes) -> bool {
        needed.iter().all(|scope| self.contains(scope))
    }

    /// Whether this one is among them.
    pub fn contains(&self, scope: &str) -> bool {
        self.0.binary_search_by(|known| (**known).cmp(scope)).is_ok()
    }
}

impl Default for Scopes {
    fn default() -> Self {
        Scopes(Arc::new([]))
    }
}

impl FromIterator<Box<str>> for Scopes {
    fn from_iter<I: IntoIterator<Item = Box<str>>>(scopes: I) -> Self {
        let mut scopes: Vec<Box<str>> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Scopes(scopes.into())
    }
}

impl Deref for Scopes {
    type Target = [Box<str>];

    fn deref(&self) -> &[Box<str>] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(names: &[&str]) -> Scopes {
        names.iter().map(|name| Box::from(*name)).collect()
    }

    #[test]
    fn scopes_are_compared_whole_and_exactly() {
        let granted = scopes(&["orders:read", "elsewhere", "a"]);
        for held in [&[][..], &["orders:read"], &["a", "elsewhere"], &["a", "a"]] {
            assert!(granted.holds(&scopes(held)), "{held:?}");
        }
        for needed in [&["orders"][..], &["orders:read:"], &["orders:read", "b"], &["A"]] {
            assert!(!granted.holds(&scopes(needed)), "{needed:?}");
        }
        assert_eq!(scopes(&["b", "a", "b"]).join(" "), "a b");
    }

    #[test]
    fn what_a_scope_is_made_of() {
        for good in ["orders:read", "https://erp.example.com/.default", "a!#'"] {
            assert!(is_scope(good), "{good}");
        }
        for bad in ["", "a b", "a\"", "a\\", "ä", "a\t"] {
            assert!(!is_scope(bad), "{bad}");
        }
    }
}
