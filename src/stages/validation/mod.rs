//! Decides whether a request's head can be trusted to mean one thing only.
//!
//! Never looks at a body. Refuses with `request-malformed`, `host-missing`, `method-unknown`,
//! `upgrade-refused`, `uri-too-long`, `header-too-large`, `misdirected-request`,
//! `path-ambiguous`, `payload-too-large`. Gives [`Sound`].

pub mod framing;
pub mod path;

use crate::model::{methods, query};
use crate::refusal::Refusal;
use http::{HeaderMap, Version, header};
use path::AllowInPath;

/// What a listener takes of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head.
    pub header_bytes_max: usize,
    /// Field lines.
    pub headers_max: usize,
    /// Bytes of the request target.
    pub uri_bytes_max: usize,
}

/// A request's head, as values.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// As received, case kept.
    pub method: &'a str,
    /// Raw path, without the query.
    pub path: &'a str,
    /// Raw query, without `?`.
    pub query: Option<&'a str>,
    /// `Host` or `:authority`.
    pub authority: Option<&'a str>,
    /// The fields.
    pub headers: &'a HeaderMap,
    /// Version that the client spoke.
    pub version: Version,
    /// The octets of an HTTP/1 head.
    pub raw: Option<&'a [u8]>,
    /// Whether the request line was seen to need repair before it could be parsed.
    pub repaired: bool,
}

/// What is known of the connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tls<'a> {
    /// The name that the client asked for in its handshake.
    pub server_name: Option<&'a str>,
    /// The names that the certificate shown holds for.
    pub certificate_names: &'a [String],
}

/// Evidence: the head means one thing only.
#[derive(Debug, Clone, Copy)]
pub struct Sound(());

/// Checks what holds for each request, whatever its route.
///
/// # Errors
/// The first rule that the head breaks.
pub fn check_head(
    head: &Head<'_>,
    limits: HeadLimits,
    tls: Option<Tls<'_>>,
) -> Result<Sound, Refusal> {
    check_limits(head, limits)?;
    framing::check(head)?;
    check_target(head)?;
    check_authority(head)?;
    check_method(head)?;
    check_tunnels(head)?;
    check_misdirected(head, tls)?;
    Ok(Sound(()))
}

/// Checks the path against what the route admits; the strictest where no route was found.
///
/// # Errors
/// `path-ambiguous`.
pub fn check_path(_: Sound, path: &str, allow: AllowInPath) -> Result<(), Refusal> {
    path::check(path, allow)
}

/// Checks the declared length of the body.
///
/// # Errors
/// `payload-too-large`.
pub fn check_length(_: Sound, headers: &HeaderMap, max: Option<u64>) -> Result<(), Refusal> {
    let Some(max) = max else { return Ok(()) };
    match declared_length(headers) {
        Some(length) if length > max => Err(Refusal::PayloadTooLarge(max)),
        _ => Ok(()),
    }
}

/// `Content-Length`, where it is one number that 64 bits hold.
pub fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn check_limits(head: &Head<'_>, limits: HeadLimits) -> Result<(), Refusal> {
    let target = head.path.len() + head.query.map_or(0, |query| query.len() + 1);
    if target > limits.uri_bytes_max {
        return Err(Refusal::UriTooLong(limits.uri_bytes_max));
    }
    if head.headers.len() > limits.headers_max {
        return Err(Refusal::HeaderTooLarge("The request head has too many fields."));
    }
    if head_bytes(head, target) > limits.header_bytes_max {
        return Err(Refusal::HeaderTooLarge("The request head is too long."));
    }
    Ok(())
}

/// The head's octets: those received over HTTP/1, what they would be otherwise.
fn head_bytes(head: &Head<'_>, target: usize) -> usize {
    match head.raw {
        Some(raw) => raw.len(),
        None => head.headers.iter().fold(target, |sum, (name, value)| {
            sum + name.as_str().len() + value.len() + ": \r\n".len()
        }),
    }
}

