//! How long a vendor asks to wait: in `Retry-After`, in a field or a member of its own, in
//! whatever unit it counts; and how long where it does not say.
//!
//! A hint is a vendor's word, so nothing in it is trusted: what can't be read says nothing, what
//! is endless is cut, and [`clamp`] keeps every pause within bounds.

use super::outcome::Class;
use super::when::{Peek, Pointer, text};
use crate::model::time::parse_duration;
use http::{HeaderMap, HeaderName, header};
use serde_json::Value;
use std::time::{Duration, UNIX_EPOCH};

/// Longest pause that a vendor can bring about, but for a quota.
pub const WAIT_MAX: Duration = Duration::from_secs(300);

/// Longest pause for a quota: the longest one is a day's.
pub const QUOTA_WAIT_MAX: Duration = Duration::from_secs(86_400);

/// What a longer hint is cut to, before [`clamp`]: so that sums of times can't overflow.
const HINT_MAX: Duration = Duration::from_secs(366 * 86_400);

/// From here on an epoch counts milliseconds: as seconds it would be the year 5138.
const EPOCH_MILLISECONDS: f64 = 1e11;

/// A hint within what is reasonable for its class.
pub fn clamp(class: Class, hint: Duration) -> Duration {
    hint.min(if class == Class::Quota { QUOTA_WAIT_MAX } else { WAIT_MAX })
}

/// Where a matcher's wait comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitFrom {
    /// Always this, or longer if `Retry-After` says so.
    Fixed(Duration),
    /// A field of the answer.
    Header(HeaderName, Unit),
    /// A value of its JSON body.
    Pointer(Pointer, Unit),
}

/// What a hint counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds from now, or an HTTP date.
    Seconds,
    /// Milliseconds from now.
    Milliseconds,
    /// Seconds, or milliseconds, since 1970.
    Epoch,
}

impl WaitFrom {
    /// Reads one as typed in a file: `"30s"`, `"header:NAME"`, `"pointer:/a/b"`, the latter two
    /// with ` s`, ` ms` or ` epoch` behind them. Without: milliseconds where the name ends in
    /// `-ms`, `_ms` or `Ms`, else seconds.
    ///
    /// # Errors
    /// One sentence for the person who typed it.
    pub fn parse(typed: &str) -> Result<WaitFrom, String> {
        let Some((kind, rest)) = typed.split_once(':') else {
            return match parse_duration(typed)? {
                Duration::ZERO => Err("a wait of zero is none".to_owned()),
                duration if duration > QUOTA_WAIT_MAX => {
                    Err(format!("`{typed}` is longer than any pause, which ends after 24h"))
                }
                duration => Ok(WaitFrom::Fixed(duration)),
            };
        };
        let units = [(" s", Unit::Seconds), (" ms", Unit::Milliseconds), (" epoch", Unit::Epoch)];
        let explicit = units
            .into_iter()
            .find_map(|(suffix, unit)| Some((rest.strip_suffix(suffix)?.trim_end(), unit)));
        let (name, unit) = explicit.unwrap_or((rest, usual_unit(rest)));
        match kind {
            "header" => HeaderName::from_bytes(name.as_bytes())
                .map(|name| WaitFrom::Header(name, unit))
                .map_err(|_| format!("`{name}` is no name of a header field")),
            "pointer" => Pointer::parse(name).map(|pointer| WaitFrom::Pointer(pointer, unit)),
            _ => Err(format!("`{typed}` is neither a duration nor a place in the answer")),
        }
    }

    /// Whether it is found in the body.
    pub fn looks_into_body(&self) -> bool {
        matches!(self, WaitFrom::Pointer(..))
    }

    /// What the answer says there; `now` in seconds since 1970.
    fn hint(&self, headers: &HeaderMap, peek: &Peek<'_>, now: i64) -> Option<Duration> {
        match self {
            WaitFrom::Fixed(duration) => Some(*duration),
            WaitFrom::Header(name, unit) => in_field(headers, name, *unit, now),
            WaitFrom::Pointer(pointer, unit) => in_value(peek.at(pointer)?, *unit, now),
        }
    }
}

