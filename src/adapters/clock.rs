//! The clock: milliseconds of this process's life, wall time as text, the `Date` field.

use http::HeaderValue;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;

/// Tells the time.
#[derive(Debug)]
pub struct Clock {
    begun: Instant,
    /// The current second and its `Date` value: formatting one costs more than a request's
    /// share of anything else here.
    date: ArcSwap<(u64, HeaderValue)>,
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

    /// Wall time, RFC 3339 in UTC with milliseconds.
    pub fn timestamp(&self) -> String {
        let now = jiff::Timestamp::now();
        format!("{now:.3}")
    }

    /// The value of a `Date` field for now (RFC 9110 §6.6.1).
    pub fn date(&self) -> HeaderValue {
        let now = SystemTime::now();
        let second =
            now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        let cached = self.date.load();
        if cached.0 == second {
            return cached.1.clone();
        }
        let text = httpdate::fmt_http_date(now);
        let value = HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
            .unwrap_or_else(|_| cached.1.clone());
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
        let parsed = httpdate::parse_http_date(date.to_str().expect("ascii")).expect("a date");
        assert!(SystemTime::now().duration_since(parsed).expect("past").as_secs() <= 2);
        let timestamp = clock.timestamp();
        assert_eq!(timestamp.len(), "2026-11-21T03:38:34.123Z".len(), "{timestamp}");
        assert!(timestamp.parse::<jiff::Timestamp>().is_ok());
    }
}
