//! Counts what was booked, by the marks that a test can put on a write.

use std::collections::{BTreeMap, BTreeSet};

use http::HeaderMap;
use serde_json::{Value, json};

/// A test's own mark on a request.
const TEST_ID: &str = "x-test-id";

/// Headers that name a request; any of them is a mark in `executed`.
const NAMES: [&str; 4] =
    ["x-netsuite-idempotency-key", "idempotency-key", "x-correlation-id", "x-request-id"];

/// Different marks that are kept apart, so that a load test can't fill the memory.
const MARKS_MAX: usize = 100_000;

/// Bookings in all, and by mark.
#[derive(Debug, Default)]
pub struct Tally {
    bookings: u64,
    by_test_id: Counts,
    by_external_id: Counts,
    executed: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    counts: BTreeMap<String, u64>,
    /// Bookings whose mark came when there was no room for another.
    uncounted: u64,
}

impl Tally {
    /// Counts one booking: a POST, PUT, PATCH or DELETE that took effect.
    pub fn book(&mut self, headers: &HeaderMap, external_id: Option<&str>) {
        self.bookings += 1;
        if let Some(mark) = header(headers, TEST_ID) {
            self.by_test_id.add(mark);
        }
        if let Some(mark) = external_id {
            self.by_external_id.add(mark);
        }
        // A set, because one value in two headers is still one booking.
        let marks: BTreeSet<&str> =
            NAMES.iter().filter_map(|name| header(headers, name)).chain(external_id).collect();
        for mark in marks {
            self.executed.add(mark);
        }
    }

    /// The tally's members of the control state.
    pub fn document(&self) -> Value {
        json!({
            "bookings": self.bookings,
            "by_test_id": self.by_test_id.counts,
            "by_external_id": self.by_external_id.counts,
            "executed": self.executed.counts,
            "uncounted": self.by_test_id.uncounted
                + self.by_external_id.uncounted
                + self.executed.uncounted,
        })
    }
}

impl Counts {
    fn add(&mut self, mark: &str) {
        if let Some(count) = self.counts.get_mut(mark) {
            *count += 1;
        } else if self.counts.len() < MARKS_MAX {
            self.counts.insert(mark.to_owned(), 1);
        } else {
            self.uncounted += 1;
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::Tally;
    use http::{HeaderMap, HeaderValue};
    use serde_json::json;

    #[test]
    fn a_booking_counts_once_under_each_of_its_marks() {
        let mut tally = Tally::default();
        let mut headers = HeaderMap::new();
        for name in ["x-test-id", "idempotency-key", "x-request-id"] {
            headers.insert(name, HeaderValue::from_static("t1"));
        }
        tally.book(&headers, Some("E1"));
        tally.book(&HeaderMap::new(), Some("E1"));
        tally.book(&HeaderMap::new(), None);
        assert_eq!(
            tally.document(),
            json!({
                "bookings": 3,
                "by_test_id": {"t1": 1},
                "by_external_id": {"E1": 2},
                "executed": {"t1": 1, "E1": 2},
                "uncounted": 0,
            })
        );
    }
}
