//! Operators' pauses of vendor pools: kept in a file, in force in the pools.
//!
//! The file is the truth. A pause is in force only once it is written, and what another process
//! has written (one that replaces this one, or is replaced by it) is in force here a look later.
//! A file that is gone ends no pause; one that can't be read is put aside, and `/readyz` says so
//! for as long as it lies there: a freeze is never lost in silence.

pub mod kept;

use crate::adapters::log::Log;
use crate::adapters::whole_file;
use crate::pools::SharedPool;
use crate::stages::admission::Hold;
use crate::vendors::Vendors;
use arc_swap::ArcSwap;
use jiff::Timestamp;
use kept::{Kept, Pause};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often the file is looked at.
pub const LOOK: Duration = Duration::from_secs(1);

/// An end by the wall clock that has moved by more than that is another end.
const SAME_END: Duration = Duration::from_secs(1);

/// Operators' pauses.
pub struct Holds {
    path: PathBuf,
    log: Log,
    kept: ArcSwap<Kept>,
    /// What was read or written last; whoever reads or writes holds it.
    known: Mutex<Vec<u8>>,
    /// Whoever changes the pools' pauses holds it: the last one knows the latest.
    applying: Mutex<()>,
    /// Why pauses may have been lost.
    trouble: ArcSwap<Option<String>>,
}

impl Holds {
    /// Those in the folder of the handover socket.
    pub fn load(handover: &Path, log: Log) -> Holds {
        let holds = Holds {
            path: handover.with_file_name("pauses.json"),
            log,
            kept: ArcSwap::default(),
            known: Mutex::default(),
            applying: Mutex::default(),
            trouble: ArcSwap::default(),
        };
        holds.read(&mut locked(&holds.known));
        holds
    }

    /// The operator's pause of a pool, if it is not over.
    pub fn of(&self, pool: &str) -> Option<Pause> {
        let now = Timestamp::now();
        self.kept.load().pools.get(pool).filter(|pause| pause.lasts(now)).cloned()
    }

    /// Why pauses may have been lost.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.load().as_deref().map(str::to_owned)
    }

    /// Pauses a pool, changes its pause, or ends it (`None`); returns the pause before. Blocks.
    ///
    /// # Errors
    /// Why it can't be written; then nothing has changed.
    pub fn set(
        &self,
        vendors: &Vendors,
        pool: &str,
        pause: Option<Pause>,
    ) -> Result<Option<Pause>, String> {
        let mut known = locked(&self.known);
        // Another process may have written since.
        self.read(&mut known);
        let before = self.of(pool);
        if before.is_some() || pause.is_some() {
            let mut kept = Kept::clone(&self.kept.load());
            kept.pools.retain(|_, pause| pause.lasts(Timestamp::now()));
            kept.pools.remove(pool);
            kept.pools.extend(pause.map(|pause| (pool.to_owned(), pause)));
            self.write(&mut known, kept).map_err(|error| error.to_string())?;
        }
        drop(known);
        self.apply(vendors);
        Ok(before)
    }

    /// Takes up what another process has written, and what the wall clock says now. Blocks.
    pub fn look(&self, vendors: &Vendors) {
        self.read(&mut locked(&self.known));
        self.apply(vendors);
    }

    /// Puts what is kept in force: in pools that are new, too.
    pub fn apply(&self, vendors: &Vendors) {
        let _applying = locked(&self.applying);
        for pool in vendors.pools() {
            let now = Instant::now();
            let wanted = self.of(&pool.name).and_then(|pause| pause.hold(now));
            put(&pool, wanted, now);
        }
    }

    fn write(&self, known: &mut Vec<u8>, kept: Kept) -> std::io::Result<()> {
        let text = kept.text();
        whole_file::replace(&self.path, &text)?;
        *known = text;
        self.kept.store(Arc::new(kept));
        Ok(())
    }

    fn read(&self, known: &mut Vec<u8>) {
        let read = match whole_file::read(&self.path) {
            // Somebody has removed it: what is in force stays so, and is written with the next.
            Ok(None) => None,
            Ok(Some(bytes)) if bytes == *known => None,
            Ok(Some(bytes)) => Some(Kept::parse(&bytes).map(|kept| (kept, bytes))),
            Err(error) => Some(Err(error.to_string())),
        };
        let stuck = match read {
            None => None,
            Some(Ok((kept, bytes))) => {
                self.take_up(kept);
                *known = bytes;
                None
            }
            Some(Err(why)) => self.put_aside(known, why),
        };
        self.trouble.store(Arc::new(stuck.or_else(|| self.lies_aside())));
    }

    fn take_up(&self, kept: Kept) {
        if **self.kept.load() == kept {
            return;
        }
        let pools: Vec<&str> = kept.pools.keys().map(String::as_str).collect();
        let members = [
            ("action", "pauses".into()),
            ("result", "taken up".into()),
            ("pools", pools.into()),
            ("file", self.path.display().to_string().into()),
        ];
        self.log.event("audit", &members);
        self.kept.store(Arc::new(kept));
    }

    /// Gives a file that can't be read another name; what to tell where that can't be done.
    fn put_aside(&self, known: &mut Vec<u8>, why: String) -> Option<String> {
        let aside = self.corrupt();
        let put = whole_file::put_aside(&self.path, &aside);
        let kept_as = match &put {
            Ok(()) => aside.display().to_string(),
            Err(error) => format!("nowhere: {error}"),
        };
        let stuck = put
            .is_err()
            .then(|| format!("operators' pauses may be lost: {}: {why}", self.path.display()));
        // It is looked at again and again, and told once.
        if stuck.is_none() || stuck != self.trouble() {
            let members = [
                ("file", self.path.display().to_string().into()),
                ("reason", why.into()),
                ("kept_as", kept_as.into()),
            ];
            self.log.event("pauses-unreadable", &members);
        }
        let kept = Kept::clone(&self.kept.load());
        if put.is_ok() && !kept.pools.is_empty() {
            // What is in force here has to survive, too. What can't be written now is written
            // with the next pause.
            let _ = self.write(known, kept);
        }
        stuck
    }

    fn lies_aside(&self) -> Option<String> {
        let aside = self.corrupt();
        aside.exists().then(|| {
            let file = aside.display();
            format!("operators' pauses may be lost: see {file}, pause again, and remove it")
        })
    }

    fn corrupt(&self) -> PathBuf {
        self.path.with_file_name("pauses.json.corrupt")
    }
}

/// Changes a pool's pause where it is another one.
fn put(pool: &SharedPool, wanted: Option<Hold>, now: Instant) {
    pool.with(|it| {
        if !same(it.on_hold(now), wanted.as_ref()) {
            it.hold(wanted, now);
        }
    });
}

fn same(one: Option<&Hold>, other: Option<&Hold>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => {
            let ends = match (one.until, other.until) {
                (None, None) => true,
                (Some(a), Some(b)) => a.max(b).saturating_duration_since(a.min(b)) < SAME_END,
                _ => false,
            };
            ends && one.scope == other.scope && one.why == other.why
        }
        _ => false,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
