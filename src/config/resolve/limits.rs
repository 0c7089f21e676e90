//! Rates, bursts and quotas of clients and rules.

use crate::config::problem::{Notes, nearest, quoted};
use crate::config::raw::at::At;
use crate::config::raw::policy::{RawAllow, RawLimits};
use crate::config::raw::rates::{RawRate, RawRates};
use crate::model::limits::{Daily, Limits, RateLimit};
use crate::model::rates::Rate;
use jiff::tz::TimeZone;
use std::num::NonZeroU32;

/// Largest burst and concurrency.
const AT_ONCE_MAX: i64 = 1_000_000;
/// Largest daily quota.
const DAILY_MAX: i64 = 1_000_000_000;

/// `[limits]`.
pub fn of_client(notes: &mut Notes, raw: &RawLimits) -> Limits {
    let zone = zone(notes, raw.timezone.as_ref(), raw.daily.is_some());
    Limits {
        rates: rates(notes, raw.rate.as_ref(), raw.burst.as_ref()),
        daily: daily(notes, raw.daily.as_ref(), zone),
        concurrency: count(notes, "concurrency", raw.concurrency.as_ref(), AT_ONCE_MAX),
    }
}

/// The limits of an `[[allow]]`.
pub fn of_rule(notes: &mut Notes, raw: &RawAllow) -> Limits {
    Limits {
        rates: rates(notes, raw.rate.as_ref(), raw.burst.as_ref()),
        daily: daily(notes, raw.daily.as_ref(), TimeZone::UTC),
        concurrency: count(notes, "concurrency", raw.concurrency.as_ref(), AT_ONCE_MAX),
    }
}

fn daily(notes: &mut Notes, typed: Option<&At<i64>>, zone: TimeZone) -> Option<Daily> {
    count(notes, "daily", typed, DAILY_MAX).map(|count| Daily { count, zone })
}

fn zone(notes: &mut Notes, typed: Option<&At<String>>, daily: bool) -> TimeZone {
    let Some(typed) = typed else { return TimeZone::UTC };
    if !daily {
        let message = "without `daily`, `timezone` does nothing";
        notes.warning("unused-timezone", &typed.span, message, "remove it");
    }
    TimeZone::get(&typed.value).unwrap_or_else(|_| {
        let message = format!("there is no time zone {}", quoted(&typed.value));
        let known: Vec<_> = jiff::tz::db().available().collect();
        let help = match nearest(&typed.value, known.iter().map(|name| name.as_str())) {
            Some(name) => format!("write `{name}`"),
            None => "write a name of the IANA database, as in \"America/New_York\"".to_owned(),
        };
        notes.problem("unknown-timezone", &typed.span, message, help);
        TimeZone::UTC
    })
}

/// One rate, or a list of them.
pub(super) fn rates(
    notes: &mut Notes,
    rates: Option<&At<RawRates>>,
    burst: Option<&At<i64>>,
) -> Vec<RateLimit> {
    let Some(rates) = rates else {
        if let Some(burst) = burst {
            let help = "write `rate = \"600/minute\"` beside it";
            notes.problem("burst-alone", &burst.span, "there is a burst without a rate", help);
        }
        return Vec::new();
    };
    match &rates.value {
        RawRates::One(text) => {
            let typed = At { value: text.clone(), span: rates.span.clone() };
            rate(notes, &typed, burst).into_iter().collect()
        }
        RawRates::List(list) => {
            if let Some(burst) = burst {
                let message = "nobody could tell which of the rates this burst is of";
                let help = "write `{ rate = \"600/minute\", burst = 60 }` in the list";
                notes.problem("burst-alone", &burst.span, message, help);
            }
            if list.is_empty() {
                let help = "write a rate, or remove the key";
                notes.problem("bad-rate", &rates.span, "this list of rates is empty", help);
            }
            list.iter().filter_map(|typed| listed(notes, typed)).collect()
        }
    }
}

fn listed(notes: &mut Notes, typed: &At<RawRate>) -> Option<RateLimit> {
    match &typed.value {
        RawRate::Plain(text) => {
            rate(notes, &At { value: text.clone(), span: typed.span.clone() }, None)
        }
        RawRate::WithBurst(table) => {
            let typed_rate = notes.required(
                &typed.span,
                "rate",
                "rate",
                table.rate.as_ref(),
                "\"600/minute\"",
            )?;
            rate(notes, typed_rate, table.burst.as_ref())
        }
    }
}

fn rate(notes: &mut Notes, typed: &At<String>, burst: Option<&At<i64>>) -> Option<RateLimit> {
    let burst = count(notes, "burst", burst, AT_ONCE_MAX);
    match Rate::parse(&typed.value) {
        Ok(rate) => Some(RateLimit { rate, burst: burst.unwrap_or_else(|| rate.burst()) }),
        Err(message) => {
            notes.problem("bad-rate", &typed.span, message, "write `rate = \"600/minute\"`");
            None
        }
    }
}

/// A number from 1 to `most`; a problem if it is not.
pub fn count(
    notes: &mut Notes,
    key: &str,
    typed: Option<&At<i64>>,
    most: i64,
) -> Option<NonZeroU32> {
    let typed = typed?;
    let within = Some(typed.value).filter(|value| (1..=most).contains(value));
    let count = within.and_then(|value| u32::try_from(value).ok()).and_then(NonZeroU32::new);
    if count.is_none() {
        let message = format!("{} is out of range for `{key}`", typed.value);
        let help = format!("write a number from 1 to {most}");
        notes.problem("out-of-range", &typed.span, message, help);
    }
    count
}
