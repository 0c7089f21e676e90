//! Reads the form of an OAuth request and who sent it, and refuses in the words of RFC 6749.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::sandbox::answer::{Answer, Media};
use crate::sandbox::target;

/// The secret of every client.
const SECRET: &str = "sandbox";

/// The members of a form, none of them twice.
#[derive(Debug)]
pub struct Form(Vec<(String, String)>);

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    status: StatusCode,
    code: &'static str,
    why: String,
}

impl Refused {
    /// 400 with that `error`.
    pub fn bad(code: &'static str, why: impl Into<String>) -> Refused {
        Refused { status: StatusCode::BAD_REQUEST, code, why: why.into() }
    }

    fn request(why: impl Into<String>) -> Refused {
        Refused::bad("invalid_request", why)
    }

    fn client(why: &str) -> Refused {
        let why = why.to_owned();
        Refused { status: StatusCode::UNAUTHORIZED, code: "invalid_client", why }
    }

    /// 500: the cryptography library failed.
    pub fn broken() -> Refused {
        let why = "signing failed".to_owned();
        Refused { status: StatusCode::INTERNAL_SERVER_ERROR, code: "server_error", why }
    }

    /// The answer (RFC 6749 §5.2).
    pub fn answer(&self) -> Answer {
        let body = json!({ "error": self.code, "error_description": self.why });
        let answer = Answer::json(self.status, Media::Json, &body).with(CACHE_CONTROL, "no-store");
        if self.status == StatusCode::UNAUTHORIZED {
            return answer.with(WWW_AUTHENTICATE, "Basic realm=\"sandbox\"");
        }
        answer
    }
}

impl Form {
    /// Reads a form.
    ///
    /// # Errors
    /// When it is none, or a member comes twice (RFC 6749 §3.2).
    pub fn read(headers: &HeaderMap, body: &[u8]) -> Result<Form, Refused> {
        let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media = media.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Refused::request("not application/x-www-form-urlencoded"));
        }
        let text = std::str::from_utf8(body).ok();
        let members =
            text.and_then(target::pairs).ok_or_else(|| Refused::request("the form is broken"))?;
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some([twice, _]) = names.array_windows().find(|[one, other]| one == other) {
            return Err(Refused::request(format!("`{twice}` comes twice")));
        }
        Ok(Form(members))
    }

    /// The member of that name; an empty one counts as absent (RFC 6749 §3.2).
    pub fn member(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Who sent it: any client that knows the secret, as `Basic` or in the form.
    ///
    /// # Errors
    /// When nobody is named, two ways are used at once, or the secret is wrong.
    pub fn client(&self, headers: &HeaderMap) -> Result<String, Refused> {
        let (id, secret) = match headers.get(AUTHORIZATION) {
            Some(_) if self.member("client_secret").is_some() => {
                return Err(Refused::request("two ways of authentication at once"));
            }
            Some(value) => basic(value.as_bytes())
                .ok_or_else(|| Refused::client("the Authorization header is not Basic"))?,
            None => {
                let member = |name| self.member(name).map(str::to_owned);
                let pair = member("client_id").zip(member("client_secret"));
                pair.ok_or_else(|| Refused::client("no client_id and client_secret"))?
            }
        };
        if id.is_empty() || secret != SECRET {
            return Err(Refused::client("the secret of every client is `sandbox`"));
        }
        Ok(id)
    }
}

/// Both halves are encoded as in a form before they are joined (RFC 6749 §2.3.1).
fn basic(value: &[u8]) -> Option<(String, String)> {
    let (scheme, credentials) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64_STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    let decode = |half: &str| target::decode(&half.replace('+', " "));
    Some((decode(id)?, decode(secret)?))
}

#[cfg(test)]
mod tests {
    use super::{Form, Refused};
    use http::{HeaderMap, HeaderValue};

    fn read(authorization: Option<&'static str>, body: &str) -> Result<String, Refused> {
        let mut headers = HeaderMap::new();
        let media = HeaderValue::from_static("Application/X-www-form-urlencoded; charset=utf-8");
        headers.insert("content-type", media);
        if let Some(value) = authorization {
            headers.insert("authorization", HeaderValue::from_static(value));
        }
        Form::read(&headers, body.as_bytes())?.client(&headers)
    }

    #[test]
    fn a_client_names_itself_in_either_way() {
        for (authorization, body, id) in [
            (None, "client_id=shop+1&client_secret=sandbox", "shop 1"),
            (Some("Basic c2hvcDpzYW5kYm94"), "", "shop"),
            (Some("bAsIc YSUzQWI6c2FuZGJveA=="), "client_id=ignored", "a:b"),
        ] {
            assert_eq!(read(authorization, body).unwrap(), id, "{body}");
        }
    }

    #[test]
    fn others_are_refused() {
        for (authorization, body, code) in [
            (None, "", "invalid_client"),
            (None, "client_id=shop", "invalid_client"),
            (None, "client_id=&client_secret=sandbox", "invalid_client"),
            (None, "client_id=shop&client_secret=Sandbox", "invalid_client"),
            (Some("Basic c2hvcDp3cm9uZw=="), "", "invalid_client"),
            (Some("Basic !"), "", "invalid_client"),
            (Some("Bearer c2hvcDpzYW5kYm94"), "", "invalid_client"),
            (Some("Basic c2hvcDpzYW5kYm94"), "client_secret=sandbox", "invalid_request"),
            (None, "client_id=a&client_id=a&client_secret=sandbox", "invalid_request"),
            (None, "client_id=%zz", "invalid_request"),
        ] {
            assert_eq!(read(authorization, body).unwrap_err().code, code, "{body}");
        }
        let plain = Form::read(&HeaderMap::new(), b"a=b").unwrap_err();
        assert_eq!(plain.code, "invalid_request");
    }
}
