//! Keyed writes over connections that stay: what is asked, and what was told, counted by kind.

use crate::credential::TOKEN;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What is read at a time; no answer here is larger.
const PIECE: usize = 16 << 10;
/// Stands where the key comes.
const KEY: &str = "________-____-____-____-____________";

/// How the keys of a round are made.
#[derive(Clone, Copy)]
pub enum Keys {
    /// Each request has one of its own.
    Each(u64),
    /// All connections come with the same one at a time.
    Shared(u64),
}

/// Answers of a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// From the vendor.
    pub fresh: usize,
    /// Given again.
    pub replayed: usize,
    /// 409.
    pub in_flight: usize,
    /// 422.
    pub reused: usize,
}

/// A write as integrations send them, with the key left open.
pub struct Request {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Request {
    /// To this route; `quantity` makes another body of it.
    pub fn new(address: SocketAddr, route: &str, quantity: u32) -> Arc<Request> {
        let token = &*TOKEN;
        let order = format!(r#"{{"entity":{{"id":"107"}},"quantity":"{quantity:04}","#);
        let body = format!("{order}\"memo\":\"{}\"}}", "x".repeat(450));
        let request = format!(
            "POST /{route}/services/rest/record/v1/salesOrder HTTP/1.1\r\n\
             Host: {address}\r\n\
             User-Agent: integration/2.7 (order export)\r\n\
             Accept: application/json\r\n\
             Authorization: Bearer {token}\r\n\
             Content-Type: application/json\r\n\
             Idempotency-Key: {KEY}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (before, after) = request.split_once(KEY).unwrap_or_default();
        Arc::new(Request { before: before.into(), after: after.into() })
    }

    fn with(&self, key: u64, into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(&self.before);
        // Scattered, as those of clients are.
        let high = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        into.extend_from_slice(format!("{high:016x}-{key:019x}").as_bytes());
        into.extend_from_slice(&self.after);
    }
}

/// Opens connections.
pub async fn open(address: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        all.push(stream);
    }
    Ok(all)
}

/// Sends so many writes over each of the connections.
pub async fn round(
    connections: &mut Vec<TcpStream>,
    request: &Arc<Request>,
    keys: Keys,
    each: u32,
) -> io::Result<Told> {
    let mut tasks = JoinSet::new();
    for (number, mut stream) in (0u64..).zip(connections.drain(..)) {
        let request = request.clone();
        tasks.spawn(async move {
            let (mut told, mut octets) = (Told::default(), Vec::new());
            let mut scratch = vec![0; PIECE];
            for step in 0..u64::from(each) {
                let key = match keys {
                    Keys::Each(first) => first + number * u64::from(each) + step,
                    Keys::Shared(first) => first + step,
                };
                request.with(key, &mut octets);
                stream.write_all(&octets).await?;
                answer(&mut stream, &mut scratch, &mut told).await?;
            }
            Ok::<_, io::Error>((stream, told))
        });
    }
    let mut all = Told::default();
    // In the order in which they end: keys belong to rounds, not to connections.
    while let Some(ended) = tasks.join_next().await {
        let (stream, told) = ended??;
        connections.push(stream);
        all.fresh += told.fresh;
        all.replayed += told.replayed;
        all.in_flight += told.in_flight;
        all.reused += told.reused;
    }
    Ok(all)
}

/// Reads one answer, and counts it.
async fn answer(stream: &mut TcpStream, scratch: &mut [u8], told: &mut Told) -> io::Result<()> {
    let mut filled = 0;
    loop {
        let read = stream.read(scratch.get_mut(filled..).unwrap_or_default()).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        let received = scratch.get(..filled).unwrap_or_default();
        let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(received.get(..end).unwrap_or_default()).to_lowercase();
        let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.and_then(|it| it.trim().parse().ok()).unwrap_or(usize::MAX);
        if filled < length.saturating_add(end + 4) && length <= PIECE {
            continue;
        }
        let replayed = head.contains("\r\nidempotency-replayed: true");
        match head.get(9..12) {
            Some("200") if replayed => told.replayed += 1,
            Some("200") => told.fresh += 1,
            Some("409") => told.in_flight += 1,
            Some("422") => told.reused += 1,
            _ => return Err(io::Error::other(String::from_utf8_lossy(received).into_owned())),
        }
        return if length <= PIECE { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) };
    }
}
