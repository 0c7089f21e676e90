//! When an outcome matcher applies: its statuses, and what it asks of a field, of the JSON value
//! at a pointer, or of the body as it is.

use http::{HeaderMap, HeaderName};
use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::RangeInclusive;

/// How much of a body is looked at, its content coding taken off.
pub const PEEK_BYTES_MAX: usize = 64 << 10;

/// The first members in which vendors tell of errors inside an answer that says 2xx. Others hold
/// records, in which a client could write what would pause a whole account: so `status`, which
/// orders have too, is not among them.
pub const ERROR_MEMBERS: [&str; 9] = [
    "error",
    "errors",
    "errorCode",
    "extensions",
    "fault",
    "Fault",
    "faults",
    "o:errorCode",
    "o:errorDetails",
];

/// Memory of a compiled expression: plenty for any that a person would write.
const REGEX_BYTES_MAX: usize = 256 << 10;

/// When a matcher applies: everything that it names has to hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct When {
    /// Statuses; none: every status.
    pub statuses: Vec<RangeInclusive<u16>>,
    /// A field that has to be there, with a value that passes the test.
    pub header: Option<(HeaderName, Option<Test>)>,
    /// A place of a JSON body where something other than `null` has to be that passes the test.
    pub pointer: Option<(Pointer, Option<Test>)>,
    /// What the body as it is has to pass.
    pub body: Option<Test>,
}

impl When {
    /// Whether it can apply to an answer that says 2xx.
    pub fn takes_success(&self) -> bool {
        let overlaps = |range: &RangeInclusive<u16>| *range.start() < 300 && *range.end() >= 200;
        self.statuses.is_empty() || self.statuses.iter().any(overlaps)
    }

    /// Whether it asks anything of the body.
    pub fn looks_into_body(&self) -> bool {
        self.pointer.is_some() || self.body.is_some()
    }

    /// Whether it provably leaves nothing to a later one: it asks the same, or nothing at all,
    /// of all statuses of the other.
    pub fn covers(&self, later: &When) -> bool {
        let within = |range: &RangeInclusive<u16>| {
            let holds = |own: &RangeInclusive<u16>| {
                own.contains(range.start()) && own.contains(range.end())
            };
            self.statuses.iter().any(holds)
        };
        let statuses = self.statuses.is_empty()
            || (!later.statuses.is_empty() && later.statuses.iter().all(within));
        let nothing = self.header.is_none() && !self.looks_into_body();
        let same =
            self.header == later.header && self.pointer == later.pointer && self.body == later.body;
        statuses && (nothing || same)
    }

    /// Whether status and fields are as they have to be.
    pub fn head_holds(&self, status: u16, headers: &HeaderMap) -> bool {
        let of_status = |range: &RangeInclusive<u16>| range.contains(&status);
        if !self.statuses.is_empty() && !self.statuses.iter().any(of_status) {
            return false;
        }
        let Some((name, test)) = &self.header else { return true };
        let passes = |value: &[u8]| test.as_ref().is_none_or(|test| test.passes(value));
        headers.get_all(name).iter().any(|value| passes(value.as_bytes().trim_ascii()))
    }

    /// Whether the body is as it has to be.
    pub fn body_holds(&self, peek: &Peek<'_>) -> bool {
        let pointer = self.pointer.as_ref().is_none_or(|(pointer, test)| {
            let Some(value) = peek.at(pointer).filter(|value| !value.is_null()) else {
                return false;
            };
            let passes = |test: &Test| text(value).is_some_and(|text| test.passes(text.as_bytes()));
            test.as_ref().is_none_or(passes)
        });
        pointer && self.body.as_ref().is_none_or(|test| test.passes(peek.bytes))
    }
}

/// The beginning of a body, read as JSON when somebody first asks.
pub struct Peek<'a> {
    bytes: &'a [u8],
    complete: bool,
    json: OnceCell<Option<Value>>,
}

impl<'a> Peek<'a> {
    /// Of a body's beginning; `complete`: it is the whole body. More than [`PEEK_BYTES_MAX`] is
    /// not looked at.
    pub fn new(body: &'a [u8], complete: bool) -> Self {
        let (bytes, complete) = match body.get(..PEEK_BYTES_MAX) {
            Some(beginning) => (beginning, complete && body.len() == PEEK_BYTES_MAX),
            None => (body, complete),
        };
        Peek { bytes, complete, json: OnceCell::new() }
    }

