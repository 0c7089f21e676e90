//! What a client may do under new policies and could not under the old ones, exactly.
//!
//! A region is a path pattern of one new rule, less its exceptions, for some methods, scopes and a
//! query. Requests that no rule of either side tells apart but by their paths are looked at
//! together, and two questions about all of their paths decide: is there one that no old rule
//! allowed, and is there one that an old deny kept out.

use crate::config::Route;
use crate::model::path::PathPattern;
use crate::model::scopes::Scopes;
use crate::stages::authorization::coverage::{Found, Paths, find};
use crate::stages::authorization::query::Parameter;
use crate::stages::authorization::reach::{Asked, Given, denied_paths, own_query};
use crate::stages::authorization::rules::{Allow, Deny, Place, Rules};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Queries that are told apart at most: their number is a product over all parameters.
const QUERIES_MAX: usize = 1024;

/// The policies that hold for one client.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// Its own rules; of a client that is suspended or not there, none.
    pub own: Option<&'a Rules>,
    /// Those of every client.
    pub common: &'a Rules,
}

/// Requests that one side allows and the other does not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Region {
    /// Name of the route.
    pub route: String,
    /// The path pattern.
    pub path: String,
    /// What the query holds: `a=1`, `a repeated`, or `a other` where it is absent or has a value
    /// that no rule asks for.
    pub query: Vec<String>,
    /// The scopes that are needed, separated by spaces.
    pub scopes: String,
    /// What of the pattern is not in the region: what was allowed before, and what is denied.
    pub except: Vec<String>,
    /// Which of the pattern only: what denies kept out before.
    pub only: Vec<String>,
    /// Where the rule stands.
    pub rule: String,
    /// The methods.
    pub methods: Vec<&'static str>,
    /// One request of the region.
    pub example: String,
}

/// What the new side allows and the old one does not.
///
/// # Errors
/// Where a rule stands on whose route so many query parameters count that nobody can say.
pub fn gained(old: Side<'_>, new: Side<'_>, routes: &[Arc<Route>]) -> Result<Vec<Region>, Place> {
    let mut regions: Vec<Region> = Vec::new();
    let rules = new.own.map_or(&[][..], |rules| &rules.allows);
    for (index, rule) in rules.iter().enumerate() {
        let prefix = routes.iter().find(|route| route.name == rule.route).map(|r| &*r.prefix);
        let comparison = Comparison {
            old,
            new,
            rule,
            earlier: rules.get(..index).unwrap_or_default(),
            prefix: prefix.unwrap_or_default(),
        };
        let queries = comparison.queries().ok_or_else(|| rule.place.clone())?;
        for method in rule.methods.iter() {
            for pattern in &rule.paths {
                for region in comparison.regions(method, pattern, &queries) {
                    merge(&mut regions, region);
                }
            }
        }
    }
    regions.sort();
    Ok(regions)
}

/// The same region for one more method.
fn merge(regions: &mut Vec<Region>, region: Region) {
    let same = |other: &&mut Region| {
        let (methods, example) = (other.methods.clone(), other.example.clone());
        **other == Region { methods, example, ..region.clone() }
    };
    match regions.iter_mut().find(same) {
        Some(other) => {
            let new: Vec<&str> =
                region.methods.into_iter().filter(|m| !other.methods.contains(m)).collect();
            other.methods.extend(new);
        }
        None => regions.push(region),
    }
}

/// One new rule beside everything else.
struct Comparison<'a> {
    old: Side<'a>,
    new: Side<'a>,
    rule: &'a Allow,
    /// The rules before it, which are told before it.
    earlier: &'a [Arc<Allow>],
    prefix: &'a str,
}

/// What is left of a pattern: why, and one path of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Left {
    only: Vec<String>,
    except: Vec<String>,
    example: String,
}

type Query<'a> = Vec<(&'a str, Asked<'a>)>;

