//! Turns a request into a command for the account, or into the vendor's refusal.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use serde_json::Value;

use super::page::Page;
use super::problem::Problem;
use super::records::{Fields, Key, Naming};
use super::suiteql::Select;
use crate::sandbox::target::Target;

/// Longest name of a record type.
const KIND_BYTES_MAX: usize = 100;

/// A request that makes sense, whatever the account holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// `POST /record/v1/{kind}`
    Create {
        /// The record type.
        kind: String,
        /// From the member `externalId`.
        external_id: Option<String>,
        /// The other members.
        fields: Fields,
    },
    /// `GET /record/v1/{kind}`
    List {
        /// The record type.
        kind: String,
        /// The part asked for.
        page: Page,
    },
    /// `GET /record/v1/{kind}/{key}`
    Read {
        /// The record type.
        kind: String,
        /// Which record.
        key: Key,
    },
    /// `PATCH /record/v1/{kind}/{key}`
    Update {
        /// The record type.
        kind: String,
        /// Which record.
        key: Key,
        /// From the member `externalId`.
        naming: Naming,
        /// The other members.
        fields: Fields,
    },
    /// `PUT /record/v1/{kind}/eid:{external_id}`
    Upsert {
        /// The record type.
        kind: String,
        /// From the path; an `externalId` in the body gives way to it.
        external_id: String,
        /// The other members.
        fields: Fields,
    },
    /// `DELETE /record/v1/{kind}/{key}`
    Delete {
        /// The record type.
        kind: String,
        /// Which record.
        key: Key,
    },
    /// `GET /record/v1/metadata-catalog`
    Catalog,
    /// `POST /query/v1/suiteql`
    Query {
        /// What is asked.
        select: Select,
        /// The part asked for.
        page: Page,
    },
    /// `GET /system/v1/governanceLimits`
    Governance,
    /// `/app/site/hosting/restlet.nl?script=…&deploy=…`: a script of the account's own.
    Restlet {
        /// What it books: only a body does, by its member `externalId`.
        booked: Option<Option<String>>,
    },
}

/// Whether a path is that of RESTlets, which say no in a shape of their own.
pub fn is_restlet(path: &str) -> bool {
    path == "/app/site/hosting/restlet.nl"
}

impl Command {
    /// Reads a request.
    ///
    /// # Errors
    /// The problem that the vendor would answer.
    pub fn parse(
        method: &Method,
        target: &Target,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Command, Problem> {
        // HEAD is a GET whose body the server leaves out.
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let segments: Vec<&str> = target.segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["services", "rest", "record", "v1", "metadata-catalog"] => {
                only(method, Command::Catalog)
            }
            ["services", "rest", "record", "v1", kind] => {
                collection(method, target, &kind_of(kind)?, headers, body)
            }
            ["services", "rest", "record", "v1", kind, key] => {
                instance(method, kind_of(kind)?, key, headers, body)
            }
            ["services", "rest", "query", "v1", "suiteql"] => {
                if method != Method::POST {
                    return Err(Problem::method("POST"));
                }
                query(target, headers, body)
            }
            ["services", "rest", "system", "v1", "governanceLimits"] => {
                only(method, Command::Governance)
            }
            ["app", "site", "hosting", "restlet.nl"] => restlet(target, body),
            _ => Err(Problem::unknown_url()),
        }
    }
}

fn restlet(target: &Target, body: &[u8]) -> Result<Command, Problem> {
    for parameter in ["script", "deploy"] {
        if target.parameter(parameter).is_none() {
            return Err(Problem::parameter(parameter, "A RESTlet is named by script and deploy."));
        }
    }
    let fields: Option<Value> = serde_json::from_slice(body).ok();
    let external_id = |fields: Value| fields.get("externalId")?.as_str().map(str::to_owned);
    Ok(Command::Restlet { booked: fields.map(external_id) })
}

fn only(method: &Method, command: Command) -> Result<Command, Problem> {
    if method == Method::GET { Ok(command) } else { Err(Problem::method("GET")) }
}

