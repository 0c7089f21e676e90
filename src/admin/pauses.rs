//! Pauses a vendor's pool and lets it go on, as an operator says.

use super::access::{By, problem};
use super::reading::{Needed, members, nothing_else, reason, text};
use super::vendors::{Name, Sight, hold, unknown};
use crate::holds::kept::Pause;
use crate::stages::admission::Scope;
use crate::state::State;
use axum::Json;
use axum::extract::{Extension, Path, Request, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Octets of a body.
const BODY_MAX: usize = 16 << 10;

/// What an operator asks for.
#[derive(Debug, PartialEq)]
struct Wish {
    scope: Scope,
    until: Option<Timestamp>,
    why: String,
}

/// `POST /api/v1/vendors/{name}/pause`.
pub async fn pause(
    Shared(state): Shared<Arc<State>>,
    Extension(By(by)): Extension<By>,
    name: Name,
    request: Request,
) -> Response {
    let Some(Path(name)) = name.ok().filter(|Path(name)| is_known(&state, name)) else {
        return unknown();
    };
    let now = Timestamp::now();
    let wish =
        members(request, Needed::Yes, BODY_MAX).await.and_then(|it| Ok(Wish::read(it, now)?));
    let Wish { scope, until, why } = match wish {
        Ok(wish) => wish,
        Err(wrong) => return wrong.answer(),
    };
    let pause = Pause { scope, since: Timestamp::now(), until, why };
    done(state, by, name, Some(pause), None).await
}

/// `POST /api/v1/vendors/{name}/resume`.
pub async fn resume(
    Shared(state): Shared<Arc<State>>,
    Extension(By(by)): Extension<By>,
    name: Name,
    request: Request,
) -> Response {
    let Some(Path(name)) = name.ok().filter(|Path(name)| is_known(&state, name)) else {
        return unknown();
    };
    let why = match members(request, Needed::No, BODY_MAX).await.and_then(|it| Ok(only_why(it)?)) {
        Ok(why) => why,
        Err(wrong) => return wrong.answer(),
    };
    done(state, by, name, None, why).await
}

fn is_known(state: &State, name: &str) -> bool {
    state.snapshot.load().config.vendors.iter().any(|vendor| *vendor.name == *name)
}

/// Writes it down, puts it in force, and tells what is so now. A client that hangs up stops none
/// of that.
async fn done(
    state: Arc<State>,
    by: &'static str,
    name: String,
    pause: Option<Pause>,
    why: Option<String>,
) -> Response {
    let doing = move || {
        let snapshot = state.snapshot.load_full();
        let Some(sight) = Sight::of(&state, &snapshot, &name) else { return unknown() };
        let pool = sight.pool.name.clone();
        let set = state.holds.set(&state.vendors, &pool, pause.clone());
        let said = match (&pause, &why) {
            (Some(pause), _) => hold(pause),
            (None, why) => serde_json::json!({ "why": why }),
        };
        let mut line = vec![
            ("action", if pause.is_some() { "pause" } else { "resume" }.into()),
            ("result", if set.is_ok() { "done" } else { "failed" }.into()),
            ("by", by.into()),
            ("vendor", name.as_str().into()),
            ("pool", (&*pool).into()),
        ];
        let said = said.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        line.extend(said.map(|(name, value)| (name.as_str(), value.clone())));
        match &set {
            Ok(Some(before)) => line.push(("before", hold(before))),
            Ok(None) => {}
            Err(reason) => line.push(("reason", reason.as_str().into())),
        }
        state.log.event("audit", &line);
        match set {
            Ok(before) => told(&state, &name, pause.as_ref(), before.as_ref()),
            Err(reason) => {
                let detail =
                    format!("Nothing has changed: `pauses.json` can't be written: {reason}.");
                problem(StatusCode::INTERNAL_SERVER_ERROR, "pause-not-kept", &detail)
            }
        }
    };
    let failed = |_| problem(StatusCode::INTERNAL_SERVER_ERROR, "gateway-fault", "It failed.");
    tokio::task::spawn_blocking(doing).await.unwrap_or_else(failed)
}

/// The vendor as it is now, and what an operator should know about it.
fn told(state: &State, name: &str, pause: Option<&Pause>, before: Option<&Pause>) -> Response {
    let snapshot = state.snapshot.load_full();
    let Some(sight) = Sight::of(state, &snapshot, name) else { return unknown() };
    let mut notes = Vec::new();
    let verb = if pause.is_some() { "pauses" } else { "lets go on" };
    let sharers = sight.sharers();
    if sharers.len() > 1 {
        let pool = &sight.pool.name;
        notes.push(format!("This {verb} the pool {pool}: {}.", sharers.join(", ")));
    }
    match (pause, before) {
        (Some(_), Some(before)) => {
            let scope = before.scope.word();
            let until = before.until.map_or("open end".to_owned(), |until| until.to_string());
            notes.push(format!("It replaces a pause of {scope} until {until}: {}", before.why));
        }
        (None, None) => notes.push("No operator had paused it.".to_owned()),
        _ => {}
    }
    if let Some((until, why)) = sight.paused() {
        notes.push(format!("The vendor's own pause ({why}) stays until {until}."));
    }
    let mut shown = sight.whole();
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("notes".to_owned(), notes.into());
    }
    Json(shown).into_response()
}

impl Wish {
    fn read(mut members: Map<String, Value>, now: Timestamp) -> Result<Wish, String> {
        let scope = match text(&mut members, "scope")? {
            None => Scope::All,
            Some(typed) => {
                Scope::parse(&typed).ok_or("`scope` is neither `all` nor `writes`".to_owned())?
            }
        };
        let until = text(&mut members, "until")?.map(|typed| end(&typed, now)).transpose()?;
        let missing = "`why` is missing: say why, for whoever finds the vendor paused";
        let why = reason(text(&mut members, "why")?.ok_or(missing)?)?;
        nothing_else(&members, "`scope`, `until` and `why`")?;
        Ok(Wish { scope, until, why })
    }
}

fn only_why(mut members: Map<String, Value>) -> Result<Option<String>, String> {
    let why = text(&mut members, "why")?.map(reason).transpose()?;
    nothing_else(&members, "`why`").map(|()| why)
}

fn end(typed: &str, now: Timestamp) -> Result<Timestamp, String> {
    let until: Timestamp = typed.parse().map_err(|_| {
        "`until` is not a time of RFC 3339 with its offset, as 2026-12-01T06:00:00Z".to_owned()
    })?;
    let future = (until > now).then_some(until);
    future.ok_or_else(|| format!("`until` is over: now it is {now:.0}"))
}
