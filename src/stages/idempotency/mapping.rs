//! Decides what changes in a write so that its vendor knows it by a key of its own: a field, a
//! parameter, a member of the body, or an upsert in the place of a create.
//!
//! Never lets a client's key through: what carries it is taken out, or filled with what was
//! derived from it. Refuses nothing: a body that can't be changed is sent as it is, without the
//! vendor's protection.

use super::Protection;
use super::key::{Key, Source};
use super::lookup::Reconcile;
use super::vendor_key::{Format, derive};
use crate::model::query;
use crate::profile::when::Pointer;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use std::borrow::Cow;
use std::time::Duration;

/// `vendor_key`: what the vendor is sent in the place of a client's key.
#[derive(Debug, Clone, PartialEq)]
pub struct VendorKey {
    /// Where it goes.
    pub place: Place,
    /// A further field that has to go with it.
    pub companion: Option<(HeaderName, HeaderValue)>,
    /// The form that the vendor takes.
    pub format: Format,
    /// How long the vendor remembers it, from the first sending; `None`: nobody says so.
    pub window: Option<Duration>,
}

/// Where a vendor takes its key.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// A field; what a client sends in it is replaced.
    Header(HeaderName),
    /// A parameter of the query; what a client sends in it is replaced.
    Query(Box<str>),
    /// A member of a JSON body; what a client sends in it is replaced.
    Body(Pointer),
    /// An upsert: `POST /orders` becomes `PUT /orders/NAME:KEY`.
    Path(Box<str>),
}

impl Place {
    /// The place as that of a client's key.
    pub fn as_source(&self) -> Source {
        match self {
            Place::Header(name) => Source::Header(name.clone()),
            Place::Query(name) => Source::Query(name.clone()),
            Place::Body(pointer) => Source::Body(pointer.clone()),
            Place::Path(name) => Source::Path(format!("{name}:").into()),
        }
    }
}

impl VendorKey {
    /// How long a second sending can't act twice; `None`: nobody says so.
    pub fn protection(&self) -> Option<Protection> {
        match (&self.place, self.window) {
            (Place::Path(_), _) => Some(Protection::Upsert),
            (_, Some(window)) => Some(Protection::Window(window)),
            (_, None) => None,
        }
    }
}

/// A write, as far as mapping goes.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// Whose it is.
    pub client: &'a str,
    /// To which vendor.
    pub vendor: &'a str,
    /// Its method.
    pub method: &'a str,
    /// Its path after the route's prefix, byte for byte.
    pub path: &'a str,
    /// Its query, without `?`.
    pub query: Option<&'a str>,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// How a create is looked up: it says which paths create.
    pub reconcile: Option<&'a Reconcile>,
}

impl Write<'_> {
    fn creates(&self) -> bool {
        self.method == "POST" && self.reconcile.is_none_or(|it| it.is_of(self.path))
    }
}

/// What changes in a write on its way to the vendor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// The value by which the vendor knows it.
    pub value: Option<Box<str>>,
    /// How long a second sending can't act twice, by the vendor's own key or an upsert; `None`:
    /// nobody says that it can't.
    pub protection: Option<Protection>,
    /// Another method.
    pub method: Option<Method>,
    /// Another path after the route's prefix.
    pub path: Option<String>,
    /// Another query; the inner `None`: none at all.
    pub query: Option<Option<String>>,
    /// Fields to take out.
    pub remove: Vec<HeaderName>,
    /// Fields to set.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// A member of the body to set to the value.
    pub member: Option<Pointer>,
}

/// Decides what changes. `sources` are the route's: whatever could carry a key never goes on raw.
pub fn map(
    write: &Write<'_>,
    sources: &[Source],
    key: Option<&Key>,
    vendor_key: Option<&VendorKey>,
) -> Mapped {
    let mut mapped = Mapped::default();
    let mut left = write.query.map(Cow::Borrowed);
    // What a client puts where the vendor looks for its key would be one, and raw.
    let of_vendor = vendor_key.map(|vendor_key| vendor_key.place.as_source());
    for source in sources.iter().chain(&of_vendor) {
        match source {
            Source::Header(name) if write.headers.contains_key(name) => {
                mapped.remove.push(name.clone());
            }
            Source::Query(name) => left = left.and_then(|query| without(query, name)),
            Source::Header(_) | Source::Body(_) | Source::Path(_) => {}
        }
    }
    if let Some(key) = key {
        if key.record().is_some() {
            // The vendor knows the record by the client's own name for it.
            mapped.value = Some(key.value().into());
        }
        if let Some(vendor_key) = vendor_key {
            put(&mut mapped, &mut left, write, key, vendor_key);
        }
    }
    if left.as_deref() != write.query {
        mapped.query = Some(left.map(Cow::into_owned));
    }
    mapped
}

