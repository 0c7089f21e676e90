//! Decides what became of an attempt: an answer to pass on, or a refusal that says what is known.
//!
//! Never looks into a body. Refuses with `vendor-unreachable`, `vendor-timeout`,
//! `vendor-response-invalid`, `vendor-redirect-refused`, `vendor-credential-rejected`,
//! `deadline-exceeded`, `payload-too-large`, `request-timeout`, `request-malformed`.

use crate::model::base_url::BaseUrl;
use crate::refusal::{Executed, Invalid, Refusal, Unreachable};
use crate::stages::forwarding::links::{self, Place};
use http::{HeaderMap, header};

/// How an attempt failed, as the shell saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection; nothing was sent.
    NoConnection(Unreachable),
    /// No head, or no further byte, in time.
    TimedOut,
    /// The connection ended early.
    Ended,
    /// The vendor took the connection but not the request, and says so: HTTP/2.
    Unprocessed,
    /// The answer breaks the rules of HTTP.
    NotHttp,
    /// The client's side failed: it left, or its body broke off or broke a rule.
    Client(ClientFailure),
    /// A refusal that a room decided while the attempt ran.
    Refused(Refusal),
    /// Anything else.
    Fault,
}

/// How the client's side failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFailure {
    /// It left: there is nobody to answer.
    Gone,
    /// Its body made no progress in time.
    Slow,
    /// Its body breaks the rules of HTTP.
    Malformed,
}

/// What is known of the attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Whether a byte may have reached the vendor.
    pub sent: bool,
    /// Whether the request only reads.
    pub reads: bool,
    /// Whether it is a write under an idempotency key.
    pub keyed: bool,
    /// Whether the route's deadline has passed.
    pub deadline_passed: bool,
}

/// What a failure is to the client; `None`: the client is gone.
pub fn judge(failure: Failure, attempt: Attempt) -> Option<Refusal> {
    let refusal = match failure {
        Failure::NoConnection(_) | Failure::TimedOut if attempt.deadline_passed => {
            Refusal::DeadlineExceeded
        }
        Failure::NoConnection(why) => Refusal::VendorUnreachable(why),
        Failure::TimedOut => Refusal::VendorTimeout,
        Failure::Unprocessed => Refusal::VendorUnreachable(Unreachable::Other),
        Failure::Ended => Refusal::VendorResponseInvalid(Invalid::Incomplete),
        Failure::NotHttp => Refusal::VendorResponseInvalid(Invalid::Protocol),
        Failure::Client(ClientFailure::Gone) => return None,
        Failure::Client(ClientFailure::Slow) => Refusal::RequestTimeout,
        Failure::Client(ClientFailure::Malformed) => {
            Refusal::RequestMalformed("The request body breaks the rules of HTTP.")
        }
        Failure::Refused(refusal) => refusal,
        Failure::Fault => Refusal::GatewayFault,
    };
    Some(refusal)
}

/// Whether the vendor acted, as far as anybody can know.
pub fn executed(refusal: &Refusal, attempt: Attempt) -> Executed {
    match refusal {
        // Of the first request with the same key.
        Refusal::RequestInFlight(_) | Refusal::OutcomeUnknown => return Executed::Unknown,
        Refusal::AnswerNotKept(executed)
        | Refusal::AnswerUndelivered(executed)
        | Refusal::VendorResponseInvalid(Invalid::Cut(executed)) => return *executed,
        _ => {}
    }
    let certainly_not = attempt.reads
        || !attempt.sent
        || matches!(refusal, Refusal::VendorUnreachable(_) | Refusal::VendorCredentialRejected)
        // With these two erpgate promises that nothing was executed.
        || matches!(refusal.status(), 429 | 503);
    if certainly_not { Executed::No } else { Executed::Unknown }
}

/// Looks whether a head is one that a vendor may answer with.
///
/// # Errors
/// `vendor-response-invalid`.
pub fn check_head(status: u16, headers: &HeaderMap) -> Result<(), Refusal> {
    match status {
        // 1xx never comes here but for a switch of protocols, which nobody asked for.
        101 => Err(Refusal::VendorResponseInvalid(Invalid::Status)),
        100..=599 => check_framing(status, headers),
        _ => Err(Refusal::VendorResponseInvalid(Invalid::Status)),
    }
}

