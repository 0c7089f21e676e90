//! What a route does about the keys of its writes, and what a rule may make stricter.

use super::bounds::{Longest, duration};
use super::reconcile::reconcile;
use super::vendor_key::is_taken;
use crate::config::problem::{Notes, quoted};
use crate::config::protection::{Ambiguous, LookUp, Place, Protection, Stores};
use crate::config::raw::RawRoute;
use crate::config::raw::at::At;
use crate::config::raw::policy::{RawAllow, RawIdempotency};
use crate::config::raw::protection::{RawAmbiguous, RawStores};
use crate::config::{Read, Route, Vendor};
use crate::model::methods::{MethodSet, is_safe};
use crate::stages::authorization::rules::Idempotency;
use crate::stages::idempotency::key::Source;
use http::HeaderName;
use std::ops::Range;
use std::time::Duration;

/// Where a key comes from, if nothing else is typed.
const USUAL: &str = "idempotency-key";

/// What the rest of a route says that its protection depends on.
pub(super) struct Around<'a> {
    /// Which methods it serves.
    pub methods: MethodSet,
    /// Requests that read in spite of their method.
    pub reads: &'a [Read],
    /// Whether its bodies are never read.
    pub streams: bool,
    /// How long a client waits.
    pub deadline: Duration,
    /// Where its requests go, if that is known.
    pub vendor: Option<&'a Vendor>,
}

/// How the writes of a route are protected.
pub(super) fn protection(notes: &mut Notes, raw: &RawRoute, around: &Around<'_>) -> Protection {
    let idempotency = idempotency(notes, raw, around);
    check_used(notes, raw, around);
    let sources = sources(notes, raw, around);
    if let Some(typed) = &raw.idempotency
        && idempotency == Idempotency::Required
        && never_keyed(&sources, around.methods)
    {
        warn_never_keyed(notes, &typed.span);
    }
    let own = raw.reconcile.as_ref().and_then(|at| reconcile(notes, at, around.reads));
    if let Some(own) = &own {
        check_asked(notes, raw, around, &sources, own);
    }
    let vendor_key = around.vendor.and_then(|vendor| vendor.vendor_key.as_ref());
    let of_profile = || around.vendor.and_then(|vendor| vendor.reconcile.clone());
    let look_up = if raw.reconcile.is_some() { own } else { of_profile() };
    check_places(notes, raw, around, &sources);
    Protection {
        idempotency,
        wait: wait(notes, raw, around.deadline),
        ambiguous: ambiguous(notes, raw, around.vendor),
        stores: match raw.idempotency_stores.as_ref().map(|typed| typed.value) {
            Some(RawStores::Success) => Stores::Success,
            Some(RawStores::All) | None => Stores::All,
        },
        reconcile: look_up.filter(|it| it.fits(vendor_key, &sources)).map(|it| it.reconcile),
        sources,
    }
}

/// What a rule says, where it can be held.
pub(super) fn of_rule(
    notes: &mut Notes,
    raw: &RawAllow,
    methods: Option<MethodSet>,
    route: Option<&Route>,
) -> Option<Idempotency> {
    let typed = raw.idempotency.as_ref()?;
    let said = meant(typed.value);
    let Some(route) = route else { return Some(said) };
    let of_route = route.protection.idempotency;
    if route.body_bytes_max.is_none() && said != Idempotency::Off {
        refuse_stream(notes, &typed.span);
    } else if said < of_route {
        let message = format!(
            "the route says `{}`, and the stricter of the two wins: this does nothing",
            of_route.word()
        );
        let help = "remove it, or write it on the route, for all of its clients";
        notes.warning("idempotency-weaker", &typed.span, message, help);
    } else if said == Idempotency::Required && methods.is_some_and(reads_only) {
        let message = "this rule allows no method that writes: nothing needs a key";
        notes.warning("idempotency-unused", &typed.span, message, "remove it");
    } else if said == Idempotency::Required
        && methods.is_some_and(|methods| never_keyed(&route.protection.sources, methods))
    {
        warn_never_keyed(notes, &typed.span);
    }
    Some(said)
}

/// Parameters of the query that may hold a key.
pub(super) fn key_parameters(route: &Route) -> impl Iterator<Item = &str> {
    let typed = route.protection.sources.iter().filter_map(|source| match source {
        Source::Query(name) => Some(&**name),
        Source::Header(_) | Source::Body(_) | Source::Path(_) => None,
    });
    let of_vendor = route.vendor.vendor_key.iter().filter_map(|key| match &key.place {
        Place::Query(name) => Some(&**name),
        Place::Header(_) | Place::Body(_) | Place::Path(_) => None,
    });
    typed.chain(of_vendor)
}

