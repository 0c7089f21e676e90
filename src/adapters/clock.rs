//! The clock: milliseconds of this process's life, wall time as text, the `Date` field.

use bytes::Bytes;
use http::HeaderValue;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

/// Tells the time.
#[derive(Debug)]
pub struct Clock {
    begun: Instant,
    /// The current second and its `Date` value: formatting one costs more than a request's
    /// share of anything else here.
    date: ArcSwap<(i64, HeaderValue)>,
}

/// Wall time, RFC 3339 in UTC with milliseconds.
pub fn timestamp() -> String {
    format!("{:.3}", Timestamp::now())
}

impl Default for Clock {
    fn default() -> Self {
        Clock {
            begun: Instant::now(),
            date: ArcSwap::from_pointee((
                0,
                HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"),
            )),
        }
    }
}

impl Clock {
    /// Milliseconds since the process began.
    pub fn milliseconds(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The value of a `Date` field for now (RFC 9110 §6.6.1).
    pub fn date(&self) -> HeaderValue {
        let now = Timestamp::now();
        let second = now.as_second();
        let cached = self.date.load();
        if cached.0 == second {
            return cached.1.clone();
        }
        // Both fail only for years before 0 and after 9999.
        let value = DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&now)
            .ok()
            .and_then(|text| HeaderValue::from_maybe_shared(Bytes::from(text)).ok())
            .unwrap_or_else(|| cached.1.clone());
        self.date.store(Arc::new((second, value.clone())));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_the_standard_ones() {
        let clock = Clock::default();
        let date = clock.date();
        let date = date.to_str().expect("ascii");
        assert!(date.ends_with(" GMT") && date.len() == "Sun, 06 Nov 1994 08:49:37 GMT".len());
        let parsed = jiff::fmt::rfc2822::parse(date).expect("a date").timestamp();
        assert!((0..=2).contains(&(Timestamp::now().as_second() - parsed.as_second())), "{date}");
        let timestamp = timestamp();
        assert_eq!(timestamp.len(), "2026-11-21T03:38:34.123Z".len(), "{timestamp}");
        assert!(timestamp.parse::<Timestamp>().is_ok());
    }
}
