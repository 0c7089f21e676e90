//! How much a client may ask for, and how its requests stand beside those of others.

use super::rates::Rate;
use jiff::tz::TimeZone;
use std::num::NonZeroU32;

/// One rate with its burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// So many in each period.
    pub rate: Rate,
    /// So many at once.
    pub burst: NonZeroU32,
}

/// A quota for each calendar day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daily {
    /// So many requests.
    pub count: NonZeroU32,
    /// Whose midnight begins a new day.
    pub zone: TimeZone,
}

/// Everything that bounds a client, or a client under one rule. All of it has to pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Rates.
    pub rates: Vec<RateLimit>,
    /// Requests in a calendar day.
    pub daily: Option<Daily>,
    /// Requests at a time, those that wait included.
    pub concurrency: Option<NonZeroU32>,
}

impl Limits {
    /// Whether nothing is bounded.
    pub fn is_empty(&self) -> bool {
        self.rates.is_empty() && self.daily.is_none() && self.concurrency.is_none()
    }

    /// The limits in words, one for each.
    pub fn words(&self) -> Vec<String> {
        let rate = |limit: &RateLimit| {
            let unit = match limit.rate.period.as_secs() {
                1 => "second",
                60 => "minute",
                3_600 => "hour",
                _ => "day",
            };
            format!("{}/{unit}, {} at once", limit.rate.count, limit.burst)
        };
        let daily = self.daily.as_ref().map(|daily| {
            let zone = daily.zone.iana_name().unwrap_or("UTC");
            format!("{} in a calendar day of {zone}", daily.count)
        });
        let concurrency = self.concurrency.map(|limit| format!("{limit} at a time"));
        self.rates.iter().map(rate).chain(daily).chain(concurrency).collect()
    }
}

/// Whose turn comes first in the queue of a vendor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Last.
    Low,
    /// In between.
    #[default]
    Normal,
    /// First.
    High,
}

impl Priority {
    /// The word in policies.
    pub fn word(self) -> &'static str {
        match self {
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
        }
    }
}