fn meant(typed: RawIdempotency) -> Idempotency {
    match typed {
        RawIdempotency::Required => Idempotency::Required,
        RawIdempotency::Optional => Idempotency::Optional,
        RawIdempotency::Off => Idempotency::Off,
    }
}

fn reads_only(methods: MethodSet) -> bool {
    methods.iter().all(is_safe)
}

/// Whether some write can't have a key, wherever its client puts it.
fn never_keyed(sources: &[Source], methods: MethodSet) -> bool {
    let others = methods.iter().any(|method| !is_safe(method) && method != "POST");
    others && !sources.is_empty() && sources.iter().all(Source::names_record)
}

fn warn_never_keyed(notes: &mut Notes, span: &Range<usize>) {
    let message = "every PUT, PATCH and DELETE is refused: this route's keys name records, and \
                   such keys count on POST only";
    let help = "write a `header:` or `query:` source too, in `idempotency_key_from`";
    notes.warning("key-never-there", span, message, help);
}

fn refuse_stream(notes: &mut Notes, span: &Range<usize>) {
    let message = "a write is protected only if its body is read first, and this route has \
                   `body_max = \"none\"`";
    let help = "write \"off\" or nothing, or use a route with a size in `body_max`";
    notes.problem("idempotency-stream", span, message, help);
}

fn idempotency(notes: &mut Notes, raw: &RawRoute, around: &Around<'_>) -> Idempotency {
    let said = raw.idempotency.as_ref().map(|typed| (meant(typed.value), typed));
    match said {
        Some((Idempotency::Off, _)) => Idempotency::Off,
        Some((_, typed)) if around.streams => {
            refuse_stream(notes, &typed.span);
            Idempotency::Off
        }
        None if around.streams => Idempotency::Off,
        Some((said, _)) => said,
        None => Idempotency::Optional,
    }
}

/// Keys about writes on a route that protects none.
fn check_used(notes: &mut Notes, raw: &RawRoute, around: &Around<'_>) {
    let why = match around.streams {
        true => "has `body_max = \"none\"`",
        false if reads_only(around.methods) => "serves no method that writes",
        false => return,
    };
    fn span<T>(typed: &Option<At<T>>) -> Option<&Range<usize>> {
        typed.as_ref().map(|typed| &typed.span)
    }
    // Of a stream more has been said.
    let required = raw
        .idempotency
        .as_ref()
        .filter(|typed| !around.streams && typed.value == RawIdempotency::Required);
    for (key, span) in [
        ("idempotency", required.map(|typed| &typed.span)),
        ("idempotency_key_from", span(&raw.idempotency_key_from)),
        ("idempotency_wait", span(&raw.idempotency_wait)),
        ("idempotency_ambiguous", span(&raw.idempotency_ambiguous)),
        ("idempotency_stores", span(&raw.idempotency_stores)),
        ("reconcile", span(&raw.reconcile)),
    ] {
        if let Some(span) = span {
            let message =
                format!("this route protects no write, as it {why}: `{key}` does nothing");
            notes.warning("idempotency-unused", span, message, "remove it");
        }
    }
}

fn sources(notes: &mut Notes, raw: &RawRoute, around: &Around<'_>) -> Vec<Source> {
    let usual = || vec![Source::Header(HeaderName::from_static(USUAL))];
    let Some(typed) = &raw.idempotency_key_from else { return usual() };
    if typed.value.is_empty() {
        let message = "this is empty: no write could have a key";
        let help = "write places of keys, or `idempotency = \"off\"` in place of it";
        notes.problem("empty-list", &typed.span, message, help);
    }
    let mut sources = Vec::new();
    for text in &typed.value {
        let help = "write it as in \"header:Idempotency-Key\"";
        match Source::parse(&text.value) {
            Err(message) => notes.problem("bad-key-source", &text.span, message, help),
            Ok(source) if sources.contains(&source) => {
                let message = format!("{} is here twice", quoted(&text.value));
                notes.warning("duplicate-source", &text.span, message, "remove one of the two");
            }
            Ok(source) => {
                if let Source::Header(name) = &source
                    && (is_taken(name)
                        || around.vendor.is_some_and(|vendor| vendor.reserved.contains(name)))
                {
                    let message =
                        format!("{} can't hold an idempotency key", quoted(name.as_str()));
                    notes.problem("bad-key-source", &text.span, message, help);
                }
                sources.push(source);
            }
        }
    }
    sources
}

