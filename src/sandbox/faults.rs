//! Decides which of the coming requests fails, and in which named way.

use http::{Method, StatusCode};
use serde::Deserialize;

/// The named ways to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Resets the connection as soon as it is accepted; one that is open already, or a rule with
    /// `match`, as soon as the request's head is read. Nothing is booked, no slot is taken at
    /// accept. (`down` is the mode in which connections are really refused.)
    Refuse,
    /// Reads the request, books nothing, and is silent until the client goes.
    Hang,
    /// Books, then is silent until the client goes.
    HangAfter,
    /// Reads the request, books nothing, and resets.
    ResetBefore,
    /// Books, then resets without a byte of an answer.
    ResetAfter,
    /// Books, announces the whole answer, sends half of its body, and closes.
    Half,
    /// Books, sends half of the answer's head, and closes.
    HalfHead,
    /// Books, sends half of the body as a chunk, and closes without the last chunk.
    HalfChunked,
    /// Books, and sends the answer's head and body a byte at a time.
    SlowHead,
    /// Books, and sends bytes that are not HTTP.
    Garbage,
    /// Books, and answers 101 though nobody asked for an upgrade; the connection stays open.
    #[serde(rename = "unasked-101")]
    Unasked101,
    /// Books, and announces two different lengths.
    ConflictingLengths,
    /// Books, and folds a header over two lines.
    ObsFold,
    /// Books, and answers with a status line that says 999, or `status`.
    BadStatus,
    /// Books, answers well, and closes at once though the answer promised a kept connection.
    CloseIdle,
    /// Books nothing and answers `status` (503), in NetSuite's shape or as HTML.
    Status,
    /// Books nothing and sends the client to another data centre.
    Redirect,
}

/// A rule of the control endpoint: the next `count` matching requests fail like this.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// How they fail.
    pub mode: Mode,
    /// How many are left; 1 if not said.
    #[serde(default = "once")]
    pub count: u64,
    /// For [`Mode::Status`] (200 to 599) and [`Mode::BadStatus`] (up to 999).
    pub status: Option<u16>,
    /// [`Mode::Status`] with an HTML page for a body.
    #[serde(default)]
    pub html: bool,
    /// Which requests; all, if not said.
    #[serde(rename = "match")]
    pub only: Option<Matcher>,
}

/// Which requests a rule means.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matcher {
    /// The method, in any case.
    pub method: Option<String>,
    /// A part of path and query as received.
    pub path_contains: Option<String>,
}

fn once() -> u64 {
    1
}

/// A failure that one request has drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// How to fail.
    pub mode: Mode,
    /// The rule's `status`.
    pub status: Option<u16>,
    /// The rule's `html`.
    pub html: bool,
}

/// The rules that are still to be applied, in order.
#[derive(Debug, Default)]
pub struct Faults(Vec<Rule>);

impl Rule {
    /// What is wrong with the rule, if anything is.
    pub fn complaint(&self) -> Option<&'static str> {
        match (self.mode, self.status) {
            (Mode::Status, Some(status)) if !(200..=599).contains(&status) => {
                Some("`status` must be between 200 and 599")
            }
            (Mode::BadStatus, Some(status)) if status > 999 => {
                Some("`status` must have at most three digits")
            }
            _ => None,
        }
    }

    fn fault(&mut self) -> Fault {
        self.count = self.count.saturating_sub(1);
        Fault { mode: self.mode, status: self.status, html: self.html }
    }
}

impl Fault {
    /// The status that [`Mode::Status`] answers.
    pub fn status(&self) -> StatusCode {
        self.status
            .and_then(|status| StatusCode::from_u16(status).ok())
            .unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
    }
}

impl Matcher {
    fn matches(&self, method: &Method, target: &str) -> bool {
        let name = self.method.as_ref();
        let part = self.path_contains.as_ref();
        name.is_none_or(|name| method.as_str().eq_ignore_ascii_case(name))
            && part.is_none_or(|part| target.contains(part.as_str()))
    }
}

