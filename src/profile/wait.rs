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
