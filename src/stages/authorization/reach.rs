//! Decides how far rules reach: which of them a request could ever come to, and what is left of
//! one beside others.

use super::coverage::{Found, Paths, find};
use super::query::Parameter;
use super::rules::{Allow, Deny, Rules};
use crate::model::path::PathPattern;

/// Why no request ever comes to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// Earlier rules take all of it.
    Shadowed,
    /// Denies take all of it, or what earlier rules leave.
    Denied,
}

/// Whether each condition of `weaker` is one of `stronger` too.
pub fn implies<T: PartialEq>(stronger: &[T], weaker: &[T]) -> bool {
    weaker.iter().all(|condition| stronger.contains(condition))
}

/// The denies that hold for every request with these conditions.
pub fn denies_on<'r>(
    rules: &'r Rules,
    route: &'r str,
    method: &'r str,
    query: &'r [Parameter],
    scopes: &'r [Box<str>],
) -> impl Iterator<Item = &'r Deny> {
    rules.denies.iter().filter(move |deny| {
        deny.route.as_ref().is_none_or(|of| **of == *route)
            && deny.methods.is_none_or(|of| of.contains(method))
            && implies(query, &deny.query)
            && implies(scopes, &deny.scopes)
    })
}

/// The allows that hold for every request with these conditions.
pub fn allows_on<'r>(
    allows: impl Iterator<Item = &'r Allow>,
    route: &'r str,
    method: &'r str,
    query: &'r [Parameter],
    scopes: &'r [Box<str>],
) -> impl Iterator<Item = &'r Allow> {
    allows.filter(move |allow| {
        *allow.route == *route
            && allow.methods.contains(method)
            && implies(query, &allow.query)
            && implies(scopes, &allow.scopes)
    })
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
    let mut shadowed = true;
    for method in allow.methods.iter() {
        let (query, scopes) = (&allow.query, &allow.scopes);
        let earlier = rules.allows.iter().take(index).map(|rule| &**rule);
        let earlier = allows_on(earlier, &allow.route, method, query, scopes);
        let earlier = Paths::exact(earlier.flat_map(|rule| &rule.paths));
        let denies = [rules, common]
            .into_iter()
            .flat_map(|rules| denies_on(rules, &allow.route, method, query, scopes));
        let denied = denied_paths(denies);
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
    allow.methods.iter().find_map(|method| {
        let denies = [rules, common]
            .into_iter()
            .flat_map(|rules| denies_on(rules, &allow.route, method, &allow.query, &allow.scopes));
        match find(&[&own, &doors], &[&denied_paths(denies)]) {
            Found::Path(path) => Some(path),
            Found::None | Found::Unknown => None,
        }
    })
}
