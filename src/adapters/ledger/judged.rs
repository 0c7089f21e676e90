//! Entries as people are shown them, read from the file by whoever asks: the claim of a dead
//! process is unknown, whatever is written.

use super::entry::{Entry, Standing, Trouble};
use super::generation::Locks;
use super::sqlite::Reader;
use std::path::{Path, PathBuf};

/// Whether a living process holds the ledger at this path.
///
/// # Errors
/// Why that can't be told.
pub fn is_held(path: &Path) -> Result<bool, Trouble> {
    Locks::of(&by_its_one_name(path)).any_lives()
}

impl Reader {
    /// Entries in this standing, the first ones after a number.
    ///
    /// # Errors
    /// Why that can't be told.
    pub fn judged_list(
        &self,
        standing: Standing,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Entry>, Trouble> {
        let dead = self.dead()?;
        let numbers = listed(&dead);
        let condition = match standing {
            // Not by its index, which is in the order of time.
            Standing::Answered => "+standing = 1".to_owned(),
            // With the words of the partial index, so that it is used.
            Standing::InFlight => {
                format!("standing = 0 AND standing != 1 AND generation NOT IN ({numbers})")
            }
            Standing::Unknown => format!(
                "standing IN (0, 2) AND standing != 1
                 AND (standing = 2 OR generation IN ({numbers}))"
            ),
        };
        Ok(judged(self.chosen(&condition, after, limit)?, &dead))
    }

    /// All entries, the first ones after a number.
    ///
    /// # Errors
    /// Why that can't be told.
    pub fn judged_all(&self, after: i64, limit: u32) -> Result<Vec<Entry>, Trouble> {
        let dead = self.dead()?;
        Ok(judged(self.chosen("TRUE", after, limit)?, &dead))
    }

    /// The entry of this number.
    ///
    /// # Errors
    /// Why that can't be told.
    pub fn judged_entry(&self, id: i64) -> Result<Option<Entry>, Trouble> {
        let dead = self.dead()?;
        Ok(judged(self.entry(id)?.into_iter().collect(), &dead).pop())
    }

    /// The processes that are dead; what is read afterward is the last that they wrote.
    fn dead(&self) -> Result<Vec<i64>, Trouble> {
        let locks = Locks::of(&by_its_one_name(self.path()));
        let mut numbers = self.generations()?;
        numbers.retain(|number| locks.is_dead(*number));
        Ok(numbers)
    }
}

fn judged(mut entries: Vec<Entry>, dead: &[i64]) -> Vec<Entry> {
    for entry in &mut entries {
        if entry.standing == Standing::InFlight && dead.contains(&entry.generation) {
            entry.standing = Standing::Unknown;
        }
    }
    entries
}

fn listed(numbers: &[i64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    numbers.join(", ")
}

/// Another name of the same file would have other locks.
fn by_its_one_name(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
