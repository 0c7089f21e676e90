//! What of a vendor's answer goes to the client.

use super::links::{self, Place};
use super::{Edits, is_hop_by_hop};
use crate::model::base_url::BaseUrl;
use crate::stages::correlation::{CORRELATION_ID, Correlation, VENDOR_CORRELATION_ID};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Fields that speak of the vendor's own host, or that only the gateway may write: a client that
/// believed them would leave the gateway, or hold the vendor's session.
pub(super) fn is_vendors_own(name: &str) -> bool {
    matches!(
        name,
        "set-cookie"
            | "alt-svc"
            | "strict-transport-security"
            | "forwarded"
            | "x-forwarded-for"
            | "idempotency-replayed"
            | "x-original-correlation-id"
    )
}

/// `Proxy-Status` (RFC 9209).
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// What the route says of the answers on it.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// The vendor's base URL.
    pub base: &'a BaseUrl,
    /// Where the client sees it; `None`: links stay as they are.
    pub links: Option<Place<'a>>,
    /// The gateway's pseudonym.
    pub pseudonym: &'a str,
}

/// Decides the fields of an answer that is passed on.
pub fn edits(
    status: u16,
    headers: &HeaderMap,
    policy: Policy<'_>,
    correlation: &Correlation,
    date: &HeaderValue,
) -> Edits {
    let mut edits = Edits::with_room();
    // `Connection` itself is the shell's to write.
    edits.remove_where(headers, |name| {
        (is_hop_by_hop(name) && name != "connection") || is_vendors_own(name)
    });
    if let Some(id) = headers.get(CORRELATION_ID) {
        edits.set.push((VENDOR_CORRELATION_ID, id.clone()));
    }
    edits.set.push((CORRELATION_ID, correlation.field().clone()));
    if let Some(length) = one_length(headers) {
        edits.set.push((header::CONTENT_LENGTH, length));
    }
    if !headers.contains_key(header::DATE) {
        edits.set.push((header::DATE, date.clone()));
    }
    if let Some(place) = policy.links {
        rewrite_links(&mut edits, headers, policy.base, place);
    }
    if status >= 500 {
        let member = format!("{}; received-status={status}", policy.pseudonym);
        if let Ok(member) = HeaderValue::from_str(&member) {
            edits.append.push((PROXY_STATUS, member));
        }
    }
    edits
}

/// One length for several that are the same (RFC 9110 §8.6): many clients refuse two.
fn one_length(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let first = lengths.next()?.to_str().ok()?;
    let one = first.split(',').next()?.trim();
    let several = one.len() < first.len() || lengths.next().is_some();
    several.then(|| HeaderValue::from_str(one).ok()).flatten()
}

fn rewrite_links(edits: &mut Edits, headers: &HeaderMap, base: &BaseUrl, place: Place<'_>) {
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let link = headers.get(&name).and_then(|value| value.to_str().ok());
        let rewritten = link.and_then(|link| links::rewrite(link, base, place));
        if let Some(value) = rewritten.and_then(|link| HeaderValue::from_str(&link).ok()) {
            edits.set.push((name, value));
        }
    }
    if headers.contains_key(header::LINK) {
        edits.remove.push(header::LINK);
        for value in headers.get_all(header::LINK) {
            let rewritten = value
                .to_str()
                .map(|field| links::rewrite_link_field(field, base, place))
                .ok()
                .and_then(|field| HeaderValue::from_str(&field).ok());
            edits.append.push((header::LINK, rewritten.unwrap_or_else(|| value.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::correlation::{Entropy, correlate};

    fn applied(status: u16, fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let correlation = correlate(&HeaderMap::new(), Entropy { id: [b'a'; 36], trace_id: 1 });
        let base = BaseUrl {
            https: true,
            host: "v.test".into(),
            port: 443,
            authority: "v.test".into(),
            path: String::new(),
        };
        let place = Place { https: true, authority: "gw.test", prefix: "/ns" };
        let policy = Policy { base: &base, links: Some(place), pseudonym: "erpgate" };
        let date = HeaderValue::from_static("now");
        let edits = edits(status, &headers, policy, &correlation, &date);
        for name in edits.remove {
            headers.remove(name);
        }
        for (name, value) in edits.set {
            headers.insert(name, value);
        }
        for (name, value) in edits.append {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn what_is_the_vendors_own_stays_there() {
        let passed = applied(
            200,
            &[
                ("set-cookie", "JSESSIONID=1"),
                ("keep-alive", "timeout=5"),
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("alt-svc", "h3=\":443\""),
                ("x-correlation-id", "theirs"),
                ("etag", "\"1\""),
            ],
        );
        for gone in ["set-cookie", "keep-alive", "x-hop", "alt-svc", "proxy-status"] {
            assert!(!passed.contains_key(gone), "{gone}");
        }
        assert_eq!(passed["x-vendor-correlation-id"], "theirs");
        assert_eq!(passed["x-correlation-id"], "a".repeat(36).as_str());
        assert_eq!(passed["date"], "now");
        assert_eq!(passed["etag"], "\"1\"");
    }

    #[test]
    fn links_and_failures() {
        let passed = applied(
            503,
            &[
                ("location", "https://v.test/r/7"),
                ("link", "<https://v.test/r?p=2>; rel=next"),
                ("proxy-status", "cdn; error=x"),
                ("date", "theirs"),
            ],
        );
        assert_eq!(passed["location"], "https://gw.test/ns/r/7");
        assert_eq!(passed["link"], "<https://gw.test/ns/r?p=2>; rel=next");
        assert_eq!(passed["date"], "theirs");
        let members: Vec<_> = passed.get_all("proxy-status").iter().collect();
        assert_eq!(members, ["cdn; error=x", "erpgate; received-status=503"]);
    }
}
