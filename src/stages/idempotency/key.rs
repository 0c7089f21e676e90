//! Decides which idempotency key a write carries: the first one that the route's sources name.
//!
//! Never looks whether the key was seen before. Refuses with `idempotency-key-missing`,
//! `idempotency-key-invalid`. Gives [`Key`].

mod body;

use crate::model::{percent, query};
use crate::profile::when::Pointer;
use crate::refusal::Refusal;
use body::Member;
use http::{HeaderMap, HeaderName};
use std::fmt;

/// The longest key, in characters.
pub const CHARACTERS_MAX: usize = 255;

/// One entry of `idempotency_key_from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A field, as a structured-field string or bare.
    Header(HeaderName),
    /// A parameter of the query.
    Query(Box<str>),
    /// The member of a JSON body that names the record; counts on POST only.
    Body(Pointer),
    /// What follows these characters in a segment of the path; counts on POST only.
    Path(Box<str>),
}

impl Source {
    /// Reads one as typed in a file.
    ///
    /// # Errors
    /// One sentence: what is wrong and what to write instead.
    pub fn parse(typed: &str) -> Result<Source, String> {
        let wrong = || {
            format!(
                "`{typed}` names no place of a key: write `header:NAME`, `query:NAME`, \
                 `body:/pointer` or `path:eid:*`"
            )
        };
        let (kind, place) = typed.split_once(':').ok_or_else(wrong)?;
        match kind {
            "header" => HeaderName::try_from(place).map(Source::Header).map_err(|_| wrong()),
            "query" if !place.is_empty() => Ok(Source::Query(place.into())),
            "body" => Pointer::parse(place).map(Source::Body),
            "path" => {
                let beginning = place.strip_suffix('*').ok_or_else(wrong)?;
                let plain = !beginning.is_empty() && !beginning.contains(['/', '*']);
                plain.then(|| Source::Path(beginning.into())).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }

    /// Whether it names a record rather than a request.
    pub fn names_record(&self) -> bool {
        matches!(self, Source::Body(_) | Source::Path(_))
    }

    /// Whether it needs the body.
    pub fn reads_body(&self) -> bool {
        matches!(self, Source::Body(_))
    }
}

/// As typed, a field's name in lower case.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Header(name) => write!(f, "header:{name}"),
            Source::Query(name) => write!(f, "query:{name}"),
            Source::Body(pointer) => write!(f, "body:{}", pointer.as_str()),
            Source::Path(beginning) => write!(f, "path:{beginning}*"),
        }
    }
}

/// The key of a write: two writes with equal keys are one, within client and vendor.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    value: Box<str>,
    record: Option<Record>,
}

/// What joins the scope of a key that names a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// The method.
    pub method: Box<str>,
    /// The path after the route's prefix.
    pub path: Box<str>,
}

impl Key {
    /// The key, without the quotes that it may have come in.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What joins its scope, if it names a record.
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// One that was kept.
    pub fn kept(value: Box<str>, record: Option<Record>) -> Key {
        Key { value, record }
    }
}

/// Keys are never logged.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A write, as far as keys go.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its path after the route's prefix, in the form that allows are matched with.
    pub path: &'a str,
    /// Its query, without `?`.
    pub query: Option<&'a str>,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// Its body without content coding; empty where nobody can read it.
    pub body: &'a [u8],
}

/// What a write's head says of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromHead {
    /// It has none.
    None,
    /// This one.
    Key(Key),
    /// That is for its body to say: see [`read`].
    InBody,
}

/// Looks for the key where that takes no body, so that a write that can't have one is refused
/// before its body comes.
///
/// # Errors
/// As [`read`]'s.
pub fn from_head(
    sources: &[Source],
    required: bool,
    write: &Write<'_>,
) -> Result<FromHead, Refusal> {
    let reads_body = |source: &Source| source.reads_body() && write.method == "POST";
    let before = sources.iter().position(reads_body).unwrap_or(sources.len());
    let in_body = before < sources.len();
    let before = sources.get(..before).unwrap_or_default();
    Ok(match read(before, required && !in_body, write)? {
        Some(key) => FromHead::Key(key),
        None if in_body => FromHead::InBody,
        None => FromHead::None,
    })
}

/// Reads the key: the first one that is there decides, and has to be one.
///
/// # Errors
/// `idempotency-key-missing` where one is required, `idempotency-key-invalid`.
pub fn read(sources: &[Source], required: bool, write: &Write<'_>) -> Result<Option<Key>, Refusal> {
    for source in sources {
        if source.names_record() && write.method != "POST" {
            continue;
        }
        let Some(value) = look(source, write)? else { continue };
        let record = source
            .names_record()
            .then(|| Record { method: write.method.into(), path: write.path.into() });
        return Ok(Some(Key { value: value.into(), record }));
    }
    if required { Err(Refusal::IdempotencyKeyMissing) } else { Ok(None) }
}

