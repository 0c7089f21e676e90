//! Asks for a reload when a file of the configuration changes.

use crate::config::sources::Stamp;
use crate::state::State;
use notify::{RecursiveMode, Watcher};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long files have to be still: an editor writes in several steps.
const SETTLE: Duration = Duration::from_millis(200);
/// How often that is waited for: whoever writes all the time keeps nothing from taking effect.
const SETTLES_MAX: u32 = 5;
/// How often to look although the system tells of no change: it does not tell of a file behind a
/// link, nor of what another machine writes.
const LOOK: Duration = Duration::from_secs(1);
/// How much longer than a look takes the next one is waited for at least: two percent of a core.
const RESTS: u32 = 50;
/// The same where the system tells of changes.
const RESTS_AT_LEAST: u32 = 9;

/// Watches the files of the configuration in force until the task is dropped. `seen` is what they
/// held when they were read: a change in between is one.
pub async fn watch(state: Arc<State>, mut seen: u64) {
    let changed = Arc::new(Notify::new());
    let for_events = changed.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading is reported too: what we look at ourselves must not make us look again.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            for_events.notify_one();
        }
    })
    .ok();
    let mut watched = BTreeMap::new();
    loop {
        if let Some(watcher) = watcher.as_mut() {
            follow(watcher, &mut watched, &state);
        }
        let begun = Instant::now();
        let mut now = fingerprint(&state).await;
        if now == seen {
            let took = begun.elapsed();
            // Whatever happens in the folders all the time does not keep a core busy.
            tokio::time::sleep(took * RESTS_AT_LEAST).await;
            // Either is a reason to look.
            let _ = tokio::time::timeout(LOOK.max(took * RESTS), changed.notified()).await;
            continue;
        }
        // Wait until two looks agree: a file that is half written is not read.
        for _ in 0..SETTLES_MAX {
            tokio::time::sleep(SETTLE).await;
            let before = std::mem::replace(&mut now, fingerprint(&state).await);
            if before == now {
                break;
            }
        }
        seen = now;
        state.reload("file").await;
    }
}

/// Watches the folders of all files: a file that is replaced is a new one, and so is a folder.
fn follow(
    watcher: &mut notify::RecommendedWatcher,
    watched: &mut BTreeMap<PathBuf, Option<u64>>,
    state: &State,
) {
    let paths = state.watched.load();
    for folder in paths.iter().flat_map(|path| folders(path)) {
        let inode = Stamp::of(folder).map(|stamp| stamp.inode());
        if watched.get(folder).is_some_and(|known| *known == inode) {
            continue;
        }
        // The watch of a folder goes with it where it is moved to, and ends when it is removed.
        if watched.remove(folder).is_some() {
            let _ = watcher.unwatch(folder);
        }
        if watcher.watch(folder, RecursiveMode::NonRecursive).is_ok() {
            watched.insert(folder.to_owned(), inode);
        }
    }
}

/// The folders in which a change of `path` shows.
fn folders(path: &Path) -> impl Iterator<Item = &Path> {
    let parent = path.parent();
    let around = parent.map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p });
    Some(path).filter(|path| path.is_dir()).into_iter().chain(around)
}

/// Tells whether what the files hold has changed.
async fn fingerprint(state: &State) -> u64 {
    state.looks.fetch_add(1, Ordering::Relaxed);
    let watched = state.watched.load_full();
    tokio::task::spawn_blocking(move || fingerprint_of(&watched)).await.unwrap_or(0)
}

/// Tells two contents of these files and folders apart. Blocks.
pub fn fingerprint_of(watched: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    watched.iter().for_each(|path| add(path, &mut hasher));
    hasher.finish()
}

fn add(path: &Path, hasher: &mut DefaultHasher) {
    (path, Stamp::of(path)).hash(hasher);
    if path.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|file| counts(file)).collect();
        files.sort();
        for file in files {
            // A file is not read for this: a folder may hold thousands, and a pipe would hang.
            (&file, Stamp::of(&file)).hash(hasher);
        }
    }
}

/// Whether a file in a folder can be a policy, a certificate or a key.
fn counts(file: &Path) -> bool {
    file.extension().is_some_and(|it| ["toml", "pem", "key"].iter().any(|known| it == *known))
}
