//! `reconcile` of a route or a profile: a question that proves something, about creates that it
//! can be asked about.

use super::outcomes::{About, when};
use crate::config::Read;
use crate::config::problem::{Notes, quoted};
use crate::config::protection::{LookUp, Reconcile};
use crate::config::raw::at::At;
use crate::config::raw::outcome::RawWhen;
use crate::config::raw::protection::RawReconcile;
use crate::config::raw::table::Section;
use crate::model::path::{PathPattern, Segment};
use crate::model::percent::escape;
use crate::profile::when::When;
use crate::stages::idempotency::key::Source;
use crate::stages::validation::path::{self, AllowInPath};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

/// Most segments that a placeholder can count to.
const SEGMENTS_MAX: usize = 64;
/// An example that is right.
const EXAMPLE: &str = "\"GET /orders/eid:{key}\"";
/// Statuses that say nothing of the record: who asks may not, or asks too often.
const SILENT: [u16; 6] = [401, 403, 407, 408, 425, 429];

/// `None` if it can't be used, which has been noted. `reads` are those of the route.
pub(super) fn reconcile(
    notes: &mut Notes,
    at: &Section<RawReconcile>,
    reads: &[Read],
) -> Option<LookUp> {
    let raw: &RawReconcile = &at.value;
    let lookup = notes.required(&at.span, "reconcile", "lookup", raw.lookup.as_ref(), EXAMPLE);
    let lookup = lookup.and_then(|typed| Lookup::parse(notes, typed, reads));
    let executed = raw.executed.as_ref();
    let executed = notes.required(&at.span, "reconcile", "executed", executed, "{ status = 200 }");
    let executed = executed.and_then(|typed| answer(notes, "executed", typed));
    let not_executed = raw.not_executed.as_ref();
    let not_executed =
        notes.required(&at.span, "reconcile", "not_executed", not_executed, "{ status = 404 }");
    let not = not_executed.and_then(|typed| Some((answer(notes, "not_executed", typed)?, typed)));
    let creates = creates(notes, raw, lookup.as_ref());
    let sent_in = sent_in(notes, raw);
    let (lookup, executed, (not_executed, typed)) = (lookup?, executed?, not?);
    check_apart(notes, &executed, &not_executed, &typed.span)?;
    let reconcile = Reconcile {
        method: lookup.method.into(),
        target: lookup.target.into(),
        executed,
        not_executed,
        creates: creates?,
    };
    Some(LookUp { reconcile: Arc::new(reconcile), sent_in: sent_in? })
}

/// A look-up as it was typed, and what is known of it.
struct Lookup<'a> {
    method: &'a str,
    target: &'a str,
    /// The highest segment of a create's path that it asks for.
    needs: usize,
    /// How many segments stand before the one that holds the key; all, if the query does.
    before_key: usize,
}

