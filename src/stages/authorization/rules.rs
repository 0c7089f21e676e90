//! The rules of a client, compiled: made once when policies are read, walked on each request.

use super::matcher::Matcher;
use super::query::Parameter;
use super::target;
use crate::model::limits::{Limits, Priority};
use crate::model::methods::MethodSet;
use crate::model::path::{PathPattern, Segment};
use crate::model::scopes::Scopes;
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Where a rule stands: what the audit log calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of its file.
    pub file: Arc<str>,
    /// Line of its header, from 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What a rule says of idempotency keys on writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Idempotency {
    /// None is looked at.
    Off,
    /// One protects.
    Optional,
    /// One has to be there.
    Required,
}

impl Idempotency {
    /// The word in policies.
    pub fn word(self) -> &'static str {
        match self {
            Idempotency::Off => "off",
            Idempotency::Optional => "optional",
            Idempotency::Required => "required",
        }
    }
}

/// One `[[allow]]`.
#[derive(Clone, Debug)]
pub struct Allow {
    /// Where it stands.
    pub place: Place,
    /// Name of its route.
    pub route: Arc<str>,
    /// Which methods.
    pub methods: MethodSet,
    /// Which paths, as typed.
    pub paths: Box<[PathPattern]>,
    /// What the query has to hold.
    pub query: Box<[Parameter]>,
    /// Every scope that is needed.
    pub scopes: Scopes,
    /// Of writes under this rule; `None`: the route says it.
    pub idempotency: Option<Idempotency>,
    /// Name of the vendor's credential; `None`: the route's, or the vendor's own.
    pub credential: Option<Arc<str>>,
    /// Bounds of this client under this rule.
    pub limits: Option<Box<Limits>>,
}

/// One `[[deny]]`. What it leaves out means any.
#[derive(Clone, Debug)]
pub struct Deny {
    /// Where it stands.
    pub place: Place,
    /// Name of its route.
    pub route: Option<Arc<str>>,
    /// Which methods.
    pub methods: Option<MethodSet>,
    /// Which paths, as typed.
    pub paths: Option<Vec<PathPattern>>,
    /// What the query may not hold.
    pub query: Vec<Parameter>,
    /// Which credentials: those that are good for all of these.
    pub scopes: Scopes,
    /// Why.
    pub reason: Option<Arc<str>>,
}

/// A client as its policy describes it.
#[derive(Debug)]
pub struct ClientPolicy {
    /// Its name.
    pub name: Arc<str>,
    /// What it is.
    pub description: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Why it is suspended.
    pub suspended: Option<Arc<str>>,
    /// Its place in vendors' queues.
    pub priority: Priority,
    /// Its weight among clients of the same priority.
    pub share: NonZeroU32,
    /// Its own bounds.
    pub limits: Limits,
    /// What it may do.
    pub rules: Rules,
}

/// Allows and denies with the matchers over their paths.
#[derive(Debug, Default)]
pub struct Rules {
    /// In file order.
    pub allows: Box<[Arc<Allow>]>,
    /// In file order.
    pub denies: Box<[Deny]>,
    /// Sorted by the number of the route.
    by_route: Box<[(usize, Matchers)]>,
}

/// The paths of the rules on one route; a path leads to numbers of rules.
#[derive(Debug, Default)]
pub struct Matchers {
    /// Over allows, in the exact form.
    pub allow: Matcher,
    /// Over denies, in the folded form.
    pub deny: Matcher,
}

impl Rules {
    /// Compiles rules, given the names of all routes.
    pub fn new(allows: Vec<Allow>, denies: Vec<Deny>, routes: &[Arc<str>]) -> Rules {
        let mut by_route: BTreeMap<usize, Matchers> = BTreeMap::new();
        for (number, allow) in (0..).zip(&allows) {
            let Some(route) = routes.iter().position(|route| *route == allow.route) else {
                continue;
            };
            let matchers = by_route.entry(route).or_default();
            for pattern in &allow.paths {
                matchers.allow.add(&exact(pattern), number);
            }
        }
        for (number, deny) in (0..).zip(&denies) {
            let concerns = |name: &Arc<str>| deny.route.as_ref().is_none_or(|route| route == name);
            for (route, _) in routes.iter().enumerate().filter(|(_, name)| concerns(name)) {
                let matchers = by_route.entry(route).or_default();
                match &deny.paths {
                    None => matchers.deny.add(&[Segment::Rest], number),
                    Some(patterns) => {
                        patterns.iter().for_each(|p| matchers.deny.add(&folded(p), number));
                    }
                }
            }
        }
        // There may be thousands of clients: none of them keeps room for more.
        for matchers in by_route.values_mut() {
            matchers.allow.compact();
            matchers.deny.compact();
        }
        let allows = allows.into_iter().map(Arc::new).collect();
        Rules { allows, denies: denies.into(), by_route: by_route.into_iter().collect() }
    }

    /// The matchers of a route, by its number.
    pub fn on(&self, route: usize) -> Option<&Matchers> {
        self.by_route.iter().find(|(number, _)| *number == route).map(|(_, matchers)| matchers)
    }
}

/// A pattern in the form that allows are matched in.
pub fn exact(pattern: &PathPattern) -> Vec<Segment> {
    pattern.segments().iter().map(|segment| mapped(segment, target::canonical)).collect()
}

/// A pattern in the form that denies are matched in: without its trailing slash.
pub fn folded(pattern: &PathPattern) -> Vec<Segment> {
    let mut segments: Vec<Segment> =
        pattern.segments().iter().map(|segment| mapped(segment, target::folded)).collect();
    if segments.len() > 1 && segments.last() == Some(&Segment::Literal(Box::new([]))) {
        segments.pop();
    }
    segments
}

fn mapped(segment: &Segment, form: impl Fn(&[u8]) -> Vec<u8>) -> Segment {
    match segment {
        Segment::Literal(text) => Segment::Literal(form(text).into()),
        Segment::Prefix(text) => Segment::Prefix(form(text).into()),
        Segment::Rest => Segment::Rest,
    }
}
