//! Who may use the operators' listener.

use crate::model::secret::Secret;
use crate::state::State;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What a request's token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    Nothing,
    Read,
    Everything,
}

/// Who asks, as audit lines name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By(pub &'static str);

impl By {
    /// Whether keys, external ids and stored answers are shown.
    pub fn sees_all(self) -> bool {
        self.0 != READER
    }
}

/// The address that asks.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

const READER: &str = "read_token";

/// Lets through what the token allows; without configured tokens, which only a loopback address
/// may do without, everything.
pub async fn check(
    Shared(state): Shared<Arc<State>>,
    mut request: Request,
    next: Next,
) -> Response {
    let snapshot = state.snapshot.load_full();
    let admin = &snapshot.config.admin;
    let given = bearer(request.headers().get(header::AUTHORIZATION));
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if let Some(host) = foreign_host(&request) {
        let detail = format!("`{host}` is not a name of this listener.");
        return problem(StatusCode::MISDIRECTED_REQUEST, "misdirected-request", &detail);
    }
    let of_page = !reads && given.is_none() && request.headers().contains_key(header::ORIGIN);
    let power = power(given, admin.token.as_ref(), admin.read_token.as_ref());
    let allowed = match power {
        Power::Everything => !of_page,
        Power::Read => reads,
        Power::Nothing => false,
    };
    let action = format!("{} {}", request.method(), request.uri().path());
    if !reads || !allowed {
        let result = if allowed { "allowed" } else { "refused" };
        let members = [("action", action.into()), ("result", result.into())];
        state.log.event("audit", &members);
    }
    if allowed {
        let needs_none = admin.token.is_none() && admin.read_token.is_none();
        let by = match (power, needs_none) {
            (_, true) => "nobody",
            (Power::Everything, false) => "token",
            (_, false) => READER,
        };
        request.extensions_mut().insert(By(by));
        return next.run(request).await;
    }
    let mut refused = match power {
        Power::Nothing => problem(
            StatusCode::UNAUTHORIZED,
            if given.is_some() { "token-invalid" } else { "credentials-missing" },
            "The admin listener needs a token.",
        ),
        Power::Read => problem(StatusCode::FORBIDDEN, "not-permitted", "This token can only read."),
        Power::Everything => {
            let detail = "Without a token no web page changes anything here.";
            problem(StatusCode::FORBIDDEN, "not-permitted", detail)
        }
    };
    if power == Power::Nothing {
        let challenge = match given {
            Some(_) => {
                HeaderValue::from_static("Bearer realm=\"erpgate\", error=\"invalid_token\"")
            }
            None => HeaderValue::from_static("Bearer realm=\"erpgate\""),
        };
        refused.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    refused
}

/// A problem document of the admin listener.
pub fn problem(status: StatusCode, slug: &str, detail: &str) -> Response {
    let body = json!({
        "type": format!("urn:erpgate:problem:{slug}"),
        "title": status.canonical_reason().unwrap_or("Refused"),
        "status": status.as_u16(),
        "detail": detail,
        "code": slug,
    });
    let fields =
        [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
    (status, fields, body.to_string()).into_response()
}

fn power(given: Option<&[u8]>, token: Option<&Secret>, read_token: Option<&Secret>) -> Power {
    let is = |secret: Option<&Secret>| match (given, secret) {
        (Some(given), Some(secret)) => bool::from(given.ct_eq(secret.expose())),
        _ => false,
    };
    // Both are compared whatever the first says: time tells nothing.
    let (all, read) = (is(token), is(read_token));
    match (token, read_token) {
        _ if all => Power::Everything,
        (None, None) => Power::Everything,
        // A listener with only a read token: who shows none still can't change anything.
        _ if read => Power::Read,
        _ => Power::Nothing,
    }
}

fn bearer(field: Option<&HeaderValue>) -> Option<&[u8]> {
    let field = field?.as_bytes();
    let (scheme, token) = field.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// The name that the request was sent to, if it is neither an address nor `localhost` and no token
/// came with it: a page in an operator's browser can make it connect here under a name of its
/// own (DNS rebinding).
fn foreign_host(request: &Request) -> Option<String> {
    if request.headers().contains_key(header::AUTHORIZATION) {
        return None;
    }
    let host = request.headers().get(header::HOST)?.to_str().ok()?;
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    let known = name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok();
    (!known).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_what_it_was_made_for() {
        let (token, read) = (Secret::new(b"all"), Secret::new(b"read"));
        for (given, token, read, expected) in [
            (None, None, None, Power::Everything),
            (None, Some(&token), None, Power::Nothing),
            (None, None, Some(&read), Power::Nothing),
            (Some(b"all".as_slice()), Some(&token), Some(&read), Power::Everything),
            (Some(b"read"), Some(&token), Some(&read), Power::Read),
            (Some(b"other"), Some(&token), Some(&read), Power::Nothing),
            (Some(b""), Some(&token), Some(&read), Power::Nothing),
        ] {
            assert_eq!(power(given, token, read), expected, "{given:?}");
        }
    }

    #[test]
    fn bearer_tokens_are_read_in_any_case() {
        assert_eq!(bearer(Some(&HeaderValue::from_static("bearer abc"))), Some(b"abc".as_slice()));
        assert_eq!(bearer(Some(&HeaderValue::from_static("Basic abc"))), None);
        assert_eq!(bearer(Some(&HeaderValue::from_static("Bear"))), None);
        assert_eq!(bearer(None), None);
    }
}