    /// What is at that place. Half a document is none: a member may be there twice, and what
    /// counts is in the half that nobody saw.
    pub fn at(&self, pointer: &Pointer) -> Option<&Value> {
        let json = self.json.get_or_init(|| {
            // Some vendors' platforms write a byte order mark.
            let text = self.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(self.bytes);
            let whole = self.complete.then_some(text)?;
            serde_json::from_slice(whole).ok()
        });
        json.as_ref()?.pointer(&pointer.0)
    }
}

/// A string, number or truth value as text.
pub fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(true) => Some(Cow::Borrowed("true")),
        Value::Bool(false) => Some(Cow::Borrowed("false")),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A place in a JSON document (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(String);

impl Pointer {
    /// Reads one as typed in a file.
    ///
    /// # Errors
    /// One sentence for the person who typed it.
    pub fn parse(typed: &str) -> Result<Pointer, String> {
        let escapes = typed.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        match typed.starts_with('/') && escapes {
            true => Ok(Pointer(typed.to_owned())),
            false => Err(format!(
                "`{typed}` is no JSON pointer: it begins with `/`, and `~` in a name is `~0`"
            )),
        }
    }

    /// The pointer as it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it leads to where vendors tell of errors, see [`ERROR_MEMBERS`].
    pub fn leads_to_an_error(&self) -> bool {
        let first = self.0.split('/').nth(1).unwrap_or_default();
        ERROR_MEMBERS.contains(&first)
    }
}

/// What a value has to be.
#[derive(Clone, Debug)]
pub struct Test {
    kind: Kind,
    text: String,
    /// `None`: the value is this text.
    regex: Option<Regex>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Equals,
    Matches,
    Contains,
}

impl Test {
    /// It is exactly this.
    pub fn equals(text: &str) -> Test {
        Test { kind: Kind::Equals, text: text.to_owned(), regex: None }
    }

    /// A regular expression matches a part of it.
    ///
    /// # Errors
    /// One sentence for the person who typed it.
    pub fn matches(pattern: &str) -> Result<Test, String> {
        Test::compiled(Kind::Matches, pattern, pattern)
    }

    /// This is a part of it.
    ///
    /// # Errors
    /// One sentence for the person who typed it: it is too long.
    pub fn contains(text: &str) -> Result<Test, String> {
        Test::compiled(Kind::Contains, text, &regex::escape(text))
    }

    fn compiled(kind: Kind, text: &str, pattern: &str) -> Result<Test, String> {
        let built = RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build();
        let regex = Some(built.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it is too large once compiled".to_owned(),
            // The last line of several says what it is; the others draw where.
            error => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                last.trim_start_matches("error: ").to_owned()
            }
        })?);
        Ok(Test { kind, text: text.to_owned(), regex })
    }

    fn passes(&self, value: &[u8]) -> bool {
        match &self.regex {
            Some(regex) => regex.is_match(value),
            None => value == self.text.as_bytes(),
        }
    }
}

