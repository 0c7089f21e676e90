//! What a vendor's answer means, whatever its status says: the outcome classifier as data.
//!
//! Matchers are looked at in order, a vendor's own before its profile's, and the first one that
//! applies decides. Never judges an answer that no matcher applies to, never waits, never counts.

use super::wait::{self, WaitFrom};
use super::when::{Peek, When, text};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub use super::when::PEEK_BYTES_MAX;

/// Characters that are kept of a vendor's own code.
const CODE_CHARS_MAX: usize = 200;

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Too many requests in some time.
    Rate,
    /// Too many requests at a time.
    Concurrency,
    /// What was granted for a day or a month is used up.
    Quota,
    /// Too many sessions.
    Session,
    /// Another request holds the record.
    Lock,
    /// The token or session of the gateway is no longer good.
    AuthExpired,
    /// The token against forged requests is missing or old.
    Csrf,
    /// The request was submitted before; this is not its answer, but says where it is.
    Duplicate,
    /// What the request asks for is so already.
    AlreadyDone,
    /// There is no such record.
    NotFound,
    /// The vendor understood, and says no.
    Business,
    /// The vendor failed; another try may succeed.
    RetryableServer,
    /// The vendor failed, and would again.
    FinalServer,
}

impl Class {
    /// The word for it in files, logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Class::Rate => "rate",
            Class::Concurrency => "concurrency",
            Class::Quota => "quota",
            Class::Session => "session",
            Class::Lock => "lock",
            Class::AuthExpired => "auth-expired",
            Class::Csrf => "csrf",
            Class::Duplicate => "duplicate",
            Class::AlreadyDone => "already-done",
            Class::NotFound => "not-found",
            Class::Business => "business",
            Class::RetryableServer => "retryable-server",
            Class::FinalServer => "final-server",
        }
    }

    /// Whether the vendor certainly did not act, unless the matcher or a 2xx says otherwise: see
    /// [`Verdict::certainly_unexecuted`].
    pub fn is_refused_unexecuted(self) -> bool {
        self.is_throttle() || matches!(self, Class::Lock | Class::AuthExpired | Class::Csrf)
    }

    /// Whether others have to wait too, not this request alone.
    pub fn is_throttle(self) -> bool {
        matches!(self, Class::Rate | Class::Concurrency | Class::Quota | Class::Session)
    }

    /// Whom it is about, where a matcher does not say.
    pub fn usual_scope(self) -> Scope {
        match self {
            Class::Rate | Class::Concurrency | Class::Quota | Class::Session => Scope::Account,
            Class::AuthExpired | Class::Csrf => Scope::Credential,
            Class::RetryableServer | Class::FinalServer => Scope::Endpoint,
            Class::Lock
            | Class::Duplicate
            | Class::AlreadyDone
            | Class::NotFound
            | Class::Business => Scope::Resource,
        }
    }
}

/// Whom an outcome is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Everything that calls the vendor's account.
    Account,
    /// Everything that shows the same credential.
    Credential,
    /// Everything that calls the same endpoint.
    Endpoint,
    /// Everything about the same record.
    Resource,
}

impl Scope {
    /// The word for it in files, logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Scope::Account => "account",
            Scope::Credential => "credential",
            Scope::Endpoint => "endpoint",
            Scope::Resource => "resource",
        }
    }
}

/// Whether the vendor acted on the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Executed {
    /// Certainly not.
    No,
    /// Nobody can know from here.
    Unknown,
    /// It did.
    Yes,
}

/// When an answer means what.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// When it applies.
    pub when: When,
    /// What the answer means then.
    pub class: Class,
    /// Whom it is about.
    pub scope: Scope,
    /// Where to find how long to wait; without it, in `Retry-After`.
    pub wait: Option<WaitFrom>,
    /// Whether the vendor acted, where the class does not say it.
    pub executed: Option<Executed>,
}

impl Matcher {
    /// Whether a head is not enough for its verdict.
    pub fn looks_into_body(&self) -> bool {
        self.when.looks_into_body() || self.wait.as_ref().is_some_and(WaitFrom::looks_into_body)
    }

