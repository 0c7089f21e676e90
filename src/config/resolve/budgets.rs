//! `backoff` and `[[budget]]` of a profile.

use super::bounds::{Longest, duration};
use super::names::check_name;
use crate::config::problem::{Notes, quoted};
use crate::config::raw::at::At;
use crate::config::raw::profile::{RawBackoff, RawBudget};
use crate::config::raw::table::Section;
use crate::model::rates::Rate;
use crate::profile::budget::{Budget, Format, Limit};
use crate::profile::wait::Backoff;
use http::HeaderName;

/// What is kept for clients of high priority, if nothing else is typed.
const RESERVE: f64 = 0.05;

/// How long to wait after a throttle that names no time.
pub(super) fn backoff(notes: &mut Notes, raw: Option<&Section<RawBackoff>>) -> Backoff {
    let (base, max) =
        raw.map_or((None, None), |raw| (raw.value.base.as_ref(), raw.value.max.as_ref()));
    let backoff = Backoff {
        base: duration(notes, "base", base, "1s", Longest::of("5m")),
        max: duration(notes, "max", max, "30s", Longest::of("24h")),
    };
    if let Some(at) = raw.filter(|_| backoff.base > backoff.max) {
        let span = base.map_or(&at.span, |typed| &typed.span);
        let message = "the first wait, `base`, is longer than `max`";
        notes.problem("out-of-range", span, message, "write a longer `max` or a shorter `base`");
    }
    backoff
}

/// The budgets that can be read.
pub(super) fn budgets(notes: &mut Notes, raw: Option<&At<Vec<Section<RawBudget>>>>) -> Vec<Budget> {
    let mut budgets: Vec<Budget> = Vec::new();
    for at in raw.into_iter().flat_map(|raw| &raw.value) {
        let Some(budget) = budget(notes, at) else { continue };
        if budgets.iter().any(|other| other.name == budget.name) {
            let message = format!("there is a budget {} already", quoted(&budget.name));
            notes.problem("duplicate-name", &at.span, message, "give it another `name`");
        }
        budgets.push(budget);
    }
    budgets
}

fn budget(notes: &mut Notes, at: &Section<RawBudget>) -> Option<Budget> {
    let raw: &RawBudget = &at.value;
    let name = notes.required(&at.span, "budget", "name", raw.name.as_ref(), "\"calls\"");
    let name = name.filter(|name| check_name(notes, "budget", name));
    let header = notes.required(&at.span, "budget", "header", raw.header.as_ref(), "\"X-Used\"");
    let header = header.and_then(|typed| field_name(notes, typed));
    let format = format(notes, at);
    let restore = raw.restore.as_ref().and_then(|typed| {
        let help = "write `restore = \"2/second\"`";
        let wrong = |message| notes.problem("bad-rate", &typed.span, message, help);
        Rate::parse(&typed.value).map_err(wrong).ok()
    });
    let reserve = raw.reserve.as_ref().map_or(RESERVE, |typed| {
        if !(0.0..=0.9).contains(&typed.value) {
            let message = format!("{} is out of range for `reserve`", typed.value);
            notes.problem("out-of-range", &typed.span, message, "write a number from 0.0 to 0.9");
        }
        typed.value
    });
    Some(Budget { name: name?.value.clone(), header: header?, format: format?, restore, reserve })
}

fn format(notes: &mut Notes, at: &Section<RawBudget>) -> Option<Format> {
    let raw: &RawBudget = &at.value;
    let example = "\"used/limit\"";
    let typed = notes.required(&at.span, "budget", "format", raw.format.as_ref(), example)?;
    if typed.value == "remaining" {
        return remaining(notes, at).map(Format::Remaining);
    }
    let Some(format) = Format::parse(&typed.value) else {
        let message = format!("there is no format {}", quoted(&typed.value));
        let help = "write \"used/limit\", \"KEY=used/limit\" or \"remaining\"";
        notes.problem("unknown-value", &typed.span, message, help);
        return None;
    };
    let limit = raw.limit.as_ref().map(|typed| &typed.span);
    if let Some(span) = limit.or(raw.limit_header.as_ref().map(|typed| &typed.span)) {
        let message = "this format holds the limit already";
        notes.problem("bad-budget", span, message, "remove it, or write `format = \"remaining\"`");
    }
    Some(format)
}

fn remaining(notes: &mut Notes, at: &Section<RawBudget>) -> Option<Limit> {
    let raw: &RawBudget = &at.value;
    match (&raw.limit, &raw.limit_header) {
        (Some(_), Some(typed)) => {
            let message = "there are two limits";
            notes.problem("bad-budget", &typed.span, message, "keep `limit` or `limit_header`");
            None
        }
        (None, Some(typed)) => field_name(notes, typed).map(Limit::Header),
        (typed, None) => {
            let typed = notes.required(&at.span, "budget", "limit", typed.as_ref(), "1000")?;
            let limit = u64::try_from(typed.value).ok().filter(|limit| *limit > 0);
            if limit.is_none() {
                let message = format!("{} is out of range for `limit`", typed.value);
                let help = "write a number from 1 on";
                notes.problem("out-of-range", &typed.span, message, help);
            }
            limit.map(Limit::Fixed)
        }
    }
}

fn field_name(notes: &mut Notes, typed: &At<String>) -> Option<HeaderName> {
    HeaderName::from_bytes(typed.value.as_bytes())
        .map_err(|_| {
            let message = format!("{} is no name of a header field", quoted(&typed.value));
            notes.problem("bad-field-name", &typed.span, message, "write it as in \"X-Used\"");
        })
        .ok()
}
