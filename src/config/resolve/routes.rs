//! `[[route]]`: which requests go to which vendor, and within which bounds.

use super::bounds::{Longest, duration, size};
use super::names::{check_name, is_host, path_fault};
use super::protection::{Around, protection};
use super::{Context, TOP};
use crate::config::problem::{Notes, quoted, suggestion};
use crate::config::raw::at::At;
use crate::config::raw::table::Section;
use crate::config::raw::{RawGateway, RawRoute};
use crate::config::{AllowInPath, Read, Route, Vendor};
use crate::model::methods::{MethodSet, SERVED, is_safe};
use crate::model::path::PathPattern;
use std::sync::Arc;

/// Largest request body where nothing else is typed.
const BODY_BYTES: u64 = 10 << 20;

impl Context<'_> {
    pub(super) fn routes(&mut self, raw: &RawGateway, vendors: &[Arc<Vendor>]) -> Vec<Arc<Route>> {
        let typed = raw.route.as_ref().map_or(&[][..], |routes| &routes.value);
        if typed.is_empty() && !self.notes.has_lost(TOP.start, "route") {
            let message = "there is no route: every request is answered `route-not-found`";
            let help = "write `[[route]]` with `name`, `path` and `vendor`";
            self.notes.warning("no-route", &TOP, message, help);
        }
        self.check_doubles(typed);
        typed.iter().filter_map(|at| self.route(at, raw, vendors).map(Arc::new)).collect()
    }

    fn route(
        &mut self,
        at: &Section<RawRoute>,
        gateway: &RawGateway,
        vendors: &[Arc<Vendor>],
    ) -> Option<Route> {
        let raw = &at.value;
        let name = raw.name.as_ref();
        let name = self.notes.required(&at.span, "[[route]]", "name", name, "\"orders\"");
        let name = name.filter(|name| check_name(&mut self.notes, "route", name));
        let vendor = self.vendor_of(at, gateway, vendors);
        let credential = self.credential_of(raw, vendor.as_deref());
        let introspection = self.introspection_of(raw, gateway);
        let notes = &mut self.notes;
        if let Some(vendor) = &vendor {
            check_stream(notes, raw, vendor);
        }
        if raw.path.is_none()
            && raw.host.is_none()
            && !notes.has_lost(at.span.start, "path")
            && !notes.has_lost(at.span.start, "host")
        {
            let message = "this route has neither `path` nor `host`: nothing would lead to it";
            let help = "write `path = \"/orders\"`, or `path = \"/\"` for everything";
            notes.problem("missing-key", &at.span, message, help);
        }
        let methods = methods(notes, raw);
        let reads = reads(notes, raw, methods);
        let body_bytes_max = body_max(notes, raw);
        let deadline =
            duration(notes, "deadline", raw.deadline.as_ref(), "60s", Longest::of("24h"));
        let around = Around {
            methods,
            reads: &reads,
            streams: body_bytes_max.is_none(),
            deadline,
            vendor: vendor.as_deref(),
        };
        let protection = protection(notes, raw, &around);
        Some(Route {
            host: host(notes, raw),
            prefix: prefix(notes, raw),
            methods,
            reads,
            body_bytes_max,
            deadline,
            rewrite_links: raw.rewrite_links.unwrap_or(true),
            serialize_by: serialize_by(notes, raw),
            allow_in_path: allow_in_path(notes, raw),
            protection,
            name: Arc::from(name?.value.as_str()),
            vendor: vendor?,
            credential,
            introspection,
        })
    }

    /// `None` if there is no such vendor that can be used, which has been noted.
    fn vendor_of(
        &mut self,
        at: &Section<RawRoute>,
        gateway: &RawGateway,
        vendors: &[Arc<Vendor>],
    ) -> Option<Arc<Vendor>> {
        let typed = at.value.vendor.as_ref();
        let known: Vec<&str> =
            gateway.vendors.iter().flatten().map(|(name, _)| name.value.as_str()).collect();
        let example = format!("\"{}\"", known.first().unwrap_or(&"NAME"));
        let typed = self.notes.required(&at.span, "[[route]]", "vendor", typed, &example)?;
        let is_lost =
            self.notes.has_lost_anywhere(&typed.value) || self.notes.has_lost(TOP.start, "vendors");
        if !known.contains(&typed.value.as_str()) && !is_lost {
            let message = format!("there is no vendor {}", quoted(&typed.value));
            let help = match known.as_slice() {
                [] => format!("write `[vendors.{}]` with its `base_url`", typed.value),
                _ => suggestion(&typed.value, known),
            };
            self.notes.problem("unknown-vendor", &typed.span, message, help);
        }
        vendors.iter().find(|vendor| *vendor.name == *typed.value).cloned()
    }

    fn credential_of(&mut self, raw: &RawRoute, vendor: Option<&Vendor>) -> Option<Arc<str>> {
        let (typed, vendor) = (raw.credential.as_ref()?, vendor?);
        check_credential(&mut self.notes, typed, vendor)
    }

    /// The one that is typed, or the only one there is.
    fn introspection_of(&mut self, raw: &RawRoute, gateway: &RawGateway) -> Option<Arc<str>> {
        let issuers = gateway.issuer.as_ref().map_or(&[][..], |issuers| &issuers.value);
        let asked = issuers.iter().filter(|issuer| issuer.value.introspection.is_some());
        let known: Vec<&str> =
            asked.filter_map(|issuer| Some(issuer.value.name.as_ref()?.value.as_str())).collect();
        match (&raw.introspection, known.as_slice()) {
            (Some(typed), _) if known.contains(&typed.value.as_str()) => {
                Some(Arc::from(typed.value.as_str()))
            }
            (Some(typed), _) => {
                let message = format!("no issuer {} has `introspection`", quoted(&typed.value));
                let help = suggestion(&typed.value, known);
                self.notes.problem("unknown-issuer", &typed.span, message, help);
                None
            }
            (None, [only]) => Some(Arc::from(*only)),
            (None, _) => None,
        }
    }

    /// Names that are there twice, and routes that could never be reached behind another.
    fn check_doubles(&mut self, routes: &[Section<RawRoute>]) {
        for (index, route) in routes.iter().enumerate() {
            let earlier = routes.get(..index).unwrap_or_default();
            if let Some(name) = &route.value.name
                && let Some(other) = earlier.iter().find(|r| r.value.name.as_ref() == Some(name))
            {
                let line = self.line(other);
                let message =
                    format!("the route in line {line} is called {} too", quoted(&name.value));
                let help = "give each route a name of its own";
                self.notes.problem("duplicate-name", &name.span, message, help);
            }
            let Some(place) = place(&route.value) else { continue };
            let same =
                |other: &&Section<RawRoute>| self::place(&other.value).as_ref() == Some(&place);
            if let Some(other) = earlier.iter().find(same) {
                let line = self.line(other);
                let typed = route.value.path.as_ref().or(route.value.host.as_ref());
                let span = typed.map_or(&route.span, |typed| &typed.span).clone();
                let message = format!("the route in line {line} takes every request of this one");
                let help = "write another `path` or `host`, or make one route of the two";
                self.notes.problem("duplicate-route", &span, message, help);
            }
        }
    }

    fn line(&self, route: &Section<RawRoute>) -> usize {
        self.notes.text.place(route.span.start).0
    }
}