fn usual_unit(name: &str) -> Unit {
    let lower = name.to_ascii_lowercase();
    match lower.ends_with("-ms") || lower.ends_with("_ms") || name.ends_with("Ms") {
        true => Unit::Milliseconds,
        false => Unit::Seconds,
    }
}

/// How long an answer asks to wait, not clamped; `None`: it does not say, and zero says nothing
/// either. `now` in seconds since 1970.
///
/// What the matcher names comes first, then `Retry-After` (RFC 9110 §10.2.3), if waiting helps in
/// this class at all; of a fixed time and `Retry-After`, the longer one.
pub(super) fn hint(
    class: Class,
    from: Option<&WaitFrom>,
    headers: &HeaderMap,
    peek: &Peek<'_>,
    now: i64,
) -> Option<Duration> {
    let named = from.and_then(|from| from.hint(headers, peek, now));
    let standard = || {
        let helps = class.is_throttle() || matches!(class, Class::Lock | Class::RetryableServer);
        helps.then(|| in_field(headers, &header::RETRY_AFTER, Unit::Seconds, now)).flatten()
    };
    let hint = match from {
        Some(WaitFrom::Fixed(_)) => named.max(standard()),
        _ => named.or_else(standard),
    };
    hint.filter(|hint| !hint.is_zero())
}

/// The longest of a field's values: it is meant to be there once.
fn in_field(headers: &HeaderMap, name: &HeaderName, unit: Unit, now: i64) -> Option<Duration> {
    let values = headers.get_all(name).iter();
    values.filter_map(|value| parse(value.to_str().ok()?, unit, now)).max()
}

fn in_value(value: &Value, unit: Unit, now: i64) -> Option<Duration> {
    match value {
        Value::Number(number) => measured(number.as_f64()?, unit, now),
        other => parse(&text(other)?, unit, now),
    }
}

/// Reads a hint: a whole or decimal number or, where seconds are counted, one of the three HTTP
/// dates (RFC 9110 §5.6.7). A time that has passed is zero.
pub fn parse(hint: &str, unit: Unit, now: i64) -> Option<Duration> {
    let hint = hint.trim();
    let (whole, decimals) = hint.split_once('.').unwrap_or((hint, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if digits(whole) && digits(decimals) {
        return measured(hint.parse().ok()?, unit, now);
    }
    if unit != Unit::Seconds {
        return None;
    }
    let date = httpdate::parse_http_date(hint).ok()?;
    let date = date.duration_since(UNIX_EPOCH).ok()?;
    let now = Duration::from_secs(u64::try_from(now).unwrap_or(0));
    Some(date.saturating_sub(now).min(HINT_MAX))
}

/// A number in its unit: of what is not a length of time, nothing; of an endless one, as long as
/// anything is.
fn measured(number: f64, unit: Unit, now: i64) -> Option<Duration> {
    let seconds = match unit {
        Unit::Seconds => number,
        Unit::Milliseconds => number / 1e3,
        Unit::Epoch => {
            let at = if number >= EPOCH_MILLISECONDS { number / 1e3 } else { number };
            // A wait of decades is a count of something else, such as seconds from now.
            let wait = at - now as f64;
            return (wait > -HINT_MAX.as_secs_f64()).then(|| cut(wait)).flatten();
        }
    };
    (seconds >= 0.0).then(|| cut(seconds)).flatten()
}

fn cut(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds.clamp(0.0, HINT_MAX.as_secs_f64())).ok()
}

/// How long to wait after throttles that name no time: growing, from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first one.
    pub base: Duration,
    /// At most.
    pub max: Duration,
}

