//! Decides what of a request goes to the vendor, and what of its answer goes to the client.
//!
//! Never sends anything: it gives [`Edits`] for the shell to apply. Refuses with
//! `loop-detected`.

pub mod answer;
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

    fn remove_present(&mut self, headers: &HeaderMap, name: HeaderName) {
        if headers.contains_key(&name) {
            self.remove.push(name);
        }
    }
}

/// Connection-specific fields (RFC 9110 §7.6.1, RFC 9113 §8.2.2); `Transfer-Encoding` belongs to
/// the message framing, which the shell's HTTP layer does.
const HOP_BY_HOP: [HeaderName; 6] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::UPGRADE,
];

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