/// Borrowed where nothing is taken out: most queries hold no key.
fn without<'q>(given: Cow<'q, str>, name: &str) -> Option<Cow<'q, str>> {
    let is_there = query::pairs(&given).any(|(of, _)| *of == *name.as_bytes());
    match is_there {
        true => query::without(&given, name).map(Cow::Owned),
        false => Some(given),
    }
}

fn put(
    mapped: &mut Mapped,
    left: &mut Option<Cow<'_, str>>,
    write: &Write<'_>,
    key: &Key,
    vendor_key: &VendorKey,
) {
    let names_record = key.record().is_some();
    let derived = derive(write.client, write.vendor, key, &vendor_key.format);
    match &vendor_key.place {
        Place::Header(name) => {
            // Every format is of characters that a field takes.
            let Ok(value) = HeaderValue::from_str(&derived) else { return };
            mapped.set.push((name.clone(), value));
            mapped.set.extend(vendor_key.companion.clone());
        }
        Place::Query(name) => {
            *left = Some(Cow::Owned(match left.take() {
                Some(rest) => format!("{rest}&{name}={derived}"),
                None => format!("{name}={derived}"),
            }));
        }
        Place::Body(_) | Place::Path(_) if names_record => return,
        Place::Body(pointer) => mapped.member = Some(pointer.clone()),
        Place::Path(name) => {
            if !write.creates() {
                return;
            }
            mapped.method = Some(Method::PUT);
            let collection = write.path.trim_end_matches('/');
            mapped.path = Some(format!("{collection}/{name}:{derived}"));
        }
    }
    mapped.protection = vendor_key.protection();
    if !names_record {
        mapped.value = Some(derived.into());
    }
}

