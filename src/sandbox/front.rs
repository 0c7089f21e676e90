//! Leads a request through the simulator: count, break, delay, execute, answer.

use std::future::pending;
use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::answer::{Answer, Media};
use super::faults::{Fault, Mode};
use super::intake::{self, Unread};
use super::listener::{Door, Host};
use super::netsuite::{BODY_BYTES_MAX, Command, Origin, Problem, is_restlet};
use super::outgoing::{self, Outgoing};
use super::script::Script;
use super::simulator::Simulator;
use super::target::Target;
use super::wire::Line;
use super::{control, mirror};

/// Where a request that came to the wrong data centre is sent. `.invalid` never resolves, so that
/// a client that follows is caught.
const OTHER_DATA_CENTRE: &str = "https://other-data-centre.sandbox.invalid";

/// What NetSuite's front shows, as HTML, when the application is broken.
const BROKEN_PAGE: &str = "<!DOCTYPE html><html><head><title>NetSuite - Error</title></head>\
    <body><h1>An unexpected error has occurred.</h1></body></html>";

static OPERATION_ID: HeaderName = HeaderName::from_static("x-n-operationid");
static TIMER: HeaderName = HeaderName::from_static("ns_rtimer_composite");

impl Host for Simulator {
    fn refuses_connection(&self) -> bool {
        self.draw_refusal()
    }

    fn note_down(&self, down: bool) {
        Simulator::note_down(self, down);
    }

    async fn answer(
        self: Arc<Self>,
        door: Door,
        line: Arc<Line>,
        request: Request<Incoming>,
    ) -> Response<Outgoing> {
        answer(door, self, line, request).await
    }
}

/// Answers one request. Never returns if a fault takes the connection over.
async fn answer(
    door: Door,
    simulator: Arc<Simulator>,
    line: Arc<Line>,
    request: Request<Incoming>,
) -> Response<Outgoing> {
    let path = request.uri().path();
    if path == "/_sandbox/control" {
        let answer = control::answer(&simulator, request).await;
        return outgoing::send(answer, None, line);
    }
    if path.starts_with("/_sandbox/") {
        return mirror::answer(request, line).await;
    }
    if door == Door::Control {
        let answer = Answer::text(StatusCode::NOT_FOUND, Media::Json, control::NOTHING_HERE);
        return outgoing::send(answer, None, line);
    }
    serve_vendor(&simulator, line, request).await
}

async fn serve_vendor(
    simulator: &Arc<Simulator>,
    line: Arc<Line>,
    request: Request<Incoming>,
) -> Response<Outgoing> {
    let operation = simulator.next_operation();
    let (head, body) = request.into_parts();
    let Some(slot) = simulator.enter() else {
        // Read all the same, or else the connection couldn't be kept. A client that breaks off
        // gets no answer anyway.
        let _ = intake::count(body, BODY_BYTES_MAX).await;
        let answer = match is_restlet(head.uri.path()) {
            true => Problem::restlet_throttled(),
            false => Problem::throttled(),
        };
        return outgoing::send(stamp(answer, operation), None, line);
    };
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let fault = simulator.draw_fault(&head.method, target);
    if fault.is_some_and(|fault| fault.mode == Mode::Refuse) {
        return line.hand_over(Script::reset()).await;
    }
    let body = match intake::read(body, BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(unread) => {
            let problem = match unread {
                Unread::TooLong => Problem::too_long(),
                Unread::Broken => Problem::content("The request body could not be read."),
            };
            return outgoing::send(stamp(problem.answer(), operation), Some(slot), line);
        }
    };
    let latency = simulator.latency();
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    if let Some(answer) = fail_unbooked(fault.as_ref(), target, &line).await {
        return outgoing::send(stamp(answer, operation), Some(slot), line);
    }
    let answer = stamp(execute(simulator, &head, &body), operation);
    if let Some(fault) = fault {
        if fault.mode == Mode::HangAfter {
            return pending().await;
        }
        if let Some(script) = Script::spoil(&fault, &answer) {
            return line.hand_over(script.holding(slot)).await;
        }
    }
    outgoing::send(answer, Some(slot), line)
}

/// Fails a request that must not be booked: with an answer, or by never returning.
async fn fail_unbooked(fault: Option<&Fault>, target: &str, line: &Line) -> Option<Answer> {
    let fault = fault?;
    match fault.mode {
        // Ends when hyper sees the client go: until then the request holds its slot.
        Mode::Hang => pending().await,
        Mode::ResetBefore => line.hand_over(Script::reset()).await,
        Mode::Status if fault.html => Some(Answer::text(fault.status(), Media::Html, BROKEN_PAGE)),
        Mode::Status => Some(Problem::unexpected(fault.status()).answer()),
        Mode::Redirect => {
            let location = format!("{OTHER_DATA_CENTRE}{target}");
            let moved = Answer { status: StatusCode::FOUND, ..Answer::empty() };
            Some(moved.with(http::header::LOCATION, &location))
        }
        _ => None,
    }
}

fn execute(simulator: &Simulator, head: &Parts, body: &[u8]) -> Answer {
    let Some(target) = Target::parse(&head.uri) else {
        return Problem::unknown_url().answer();
    };
    // Parsed before the account is locked: a large body must not stop everybody else.
    match Command::parse(&head.method, &target, &head.headers, body) {
        Ok(command) => simulator.execute(command, &origin(simulator, head), &head.headers),
        Err(problem) => problem.answer(),
    }
}

/// The scheme and authority that the client used, for the links in our answers.
fn origin(simulator: &Simulator, head: &Parts) -> Origin {
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.filter(|host| !host.is_empty());
    match host {
        Some(host) => Origin::new(host),
        None => Origin::new(&simulator.address().to_string()),
    }
}

/// Adds what every answer of NetSuite's carries.
fn stamp(mut answer: Answer, operation: u64) -> Answer {
    // Shaped like a version 4 UUID, but counted, so that a test can tell which request it was.
    let id = format!("00000000-0000-4000-8000-{operation:012x}");
    answer.headers.insert(TIMER.clone(), HeaderValue::from_static("0:73616E64626F78:80"));
    answer.with(OPERATION_ID.clone(), &id)
}
