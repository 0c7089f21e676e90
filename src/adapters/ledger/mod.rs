//! The ledger of protected writes: which keys were used, by which requests, and what came of them.
//!
//! [`Ledger`] is what every store offers. Its unique insert is the arbiter between all who come
//! with one key, in whatever process; what it has acknowledged survives a crash. A store never
//! decides what a write meets (that is [`crate::stages::idempotency`]), and never replaces a file
//! that it can't read.
//!
//! * [`entry`]: what is kept, and what may be done with it.
//! * [`sqlite`]: the embedded store; [`writer`] commits in groups what [`changes`] does, [`schema`]
//!   opens files, [`generation`] tells living processes from dead ones, [`seal`] encrypts.
//! * [`judged`]: what people are shown of a file, whoever writes it; [`copying`] makes copies.
//! * [`model`]: the same in memory, as plain as can be.

mod ahead;
mod changes;
pub mod copying;
pub mod entry;
mod generation;
pub mod judged;
mod kept;
#[cfg(test)]
mod model;
mod private;
mod rows;
mod schema;
pub mod seal;
pub mod sqlite;
mod steady;
pub mod writer;

pub use steady::World;

use crate::model::digest::Sha256;
use crate::model::moment::Moment;
use entry::{Answer, Change, Entry, Outcome, Settlement, Standing, Tally, Trouble};
use std::sync::mpsc;
use std::time::Duration;

/// Tells the outcome of a change to whoever asked for it: from the store's own thread, so it has
/// to be quick. `false`: nobody is there any more to take it, and a claim is released again.
pub type Done = Box<dyn FnOnce(Result<Outcome, Trouble>) -> bool + Send>;

/// The clocks of the world.
pub trait Clocks: Send + Sync {
    /// Time since some instant; never goes back, whatever is done to the wall clock.
    fn monotonic(&self) -> Duration;

    /// Milliseconds since 1970 by the wall clock.
    fn wall_ms(&self) -> i64;
}

/// A store of protected writes, as one process holds it.
pub trait Ledger: Send + Sync {
    /// Makes a change: durable before `done` is told of it, or not made at all.
    fn submit(&self, change: Change, done: Done);

    /// What is known of a key. The claim of a dead process is unknown, whatever was written.
    ///
    /// # Errors
    /// Why that can't be told.
    fn look(&self, identity: &Sha256) -> Result<Option<Entry>, Trouble>;

    /// The entry of this number.
    ///
    /// # Errors
    /// Why that can't be told.
    fn entry(&self, id: i64) -> Result<Option<Entry>, Trouble>;

    /// The answer that is kept for an entry.
    ///
    /// # Errors
    /// Why that can't be told.
    fn answer_of(&self, id: i64) -> Result<Option<Answer>, Trouble>;

    /// Entries in this standing, the first ones after a number.
    ///
    /// # Errors
    /// Why that can't be told.
    fn list(&self, standing: Standing, after: i64, limit: u32) -> Result<Vec<Entry>, Trouble>;

    /// How many entries there are.
    ///
    /// # Errors
    /// Why that can't be told.
    fn tally(&self) -> Result<Tally, Trouble>;

    /// Now, by this ledger's clocks.
    fn now(&self) -> Moment;

    /// Makes a change and waits for it. Blocks.
    ///
    /// # Errors
    /// Why it was not made.
    fn change(&self, change: Change) -> Result<Outcome, Trouble> {
        let (tell, told) = mpsc::sync_channel(1);
        self.submit(change, Box::new(move |outcome| tell.send(outcome).is_ok()));
        told.recv().unwrap_or(Err(Trouble::Closed))
    }

    /// Somebody found out; `false`: the entry is not unknown (any more).
    ///
    /// # Errors
    /// Why it could not be written.
    fn resolve(&self, id: i64, found: Option<Settlement>) -> Result<bool, Trouble> {
        Ok(self.change(Change::Resolve(id, found))? == Outcome::Made)
    }
}

#[cfg(test)]
mod tests;