/// The target goes on byte for byte: what may not stand in one would be read in two ways.
fn check_target(head: &Head<'_>) -> Result<(), Refusal> {
    let legal =
        |octet: u8| octet.is_ascii_graphic() && !matches!(octet, b'"' | b'#' | b'<' | b'>' | b'`');
    if !head.path.bytes().all(legal) {
        return Err(Refusal::RequestMalformed("The path holds an octet that has to be escaped."));
    }
    match head.query.is_none_or(|query| query.bytes().all(legal)) {
        true => Ok(()),
        false => Err(Refusal::RequestMalformed("The query holds an octet that has to be escaped.")),
    }
}

fn check_authority(head: &Head<'_>) -> Result<(), Refusal> {
    let Some(authority) = head.authority else {
        let optional = head.version == Version::HTTP_10;
        return if optional { Ok(()) } else { Err(Refusal::HostMissing) };
    };
    let legal = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']' | b'%')
    };
    if authority.is_empty() || !authority.bytes().all(legal) {
        return Err(Refusal::RequestMalformed("The Host field is not a host and port."));
    }
    let host = head.headers.get(header::HOST).map(|host| host.as_bytes());
    if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority.as_bytes())) {
        return Err(Refusal::RequestMalformed("Authority and Host differ."));
    }
    Ok(())
}

fn check_method(head: &Head<'_>) -> Result<(), Refusal> {
    let upgrades_to_websocket = head
        .headers
        .get_all(header::UPGRADE)
        .iter()
        .any(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"websocket"));
    if head.method == "CONNECT" || upgrades_to_websocket {
        return Err(Refusal::UpgradeRefused);
    }
    if !methods::is_registered(head.method) {
        return Err(Refusal::MethodUnknown);
    }
    Ok(())
}

/// The method authorized is the method that acts.
fn check_tunnels(head: &Head<'_>) -> Result<(), Refusal> {
    let by_field = head.headers.keys().any(|name| {
        matches!(name.as_str(), "x-http-method" | "x-http-method-override" | "x-method-override")
    });
    let by_query = head.query.is_some_and(|q| query::could_name(q, &["_method", "_httpmethod"]));
    if by_field || by_query {
        return Err(Refusal::RequestMalformed("The request names a second method."));
    }
    Ok(())
}

