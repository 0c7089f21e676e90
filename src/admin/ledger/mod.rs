//! The protected writes as operators see and settle them.
//!
//! * [`shown`]: what is told of an entry, and what of it only to who may see all.
//! * [`verdict`], [`resolving`]: a person says what came of an unknown one.
//! * [`taking`], [`pieces`]: all of it at once: as lines, and as a copy of the file.

mod pieces;
pub mod resolving;
pub mod shown;
pub mod taking;
pub mod verdict;

use super::access::{By, problem};
use super::reading::{Wrong, sentence};
use super::vendors::Name;
use crate::adapters::ledger::entry::{Standing, Trouble};
use crate::model::query;
use crate::state::State;
use axum::Json;
use axum::extract::{Extension, Path, RawQuery, State as Shared};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Entries of a page, where nobody says otherwise and at the most.
pub const PAGE: u32 = 100;
/// The most.
pub const PAGE_MAX: u32 = 1000;
/// What is told of an entry that is not there.
pub const NO_SUCH: &str = "The ledger has no entry of this number: it never had, or it was \
    released or removed for its age.";
/// Seconds until a ledger in trouble is worth another question.
const AGAIN: HeaderValue = HeaderValue::from_static("5");

/// Which entries are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where they stand.
    pub standing: Standing,
    /// The number before the first one.
    pub after: i64,
    /// How many at the most.
    pub limit: u32,
}

/// `GET /api/v1/ledger`.
pub async fn list(
    Shared(state): Shared<Arc<State>>,
    Extension(by): Extension<By>,
    RawQuery(query): RawQuery,
) -> Response {
    let Page { standing, after, limit } = match Page::read(query.as_deref().unwrap_or_default()) {
        Ok(page) => page,
        Err(clause) => return Wrong::from(clause).answer(),
    };
    let look = move |reader: &_| shown::page(reader, Page { standing, after, limit });
    match state.protected.book.look_into(look).await {
        Ok((entries, next)) => Json(shown::list(&entries, next, by.sees_all())).into_response(),
        Err(trouble) => unavailable(&trouble),
    }
}

/// `GET /api/v1/ledger/{id}`.
pub async fn one(
    Shared(state): Shared<Arc<State>>,
    Extension(by): Extension<By>,
    name: Name,
) -> Response {
    let Some(id) = number(name) else { return no_such() };
    let look = move |reader: &_| shown::one(reader, id, by.sees_all());
    match state.protected.book.look_into(look).await {
        Ok(Some(entry)) => Json(entry).into_response(),
        Ok(None) => no_such(),
        Err(trouble) => unavailable(&trouble),
    }
}

impl Page {
    fn read(query: &str) -> Result<Page, String> {
        let mut page = Page { standing: Standing::Unknown, after: 0, limit: PAGE };
        let mut seen: Vec<Vec<u8>> = Vec::new();
        for (name, value) in query::pairs(query).filter(|(name, _)| !name.is_empty()) {
            let value = String::from_utf8_lossy(&value);
            match &*name {
                b"state" => {
                    let known = || {
                        let words = Standing::ALL.map(|standing| format!("`{}`", standing.word()));
                        format!("`state` is none of {}", words.join(", "))
                    };
                    page.standing = standing(&value).ok_or_else(known)?;
                }
                b"after" => {
                    let wrong = "`after` is not the number of an entry";
                    page.after = value.parse().ok().filter(|after| *after >= 0).ok_or(wrong)?;
                }
                b"limit" => {
                    let limit = value.parse().ok().filter(|it| (1..=PAGE_MAX).contains(it));
                    let wrong = || format!("`limit` is not a number from 1 to {PAGE_MAX}");
                    page.limit = limit.ok_or_else(wrong)?;
                }
                other => {
                    let name: String = String::from_utf8_lossy(other).chars().take(40).collect();
                    let name = name.escape_debug();
                    let known = "known are `state`, `after` and `limit`";
                    return Err(format!("`{name}` is not known here: {known}"));
                }
            }
            if seen.contains(&name.to_vec()) {
                return Err(format!("`{}` is there twice", String::from_utf8_lossy(&name)));
            }
            seen.push(name.into_owned());
        }
        Ok(page)
    }
}

fn standing(word: &str) -> Option<Standing> {
    Standing::ALL.into_iter().find(|standing| standing.word() == word)
}

/// The number in a path; what can't be one is none.
fn number(name: Name) -> Option<i64> {
    let Path(name) = name.ok()?;
    name.parse().ok().filter(|id| *id > 0)
}

fn no_such() -> Response {
    problem(StatusCode::NOT_FOUND, "not-found", NO_SUCH)
}

fn unavailable(trouble: &Trouble) -> Response {
    let detail = sentence(&trouble.to_string());
    let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, "ledger-unavailable", &detail);
    answer.headers_mut().insert(header::RETRY_AFTER, AGAIN);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_or_refused() {
        let page = |standing, after, limit| Ok(Page { standing, after, limit });
        for (query, expected) in [
            ("", page(Standing::Unknown, 0, PAGE)),
            ("&", page(Standing::Unknown, 0, PAGE)),
            ("state=in-flight&after=7&limit=1000", page(Standing::InFlight, 7, 1000)),
            ("limit=1&state=answere%64", page(Standing::Answered, 0, 1)),
        ] {
            assert_eq!(Page::read(query), expected, "{query}");
        }
        for (query, mention) in [
            ("state=open", "`state` is none of `in-flight`, `answered`, `unknown`"),
            ("state", "`state` is none of"),
            ("after=-1", "`after` is not"),
            ("after=x", "`after` is not"),
            ("limit=0", "`limit` is not a number from 1 to 1000"),
            ("limit=1001", "`limit` is not"),
            ("limit=1&limit=1", "`limit` is there twice"),
            ("stat%0ae=x", "`stat\\ne` is not known here"),
        ] {
            let refused = Page::read(query).expect_err(query);
            assert!(refused.contains(mention), "{query}: {refused}");
        }
    }
}
