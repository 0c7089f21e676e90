//! Durations as people type them: a whole number and a unit, `"250ms" "30s" "15m" "24h" "30d"`.

use std::time::Duration;

/// Longest duration that a file may name: ten years. Beyond it, sums of times could overflow.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Reads a duration as typed in a configuration file.
///
/// # Errors
/// One sentence for the person who typed it: what is wrong and an example of what is right.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
    let milliseconds_per_unit: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong(text)),
    };
    let count: u64 = number.parse().map_err(|_| wrong(text))?;
    let duration = count.checked_mul(milliseconds_per_unit).map(Duration::from_millis);
    match duration {
        Some(duration) if duration <= LONGEST => Ok(duration),
        _ => Err(format!("`{text}` is longer than ten years")),
    }
}

fn wrong(text: &str) -> String {
    format!("`{text}` is not a duration: write a whole number and one of ms, s, m, h, d (\"30s\")")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_unit() {
        for (text, milliseconds) in [
            ("0ms", 0),
            ("250ms", 250),
            ("30s", 30_000),
            ("15m", 900_000),
            ("24h", 86_400_000),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for text in ["", "s", "10", "1.5s", "-1s", "1 s", "1w", "99999999999999999999s", "10000d"] {
            let message = parse_duration(text).expect_err(text);
            assert!(message.contains(&format!("`{text}`")), "{message}");
        }
    }
}