impl<'a> Comparison<'a> {
    fn regions(
        &self,
        method: &'static str,
        pattern: &'a PathPattern,
        queries: &[Query<'a>],
    ) -> Vec<Region> {
        let names: BTreeSet<&str> = queries.iter().flatten().map(|(name, _)| *name).collect();
        let mut regions = Vec::new();
        let mut least: Option<Vec<Vec<Left>>> = None;
        for scopes in self.levels() {
            let left = |query: &Query<'a>| {
                let route = &self.rule.route;
                self.left(Given { route, method, query, scopes: &scopes }, pattern)
            };
            let found: Vec<Vec<Left>> = queries.iter().map(left).collect();
            // With more scopes than are needed nothing else comes of it, as a rule.
            if least.as_ref() == Some(&found) {
                continue;
            }
            let alike = found.windows(2).all(|pair| matches!(pair, [a, b] if a == b));
            for (query, found) in
                queries.iter().zip(&found).take(if alike { 1 } else { usize::MAX })
            {
                let words = if alike { own_words(self.rule) } else { words(query, &names) };
                regions.extend(found.iter().map(|left| Region {
                    route: self.rule.route.to_string(),
                    path: pattern.to_string(),
                    query: words.clone(),
                    scopes: scopes.join(" "),
                    except: left.except.clone(),
                    only: left.only.clone(),
                    rule: self.rule.place.to_string(),
                    methods: vec![method],
                    example: format!("{method} {}{}{}", self.prefix, left.example, sent(query)),
                }));
            }
            least.get_or_insert(found);
        }
        regions
    }

    /// What of the pattern is gained by such requests.
    fn left(&self, given: Given<'_>, pattern: &PathPattern) -> Vec<Left> {
        let own = Paths::exact([pattern]);
        let denied = denied_paths(self.denies(self.new, given));
        let allowed = |rules: &[Arc<Allow>]| {
            Paths::exact(rules.iter().filter(|rule| given.allows(rule)).flat_map(|r| &r.paths))
        };
        let earlier = allowed(self.earlier);
        let old_rules = self.old.own.map_or(&[][..], |rules| &rules.allows);
        let (before, kept_out) = (allowed(old_rules), denied_paths(self.denies(self.old, given)));
        let fresh = find(&[&own], &[&denied, &earlier, &before]);
        let freed = find(&[&own, &before, &kept_out], &[&denied, &earlier]);
        let denies = || overlaps(&[&own], &Paths::default(), self.denies(self.new, given));
        let mut left = Vec::new();
        if let Some(example) = shown(fresh) {
            let old_paths = old_rules.iter().filter(|rule| given.allows(rule));
            let known = old_paths.flat_map(|rule| &rule.paths).filter(|old_pattern| {
                find(&[&own, &Paths::exact([*old_pattern])], &[]) != Found::None
            });
            let known: BTreeSet<String> = known.map(ToString::to_string).collect();
            let except = known.into_iter().chain(denies()).collect();
            left.push(Left { only: Vec::new(), except, example });
        }
        if let Some(example) = shown(freed) {
            // What a new deny still keeps out was not freed.
            let only = overlaps(&[&own, &before], &denied, self.denies(self.old, given));
            left.push(Left { only, except: denies(), example });
        }
        left
    }

    fn denies<'g>(&self, side: Side<'g>, given: Given<'g>) -> impl Iterator<Item = &'g Deny> {
        let rules = [side.own, Some(side.common)].into_iter().flatten();
        rules.flat_map(move |rules| given.denies_of(rules))
    }

    /// Every rule of either side that has to do with the route: scopes and query.
    fn conditions(&self) -> impl Iterator<Item = (&'a [Parameter], &'a Scopes, bool)> {
        let route = &self.rule.route;
        let sides = [self.old.own, Some(self.old.common), self.new.own, Some(self.new.common)];
        sides.into_iter().flatten().flat_map(move |rules| {
            let allows = rules.allows.iter().filter(move |allow| allow.route == *route);
            let allows = allows.map(|allow| (&*allow.query, &allow.scopes, false));
            let denies = rules
                .denies
                .iter()
                .filter(move |deny| deny.route.as_ref().is_none_or(|of| of == route));
            allows.chain(denies.map(|deny| (&*deny.query, &deny.scopes, true)))
        })
    }

