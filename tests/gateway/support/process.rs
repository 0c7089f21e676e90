//! The `erpgate` command as a process of its own.

use super::{Folder, wait_for};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A running `erpgate run`. Dropping it kills it.
pub struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts `erpgate run` on a folder, with further arguments.
    pub fn run(folder: &Folder, arguments: &[&str]) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_erpgate"))
            .arg("run")
            .arg("--config")
            .arg(folder.config())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let stdout = child.stdout.take().expect("piped");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("each line is JSON");
                into.lock().expect("no panic").push(line);
            }
        });
        Process { child, lines }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a log line with these members.
    pub async fn line(&self, members: &[(&str, Value)]) -> Value {
        wait_for(&format!("a log line with {members:?}"), async || {
            let lines = self.lines.lock().expect("no panic");
            let matches = |line: &&Value| members.iter().all(|(name, value)| &line[*name] == value);
            lines.iter().find(matches).cloned()
        })
        .await
    }

    /// The address that a listener is bound to.
    pub async fn address(&self, listener: &str) -> SocketAddr {
        let line = self.line(&[("event", "listening".into()), ("listener", listener.into())]).await;
        line["address"].as_str().expect("an address").parse().expect("an address")
    }

    /// Sends a signal by its name, as in `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.id().to_string())
            .status()
            .expect("kill runs");
        assert!(sent.success());
    }

    /// Waits for the end of the process and gives its exit status.
    pub async fn exit_status(&mut self) -> i32 {
        let status =
            wait_for("the end of the process", async || self.child.try_wait().expect("ours")).await;
        status.code().unwrap_or(-1)
    }
}