impl PartialEq for Test {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.text) == (other.kind, &other.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn pointer(typed: &str) -> Pointer {
        Pointer::parse(typed).expect(typed)
    }

    #[test]
    fn pointers_are_those_of_rfc_6901() {
        for typed in ["/", "/a", "/a~1b/0", "/o:errorDetails/0/o:errorCode", "/~0"] {
            assert_eq!(pointer(typed).as_str(), typed);
        }
        for typed in ["", "a", "#/a", "/a~", "/a~2"] {
            assert!(Pointer::parse(typed).is_err(), "{typed}");
        }
        for (typed, leads) in [
            ("/error", true),
            ("/errors/0/extensions/code", true),
            ("/o:errorDetails/0", true),
            ("/errorsome", false),
            ("/0/errorCode", false),
            ("/status", false),
            ("/memo", false),
            ("/", false),
        ] {
            assert_eq!(pointer(typed).leads_to_an_error(), leads, "{typed}");
        }
    }

    #[test]
    fn values_are_compared_as_text() {
        let body = br#"{"s":"3001","n":3001,"f":2.0,"t":true,"z":null,"o":{},"d":1,"d":2}"#;
        for (at, equals, holds) in [
            ("/s", Some("3001"), true),
            ("/n", Some("3001"), true),
            ("/f", Some("2.0"), true),
            ("/t", Some("true"), true),
            ("/d", Some("2"), true),
            ("/s", Some("300"), false),
            ("/o", Some("{}"), false),
            ("/o", None, true),
            ("/z", None, false),
            ("/z", Some("null"), false),
            ("/gone", None, false),
        ] {
            let pointer = Some((pointer(at), equals.map(Test::equals)));
            let when = When { pointer, ..When::default() };
            assert_eq!(when.body_holds(&Peek::new(body, true)), holds, "{at} {equals:?}");
            assert!(!when.body_holds(&Peek::new(body, false)), "{at} of half a body");
        }
    }

    #[test]
    fn only_a_whole_small_document_is_read() {
        let when = When { pointer: Some((pointer("/error"), None)), ..When::default() };
        let json = br#"{"error":1}"#.to_vec();
        let padded = |len: usize| [json.clone(), vec![b' '; len - json.len()]].concat();
        let with_mark = [b"\xef\xbb\xbf".to_vec(), json.clone()].concat();
        let nested = [b"{\"error\":".to_vec(), vec![b'['; 10_000]].concat();
        for (body, holds) in [
            (json.clone(), true),
            (with_mark, true),
            (padded(PEEK_BYTES_MAX), true),
            (padded(PEEK_BYTES_MAX + 1), false),
            (nested, false),
            (b"{\"error\":1e999}".to_vec(), false),
            (b"{\"error\":\"\xff\"}".to_vec(), false),
            (Vec::new(), false),
        ] {
            let start = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
            assert_eq!(when.body_holds(&Peek::new(&body, true)), holds, "{start}");
        }
    }

    #[test]
    fn fields_and_bodies_are_tested() {
        let mut headers = HeaderMap::new();
        headers.append("x-token", HeaderValue::from_static("Fetch"));
        headers.append("x-token", HeaderValue::from_static(" Required "));
        for (test, holds) in [
            (None, true),
            (Some(Test::equals("Required")), true),
            (Some(Test::equals("required")), false),
            (Test::matches("(?i)^required$").ok(), true),
            (Test::contains("quire").ok(), true),
            (Test::contains(".").ok(), false),
        ] {
            let header = Some((HeaderName::from_static("x-token"), test.clone()));
            let when = When { header, ..When::default() };
            assert_eq!(when.head_holds(200, &headers), holds, "{test:?}");
            assert!(!when.head_holds(200, &HeaderMap::new()), "{test:?}");
        }
        let body = Test::contains("ConcurrentRequest").ok();
        let when = When { body, ..When::default() };
        assert!(when.body_holds(&Peek::new(b"\xff<ConcurrentRequestLimit", false)));
        assert!(!when.body_holds(&Peek::new(b"", true)));
    }

    #[test]
    fn expressions_are_bounded() {
        assert!(Test::matches(r"^(a|b)\d{1,3}$").is_ok());
        let wrong = Test::matches("a(").expect_err("unclosed");
        assert!(wrong.contains("unclosed"), "{wrong}");
        let large = Test::matches(r"(\w{100}){100}").expect_err("large");
        assert!(large.contains("too large"), "{large}");
    }

    #[test]
    fn what_leaves_nothing_is_known() {
        let statuses =
            |ranges: &[RangeInclusive<u16>]| When { statuses: ranges.to_vec(), ..When::default() };
        let with_pointer = |when: When, equals: &str| When {
            pointer: Some((pointer("/error"), Some(Test::equals(equals)))),
            ..when
        };
        let of_429 = || statuses(&[429..=429]);
        for (first, later, covers) in [
            (of_429(), of_429(), true),
            (statuses(&[]), of_429(), true),
            (of_429(), statuses(&[]), false),
            (statuses(&[400..=499]), of_429(), true),
            (of_429(), with_pointer(of_429(), "a"), true),
            (with_pointer(of_429(), "a"), with_pointer(of_429(), "a"), true),
            (with_pointer(of_429(), "a"), with_pointer(of_429(), "b"), false),
            (with_pointer(of_429(), "a"), of_429(), false),
            (of_429(), statuses(&[429..=429, 503..=503]), false),
        ] {
            assert_eq!(first.covers(&later), covers, "{first:?} {later:?}");
        }
        assert!(statuses(&[]).takes_success() && statuses(&[100..=200]).takes_success());
        assert!(!statuses(&[300..=399]).takes_success() && !of_429().takes_success());
    }
}
