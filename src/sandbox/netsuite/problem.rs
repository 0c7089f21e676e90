//! Says no in NetSuite's shape.

use http::StatusCode;
use http::header::ALLOW;
use serde_json::{Map, Value, json};

use crate::sandbox::answer::{Answer, Media};

/// The page that every `type` points to.
const RFC: &str = "https://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html";

/// The 429 as it is quoted in public, with the title of a 400 [N25]. No `Retry-After`.
const THROTTLED: &str = concat!(
    r#"{"type":"https://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html","#,
    r#""title":"Bad Request","status":429,"o:errorDetails":["#,
    r#"{"detail":"Concurrent request limit exceeded. Request blocked.","#,
    r#""o:errorCode":"CONCURRENCY_LIMIT_EXCEEDED"}]}"#
);

/// What a RESTlet says in its place: a 400 [N27].
const RESTLET_THROTTLED: &str = concat!(
    r#"{"error":{"code":"SSS_REQUEST_LIMIT_EXCEEDED","#,
    r#""message":"Request Limit Exceeded. Reduce the number of concurrent requests."}}"#
);

/// A refusal by the account.
///
/// The shape is the vendor's documented one. Of the codes, `NONEXISTENT_ID`, `INVALID_CONTENT` and
/// `INVALID_PARAMETER` are seen in public; the others are plausible, not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// The member that says where the error is, such as `o:errorHeader`, and its value.
    place: Option<(&'static str, String)>,
    allow: Option<&'static str>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, code, detail: detail.into(), place: None, allow: None }
    }

    fn at(self, member: &'static str, value: &str) -> Problem {
        Problem { place: Some((member, value.to_owned())), ..self }
    }

    /// 429: one request more than the account may have in flight.
    pub fn throttled() -> Answer {
        Answer::text(StatusCode::TOO_MANY_REQUESTS, Media::Error, THROTTLED)
    }

    /// The same, as RESTlets say it.
    pub fn restlet_throttled() -> Answer {
        Answer::text(StatusCode::BAD_REQUEST, Media::Json, RESTLET_THROTTLED)
    }

    /// 404: a path that leads nowhere.
    pub fn unknown_url() -> Problem {
        let detail = "The URL is not valid. Provide a valid URL.";
        Problem::new(StatusCode::NOT_FOUND, "INVALID_URL", detail)
    }

    /// 404: no such record.
    pub fn nonexistent() -> Problem {
        let detail = "The record instance does not exist. Provide a valid record instance ID.";
        Problem::new(StatusCode::NOT_FOUND, "NONEXISTENT_ID", detail)
    }

    /// 405: a path that has other methods.
    pub fn method(allow: &'static str) -> Problem {
        let detail = "The method is not allowed for this resource.";
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail);
        Problem { allow: Some(allow), ..problem }
    }

    /// 400: a body that can't be what it should be.
    pub fn content(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "INVALID_CONTENT", detail)
    }

    /// 400: a member of the body with a wrong value.
    pub fn member(path: &str, detail: impl Into<String>) -> Problem {
        Problem::content(detail).at("o:errorPath", path)
    }

    /// 400: a query parameter with a wrong value.
    pub fn parameter(name: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "INVALID_PARAMETER", detail)
            .at("o:errorQueryParam", name)
    }

    /// 400: a header that is missing or wrong.
    pub fn header(name: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "INVALID_HEADER", detail).at("o:errorHeader", name)
    }

    /// 400: SuiteQL that can't be run. The wording is that of a bad `q` in a record query.
    pub fn query(why: &str) -> Problem {
        Problem::parameter(
            "q",
            format!(
                "Invalid search query. Detailed unprocessed description follows. \
                 Search error occurred: {why}."
            ),
        )
    }

    /// 400: a second record with the same external id. Status, code and wording not verified.
    pub fn duplicate() -> Problem {
        let detail = "Error while accessing a resource. This record already exists.";
        Problem::new(StatusCode::BAD_REQUEST, "USER_ERROR", detail)
    }

    /// 400: the simulator has no room for another record; ours, not NetSuite's.
    pub fn full() -> Problem {
        let detail = "The sandbox holds as many records as it can. Reset it.";
        Problem::new(StatusCode::BAD_REQUEST, "USER_ERROR", detail)
    }

    /// 413: a body over the limit.
    pub fn too_long() -> Problem {
        let detail = "The request body is longer than 104 MB.";
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "REQUEST_LIMIT_EXCEEDED", detail)
    }

    /// 415: a body of another media type.
    pub fn media_type() -> Problem {
        let detail = "Provide a Content-Type of application/json.";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "INVALID_HEADER", detail)
            .at("o:errorHeader", "Content-Type")
    }

    /// Any other status, as a fault demands it.
    pub fn unexpected(status: StatusCode) -> Problem {
        let detail = "An unexpected error occurred. Error ID: sandbox";
        Problem::new(status, "UNEXPECTED_ERROR", detail)
    }

    /// The problem as an answer.
    pub fn answer(self) -> Answer {
        let mut detail = Map::new();
        detail.insert("detail".to_owned(), self.detail.into());
        if let Some((member, value)) = self.place {
            detail.insert(member.to_owned(), value.into());
        }
        detail.insert("o:errorCode".to_owned(), self.code.into());
        let document = json!({
            "type": format!("{RFC}{}", fragment(self.status)),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "o:errorDetails": [Value::Object(detail)],
        });
        let answer = Answer::json(self.status, Media::Error, &document);
        match self.allow {
            Some(allow) => answer.with(ALLOW, allow),
            None => answer,
        }
    }
}

