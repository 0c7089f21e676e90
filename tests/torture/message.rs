//! HTTP/1.1 as octets on a socket, for the vendor and for the clients: it shares no line with the
//! gateway, and a message that ends too early is no surprise to it.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One end of a connection.
pub struct Link {
    tcp: TcpStream,
    buffer: Vec<u8>,
}

/// A request or an answer.
#[derive(Clone, Debug)]
pub struct Message {
    /// The first line.
    pub start: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body ended as its framing says.
    pub complete: bool,
}

impl Message {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let named = self.fields.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    /// The words of the first line: a method and a path, or a version and a status.
    pub fn words(&self) -> (&str, &str) {
        let mut words = self.start.split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    /// The status of an answer.
    pub fn status(&self) -> Option<u16> {
        self.words().1.parse().ok()
    }

    /// The body as JSON; `null` if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Link {
    pub fn over(tcp: TcpStream) -> Link {
        // It only delays what is measured in no way.
        let _ = tcp.set_nodelay(true);
        Link { tcp, buffer: Vec::new() }
    }

    /// `None`: nobody listens.
    pub async fn connect(address: SocketAddr) -> Option<Link> {
        Some(Link::over(TcpStream::connect(address).await.ok()?))
    }

    /// `false`: the other end is gone.
    pub async fn send(&mut self, octets: &[u8]) -> bool {
        self.tcp.write_all(octets).await.is_ok()
    }

    /// Reads a request; `None`: there is none, or only a part.
    pub async fn request(&mut self) -> Option<Message> {
        let message = self.message(false).await?;
        message.complete.then_some(message)
    }

    /// Reads an answer, which may be cut; `None`: there is none, or only a part of its head.
    pub async fn answer(&mut self) -> Option<Message> {
        loop {
            let message = self.message(true).await?;
            if message.status().is_none_or(|status| status >= 200) {
                return Some(message);
            }
        }
    }

    /// Waits until the other end is gone, or sends what it should not yet.
    pub async fn gone(&mut self) {
        self.more().await;
    }

    /// Says no more, in good order.
    pub async fn close(mut self) {
        // The other end may have gone first.
        let _ = self.tcp.shutdown().await;
    }

    /// Breaks the connection.
    pub fn reset(self) {
        // Without it, it is closed in good order: also an end without an answer.
        let _ = self.tcp.set_zero_linger();
    }

    async fn message(&mut self, answer: bool) -> Option<Message> {
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
        let start = lines.next()?.to_owned();
        let fields = lines.filter_map(|line| line.split_once(':'));
        let fields = fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        let mut message =
            Message { start, fields: fields.collect(), body: Vec::new(), complete: true };
        self.body(&mut message, answer).await;
        Some(message)
    }

    async fn body(&mut self, message: &mut Message, answer: bool) {
        let length = message.field("content-length").map(str::parse::<usize>);
        if message.field("transfer-encoding").is_some() {
            message.complete = self.chunks(&mut message.body).await.is_some();
        } else if let Some(length) = length {
            let length = length.unwrap_or(usize::MAX);
            while self.buffer.len() < length && self.more().await {}
            message.complete = self.buffer.len() >= length;
            message.body = self.buffer.drain(..length.min(self.buffer.len())).collect();
        } else if answer && !matches!(message.status(), Some(..=199 | 204 | 304)) {
            while self.more().await {}
            message.body = std::mem::take(&mut self.buffer);
        }
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> Option<()> {
        loop {
            let end = loop {
                match find(&self.buffer, b"\r\n") {
                    Some(at) => break at,
                    None if self.more().await => {}
                    None => return None,
                }
            };
            let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let line = String::from_utf8_lossy(&line);
            let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            while self.buffer.len() < size + 2 {
                if !self.more().await {
                    body.append(&mut self.buffer);
                    return None;
                }
            }
            body.extend(self.buffer.drain(..size + 2).take(size));
            if size == 0 {
                return Some(());
            }
        }
    }

    async fn more(&mut self) -> bool {
        let mut part = [0; 16384];
        match self.tcp.read(&mut part).await {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.buffer.extend_from_slice(&part[..read]);
                true
            }
        }
    }
}

fn find(octets: &[u8], wanted: &[u8]) -> Option<usize> {
    octets.windows(wanted.len()).position(|window| window == wanted)
}
