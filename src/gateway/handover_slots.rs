//! Shares the vendors' slots with the process that takes over, or with the one that leaves, over
//! the socket of the handover; what is shared and when, `stages::admission::lending` decides.
//!
//! Both sides first tell the pools that they bound, as lines of JSON; those that both know are
//! shared. When the socket ends the other process is gone, and everything is this one's own: this
//! is what dropping either end does. A line that can't be read is passed over, since another
//! version may have sent it.

use crate::pools::SharedPool;
use crate::stages::admission::lending::{Elder, Younger};
use crate::vendors::Vendors;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Notify;

/// A limit that sank grows back without anybody's doing: it is looked at so often.
const LOOK: Duration = Duration::from_secs(1);

/// A line between the two.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// Pools by name with their concurrency limits: the first line of both.
    Pools(HashMap<String, u32>),
    /// Slots that the receiver may use from now on.
    Slots { pool: String, count: u32 },
    /// Slots that the receiver gives back as soon as it can.
    Wanted { pool: String, count: u32 },
}

/// What one pool's end does with what it is told, and what it has to tell.
trait End: Send {
    fn hears(&mut self, pool: &SharedPool, line: &Line);
    /// Slots that go to the other, and those that it should send.
    fn tells(&mut self, pool: &SharedPool) -> (u32, u32);
    fn ends(&mut self, pool: &SharedPool);
}

impl End for Elder {
    fn hears(&mut self, pool: &SharedPool, line: &Line) {
        if let Line::Slots { count, .. } = line {
            pool.with(|pool| self.receives(pool, *count));
        }
    }

    fn tells(&mut self, pool: &SharedPool) -> (u32, u32) {
        pool.with(|pool| (self.spares(pool, Instant::now()), self.misses(pool)))
    }

    fn ends(&mut self, pool: &SharedPool) {
        pool.with(|pool| self.ends(pool));
    }
}

impl End for Younger {
    fn hears(&mut self, pool: &SharedPool, line: &Line) {
        pool.with(|pool| match line {
            Line::Slots { count, .. } => self.receives(pool, *count),
            Line::Wanted { count, .. } => self.owes(pool, *count),
            Line::Pools(_) => {}
        });
    }

    fn tells(&mut self, pool: &SharedPool) -> (u32, u32) {
        (pool.with(|pool| self.pays(pool)), 0)
    }

    fn ends(&mut self, pool: &SharedPool) {
        pool.with(|pool| self.ends(pool));
    }
}

/// A pool that is shared, and our end of it. Dropping it takes everything back.
struct Shared<E: End> {
    pool: Arc<SharedPool>,
    end: E,
}

impl<E: End> Drop for Shared<E> {
    fn drop(&mut self) {
        self.end.ends(&self.pool);
    }
}

/// One side of the socket.
struct Sharing<E: End> {
    shared: Mutex<HashMap<String, Shared<E>>>,
    changed: Arc<Notify>,
}

/// The pools of a process that takes over: nobody gets a slot of them until the other process
/// gives one, or is gone. Dropping it lets everybody go.
pub struct Borrowing(Sharing<Younger>);

impl Borrowing {
    /// To be called before anything is accepted.
    pub fn begin(vendors: &Vendors) -> Borrowing {
        let now = Instant::now();
        let withheld = vendors.pools().into_iter().map(|pool| {
            let end = pool.with(|pool| Younger::begins(pool, now));
            (pool.name.to_string(), Shared { pool, end })
        });
        Borrowing(Sharing::new(withheld.collect()))
    }

    /// Shares with the process that leaves, until it is gone.
    pub async fn share(self, predecessor: UnixStream) {
        let own = self.0.limits();
        let begin = |others: &HashMap<String, u32>| {
            let mut shared = self.0.lock();
            // What the other does not bound, or does not know, is ours alone.
            shared.retain(|name, _| others.contains_key(name));
            for (name, limit) in others {
                if let Some(Shared { pool, end }) = shared.get_mut(name) {
                    pool.with(|pool| end.learns(pool, *limit));
                }
            }
        };
        self.0.run(predecessor, own, begin).await;
    }
}

