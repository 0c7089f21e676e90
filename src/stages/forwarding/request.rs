//! What of a request goes to the vendor: target, fields, and who the vendor is told is asking.

use super::{Edits, is_hop_by_hop};
use crate::refusal::Refusal;
use crate::stages::correlation::{CORRELATION_ID, Correlation, trace};
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use std::net::IpAddr;

/// Whether the vendor learns the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// The vendor learns nothing of the client.
    Off,
    /// `X-Forwarded-For`, `-Proto`, `-Host`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Rfc7239,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Fields by which somebody could pose as the gateway or as another client, with `-` for `_`:
/// some servers read both as one.
const POSING: [&str; 23] = [
    "forwarded",
    "x-real-ip",
    "x-original-host",
    "true-client-ip",
    "client-cert",
    "client-cert-chain",
    "x-client-cert",
    "x-ssl-client-cert",
    "ssl-client-cert",
    "x-client-id",
    "x-vendor-correlation-id",
    "x-original-correlation-id",
    "idempotency-replayed",
    // A client's key never reaches a vendor as it came (INTERFACE §6.1).
    "idempotency-key",
    "proxy-status",
    "x-remote-user",
    "remote-user",
    "x-user",
    "x-scopes",
    // Where some servers find the certificate, or the path that is really meant.
    "x-arr-clientcert",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
];

/// How fields begin by which a proxy speaks of the client and of its certificate.
const POSING_PREFIXES: [&str; 4] = ["x-forwarded-", "x-ssl-", "ssl-client-", "x-client-cert-"];

/// Who asks, as far as a vendor may be told.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The client's address, as the trusted proxies tell it.
    pub address: IpAddr,
    /// Whether the client's connection is encrypted.
    pub https: bool,
    /// The authority that it asked for.
    pub authority: Option<&'a str>,
}

/// What the vendor's configuration says of the requests to it.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// `Host` to send.
    pub host: &'a HeaderValue,
    /// Whether it learns the client's address.
    pub forwarded: Forwarded,
    /// Whether the client's `Authorization` goes on.
    pub passthrough: bool,
    /// Fields that no client may fill.
    pub reserved: &'a [HeaderName],
    /// The gateway's own field, if it shows one.
    pub credential: Option<(&'a str, &'a [u8])>,
    /// The gateway's own member of `Via`.
    pub via: &'a Via,
}

/// The gateway's member of `Via` for each version that a client may speak: made once.
#[derive(Clone, Debug)]
pub struct Via {
    http_1_0: HeaderValue,
    http_1_1: HeaderValue,
    http_2: HeaderValue,
}

impl Via {
    /// For this pseudonym; `None` if it can't stand in a field.
    pub fn new(pseudonym: &str) -> Option<Via> {
        let member = |version: &str| HeaderValue::from_str(&format!("{version} {pseudonym}")).ok();
        Some(Via { http_1_0: member("1.0")?, http_1_1: member("1.1")?, http_2: member("2")? })
    }

    fn member(&self, version: Version) -> &HeaderValue {
        match version {
            Version::HTTP_2 => &self.http_2,
            Version::HTTP_10 => &self.http_1_0,
            _ => &self.http_1_1,
        }
    }
}

/// Refuses a request that has been here before (RFC 9110 §7.6.3).
///
/// # Errors
/// `loop-detected`.
pub fn check_loop(headers: &HeaderMap, pseudonym: &str) -> Result<(), Refusal> {
    let is_ours = |member: &[u8]| {
        member
            .trim_ascii()
            .split(|b| *b == b' ')
            .nth(1)
            .is_some_and(|by| by == pseudonym.as_bytes())
    };
    let mut vias = headers.get_all(header::VIA).iter();
    match vias.any(|via| via.as_bytes().split(|b| *b == b',').any(is_ours)) {
        true => Err(Refusal::LoopDetected),
        false => Ok(()),
    }
}

/// The request target: the base URL's path, the rest of the path and the query, byte for byte.
pub fn target(base: &str, rest: &str, query: Option<&str>) -> String {
    let mut target = String::with_capacity(base.len() + rest.len() + 2);
    target.push_str(base);
    target.push_str(rest);
    if target.is_empty() {
        target.push('/');
    }
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    target
}

