//! Decides whether a client may do what it asks for, by the rules that a person wrote.
//!
//! Deny is the default, and a deny wins over every allow. Never looks at a body. Refuses with
//! `client-suspended`, `scope-missing`, `not-permitted`. Gives [`Grant`].

pub mod coverage;
pub mod matcher;
pub mod query;
pub mod reach;
pub mod rules;
pub mod target;

use crate::model::limits::Limits;
use crate::refusal::Refusal;
use crate::stages::authentication::Client;
use crate::stages::authentication::denial::Denial;
use matcher::Matcher;
use rules::{Allow, ClientPolicy, Deny, Place, Rules};
use std::sync::Arc;

/// What every client may do.
#[derive(Debug, Default)]
pub struct Policies {
    /// By the number of the client in the directory.
    pub clients: Vec<Arc<ClientPolicy>>,
    /// What nobody may do.
    pub common: Rules,
    /// What bounds each client by itself, on top of its own limits.
    pub limits: Limits,
}

/// What is asked for, after the route was found.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// Number of the route.
    pub route: usize,
    /// The method; a known one.
    pub method: &'r str,
    /// The path after the route's prefix; not ambiguous.
    pub path: &'r str,
    /// The raw query.
    pub query: Option<&'r str>,
}

/// Evidence: this rule allows it.
#[derive(Clone, Debug)]
pub struct Grant {
    rule: Arc<Allow>,
    client: Arc<ClientPolicy>,
}

impl Grant {
    /// *The* rule: the first in its file that matches.
    pub fn rule(&self) -> &Arc<Allow> {
        &self.rule
    }

    /// The policy that the rule is part of.
    pub fn client(&self) -> &Arc<ClientPolicy> {
        &self.client
    }
}

/// Why it may not be done, and which rule says so.
#[derive(Clone, Debug)]
pub struct Forbidden {
    /// What the client and the log are told.
    pub denial: Denial,
    /// The rule, where one says it: a deny, or the allow that lacks a scope.
    pub rule: Option<Place>,
    /// What the author of a deny or a suspension wrote beside it.
    pub words: Option<Arc<str>>,
}

impl From<Denial> for Forbidden {
    fn from(denial: Denial) -> Forbidden {
        Forbidden { denial, rule: None, words: None }
    }
}

/// Looks for the rule.
///
/// # Errors
/// `client-suspended`; `not-permitted` where a deny matches or no allow does; `scope-missing`,
/// naming those of the first allow that would match with them.
pub fn authorize(
    policies: &Policies,
    client: &Client,
    request: Request<'_>,
) -> Result<Grant, Forbidden> {
    let nothing = || Forbidden::from(Denial { refusal: Refusal::NotPermitted, reason: "no-rule" });
    // The prefix alone is forwarded as `/`.
    let path = if request.path.is_empty() { "/" } else { request.path };
    let request = Request { path, ..request };
    let own = policies.clients.get(client.index()).ok_or_else(nothing)?;
    if let Some(why) = &own.suspended {
        let refusal = Refusal::ClientSuspended;
        let denial = Denial { refusal, reason: "client-suspended" };
        return Err(Forbidden { denial, rule: None, words: Some(why.clone()) });
    }
    check_denies(&policies.common, client, request)?;
    check_denies(&own.rules, client, request)?;
    let Some(matchers) = own.rules.on(request.route) else { return Err(nothing()) };
    let mut lacking: Option<&Arc<Allow>> = None;
    for number in matchers.allow.matches(&target::exact(request.path.as_bytes())) {
        let Some(rule) = at(&own.rules.allows, number) else { continue };
        let fits =
            rule.methods.contains(request.method) && query::allows(&rule.query, request.query);
        if fits && client.scopes().holds(&rule.scopes) {
            return Ok(Grant { rule: rule.clone(), client: own.clone() });
        }
        if fits {
            lacking = lacking.or(Some(rule));
        }
    }
    match lacking {
        Some(rule) => Err(Forbidden {
            denial: Denial {
                refusal: Refusal::ScopeMissing(rule.scopes.join(" ").into()),
                reason: "scope-missing",
            },
            rule: Some(rule.place.clone()),
            words: None,
        }),
        None => Err(nothing()),
    }
}

/// Looks for a deny in every reading of the path.
fn check_denies(rules: &Rules, client: &Client, request: Request<'_>) -> Result<(), Forbidden> {
    let matchers = rules.on(request.route).map(|matchers| &matchers.deny);
    let Some(matcher) = matchers.filter(|matcher| !matcher.is_empty()) else { return Ok(()) };
    match target::readings(request.path.as_bytes())
        .iter()
        .find_map(|path| denied_by(rules, matcher, path, client, request))
    {
        Some(deny) => Err(Forbidden {
            denial: Denial { refusal: Refusal::NotPermitted, reason: "denied" },
            rule: Some(deny.place.clone()),
            words: deny.reason.clone(),
        }),
        None => Ok(()),
    }
}

fn denied_by<'r>(
    rules: &'r Rules,
    matcher: &Matcher,
    path: &[u8],
    client: &Client,
    request: Request<'_>,
) -> Option<&'r Deny> {
    let matches = |deny: &&Deny| {
        deny.methods.is_none_or(|methods| methods.contains(request.method))
            && client.scopes().holds(&deny.scopes)
            && query::denies(&deny.query, request.query)
    };
    matcher.matches(path).into_iter().filter_map(|n| at(&rules.denies, n)).find(matches)
}

fn at<T>(rules: &[T], number: u32) -> Option<&T> {
    rules.get(usize::try_from(number).ok()?)
}
