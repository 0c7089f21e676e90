//! Counts what happens, so that others can wait for it.

use crate::plan::STALL;
use std::sync::Arc;
use tokio::sync::watch;

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub enum Beat {
    /// A client has sent a request.
    Sent,
    /// The vendor has received one.
    Arrived,
    /// The vendor has booked one.
    Booked,
    /// A client has received an answer, whatever it says.
    Heard,
    /// A client has received the answer that it wanted.
    Settled,
    /// The gateway could not write in its ledger.
    Unwritten,
}

const KINDS: usize = 6;

/// The counts so far.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<watch::Sender<[u64; KINDS]>>);

impl Pulse {
    pub fn new() -> Pulse {
        Pulse(Arc::new(watch::Sender::new([0; KINDS])))
    }

    /// It happened once more.
    pub fn beat(&self, beat: Beat) {
        self.0.send_modify(|counts| counts[beat as usize] += 1);
    }

    /// How often it has happened.
    pub fn count(&self, beat: Beat) -> u64 {
        self.0.borrow()[beat as usize]
    }

    /// Waits until it has happened so many times more; `false`: it did not.
    pub async fn more(&self, beat: Beat, times: u64) -> bool {
        let goal = self.count(beat) + times;
        self.reaches(beat, goal).await
    }

    /// Waits until it has happened so many times in all; `false`: it did not.
    pub async fn reaches(&self, beat: Beat, goal: u64) -> bool {
        let mut counts = self.0.subscribe();
        let reached = counts.wait_for(|counts| counts[beat as usize] >= goal);
        tokio::time::timeout(STALL, reached).await.is_ok()
    }
}
