//! Requests counted by calendar day, as somebody's midnights make them.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// One day and what was used on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// The day.
    pub date: Date,
    /// How much was used.
    pub used: u32,
}

/// Before any day.
const NEVER: Day = Day { date: Date::MIN, used: 0 };

/// What was used today, and on the day that was counted before.
///
/// A wall clock may be set. So two days are remembered: one that comes back has its count, and an
/// earlier one that nobody remembers goes on with the latest count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    today: Day,
    other: Day,
    /// When today begins and ends, in seconds since 1970: most looks need no calendar.
    begins: i64,
    ends: i64,
}

impl Default for Days {
    fn default() -> Self {
        Days { today: NEVER, other: NEVER, begins: 0, ends: 0 }
    }
}

impl Days {
    /// What was used on the day that this second belongs to.
    pub fn used(&mut self, zone: &TimeZone, unix_seconds: i64) -> u32 {
        if !(self.begins..self.ends).contains(&unix_seconds) {
            // Fails only for years that no calendar has: then it stays the day that it was.
            let _ = self.turn(zone, unix_seconds);
        }
        self.today.used
    }

    /// One more was used on the day that was looked at last.
    pub fn add(&mut self) {
        self.today.used = self.today.used.saturating_add(1);
    }

    /// Seconds until the day that was looked at last is over, at least 1.
    pub fn left(&self, unix_seconds: i64) -> u64 {
        u64::try_from(self.ends.saturating_sub(unix_seconds)).unwrap_or(1).max(1)
    }

    /// The days that are remembered.
    pub fn known(&self) -> impl Iterator<Item = Day> {
        [self.today, self.other].into_iter().filter(|day| day.used > 0)
    }

    /// Somebody else knows that so much was used on a day: less than that it never was.
    pub fn raise(&mut self, known: Day) {
        if let Some(day) = self.find(known.date) {
            day.used = day.used.max(known.used);
        } else if known.date > self.today.date {
            *self = Days { today: known, other: self.today, begins: 0, ends: 0 };
        } else if known.date > self.other.date {
            self.other = known;
        }
    }

    fn find(&mut self, date: Date) -> Option<&mut Day> {
        [&mut self.today, &mut self.other].into_iter().find(|day| day.date == date)
    }

    fn turn(&mut self, zone: &TimeZone, unix_seconds: i64) -> Result<(), jiff::Error> {
        let now = Timestamp::from_second(unix_seconds)?.to_zoned(zone.clone());
        let date = now.date();
        let begins = now.start_of_day()?.timestamp().as_second();
        let ends = now.tomorrow()?.start_of_day()?.timestamp().as_second();
        let (today, other) = if date == self.today.date {
            (self.today, self.other)
        } else if date == self.other.date {
            (self.other, self.today)
        } else if date > self.today.date {
            (Day { date, used: 0 }, self.today)
        } else {
            (Day { date, used: self.today.used }, self.today)
        };
        *self = Days { today, other, begins, ends };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().expect(text).as_second()
    }

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect(name)
    }

    #[test]
    fn a_day_ends_at_the_zones_midnight() {
        for (name, now, left) in [
            ("UTC", "2026-11-21T23:59:59Z", 1),
            ("UTC", "2026-11-22T00:00:00Z", 86_400),
            ("America/New_York", "2026-11-21T23:59:59Z", 5 * 3600 + 1),
            // Summer time begins and ends: days of 23 and of 25 hours.
            ("America/New_York", "2026-03-08T05:00:00Z", 23 * 3600),
            ("America/New_York", "2026-11-01T04:00:00Z", 25 * 3600),
            // Midnight itself is left out.
            ("Africa/Cairo", "2026-04-23T22:00:00Z", 23 * 3600),
        ] {
            let mut days = Days::default();
            assert_eq!(days.used(&zone(name), at(now)), 0);
            assert_eq!(days.left(at(now)), left, "{name} {now}");
        }
    }

    #[test]
    fn a_new_day_begins_with_nothing() {
        let (mut days, utc) = (Days::default(), TimeZone::UTC);
        for second in 0..3 {
            assert_eq!(days.used(&utc, at("2026-11-21T12:00:00Z") + second), second as u32);
            days.add();
        }
        assert_eq!(days.used(&utc, at("2026-11-21T23:59:59Z")), 3);
        assert_eq!(days.used(&utc, at("2026-11-22T00:00:00Z")), 0);
    }

    #[test]
    fn a_clock_that_jumps_gives_nothing_anew() {
        let (mut days, utc) = (Days::default(), TimeZone::UTC);
        let mut use_one = |now: &str| {
            let before = days.used(&utc, at(now));
            days.add();
            before
        };
        assert_eq!(use_one("2026-11-21T12:00:00Z"), 0);
        assert_eq!(use_one("2026-11-21T12:00:00Z"), 1);
        assert_eq!(use_one("2026-11-22T00:00:01Z"), 0, "a new day");
        assert_eq!(use_one("2026-11-21T23:59:59Z"), 2, "the day before goes on");
        assert_eq!(use_one("2026-11-22T00:00:02Z"), 1, "and so does the next");
        assert_eq!(use_one("2026-11-19T00:00:00Z"), 2, "unknown, and earlier");
        assert_eq!(use_one("2126-01-01T00:00:00Z"), 0, "a mistake of a century");
        assert_eq!(use_one("2026-11-19T00:00:00Z"), 3, "holds for nobody longer than itself");
        assert_eq!(use_one("2026-11-23T00:00:00Z"), 0);
    }

    #[test]
    fn what_others_know_counts() {
        let day = |text: &str, used| Day { date: text.parse().expect(text), used };
        let (mut days, utc) = (Days::default(), TimeZone::UTC);
        for known in [day("2026-11-21", 7), day("2026-11-20", 5), day("2026-11-19", 9)] {
            days.raise(known);
        }
        assert_eq!(days.used(&utc, at("2026-11-21T01:00:00Z")), 7);
        days.raise(day("2026-11-21", 6));
        assert_eq!(days.used(&utc, at("2026-11-21T01:00:00Z")), 7, "never less");
        assert_eq!(days.used(&utc, at("2026-11-20T01:00:00Z")), 5);
        let known: Vec<Day> = days.known().collect();
        assert_eq!(known, [day("2026-11-20", 5), day("2026-11-21", 7)]);
    }
}
