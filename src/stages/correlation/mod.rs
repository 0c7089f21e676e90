//! Decides under which id a request is known: the client's own if it is well formed, else a new
//! one.
//!
//! Never refuses. Gives [`Correlation`].

pub mod trace;

use http::{HeaderMap, HeaderName, HeaderValue};
use trace::Trace;

/// The field that carries the id, both ways.
pub const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
/// Where a vendor's own id of that name goes.
pub const VENDOR_CORRELATION_ID: HeaderName = HeaderName::from_static("x-vendor-correlation-id");

/// Longest id that is logged when a client's own is refused; the rest is cut.
const REFUSED_ID_CHARS: usize = 128;

/// How a request is known, in answers, logs and at the vendor.
#[derive(Clone, Debug)]
pub struct Correlation {
    id: HeaderValue,
    refused: Option<String>,
    trace: Trace,
}

/// Randomness that a request needs, drawn by the caller.
#[derive(Clone, Copy, Debug)]
pub struct Entropy {
    /// A fresh UUIDv7.
    pub id: [u8; 36],
    /// For a trace that begins here.
    pub trace_id: u128,
}

/// Takes up the client's id and trace, or begins new ones.
pub fn correlate(headers: &HeaderMap, entropy: Entropy) -> Correlation {
    let mut given = headers.get_all(CORRELATION_ID).iter();
    let (first, second) = (given.next(), given.next());
    let trace = Trace::continue_or_begin(headers, entropy.trace_id);
    let fresh =
        || HeaderValue::from_bytes(&entropy.id).unwrap_or_else(|_| HeaderValue::from_static("-"));
    match (first, second) {
        (None, _) => Correlation { id: fresh(), refused: None, trace },
        (Some(id), None) if is_well_formed(id.as_bytes()) => {
            Correlation { id: id.clone(), refused: None, trace }
        }
        (Some(id), _) => Correlation { id: fresh(), refused: Some(escape(id.as_bytes())), trace },
    }
}

impl Correlation {
    /// The id.
    pub fn id(&self) -> &str {
        self.id.to_str().unwrap_or("-")
    }

    /// The id as a field value.
    pub fn field(&self) -> &HeaderValue {
        &self.id
    }

    /// The client's own id, escaped, where it was replaced.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// The trace that the request belongs to.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }
}

/// 8–128 of `A-Z a-z 0-9 . _ : -`.
fn is_well_formed(id: &[u8]) -> bool {
    (8..=128).contains(&id.len())
        && id.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

fn escape(id: &[u8]) -> String {
    id.escape_ascii().map(char::from).take(REFUSED_ID_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTROPY: Entropy = Entropy { id: *b"0192f0c1-2345-7abc-8def-0123456789ab", trace_id: 7 };

    fn with(ids: &[&[u8]]) -> Correlation {
        let mut headers = HeaderMap::new();
        for id in ids {
            headers.append(CORRELATION_ID, HeaderValue::from_bytes(id).expect("legal value"));
        }
        correlate(&headers, ENTROPY)
    }

    #[test]
    fn keeps_a_well_formed_id() {
        for id in ["12345678", "A.b_c:d-9", &"x".repeat(128)] {
            let correlation = with(&[id.as_bytes()]);
            assert_eq!(correlation.id(), id);
            assert_eq!(correlation.refused(), None);
        }
    }

    #[test]
    fn replaces_any_other() {
        let long = "x".repeat(129);
        for ids in [
            vec![b"1234567".as_slice()],
            vec![long.as_bytes()],
            vec![b"with space"],
            vec![b"<script>!"],
            vec!["caf\u{e9}-caf\u{e9}".as_bytes()],
            vec![b"12345678", b"12345678"],
        ] {
            let correlation = with(&ids);
            assert_eq!(correlation.id(), "0192f0c1-2345-7abc-8def-0123456789ab");
            let refused = correlation.refused().expect("the refused id is kept for the log");
            assert!(refused.is_ascii() && refused.len() <= REFUSED_ID_CHARS);
        }
        assert_eq!(with(&[]).refused(), None);
    }
}