/// RFC 9110 §7.4: the authority has to be the connection's, or one that its certificate holds for.
fn check_misdirected(head: &Head<'_>, tls: Option<Tls<'_>>) -> Result<(), Refusal> {
    let (Some(tls), Some(authority)) = (tls, head.authority) else { return Ok(()) };
    let Some(server_name) = tls.server_name else { return Ok(()) };
    let host = super::routing::host_of(authority);
    let covers = |name: &String| match name.strip_prefix("*.") {
        Some(parent) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(host.trim_matches(['[', ']'])),
    };
    let is_its_own = host.eq_ignore_ascii_case(server_name);
    if is_its_own || tls.certificate_names.iter().any(covers) {
        Ok(())
    } else {
        Err(Refusal::MisdirectedRequest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const LIMITS: HeadLimits =
        HeadLimits { header_bytes_max: 1000, headers_max: 3, uri_bytes_max: 100 };

    fn head(headers: &HeaderMap) -> Head<'_> {
        Head {
            method: "GET",
            path: "/a",
            query: None,
            authority: Some("gw.example.com"),
            headers,
            version: Version::HTTP_2,
            raw: None,
            repaired: false,
        }
    }

    fn refused(head: Head<'_>) -> Option<&'static str> {
        check_head(&head, LIMITS, None).err().map(|refusal| refusal.slug())
    }

    fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn limits_are_exact() {
        let empty = HeaderMap::new();
        let path = format!("/{}", "a".repeat(99));
        assert_eq!(refused(Head { path: &path, ..head(&empty) }), None);
        let longer = format!("{path}a");
        assert_eq!(refused(Head { path: &longer, ..head(&empty) }), Some("uri-too-long"));
        let with_query = Head { path: "/", query: Some(&path), ..head(&empty) };
        assert_eq!(refused(with_query), Some("uri-too-long"));
        let four = fields(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
        assert_eq!(refused(head(&four)), Some("header-too-large"));
        let mut wide = HeaderMap::new();
        wide.insert("a", HeaderValue::from_str(&"x".repeat(1000)).expect("legal"));
        assert_eq!(refused(head(&wide)), Some("header-too-large"));
    }

    #[test]
    fn methods_and_tunnels() {
        let empty = HeaderMap::new();
        for (method, slug) in [
            ("GET", None),
            ("TRACE", None),
            ("BREW", Some("method-unknown")),
            ("get", Some("method-unknown")),
            ("CONNECT", Some("upgrade-refused")),
        ] {
            assert_eq!(refused(Head { method, ..head(&empty) }), slug, "{method}");
        }
        let websocket = fields(&[("upgrade", "websocket")]);
        assert_eq!(refused(head(&websocket)), Some("upgrade-refused"));
        assert_eq!(refused(head(&fields(&[("upgrade", "h2c")]))), None);
        let tunnel = fields(&[("x-http-method-override", "DELETE")]);
        assert_eq!(refused(head(&tunnel)), Some("request-malformed"));
        for query in ["_method=DELETE", "a=1&_HttpMethod=PUT", "%5Fmethod=DELETE"] {
            let slug = refused(Head { query: Some(query), ..head(&empty) });
            assert_eq!(slug, Some("request-malformed"), "{query}");
        }
        assert_eq!(refused(Head { query: Some("my_method=1"), ..head(&empty) }), None);
        for query in ["a=1;_method=PUT", "_method%5B%5D=PUT", "+_method=PUT"] {
            let slug = refused(Head { query: Some(query), ..head(&empty) });
            assert_eq!(slug, Some("request-malformed"), "{query}");
        }
        for path in ["/\"", "/a<b", "/a>", "/`"] {
            assert_eq!(refused(Head { path, ..head(&empty) }), Some("request-malformed"), "{path}");
        }
        for query in ["a=\u{fffd}", "a b", "a\r\nb", "a#b", "a=\"b\"", "<", ">", "`"] {
            let slug = refused(Head { query: Some(query), ..head(&empty) });
            assert_eq!(slug, Some("request-malformed"), "{query:?}");
        }
    }

    #[test]
    fn authority() {
        let empty = HeaderMap::new();
        let none = Head { authority: None, ..head(&empty) };
        assert_eq!(refused(none), Some("host-missing"));
        assert_eq!(refused(Head { version: Version::HTTP_10, ..none }), None);
        for authority in ["", "a b", "a/b", "u@h", "a,b"] {
            let slug = refused(Head { authority: Some(authority), ..head(&empty) });
            assert_eq!(slug, Some("request-malformed"), "{authority:?}");
        }
        let other = fields(&[("host", "other.example.com")]);
        assert_eq!(refused(head(&other)), Some("request-malformed"));
        assert_eq!(refused(head(&fields(&[("host", "GW.example.com")]))), None);
    }

    #[test]
    fn misdirected_unless_the_certificate_covers_it() {
        let empty = HeaderMap::new();
        let names = ["*.example.com".to_owned(), "localhost".to_owned()];
        for (server_name, authority, fine) in [
            (Some("gw.example.com"), "gw.example.com:8443", true),
            (Some("gw.example.com"), "gw.example.com.", true),
            (Some("gw.example.com"), "gw.example.com.:8443", true),
            (Some("gw.example.com"), "gw.example.com..", false),
            (Some("gw.example.com"), "api.example.com", true),
            (Some("gw.example.com"), "api.example.com.", true),
            (Some("gw.example.com"), "localhost.", true),
            (Some("gw.example.com"), ".", false),
            (Some("gw.example.com"), "a.b.example.com", false),
            (Some("localhost"), "other.test", false),
            (None, "other.test", true),
        ] {
            let tls = Tls { server_name, certificate_names: &names };
            let head = Head { authority: Some(authority), ..head(&empty) };
            let result = check_head(&head, LIMITS, Some(tls));
            assert_eq!(result.is_ok(), fine, "{server_name:?} {authority}");
        }
    }

    #[test]
    fn declared_length_is_compared_exactly() {
        let sound = Sound(());
        let length = |value| fields(&[("content-length", value)]);
        assert!(check_length(sound, &length("10"), Some(10)).is_ok());
        assert!(check_length(sound, &length("11"), Some(10)).is_err());
        assert!(check_length(sound, &length("11"), None).is_ok());
    }
}