fn look(source: &Source, write: &Write<'_>) -> Result<Option<String>, Refusal> {
    match source {
        Source::Header(name) => from_header(write.headers, name),
        Source::Query(name) => from_query(write.query.unwrap_or_default(), name),
        Source::Body(pointer) => match body::member(write.body, pointer) {
            Member::None => Ok(None),
            Member::Value(value) => text(value).map(Some),
            Member::Twice => invalid("The member of the body that is the key is there twice."),
            Member::Unfit => {
                invalid("The member of the body that is the key is no string and no whole number.")
            }
        },
        Source::Path(beginning) => from_path(write.path, beginning),
    }
}

fn from_header(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return invalid("The field of the idempotency key is there twice.");
    }
    let value = value.as_bytes().trim_ascii();
    let key = match value.strip_prefix(b"\"") {
        Some(rest) => quoted(rest),
        None => bare(value),
    };
    match key {
        Some(key) if key.is_empty() => invalid("The idempotency key is empty."),
        // Both spellings are ASCII: an octet is a character.
        Some(key) if key.len() > CHARACTERS_MAX => invalid(TOO_LONG),
        Some(key) => Ok(Some(key)),
        None => invalid(
            "The idempotency key is neither visible ASCII without quotes nor a quoted string \
             without parameters.",
        ),
    }
}

/// What follows the opening quote of a structured-field string (RFC 9651 §4.2.5).
fn quoted(octets: &[u8]) -> Option<String> {
    let mut key = String::new();
    let mut octets = octets.iter();
    loop {
        match octets.next()? {
            b'"' => break,
            b'\\' => match octets.next()? {
                octet @ (b'"' | b'\\') => key.push(char::from(*octet)),
                _ => return None,
            },
            octet @ b' '..=b'~' => key.push(char::from(*octet)),
            _ => return None,
        }
    }
    // Parameters, or a second member of a list.
    octets.next().is_none().then_some(key)
}

fn bare(octets: &[u8]) -> Option<String> {
    let visible = |octet: &u8| octet.is_ascii_graphic() && *octet != b'"';
    octets.iter().all(visible).then(|| octets.iter().copied().map(char::from).collect())
}

fn from_query(given: &str, name: &str) -> Result<Option<String>, Refusal> {
    let mut exact = query::pairs(given).filter(|(of, _)| **of == *name.as_bytes());
    let Some((_, value)) = exact.next() else { return Ok(None) };
    // A second one that only some programs would find counts too: the vendor may be one.
    if query::values(given, name.as_bytes()).nth(1).is_some() {
        return invalid("The query parameter that is the idempotency key is there twice.");
    }
    match std::str::from_utf8(&value) {
        Ok(value) => text(value.to_owned()).map(Some),
        Err(_) => invalid(NO_TEXT),
    }
}

fn from_path(path: &str, beginning: &str) -> Result<Option<String>, Refusal> {
    let keys = |segment| percent_decoded(segment).map(|segment| after(&segment, beginning));
    let mut found = None;
    for segment in path.split('/') {
        match keys(segment) {
            Ok(None) => {}
            Ok(Some(_)) if found.is_some() => {
                return invalid("Two segments of the path could be the idempotency key.");
            }
            Ok(key) => found = key,
            // What is no text has no such beginning either, or is no key.
            Err(()) if percent::decode(segment).starts_with(beginning.as_bytes()) => {
                return invalid(NO_TEXT);
            }
            Err(()) => {}
        }
    }
    found.map(text).transpose()
}

fn after(segment: &str, beginning: &str) -> Option<String> {
    segment.strip_prefix(beginning).filter(|key| !key.is_empty()).map(str::to_owned)
}

fn percent_decoded(segment: &str) -> Result<String, ()> {
    String::from_utf8(percent::decode(segment)).map_err(|_| ())
}

/// A key from where others write what they like: external ids hold spaces and umlauts.
fn text(value: String) -> Result<String, Refusal> {
    match value.chars().count() {
        0 => invalid("The idempotency key is empty."),
        1..=CHARACTERS_MAX if value.chars().any(char::is_control) => invalid(NO_TEXT),
        1..=CHARACTERS_MAX => Ok(value),
        _ => invalid(TOO_LONG),
    }
}

const TOO_LONG: &str = "The idempotency key is longer than 255 characters.";
const NO_TEXT: &str = "The idempotency key holds characters that are no text.";

fn invalid<T>(why: &'static str) -> Result<T, Refusal> {
    Err(Refusal::IdempotencyKeyInvalid(why))
}

#[cfg(test)]
mod tests;
