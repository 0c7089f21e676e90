//! Sizes as people type them: a whole number and a unit, `"512B" "32KiB" "10MiB" "1GiB"`.

/// Reads a size as typed in a configuration file, in bytes.
///
/// # Errors
/// One sentence for the person who typed it: what is wrong and an example of what is right.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
    let bytes_per_unit: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong(text)),
    };
    let count: u64 = number.parse().map_err(|_| wrong(text))?;
    count.checked_mul(bytes_per_unit).ok_or_else(|| format!("`{text}` is too large"))
}

fn wrong(text: &str) -> String {
    format!("`{text}` is not a size: write a whole number and one of B, KiB, MiB, GiB (\"10MiB\")")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_unit() {
        for (text, bytes) in
            [("0B", 0), ("512B", 512), ("32KiB", 32_768), ("10MiB", 10_485_760), ("1GiB", 1 << 30)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for text in ["", "10", "10MB", "10 MiB", "-1B", "1.5MiB", "99999999999999GiB"] {
            let message = parse_size(text).expect_err(text);
            assert!(message.contains(&format!("`{text}`")), "{message}");
        }
    }
}
