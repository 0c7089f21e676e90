//! Settles an unknown write as a person says: durable and in the audit log before anybody is told.

use super::verdict::Verdict;
use super::{no_such, number, shown, unavailable};
use crate::adapters::ledger::entry::{Change, Entry, Outcome, Settlement, Standing, Trouble};
use crate::admin::access::{By, Peer, problem};
use crate::admin::reading::{Needed, members};
use crate::admin::vendors::Name;
use crate::protected::book::aside;
use crate::state::State;
use axum::Json;
use axum::extract::{Extension, Request, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;

/// Octets of a request besides the answer's body.
const BODY_MORE: u64 = 64 << 10;

/// What came of it.
pub enum Settled {
    /// It is settled; this is what the entry was before.
    Done(Entry),
    /// There is no such entry.
    Gone,
    /// It is not unknown.
    Otherwise(Entry),
    /// Why it can't be written down.
    Failed(Option<Entry>, Trouble),
}

/// `POST /api/v1/ledger/{id}/resolve`.
pub async fn resolve(
    Shared(state): Shared<Arc<State>>,
    Extension(by): Extension<By>,
    Extension(peer): Extension<Peer>,
    name: Name,
    request: Request,
) -> Response {
    let Some(id) = number(name) else { return no_such() };
    let most = state.snapshot.load().config.ledger.answer_bytes_max;
    // Quotes and line ends of a text take two octets, base64 a third more.
    let octets = usize::try_from(most.saturating_mul(2).saturating_add(BODY_MORE));
    let members = members(request, Needed::Yes, octets.unwrap_or(usize::MAX)).await;
    let verdict = match members.and_then(|members| Verdict::read(members, most)) {
        Ok(verdict) => verdict,
        Err(wrong) => return wrong.answer(),
    };
    // A client that hangs up stops none of it.
    let doing = tokio::spawn(async move {
        let settled = settle(&state, id, &verdict).await;
        if let Some(line) = audit(&settled, id, &verdict, by.0, Some(&peer.0.to_string())) {
            state.log.event("audit", &line);
        }
        told(settled, &verdict)
    });
    let failed = |_| problem(StatusCode::INTERNAL_SERVER_ERROR, "gateway-fault", "It failed.");
    doing.await.unwrap_or_else(failed)
}

async fn settle(state: &State, id: i64, verdict: &Verdict) -> Settled {
    let book = &state.protected.book;
    let ledger = match book.ledger() {
        Ok(ledger) => ledger,
        Err(trouble) => return Settled::Failed(None, trouble),
    };
    let look = || {
        let ledger = ledger.clone();
        aside(move || ledger.entry(id))
    };
    // This buries the claim of a dead process, too.
    let entry = match look().await {
        Ok(Some(entry)) => entry,
        Ok(None) => return Settled::Gone,
        Err(trouble) => return Settled::Failed(None, trouble),
    };
    if entry.standing != Standing::Unknown {
        return Settled::Otherwise(entry);
    }
    match book.change(&ledger, Change::Resolve(id, verdict.found.clone())).await {
        Ok(Outcome::Made) => Settled::Done(entry),
        // Somebody else was quicker.
        Ok(_) => match look().await {
            Ok(Some(entry)) => Settled::Otherwise(entry),
            Ok(None) => Settled::Gone,
            Err(trouble) => Settled::Failed(Some(entry), trouble),
        },
        Err(trouble) => Settled::Failed(Some(entry), trouble),
    }
}

/// The audit line, without key and body; `None`: there is no entry that it could be about.
pub fn audit(
    settled: &Settled,
    id: i64,
    verdict: &Verdict,
    by: &str,
    from: Option<&str>,
) -> Option<Vec<(&'static str, Value)>> {
    let (entry, result, reason) = match settled {
        Settled::Done(entry) => (Some(entry), "done", None),
        Settled::Otherwise(entry) => (Some(entry), "refused", Some(entry.standing.word())),
        Settled::Failed(entry, trouble) => (entry.as_ref(), "failed", Some(trouble.word())),
        Settled::Gone => return None,
    };
    let of = entry.map(|entry| &entry.of);
    let mut line = vec![
        ("action", "ledger-resolved".into()),
        ("result", result.into()),
        ("by", by.into()),
        ("address", from.into()),
        ("id", id.into()),
        ("client", of.map(|of| &*of.client).into()),
        ("vendor", of.map(|of| &*of.vendor).into()),
        ("route", of.map(|of| &*of.route).into()),
        ("correlation_id", of.map(|of| &*of.correlation).into()),
        ("as", verdict.word().into()),
        ("status", verdict.status().into()),
        ("why", verdict.why.as_deref().into()),
        ("reason", reason.into()),
    ];
    line.retain(|(_, value): &(&str, Value)| !value.is_null());
    Some(line)
}

/// The entry as it is after it was settled.
pub fn after(entry: &Entry, verdict: &Verdict) -> Value {
    let now = Timestamp::now();
    let mut settled = entry.clone();
    settled.since.wall_ms = now.as_millisecond();
    (settled.status, settled.kept) = (verdict.status(), false);
    if verdict.found.is_some() {
        settled.standing = Standing::Answered;
        settled.kept = matches!(verdict.found, Some(Settlement::Kept(_)));
    }
    let mut shown = shown::entry(&settled, now, true);
    if verdict.found.is_none() {
        shown.insert("state".to_owned(), shown::RELEASED.into());
    }
    shown.into()
}

/// Why an entry that stands so can't be settled.
pub fn otherwise(entry: &Entry) -> String {
    let id = entry.claim.id;
    match entry.standing {
        Standing::InFlight => format!(
            "Entry {id} is in flight: the gateway that sent it lives and waits for the answer. \
             Only unknown entries can be settled by a person."
        ),
        _ => format!(
            "Entry {id} is {} already: only unknown entries can be settled by a person.",
            entry.standing.word()
        ),
    }
}

fn told(settled: Settled, verdict: &Verdict) -> Response {
    match settled {
        Settled::Done(entry) => Json(after(&entry, verdict)).into_response(),
        Settled::Gone => no_such(),
        Settled::Otherwise(entry) => {
            problem(StatusCode::CONFLICT, "not-unknown", &otherwise(&entry))
        }
        Settled::Failed(_, trouble) => unavailable(&trouble),
    }
}
