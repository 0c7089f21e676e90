//! Decides how far rules reach: which of them a request could ever come to, and what is left of
//! one beside others.

use super::coverage::{Found, Paths, find};
use super::query::Parameter;
use super::rules::{Allow, Deny, Rules};
use crate::model::path::PathPattern;
use crate::model::scopes::Scopes;

/// Why no request ever comes to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// Earlier rules take all of it.
    Shadowed,
    /// Denies take all of it, or what earlier rules leave.
    Denied,
}

/// Everything about a request but its path, as far as rules can tell requests apart.
#[derive(Clone, Copy, Debug)]
pub struct Given<'r> {
    /// The route.
    pub route: &'r str,
    /// The method.
    pub method: &'r str,
    /// The parameters that rules ask for. One that is not here is absent, or has another value.
    pub query: &'r [(&'r str, Asked<'r>)],
    /// What the credential is good for.
    pub scopes: &'r Scopes,
}

/// How a parameter that rules ask for stands in a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked<'r> {
    /// Once, with this value.
    Once(&'r str),
    /// More than once.
    Repeated,
}

impl<'r> Given<'r> {
    /// Whether the allow matches every such request on its paths.
    pub fn allows(&self, allow: &Allow) -> bool {
        let has = |parameter: &Parameter| {
            let asked = (parameter.name.as_str(), Asked::Once(&parameter.value));
            self.query.iter().any(|(name, state)| (*name, *state) == asked)
        };
        *allow.route == *self.route
            && allow.methods.contains(self.method)
            && allow.query.iter().all(has)
            && self.scopes.holds(&allow.scopes)
    }

    /// Whether the deny matches every such request on its paths.
    pub fn denies(&self, deny: &Deny) -> bool {
        let has = |parameter: &Parameter| {
            self.query.iter().any(|(name, asked)| {
                let is_it = match asked {
                    Asked::Once(value) => value.eq_ignore_ascii_case(&parameter.value),
                    Asked::Repeated => true,
                };
                is_it && name.eq_ignore_ascii_case(&parameter.name)
            })
        };
        deny.route.as_ref().is_none_or(|of| **of == *self.route)
            && deny.methods.is_none_or(|of| of.contains(self.method))
            && deny.query.iter().all(has)
            && self.scopes.holds(&deny.scopes)
    }

    /// The denies that match.
    pub fn denies_of(self, rules: &'r Rules) -> impl Iterator<Item = &'r Deny> {
        rules.denies.iter().filter(move |deny| self.denies(deny))
    }
}

/// The query that a rule asks for, and nothing else.
pub fn own_query(rule: &Allow) -> Vec<(&str, Asked<'_>)> {
    rule.query.iter().map(|p| (p.name.as_str(), Asked::Once(p.value.as_str()))).collect()
}

/// The paths of denies; without any, all.
pub fn denied_paths<'r>(denies: impl Iterator<Item = &'r Deny>) -> Paths {
    let all = PathPattern::everything();
    let patterns: Vec<PathPattern> =
        denies.flat_map(|deny| deny.paths.clone().unwrap_or_else(|| vec![all.clone()])).collect();
    Paths::folded(&patterns)
}

/// Why no request comes to rule number `index`; `None`: some do.
pub fn unreachable(rules: &Rules, common: &Rules, index: usize) -> Option<Unreachable> {
    let allow = rules.allows.get(index)?;
    let own = Paths::exact(&allow.paths);
    // Whatever else a query holds, the same rules match it, and perhaps more.
    let query = own_query(allow);
    let mut shadowed = true;
    for method in allow.methods.iter() {
        let given = Given { route: &allow.route, method, query: &query, scopes: &allow.scopes };
        let earlier = rules.allows.iter().take(index).filter(|rule| given.allows(rule));
        let earlier = Paths::exact(earlier.flat_map(|rule| &rule.paths));
        let denied = denied_paths([rules, common].into_iter().flat_map(|r| given.denies_of(r)));
        if find(&[&own], &[&earlier, &denied]) != Found::None {
            return None;
        }
        shadowed &= find(&[&own], &[&earlier]) == Found::None;
    }
    Some(if shadowed { Unreachable::Shadowed } else { Unreachable::Denied })
}

/// A path by which everything behind one of these doors can be reached, though some path of the
/// route is denied.
pub fn open_door(
    rules: &Rules,
    common: &Rules,
    allow: &Allow,
    doors: &[PathPattern],
) -> Option<String> {
    let of_paths = |rules: &Rules| {
        let mut denies = rules.denies.iter();
        denies.any(|deny| {
            deny.paths.is_some() && deny.route.as_ref().is_none_or(|route| *route == allow.route)
        })
    };
    if doors.is_empty() || !(of_paths(rules) || of_paths(common)) {
        return None;
    }
    let (own, doors) = (Paths::exact(&allow.paths), Paths::folded(doors));
    let query = own_query(allow);
    allow.methods.iter().find_map(|method| {
        let given = Given { route: &allow.route, method, query: &query, scopes: &allow.scopes };
        let denied = denied_paths([rules, common].into_iter().flat_map(|r| given.denies_of(r)));
        match find(&[&own, &doors], &[&denied]) {
            Found::Path(path) => Some(path),
            Found::None | Found::Unknown => None,
        }
    })
}
