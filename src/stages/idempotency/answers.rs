//! Decides which fields of a vendor's answer are kept to be given again, and gives them back.
//!
//! Kept is what the vendor said of this answer; what is of one connection, one moment or one
//! request is left out, and made anew for each replay. `Set-Cookie` and the like never come in.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Fields of one connection, one moment or one request, and what only the gateway may write.
const PASSING: [&str; 24] = [
    "age",
    "connection",
    "content-length",
    "date",
    "forwarded",
    "idempotency-replayed",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "proxy-status",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "server-timing",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-original-correlation-id",
];

/// What is kept, in its order.
pub fn kept(headers: &HeaderMap) -> Vec<(Box<str>, Bytes)> {
    let named: Vec<String> = headers
        .get_all(http::header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    let stays = |name: &str| !PASSING.contains(&name) && !named.iter().any(|it| it == name);
    let fields = headers.iter().filter(|(name, _)| stays(name.as_str()));
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
