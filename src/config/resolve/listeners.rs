//! `[[listener]]` and `[admin]`: where we are reached, by whom, and within which bounds.

use super::bounds::{Longest, duration, number, size};
use super::{Context, Mode, TOP};
use crate::config::problem::{Notes, quoted};
use crate::config::raw::at::At;
use crate::config::raw::table::Section;
use crate::config::raw::{RawAdmin, RawGateway, RawListener};
use crate::config::{Admin, Listener};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

/// Default and largest request heads. A head is held whole, once per connection.
const HEADER_BYTES: u64 = 32 << 10;
const HEADER_BYTES_MAX: u64 = 512 << 10;
/// Default request target.
const URI_BYTES: u64 = 8 << 10;
/// The parser below us stops at 256 fields; some room is left for those that we add.
const HEADERS_MAX: usize = 250;
/// More connections than one process can have.
const CONNECTIONS_MAX: usize = 1_000_000;
/// The operators' listener, where nothing else is typed.
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9900);

impl Context<'_> {
    pub(super) fn listeners(&mut self, raw: &RawGateway) -> Vec<Arc<Listener>> {
        let typed = raw.listener.as_ref().map_or(&[][..], |listeners| &listeners.value);
        if typed.is_empty() && !self.notes.has_lost(TOP.start, "listener") {
            let span = raw.listener.as_ref().map_or(TOP, |listeners| listeners.span.clone());
            let help = "write `[[listener]]` and below it `address = \"127.0.0.1:8080\"`";
            self.notes.problem("missing-key", &span, "there is no listener", help);
        }
        typed.iter().filter_map(|raw| self.listener(raw).map(Arc::new)).collect()
    }

    fn listener(&mut self, at: &Section<RawListener>) -> Option<Listener> {
        let raw = &at.value;
        let typed = self.notes.required(
            &at.span,
            "[[listener]]",
            "address",
            raw.address.as_ref(),
            "\"127.0.0.1:8080\"",
        );
        let address = typed.and_then(|typed| address(&mut self.notes, typed));
        let tls = raw.tls.as_ref().and_then(|tls| self.listener_tls(tls));
        let has_tls = raw.tls.is_some() || self.notes.has_lost(at.span.start, "tls");
        if let (Some(typed), Some(address)) = (typed, address)
            && !has_tls
            && !is_loopback(address)
        {
            let message = format!(
                "{} is reached from elsewhere without TLS: others could read credentials",
                quoted(&typed.value)
            );
            let help = "write `tls = { certificates = \"certs\" }`, or listen on 127.0.0.1";
            self.notes.problem("plain-listener", &typed.span, message, help);
        }
        let notes = &mut self.notes;
        let header = size(notes, "header_max", raw.header_max.as_ref(), HEADER_BYTES, HEADER_RANGE);
        let mut time = |key, typed: &Option<_>, default, longest| {
            duration(notes, key, typed.as_ref(), default, Longest::of(longest))
        };
        let handshake_timeout = time("handshake_timeout", &raw.handshake_timeout, "10s", "5m");
        let header_timeout = time("header_timeout", &raw.header_timeout, "10s", "5m");
        let body_timeout = time("body_timeout", &raw.body_timeout, "30s", "1h");
        let idle_timeout = time("idle_timeout", &raw.idle_timeout, "60s", "24h");
        let per_address = raw.connections_max_per_address.as_ref();
        let every = 1..=CONNECTIONS_MAX;
        Some(Listener {
            name: Arc::from(typed.map_or("", |typed| typed.value.as_str())),
            connections_max: number(
                notes,
                "connections_max",
                raw.connections_max.as_ref(),
                20_000,
                every.clone(),
            ),
            connections_max_per_address: number(
                notes,
                "connections_max_per_address",
                per_address,
                2_000,
                every,
            ),
            handshake_timeout,
            header_timeout,
            body_timeout,
            idle_timeout,
            header_bytes_max: bytes(header),
            headers_max: number(
                notes,
                "headers_max",
                raw.headers_max.as_ref(),
                100,
                1..=HEADERS_MAX,
            ),
            uri_bytes_max: bytes(uri_max(notes, raw, header)),
            tls,
            address: address?,
        })
    }

    pub(super) fn admin(&mut self, at: Option<&Section<RawAdmin>>) -> Admin {
        let empty = RawAdmin::default();
        let (raw, span) = at.map_or((&empty, TOP), |at| (&at.value, at.span.clone()));
        let typed = raw.address.as_ref();
        let address = typed.and_then(|typed| address(&mut self.notes, typed)).unwrap_or(ADMIN);
        let token = raw.token.as_ref().map(|token| self.bearer_secret("token", token));
        let read_token =
            raw.read_token.as_ref().map(|token| self.bearer_secret("read_token", token));
        let tls = raw.tls.as_ref().and_then(|tls| self.listener_tls(tls));
        if raw.token.is_none() && raw.read_token.is_some() {
            let message = "without `token`, `read_token` guards what reads but not what acts";
            let help = "write `token = { env = \"ERPGATE_ADMIN_TOKEN\" }` too";
            self.notes.problem("admin-exposed", &span, message, help);
        }
        if let (Some(Some(token)), Some(Some(read))) = (&token, &read_token)
            && !token.expose().is_empty()
            && token == read
        {
            let message = "`token` and `read_token` are the same: whoever reads can act";
            self.notes.problem("tokens-equal", &span, message, "use two different tokens");
        }
        if !is_loopback(address) {
            let place = typed.map_or(span, |typed| typed.span.clone());
            self.check_exposed_admin(raw, &place);
        }
        Admin { address, token: token.flatten(), read_token: read_token.flatten(), tls }
    }

    fn check_exposed_admin(&mut self, raw: &RawAdmin, place: &Range<usize>) {
        if self.mode == Mode::Sandbox {
            let message = "the sandbox reads no secrets, so nothing would guard this address";
            let help = "write a loopback address, as in \"127.0.0.1:9900\"";
            self.notes.problem("admin-exposed", place, message, help);
        } else if raw.token.is_none() || raw.tls.is_none() {
            let message = "operators reached from elsewhere need `token` and `tls`";
            let help = "write both, or a loopback address as in \"127.0.0.1:9900\"";
            self.notes.problem("admin-exposed", place, message, help);
        }
    }

    /// No two sockets can be bound to the same address. Port 0 is a new one each time.
    pub(super) fn clashes(&mut self, raw: &RawGateway, admin: &Admin) {
        let listeners = raw.listener.iter().flat_map(|listeners| &listeners.value);
        let typed = listeners.filter_map(|listener| listener.value.address.as_ref());
        let mut taken = vec![(admin.address, "the admin listener's".to_owned())];
        for typed in typed {
            let Ok(address) = typed.value.parse::<SocketAddr>() else { continue };
            if let Some((_, owner)) = taken.iter().find(|(other, _)| clash(*other, address)) {
                let message = format!("{} is {owner} address already", quoted(&typed.value));
                let help = "write another port";
                self.notes.problem("duplicate-listener", &typed.span, message, help);
            }
            let (line, _) = self.notes.text.place(typed.span.start);
            taken.push((address, format!("in line {line} another listener's")));
        }
    }
}