/// Judges an answer that may go to the client.
///
/// # Errors
/// The refusal that the client gets in its place.
pub fn observe(
    status: u16,
    headers: &HeaderMap,
    base: &BaseUrl,
    place: Place<'_>,
    passthrough: bool,
) -> Result<(), Refusal> {
    // With the client's own credential the vendor's 401 is about the client.
    if status == 401 && !passthrough {
        return Err(Refusal::VendorCredentialRejected);
    }
    let leaves = |location: &http::HeaderValue| {
        location.to_str().map_or(true, |link| links::rewrite(link, base, place).is_none())
    };
    let redirects = matches!(status, 300..=303 | 305..=399);
    match redirects && headers.get_all(header::LOCATION).iter().any(leaves) {
        true => Err(Refusal::VendorRedirectRefused),
        false => Ok(()),
    }
}

/// What the layer below takes as it comes: a coding whose end nobody can see, and a body where
/// there can be none, whose octets would become the next answer (RFC 9112 §6.3).
fn check_framing(status: u16, headers: &HeaderMap) -> Result<(), Refusal> {
    let invalid = || Err(Refusal::VendorResponseInvalid(Invalid::Protocol));
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next();
    let chunked = coding.is_none_or(|c| c.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if !chunked || codings.next().is_some() {
        return invalid();
    }
    let length = headers.get(header::CONTENT_LENGTH);
    let has_body = coding.is_some() || length.is_some_and(|length| length != "0");
    if status == 204 && has_body { invalid() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const SENT_WRITE: Attempt =
        Attempt { sent: true, reads: false, keyed: false, deadline_passed: false };

    #[test]
    fn failures_say_what_is_known() {
        let read = Attempt { reads: true, ..SENT_WRITE };
        let late = Attempt { deadline_passed: true, ..SENT_WRITE };
        let unsent = Attempt { sent: false, ..SENT_WRITE };
        for (failure, attempt, slug, executed_as) in [
            (Failure::NoConnection(Unreachable::Refused), unsent, "vendor-unreachable", "no"),
            (Failure::TimedOut, SENT_WRITE, "vendor-timeout", "unknown"),
            (Failure::TimedOut, read, "vendor-timeout", "no"),
            (Failure::TimedOut, late, "deadline-exceeded", "unknown"),
            (Failure::Ended, SENT_WRITE, "vendor-response-invalid", "unknown"),
            (Failure::NotHttp, read, "vendor-response-invalid", "no"),
            (Failure::Client(ClientFailure::Slow), SENT_WRITE, "request-timeout", "unknown"),
            (Failure::Client(ClientFailure::Malformed), unsent, "request-malformed", "no"),
            (
                Failure::Refused(Refusal::VendorCredentialRejected),
                SENT_WRITE,
                "vendor-credential-rejected",
                "no",
            ),
        ] {
            let refusal = judge(failure, attempt).expect("somebody to answer");
            assert_eq!(refusal.slug(), slug);
            assert_eq!(executed(&refusal, attempt).as_str(), executed_as, "{slug}");
        }
        assert_eq!(judge(Failure::Client(ClientFailure::Gone), SENT_WRITE), None);
    }

    #[test]
    fn heads_are_judged() {
        let base = BaseUrl {
            https: true,
            host: "v.test".into(),
            port: 443,
            authority: "v.test".into(),
            path: String::new(),
        };
        let place = Place { https: false, authority: "gw.test", prefix: "/ns" };
        let verdict = |status, location: Option<&'static str>, passthrough| {
            let mut headers = HeaderMap::new();
            if let Some(location) = location {
                headers.insert("location", HeaderValue::from_static(location));
            }
            let checked = check_head(status, &headers);
            let judged =
                checked.and_then(|()| observe(status, &headers, &base, place, passthrough));
            judged.err().map(|r| r.slug())
        };
        for (status, location, expected) in [
            (200, None, None),
            (201, Some("https://elsewhere.test/"), None),
            (302, Some("https://v.test/r"), None),
            (302, Some("/r"), None),
            (302, Some("https://elsewhere.test/"), Some("vendor-redirect-refused")),
            (307, Some("//elsewhere.test/"), Some("vendor-redirect-refused")),
            (302, None, None),
            (304, Some("https://elsewhere.test/"), None),
            (401, None, Some("vendor-credential-rejected")),
            (101, None, Some("vendor-response-invalid")),
            (600, None, Some("vendor-response-invalid")),
            (999, None, Some("vendor-response-invalid")),
            (503, None, None),
        ] {
            assert_eq!(verdict(status, location, false), expected, "{status} {location:?}");
        }
        assert_eq!(verdict(401, None, true), None);
    }
}
