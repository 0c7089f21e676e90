//! `[server]` and `[log]`.

use super::Context;
use super::bounds::{Longest, duration, number, size};
use super::names::is_token;
use super::protection::key_parameters;
use crate::config::problem::{Notes, quoted};
use crate::config::raw::table::Section;
use crate::config::raw::{RawGateway, RawServer};
use crate::config::{Route, Server};
use crate::model::rates::Rate;
use ipnet::IpNet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// Query parameters whose values are never logged, whatever `redact_query` says: the names
/// under which OAuth, signed URLs and the vendors we know send what nobody may read.
const ALWAYS_REDACTED: [&str; 18] = [
    "access_token",
    "api-key",
    "api_key",
    "apikey",
    "assertion",
    "auth",
    "client_assertion",
    "client_secret",
    "code",
    "id_token",
    "key",
    "oauth_signature",
    "password",
    "refresh_token",
    "secret",
    "sig",
    "signature",
    "token",
];

/// Longest path of a Unix socket: the system's structure holds 108 bytes, one of them a zero.
const SOCKET_PATH_MAX: usize = 107;
const MINUTE: Duration = Duration::from_secs(60);

impl Context<'_> {
    pub(super) fn server(&mut self, raw: Option<&Section<RawServer>>) -> Server {
        let empty = RawServer::default();
        let raw = raw.map_or(&empty, |raw| &raw.value);
        let typed = raw.handover.as_ref();
        let handover =
            self.base.join(typed.map_or("data/handover.sock", |path| path.value.as_str()));
        let notes = &mut self.notes;
        if let Some(typed) = typed
            && (typed.value.is_empty() || handover.as_os_str().len() > SOCKET_PATH_MAX)
        {
            let message = "`handover` is empty, or too long for the path of a socket";
            notes.problem("bad-path", &typed.span, message, "write a path of up to 107 bytes");
        }
        Server {
            name: name(notes, raw),
            workers: number(notes, "workers", raw.workers.as_ref(), 0, 0..=1024),
            drain_timeout: duration(
                notes,
                "drain_timeout",
                raw.drain_timeout.as_ref(),
                "30s",
                Longest::of("24h"),
            ),
            trusted_proxies: trusted(notes, raw),
            handover,
            failed_auth_rate: failed_auth_rate(notes, raw),
            server_timing: raw.server_timing.unwrap_or(true),
            buffer_memory_bytes: size(
                notes,
                "buffer_memory",
                raw.buffer_memory.as_ref(),
                256 << 20,
                1 << 20..=1 << 40,
            ),
            buffer_disk_bytes: size(
                notes,
                "buffer_disk",
                raw.buffer_disk.as_ref(),
                1 << 30,
                0..=1 << 50,
            ),
        }
    }

    pub(super) fn redacted(&mut self, raw: &RawGateway, routes: &[Arc<Route>]) -> Vec<String> {
        let mut names: Vec<String> = ALWAYS_REDACTED.iter().map(|&name| name.to_owned()).collect();
        let typed = raw.log.as_ref().and_then(|log| log.value.redact_query.as_ref());
        for name in typed.into_iter().flatten() {
            if name.value.is_empty() {
                let help = "write the name of a query parameter, or remove it";
                self.notes.problem("bad-name", &name.span, "this name is empty", help);
            }
            let lower = name.value.to_lowercase();
            if !names.contains(&lower) {
                names.push(lower);
            }
        }
        for name in routes.iter().flat_map(|route| key_parameters(route)) {
            let lower = name.to_lowercase();
            if !names.contains(&lower) {
                names.push(lower);
            }
        }
        names
    }
}

fn name(notes: &mut Notes, raw: &RawServer) -> String {
    let Some(name) = &raw.name else { return "erpgate".to_owned() };
    if name.value.len() > 64 || !is_token(&name.value) {
        let message = format!("{} can't be the name of a gateway", quoted(&name.value));
        let help = "write 1 to 64 letters, digits and `-`: it goes into `Via` fields";
        notes.problem("bad-name", &name.span, message, help);
    }
    name.value.clone()
}

fn failed_auth_rate(notes: &mut Notes, raw: &RawServer) -> Rate {
    let default = Rate { count: NonZeroU32::MIN.saturating_add(59), period: MINUTE };
    let Some(typed) = &raw.failed_auth_rate else { return default };
    Rate::parse(&typed.value).unwrap_or_else(|message| {
        let help = "write `failed_auth_rate = \"60/minute\"`";
        notes.problem("bad-rate", &typed.span, message, help);
        default
    })
}

fn trusted(notes: &mut Notes, raw: &RawServer) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for typed in raw.trusted_proxies.iter().flatten() {
        let parsed = typed.value.parse::<IpNet>().map(|network| network.trunc());
        match parsed.or_else(|_| typed.value.parse::<IpAddr>().map(IpNet::from)) {
            Ok(network) => {
                if network.prefix_len() == 0 {
                    let message = "everybody is a trusted proxy: any client can name any address";
                    let help = "write the addresses of your load balancers only";
                    notes.warning("trusts-everybody", &typed.span, message, help);
                }
                networks.push(network);
            }
            Err(_) => {
                let message = format!("{} is no address and no network", quoted(&typed.value));
                let help = "write it as in \"10.1.2.3\" or \"10.0.0.0/8\"";
                notes.problem("bad-address", &typed.span, message, help);
            }
        }
    }
    networks
}