/// The name of one of the vendor's credentials, if it has it.
pub(super) fn check_credential(
    notes: &mut Notes,
    typed: &At<String>,
    vendor: &Vendor,
) -> Option<Arc<str>> {
    let known = vendor.credentials.get_key_value(typed.value.as_str());
    if known.is_none() {
        let message =
            format!("the vendor `{}` has no credential {}", vendor.name, quoted(&typed.value));
        let names: Vec<&str> = vendor.credentials.keys().map(|name| &**name).collect();
        let help = match names.as_slice() {
            [] => format!("write `credentials.{}` under `[vendors.{}]`", typed.value, vendor.name),
            _ => suggestion(&typed.value, names),
        };
        notes.problem("unknown-credential", &typed.span, message, help);
    }
    known.map(|(name, _)| name.clone())
}

/// Host and prefix, as requests are matched with them.
fn place(raw: &RawRoute) -> Option<(Option<String>, String)> {
    if raw.path.is_none() && raw.host.is_none() {
        return None;
    }
    let host = raw.host.as_ref().map(|host| host.value.to_ascii_lowercase());
    let path = raw.path.as_ref().map_or("/", |path| path.value.as_str());
    Some((host, path.trim_end_matches('/').to_owned()))
}

fn host(notes: &mut Notes, raw: &RawRoute) -> Option<String> {
    let typed = raw.host.as_ref()?;
    if !is_host(&typed.value) {
        let message = format!("{} is no host name and no IPv4 address", quoted(&typed.value));
        let help = "write it without scheme, port and `*`, as in \"orders.example.com\"";
        notes.problem("bad-host", &typed.span, message, help);
    }
    Some(typed.value.to_ascii_lowercase())
}

