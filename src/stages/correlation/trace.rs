//! Continues a client's trace or begins one: W3C Trace Context level 1, the random flag kept.
//!
//! No member of our own is added to `tracestate`; a trace that can't be read begins anew.

use http::{HeaderMap, HeaderName, HeaderValue};

/// `traceparent`.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Flags that are known: sampled (level 1) and random (level 2); others are sent as zero.
const KNOWN_FLAGS: u8 = 0b11;
const RANDOM: u8 = 0b10;
/// Members of a `tracestate` (W3C Trace Context §3.3.1.1).
const MEMBERS_MAX: usize = 32;

/// The trace that a request belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    id: u128,
    flags: u8,
    state: Option<HeaderValue>,
}

impl Trace {
    /// Reads `traceparent` and `tracestate`; without a valid parent a new trace begins.
    pub fn continue_or_begin(headers: &HeaderMap, fresh_id: u128) -> Trace {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let parent = match (parents.next(), parents.next()) {
            (Some(parent), None) => parse_parent(parent.as_bytes()),
            _ => None,
        };
        match parent {
            Some((id, flags)) => Trace { id, flags: flags & KNOWN_FLAGS, state: state(headers) },
            // All-zero is the one id that may not be used.
            None => Trace { id: fresh_id.max(1), flags: RANDOM, state: None },
        }
    }

    /// The trace id, 32 lower-case hexadecimal digits.
    pub fn id(&self) -> String {
        let mut digits = [0; 32];
        write_hex(self.id, &mut digits);
        digits.map(char::from).iter().collect()
    }

    /// The `traceparent` of an attempt; `parent_id` is fresh for each one.
    pub fn parent(&self, parent_id: u64) -> Option<HeaderValue> {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let (_, rest) = text.split_at_mut_checked(3)?;
        let (id, rest) = rest.split_at_mut_checked(32)?;
        write_hex(self.id, id);
        let (parent, flags) = rest.get_mut(1..)?.split_at_mut_checked(16)?;
        write_hex(parent_id.max(1).into(), parent);
        write_hex(self.flags.into(), flags.get_mut(1..)?);
        HeaderValue::from_bytes(&text).ok()
    }

    /// The `tracestate` to pass on.
    pub fn state(&self) -> Option<&HeaderValue> {
        self.state.as_ref()
    }
}

/// Trace id and flags of a `traceparent` (§3.2.2; a higher version is read by its first 55
/// characters).
fn parse_parent(text: &[u8]) -> Option<(u128, u8)> {
    let (head, rest) = text.split_at_checked(55)?;
    let head = std::str::from_utf8(head).ok()?;
    let mut parts = head.split('-');
    let version = hex(parts.next()?, 2)?;
    let trace_id = hex(parts.next()?, 32)?;
    let parent_id = hex(parts.next()?, 16)?;
    let flags = hex(parts.next()?, 2)?;
    let complete = parts.next().is_none();
    let rest_fits = match version {
        0xff => false,
        0 => rest.is_empty(),
        _ => rest.is_empty() || rest.first() == Some(&b'-'),
    };
    let valid = complete && rest_fits && trace_id != 0 && parent_id != 0;
    valid.then_some((trace_id, u8::try_from(flags).unwrap_or(0)))
}

/// Writes the last digits of a number, as many as there is room for.
fn write_hex(mut number: u128, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        let value = (number & 0xf) as u8;
        *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
        number >>= 4;
    }
}

/// Lower-case hexadecimal of an exact length.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
    (text.len() == digits && lower).then(|| u128::from_str_radix(text, 16).ok())?
}

/// All `tracestate` lines as one list, if it is valid; an invalid one is dropped.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut members: Vec<&str> = Vec::new();
    for line in headers.get_all(TRACESTATE) {
        for member in line.to_str().ok()?.split(',') {
            let member = member.trim_matches([' ', '\t']);
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            let repeated = members.iter().any(|known| known.split('=').next() == Some(key));
            if !is_key(key) || !is_value(value) || repeated {
                return None;
            }
            members.push(member);
        }
    }
    if members.is_empty() || members.len() > MEMBERS_MAX {
        return None;
    }
    HeaderValue::from_str(&members.join(",")).ok()
}

fn is_key(key: &str) -> bool {
    let legal = |b: u8| {
        b.is_ascii_lowercase()
            || b.is_ascii_digit()
            || matches!(b, b'_' | b'-' | b'*' | b'/' | b'@')
    };
    let first = key.bytes().next();
    (1..=256).contains(&key.len())
        && key.bytes().all(legal)
        && first.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && key.bytes().filter(|b| *b == b'@').count() <= 1
}

fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && value.bytes().all(|b| (0x20..=0x7e).contains(&b) && b != b',' && b != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(fields: &[(HeaderName, &str)]) -> Trace {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_str(value).expect("legal value"));
        }
        Trace::continue_or_begin(&headers, 0xabc)
    }

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn continues_a_valid_trace_with_a_new_parent() {
        let trace = trace(&[(TRACEPARENT, VALID)]);
        assert_eq!(trace.id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(
            trace.parent(0x1122).expect("legal"),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000001122-01"
        );
    }

    #[test]
    fn keeps_known_flags_and_reads_higher_versions() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
        for (parent, flags) in [
            (format!("00-{id}-ff"), "03"),
            (format!("cc-{id}-01-what-the-future"), "01"),
            (format!("cc-{id}-02"), "02"),
        ] {
            let sent = trace(&[(TRACEPARENT, &parent)]).parent(1).expect("legal");
            assert!(sent.to_str().expect("ascii").ends_with(flags), "{parent} → {sent:?}");
        }
    }

    #[test]
    fn begins_anew_when_the_parent_is_invalid() {
        for parent in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.x",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-011",
        ] {
            let trace = trace(&[(TRACEPARENT, parent), (TRACESTATE, "a=1")]);
            assert_eq!(trace.id(), format!("{:032x}", 0xabc), "{parent}");
            assert_eq!(trace.state(), None, "{parent}");
        }
        assert_eq!(trace(&[(TRACEPARENT, VALID), (TRACEPARENT, VALID)]).id, 0xabc);
    }

    #[test]
    fn passes_a_valid_state_on_in_order() {
        let kept = trace(&[(TRACEPARENT, VALID), (TRACESTATE, "b=2 , a=1"), (TRACESTATE, "c=3")]);
        assert_eq!(kept.state().expect("kept"), "b=2,a=1,c=3");
        for state in ["a=1,a=2", "A=1", "a", "a=b=c", "a=\u{7f}x"] {
            let Ok(value) = HeaderValue::from_str(state) else { continue };
            let value = value.to_str().expect("ascii").to_owned();
            let dropped = trace(&[(TRACEPARENT, VALID), (TRACESTATE, &value)]);
            assert_eq!(dropped.state(), None, "{state}");
            assert_eq!(dropped.id, 0x4bf92f3577b34da6a3ce929d0e0e4736);
        }
        let many = (0..33).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        assert_eq!(trace(&[(TRACEPARENT, VALID), (TRACESTATE, &many)]).state(), None);
    }
}
