//! The clock: milliseconds of this process's life, wall time as text, the `Date` field.

use bytes::Bytes;
use http::HeaderValue;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

/// Tells the time as of the last tick: exact to a tick, and free of system calls.
#[derive(Debug)]
pub struct Clock {
    begun: Instant,
    milliseconds: AtomicU64,
    unix_seconds: AtomicI64,
    date: ArcSwap<HeaderValue>,
}

/// How often the clock has to be made to tick: the precision of every deadline between requests.
pub const TICK: Duration = Duration::from_millis(50);

/// Wall time, RFC 3339 in UTC with milliseconds.
pub fn timestamp() -> String {
    format!("{:.3}", Timestamp::now())
}

/// The wall time of an instant, RFC 3339 in UTC to the second.
pub fn wall(instant: Instant) -> String {
    let (now, wall) = (Instant::now(), Timestamp::now());
    let at = match instant.checked_duration_since(now) {
        Some(left) => wall.saturating_add(left),
        None => wall.saturating_sub(now.saturating_duration_since(instant)),
    };
    // Fails only for a duration that no time can be added to.
    format!("{:.0}", at.unwrap_or(Timestamp::MAX))
}

impl Default for Clock {
    fn default() -> Self {
        let clock = Clock {
            begun: Instant::now(),
            milliseconds: AtomicU64::new(0),
            unix_seconds: AtomicI64::new(0),
            date: ArcSwap::from_pointee(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT")),
        };
        clock.tick();
        clock
    }
}

impl Clock {
    /// Looks at the system's clocks.
    pub fn tick(&self) {
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.unix_seconds.store(Timestamp::now().as_second(), Ordering::Relaxed);
        let before = self.milliseconds.swap(elapsed, Ordering::Relaxed);
        // A second is long: its text is made once or twice.
        if elapsed == 0 || elapsed / 500 != before / 500 {
            self.date.store(Arc::new(date(&self.date.load())));
        }
    }

    /// Milliseconds since the process began.
    pub fn milliseconds(&self) -> u64 {
        self.milliseconds.load(Ordering::Relaxed)
    }

    /// Seconds since 1970, by the wall clock.
    pub fn unix_seconds(&self) -> i64 {
        self.unix_seconds.load(Ordering::Relaxed)
    }

    /// The same, exact.
    pub fn exact_unix_seconds(&self) -> i64 {
        Timestamp::now().as_second()
    }

    /// Nanoseconds since the process began, exact.
    pub fn exact_ns(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The value of a `Date` field for now (RFC 9110 §6.6.1).
    pub fn date(&self) -> HeaderValue {
        HeaderValue::clone(&self.date.load())
    }
}

/// Both steps fail only for years before 0 and after 9999.
fn date(before: &HeaderValue) -> HeaderValue {
    DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&Timestamp::now())
        .ok()
        .and_then(|text| HeaderValue::from_maybe_shared(Bytes::from(text)).ok())
        .unwrap_or_else(|| before.clone())
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
