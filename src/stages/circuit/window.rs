//! Decides which events still count: those of the last stretch of time, to the millisecond.
//!
//! Events of one millisecond share a slot, so that memory is bounded by the window's length and
//! not by the traffic. Each slot is written once and dropped once.

use std::collections::VecDeque;
use std::time::Duration;

/// What became of the requests of the last stretch of time.
#[derive(Debug, Default)]
pub struct Window {
    /// The oldest first, each with at least one event.
    slots: VecDeque<Slot>,
    counts: Counts,
}

#[derive(Debug)]
struct Slot {
    millisecond: u64,
    counts: Counts,
}

/// Events that count, and how many of them were failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Successes and failures together.
    pub events: u32,
    /// Failures alone.
    pub failures: u32,
}

impl Window {
    /// Adds an event and drops those that are as old as the window is long, or older.
    ///
    /// `at` is the time since some fixed beginning, and never less than the time before.
    pub fn record(&mut self, at: Duration, length: Duration, failed: bool) -> Counts {
        let millisecond = milliseconds(at);
        self.expire(millisecond, milliseconds(length));
        let event = Counts { events: 1, failures: u32::from(failed) };
        match self.slots.back_mut() {
            Some(slot) if slot.millisecond == millisecond => slot.counts.add(event),
            _ => self.slots.push_back(Slot { millisecond, counts: event }),
        }
        self.counts.add(event);
        self.counts
    }

    /// Forgets every event; the room for them is kept.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.counts = Counts::default();
    }

    fn expire(&mut self, now: u64, length: u64) {
        let old = |slot: &mut Slot| now.saturating_sub(slot.millisecond) >= length;
        while let Some(slot) = self.slots.pop_front_if(old) {
            self.counts.subtract(slot.counts);
        }
    }
}

/// Whole milliseconds; a number that no clock reaches stands for all beyond it.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.events += other.events;
        self.failures += other.failures;
    }

    fn subtract(&mut self, other: Counts) {
        self.events -= other.events;
        self.failures -= other.failures;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn an_event_counts_for_exactly_one_window() {
        let mut window = Window::default();
        for (microseconds, failed, events, failures) in [
            (1_700, true, 1, 1),
            (1_999, false, 2, 1),   // the same millisecond
            (2_000, false, 3, 1),   // the next one
            (10_999, false, 4, 1),  // all within ten milliseconds
            (11_000, false, 3, 0),  // the first millisecond is over
            (12_000, true, 3, 1),   // and the second
            (500_000, false, 1, 0), // and everything
        ] {
            let counts = window.record(Duration::from_micros(microseconds), ms(10), failed);
            assert_eq!(counts, Counts { events, failures }, "{microseconds} µs");
        }
        window.clear();
        assert_eq!(window.record(ms(500), ms(10), true), Counts { events: 1, failures: 1 });
    }

    #[test]
    fn a_shorter_window_forgets_and_a_longer_one_does_not_remember() {
        let mut window = Window::default();
        for millisecond in 0..100 {
            window.record(ms(millisecond), ms(100), true);
        }
        assert_eq!(window.record(ms(100), ms(10), true).events, 10);
        assert_eq!(window.record(ms(101), ms(100), true).events, 11);
        assert_eq!(window.record(ms(102), Duration::ZERO, true).events, 1);
        assert_eq!(window.record(Duration::MAX, Duration::MAX, true).events, 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// The counts are those of a recount of all events; the slots are never more than the
        /// milliseconds of the window, and the room for them stops growing.
        #[test]
        fn counts_equal_a_recount(
            length in 1u64..60,
            steps in proptest::collection::vec((0u64..4_000, any::<bool>()), 1..300),
        ) {
            let mut window = Window::default();
            let mut all: Vec<(u64, bool)> = Vec::new();
            let mut microseconds = 0;
            for (step, failed) in steps {
                microseconds += step;
                all.push((microseconds / 1_000, failed));
                let counts = window.record(Duration::from_micros(microseconds), ms(length), failed);
                let young = |(at, _): &&(u64, bool)| at + length > microseconds / 1_000;
                let events = all.iter().filter(young).count();
                let failures = all.iter().filter(young).filter(|(_, failed)| *failed).count();
                prop_assert_eq!(counts.events as usize, events);
                prop_assert_eq!(counts.failures as usize, failures);
                prop_assert!(window.slots.len() as u64 <= length);
                prop_assert!(window.slots.capacity() as u64 <= length.next_power_of_two().max(4));
            }
        }
    }
}
