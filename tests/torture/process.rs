//! The real `erpgate run` as a process that is made to die.

use crate::plan::binary;
use crate::site::Site;
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;

/// How long a gateway may take to serve, and to leave.
const PATIENCE: Duration = Duration::from_secs(60);
/// The last words of a gateway that are kept.
const LINES_MAX: usize = 60;

/// A gateway. Dropping it kills it.
pub struct Process {
    child: Child,
    ears: Vec<JoinHandle<()>>,
    heard: Arc<Mutex<Heard>>,
}

/// What it has said.
#[derive(Default)]
struct Heard {
    listening: usize,
    leaving: bool,
    last: VecDeque<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts a gateway, which does not serve yet. A signal that the shell is told to ignore is
    /// ignored by the gateway too: what it does when a file may not grow is its own affair then.
    pub fn start(site: &Site, arguments: &[&str]) -> Process {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg("trap '' XFSZ; exec \"$0\" \"$@\"")
            .arg(binary())
            .args(["run", "--config"])
            .arg(site.config_path())
            .args(arguments)
            .current_dir(site.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let heard = Arc::default();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let ears = vec![
            listen(stdout.expect("piped"), Arc::clone(&heard)),
            listen(stderr.expect("piped"), Arc::clone(&heard)),
        ];
        Process { child, ears, heard }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// A signal by its name, as in `TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").arg(format!("-{name}")).arg(id).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIG{name} was not sent");
    }

    /// Stops it where it is: no thread of it is in a call to the system any more that does
    /// something.
    pub async fn halt(&self) {
        self.signal("STOP");
        let deadline = Instant::now() + PATIENCE;
        while !self.is_halted() {
            assert!(Instant::now() < deadline, "it does not stop");
            tokio::time::sleep(Duration::from_millis(1)).await; // poll interval
        }
    }

    /// Whether each thread is stopped, or none is left.
    fn is_halted(&self) -> bool {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.id())) else {
            return true;
        };
        threads.flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // After the name, which may hold anything but ends with the last parenthesis.
            let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
            matches!(state, None | Some('T' | 't' | 'Z' | 'X'))
        })
    }

    /// Waits until it listens, on its listener and for its operators.
    ///
    /// # Errors
    /// Its last words, if it ended before.
    pub async fn serves(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while self.heard.lock().expect("no panic").listening < 2 {
            if let Some(status) = self.ended() {
                return Err(format!("it ended with {status}:\n{}", self.last_words()));
            }
            if Instant::now() > deadline {
                return Err(format!("it does not serve:\n{}", self.last_words()));
            }
            tokio::time::sleep(Duration::from_millis(2)).await; // poll interval
        }
        Ok(())
    }

    /// Whether it has said that it leaves.
    pub fn leaves(&self) -> bool {
        self.heard.lock().expect("no panic").leaving
    }

    /// How it ended, if it has; then all that it said is heard.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("ours")?;
        for ear in self.ears.drain(..) {
            ear.join().expect("no panic");
        }
        Some(status)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Its last words, if it does not.
    pub async fn end(&mut self) -> Result<ExitStatus, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(format!("it does not end:\n{}", self.last_words()));
            }
            tokio::time::sleep(Duration::from_millis(2)).await; // poll interval
        }
    }

    pub fn last_words(&self) -> String {
        let heard = self.heard.lock().expect("no panic");
        heard.last.iter().map(|line| format!("    {line}\n")).collect()
    }
}

/// Hears what is said, to the end.
fn listen(said: impl Read + Send + 'static, heard: Arc<Mutex<Heard>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            let event = &said["event"];
            let mut heard = heard.lock().expect("no panic");
            heard.listening += usize::from(event == "listening");
            heard.leaving |= event == "leaving";
            // What it says of each request is too much.
            if event != "request" && said["action"] != "access" {
                heard.last.push_back(line);
            }
            if heard.last.len() > LINES_MAX {
                heard.last.pop_front();
            }
        }
    })
}
