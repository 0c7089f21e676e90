//! The whole ledger at once: every entry as a line, and a copy of the file.

use super::pieces::{self, Source};
use super::{shown, unavailable};
use crate::adapters::ledger::copying::FileCopy;
use crate::adapters::ledger::entry::{Entry, Trouble};
use crate::adapters::ledger::sqlite::Reader;
use crate::admin::access::{By, Peer, problem};
use crate::protected::book::aside;
use crate::state::State;
use axum::extract::{Extension, State as Shared};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;

/// Entries that are read at a time.
const STEP: u32 = 200;
/// Octets of lines that are gathered before they go out.
const GATHER_BYTES: usize = 64 << 10;

/// `GET /api/v1/ledger/export`.
pub async fn export(
    Shared(state): Shared<Arc<State>>,
    Extension(by): Extension<By>,
    Extension(peer): Extension<Peer>,
) -> Response {
    let open = state.protected.book.own_reader();
    let lines = aside(move || Lines::of(open()?, by.sees_all())).await;
    say(&state, "ledger-exported", by, peer, lines.as_ref().err());
    match lines {
        Ok(lines) => {
            let kind = [(header::CONTENT_TYPE, "application/jsonl"), NO_STORE];
            (kind, pieces::body(lines)).into_response()
        }
        Err(trouble) => unavailable(&trouble),
    }
}

/// `GET /api/v1/ledger/backup`.
pub async fn back_up(
    Shared(state): Shared<Arc<State>>,
    Extension(by): Extension<By>,
    Extension(peer): Extension<Peer>,
) -> Response {
    if !by.sees_all() {
        let detail = "This token can only read what holds no keys and answers: a copy holds all.";
        return problem(StatusCode::FORBIDDEN, "not-permitted", detail);
    }
    let path = state.protected.book.path.clone();
    let copy = aside(move || FileCopy::of(&path)).await;
    say(&state, "ledger-backed-up", by, peer, copy.as_ref().err());
    match copy {
        Ok(copy) => {
            let kind = [(header::CONTENT_TYPE, "application/vnd.sqlite3"), NO_STORE];
            let length = HeaderValue::from(copy.bytes);
            (kind, [(header::CONTENT_LENGTH, length)], pieces::body(copy)).into_response()
        }
        Err(trouble) => unavailable(&trouble),
    }
}

const NO_STORE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

fn say(state: &State, action: &str, by: By, peer: Peer, trouble: Option<&Trouble>) {
    let mut line = vec![
        ("action", action.into()),
        ("result", if trouble.is_some() { "failed" } else { "begun" }.into()),
        ("by", by.0.into()),
        ("address", peer.0.to_string().into()),
    ];
    line.extend(trouble.map(|trouble| ("reason", trouble.word().into())));
    state.log.event("audit", &line);
}

/// Every entry as a line, in the order of their numbers. One that is made or removed meanwhile is
/// there or not; each is there once.
pub struct Lines {
    reader: Reader,
    all: bool,
    after: i64,
    waiting: VecDeque<Entry>,
}

impl Lines {
    /// Those of this ledger; `all`: with keys and answers.
    ///
    /// # Errors
    /// Why it can't be read.
    pub fn of(reader: Reader, all: bool) -> Result<Lines, Trouble> {
        let mut lines = Lines { reader, all, after: 0, waiting: VecDeque::new() };
        // What can't be read is told before anything is.
        lines.fill()?;
        Ok(lines)
    }

    fn fill(&mut self) -> Result<(), Trouble> {
        self.waiting = self.reader.judged_all(self.after, STEP)?.into();
        if let Some(last) = self.waiting.back() {
            self.after = last.claim.id;
        }
        Ok(())
    }

    /// The next lines; `None`: that were all. Blocks.
    ///
    /// # Errors
    /// Why they can't be read.
    pub fn more(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        let mut text = Vec::new();
        while text.len() < GATHER_BYTES {
            let Some(entry) = self.waiting.pop_front() else {
                self.fill()?;
                if self.waiting.is_empty() {
                    break;
                }
                continue;
            };
            let line = shown::with_answer(&self.reader, &entry, Timestamp::now(), self.all);
            text.extend_from_slice(line.to_string().as_bytes());
            text.push(b'\n');
        }
        Ok((!text.is_empty()).then_some(text))
    }
}

impl Source for Lines {
    fn more(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        Lines::more(self)
    }
}

impl Source for FileCopy {
    fn more(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        FileCopy::more(self)
    }
}