impl<'a> Lookup<'a> {
    fn parse(notes: &mut Notes, typed: &'a At<String>, reads: &[Read]) -> Option<Lookup<'a>> {
        let parsed = Lookup::read(&typed.value, reads);
        let told = parsed.map_err(|message| {
            let help = format!("write it as in {EXAMPLE}, the path behind `base_url`");
            notes.problem("bad-reconcile", &typed.span, message, help);
        });
        told.ok()
    }

    fn read(typed: &'a str, reads: &[Read]) -> Result<Lookup<'a>, String> {
        let wrong = || format!("{} is no method and path", quoted(typed));
        let (method, target) = typed.split_once(' ').ok_or_else(wrong)?;
        let target = target.trim();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let is_read = |read: &Read| read.method == method && read.path.matches(path);
        if !matches!(method, "GET" | "HEAD") && !reads.iter().any(is_read) {
            return Err(format!("{} may write: a look-up reads", quoted(method)));
        }
        let (plain, holes) = holes(target)?;
        let needs = holes.iter().filter_map(|hole| hole.segment).max().unwrap_or(0);
        let key = holes.iter().find(|hole| hole.segment.is_none());
        let key = key.ok_or("this look-up asks for nothing: it holds no `{key}`")?.at;
        let (plain_path, plain_query) = match plain.split_once('?') {
            Some((path, query)) => (path, query),
            None => (plain.as_str(), ""),
        };
        check_path(plain_path)?;
        check_query(plain_query)?;
        let slashes = |text: &str| text.bytes().filter(|octet| *octet == b'/').count();
        let before_key = match target.get(..key) {
            Some(before) if query.is_none() || key < path.len() => {
                slashes(before).saturating_sub(1)
            }
            _ => slashes(path),
        };
        Ok(Lookup { method, target, needs, before_key })
    }
}

/// `{key}` or `{N}` in a target.
struct Hole {
    /// Where it begins.
    at: usize,
    /// `N`; `None`: the key.
    segment: Option<usize>,
}

/// The target with a digit in each placeholder's place, and what they were.
fn holes(target: &str) -> Result<(String, Vec<Hole>), String> {
    let (mut plain, mut holes) = (String::new(), Vec::new());
    let mut rest = target;
    while let Some((before, behind)) = rest.split_once('{') {
        let at = target.len() - rest.len() + before.len();
        let open = || format!("there is a `{{` without its `}}` in {}", quoted(target));
        let (name, tail) = behind.split_once('}').ok_or_else(open)?;
        // Neither `+5` nor `05`.
        let number = Some(name).filter(|name| !name.starts_with(['+', '0']));
        let number = number.and_then(|digits| digits.parse().ok());
        let unknown = || {
            let unknown = format!("{{{name}}}");
            format!(
                "there is no placeholder {}: there are `{{key}}` and `{{1}}` to `{{64}}`",
                quoted(&unknown)
            )
        };
        let segment = match name {
            "key" => None,
            _ => Some(number.filter(|n| (1..=SEGMENTS_MAX).contains(n)).ok_or_else(unknown)?),
        };
        holes.push(Hole { at, segment });
        plain.push_str(before);
        plain.push('0');
        rest = tail;
    }
    plain.push_str(rest);
    Ok((plain, holes))
}

fn check_path(plain: &str) -> Result<(), String> {
    let legal = |octet: u8| octet.is_ascii_alphanumeric() || b"/-._~!$&'()*+,=:@%".contains(&octet);
    if !plain.starts_with('/') {
        return Err("the path of this look-up does not begin with `/`".to_owned());
    }
    if !plain.bytes().all(legal) {
        return Err("the path of this look-up holds a character that has to be escaped".to_owned());
    }
    path::check(plain, AllowInPath::default()).map_err(|refusal| refusal.detail())
}

fn check_query(plain: &str) -> Result<(), String> {
    let legal =
        |octet: u8| octet.is_ascii_alphanumeric() || b"/-._~!$&'()*+,=:@%?;".contains(&octet);
    let escaped = |rest: &str| escape(rest.as_bytes()).is_some();
    match plain.bytes().all(legal) && plain.split('%').skip(1).all(escaped) {
        true => Ok(()),
        false => {
            Err("the query of this look-up holds a character that has to be escaped".to_owned())
        }
    }
}

/// What an answer has to be, to say something of the record.
fn answer(notes: &mut Notes, key: &str, at: &Section<RawWhen>) -> Option<When> {
    let when = when(notes, at, About::LookUp)?;
    let silent = |status: u16| SILENT.contains(&status) || status >= 500;
    let bare = when.header.is_none() && !when.looks_into_body();
    if bare && when.statuses.iter().any(|range| range.clone().any(silent)) {
        let message = format!(
            "`{key}` would take answers that say nothing of the record: 401, 403, 429 and 5xx are \
             about who asks, and how often"
        );
        let help = "write the statuses of the answers that do, as in { status = 404 }";
        notes.problem("bad-reconcile", &at.span, message, help);
        return None;
    }
    Some(when)
}

/// The second is only asked where the first does not hold, and must not hold by default: a body
/// that could not be read proves nothing.
fn check_apart(notes: &mut Notes, executed: &When, not: &When, span: &Range<usize>) -> Option<()> {
    let overlap = |a: &When, b: &When| {
        let any = a.statuses.is_empty() || b.statuses.is_empty();
        let meet = |range: &RangeInclusive<u16>| {
            b.statuses.iter().any(|o| range.start() <= o.end() && o.start() <= range.end())
        };
        any || a.statuses.iter().any(meet)
    };
    let (message, help) = if executed.covers(not) {
        (
            "`executed` takes every answer that `not_executed` could",
            "write what tells them apart, as in { status = 404 }",
        )
    } else if executed.looks_into_body() && !not.looks_into_body() && overlap(executed, not) {
        (
            "an answer whose body can't be read would say that the vendor did not act",
            "write what is in the body then, as `pointer` or `contains`",
        )
    } else {
        return Some(());
    };
    notes.problem("bad-reconcile", span, message, help);
    None
}

/// The patterns; `None` if one can't be used. Warned of: what could never be looked up.
fn creates(
    notes: &mut Notes,
    raw: &RawReconcile,
    lookup: Option<&Lookup<'_>>,
) -> Option<Vec<PathPattern>> {
    let needs = lookup.map_or(0, |lookup| lookup.needs);
    let never = format!("no create is looked up: its path has no segment {needs}");
    let Some(typed) = &raw.creates else {
        if let (Some(lookup), Some(at)) = (lookup, &raw.lookup)
            && needs > lookup.before_key
        {
            let help = "write `creates`, the paths whose POST creates what is looked up";
            notes.warning("unused-reconcile", &at.span, never, help);
        }
        return Some(Vec::new());
    };
    if typed.value.is_empty() {
        let help = "write path patterns, or remove the key";
        notes.problem("empty-list", &typed.span, "this is empty: nothing is looked up", help);
        return None;
    }
    let mut patterns = Vec::new();
    for text in &typed.value {
        match PathPattern::parse(&text.value) {
            Ok(pattern) => {
                let segments = pattern.segments();
                let open = segments.contains(&Segment::Rest);
                if !open && segments.len() < needs {
                    let help = "write longer paths, or a smaller number in `lookup`";
                    notes.warning("unused-reconcile", &text.span, never.clone(), help);
                }
                patterns.push(pattern);
            }
            Err(message) => {
                let help = "write it as in \"/orders\" or \"/services/rest/record/v1/*\"";
                notes.problem("bad-pattern", &text.span, message, help);
            }
        }
    }
    (patterns.len() == typed.value.len()).then_some(patterns)
}

/// `None` if one can't be used.
fn sent_in(notes: &mut Notes, raw: &RawReconcile) -> Option<Vec<Source>> {
    let Some(typed) = &raw.sent_in else { return Some(Vec::new()) };
    if typed.value.is_empty() {
        let help = "write places, as in [\"path:eid:*\"], or remove the key";
        notes.problem("empty-list", &typed.span, "this is empty: nothing is looked up", help);
        return None;
    }
    let mut places = Vec::new();
    for text in &typed.value {
        match Source::parse(&text.value) {
            Ok(place) => places.push(place),
            Err(message) => {
                let help = "write it as in \"path:eid:*\" or \"body:/externalId\"";
                notes.problem("bad-key-source", &text.span, message, help);
            }
        }
    }
    (places.len() == typed.value.len()).then_some(places)
}