impl Faults {
    /// Replaces all rules.
    pub fn set(&mut self, rules: Vec<Rule>) {
        self.0 = rules;
    }

    /// Failures still to come.
    pub fn pending(&self) -> u64 {
        self.0.iter().map(|rule| rule.count).fold(0, u64::saturating_add)
    }

    /// What befalls this request: the first rule that is not used up and means it.
    pub fn draw(&mut self, method: &Method, target: &str) -> Option<Fault> {
        let rule = self.0.iter_mut().find(|rule| {
            rule.count > 0
                && rule.only.as_ref().is_none_or(|matcher| matcher.matches(method, target))
        })?;
        Some(rule.fault())
    }

    /// Whether a connection is refused at accept: if that is what the next request would meet
    /// whatever it is.
    pub fn draw_refusal(&mut self) -> bool {
        let rule = self.0.iter_mut().find(|rule| rule.count > 0 && rule.only.is_none());
        match rule {
            Some(rule) if rule.mode == Mode::Refuse => {
                rule.fault();
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Faults, Mode, Rule};
    use http::Method;

    fn faults(text: &str) -> Faults {
        let mut faults = Faults::default();
        faults.set(serde_json::from_str(text).unwrap());
        faults
    }

    fn modes(faults: &mut Faults, requests: &[(Method, &str)]) -> Vec<Option<Mode>> {
        requests.iter().map(|(m, t)| faults.draw(m, t).map(|fault| fault.mode)).collect()
    }

    #[test]
    fn rules_are_used_up_in_order() {
        let mut faults = faults(r#"[{"mode":"hang","count":2},{"mode":"unasked-101"}]"#);
        assert_eq!(faults.pending(), 3);
        let requests = [(Method::GET, "/a"), (Method::GET, "/a"), (Method::GET, "/a")];
        let drawn = modes(&mut faults, &requests);
        assert_eq!(drawn, [Some(Mode::Hang), Some(Mode::Hang), Some(Mode::Unasked101)]);
        assert_eq!(faults.draw(&Method::GET, "/a"), None);
        assert_eq!(faults.pending(), 0);
    }

    #[test]
    fn a_matcher_lets_others_pass() {
        let mut faults = faults(
            r#"[{"mode":"half","match":{"method":"post","path_contains":"eid:"}},
                {"mode":"garbage","match":{"path_contains":"/b"}}]"#,
        );
        let requests = [
            (Method::GET, "/a/eid:1"),
            (Method::POST, "/a/1"),
            (Method::GET, "/b"),
            (Method::POST, "/a/eid:1"),
            (Method::POST, "/a/eid:1"),
        ];
        let drawn = modes(&mut faults, &requests);
        assert_eq!(drawn, [None, None, Some(Mode::Garbage), Some(Mode::Half), None]);
    }

    #[test]
    fn only_a_refusal_whose_turn_it_is_meets_a_connection() {
        let mut later = faults(r#"[{"mode":"hang"},{"mode":"refuse"}]"#);
        assert!(!later.draw_refusal());
        let mut matched = faults(r#"[{"mode":"refuse","match":{"method":"GET"}}]"#);
        assert!(!matched.draw_refusal());
        let mut now = faults(r#"[{"mode":"hang","count":0},{"mode":"refuse"}]"#);
        assert!(now.draw_refusal());
        assert!(!now.draw_refusal());
    }

    #[test]
    fn impossible_statuses_are_complained_about() {
        let complaint = |text: &str| {
            let rule: Rule = serde_json::from_str(text).unwrap();
            rule.complaint().is_some()
        };
        assert!(complaint(r#"{"mode":"status","status":101}"#));
        assert!(complaint(r#"{"mode":"bad-status","status":1000}"#));
        assert!(!complaint(r#"{"mode":"bad-status","status":42}"#));
        assert!(!complaint(r#"{"mode":"status"}"#));
    }
}