impl Backoff {
    /// The wait after so many throttles in a row before this one: each time doubled. The caller
    /// adds what keeps its requests apart.
    pub fn after(self, earlier: u32) -> Duration {
        let factor = 2u32.saturating_pow(earlier);
        self.base.saturating_mul(factor).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::{any, prop_assert, proptest};

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: i64 = 784_111_777;

    #[test]
    fn hints_are_read() {
        let year = 366 * 86_400_000;
        for (hint, unit, milliseconds) in [
            // Numbers.
            ("2", Unit::Seconds, Some(2_000)),
            ("2.0", Unit::Seconds, Some(2_000)),
            (" 0.25 ", Unit::Seconds, Some(250)),
            ("0", Unit::Seconds, Some(0)),
            ("007", Unit::Seconds, Some(7_000)),
            ("1500", Unit::Milliseconds, Some(1_500)),
            ("0.5", Unit::Milliseconds, Some(0)),
            ("99999999999999999999999", Unit::Seconds, Some(year)),
            // The three dates of RFC 9110 §5.6.7.
            ("Sun, 06 Nov 1994 08:49:47 GMT", Unit::Seconds, Some(10_000)),
            ("Sunday, 06-Nov-94 08:49:47 GMT", Unit::Seconds, Some(10_000)),
            ("Sun Nov  6 08:49:47 1994", Unit::Seconds, Some(10_000)),
            ("Sun, 06 Nov 1994 08:49:36 GMT", Unit::Seconds, Some(0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Unit::Seconds, Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Unit::Seconds, Some(year)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Unit::Milliseconds, None),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Unit::Epoch, None),
            ("Sun, 06 Nov 1994 08:49:47 +0100", Unit::Seconds, None),
            // Since 1970: seconds, milliseconds, a moment ago, and what is no such time.
            ("784111787", Unit::Epoch, Some(10_000)),
            ("784111787000", Unit::Epoch, Some(10_000)),
            ("784111770", Unit::Epoch, Some(0)),
            ("10", Unit::Epoch, None),
            ("99999999999999999999999", Unit::Epoch, Some(year)),
            // Nothing.
            ("", Unit::Seconds, None),
            ("-1", Unit::Seconds, None),
            ("+1", Unit::Seconds, None),
            ("1e3", Unit::Seconds, None),
            ("NaN", Unit::Seconds, None),
            ("inf", Unit::Seconds, None),
            ("1.", Unit::Seconds, None),
            (".5", Unit::Seconds, None),
            ("1.5.2", Unit::Seconds, None),
            ("1,5", Unit::Seconds, None),
            ("2 seconds", Unit::Seconds, None),
            ("soon", Unit::Seconds, None),
        ] {
            let expected = milliseconds.map(Duration::from_millis);
            let read = parse(hint, unit, NOW);
            let close = |(a, b): (Duration, Duration)| a.abs_diff(b) < Duration::from_millis(1);
            let same = read.is_some() == expected.is_some();
            assert!(same && read.zip(expected).is_none_or(close), "{hint} {unit:?}: {read:?}");
        }
        assert_eq!(parse("9", Unit::Seconds, i64::MIN), Some(Duration::from_secs(9)));
        let date = "Sun, 06 Nov 1994 08:49:47 GMT";
        assert_eq!(parse(date, Unit::Seconds, i64::MAX), Some(Duration::ZERO));
    }

    #[test]
    fn places_are_typed_with_their_units() {
        let header = |name| HeaderName::from_static(name);
        let pointer = |typed| Pointer::parse(typed).expect("a pointer");
        for (typed, expected) in [
            ("30s", WaitFrom::Fixed(Duration::from_secs(30))),
            ("header:Retry-After", WaitFrom::Header(header("retry-after"), Unit::Seconds)),
            ("header:X-Wait-Ms", WaitFrom::Header(header("x-wait-ms"), Unit::Milliseconds)),
            ("header:X-Wait-Ms s", WaitFrom::Header(header("x-wait-ms"), Unit::Seconds)),
            ("header:X-Wait ms", WaitFrom::Header(header("x-wait"), Unit::Milliseconds)),
            ("header:X-Reset epoch", WaitFrom::Header(header("x-reset"), Unit::Epoch)),
            ("pointer:/a/0", WaitFrom::Pointer(pointer("/a/0"), Unit::Seconds)),
            (
                "pointer:/retryAfterMs",
                WaitFrom::Pointer(pointer("/retryAfterMs"), Unit::Milliseconds),
            ),
            ("pointer:/items", WaitFrom::Pointer(pointer("/items"), Unit::Seconds)),
            ("pointer:/at epoch", WaitFrom::Pointer(pointer("/at"), Unit::Epoch)),
        ] {
            assert_eq!(WaitFrom::parse(typed), Ok(expected), "{typed}");
        }
        for typed in ["", "0s", "30", "25h", "header:", "header:a b", "pointer:a", "body:/a"] {
            assert!(WaitFrom::parse(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn the_vendors_word_comes_first() {
        let headers = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            headers
        };
        let (own, standard) = (("x-wait", "7"), ("retry-after", "3"));
        for (class, from, fields, seconds) in [
            (Class::Rate, None, &[standard][..], Some(3)),
            (Class::Lock, None, &[standard], Some(3)),
            (Class::RetryableServer, None, &[standard], Some(3)),
            (Class::Business, None, &[standard], None),
            (Class::Rate, None, &[], None),
            (Class::Rate, None, &[("retry-after", "0")], None),
            (Class::Rate, None, &[standard, ("retry-after", "5"), ("retry-after", "x")], Some(5)),
            (Class::Rate, Some("header:X-Wait"), &[own, standard], Some(7)),
            (Class::Rate, Some("header:X-Wait"), &[standard], Some(3)),
            (Class::Rate, Some("header:X-Wait"), &[("x-wait", "junk"), standard], Some(3)),
            (Class::Business, Some("header:X-Wait"), &[own], Some(7)),
            (Class::Rate, Some("2s"), &[standard], Some(3)),
            (Class::Rate, Some("5s"), &[standard], Some(5)),
            (Class::Rate, Some("pointer:/error/wait"), &[standard], Some(9)),
            (Class::Rate, Some("pointer:/error/text"), &[standard], Some(8)),
            (Class::Rate, Some("pointer:/error/minus"), &[standard], Some(3)),
            (Class::Rate, Some("pointer:/error/gone"), &[], None),
        ] {
            let body = br#"{"error":{"wait":9.0,"text":"8","minus":-5}}"#;
            let from = from.map(|typed| WaitFrom::parse(typed).expect(typed));
            let hint = hint(class, from.as_ref(), &headers(fields), &Peek::new(body, true), NOW);
            assert_eq!(hint, seconds.map(Duration::from_secs), "{class:?} {from:?} {fields:?}");
        }
    }

    #[test]
    fn pauses_are_bounded() {
        let long = Duration::from_secs(1_000_000);
        assert_eq!(clamp(Class::Rate, long), WAIT_MAX);
        assert_eq!(clamp(Class::Lock, long), WAIT_MAX);
        assert_eq!(clamp(Class::Quota, long), QUOTA_WAIT_MAX);
        assert_eq!(clamp(Class::Rate, Duration::from_secs(2)), Duration::from_secs(2));
        let backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(30) };
        let waits = [0, 1, 2, 5, 31, u32::MAX].map(|earlier| backoff.after(earlier).as_secs());
        assert_eq!(waits, [1, 2, 4, 30, 30, 30]);
    }

    proptest! {
        /// Whatever a vendor writes and whatever time it is: no panic, and no endless wait.
        #[test]
        fn any_hint_is_read(hint in r"\PC{0,20}|[0-9.]{0,40}", now in any::<i64>()) {
            for unit in [Unit::Seconds, Unit::Milliseconds, Unit::Epoch] {
                prop_assert!(parse(&hint, unit, now).is_none_or(|wait| wait <= HINT_MAX));
            }
        }
    }
}