/// Shares with the process that takes over, until it is gone.
pub async fn lend(vendors: &Vendors, successor: UnixStream) {
    let pools = vendors.pools().into_iter();
    let pools: HashMap<String, Arc<SharedPool>> =
        pools.map(|pool| (pool.name.to_string(), pool)).collect();
    let limit = |(name, pool): (&String, &Arc<SharedPool>)| {
        Some((name.clone(), pool.with(|pool| pool.limit())?))
    };
    let own: HashMap<String, u32> = pools.iter().filter_map(limit).collect();
    let sharing: Sharing<Elder> = Sharing::new(HashMap::new());
    let begin = |others: &HashMap<String, u32>| {
        let known = pools.iter().filter(|(name, _)| others.contains_key(*name));
        let bounded = known.filter(|(name, _)| own.contains_key(*name));
        let share = |(name, pool): (&String, &Arc<SharedPool>)| {
            pool.watched_by(&sharing.changed);
            (name.clone(), Shared { pool: pool.clone(), end: Elder::default() })
        };
        sharing.lock().extend(bounded.map(share));
        sharing.changed.notify_one();
    };
    sharing.run(successor, own.clone(), begin).await;
}

impl<E: End> Sharing<E> {
    fn new(shared: HashMap<String, Shared<E>>) -> Sharing<E> {
        let changed = Arc::new(Notify::new());
        shared.values().for_each(|it| it.pool.watched_by(&changed));
        Sharing { shared: Mutex::new(shared), changed }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Shared<E>>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sharing<Younger> {
    /// All of them: a pool without a limit of its own keeps to what the other one says.
    fn limits(&self) -> HashMap<String, u32> {
        let shared = self.lock();
        let limit = |it: &Shared<Younger>| it.pool.with(|pool| pool.limit()).unwrap_or(u32::MAX);
        shared.iter().map(|(name, it)| (name.clone(), limit(it))).collect()
    }
}

impl<E: End> Sharing<E> {
    /// Speaks with the other process until it is gone.
    async fn run(
        &self,
        stream: UnixStream,
        own: HashMap<String, u32>,
        begin: impl Fn(&HashMap<String, u32>),
    ) {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let hear = async {
            while let Ok(Some(line)) = lines.next_line().await {
                match serde_json::from_str(&line) {
                    Ok(Line::Pools(others)) => begin(&others),
                    Ok(line) => self.hear(&line),
                    Err(_) => {}
                }
            }
        };
        let tell = async {
            let mut octets = octets(&[Line::Pools(own)]);
            while write.write_all(&octets).await.is_ok() {
                octets.clear();
                while octets.is_empty() {
                    let changed = self.changed.notified();
                    // Late is as good as changed.
                    let _ = tokio::time::timeout(LOOK, changed).await;
                    octets = self::octets(&self.to_tell());
                }
            }
            // It does not read any more; that it is gone, reading tells.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = hear => {}
            () = tell => {}
        }
    }

    fn hear(&self, line: &Line) {
        let (Line::Slots { pool, .. } | Line::Wanted { pool, .. }) = line else { return };
        if let Some(Shared { pool, end }) = self.lock().get_mut(pool) {
            end.hears(pool, line);
        }
        self.changed.notify_one();
    }

    fn to_tell(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (name, Shared { pool, end }) in self.lock().iter_mut() {
            let (slots, wanted) = end.tells(pool);
            if slots > 0 {
                lines.push(Line::Slots { pool: name.clone(), count: slots });
            }
            if wanted > 0 {
                lines.push(Line::Wanted { pool: name.clone(), count: wanted });
            }
        }
        lines
    }
}

fn octets(lines: &[Line]) -> Vec<u8> {
    let mut octets = Vec::new();
    for line in lines {
        // Names and numbers can always be written.
        octets.extend(serde_json::to_vec(line).unwrap_or_default());
        octets.push(b'\n');
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_what_another_version_reads() {
        let pool = || "ns1".to_owned();
        let lines = [
            Line::Pools(HashMap::from([(pool(), 5)])),
            Line::Slots { pool: pool(), count: 2 },
            Line::Wanted { pool: pool(), count: 1 },
        ];
        let text = String::from_utf8(octets(&lines)).expect("JSON");
        let expected = [
            r#"{"pools":{"ns1":5}}"#,
            r#"{"slots":{"pool":"ns1","count":2}}"#,
            r#"{"wanted":{"pool":"ns1","count":1}}"#,
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        for (line, text) in lines.iter().zip(expected) {
            assert_eq!(serde_json::from_str::<Line>(text).expect("a line"), *line);
        }
        // One that was cut by the end of its process says nothing.
        assert!(serde_json::from_str::<Line>(r#"{"slots":{"pool":"ns1","count":2"#).is_err());
    }
}