    fn verdict(&self, status: u16, headers: &HeaderMap, peek: &Peek<'_>, now: i64) -> Verdict {
        let held = self.when.pointer.as_ref().and_then(|(pointer, _)| peek.at(pointer));
        Verdict {
            class: self.class,
            scope: self.scope,
            wait: wait::hint(self.class, self.wait.as_ref(), headers, peek, now),
            executed: self.executed,
            success: (200..300).contains(&status),
            code: held.and_then(text).map(|code| printable(&code)).filter(|it| !it.is_empty()),
        }
    }
}

/// What a matcher says of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the answer means.
    pub class: Class,
    /// Whom it is about.
    pub scope: Scope,
    /// How long the vendor asks to wait, more than zero and not clamped, see [`wait::clamp`].
    pub wait: Option<Duration>,
    /// What the matcher says of whether the vendor acted.
    pub executed: Option<Executed>,
    /// Whether the answer says 2xx.
    pub success: bool,
    /// The vendor's own code, printable: what was at the matcher's pointer.
    pub code: Option<String>,
}

impl Verdict {
    /// Whether the vendor certainly did not act, so that a key is free and a write may be sent
    /// again. The matcher's word counts first; a 2xx says that it did act.
    pub fn certainly_unexecuted(&self) -> bool {
        match self.executed {
            Some(executed) => executed == Executed::No,
            None => self.class.is_refused_unexecuted() && !self.success,
        }
    }
}

/// A vendor's text, fit for a log and a header: the beginning, without what a reader would obey.
fn printable(text: &str) -> String {
    let shown = text.trim().chars().flat_map(|c| {
        let visible = c == ' ' || c.is_ascii_graphic();
        let (own, escaped) = (visible.then_some(c), (!visible).then(|| c.escape_default()));
        own.into_iter().chain(escaped.into_iter().flatten())
    });
    shown.take(CODE_CHARS_MAX).collect()
}

/// What can be said once the head is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadVerdict {
    /// The head decides; the body would change nothing.
    Decided(Verdict),
    /// A matcher that could apply has to see the body.
    NeedsBody,
    /// No matcher applies, whatever the body holds.
    NoMatch,
}

/// Matchers in the order in which they are looked at.
#[derive(Clone, Debug, Default)]
pub struct Matchers(Vec<Matcher>);

impl Matchers {
    /// In this order.
    pub fn new(matchers: Vec<Matcher>) -> Self {
        Matchers(matchers)
    }

    /// A vendor's own ones before its profile's.
    pub fn before(own: Vec<Matcher>, profile: &Matchers) -> Self {
        Matchers(own.into_iter().chain(profile.0.iter().cloned()).collect())
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Matcher> {
        self.0.iter()
    }

    /// Whether any of them, for any status, looks into a body.
    pub fn needs_bodies(&self) -> bool {
        self.0.iter().any(Matcher::looks_into_body)
    }

    /// What the head alone decides; `now` in seconds since 1970.
    pub fn head(&self, status: u16, headers: &HeaderMap, now: i64) -> HeadVerdict {
        match self.0.iter().find(|matcher| matcher.when.head_holds(status, headers)) {
            None => HeadVerdict::NoMatch,
            Some(matcher) if matcher.looks_into_body() => HeadVerdict::NeedsBody,
            Some(matcher) => {
                let unseen = Peek::new(b"", false);
                HeadVerdict::Decided(matcher.verdict(status, headers, &unseen, now))
            }
        }
    }

    /// What head and body decide: `body` is its beginning, its content coding taken off;
    /// `complete`: it is all of it; `now` in seconds since 1970.
    pub fn body(
        &self,
        status: u16,
        headers: &HeaderMap,
        body: &[u8],
        complete: bool,
        now: i64,
    ) -> Option<Verdict> {
        let peek = Peek::new(body, complete);
        let applies = |when: &When| when.head_holds(status, headers) && when.body_holds(&peek);
        let matcher = self.0.iter().find(|matcher| applies(&matcher.when))?;
        Some(matcher.verdict(status, headers, &peek, now))
    }
}
