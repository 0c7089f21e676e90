//! Numbers, durations and sizes within their bounds, or a problem and the default.

use crate::config::problem::{Notes, quoted};
use crate::config::raw::at::At;
use crate::config::raw::text::{DurationText, SizeText};
use crate::model::size::parse_size;
use crate::model::time::parse_duration;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A duration that means "at once" is a time-out that nothing can meet.
const SHORTEST: Duration = Duration::from_millis(1);

/// Whether a duration may be zero, and the longest it may be.
#[derive(Clone, Copy, Debug)]
pub struct Longest {
    /// The longest, as a person would type it.
    pub text: &'static str,
    /// Whether `"0s"` means something.
    pub zero: bool,
}

impl Longest {
    /// At most this, and not zero.
    pub const fn of(text: &'static str) -> Self {
        Longest { text, zero: false }
    }
}

/// A duration; the default is typed like one in a file.
pub fn duration(
    notes: &mut Notes,
    key: &str,
    typed: Option<&At<DurationText>>,
    default: &str,
    longest: Longest,
) -> Duration {
    let default = parse_duration(default).unwrap_or(SHORTEST);
    let Some(typed) = typed else { return default };
    let most = parse_duration(longest.text).unwrap_or(Duration::MAX);
    match parse_duration(&typed.value.0) {
        Err(message) => {
            notes.problem("bad-duration", &typed.span, message, format!("write `{key} = \"30s\"`"));
        }
        Ok(duration) if duration < SHORTEST && !longest.zero => {
            let message = format!("`{key}` is zero: nothing could ever be in time");
            let help = format!("write a duration up to \"{}\"", longest.text);
            notes.problem("out-of-range", &typed.span, message, help);
        }
        Ok(duration) if duration > most => {
            let message = format!("{} is too long for `{key}`", quoted(&typed.value.0));
            let help = format!("write a duration up to \"{}\"", longest.text);
            notes.problem("out-of-range", &typed.span, message, help);
        }
        Ok(duration) => return duration,
    }
    default
}

/// A whole number.
pub fn number(
    notes: &mut Notes,
    key: &str,
    typed: Option<&At<i64>>,
    default: usize,
    range: RangeInclusive<usize>,
) -> usize {
    let Some(typed) = typed else { return default };
    match usize::try_from(typed.value) {
        Ok(number) if range.contains(&number) => number,
        _ => {
            let message = format!("{} is out of range for `{key}`", typed.value);
            let help = format!("write a number from {} to {}", range.start(), range.end());
            notes.problem("out-of-range", &typed.span, message, help);
            default
        }
    }
}

/// A part of a whole.
pub fn fraction(
    notes: &mut Notes,
    key: &str,
    typed: Option<&At<f64>>,
    default: f64,
    range: RangeInclusive<f64>,
) -> f64 {
    let Some(typed) = typed else { return default };
    if range.contains(&typed.value) {
        return typed.value;
    }
    let message = format!("{} is out of range for `{key}`", typed.value);
    let help = format!("write a number from {} to {}", range.start(), range.end());
    notes.problem("out-of-range", &typed.span, message, help);
    default
}

/// A size in bytes.
pub fn size(
    notes: &mut Notes,
    key: &str,
    typed: Option<&At<SizeText>>,
    default: u64,
    range: RangeInclusive<u64>,
) -> u64 {
    let Some(typed) = typed else { return default };
    match parse_size(&typed.value.0) {
        Ok(bytes) if range.contains(&bytes) => return bytes,
        Ok(_) => {
            let message = format!("{} is out of range for `{key}`", quoted(&typed.value.0));
            let help =
                format!("write a size from {} to {}", shown(range.start()), shown(range.end()));
            notes.problem("out-of-range", &typed.span, message, help);
        }
        Err(message) => {
            notes.problem("bad-size", &typed.span, message, format!("write `{key} = \"32KiB\"`"));
        }
    }
    default
}

/// A size as a person would type it.
fn shown(bytes: &u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.iter().find(|(unit, _)| *bytes > 0 && bytes.is_multiple_of(*unit));
    match unit {
        Some((unit, name)) => format!("\"{}{name}\"", bytes / unit),
        None => format!("\"{bytes}B\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::Text;
    use std::path::Path;

    fn notes() -> Notes {
        Notes::new(Text::new(Path::new("gateway.toml"), String::new()))
    }

    #[test]
    fn durations_have_bounds() {
        for (typed, zero, code) in [
            ("5s", false, None),
            ("1ms", false, None),
            ("1m", false, None),
            ("61s", false, Some("out-of-range")),
            ("0s", false, Some("out-of-range")),
            ("0s", true, None),
            ("5 s", false, Some("bad-duration")),
        ] {
            let mut notes = notes();
            let at = At { value: DurationText(typed.into()), span: 0..0 };
            let read = duration(&mut notes, "k", Some(&at), "2s", Longest { text: "1m", zero });
            assert_eq!(notes.problems.first().map(|p| p.code), code, "{typed}");
            assert_eq!(code.is_some(), read == Duration::from_secs(2), "{typed}");
        }
    }

    #[test]
    fn numbers_and_sizes_have_bounds() {
        for (typed, code) in
            [(1, None), (5, None), (0, Some("out-of-range")), (-1, Some("out-of-range"))]
        {
            let mut notes = notes();
            number(&mut notes, "k", Some(&At { value: typed, span: 0..0 }), 3, 1..=5);
            assert_eq!(notes.problems.first().map(|p| p.code), code, "{typed}");
        }
        for (typed, code) in
            [("1KiB", None), ("1B", Some("out-of-range")), ("1MB", Some("bad-size"))]
        {
            let mut notes = notes();
            let at = At { value: SizeText(typed.into()), span: 0..0 };
            size(&mut notes, "k", Some(&at), 3, 512..=65_536);
            assert_eq!(notes.problems.first().map(|p| p.code), code, "{typed}");
        }
        assert_eq!([shown(&512), shown(&32_768), shown(&0)], ["\"512B\"", "\"32KiB\"", "\"0B\""]);
    }
}