fn wait(notes: &mut Notes, raw: &RawRoute, deadline: Duration) -> Duration {
    let typed = raw.idempotency_wait.as_ref();
    let longest = Longest { text: "24h", zero: true };
    let wait = duration(notes, "idempotency_wait", typed, "0s", longest);
    if let Some(typed) = typed
        && wait > deadline
    {
        let message = "nobody waits so long: the route's `deadline` ends before";
        let help = "write a shorter time, or a longer `deadline`";
        notes.problem("out-of-range", &typed.span, message, help);
    }
    wait.min(deadline)
}

/// A second attempt needs a vendor that would know the first one again.
fn ambiguous(notes: &mut Notes, raw: &RawRoute, vendor: Option<&Vendor>) -> Ambiguous {
    let Some(typed) = &raw.idempotency_ambiguous else { return Ambiguous::Hold };
    match typed.value {
        RawAmbiguous::Hold => Ambiguous::Hold,
        RawAmbiguous::Replay => Ambiguous::Replay,
        RawAmbiguous::Retry => {
            let key = vendor.and_then(|vendor| vendor.vendor_key.as_ref());
            let protects =
                key.is_some_and(|key| matches!(key.place, Place::Path(_)) || key.window.is_some());
            if let Some(vendor) = vendor.filter(|_| !protects) {
                let message = format!(
                    "a second attempt could act twice: nothing says that `{}` would know the \
                     first one again",
                    vendor.name
                );
                let help = "write \"hold\", or a `vendor_key` of the vendor with a `window` or a \
                            `path`";
                notes.problem("retry-unprotected", &typed.span, message, help);
            }
            Ambiguous::Retry
        }
    }
}

/// Whether a look-up of the route's own is ever run.
fn check_asked(
    notes: &mut Notes,
    raw: &RawRoute,
    around: &Around<'_>,
    sources: &[Source],
    own: &LookUp,
) {
    let (Some(at), Some(vendor)) = (&raw.reconcile, around.vendor) else { return };
    if around.streams || reads_only(around.methods) {
        return;
    }
    let (message, help) = if !around.methods.contains("POST") {
        ("nothing is looked up: this route serves no POST, and only creates are", "remove it")
    } else if vendor.vendor_key.is_none() && !sources.iter().any(Source::names_record) {
        (
            "nothing is looked up: the vendor is sent no value that it could be asked for",
            "write a `vendor_key` of the vendor, or a `body:` or `path:` source in \
             `idempotency_key_from`",
        )
    } else if !own.fits(vendor.vendor_key.as_ref(), sources) {
        (
            "nothing is looked up: the vendor is not sent its value in a place of `sent_in`",
            "write the place of its `vendor_key`, or of the `body:` and `path:` sources of keys",
        )
    } else {
        let place = vendor.vendor_key.as_ref().map(|key| &key.place);
        if own.sent_in.is_empty() && matches!(place, Some(Place::Header(_) | Place::Query(_))) {
            let message = "unless the vendor finds records by the key of the request, this look-up \
                           says of every write that it was not executed";
            let help = "look a value up that is in the record, or confirm it by `sent_in`";
            notes.warning("unsure-reconcile", &at.span, message, help);
        }
        return;
    };
    notes.warning("unused-reconcile", &at.span, message, help);
}

/// What goes into a body, or out of one.
fn check_places(notes: &mut Notes, raw: &RawRoute, around: &Around<'_>, sources: &[Source]) {
    let key = around.vendor.and_then(|vendor| vendor.vendor_key.as_ref());
    let Some(Place::Body(place)) = key.map(|key| &key.place) else { return };
    if let Some(typed) = raw.body_max.as_ref().filter(|_| around.streams) {
        let message = "this vendor's key goes into the body, which is never read on this route";
        let help = "write a size, or use a vendor with another `vendor_key`";
        notes.problem("stream-vendor-key", &typed.span, message, help);
    }
    let replaced = |source: &&Source| matches!(source, Source::Body(from) if from == place);
    if let (Some(typed), Some(_)) = (&raw.idempotency_key_from, sources.iter().find(replaced)) {
        let message = format!(
            "the vendor never sees what its clients write at {}: its own key goes there",
            quoted(place.as_str())
        );
        let help = "write another source, or another place of the `vendor_key`";
        notes.warning("key-replaced", &typed.span, message, help);
    }
}
