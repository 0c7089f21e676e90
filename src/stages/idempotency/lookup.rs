//! Decides how the vendor is asked whether it acted on a create, and what its answer proves.
//!
//! Never asks: the shell does. A look-up is only of a value that went to the vendor with the
//! create: for a later change of a record, that it is there proves nothing.

use super::LookedUp;
use crate::model::path::PathPattern;
use crate::model::percent;
use crate::profile::when::{Peek, When};
use http::HeaderMap;

/// `reconcile`: asks the vendor whether it acted on a create.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconcile {
    /// The method: one that reads.
    pub method: Box<str>,
    /// The path after the vendor's base URL, and the query, with `{N}` and `{key}` in it.
    pub target: Box<str>,
    /// Which answers say that the vendor acted.
    pub executed: When,
    /// Which ones say that it did not.
    pub not_executed: When,
    /// The paths, after the route's prefix, whose POST creates what is looked up. Empty: the path
    /// of the look-up up to the segment (or the query) that holds `{key}`, and only that.
    pub creates: Vec<PathPattern>,
}

/// The place of the value in a look-up's target.
const KEY: &str = "{key}";

impl Reconcile {
    /// Whether a POST to this path, after the route's prefix, creates what is looked up.
    pub fn is_of(&self, path: &str) -> bool {
        if !self.creates.is_empty() {
            return self.creates.iter().any(|pattern| pattern.matches(path));
        }
        let before = self.target.split(['?', '#']).next().unwrap_or_default();
        let collection = match before.split_once(KEY) {
            // The segment that holds the value names the record.
            Some((beginning, _)) => beginning.rsplit_once('/').map(|(collection, _)| collection),
            None => Some(before),
        };
        let collection = collection.and_then(|collection| filled(collection, path));
        collection.is_some_and(|it| it == path.trim_end_matches('/'))
    }

    /// The target of the look-up for a create at this path with this value; `None`: the path has
    /// no such segment, or does not create what is looked up.
    pub fn target(&self, path: &str, value: &str) -> Option<String> {
        if !self.is_of(path) {
            return None;
        }
        let parts: Option<Vec<String>> =
            self.target.split(KEY).map(|part| filled(part, path)).collect();
        Some(parts?.join(&percent::encode(value.as_bytes())))
    }

    /// What an answer says; `body`: its beginning, `complete`: it is all of it. What says that the
    /// vendor acted is looked for first, and a body that nobody could read proves nothing.
    pub fn read(&self, status: u16, headers: &HeaderMap, body: &[u8], complete: bool) -> LookedUp {
        let peek = Peek::new(body, complete);
        let holds = |when: &When| when.head_holds(status, headers) && when.body_holds(&peek);
        let unread = !complete
            && self.executed.head_holds(status, headers)
            && self.executed.looks_into_body();
        match (holds(&self.executed), holds(&self.not_executed)) {
            (true, _) => LookedUp::Executed,
            (false, true) if !unread => LookedUp::NotExecuted,
            _ => LookedUp::Unclear,
        }
    }
}

/// With each `{N}` filled by that segment of the path, as it came.
fn filled(text: &str, path: &str) -> Option<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        let (number, after) = behind.split_once('}')?;
        let number = number.parse::<usize>().ok().filter(|number| *number > 0)?;
        let segment = path.split('/').nth(number).filter(|segment| !segment.is_empty())?;
        filled.push_str(before);
        filled.push_str(segment);
        rest = after;
    }
    filled.push_str(rest);
    Some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::when::Pointer;

    fn reconcile(target: &str, creates: &[&str]) -> Reconcile {
        let status = |status: u16| When { statuses: vec![status..=status], ..When::default() };
        Reconcile {
            method: "GET".into(),
            target: target.into(),
            executed: status(200),
            not_executed: status(404),
            creates: creates.iter().map(|it| PathPattern::parse(it).expect(it)).collect(),
        }
    }

    #[test]
    fn a_look_up_is_of_what_was_created() {
        const NETSUITE: &str = "/services/rest/record/v1/{5}/eid:{key}";
        for (target, creates, path, expected) in [
            ("/orders/{key}", &[][..], "/orders", Some("/orders/a%2Fb%20c")),
            ("/orders/{key}", &[], "/orders/", Some("/orders/a%2Fb%20c")),
            ("/orders?id={key}", &[], "/orders", Some("/orders?id=a%2Fb%20c")),
            ("/{1}/by-id/{key}", &["/*"], "/orders", Some("/orders/by-id/a%2Fb%20c")),
            ("/{1}/by-id/{key}", &[], "/orders", None),
            ("/orders/{key}", &[], "/orders/7", None),
            ("/orders/{key}", &[], "/customers", None),
            (
                NETSUITE,
                &[],
                "/services/rest/record/v1/bill",
                Some("/services/rest/record/v1/bill/eid:a%2Fb%20c"),
            ),
            (NETSUITE, &[], "/services/rest/record/v1/bill/7/!transform/x", None),
            (NETSUITE, &[], "/app/site/hosting/restlet.nl", None),
            (NETSUITE, &["/**"], "/a/b", None),
        ] {
            let found = reconcile(target, creates).target(path, "a/b c");
            assert_eq!(found.as_deref(), expected, "{target} {path}");
        }
    }

    #[test]
    fn what_was_not_read_proves_nothing() {
        let none = HeaderMap::new();
        let by_status = reconcile("/{key}", &[]);
        assert_eq!(by_status.read(200, &none, b"", true), LookedUp::Executed);
        assert_eq!(by_status.read(404, &none, b"", false), LookedUp::NotExecuted);
        assert_eq!(by_status.read(500, &none, b"", true), LookedUp::Unclear);
        // A search answers 200 whether it finds something or not.
        let mut search = reconcile("/?q={key}", &[]);
        search.executed.pointer = Some((Pointer::parse("/items/0/id").expect("one"), None));
        search.not_executed = When { statuses: vec![200..=200], ..When::default() };
        for (body, complete, expected) in [
            (r#"{"items":[{"id":7}]}"#, true, LookedUp::Executed),
            (r#"{"items":[]}"#, true, LookedUp::NotExecuted),
            (r#"{"items":["#, false, LookedUp::Unclear),
        ] {
            assert_eq!(search.read(200, &none, body.as_bytes(), complete), expected, "{body}");
        }
    }
}
