//! An entry as it is told: keys, external ids and stored answers only to who may see all.

use super::Page;
use crate::adapters::ledger::entry::{Answer, Entry, Trouble};
use crate::adapters::ledger::sqlite::Reader;
use crate::model::moment::Moment;
use crate::stages::record::loggable_target;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The state of an entry whose key is free again: it is gone.
pub const RELEASED: &str = "released";

/// A page of entries, and the number to go on after, if there are more.
///
/// # Errors
/// Why they can't be read.
pub fn page(reader: &Reader, page: Page) -> Result<(Vec<Entry>, Option<i64>), Trouble> {
    let Page { standing, after, limit } = page;
    // One more tells whether there are.
    let mut entries = reader.judged_list(standing, after, limit.saturating_add(1))?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = entries.len() > most;
    entries.truncate(most);
    let next = entries.last().map(|last| last.claim.id).filter(|_| more);
    Ok((entries, next))
}

/// The page, as it is told.
pub fn list(entries: &[Entry], next: Option<i64>, all: bool) -> Value {
    let now = Timestamp::now();
    let entries: Vec<Value> = entries.iter().map(|it| entry(it, now, all).into()).collect();
    json!({ "entries": entries, "next": next })
}

/// The entry of this number with the answer that is kept; `None`: there is none.
///
/// # Errors
/// Why it can't be read.
pub fn one(reader: &Reader, id: i64, all: bool) -> Result<Option<Value>, Trouble> {
    let found = reader.judged_entry(id)?;
    Ok(found.map(|found| with_answer(reader, &found, Timestamp::now(), all)))
}

/// An entry with the answer that is kept.
pub fn with_answer(reader: &Reader, found: &Entry, now: Timestamp, all: bool) -> Value {
    let mut shown = entry(found, now, all);
    if all && found.kept {
        match reader.answer_of(found.claim.id) {
            Ok(kept) => shown.insert("answer".to_owned(), kept.as_ref().map(answer).into()),
            // What else is known of it helps all the same.
            Err(trouble) => shown.insert("answer_trouble".to_owned(), trouble.to_string().into()),
        };
    }
    shown.into()
}

/// An entry, without its answer.
pub fn entry(entry: &Entry, now: Timestamp, all: bool) -> Map<String, Value> {
    let of = &entry.of;
    let age = now.as_millisecond().saturating_sub(entry.since.wall_ms) / 1000;
    let path = match all {
        true => of.path.to_string(),
        // Credentials of clients stand in no answer, as in no log.
        false => loggable_target(&of.path, None, &[]),
    };
    let shown = json!({
        "id": entry.claim.id,
        "state": entry.standing.word(),
        "client": &*of.client,
        "vendor": &*of.vendor,
        "route": &*of.route,
        "method": &*of.method,
        "path": path,
        "key": of.key.value(),
        "vendor_key": of.vendor_key.as_deref(),
        "correlation_id": &*of.correlation,
        "attempts": entry.claim.attempt,
        "first_claimed": wall(entry.first_claimed),
        "since": wall(entry.since),
        "age_seconds": age.max(0),
        "status": entry.status,
        "answer_kept": entry.kept,
        "generation": entry.generation,
    });
    let Value::Object(mut shown) = shown else { return Map::new() };
    if !all {
        shown.retain(|name, _| name != "key" && name != "vendor_key");
    }
    shown
}

/// Its body as text, else as base64.
fn answer(answer: &Answer) -> Value {
    let fields: Vec<Value> = answer.fields.iter().map(field).collect();
    let (name, body) = match std::str::from_utf8(&answer.body) {
        Ok(text) => ("body", text.to_owned()),
        Err(_) => ("body_base64", STANDARD.encode(&answer.body)),
    };
    json!({ "status": answer.status, "fields": fields, name: body })
}

fn field((name, value): &(Box<str>, Bytes)) -> Value {
    json!({ "name": &**name, "value": String::from_utf8_lossy(value) })
}

/// By the wall clock, which may have been anything.
fn wall(moment: Moment) -> Option<String> {
    Timestamp::from_millisecond(moment.wall_ms).ok().map(|at| format!("{at:.3}"))
}
