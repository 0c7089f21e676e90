//! What is legal in policies, and probably not meant: rules that nothing reaches, scopes that
//! nobody has, doors that stand open beside a deny. Looked for by `check` only: it takes a while.

use super::Context;
use super::policies::Reviewed;
use super::policy_file::Surroundings;
use crate::config::Issuer;
use crate::config::problem::{Notes, Text};
use crate::stages::authentication::directory::Identity;
use crate::stages::authorization::reach::{self, Unreachable};
use crate::stages::authorization::rules::{Allow, Rules};

impl Context<'_> {
    /// Looks at one client.
    pub(super) fn review(&mut self, client: &Reviewed<'_>, common: &Rules, around: &Surroundings) {
        let content = self.sources.read(client.path).unwrap_or_default();
        let content = String::from_utf8(content).unwrap_or_default();
        let mut notes = Notes::new(Text::new(client.path, content));
        let rules = &client.file.policy.rules;
        for (index, allow) in rules.allows.iter().enumerate() {
            let line = line(&notes.text, allow);
            if let Some(why) = reach::unreachable(rules, common, index) {
                let (message, help) = match why {
                    Unreachable::Shadowed => (
                        "no request comes to this rule: earlier ones take all of it",
                        "remove it, or write it before them",
                    ),
                    Unreachable::Denied => (
                        "no request comes to this rule: denies take all of it",
                        "remove it, or narrow the deny",
                    ),
                };
                notes.warning("unreachable-rule", &line, message, help);
            }
            for scope in missing_scopes(allow, &client.file.identities, around) {
                let message = format!("no identity of this client can have the scope `{scope}`");
                let help = "write a scope that its issuer grants, or give it to an identity";
                notes.warning("unknown-scope", &line, message, help);
            }
            let route = around.routes.iter().find(|route| route.name == allow.route);
            let doors = route.map_or(&[][..], |route| &route.vendor.profile.open_doors);
            if let Some(path) = reach::open_door(rules, common, allow, doors) {
                let message =
                    format!("`{path}` reaches any record, whatever is denied on this route");
                let help = "deny that path too, or make sure that the vendor's own permissions \
                            keep this credential out";
                notes.warning("open-door", &line, message, help);
            }
        }
        if !notes.problems.is_empty() {
            self.others.push(notes);
        }
    }
}

/// The bytes of the line that a rule begins in.
fn line(text: &Text, allow: &Allow) -> std::ops::Range<usize> {
    let number = usize::try_from(allow.place.line).unwrap_or(1).saturating_sub(1);
    let before: usize = text.content.split_inclusive('\n').take(number).map(str::len).sum();
    let line = text.content.get(before..).and_then(|rest| rest.lines().next());
    before..before + line.map_or(0, str::len)
}

/// Those of a rule's scopes that none of the identities can have.
fn missing_scopes<'a>(
    allow: &'a Allow,
    identities: &'a [Identity],
    around: &'a Surroundings,
) -> impl Iterator<Item = &'a str> {
    let can_have = |scope: &str| {
        identities.iter().any(|identity| match identity {
            Identity::Key { scopes, .. } | Identity::Certificate { scopes, .. } => {
                scopes.contains(scope)
            }
            Identity::Token { issuer, cap, .. } => {
                let granted = around.issuers.iter().find(|of| of.policy.name == *issuer);
                cap.as_ref().is_none_or(|cap| cap.contains(scope))
                    && granted.is_some_and(|of| grants(of, scope))
            }
        })
    };
    // Without identities there is a warning already.
    let looked_at = !identities.is_empty();
    allow.scopes.iter().map(|scope| &**scope).filter(move |scope| looked_at && !can_have(scope))
}

fn grants(issuer: &Issuer, scope: &str) -> bool {
    issuer.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|granted| granted == scope))
}