    /// The scopes to look at: those of the rule, and those with which a deny would match too.
    fn levels(&self) -> Vec<Scopes> {
        let own = &self.rule.scopes;
        let more = self.conditions().filter(|(_, scopes, is_deny)| *is_deny && !own.holds(scopes));
        let more = more.map(|(_, scopes, _)| own.iter().chain(&**scopes).cloned().collect());
        let more: BTreeSet<Scopes> = more.collect();
        std::iter::once(own.clone()).chain(more).collect()
    }

    /// The queries that rules can tell apart: each parameter absent or of a value that nobody asks
    /// for, with each value that somebody asks for, repeated. What this rule asks for is there.
    /// `None`: too many.
    fn queries(&self) -> Option<Vec<Query<'a>>> {
        let mut queries = vec![own_query(self.rule)];
        let asked: BTreeSet<(&str, &str)> = self
            .conditions()
            .flat_map(|(query, ..)| query.iter().map(|p| (p.name.as_str(), p.value.as_str())))
            .filter(|(name, _)| !self.rule.query.iter().any(|own| own.name == *name))
            .collect();
        let names: BTreeSet<&str> = asked.iter().map(|(name, _)| *name).collect();
        for name in names {
            let values = asked.iter().filter(|(of, _)| *of == name);
            let states: Vec<Asked<'a>> =
                values.map(|(_, value)| Asked::Once(value)).chain([Asked::Repeated]).collect();
            let with = |query: &Query<'a>| {
                let more =
                    states.iter().map(|state| [query.clone(), vec![(name, *state)]].concat());
                std::iter::once(query.clone()).chain(more).collect::<Vec<_>>()
            };
            if queries.len() * (states.len() + 1) > QUERIES_MAX {
                return None;
            }
            queries = queries.iter().flat_map(with).collect();
        }
        Some(queries)
    }
}

/// A query in words, where what it does not hold counts too.
fn words(query: &Query<'_>, names: &BTreeSet<&str>) -> Vec<String> {
    let word = |name: &&str| match query.iter().find(|(of, _)| of == name) {
        Some((_, Asked::Once(value))) => format!("{name}={value}"),
        Some((_, Asked::Repeated)) => format!("{name} repeated"),
        None => format!("{name} other"),
    };
    names.iter().map(word).collect()
}

/// Those patterns of denies that have a path inside and not outside.
fn overlaps<'a>(
    inside: &[&Paths],
    outside: &Paths,
    denies: impl Iterator<Item = &'a Deny>,
) -> Vec<String> {
    let all = [PathPattern::everything()];
    let mut words = BTreeSet::new();
    for deny in denies {
        for pattern in deny.paths.as_deref().unwrap_or(&all) {
            let of_deny = Paths::folded([pattern]);
            let inside: Vec<&Paths> = inside.iter().copied().chain([&of_deny]).collect();
            if find(&inside, &[outside]) != Found::None {
                words.insert(pattern.to_string());
            }
        }
    }
    words.into_iter().collect()
}

fn shown(found: Found) -> Option<String> {
    match found {
        Found::None => None,
        Found::Path(path) => Some(path),
        Found::Unknown => Some("/…".to_owned()),
    }
}

fn own_words(rule: &Allow) -> Vec<String> {
    rule.query.iter().map(ToString::to_string).collect()
}

/// A query as a request could hold it.
fn sent(query: &Query<'_>) -> String {
    let pair = |(name, asked): &(&str, Asked<'_>)| match asked {
        Asked::Once(value) => format!("{name}={value}"),
        Asked::Repeated => format!("{name}=1&{name}=2"),
    };
    let pairs: Vec<String> = query.iter().map(pair).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}