fn collection(
    method: &Method,
    target: &Target,
    kind: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Command, Problem> {
    let kind = kind.to_owned();
    match *method {
        Method::GET => {
            if target.parameter("q").is_some() {
                // Better than an answer that looks filtered and isn't.
                return Err(Problem::parameter("q", "The sandbox does not filter collections."));
            }
            Ok(Command::List { kind, page: Page::parse(target)? })
        }
        Method::POST => {
            let (naming, fields) = record(headers, body)?;
            let external_id = match naming {
                Naming::Set(name) => Some(name),
                Naming::Keep | Naming::Clear => None,
            };
            Ok(Command::Create { kind, external_id, fields })
        }
        _ => Err(Problem::method("GET, POST")),
    }
}

fn instance(
    method: &Method,
    kind: String,
    key: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Command, Problem> {
    let key = key_of(key)?;
    match (method, key) {
        (&Method::GET, key) => Ok(Command::Read { kind, key }),
        (&Method::DELETE, key) => Ok(Command::Delete { kind, key }),
        (&Method::PATCH, key) => {
            let (naming, fields) = record(headers, body)?;
            Ok(Command::Update { kind, key, naming, fields })
        }
        (&Method::PUT, Key::External(external_id)) => {
            let (_, fields) = record(headers, body)?;
            Ok(Command::Upsert { kind, external_id, fields })
        }
        // Upsert is by external id only [N35]; that it is a 405 is not verified.
        (_, Key::Internal(_)) => Err(Problem::method("GET, PATCH, DELETE")),
        (_, Key::External(_)) => Err(Problem::method("GET, PUT, PATCH, DELETE")),
    }
}

fn query(target: &Target, headers: &HeaderMap, body: &[u8]) -> Result<Command, Problem> {
    let transient = headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .any(|token| token.trim().eq_ignore_ascii_case("transient"));
    if !transient {
        let detail = "The required request header 'Prefer' is missing or invalid. \
                      Set it to 'transient'.";
        return Err(Problem::header("Prefer", detail));
    }
    let page = Page::parse(target)?;
    let mut members = object(headers, body)?;
    match members.remove("q") {
        Some(Value::String(text)) => {
            let select = Select::parse(&text).map_err(|why| Problem::query(&why))?;
            Ok(Command::Query { select, page })
        }
        _ => Err(Problem::member("q", "Provide a SuiteQL query as the text `q`.")),
    }
}

/// A record's external id and other members. What the server itself assigns is left out.
fn record(headers: &HeaderMap, body: &[u8]) -> Result<(Naming, Fields), Problem> {
    let mut members = object(headers, body)?;
    members.retain(|name, _| name != "id" && name != "links");
    // Shifting, so that the other members keep their order.
    let naming = match members.shift_remove("externalId") {
        None => Naming::Keep,
        Some(Value::Null) => Naming::Clear,
        Some(Value::String(name)) if !name.is_empty() => Naming::Set(name),
        Some(_) => {
            return Err(Problem::member("externalId", "Provide a text for externalId."));
        }
    };
    Ok((naming, members))
}

fn object(headers: &HeaderMap, body: &[u8]) -> Result<Fields, Problem> {
    if !is_json(headers) {
        return Err(Problem::media_type());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Problem::content("The request body must be a JSON object.")),
        Err(error) => Err(Problem::content(format!("The request body is not JSON: {error}."))),
    }
}

/// Whether the body says that it is one JSON document. A batch (`type=collection`) is none.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let value = value.unwrap_or_default().to_ascii_lowercase();
    let mut parts = value.split(';').map(str::trim);
    let known =
        matches!(parts.next(), Some("application/json" | "application/vnd.oracle.resource+json"));
    known && parts.all(|parameter| parameter != "type=collection")
}

fn kind_of(segment: &str) -> Result<String, Problem> {
    let well_formed = segment.len() <= KIND_BYTES_MAX
        && segment.starts_with(|first: char| first.is_ascii_alphabetic())
        && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if well_formed { Ok(segment.to_owned()) } else { Err(Problem::unknown_url()) }
}

