//! What a name may look like: it becomes a metric label, a log member and part of a path.

use crate::config::problem::{Notes, quoted};
use crate::config::raw::at::At;

/// Longest name.
const NAME_MAX: usize = 64;

/// Whether the text can be the name of a route or a vendor; a problem if not.
pub fn check_name(notes: &mut Notes, of: &str, name: &At<String>) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let good = (1..=NAME_MAX).contains(&name.value.len()) && name.value.bytes().all(legal);
    if !good {
        let message = format!("{} can't be the name of a {of}", quoted(&name.value));
        let help = "write 1 to 64 of the characters A-Z a-z 0-9 _ . -";
        notes.problem("bad-name", &name.span, message, help);
    }
    good
}

/// Whether the text is a token (RFC 9110 §5.6.2): what a field name has to be.
pub fn is_token(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(legal)
}

/// Whether the text is a host name or an IPv4 address, without a port.
pub fn is_host(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(legal);
    text.len() <= 253 && text.split('.').all(label)
}

/// What keeps the text from being a path prefix; `None` if nothing does.
pub fn path_fault(path: &str) -> Option<&'static str> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()+,=:@".contains(&byte);
    if !path.starts_with('/') {
        Some("it has to begin with `/`")
    } else if path == "/" {
        None
    } else if path.contains('%') {
        Some("it can't hold escapes: write the characters that they stand for")
    } else if path.contains('*') {
        Some("it is a prefix, not a pattern: leave out the `*`")
    } else if path.contains(['?', '#']) {
        Some("it can't hold a query or a fragment")
    } else if !path.bytes().all(legal) {
        Some("it holds a character that a path can't hold as it is")
    } else if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        Some("it can't hold `.` or `..` segments")
    } else if path.contains("//") {
        Some("it can't hold an empty segment")
    } else if path.ends_with('/') {
        Some("it can't end with `/`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_tokens() {
        for (text, host, token) in [
            ("a.example.com", true, true),
            ("127.0.0.1", true, true),
            ("a_b-c", true, true),
            ("", false, false),
            ("a..b", false, true),
            ("a.", false, true),
            ("a:80", false, false),
            ("X-Key!", false, true),
            ("a b", false, false),
            ("ä", false, false),
        ] {
            assert_eq!((is_host(text), is_token(text)), (host, token), "{text}");
        }
        assert!(!is_host(&"a".repeat(64)) && !is_host(&"a.".repeat(130)));
    }

    #[test]
    fn paths() {
        for good in ["/", "/a", "/a/b.c", "/a-b_c~d", "/services/rest@v1"] {
            assert_eq!(path_fault(good), None, "{good}");
        }
        for bad in [
            "", "a", "/a/", "//", "/a//b", "/a/../b", "/.", "/%41", "/a*", "/a?b", "/a;b", "/a\\b",
            "/ä",
        ] {
            assert!(path_fault(bad).is_some(), "{bad}");
        }
    }
}
