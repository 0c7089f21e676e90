//! `[[outcome]]` of a profile or a vendor: matchers that mean something, and can't be deceived.

use crate::config::problem::{Notes, quoted};
use crate::config::raw::at::At;
use crate::config::raw::outcome::{RawOutcome, RawOutcomes, RawStatus, RawStatuses, RawWhen};
use crate::config::raw::table::Section;
use crate::profile::outcome::Matcher;
use crate::profile::wait::WaitFrom;
use crate::profile::when::{ERROR_MEMBERS, Pointer, Test, When};
use http::HeaderName;
use std::ops::{Range, RangeInclusive};

/// An example that is right.
const EXAMPLE: &str = "{ status = 400, pointer = \"/error/code\", equals = \"TOO_MANY\" }";

/// What is judged by a `when`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// Any answer: a client could have written into a record what would be taken for a throttle.
    AnyAnswer,
    /// The answer to a look-up: what matters there is the record.
    LookUp,
}

/// The matchers that hold, in file order.
pub(super) fn outcomes(notes: &mut Notes, raw: Option<&RawOutcomes>) -> Vec<Matcher> {
    let mut found: Vec<Matcher> = Vec::new();
    for at in raw.into_iter().flat_map(|raw| &raw.value) {
        let Some(matcher) = matcher(notes, at) else { continue };
        if found.iter().any(|earlier| earlier.when.covers(&matcher.when)) {
            let message = "an earlier `outcome` takes every answer that this one could";
            let help = "put this one before it, or remove it";
            notes.warning("unreachable-matcher", &at.span, message, help);
        }
        found.push(matcher);
    }
    found
}

fn matcher(notes: &mut Notes, at: &Section<RawOutcome>) -> Option<Matcher> {
    let raw: &RawOutcome = &at.value;
    let typed = notes.required(&at.span, "outcome", "when", raw.when.as_ref(), EXAMPLE);
    let class = notes.required(&at.span, "outcome", "class", raw.class.as_ref(), "\"rate\"");
    let when = typed.and_then(|typed| when(notes, typed, About::AnyAnswer));
    let wait = match &raw.wait {
        None => None,
        Some(typed) => Some(wait(notes, typed, when.as_ref())?),
    };
    let (when, class) = (when?, class?);
    // What a success means is never decided by its status alone.
    let bare = when.takes_success() && when.header.is_none() && when.pointer.is_none();
    if bare && class.value.is_refused_unexecuted() {
        let message = format!("every success would be taken for {}", quoted(class.value.word()));
        let help = "write a `pointer` to an error beside the status, or another status";
        notes.problem("bad-matcher", &class.span, message, help);
        return None;
    }
    let (class, executed) = (class.value, raw.executed);
    let scope = raw.scope.unwrap_or(class.usual_scope());
    Some(Matcher { when, class, scope, wait, executed })
}

fn wait(notes: &mut Notes, typed: &At<String>, when: Option<&When>) -> Option<WaitFrom> {
    let wait = match WaitFrom::parse(&typed.value) {
        Ok(wait) => wait,
        Err(message) => {
            let help = "write it as in \"30s\", \"header:X-Retry-After-Ms ms\" or \
                        \"pointer:/error/retryAfter\"";
            notes.problem("bad-wait", &typed.span, message, help);
            return None;
        }
    };
    if let (WaitFrom::Pointer(pointer, _), Some(when)) = (&wait, when) {
        check_success(notes, &typed.span, pointer, when)?;
    }
    Some(wait)
}

/// `None` if it can't be used, which has been noted.
pub(super) fn when(notes: &mut Notes, at: &Section<RawWhen>, about: About) -> Option<When> {
    let raw: &RawWhen = &at.value;
    let statuses = match &raw.status {
        Some(typed) => statuses(notes, typed),
        // One that could not be read is not "every status".
        None => (!notes.has_lost(at.span.start, "status")).then(Vec::new),
    };
    let header = match &raw.header {
        Some(typed) => field(notes, typed).map(Some),
        None => Some(None),
    };
    let pointer = match &raw.pointer {
        Some(typed) => pointer(notes, typed).map(Some),
        None => Some(None),
    };
    let comparison = comparison(notes, raw);
    let lost = ["header", "pointer", "equals", "matches", "contains"];
    if lost.iter().any(|key| notes.has_lost(at.span.start, key)) {
        return None;
    }
    let (statuses, header, pointer) = (statuses?, header?, pointer?);
    let comparison = comparison?;
    let when = combined(notes, (statuses, header, pointer), comparison, about)?;
    if when == When::default() {
        let message = "this `when` asks nothing, so every answer would be taken";
        notes.problem("bad-matcher", &at.span, message, format!("write it as in {EXAMPLE}"));
        return None;
    }
    if let (Some(typed), Some((pointer, _))) = (&raw.pointer, &when.pointer)
        && about == About::AnyAnswer
    {
        check_success(notes, &typed.span, pointer, &when)?;
    }
    Some(when)
}

/// Statuses, field and pointer of a `when`.
type Parts = (Vec<RangeInclusive<u16>>, Option<(HeaderName, Option<Test>)>, Option<Pointer>);

