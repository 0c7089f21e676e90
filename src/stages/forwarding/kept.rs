//! Decides which fields of a vendor's answer are kept to be given again, and gives them back.
//!
//! Kept is what the vendor said of this answer; what is of one connection, one moment or one
//! request is left out, and made anew for each replay. `Set-Cookie` and the like never come in.

use super::answer::is_vendors_own;
use super::{is_hop_by_hop, nominated};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Fields of one moment or one request.
const PASSING: [&str; 14] = [
    "age",
    "content-length",
    "date",
    "proxy-authentication-info",
    "proxy-status",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "server-timing",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "via",
];

/// What is kept, in its order.
pub fn kept(headers: &HeaderMap) -> Vec<(Box<str>, Bytes)> {
    let named: Vec<HeaderName> = nominated(headers).collect();
    let stays = |name: &HeaderName| {
        let text = name.as_str();
        let passes = is_hop_by_hop(text) || is_vendors_own(text) || PASSING.contains(&text);
        !passes && !named.contains(name)
    };
    let fields = headers.iter().filter(|(name, _)| stays(name));
    fields
        .map(|(name, value)| (name.as_str().into(), Bytes::copy_from_slice(value.as_bytes())))
        .collect()
}

/// The fields as they were kept; what can't be one any more is left out.
pub fn given(fields: &[(Box<str>, Bytes)]) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(fields.len() + 8);
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_maybe_shared(value.clone());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_not_kept() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("location", "/orders/7"),
            ("set-cookie", "a=b"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("date", "now"),
            ("retry-after", "3"),
            ("x-correlation-id", "theirs"),
            ("link", "</a>"),
            ("link", "</b>"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let kept = kept(&headers);
        let names: Vec<&str> = kept.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["content-type", "location", "x-correlation-id", "link", "link"]);
        let given = given(&kept);
        assert_eq!(given.get_all("link").iter().count(), 2);
        assert_eq!(given.get("location"), headers.get("location"));
    }
}