/// Decides the fields. `version` is the one the client spoke; `parent_id` is fresh per attempt.
pub fn edits(
    headers: &HeaderMap,
    version: Version,
    asker: Asker<'_>,
    policy: Policy<'_>,
    correlation: &Correlation,
    parent_id: u64,
) -> Edits {
    let mut edits = Edits::with_room();
    let reserved = |name: &str| policy.reserved.iter().any(|it| is_spelling(name, it.as_str()));
    edits.remove_where(headers, |name| ends_here(name, policy.passthrough) || reserved(name));
    edits.set.push((CORRELATION_ID, correlation.field().clone()));
    if let Some(parent) = correlation.trace().parent(parent_id) {
        edits.set.push((trace::TRACEPARENT, parent));
    }
    if let Some(state) = correlation.trace().state() {
        edits.set.push((trace::TRACESTATE, state.clone()));
    }
    edits.set.push((header::HOST, policy.host.clone()));
    edits.set.push((header::VIA, via(headers, policy.via.member(version))));
    if let Some((name, value)) = policy.credential
        && let Ok(name) = HeaderName::from_bytes(name.as_bytes())
    {
        set(&mut edits, name, value);
    }
    if let Some(hops) = headers.get(header::MAX_FORWARDS).and_then(hops_left) {
        set(&mut edits, header::MAX_FORWARDS, hops.saturating_sub(1).to_string().as_bytes());
    }
    tell_who_asks(&mut edits, asker, policy.forwarded);
    edits
}

/// The number in `Max-Forwards` (RFC 9110 §7.6.2).
pub fn hops_left(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| value.to_str().ok()?.parse().ok()).flatten()
}

/// What proves a client to the gateway ends there, like what belongs to its connection.
fn ends_here(name: &str, passthrough: bool) -> bool {
    match name {
        "authorization" => !passthrough,
        "cookie" | "x-api-key" | "expect" | "tracestate" => true,
        _ => is_hop_by_hop(name) || could_pose(name),
    }
}

/// Whether something behind us could take `name` for `field`: many take `_` for `-`.
fn is_spelling(name: &str, field: &str) -> bool {
    let plain = |octet: u8| if octet == b'_' { b'-' } else { octet };
    name.len() == field.len() && name.bytes().map(plain).eq(field.bytes().map(plain))
}

