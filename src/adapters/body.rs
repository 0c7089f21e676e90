//! Request bodies that are read before they are sent: in memory, and on disk where all of them
//! together would take too much of it.

use bytes::{Bytes, BytesMut};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Octets that are read from disk at a time.
const READ_BYTES: u64 = 64 << 10;

/// Pieces smaller than this are put together, up to so much: each by itself takes more than it
/// holds, and a client may send a body octet by octet.
const SMALL_BYTES: usize = 1 << 10;
const TOGETHER_BYTES: usize = 16 << 10;

/// How many octets of bodies are held, all requests together.
#[derive(Debug)]
pub struct Buffers {
    memory: AtomicU64,
    disk: AtomicU64,
    folder: PathBuf,
}

/// How many octets may be held.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// In memory.
    pub memory: u64,
    /// On disk.
    pub disk: u64,
}

impl Buffers {
    /// What does not fit into memory goes to files in this folder, which nobody else can open.
    pub fn new(folder: PathBuf) -> Arc<Buffers> {
        Arc::new(Buffers { memory: AtomicU64::new(0), disk: AtomicU64::new(0), folder })
    }

    /// Octets in memory and on disk.
    pub fn held(&self) -> (u64, u64) {
        (self.memory.load(Ordering::Relaxed), self.disk.load(Ordering::Relaxed))
    }
}

/// Memory that something other than a [`Body`] holds. Dropping it gives its room back.
#[derive(Debug)]
pub struct Memory {
    octets: u64,
    buffers: Arc<Buffers>,
}

impl Memory {
    /// Nothing yet.
    pub fn nothing(buffers: Arc<Buffers>) -> Memory {
        Memory { octets: 0, buffers }
    }

    /// Takes more of the room; `false`: there is none.
    pub fn grow(&mut self, octets: u64, room: Room) -> bool {
        let taken = take(&self.buffers.memory, octets, room.memory);
        self.octets += if taken { octets } else { 0 };
        taken
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.buffers.memory.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

/// Takes room, if no more than `most` are held then.
fn take(held: &AtomicU64, octets: u64, most: u64) -> bool {
    let with = |held: u64| held.checked_add(octets).filter(|held| *held <= most);
    held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with).is_ok()
}

/// One body. Dropping it gives its room back.
#[derive(Debug)]
pub struct Body {
    memory: Vec<Bytes>,
    /// Small pieces behind those, put together.
    together: BytesMut,
    in_memory: u64,
    /// What comes behind what is in memory.
    file: Option<Arc<File>>,
    on_disk: u64,
    buffers: Arc<Buffers>,
}

/// Where a reader of a body is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Position {
    piece: usize,
    on_disk: u64,
}

impl Body {
    /// Without an octet yet.
    pub fn empty(buffers: Arc<Buffers>) -> Body {
        let (memory, together) = (Vec::new(), BytesMut::new());
        Body { memory, together, in_memory: 0, file: None, on_disk: 0, buffers }
    }

    /// Where it takes its room from.
    pub fn buffers(&self) -> Arc<Buffers> {
        self.buffers.clone()
    }

    /// How many octets it has.
    pub fn octets(&self) -> u64 {
        self.in_memory + self.on_disk
    }

    /// Takes one more piece; `false`: there is no room for it.
    ///
    /// # Errors
    /// The disk's own.
    pub async fn push(&mut self, piece: Bytes, room: Room) -> io::Result<bool> {
        let octets = piece.len() as u64;
        if self.file.is_none() && take(&self.buffers.memory, octets, room.memory) {
            self.in_memory += octets;
            self.keep(piece);
            return Ok(true);
        }
        if !take(&self.buffers.disk, octets, room.disk) {
            return Ok(false);
        }
        // Given back with the body from here on, also where writing fails.
        let at = self.on_disk;
        self.on_disk += octets;
        let (file, folder) = (self.file.clone(), self.buffers.folder.clone());
        let write = move || -> io::Result<Arc<File>> {
            let file = match file {
                Some(file) => file,
                None => Arc::new(tempfile::tempfile_in(folder)?),
            };
            file.write_all_at(&piece, at)?;
            Ok(file)
        };
        self.file = Some(tokio::task::spawn_blocking(write).await??);
        Ok(true)
    }

