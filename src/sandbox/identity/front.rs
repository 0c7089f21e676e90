//! Leads a request through the provider: find, count, read, delay, answer, spoil.

use std::sync::Arc;

use http::header::ALLOW;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::directory::{Behavior, Directory, Endpoint};
use super::lies::Lie;
use super::tenant::Profile;
use super::{control, documents, introspection, token};
use crate::sandbox::answer::Answer;
use crate::sandbox::control::{NOTHING_HERE, refuse};
use crate::sandbox::intake;
use crate::sandbox::listener::{Door, Host};
use crate::sandbox::outgoing::{self, Outgoing};
use crate::sandbox::script::Script;
use crate::sandbox::target::Target;
use crate::sandbox::wire::Line;

/// More than any form needs.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Route<'a> {
    tenant: &'a str,
    endpoint: Endpoint,
    /// It followed [`Lie::Redirect`].
    moved: bool,
}

impl Host for Directory {
    fn note_down(&self, down: bool) {
        Directory::note_down(self, down);
    }

    async fn answer(
        self: Arc<Self>,
        door: Door,
        line: Arc<Line>,
        request: Request<Incoming>,
    ) -> Response<Outgoing> {
        if request.uri().path() == "/_sandbox/control" {
            let answer = control::answer(&self, request).await;
            return outgoing::send(answer, None, line);
        }
        let target = Target::parse(request.uri());
        let segments: Vec<&str> =
            target.iter().flat_map(|target| &target.segments).map(String::as_str).collect();
        let found = match door {
            Door::Main => {
                Route::find(&segments).and_then(|route| Some((route, self.profile(route.tenant)?)))
            }
            Door::Control => None,
        };
        match found {
            Some((route, profile)) => serve(&self, profile, route, line, request).await,
            None => {
                let why = if door == Door::Main { "no such tenant or path" } else { NOTHING_HERE };
                outgoing::send(refuse(StatusCode::NOT_FOUND, why), None, line)
            }
        }
    }
}

impl<'a> Route<'a> {
    fn find(segments: &[&'a str]) -> Option<Route<'a>> {
        let (tenant, endpoint, moved) = match *segments {
            [".well-known", "oauth-authorization-server", tenant]
            | [tenant, ".well-known", "openid-configuration"] => {
                (tenant, Endpoint::Discovery, false)
            }
            [tenant, name] => (tenant, Endpoint::named(name)?, false),
            [tenant, "moved", name] => (tenant, Endpoint::named(name)?, true),
            _ => return None,
        };
        // Discovery has its own paths, and the token endpoint never moves.
        let possible = match endpoint {
            Endpoint::Discovery => moved || segments.len() == 3,
            Endpoint::Token => !moved,
            Endpoint::Jwks | Endpoint::Introspect | Endpoint::Moved => true,
        };
        possible.then_some(Route { tenant, endpoint, moved })
    }
}

impl Endpoint {
    fn named(name: &str) -> Option<Endpoint> {
        Some(match name {
            "discovery" => Endpoint::Discovery,
            "jwks" => Endpoint::Jwks,
            "token" => Endpoint::Token,
            "introspect" => Endpoint::Introspect,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Endpoint::Discovery => "discovery",
            Endpoint::Jwks => "jwks",
            Endpoint::Token => "token",
            Endpoint::Introspect => "introspect",
            Endpoint::Moved => "moved",
        }
    }

    fn takes(self, method: &Method) -> bool {
        match self {
            Endpoint::Token | Endpoint::Introspect => method == Method::POST,
            _ => method == Method::GET || method == Method::HEAD,
        }
    }
}

async fn serve(
    directory: &Directory,
    profile: &Profile,
    route: Route<'_>,
    line: Arc<Line>,
    request: Request<Incoming>,
) -> Response<Outgoing> {
    let counted = if route.moved { Endpoint::Moved } else { route.endpoint };
    let (behavior, slot) = directory.enter(profile, counted);
    let (head, body) = request.into_parts();
    let Ok(body) = intake::read(body, BODY_BYTES_MAX).await else {
        let answer = refuse(StatusCode::BAD_REQUEST, "the body is too long or broken");
        return outgoing::send(answer, slot, line);
    };
    if !behavior.delay.is_zero() {
        tokio::time::sleep(behavior.delay).await;
    }
    if !route.endpoint.takes(&head.method) {
        let methods = if route.endpoint.takes(&Method::POST) { "POST" } else { "GET, HEAD" };
        let answer = refuse(StatusCode::METHOD_NOT_ALLOWED, methods).with(ALLOW, methods);
        return outgoing::send(answer, slot, line);
    }
    let answer = answer(directory, profile, route.endpoint, behavior, &head, &body);
    if route.moved || route.endpoint == Endpoint::Token {
        return outgoing::send(answer, slot, line);
    }
    if let Some(status) = behavior.status {
        let why = "the sandbox was told to answer so";
        return outgoing::send(refuse(status, why), slot, line);
    }
    match (behavior.lie, slot) {
        (Some(Lie::Half), Some(slot)) => line.hand_over(Script::half(&answer).holding(slot)).await,
        (Some(lie), slot) => {
            let url = directory.url(profile);
            let moved_url = format!("{url}/moved/{}", route.endpoint.name());
            outgoing::send(lie.spoil(answer, &moved_url), slot, line)
        }
        (None, slot) => outgoing::send(answer, slot, line),
    }
}

/// The answer of an endpoint, lies about its content included.
fn answer(
    directory: &Directory,
    profile: &Profile,
    endpoint: Endpoint,
    behavior: Behavior,
    head: &Parts,
    body: &[u8],
) -> Answer {
    let lie = behavior.lie;
    let answered = match endpoint {
        Endpoint::Discovery => Ok(documents::metadata(directory, profile, lie)),
        Endpoint::Jwks => Ok(documents::jwks(directory, profile, lie)),
        Endpoint::Token => token::issue(directory, profile, &head.headers, body),
        Endpoint::Introspect => {
            introspection::introspect(directory, profile, &head.headers, body, lie)
        }
        // Found under its own name, never as what it is for.
        Endpoint::Moved => return refuse(StatusCode::NOT_FOUND, "no such path"),
    };
    answered.unwrap_or_else(|refused| refused.answer())
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, Route};

    fn find(path: &str) -> Option<(&str, Endpoint, bool)> {
        let segments: Vec<&str> = path.split(' ').collect();
        Route::find(&segments).map(|route| (route.tenant, route.endpoint, route.moved))
    }

    #[test]
    fn paths_lead_to_a_tenant_and_an_endpoint() {
        for (path, endpoint, moved) in [
            (".well-known oauth-authorization-server t", Endpoint::Discovery, false),
            ("t .well-known openid-configuration", Endpoint::Discovery, false),
            ("t jwks", Endpoint::Jwks, false),
            ("t token", Endpoint::Token, false),
            ("t introspect", Endpoint::Introspect, false),
            ("t moved discovery", Endpoint::Discovery, true),
            ("t moved jwks", Endpoint::Jwks, true),
            ("t moved introspect", Endpoint::Introspect, true),
        ] {
            assert_eq!(find(path), Some(("t", endpoint, moved)), "{path}");
        }
        for path in ["", "t", "t discovery", "t moved", "t moved token", "t moved moved", "t a b"] {
            assert_eq!(find(path), None, "{path}");
        }
    }
}