/// The section of RFC 2616 about a status: 10.4.1 is about 400, 10.5.1 about 500.
fn fragment(status: StatusCode) -> String {
    let code = status.as_u16();
    match code {
        400..=417 | 500..=505 => format!("#sec10.{}.{}", code / 100, code % 100 + 1),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::Problem;
    use http::StatusCode;
    use serde_json::{Value, json};

    fn body(problem: Problem) -> Value {
        serde_json::from_slice(&problem.answer().body).unwrap()
    }

    #[test]
    fn a_problem_has_the_vendors_shape() {
        assert_eq!(
            body(Problem::parameter("limit", "Bad.")),
            json!({
                "type": "https://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html#sec10.4.1",
                "title": "Bad Request",
                "status": 400,
                "o:errorDetails": [
                    {"detail": "Bad.", "o:errorQueryParam": "limit",
                     "o:errorCode": "INVALID_PARAMETER"},
                ],
            })
        );
        let gone = body(Problem::nonexistent());
        assert!(gone["type"].as_str().unwrap().ends_with("#sec10.4.5"));
        assert_eq!(gone["o:errorDetails"][0]["o:errorCode"], "NONEXISTENT_ID");
        let down = body(Problem::unexpected(StatusCode::SERVICE_UNAVAILABLE));
        assert!(down["type"].as_str().unwrap().ends_with("#sec10.5.4"));
    }

    #[test]
    fn the_throttle_is_the_quoted_one() {
        let answer = Problem::throttled();
        assert_eq!(answer.status, 429);
        assert!(!answer.headers.contains_key("retry-after"));
        assert_eq!(
            std::str::from_utf8(&answer.body).unwrap(),
            [
                r#"{"type":"https://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html","#,
                r#""title":"Bad Request","status":429,"o:errorDetails":[{"detail":"#,
                r#""Concurrent request limit exceeded. Request blocked.","o:errorCode":"#,
                r#""CONCURRENCY_LIMIT_EXCEEDED"}]}"#,
            ]
            .concat()
        );
    }

    #[test]
    fn a_wrong_method_names_the_right_ones() {
        assert_eq!(Problem::method("GET").answer().headers["allow"], "GET");
    }
}
