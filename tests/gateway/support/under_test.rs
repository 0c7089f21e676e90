//! A gateway in this process, started as `erpgate run` starts it.

use super::{Answer, Folder, Raw, wait_for};
use erpgate::adapters::log::Log;
use erpgate::cli::serving::{self, Origin, Serving};
use serde_json::Value;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A running gateway with its folder and its log.
pub struct UnderTest {
    pub serving: Serving,
    pub folder: Folder,
    pub log: Lines,
}

/// The log of a gateway under test.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8")
    }

    /// Waits for a line with these members.
    pub async fn line(&self, members: &[(&str, Value)]) -> Value {
        wait_for(&format!("a log line with {members:?}"), async || {
            let text = self.text();
            let mut lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            lines.find(|line: &Value| members.iter().all(|(name, value)| &line[*name] == value))
        })
        .await
    }
}

/// The head of every test's configuration: one plain listener and the admin listener.
pub const HEAD: &str = r#"
[[listener]]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
"#;

/// One vendor and one route to it under `/v`, with further lines for both.
///
/// With `ERPGATE_TEST_LANE=vendor` in the environment the same tests take the vendor lane: the
/// vendor gets a limit of requests at a time, and only bodies without a limit stream.
pub fn to_vendor(vendor: SocketAddr, vendor_lines: &str, route_lines: &str) -> String {
    let own = ["concurrency", "pool"].iter().any(|key| vendor_lines.contains(key));
    let other = std::env::var("ERPGATE_TEST_LANE").is_ok_and(|lane| lane == "vendor");
    let lane = if other && !own { "concurrency = 1000" } else { "" };
    format!(
        "[vendors.v]\nbase_url = \"http://{vendor}\"\n{lane}\n{vendor_lines}\n\
         [[route]]\nname = \"r\"\npath = \"/v\"\nvendor = \"v\"\n{route_lines}\n"
    )
}

impl UnderTest {
    /// Starts with this configuration; it has to be free of problems.
    pub async fn start(config: &str) -> UnderTest {
        UnderTest::start_in(Folder::with(config)).await
    }

    /// The usual one: a plain listener, a route `/v` to one vendor.
    pub async fn before(vendor: SocketAddr) -> UnderTest {
        UnderTest::start(&format!("{HEAD}{}", to_vendor(vendor, "", ""))).await
    }

    /// Starts in a folder that is made already.
    pub async fn start_in(folder: Folder) -> UnderTest {
        let origin = Origin::new(&folder.config(), false);
        let loaded = origin.read();
        let problems = loaded.human();
        let config = loaded.config.unwrap_or_else(|| panic!("{problems}"));
        let log = Lines::default();
        let sink = Log::to(Box::new(log.clone()));
        let serving = serving::start(&origin, config, sink, false).await;
        UnderTest { serving: serving.expect("serves"), folder, log }
    }

    /// Leaves at once, and what it has written stays.
    pub async fn leave(self) -> Folder {
        let UnderTest { serving, folder, .. } = self;
        serving.drain(Duration::from_millis(1), false).await;
        folder
    }

    /// The address of listener number `index`.
    pub fn address(&self, index: usize) -> SocketAddr {
        self.serving.gateway.addresses[index].1
    }

    /// A raw connection to the first listener.
    pub async fn connect(&self) -> Raw {
        Raw::connect(self.address(0)).await
    }

    /// Sends octets on a new connection and reads one answer.
    pub async fn send(&self, octets: impl AsRef<[u8]>) -> Answer {
        let mut raw = self.connect().await;
        raw.send(octets).await;
        raw.answer().await
    }

    /// A GET of this target.
    pub async fn get(&self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: gw.test\r\n\r\n")).await
    }

    /// Waits until so many requests are over for the gateway too: a connection to a vendor is back
    /// in its pool only then.
    pub async fn settled(&self, requests: usize) {
        wait_for(&format!("{requests} records"), async || {
            let text = self.log.text();
            let records = text.lines().filter(|line| line.contains("\"event\":\"request\""));
            (records.count() >= requests).then_some(())
        })
        .await;
    }

    /// A GET on the admin listener.
    pub async fn admin_get(&self, path: &str) -> Answer {
        let mut raw = Raw::connect(self.serving.admin).await;
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        raw.answer().await
    }

    /// The value of a metric with these labels; 0 if it is not there.
    pub async fn metric(&self, name_and_labels: &str) -> f64 {
        let answer = self.admin_get("/metrics").await;
        let text = answer.text();
        let found = text.lines().find_map(|line| line.strip_prefix(name_and_labels));
        found.map_or(0.0, |value| value.trim().parse().expect("a number"))
    }
}
