//! Talks HTTP to the simulators in tests, over a bare socket, so that nothing is tidied up.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{IdentityProvider, NetSuite, Options};

/// Every wait ends here, with a failed test.
const PATIENCE: Duration = Duration::from_secs(20);

/// What has a main and a control listener.
pub trait Simulated {
    fn address(&self) -> SocketAddr;
    fn control_address(&self) -> SocketAddr;
}

impl Simulated for NetSuite {
    fn address(&self) -> SocketAddr {
        self.address()
    }

    fn control_address(&self) -> SocketAddr {
        self.control_address()
    }
}

impl Simulated for IdentityProvider {
    fn address(&self) -> SocketAddr {
        self.address()
    }

    fn control_address(&self) -> SocketAddr {
        self.control_address()
    }
}

/// A connection to a simulator.
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// An answer, as it stood on the wire.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub fn code(&self) -> String {
        self.json()["o:errorDetails"][0]["o:errorCode"].as_str().unwrap().to_owned()
    }
}

/// Lets `future` take some time, but not for ever.
pub async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it never happened")
}

impl Client {
    pub async fn connect(simulated: &impl Simulated) -> Client {
        Client::try_connect(simulated).await.unwrap()
    }

    pub async fn try_connect(simulated: &impl Simulated) -> io::Result<Client> {
        let stream = in_time(TcpStream::connect(simulated.address())).await?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    pub async fn connect_control(simulated: &impl Simulated) -> Client {
        let stream = in_time(TcpStream::connect(simulated.control_address())).await.unwrap();
        Client { stream: BufReader::new(stream) }
    }

    pub async fn write(&mut self, text: impl AsRef<[u8]>) {
        in_time(self.stream.get_mut().write_all(text.as_ref())).await.unwrap();
    }

    /// Sends a request with a JSON body, or without one if it is empty.
    pub async fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: erp.test\r\n{headers}");
        if !body.is_empty() {
            let length = body.len();
            text += &format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
        }
        self.write(text + "\r\n" + body).await;
    }

    /// Posts a form.
    pub async fn form(&mut self, path: &str, headers: &str, form: &str) -> Got {
        let length = form.len();
        self.write(format!(
            "POST {path} HTTP/1.1\r\nHost: idp.test\r\n{headers}Content-Length: {length}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}"
        ))
        .await;
        self.answer(true).await.unwrap()
    }

    pub async fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Got {
        self.send(method, path, headers, body).await;
        self.answer(method != "HEAD").await.unwrap()
    }

    /// Reads a head; empty if the connection ended in good order before its first byte.
    pub async fn head(&mut self) -> io::Result<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if in_time(self.stream.read_line(&mut head)).await? == 0 {
                break;
            }
        }
        Ok(head)
    }

    /// Reads an answer, whose body has a length, or is chunked.
    pub async fn answer(&mut self, has_body: bool) -> io::Result<Got> {
        let head = self.head().await?;
        let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        let mut got = Got { status, head, body: Vec::new() };
        if let (true, Some(length)) = (has_body, got.header("content-length")) {
            got.body = vec![0; length.parse().unwrap()];
            in_time(self.stream.read_exact(&mut got.body)).await?;
        } else if got.header("transfer-encoding") == Some("chunked") {
            got.body = self.chunks().await?;
        }
        Ok(got)
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            in_time(self.stream.read_line(&mut line)).await?;
            let length = usize::from_str_radix(line.trim(), 16)
                .map_err(|error| io::Error::new(io::ErrorKind::UnexpectedEof, error))?;
            let mut chunk = vec![0; length + 2];
            in_time(self.stream.read_exact(&mut chunk)).await?;
            if length == 0 {
                return Ok(body);
            }
            body.extend(chunk.iter().take(length));
        }
    }

    /// All that comes until the connection ends.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        in_time(self.stream.read_to_end(&mut rest)).await?;
        Ok(rest)
    }

    /// Whether the next thing that happens is a reset.
    pub async fn is_reset(&mut self) -> bool {
        self.rest().await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
    }
}

pub async fn start(concurrency: usize) -> NetSuite {
    let listen = "127.0.0.1:0".parse().unwrap();
    NetSuite::start(Options { listen, concurrency }).await.unwrap()
}

/// Sends a wish to the control listener; `{}` only looks.
pub async fn control(simulated: &impl Simulated, wish: &str) -> Value {
    let mut client = Client::connect_control(simulated).await;
    let got = client.ask("POST", "/_sandbox/control", "", wish).await;
    assert_eq!(got.status, 200, "{}", String::from_utf8_lossy(&got.body));
    got.json()
}

/// Waits until a number of the control state is `expected`.
pub async fn wait_until(simulated: &impl Simulated, name: &str, expected: u64) {
    let reached = async {
        while control(simulated, "{}").await[name] != expected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    in_time(reached).await;
}