const HEADER_RANGE: std::ops::RangeInclusive<u64> = 256..=HEADER_BYTES_MAX;

/// Where only `header_max` is typed, the target gets half of it at most.
fn uri_max(notes: &mut Notes, raw: &RawListener, header: u64) -> u64 {
    let default = URI_BYTES.min(header / 2);
    let uri = size(notes, "uri_max", raw.uri_max.as_ref(), default, 64..=HEADER_BYTES_MAX);
    if let Some(typed) = &raw.uri_max
        && uri >= header
    {
        let message = "`uri_max` is not less than `header_max`: the target is part of the head";
        notes.problem("out-of-range", &typed.span, message, "write less, or raise `header_max`");
    }
    uri
}

fn address(notes: &mut Notes, typed: &At<String>) -> Option<SocketAddr> {
    let address = typed.value.parse().ok();
    if address.is_none() {
        let message = format!("{} is not an address and a port", quoted(&typed.value));
        let help = "write it as in \"127.0.0.1:8080\", \"0.0.0.0:8443\" or \"[::]:8443\"";
        notes.problem("bad-address", &typed.span, message, help);
    }
    address
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Whether binding both would fail: the same, or one of them all addresses of the family.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let everywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
    let same_family = a.is_ipv4() == b.is_ipv4();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || (everywhere && same_family))
}

/// Bounded above by [`HEADER_BYTES_MAX`], which every platform's `usize` holds.
fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
