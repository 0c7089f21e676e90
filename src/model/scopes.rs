//! Scopes: what a token is good for, in the words of its issuer (RFC 6749 §3.3).

use std::sync::Arc;

/// Whether the text is one scope: `%x21 / %x23-5B / %x5D-7E`, compared byte for byte.
pub fn is_scope(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    !text.is_empty() && text.bytes().all(legal)
}

/// The scopes that a set of rules asks for, each of which has a place in every [`ScopeSet`] that
/// is made for them. What no rule asks for has no place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeTable {
    /// Sorted.
    known: Vec<Arc<str>>,
}

/// Some of the scopes in a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeSet {
    /// Of the first 64, which is nearly always all.
    first: u64,
    rest: Box<[u64]>,
}

impl ScopeTable {
    /// A table of these scopes.
    pub fn new<'a>(scopes: impl IntoIterator<Item = &'a str>) -> ScopeTable {
        let mut known: Vec<Arc<str>> = scopes.into_iter().map(Arc::from).collect();
        known.sort_unstable();
        known.dedup();
        ScopeTable { known }
    }

    /// Those of the given scopes that have a place.
    pub fn set<S: AsRef<str>>(&self, scopes: impl IntoIterator<Item = S>) -> ScopeSet {
        let mut set = ScopeSet { first: 0, rest: vec![0; self.known.len() / 64].into() };
        for scope in scopes {
            let place = self.known.binary_search_by(|known| (**known).cmp(scope.as_ref()));
            let Ok(place) = place else { continue };
            match place / 64 {
                0 => set.first |= 1 << place,
                word => {
                    if let Some(word) = set.rest.get_mut(word - 1) {
                        *word |= 1 << (place % 64);
                    }
                }
            }
        }
        set
    }
}

impl ScopeSet {
    /// Whether every scope of the other set, made by the same table, is in this one.
    pub fn holds(&self, other: &ScopeSet) -> bool {
        let within = |ours: u64, theirs: u64| theirs & !ours == 0;
        within(self.first, other.first)
            && other
                .rest
                .iter()
                .enumerate()
                .all(|(word, theirs)| within(self.rest.get(word).copied().unwrap_or(0), *theirs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_compared_whole_and_exactly() {
        let table = ScopeTable::new(["orders:read", "orders:write", "orders"]);
        let granted = table.set(["orders:read", "elsewhere"]);
        assert!(granted.holds(&table.set(["orders:read"])));
        assert!(granted.holds(&table.set::<&str>([])));
        for needed in [&["orders"][..], &["orders:write"], &["orders:read", "orders"]] {
            assert!(!granted.holds(&table.set(needed)), "{needed:?}");
        }
        assert!(!table.set(["Orders"]).holds(&table.set(["orders"])));
    }

    #[test]
    fn there_may_be_many() {
        let names: Vec<String> = (0..200).map(|n| format!("s{n}")).collect();
        let table = ScopeTable::new(names.iter().map(String::as_str));
        let all = table.set(&names);
        for name in &names {
            let one = table.set([name]);
            assert!(all.holds(&one) && !one.holds(&all), "{name}");
            assert!(!table.set(names.iter().filter(|n| *n != name)).holds(&one), "{name}");
        }
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
