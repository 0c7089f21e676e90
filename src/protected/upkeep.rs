//! What keeps a ledger in order while it is used: removing what is old in small steps, finding dead
//! processes, and the figures that operators see.

use super::Protected;
use super::book::aside;
use crate::adapters::ledger::entry::{Change, Outcome, Purge, Standing};
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked for what is old.
const LOOK: Duration = Duration::from_secs(30);
/// Between two steps where there is more.
const NEXT: Duration = Duration::from_millis(200);
/// What one step removes at the most: nobody who claims waits for more.
const STEP: u32 = 500;

impl Protected {
    /// Keeps it in order until the task is dropped. `retentions`: how long keys and answers are
    /// kept, as of now.
    pub async fn keep(self: Arc<Self>, retentions: impl Fn() -> (Duration, Duration) + Send) {
        loop {
            let (retention, answer_retention) = retentions();
            let purge = Purge { retention, answer_retention, limit: STEP };
            let more = match self.book.ledger() {
                Ok(ledger) => match self.book.change(&ledger, Change::Purge(purge)).await {
                    Ok(Outcome::Purged(purged)) => {
                        if purged.orphans > 0 {
                            let orphans = ("orphans", purged.orphans.into());
                            self.log.event("ledger-orphans", &[orphans]);
                            self.unknowns.notify_one();
                        }
                        purged.more
                    }
                    _ => false,
                },
                Err(_) => false,
            };
            tokio::time::sleep(if more { NEXT } else { LOOK }).await;
        }
    }

    /// Brings the figures up to date.
    pub async fn count(&self) {
        self.metrics.available.set(i64::from(self.book.is_available()));
        let Ok(ledger) = self.book.ledger() else { return };
        let told = aside(move || Ok((ledger.tally()?, ledger.now()))).await;
        let Ok((tally, now)) = told else { return };
        for (standing, entries) in [
            (Standing::InFlight, tally.in_flight),
            (Standing::Answered, tally.answered),
            (Standing::Unknown, tally.unknown),
        ] {
            let label = standing.word().replace('-', "_");
            let entries = i64::try_from(entries).unwrap_or(i64::MAX);
            self.metrics.entries.with_label_values(&[&label]).set(entries);
        }
        let oldest = tally.oldest_unknown.map_or(Duration::ZERO, |since| since.at_least(now));
        self.metrics.oldest_unknown.set(oldest.as_secs_f64());
    }
}