    fn keep(&mut self, piece: Bytes) {
        let small = piece.len() < SMALL_BYTES;
        let full = self.together.len() + piece.len() > TOGETHER_BYTES;
        if !self.together.is_empty() && (full || !small) {
            self.memory.push(std::mem::take(&mut self.together).freeze());
        }
        match small {
            true => self.together.extend_from_slice(&piece),
            false => self.memory.push(piece),
        }
    }

    /// The next octets behind a position, which moves on; `None`: there are no more.
    ///
    /// # Errors
    /// The disk's own.
    pub async fn next(&self, position: &mut Position) -> io::Result<Option<Bytes>> {
        if let Some(piece) = self.memory.get(position.piece) {
            position.piece += 1;
            return Ok(Some(piece.clone()));
        }
        if position.piece == self.memory.len() && !self.together.is_empty() {
            position.piece += 1;
            return Ok(Some(Bytes::copy_from_slice(&self.together)));
        }
        let left = self.on_disk.saturating_sub(position.on_disk).min(READ_BYTES);
        let Some(file) = self.file.clone().filter(|_| left > 0) else { return Ok(None) };
        let (at, length) = (position.on_disk, usize::try_from(left).unwrap_or(0));
        let read = move || -> io::Result<Bytes> {
            let mut octets = BytesMut::zeroed(length);
            file.read_exact_at(&mut octets, at)?;
            Ok(octets.freeze())
        };
        let octets = tokio::task::spawn_blocking(read).await??;
        position.on_disk += left;
        Ok(Some(octets))
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.buffers.memory.fetch_sub(self.in_memory, Ordering::Relaxed);
        self.buffers.disk.fetch_sub(self.on_disk, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

    async fn read(body: &Body) -> Vec<u8> {
        let (mut position, mut octets) = (Position::default(), Vec::new());
        while let Some(piece) = body.next(&mut position).await.expect("read") {
            octets.extend_from_slice(&piece);
        }
        octets
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// What was taken comes back, as often as it is asked for, and all room is given back.
        #[test]
        fn octets_come_back_in_order(
            pieces in proptest::collection::vec(proptest::collection::vec(0u8..255, 0..300), 0..20),
            memory in 0u64..2000,
            disk in 0u64..5000,
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let buffers = Buffers::new(folder.path().to_owned());
            runtime().block_on(async {
                let mut body = Body::empty(buffers.clone());
                let mut taken = Vec::new();
                for piece in &pieces {
                    let room = Room { memory, disk };
                    if body.push(Bytes::from(piece.clone()), room).await.expect("written") {
                        taken.extend_from_slice(piece);
                    } else {
                        break;
                    }
                }
                prop_assert_eq!(body.octets(), taken.len() as u64);
                prop_assert_eq!(read(&body).await, taken.clone());
                prop_assert_eq!(read(&body).await, taken);
                let (in_memory, on_disk) = buffers.held();
                prop_assert_eq!(in_memory + on_disk, body.octets());
                drop(body);
                prop_assert_eq!(buffers.held(), (0, 0));
                Ok(())
            })?;
        }
    }

    #[test]
    fn an_octet_at_a_time_takes_no_more_than_it_holds() {
        const OCTETS: u64 = 200_000;
        let buffers = Buffers::new("/nowhere".into());
        let room = Room { memory: OCTETS, disk: 0 };
        let mut body = Body::empty(buffers);
        let octets = Bytes::from_static(b"a");
        let taken = allocation_counter::measure(|| {
            for _ in 0..OCTETS {
                let push = body.push(Bytes::copy_from_slice(&octets), room);
                assert!(futures_ready(push));
            }
        });
        assert!(taken.bytes_max < 3 * OCTETS, "{taken:?}");
        assert_eq!(body.octets(), OCTETS);
    }

    fn futures_ready(push: impl Future<Output = io::Result<bool>>) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let polled = std::pin::pin!(push).poll(&mut context);
        matches!(polled, std::task::Poll::Ready(Ok(true)))
    }

    #[tokio::test]
    async fn a_disk_that_fails_is_told() {
        let buffers = Buffers::new("/nowhere/at/all".into());
        let mut body = Body::empty(buffers.clone());
        let room = Room { memory: 0, disk: 100 };
        body.push(Bytes::from_static(b"a"), room).await.expect_err("no folder");
        drop(body);
        assert_eq!(buffers.held(), (0, 0));
    }
}