fn prefix(notes: &mut Notes, raw: &RawRoute) -> String {
    let Some(typed) = &raw.path else { return String::new() };
    if let Some(fault) = path_fault(&typed.value) {
        let message = format!("{} can't be the path of a route: {fault}", quoted(&typed.value));
        notes.problem("bad-path", &typed.span, message, "write it as in \"/orders\"");
    }
    typed.value.trim_end_matches('/').to_owned()
}

fn methods(notes: &mut Notes, raw: &RawRoute) -> MethodSet {
    let Some(typed) = &raw.methods else { return MethodSet::ALL };
    if typed.value.is_empty() {
        let message = "`methods` is empty: this route would refuse everything";
        let help = "write the methods to serve, or remove the key for all of them";
        notes.problem("no-methods", &typed.span, message, help);
    }
    let mut served = Vec::new();
    for method in &typed.value {
        if SERVED.contains(&method.value.as_str()) {
            served.push(method.value.as_str());
        } else {
            unserved(notes, method, &method.value);
        }
    }
    MethodSet::of(served).unwrap_or(MethodSet::ALL)
}

fn unserved(notes: &mut Notes, typed: &At<String>, method: &str) {
    let message = format!("{} is no method that can be served", quoted(method));
    let help = suggestion(method, SERVED);
    notes.problem("unknown-method", &typed.span, message, help);
}

fn reads(notes: &mut Notes, raw: &RawRoute, methods: MethodSet) -> Vec<Read> {
    let mut reads = Vec::new();
    for typed in raw.reads.iter().flatten() {
        let Some((method, path)) = typed.value.split_once(' ') else {
            let message = format!("{} is no method and path pattern", quoted(&typed.value));
            let help = "write it as in \"POST /query/**\"";
            notes.problem("bad-read", &typed.span, message, help);
            continue;
        };
        if !SERVED.contains(&method) {
            unserved(notes, typed, method);
        } else if !methods.contains(method) {
            let message = format!("this route does not serve {}", quoted(method));
            let help = "write a method that is in `methods`, or remove this entry";
            notes.problem("bad-read", &typed.span, message, help);
        } else if is_safe(method) {
            let message = format!("{} reads anyway", quoted(method));
            notes.warning("useless-read", &typed.span, message, "remove this entry");
        }
        match PathPattern::parse(path.trim_start()) {
            Ok(path) => reads.push(Read { method: method.to_owned(), path }),
            Err(message) => {
                let help = "write the path after the route's prefix, as in \"POST /query/**\"";
                notes.problem("bad-read", &typed.span, message, help);
            }
        }
    }
    reads
}

fn body_max(notes: &mut Notes, raw: &RawRoute) -> Option<u64> {
    let typed = raw.body_max.as_ref();
    if typed.is_some_and(|typed| typed.value.0 == "none") {
        return None;
    }
    Some(size(notes, "body_max", typed, BODY_BYTES, 0..=1 << 40))
}

fn serialize_by(notes: &mut Notes, raw: &RawRoute) -> Option<usize> {
    let typed = raw.serialize_by.as_ref()?;
    let segment = typed.value.strip_prefix("path:").and_then(|digits| digits.parse().ok());
    let segment = segment.filter(|segment| (1..=64).contains(segment));
    if segment.is_none() {
        let message = format!("{} names no part of a request", quoted(&typed.value));
        let help = "write the number of a segment behind the route's prefix, as in \"path:6\"";
        notes.problem("bad-serialize-by", &typed.span, message, help);
    }
    segment
}

/// What is not read first can't wait without holding a slot, nor can its answer be looked into.
fn check_stream(notes: &mut Notes, raw: &RawRoute, vendor: &Vendor) {
    let Some(typed) = raw.body_max.as_ref().filter(|typed| typed.value.0 == "none") else { return };
    let help = "write a size, or use another route for what is larger";
    if vendor.handling.limits_concurrency {
        let message = "a slow upload of any size holds one of the vendor's few slots";
        notes.warning("stream-holds-slot", &typed.span, message, help);
    }
    if vendor.outcomes.needs_bodies() {
        let message = "what this vendor tells in the bodies of its answers is not seen on this \
                       route, throttles among it";
        notes.warning("stream-unseen", &typed.span, message, help);
    }
}

fn allow_in_path(notes: &mut Notes, raw: &RawRoute) -> AllowInPath {
    let mut allow = AllowInPath::default();
    for typed in raw.allow_in_path.iter().flatten() {
        match typed.value.as_str() {
            "%2F" | "%2f" => allow.encoded_slash = true,
            ";" => allow.semicolon = true,
            other => {
                let message = format!("{} can't be allowed in a path", quoted(other));
                let help = "write \"%2F\" or \";\", nothing else can be allowed";
                notes.problem("unknown-value", &typed.span, message, help);
            }
        }
    }
    allow
}
