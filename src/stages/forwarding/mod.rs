//! Decides what of a request goes to the vendor, and what of its answer goes to the client.
//!
//! Never sends anything: it gives [`Edits`] for the shell to apply. Refuses with
//! `loop-detected`.

pub mod answer;
pub mod kept;
pub mod links;
pub mod request;

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What to change in a head: first remove, then set (replacing), then append.
#[derive(Debug, Default)]
pub struct Edits {
    /// Fields to remove.
    pub remove: Vec<HeaderName>,
    /// Fields to set, replacing what is there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Field lines to add behind what is there.
    pub append: Vec<(HeaderName, HeaderValue)>,
}

impl Edits {
    /// With room for what a usual head needs.
    fn with_room() -> Edits {
        Edits { remove: Vec::with_capacity(8), set: Vec::with_capacity(8), append: Vec::new() }
    }

    /// Removes the fields for which `ends_here` says so, and those that `Connection` names: one
    /// look at each field.
    fn remove_where(&mut self, headers: &HeaderMap, ends_here: impl Fn(&str) -> bool) {
        for name in headers.keys() {
            if ends_here(name.as_str()) {
                self.remove.push(name.clone());
            }
            if *name == header::CONNECTION {
                self.remove.extend(nominated(headers));
            }
        }
    }
}

/// Whether a field belongs to one connection only (RFC 9110 §7.6.1, RFC 9113 §8.2.2);
/// `Transfer-Encoding` belongs to the message framing, which the shell's HTTP layer does.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "upgrade"
    )
}

/// The fields that `Connection` names.
fn nominated(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> + '_ {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        // Framing is not a client's or a vendor's to take away.
        .filter(|name| *name != header::TRANSFER_ENCODING && *name != header::CONTENT_LENGTH)
}
