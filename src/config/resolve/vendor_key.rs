//! `vendor_key` of a vendor or a profile: where the vendor takes a key, and how it is written.

use super::bounds::{Longest, duration};
use super::credentials::is_reserved;
use super::names::is_token;
use crate::config::problem::{Notes, quoted};
use crate::config::protection::{Place, VendorKey};
use crate::config::raw::at::At;
use crate::config::raw::protection::RawVendorKey;
use crate::config::raw::table::Section;
use crate::profile::when::Pointer;
use crate::stages::idempotency::vendor_key::Format;
use http::{HeaderName, HeaderValue};

/// An example that is right.
const EXAMPLE: &str = "{ header = \"Idempotency-Key\" }";

/// `None` where there is none, or none that can be used, which has been noted.
pub(super) fn vendor_key(notes: &mut Notes, at: &Section<RawVendorKey>) -> Option<VendorKey> {
    let raw: &RawVendorKey = &at.value;
    if raw.off.as_ref().is_some_and(|off| off.value) {
        check_alone(notes, at);
        return None;
    }
    let place = place(notes, at);
    let companion = raw.companion.as_ref().map(|typed| companion(notes, typed, place.as_ref()));
    let format = format(notes, raw);
    let window = raw
        .window
        .as_ref()
        .map(|typed| duration(notes, "window", Some(typed), "24h", Longest::of("365d")));
    let companion = match companion {
        None => None,
        Some(companion) => Some(companion?),
    };
    Some(VendorKey { place: place?, companion, format: format?, window })
}

/// Whether the field is one that erpgate, HTTP or a credential needs for itself.
pub(super) fn is_taken(name: &HeaderName) -> bool {
    let credential = matches!(name.as_str(), "authorization" | "cookie" | "x-api-key");
    name != "idempotency-key" && (credential || is_reserved(name.as_str()))
}

/// `off` says everything.
fn check_alone(notes: &mut Notes, at: &Section<RawVendorKey>) {
    let raw: &RawVendorKey = &at.value;
    let texts = [&raw.header, &raw.companion, &raw.path, &raw.query, &raw.body, &raw.format];
    if texts.iter().any(|text| text.is_some()) || raw.window.is_some() {
        let message = "`off` says that there is no vendor key, the rest that there is one";
        notes.problem("bad-vendor-key", &at.span, message, "write `{ off = true }`, or no `off`");
    }
}

fn place(notes: &mut Notes, at: &Section<RawVendorKey>) -> Option<Place> {
    let raw: &RawVendorKey = &at.value;
    let places =
        [("header", &raw.header), ("path", &raw.path), ("query", &raw.query), ("body", &raw.body)];
    if places.iter().any(|(key, _)| notes.has_lost(at.span.start, key)) {
        return None;
    }
    let typed: Vec<(&str, &At<String>)> =
        places.into_iter().filter_map(|(key, typed)| Some((key, typed.as_ref()?))).collect();
    let [(key, typed)] = typed.as_slice() else {
        let message = "a vendor key goes into exactly one place";
        let help = format!("write one of `header`, `path`, `query` and `body`, as in {EXAMPLE}");
        notes.problem("bad-vendor-key", &at.span, message, help);
        return None;
    };
    match *key {
        "header" => field(notes, typed).map(Place::Header),
        "path" => name(notes, typed).map(Place::Path),
        "query" => name(notes, typed).map(Place::Query),
        _ => Pointer::parse(&typed.value)
            .map_err(|message| {
                let help = "write the place of a member, as in \"/code\"";
                notes.problem("bad-vendor-key", &typed.span, message, help);
            })
            .ok()
            .map(Place::Body),
    }
}

fn field(notes: &mut Notes, typed: &At<String>) -> Option<HeaderName> {
    field_named(notes, typed, &typed.value)
}

fn field_named(notes: &mut Notes, typed: &At<String>, name: &str) -> Option<HeaderName> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok().filter(|_| is_token(name));
    let message = match &parsed {
        None => format!("{} is no name of a header field", quoted(name)),
        Some(parsed) if is_taken(parsed) => format!("{} can't hold a vendor key", quoted(name)),
        Some(_) => return parsed,
    };
    let help = "write the field that the vendor asks for, as in \"Idempotency-Key\"";
    notes.problem("bad-field-name", &typed.span, message, help);
    None
}

/// Of a parameter, or of what stands before the key in a path: nothing that needs an escape.
fn name(notes: &mut Notes, typed: &At<String>) -> Option<Box<str>> {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
    if !typed.value.is_empty() && typed.value.bytes().all(plain) {
        return Some(typed.value.as_str().into());
    }
    let message = format!("{} can't stand before a vendor key", quoted(&typed.value));
    let help = "write a name out of A-Z a-z 0-9 - . _ ~, as in \"eid\"";
    notes.problem("bad-vendor-key", &typed.span, message, help);
    None
}

fn companion(
    notes: &mut Notes,
    typed: &At<String>,
    place: Option<&Place>,
) -> Option<(HeaderName, HeaderValue)> {
    let mut refuse = |message: &str| {
        let help = "write it beside `header`, as in \"Prefer: respond-async\"";
        notes.problem("bad-vendor-key", &typed.span, message, help);
        None
    };
    let Some((name, value)) = typed.value.split_once(':') else {
        return refuse("a companion is a field with its value");
    };
    let value = value.trim();
    let visible = |octet: u8| matches!(octet, b' '..=b'~');
    let Some(value) = HeaderValue::from_str(value)
        .ok()
        .filter(|_| !value.is_empty() && value.bytes().all(visible))
    else {
        return refuse("a companion has a value, of visible ASCII characters");
    };
    match place {
        Some(Place::Header(header)) if name.eq_ignore_ascii_case(header.as_str()) => {
            return refuse("a companion is another field than the one with the key");
        }
        Some(Place::Header(_)) | None => {}
        Some(_) => return refuse("only a key in a field has a companion"),
    }
    field_named(notes, typed, name).map(|name| (name, value))
}

fn format(notes: &mut Notes, raw: &RawVendorKey) -> Option<Format> {
    let Some(typed) = &raw.format else { return Some(Format::Uuid) };
    Format::parse(&typed.value)
        .map_err(|message| {
            let help = "write the form that the vendor takes; without `format` it is `uuid`";
            notes.problem("bad-vendor-key", &typed.span, message, help);
        })
        .ok()
}
