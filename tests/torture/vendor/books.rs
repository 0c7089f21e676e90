//! What the vendor has booked: the truth that answers are held against.

use crate::plan::LATE_MAX;
use crate::pulse::{Beat, Pulse};
use crate::write::Lane;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::Instant;

/// What the vendor knows of one external id.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Requests to book it.
    pub arrivals: u64,
    /// How often it was booked.
    pub booked: u64,
    /// The record that the first booking made.
    pub record: u64,
    /// The key that the gateway sent with it.
    pub vendor_key: Option<String>,
    /// How often it was looked up.
    pub looks: u64,
}

/// The books of a vendor.
pub struct Books {
    kept: Mutex<Kept>,
    pulse: Pulse,
    late: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<String, Entry>,
    by_key: HashMap<String, String>,
    /// How often each name was looked up that nothing ever came for.
    never_came: HashMap<String, u64>,
    records: u64,
    /// What the gateway must not do, whatever comes of it.
    offenses: Vec<String>,
}

/// A request to book something.
pub struct Arrival {
    pub lane: Lane,
    pub external_id: String,
    /// How many came for the same, with this one.
    pub count: u64,
    at: Instant,
}

/// Something that is to be booked late.
pub struct Late(Arc<Books>);

impl Drop for Late {
    fn drop(&mut self) {
        self.0.late.send_modify(|late| *late -= 1);
    }
}

impl Books {
    pub fn new(pulse: Pulse) -> Arc<Books> {
        Arc::new(Books { kept: Mutex::default(), pulse, late: watch::Sender::new(0) })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no panic")
    }

    /// A request has come in.
    pub fn arrive(&self, lane: Lane, external_id: &str, vendor_key: Option<&str>) -> Arrival {
        let mut kept = self.kept();
        let entry = kept.entries.entry(external_id.to_owned()).or_default();
        entry.arrivals += 1;
        let count = entry.arrivals;
        let before = entry.vendor_key.clone();
        if count == 1 {
            entry.vendor_key = vendor_key.map(str::to_owned);
        } else if before.as_deref() != vendor_key {
            let offense = format!("{external_id} was sent with {before:?}, then {vendor_key:?}");
            kept.offenses.push(offense);
        }
        if let Some(key) = vendor_key {
            let other = kept.by_key.insert(key.to_owned(), external_id.to_owned());
            if let Some(other) = other.filter(|other| other != external_id) {
                kept.offenses.push(format!("{external_id} was sent with the key of {other}"));
            }
        }
        drop(kept);
        self.pulse.beat(Beat::Arrived);
        Arrival { lane, external_id: external_id.to_owned(), count, at: Instant::now() }
    }

    /// Books it and gives its record; `None`: it is too late for that.
    pub fn book(&self, arrival: &Arrival) -> Option<u64> {
        let mut kept = self.kept();
        // With the books in hand: nobody sees them without it who looks later.
        if arrival.at.elapsed() > LATE_MAX {
            return None;
        }
        let next = kept.records + 1;
        let entry = kept.entries.entry(arrival.external_id.clone()).or_default();
        if arrival.lane == Lane::Remembered && entry.booked > 0 {
            return Some(entry.record);
        }
        entry.booked += 1;
        let record = if entry.booked == 1 { next } else { entry.record };
        entry.record = record;
        kept.records = next;
        drop(kept);
        self.pulse.beat(Beat::Booked);
        Some(record)
    }

    /// Announces a booking that is yet to be made.
    pub fn later(self: &Arc<Self>) -> Late {
        self.late.send_modify(|late| *late += 1);
        Late(self.clone())
    }

    /// Waits until nothing is to be booked any more.
    pub async fn up_to_date(&self) {
        let mut late = self.late.subscribe();
        // The sender lives as long as `self`.
        let _ = late.wait_for(|late| *late == 0).await;
    }

    /// What is known under an external id, or under a key of the gateway's. Of what never came it is
    /// only known how often it was looked up: else all of those would meet the same, for ever.
    pub fn look(&self, name: &str) -> (String, Entry) {
        let mut kept = self.kept();
        let external_id = kept.by_key.get(name).map_or(name, |id| id).to_owned();
        if let Some(entry) = kept.entries.get_mut(&external_id) {
            entry.looks += 1;
            return (external_id, entry.clone());
        }
        let looks = kept.never_came.entry(name.to_owned()).or_default();
        *looks += 1;
        (external_id, Entry { looks: *looks, ..Entry::default() })
    }

    /// What is known under an external id.
    pub fn entry(&self, external_id: &str) -> Entry {
        self.kept().entries.get(external_id).cloned().unwrap_or_default()
    }

    /// Everything.
    pub fn entries(&self) -> HashMap<String, Entry> {
        self.kept().entries.clone()
    }

    /// The gateway did what it must not do.
    pub fn offend(&self, offense: String) {
        self.kept().offenses.push(offense);
    }

    pub fn offenses(&self) -> Vec<String> {
        self.kept().offenses.clone()
    }
}