/// The body with a member set to the value; `None`: it is no JSON document with a place for it.
pub fn body_with(body: &[u8], pointer: &Pointer, value: &str) -> Option<Vec<u8>> {
    let mut document: Value = serde_json::from_slice(body).ok()?;
    let (parent, name) = pointer.as_str().rsplit_once('/')?;
    let name = name.replace("~1", "/").replace("~0", "~");
    let parent = document.pointer_mut(parent)?.as_object_mut()?;
    parent.insert(name, Value::from(value));
    serde_json::to_vec(&document).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::when::When;
    use crate::stages::idempotency::key::Record;
    use std::sync::LazyLock;

    const HEX: &str = "6ecfe8e4d5b0ce8be2b1b0ad9d3c1c4e";

    static FIELDS: LazyLock<HeaderMap> = LazyLock::new(|| {
        let mut fields = HeaderMap::new();
        fields.insert("x-request", HeaderValue::from_static("k"));
        fields.insert("x-key", HeaderValue::from_static("k"));
        fields
    });

    static RECONCILE: LazyLock<Reconcile> = LazyLock::new(|| Reconcile {
        method: "GET".into(),
        target: "/orders/{key}".into(),
        executed: When::default(),
        not_executed: When::default(),
        creates: Vec::new(),
    });

    fn write<'a>(method: &'a str, path: &'a str, query: Option<&'a str>) -> Write<'a> {
        let (headers, reconcile) = (&*FIELDS, Some(&*RECONCILE));
        Write { client: "c", vendor: "v", method, path, query, headers, reconcile }
    }

    fn vendor_key(place: Place) -> VendorKey {
        VendorKey { place, companion: None, format: Format::Hex32, window: None }
    }

    fn key(value: &str) -> Key {
        Key::kept(value.into(), None)
    }

    fn derived() -> String {
        derive("c", "v", &key("k"), &Format::Hex32)
    }

    #[test]
    fn a_key_never_goes_on_raw() {
        let name = HeaderName::from_static("x-request");
        let sources = [Source::Header(name.clone()), Source::Query("requestid".into())];
        for (query, expected) in [
            (None, None),
            (Some("a=1"), None),
            (Some("requestid=k"), Some(None)),
            (Some("a=1&requestid=k&b=%20"), Some(Some("a=1&b=%20".to_owned()))),
            (Some("a=1&request%69d=k"), Some(Some("a=1".to_owned()))),
        ] {
            let mapped = map(&write("POST", "/orders", query), &sources, None, None);
            assert_eq!(mapped.query, expected, "{query:?}");
            assert_eq!(mapped.remove, std::slice::from_ref(&name));
            assert!(mapped.protection.is_none() && mapped.value.is_none());
        }
    }

    #[test]
    fn a_write_without_a_key_takes_nothing_from_the_heap() {
        let name = HeaderName::from_static("idempotency-key");
        let sources = [Source::Header(name), Source::Query("requestid".into())];
        let write = write("POST", "/orders", Some("a=1&b=2"));
        let mut mapped = None;
        let taken = allocation_counter::measure(|| {
            mapped = Some(map(&write, &sources, None, None));
        });
        assert_eq!((taken.count_total, mapped), (0, Some(Mapped::default())));
    }

    #[test]
    fn each_place_is_filled() {
        let derived = derived();
        let map = |place, query| {
            let write = write("POST", "/orders", query);
            map(&write, &[], Some(&key("k")), Some(&vendor_key(place)))
        };
        let name = HeaderName::from_static("x-key");
        let mapped = map(Place::Header(name.clone()), None);
        assert_eq!(mapped.remove, std::slice::from_ref(&name));
        assert_eq!(mapped.set, [(name, HeaderValue::from_str(&derived).expect("hex"))]);
        assert_eq!(mapped.value.as_deref(), Some(&*derived));
        assert_eq!(mapped.protection, None, "nobody says that the vendor remembers it");
        for (query, expected) in [
            (None, format!("requestid={derived}")),
            (Some("requestid=k"), format!("requestid={derived}")),
            (Some("a=1&requestid=k"), format!("a=1&requestid={derived}")),
        ] {
            let mapped = map(Place::Query("requestid".into()), query);
            assert_eq!(mapped.query, Some(Some(expected)), "{query:?}");
        }
        let mapped = map(Place::Path("eid".into()), None);
        assert_eq!(mapped.method, Some(Method::PUT));
        assert_eq!(mapped.protection, Some(Protection::Upsert));
        assert_eq!(mapped.path, Some(format!("/orders/eid:{derived}")));
        let pointer = Pointer::parse("/code").expect("one");
        assert_eq!(map(Place::Body(pointer.clone()), None).member, Some(pointer));
    }

    #[test]
    fn only_creates_become_upserts() {
        let place = || vendor_key(Place::Path("eid".into()));
        for (method, path) in [("POST", "/orders/7/!transform"), ("PATCH", "/orders")] {
            let mapped = map(&write(method, path, None), &[], Some(&key("k")), Some(&place()));
            assert_eq!(mapped, Mapped::default(), "{method} {path}");
        }
        let record = Record { method: "POST".into(), path: "/orders".into() };
        let named = Key::kept("INV-7".into(), Some(record));
        let mapped = map(&write("POST", "/orders", None), &[], Some(&named), Some(&place()));
        assert!(mapped.protection.is_none() && mapped.path.is_none());
        assert_eq!(mapped.value.as_deref(), Some("INV-7"));
    }

    #[test]
    fn a_member_of_the_body_is_set() {
        let at = |pointer: &str, body: &str| {
            let pointer = Pointer::parse(pointer).expect(pointer);
            body_with(body.as_bytes(), &pointer, HEX)
                .map(|body| String::from_utf8(body).expect("JSON"))
        };
        assert_eq!(
            at("/code", r#"{"b":1,"a":2}"#),
            Some(format!(r#"{{"b":1,"a":2,"code":"{HEX}"}}"#))
        );
        assert_eq!(at("/code", r#"{"code":"mine"}"#), Some(format!(r#"{{"code":"{HEX}"}}"#)));
        assert_eq!(at("/a/b~1", r#"{"a":{}}"#), Some(format!(r#"{{"a":{{"b/":"{HEX}"}}}}"#)));
        for body in ["", "x", "[]", "{", "1"] {
            assert_eq!(at("/code", body), None, "{body}");
        }
        assert_eq!(at("/a/code", "{}"), None);
    }

    #[test]
    fn protection_is_what_the_vendor_promises() {
        let window = Duration::from_secs(60);
        let mut key = vendor_key(Place::Query("q".into()));
        assert_eq!(key.protection(), None);
        key.window = Some(window);
        assert_eq!(key.protection(), Some(Protection::Window(window)));
        key.place = Place::Path("eid".into());
        assert_eq!(key.protection(), Some(Protection::Upsert));
    }
}
