//! Holds a whole answer as a value: status, headers and body, not yet sent.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

/// The media type of a record, of an error, of a collection, or of our own endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// One resource of NetSuite's.
    Singular,
    /// A page of resources.
    Collection,
    /// A problem in NetSuite's shape.
    Error,
    /// Plain JSON, of `/_sandbox/`.
    Json,
    /// An HTML page, as NetSuite's front shows when things break.
    Html,
}

impl Media {
    fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Media::Singular => "application/vnd.oracle.resource+json; type=singular",
            Media::Collection => "application/vnd.oracle.resource+json; type=collection",
            Media::Error => "application/vnd.oracle.resource+json; type=error",
            Media::Json => "application/json",
            Media::Html => "text/html;charset=utf-8",
        })
    }
}

/// An answer that has been decided.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, without the framing.
    pub headers: HeaderMap,
    /// Its body; may be empty.
    pub body: Bytes,
}

impl Answer {
    /// 204 without a body.
    pub fn empty() -> Answer {
        Answer { status: StatusCode::NO_CONTENT, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// An answer with a JSON body.
    pub fn json(status: StatusCode, media: Media, value: &Value) -> Answer {
        Answer::text(status, media, value.to_string())
    }

    /// An answer with a body as it is.
    pub fn text(status: StatusCode, media: Media, text: impl Into<Bytes>) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, media.header());
        Answer { status, headers, body: text.into() }
    }

    /// The answer with one header more; one that HTTP doesn't allow is left out.
    pub fn with(mut self, name: HeaderName, value: &str) -> Answer {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }
}