fn key_of(segment: &str) -> Result<Key, Problem> {
    let Some(external_id) = segment.strip_prefix("eid:") else {
        return segment.parse().map(Key::Internal).map_err(|_| Problem::nonexistent());
    };
    // `|` separates the values of a multi-select field, and breaks [N36].
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if external_id.is_empty() || !external_id.bytes().all(legal) {
        return Err(Problem::content(
            "An external ID in a URL consists of letters, digits, underscores and hyphens.",
        ));
    }
    Ok(Key::External(external_id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::Command;
    use crate::sandbox::netsuite::records::Key;
    use crate::sandbox::target::Target;
    use http::{HeaderMap, HeaderValue, Method};

    const RECORD: &str = "/services/rest/record/v1";
    const SUITEQL: &str = "/services/rest/query/v1/suiteql";

    fn parse(
        method: &str,
        path: &str,
        headers: &[(&'static str, &'static str)],
        body: &str,
    ) -> Result<Command, (u16, String)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let target = Target::parse(&path.parse().unwrap()).unwrap();
        let method: Method = method.parse().unwrap();
        Command::parse(&method, &target, &map, body.as_bytes()).map_err(|problem| {
            let answer = problem.answer();
            (answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap())
        })
    }

    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

    fn status(
        method: &str,
        path: &str,
        headers: &[(&'static str, &'static str)],
        body: &str,
    ) -> u16 {
        parse(method, path, headers, body).map_or_else(|(status, _)| status, |_| 200)
    }

    #[test]
    fn paths_and_methods() {
        for (method, path, expected) in [
            ("GET", "/services/rest/record/v1/customer", 200),
            ("HEAD", "/services/rest/record/v1/customer/1", 200),
            ("PUT", "/services/rest/record/v1/customer", 405),
            ("PUT", "/services/rest/record/v1/customer/1", 405),
            ("POST", "/services/rest/record/v1/customer/1", 405),
            ("GET", "/services/rest/record/v1/customer/one", 404),
            ("GET", "/services/rest/record/v1/customer/eid:A%7CB", 400),
            ("GET", "/services/rest/record/v1/customer/eid:", 400),
            ("GET", "/services/rest/record/v1/customer/1/addressBook", 404),
            ("GET", "/services/rest/record/v1/no-type", 404),
            ("GET", "/services/rest/record/v2/customer", 404),
            ("GET", "/services/rest/record/v1/customer?q=x", 400),
            ("GET", "/services/rest/record/v1/metadata-catalog/", 200),
            ("POST", "/services/rest/record/v1/metadata-catalog", 405),
            ("GET", "/services/rest/query/v1/suiteql", 405),
            ("GET", "/services/rest/system/v1/governanceLimits", 200),
            ("DELETE", "/services/rest/system/v1/governanceLimits", 405),
            ("GET", "/", 404),
        ] {
            assert_eq!(status(method, path, &[], ""), expected, "{method} {path}");
        }
    }

    #[test]
    fn the_colon_of_an_external_id_may_be_escaped() {
        let expected =
            Command::Read { kind: "customer".to_owned(), key: Key::External("C-1_a".to_owned()) };
        for path in ["customer/eid:C-1_a", "customer/eid%3AC-1_a"] {
            let command = parse("GET", &format!("{RECORD}/{path}"), &[], "");
            assert_eq!(command, Ok(expected.clone()), "{path}");
        }
    }

    #[test]
    fn bodies_are_json_objects() {
        let path = format!("{RECORD}/customer");
        let oracle = ("content-type", "application/vnd.oracle.resource+json; type=singular");
        let batch = ("content-type", "application/vnd.oracle.resource+json; type=collection");
        for (header, body, expected) in [
            (JSON, "{}", 200),
            (oracle, "{}", 200),
            (batch, "{}", 415),
            (("content-type", "text/plain"), "{}", 415),
            (("accept", "application/json"), "{}", 415),
            (JSON, "", 400),
            (JSON, "[]", 400),
            (JSON, "{", 400),
            (JSON, r#"{"externalId": 5}"#, 400),
            (JSON, r#"{"externalId": ""}"#, 400),
            (JSON, r#"{"externalId": null}"#, 200),
        ] {
            assert_eq!(status("POST", &path, &[header], body), expected, "{header:?} {body}");
        }
    }

    #[test]
    fn a_query_needs_its_preference_and_a_text() {
        let good = r#"{"q": "SELECT id FROM customer"}"#;
        let transient = ("prefer", "respond-async, Transient");
        assert_eq!(status("POST", SUITEQL, &[JSON, transient], good), 200);
        let (code, body) = parse("POST", SUITEQL, &[JSON], good).unwrap_err();
        assert_eq!(code, 400);
        assert!(body.contains(r#""o:errorHeader":"Prefer""#), "{body}");
        for bad in ["{}", r#"{"q": 1}"#, r#"{"q": "SELECT"}"#] {
            assert_eq!(status("POST", SUITEQL, &[JSON, transient], bad), 400, "{bad}");
        }
        let path = format!("{SUITEQL}?limit=1001");
        assert_eq!(status("POST", &path, &[JSON, transient], good), 400);
    }
}