/// What `equals`, `matches` or `contains` is about: the value at `pointer`, else that of a
/// `header` without a value of its own, else the body.
fn combined(
    notes: &mut Notes,
    (statuses, header, pointer): Parts,
    comparison: Option<Comparison>,
    about: About,
) -> Option<When> {
    let mut when = When { statuses, header, pointer: None, body: None };
    let Some(Comparison { key, test, span }) = comparison else {
        when.pointer = pointer.map(|pointer| (pointer, None));
        return Some(when);
    };
    let mut refuse = |message: String, help: &str| {
        notes.problem("bad-matcher", &span, message, help);
        None
    };
    match (pointer, &mut when.header) {
        (Some(_), Some((_, None))) => refuse(
            format!("`{key}` could be about `header` or about `pointer`"),
            "write the value of the field behind its name, as in \"X-CSRF-Token: Required\"",
        ),
        (Some(pointer), _) => {
            when.pointer = Some((pointer, Some(test)));
            Some(when)
        }
        (None, Some((_, unset @ None))) => {
            *unset = Some(test);
            Some(when)
        }
        (None, _) if key == "equals" => refuse(
            "no body as a whole is equal to a text".to_owned(),
            "write a `pointer` or a `header` beside it, or `contains`",
        ),
        (None, _) => {
            when.body = Some(test);
            if !when.takes_success() || about == About::LookUp {
                return Some(when);
            }
            refuse(
                format!(
                    "`{key}` would look for it anywhere in the body of a success, where a client \
                     could have written it into a record"
                ),
                "write `status` without 2xx, or a `pointer` to where the vendor tells of errors",
            )
        }
    }
}

/// Of an answer that says 2xx, only what vendors say of errors counts.
fn check_success(
    notes: &mut Notes,
    span: &Range<usize>,
    pointer: &Pointer,
    when: &When,
) -> Option<()> {
    if !when.takes_success() || pointer.leads_to_an_error() {
        return Some(());
    }
    let message = format!(
        "{} may lead into a record, in an answer that says 2xx: a client could write there what \
         would pause the account",
        quoted(pointer.as_str())
    );
    let members: Vec<String> = ERROR_MEMBERS.iter().map(|member| quoted(member)).collect();
    let members = members.join(", ");
    let help =
        format!("write `status` without 2xx, or a pointer that begins with one of {members}");
    notes.problem("bad-matcher", span, message, help);
    None
}

/// `equals`, `matches` or `contains`.
struct Comparison {
    key: &'static str,
    test: Test,
    span: Range<usize>,
}

/// `Some(None)` where none is typed.
fn comparison(notes: &mut Notes, raw: &RawWhen) -> Option<Option<Comparison>> {
    let keys = [("equals", &raw.equals), ("matches", &raw.matches), ("contains", &raw.contains)];
    let mut typed: Vec<(&'static str, &At<String>)> =
        keys.into_iter().filter_map(|(key, typed)| Some((key, typed.as_ref()?))).collect();
    typed.sort_by_key(|(_, at)| at.span.start);
    let (key, at) = match typed.as_slice() {
        [] => return Some(None),
        [one] => *one,
        [(first, _), (second, at), ..] => {
            let message = format!("there is `{first}` already, so `{second}` is one too many");
            let help = "keep one of them; `matches` can say everything that the others can";
            notes.problem("bad-matcher", &at.span, message, help);
            return None;
        }
    };
    let test = match key {
        "equals" => Ok(Test::equals(&at.value)),
        "matches" => Test::matches(&at.value),
        _ if at.value.is_empty() => Err("every value contains the empty text".to_owned()),
        _ => Test::contains(&at.value),
    };
    match test {
        Ok(test) => Some(Some(Comparison { key, test, span: at.span.clone() })),
        Err(why) => {
            let message = format!("this `{key}` can't be used: {why}");
            let help = "write a regular expression (of Rust's crate regex), as in \"^WS_\"";
            let help = if key == "matches" { help } else { "write a part of the text" };
            notes.problem("bad-matcher", &at.span, message, help);
            None
        }
    }
}

fn field(notes: &mut Notes, typed: &At<String>) -> Option<(HeaderName, Option<Test>)> {
    let (name, value) = match typed.value.split_once(':') {
        Some((name, value)) => (name, Some(Test::equals(value.trim()))),
        None => (typed.value.as_str(), None),
    };
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
        let message = format!("{} is no name of a header field", quoted(name));
        let help = "write it as in \"X-CSRF-Token\" or \"X-CSRF-Token: Required\"";
        notes.problem("bad-field-name", &typed.span, message, help);
        return None;
    };
    Some((name, value))
}

fn pointer(notes: &mut Notes, typed: &At<String>) -> Option<Pointer> {
    Pointer::parse(&typed.value)
        .map_err(|message| {
            let help = "write it as in \"/error/code\" or \"/errors/0/code\"";
            notes.problem("bad-matcher", &typed.span, message, help);
        })
        .ok()
}

fn statuses(notes: &mut Notes, typed: &At<RawStatuses>) -> Option<Vec<RangeInclusive<u16>>> {
    let read = |status: &RawStatus| match status {
        RawStatus::Number(number) => {
            let number = u16::try_from(*number).ok()?;
            (100..=599).contains(&number).then_some(number..=number)
        }
        RawStatus::Text(text) => {
            let hundreds: u16 = text.strip_suffix("xx")?.parse().ok()?;
            (1..=5).contains(&hundreds).then_some(hundreds * 100..=hundreds * 100 + 99)
        }
    };
    let ranges: Option<Vec<_>> = typed.value.as_slice().iter().map(read).collect();
    let ranges = ranges.filter(|ranges| !ranges.is_empty());
    if ranges.is_none() {
        let message = "this is no status";
        let help = "write 429, \"5xx\" or a list, as in [429, \"5xx\"]";
        notes.problem("bad-matcher", &typed.span, message, help);
    }
    ranges
}
