//! The writes that clients send: where each goes, and the key by which it is to be booked once.

use crate::plan::ANSWER_MAX;

/// A way through the gateway, with its vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The key is the external id in the body.
    ExternalId,
    /// The key is a field; the vendor is sent one derived from it, but remembers nothing.
    Header,
    /// The same, and the vendor remembers its keys: the gateway may send again.
    Remembered,
    /// Two at a time, the others wait.
    Narrow,
}

impl Lane {
    pub const ALL: [Lane; 4] = [Lane::ExternalId, Lane::Header, Lane::Remembered, Lane::Narrow];

    /// The first segment of its path, at the gateway and at the vendor.
    pub fn name(self) -> &'static str {
        match self {
            Lane::ExternalId => "external-id",
            Lane::Header => "header",
            Lane::Remembered => "remembered",
            Lane::Narrow => "narrow",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| lane.name() == name)
    }

    fn of(number: u64) -> Lane {
        match number % 6 {
            0 | 2 | 4 => Lane::ExternalId,
            1 | 3 => Lane::Header,
            _ => Lane::Remembered,
        }
    }
}

/// A write that is to be booked once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    pub number: u64,
    pub lane: Lane,
}

/// How many clients there are; writes of one number less or more by [`LANES`] have one key, but
/// are those of different clients.
pub const CLIENTS: usize = 2;
const LANES: u64 = 6;

impl Write {
    /// The one of this number, in one lane or the other.
    pub fn mixed(number: u64) -> Write {
        Write { number, lane: Lane::of(number) }
    }

    /// Whose it is.
    pub fn client(self) -> usize {
        usize::from(self.number / LANES % 2 == 1)
    }

    /// What the vendor counts bookings by.
    pub fn external_id(self) -> String {
        format!("ext-{}", self.number)
    }

    /// The key that its client sends in a field.
    pub fn key(self) -> Option<String> {
        let of_both = self.number - if self.client() == 1 { LANES } else { 0 };
        (self.lane != Lane::ExternalId).then(|| format!("torture-key-{of_both}"))
    }

    /// The octets that its client sends; each attempt may spell the key in its own way.
    pub fn request(self, api_key: &str, attempt: u64) -> Vec<u8> {
        let filling = if self.number % 50 == 7 { ANSWER_MAX } else { 10 };
        let id = self.external_id();
        let body = format!("{{\"externalId\":\"{id}\",\"total\":\"{}\"}}", "9".repeat(filling));
        let key = match self.key() {
            Some(key) if attempt.is_multiple_of(2) => format!("Idempotency-Key: \"{key}\"\r\n"),
            Some(key) => format!("idempotency-key: {key}\r\n"),
            None => String::new(),
        };
        let (lane, length) = (self.lane.name(), body.len());
        format!(
            "POST /{lane}/records HTTP/1.1\r\nHost: gw.test\r\nX-API-Key: {api_key}\r\n{key}\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}
