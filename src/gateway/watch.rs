//! Asks for a reload when a file of the configuration changes.

use crate::config::sources::Stamp;
use crate::state::State;
use notify::{RecursiveMode, Watcher};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Notify;

/// How long files have to be still: an editor writes in several steps.
const SETTLE: Duration = Duration::from_millis(200);
/// How often to look when the system tells nothing of changes.
const LOOK: Duration = Duration::from_secs(2);

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
        let told = watcher.as_mut().is_some_and(|watcher| follow(watcher, &mut watched, &state));
        let mut now = fingerprint(&state).await;
        if now == seen {
            match told {
                true => changed.notified().await,
                false => tokio::time::sleep(LOOK).await,
            }
            continue;
        }
        // Wait until two looks agree: a file that is half written is not read.
        while {
            tokio::time::sleep(SETTLE).await;
            let before = std::mem::replace(&mut now, fingerprint(&state).await);
            before != now
        } {}
        seen = now;
        state.reload("file").await;
    }
}

/// Watches the folders of all files: a file that is replaced is a new one, and so is a folder.
/// Returns whether every folder is watched.
fn follow(
    watcher: &mut notify::RecommendedWatcher,
    watched: &mut BTreeMap<PathBuf, Option<u64>>,
    state: &State,
) -> bool {
    let mut complete = true;
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
        match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => drop(watched.insert(folder.to_owned(), inode)),
            Err(_) => complete = false,
        }
    }
    complete
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
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            // A file is not read for this: a folder may hold thousands, and a pipe would hang.
            (&file, Stamp::of(&file)).hash(hasher);
        }
    }
}
