//! Writes log lines: one JSON object a line, gathered in memory and written by a thread of its
//! own, so that a slow terminal or disk never holds a request up.

use serde_json::{Map, Value};
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::clock;

/// Bytes that wait to be written before further lines are dropped and counted.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// How long the writer lets lines gather: one system call for many.
const GATHER: Duration = Duration::from_millis(20);

/// A handle to the log; clones write to the same place.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<u8>,
    writing: bool,
    dropped: u64,
    closed: bool,
}

impl Log {
    /// Begins to write to `sink`.
    pub fn to(sink: Box<dyn Write + Send>) -> Log {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::default()),
            changed: Condvar::new(),
            writer: Mutex::new(None),
        });
        let for_writer = shared.clone();
        let spawned = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_lines(&for_writer, sink));
        // Without a thread lines gather up to the limit and are dropped there: serving goes on.
        *lock(&shared.writer) = spawned.ok();
        Log { shared }
    }

    /// Writes a line that was made elsewhere.
    pub fn line(&self, line: &[u8]) {
        let mut queue = lock(&self.shared.queue);
        if queue.waiting.len() + line.len() > WAITING_BYTES_MAX {
            queue.dropped += 1;
            return;
        }
        queue.waiting.extend_from_slice(line);
        queue.waiting.push(b'\n');
        let was_asleep = !queue.writing;
        queue.writing = true;
        drop(queue);
        if was_asleep {
            self.shared.changed.notify_all();
        }
    }

    /// Writes an event of the gateway's own life.
    pub fn event(&self, event: &str, members: &[(&str, Value)]) {
        let mut object = Map::new();
        object.insert("time".into(), clock::timestamp().into());
        object.insert("event".into(), event.into());
        for (name, value) in members {
            object.insert((*name).to_owned(), value.clone());
        }
        self.line(Value::Object(object).to_string().as_bytes());
    }

    /// Lines that were dropped because nobody read the log.
    pub fn dropped(&self) -> u64 {
        lock(&self.shared.queue).dropped
    }

    /// Waits until everything is written; later lines are dropped.
    pub fn close(&self) {
        lock(&self.shared.queue).closed = true;
        self.shared.changed.notify_all();
        if let Some(writer) = lock(&self.shared.writer).take() {
            let _ = writer.join();
        }
    }
}

fn write_lines(shared: &Shared, mut sink: Box<dyn Write + Send>) {
    let mut batch = Vec::new();
    loop {
        let mut queue = lock(&shared.queue);
        while queue.waiting.is_empty() {
            if queue.closed {
                return;
            }
            queue.writing = false;
            queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut batch, &mut queue.waiting);
        let closed = queue.closed;
        drop(queue);
        // A full disk or a closed pipe must not end the process: the lines are lost.
        let _ = sink.write_all(&batch).and_then(|()| sink.flush());
        batch.clear();
        batch.shrink_to(1 << 20);
        if !closed {
            std::thread::sleep(GATHER);
        }
    }
}

/// A lock that a panic elsewhere can't take away: the data are plain bytes and counts.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Turns the lines of libraries into ours.
pub struct Bridge(pub Log);

impl ::log::Log for Bridge {
    fn enabled(&self, metadata: &::log::Metadata<'_>) -> bool {
        // pingora reports each client that leaves as an error; our own records say it better.
        metadata.level() <= ::log::Level::Warn && !metadata.target().starts_with("pingora")
    }

    fn log(&self, record: &::log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_ascii_lowercase();
            let message = record.args().to_string();
            let members = [
                ("level", level.into()),
                ("target", record.target().into()),
                ("message", message.into()),
            ];
            self.0.event("library", &members);
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_is_written_in_order() {
        let memory = Memory::default();
        let log = Log::to(Box::new(memory.clone()));
        for n in 0..1000 {
            log.line(n.to_string().as_bytes());
        }
        log.event("listening", &[("address", "127.0.0.1:1\n".into())]);
        log.close();
        let text = String::from_utf8(lock(&memory.0).clone()).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1001);
        assert_eq!(lines[999], "999");
        assert!(lines[1000].contains(r#""event":"listening","address":"127.0.0.1:1\n""#));
    }

    #[test]
    fn a_sink_that_fails_does_not_stop_anything() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("disk full"))
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let log = Log::to(Box::new(Full));
        log.line(b"lost");
        log.close();
        assert_eq!(log.dropped(), 0);
    }
}
