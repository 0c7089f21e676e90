//! What a vendor's answers say of what is left: so much used out of so much.
//!
//! The numbers are the vendor's word: what can't be read, or can't be, says nothing.

use crate::model::rates::Rate;
use http::{HeaderMap, HeaderName, HeaderValue};

/// More than any vendor grants: a larger number is an attack or a mistake.
const COUNT_MAX: u64 = 1_000_000_000_000;

/// One budget that answers tell of.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Its name: metric label.
    pub name: String,
    /// The field that tells of it.
    pub header: HeaderName,
    /// How the field is written.
    pub format: Format,
    /// How fast it fills up again, where that is known.
    pub restore: Option<Rate>,
    /// The fraction that is kept for clients of high priority.
    pub reserve: f64,
}

/// How a field tells of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// `32/40`: used, of how many.
    UsedOfLimit,
    /// The same under a key, as `api-usage=18/5000`, maybe among others.
    Keyed(String),
    /// What is left, out of a limit that is told elsewhere.
    Remaining(Limit),
}

/// How much there is in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Always so much.
    Fixed(u64),
    /// What this field says.
    Header(HeaderName),
}

/// What an answer says of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// How much is used; it can be more than the limit.
    pub used: u64,
    /// How much there is in all, at least 1.
    pub limit: u64,
}

impl Reading {
    /// How much is left.
    pub fn remaining(self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

impl Format {
    /// Reads `"used/limit"` or `"KEY=used/limit"`; `None`: it is neither.
    pub fn parse(typed: &str) -> Option<Format> {
        let before = typed.strip_suffix("used/limit")?;
        let Some(key) = before.strip_suffix('=') else {
            return before.is_empty().then_some(Format::UsedOfLimit);
        };
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let fits = !key.is_empty() && key.bytes().all(fits);
        fits.then(|| Format::Keyed(key.to_owned()))
    }
}

impl Budget {
    /// What the fields of an answer say of it.
    pub fn read(&self, headers: &HeaderMap) -> Option<Reading> {
        let mut values = headers.get_all(&self.header).iter();
        let reading = match &self.format {
            Format::UsedOfLimit => values.find_map(|value| of_limit(value.to_str().ok()?)),
            Format::Keyed(key) => values.find_map(|value| keyed(value, key)),
            Format::Remaining(limit) => {
                let remaining = values.find_map(count_in)?;
                let limit = match limit {
                    Limit::Fixed(limit) => *limit,
                    Limit::Header(name) => headers.get_all(name).iter().find_map(count_in)?,
                };
                Some(Reading { used: limit.saturating_sub(remaining), limit })
            }
        };
        reading.filter(|reading| reading.limit > 0)
    }
}

/// Vendors add sections behind `;` or `,`, and remarks in parentheses.
fn keyed(value: &HeaderValue, key: &str) -> Option<Reading> {
    value.to_str().ok()?.split([';', ',']).find_map(|section| {
        let (name, rest) = section.split_once('=')?;
        let numbers = rest.split('(').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case(key).then(|| of_limit(numbers)).flatten()
    })
}

fn of_limit(text: &str) -> Option<Reading> {
    let (used, limit) = text.split_once('/')?;
    Some(Reading { used: count(used)?, limit: count(limit)? })
}

fn count_in(value: &HeaderValue) -> Option<u64> {
    count(value.to_str().ok()?)
}

fn count(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|count| digits && *count <= COUNT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: Format, fields: &[(&str, &str)]) -> Option<(u64, u64)> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        let header = HeaderName::from_static("x-used");
        let budget = Budget { name: "b".into(), header, format, restore: None, reserve: 0.0 };
        budget.read(&headers).map(|reading| (reading.used, reading.limit))
    }

    #[test]
    fn used_of_a_limit() {
        for (value, expected) in [
            ("32/40", Some((32, 40))),
            (" 0 / 40 ", Some((0, 40))),
            ("41/40", Some((41, 40))),
            ("32", None),
            ("32/", None),
            ("/40", None),
            ("32/0", None),
            ("-1/40", None),
            ("+1/40", None),
            ("3.5/40", None),
            ("1/99999999999999999999", None),
            ("1/9999999999999", None),
            ("1/2/3", None),
            ("NaN/NaN", None),
            ("", None),
        ] {
            assert_eq!(read(Format::UsedOfLimit, &[("x-used", value)]), expected, "{value}");
        }
        let twice = [("x-used", "junk"), ("x-used", "1/2")];
        assert_eq!(read(Format::UsedOfLimit, &twice), Some((1, 2)));
        assert_eq!(Reading { used: 41, limit: 40 }.remaining(), 0);
    }

    #[test]
    fn keys_are_found_among_others() {
        let format = || Format::parse("api-usage=used/limit").expect("a format");
        for (value, expected) in [
            ("api-usage=18/5000", Some((18, 5000))),
            ("api-usage=18/5000; api-bursts=1/750", Some((18, 5000))),
            ("api-bursts=1/750;API-Usage=18/5000", Some((18, 5000))),
            ("per-app-api-usage=17/250(appName=x)", None),
            ("per-app-api-usage=17/250(appName=x); api-usage=18/5000(y)", Some((18, 5000))),
            ("api-usage=18", None),
            ("18/5000", None),
        ] {
            assert_eq!(read(format(), &[("x-used", value)]), expected, "{value}");
        }
        for typed in ["", "used", "limit/used", "=used/limit", "a b=used/limit", "x used/limit"] {
            assert_eq!(Format::parse(typed), None, "{typed}");
        }
    }

    #[test]
    fn what_remains_needs_a_limit() {
        let name = HeaderName::from_static("x-limit");
        let told = || Format::Remaining(Limit::Header(name.clone()));
        assert_eq!(read(told(), &[("x-used", "3"), ("x-limit", "10")]), Some((7, 10)));
        assert_eq!(read(told(), &[("x-used", "30"), ("x-limit", "10")]), Some((0, 10)));
        assert_eq!(read(told(), &[("x-used", "3")]), None);
        assert_eq!(read(told(), &[("x-used", "3"), ("x-limit", "0")]), None);
        let fixed = || Format::Remaining(Limit::Fixed(100));
        assert_eq!(read(fixed(), &[("x-used", "3")]), Some((97, 100)));
        assert_eq!(read(fixed(), &[]), None);
    }
}
