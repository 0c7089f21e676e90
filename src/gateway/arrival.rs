//! Reads how a request came in from pingora's session.

use super::connection::Connection;
use crate::exchange::Arrival;
use crate::stages::validation::declared_length;
use crate::state::Snapshot;
use http::{Version, header};
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use std::net::{IpAddr, SocketAddr};

/// How a request came in: its head as values, taken from pingora once.
pub fn read(session: &Session, connection: &Connection, snapshot: &Snapshot) -> Arrival {
    let request = session.req_header();
    let raw = request.raw_path();
    let target = String::from_utf8_lossy(raw);
    let target = origin_form(&target);
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target.to_owned(), None),
    };
    let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = request.uri.authority().map(|authority| authority.as_str()).or(host);
    Arrival {
        listener: connection.listener.clone(),
        https: connection.tls.is_some(),
        address: client_address(connection.peer.ip(), request, snapshot),
        version: request.version,
        authority: authority.map(str::to_owned),
        method: request.method.as_str().to_owned(),
        path,
        query,
        certificate: connection.tls.as_ref().and_then(|tls| tls.client.clone()),
    }
}

/// The target without scheme and authority: absolute-form has to be accepted (RFC 9112 §3.2.2).
fn origin_form(target: &str) -> &str {
    match split_absolute(target) {
        Some((_, path)) => path,
        None => target,
    }
}

/// Authority and path with query of a target in absolute form; `None` of any other.
pub fn split_absolute(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    if scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+') {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    Some((authority, if path.is_empty() { "/" } else { path }))
}

/// The peer, or behind trusted proxies the last address that they did not add themselves.
fn client_address(peer: IpAddr, request: &RequestHeader, snapshot: &Snapshot) -> IpAddr {
    let trusted = &snapshot.config.server.trusted_proxies;
    let is_trusted =
        |address: IpAddr| trusted.iter().any(|range| range.contains(&address.to_canonical()));
    if trusted.is_empty() || !is_trusted(peer) {
        return peer;
    }
    let mut hops: Vec<IpAddr> = Vec::new();
    for line in request.headers.get_all("x-forwarded-for") {
        for hop in line.to_str().unwrap_or("").split(',') {
            match hop_address(hop.trim()) {
                Some(address) => hops.push(address),
                // Nothing left of what can't be read can be believed.
                None => hops.clear(),
            }
        }
    }
    hops.into_iter().rev().find(|hop| !is_trusted(*hop)).unwrap_or(peer)
}

/// An address as proxies write it: some add the port.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<SocketAddr>().map(|socket| socket.ip());
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    bare.parse().or_else(|_| with_port()).ok()
}

/// Octets of a request of HTTP/1, head and body, if its head tells.
pub fn octets_of_request(head: usize, request: &RequestHeader) -> Option<u64> {
    if request.headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    let body = declared_length(&request.headers).unwrap_or(0);
    body.checked_add(head as u64)
}

/// Whether the client waits for 100 Continue; over HTTP/1.0 it can't (RFC 9110 §10.1.1).
pub fn expects_continue(session: &Session) -> bool {
    let request = session.req_header();
    let expect = request.headers.get(header::EXPECT);
    request.version == Version::HTTP_11
        && expect.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