fn could_pose(name: &str) -> bool {
    // One comparison of the first letter spares almost every field the rest.
    if !matches!(name.as_bytes().first(), Some(b'c' | b'f' | b'i' | b'p' | b'r'..=b't' | b'x')) {
        return false;
    }
    let poses = |name: &str| {
        POSING.contains(&name) || POSING_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    if name.contains('_') {
        let dashed = name.replace('_', "-");
        return poses(&dashed)
            || matches!(
                dashed.as_str(),
                "x-correlation-id"
                    | "x-api-key"
                    | "x-http-method"
                    | "x-http-method-override"
                    | "x-method-override"
            );
    }
    poses(name)
}

fn set(edits: &mut Edits, name: HeaderName, value: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(value) {
        edits.set.push((name, value));
    }
}

/// Every earlier member and ours behind them, as one line.
fn via(headers: &HeaderMap, ours: &HeaderValue) -> HeaderValue {
    if !headers.contains_key(header::VIA) {
        return ours.clone();
    }
    let earlier = headers.get_all(header::VIA).iter().map(HeaderValue::as_bytes);
    let line: Vec<&[u8]> = earlier.chain([ours.as_bytes()]).collect();
    HeaderValue::from_bytes(&line.join(b", ".as_slice())).unwrap_or_else(|_| ours.clone())
}

fn tell_who_asks(edits: &mut Edits, asker: Asker<'_>, forwarded: Forwarded) {
    let proto = if asker.https { "https" } else { "http" };
    match forwarded {
        Forwarded::Off => {}
        Forwarded::XForwarded => {
            set(edits, X_FORWARDED_FOR, asker.address.to_string().as_bytes());
            set(edits, X_FORWARDED_PROTO, proto.as_bytes());
            if let Some(authority) = asker.authority {
                set(edits, X_FORWARDED_HOST, authority.as_bytes());
            }
        }
        Forwarded::Rfc7239 => {
            let mut line = match asker.address {
                IpAddr::V4(address) => format!("for={address}"),
                IpAddr::V6(address) => format!("for=\"[{address}]\""),
            };
            line.push_str(";proto=");
            line.push_str(proto);
            if let Some(authority) = asker.authority {
                // A host may hold a colon, which only a quoted string may.
                line.push_str(&format!(";host=\"{authority}\""));
            }
            set(edits, header::FORWARDED, line.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::correlation::{Entropy, correlate};

    fn policy() -> Policy<'static> {
        let via = Via::new("erpgate").expect("a token");
        Policy {
            host: Box::leak(Box::new(HeaderValue::from_static("vendor.example.com"))),
            forwarded: Forwarded::Off,
            passthrough: false,
            reserved: &[],
            credential: None,
            via: Box::leak(Box::new(via)),
        }
    }

    fn applied(fields: &[(&'static str, &'static str)], policy: Policy<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let correlation = correlate(&headers, Entropy { id: [b'a'; 36], trace_id: 1 });
        let asker = Asker {
            address: "2001:db8::17".parse().expect("an address"),
            https: true,
            authority: Some("gw.example.com:8443"),
        };
        let edits = edits(&headers, Version::HTTP_11, asker, policy, &correlation, 2);
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
    fn sets_what_is_the_gateways_own() {
        let sent = applied(&[("host", "gw"), ("via", "1.0 fred"), ("x-other", "1")], policy());
        assert_eq!(sent["host"], "vendor.example.com");
        assert_eq!(sent["via"], "1.0 fred, 1.1 erpgate");
        assert_eq!(sent["x-correlation-id"], "a".repeat(36).as_str());
        assert!(sent.contains_key("traceparent"));
        assert_eq!(sent["x-other"], "1");
    }

    #[test]
    fn removes_what_ends_here() {
        let sent = applied(
            &[
                ("connection", "x-hop, X-Correlation-ID, close"),
                ("x-hop", "1"),
                ("keep-alive", "timeout=5"),
                ("te", "trailers"),
                ("upgrade", "h2c"),
                ("expect", "100-continue"),
                ("authorization", "Bearer t"),
                ("cookie", "a=b"),
                ("x-api-key", "k"),
                ("x_forwarded_for", "1.1.1.1"),
                ("x-forwarded-for", "1.1.1.1"),
                ("forwarded", "for=1.1.1.1"),
                ("client-cert", ":AAAA:"),
                ("x-forwarded-anything", "1"),
                ("x_forwarded_user", "1"),
                ("idempotency-replayed", "true"),
                ("x-forward", "kept"),
            ],
            policy(),
        );
        let mut left: Vec<&str> = sent.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["host", "traceparent", "via", "x-correlation-id", "x-forward"]);
    }

    #[test]
    fn credentials_and_passthrough() {
        let own = Policy { credential: Some(("authorization", b"Bearer ours")), ..policy() };
        assert_eq!(applied(&[("authorization", "Bearer t")], own)["authorization"], "Bearer ours");
        let through = Policy { passthrough: true, ..policy() };
        let sent = applied(&[("authorization", "Bearer t"), ("cookie", "a=b")], through);
        assert_eq!(sent["authorization"], "Bearer t");
        assert!(!sent.contains_key("cookie"));
    }

    #[test]
    fn tells_who_asks_only_when_told_to() {
        let sent = applied(&[], Policy { forwarded: Forwarded::Rfc7239, ..policy() });
        let expected = "for=\"[2001:db8::17]\";proto=https;host=\"gw.example.com:8443\"";
        assert_eq!(sent["forwarded"], expected);
        let sent = applied(&[], Policy { forwarded: Forwarded::XForwarded, ..policy() });
        assert_eq!(sent["x-forwarded-for"], "2001:db8::17");
        assert_eq!(sent["x-forwarded-proto"], "https");
    }

    #[test]
    fn counts_hops_and_sees_loops() {
        assert_eq!(applied(&[("max-forwards", "5")], policy())["max-forwards"], "4");
        let mut headers = HeaderMap::new();
        headers.append("via", HeaderValue::from_static("1.1 fred, 2 erpgate"));
        assert_eq!(check_loop(&headers, "erpgate"), Err(Refusal::LoopDetected));
        assert_eq!(check_loop(&headers, "erpgate-eu"), Ok(()));
    }

    #[test]
    fn targets_go_on_byte_for_byte() {
        assert_eq!(target("", "", None), "/");
        assert_eq!(target("/base", "", Some("a=1")), "/base?a=1");
        assert_eq!(
            target("", "/eid:7%2B", Some("a=1&a=2&b=%2F+%20")),
            "/eid:7%2B?a=1&a=2&b=%2F+%20"
        );
    }
}
