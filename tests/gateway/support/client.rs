//! A client that sends octets and reads answers, and repairs nothing.
//!
//! It shows the key of the one client that every test's policies allow everything, unless it is
//! bare: each request that has a `Host` gets an `X-API-Key` before it.

use super::within;
use serde_json::Value;
use std::borrow::Cow;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection.
pub struct Raw<S = TcpStream> {
    pub stream: S,
    buffer: Vec<u8>,
    bare: bool,
}

/// An answer as it was received.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body ended as its framing says.
    pub complete: bool,
}

impl Answer {
    /// The value of a field; several lines are joined as a list.
    pub fn field(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .fields
            .iter()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The slug of a problem, after checking what each one has to have.
    pub fn slug(&self) -> String {
        let problem = self.json();
        let slug = problem["code"].as_str().expect("a slug").to_owned();
        assert_eq!(self.field("content-type").as_deref(), Some("application/problem+json"));
        assert_eq!(self.field("cache-control").as_deref(), Some("no-store"));
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["type"], format!("urn:erpgate:problem:{slug}"));
        let id = self.field("x-correlation-id").expect("a correlation id");
        assert_eq!(problem["correlation_id"], id);
        assert_eq!(problem["instance"], format!("urn:erpgate:request:{id}"));
        assert!(self.field("proxy-status").expect("Proxy-Status").starts_with("erpgate; error="));
        assert!(self.field("date").is_some());
        slug
    }
}

impl Raw<TcpStream> {
    pub async fn connect(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).await.expect("connects");
        stream.set_nodelay(true).expect("set");
        Raw::over(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub fn over(stream: S) -> Raw<S> {
        Raw { stream, buffer: Vec::new(), bare: false }
    }

    /// Shows no key of its own accord.
    pub fn bare(mut self) -> Raw<S> {
        self.bare = true;
        self
    }

    fn keyed<'o>(&self, octets: &'o [u8]) -> Cow<'o, [u8]> {
        let host = b"\r\nHost: ";
        if self.bare || find(octets, host).is_none() {
            return Cow::Borrowed(octets);
        }
        let key = format!("\r\nX-API-Key: {}", super::key());
        let (mut keyed, mut rest) = (Vec::new(), octets);
        while let Some(at) = find(rest, host) {
            keyed.extend_from_slice(&rest[..at]);
            keyed.extend_from_slice(key.as_bytes());
            keyed.extend_from_slice(host);
            rest = &rest[at + host.len()..];
        }
        keyed.extend_from_slice(rest);
        Cow::Owned(keyed)
    }

    pub async fn send(&mut self, octets: impl AsRef<[u8]>) {
        let octets = self.keyed(octets.as_ref()).into_owned();
        self.stream.write_all(&octets).await.expect("sent");
        self.stream.flush().await.expect("sent");
    }

    /// Sends as much as the other side takes.
    pub async fn try_send(&mut self, octets: impl AsRef<[u8]>) -> std::io::Result<()> {
        let octets = self.keyed(octets.as_ref()).into_owned();
        self.stream.write_all(&octets).await?;
        self.stream.flush().await
    }

    /// Reads the next answer, interim ones left out.
    pub async fn answer(&mut self) -> Answer {
        loop {
            let answer = self.any_answer(false).await;
            if answer.status >= 200 {
                return answer;
            }
        }
    }

    /// Reads the next answer to a HEAD.
    pub async fn head_answer(&mut self) -> Answer {
        self.any_answer(true).await
    }

    /// Reads the next head, interim or not, and the body behind it.
    pub async fn any_answer(&mut self, to_head: bool) -> Answer {
        within("an answer", self.read_answer(to_head)).await.expect("an answer, not an end")
    }

    /// Reads the next answer; `None` if the connection ends first.
    pub async fn answer_or_end(&mut self) -> Option<Answer> {
        within("an answer", self.read_answer(false)).await
    }

    async fn read_answer(&mut self, to_head: bool) -> Option<Answer> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                return None;
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
        let status_line = lines.next().expect("a status line");
        let status = status_line.split(' ').nth(1).expect("a status").parse().expect("a number");
        let fields: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').expect("a field"))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer { status, fields, body: Vec::new(), complete: true };
        if !(to_head || status < 200 || status == 204 || status == 304) {
            self.read_body(&mut answer).await;
        }
        Some(answer)
    }

    async fn read_body(&mut self, answer: &mut Answer) {
        if answer.field("transfer-encoding").is_some() {
            self.read_chunks(answer).await;
        } else if let Some(length) = answer.field("content-length") {
            let length: usize = length.parse().expect("a number");
            while self.buffer.len() < length && self.more().await {}
            answer.complete = self.buffer.len() >= length;
            answer.body = self.buffer.drain(..length.min(self.buffer.len())).collect();
        } else {
            while self.more().await {}
            answer.body = std::mem::take(&mut self.buffer);
        }
    }

    async fn read_chunks(&mut self, answer: &mut Answer) {
        loop {
            let Some(at) = find(&self.buffer, b"\r\n") else {
                if self.more().await {
                    continue;
                }
                answer.complete = false;
                return;
            };
            let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
            let size = line.split(';').next().expect("a size").trim();
            let size = usize::from_str_radix(size, 16).expect("hexadecimal");
            while self.buffer.len() < at + 2 + size + 2 {
                if !self.more().await {
                    answer.complete = false;
                    return;
                }
            }
            answer.body.extend_from_slice(&self.buffer[at + 2..at + 2 + size]);
            self.buffer.drain(..at + 2 + size + 2);
            if size == 0 {
                return;
            }
        }
    }

    async fn more(&mut self) -> bool {
        let mut part = [0; 16384];
        match self.stream.read(&mut part).await {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.buffer.extend_from_slice(&part[..read]);
                true
            }
        }
    }

    /// Waits for the end of the connection; whatever comes before it is a mistake.
    pub async fn ended(&mut self) {
        let more = within("the end of the connection", self.more()).await;
        assert!(!more, "{:?}", String::from_utf8_lossy(&self.buffer));
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
