//! The load: raw requests over connections that stay, and answers that are counted, not kept.

use crate::credential::TOKEN;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Connections that are busy at a time.
pub const CONNECTIONS: usize = 32;
/// What is read or written at a time.
const PIECE: usize = 128 << 10;

/// A request as integrations send them: ten fields.
pub fn ordinary(address: SocketAddr) -> Arc<[u8]> {
    let token = &*TOKEN;
    let request = format!(
        "GET /erp/services/rest/record/v1/salesOrder/7?expandSubResources=true HTTP/1.1\r\n\
         Host: {address}\r\n\
         User-Agent: integration/2.7 (order export)\r\n\
         Accept: application/json\r\n\
         Accept-Encoding: gzip, deflate\r\n\
         Accept-Language: en\r\n\
         Authorization: Bearer {token}\r\n\
         Content-Type: application/json\r\n\
         Cache-Control: no-cache\r\n\
         Prefer: transient\r\n\
         X-Requested-By: nightly-sync\r\n\r\n"
    );
    request.into_bytes().into()
}

/// A request for an answer of this length.
pub fn download(address: SocketAddr, length: u64) -> Vec<u8> {
    let fields = format!("Host: {address}\r\nAuthorization: Bearer {}\r\n", &*TOKEN);
    format!("GET /bulk/stream/{length} HTTP/1.1\r\n{fields}\r\n").into_bytes()
}

/// The head of a request with a body of this length.
pub fn upload(address: SocketAddr, length: u64) -> Vec<u8> {
    let fields = format!("Host: {address}\r\nAuthorization: Bearer {}\r\n", &*TOKEN);
    format!("POST /bulk/sink HTTP/1.1\r\n{fields}Content-Length: {length}\r\n\r\n").into_bytes()
}

/// Opens connections, each of which has had one answer.
pub async fn open(address: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    let mut tasks = JoinSet::new();
    for task in 0..CONNECTIONS {
        let request = ordinary(address);
        tasks.spawn(async move {
            let mut scratch = vec![0; PIECE];
            let mut opened = Vec::new();
            for _ in (task..count).step_by(CONNECTIONS) {
                let mut stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                exchange(&mut stream, &request, &mut scratch).await?;
                opened.push(stream);
            }
            Ok::<_, io::Error>(opened)
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(opened) = tasks.join_next().await {
        all.extend(opened??);
    }
    Ok(all)
}

/// Sends so many requests over each of the connections, and gives these back.
pub async fn round(
    connections: Vec<TcpStream>,
    request: &Arc<[u8]>,
    each: u32,
) -> io::Result<Vec<TcpStream>> {
    let mut tasks = JoinSet::new();
    for mut stream in connections {
        let request = request.clone();
        tasks.spawn(async move {
            let mut scratch = vec![0; PIECE];
            for _ in 0..each {
                exchange(&mut stream, &request, &mut scratch).await?;
            }
            Ok::<_, io::Error>(stream)
        });
    }
    let mut back = Vec::new();
    while let Some(stream) = tasks.join_next().await {
        back.push(stream??);
    }
    Ok(back)
}

/// Sends a request, then a body of `body` bytes. Returns the length of the answer's body.
pub async fn stream(stream: &mut TcpStream, head: &[u8], body: u64) -> io::Result<u64> {
    stream.write_all(head).await?;
    let mut piece = vec![b'x'; PIECE];
    let mut left = body;
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        stream.write_all(piece.get(..size).unwrap_or_default()).await?;
        left -= size as u64;
    }
    answer(stream, &mut piece).await
}

/// Whether nobody has closed the connection, and nothing waits to be read from it.
pub fn is_open(stream: &TcpStream) -> bool {
    let found = stream.try_read(&mut [0]);
    found.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

async fn exchange(stream: &mut TcpStream, request: &[u8], scratch: &mut [u8]) -> io::Result<u64> {
    stream.write_all(request).await?;
    answer(stream, scratch).await
}

/// Reads one answer and forgets it. Returns the length of its body.
async fn answer(stream: &mut TcpStream, scratch: &mut [u8]) -> io::Result<u64> {
    let mut filled = 0;
    let end = loop {
        filled += read(stream, scratch.get_mut(filled..).unwrap_or_default()).await?;
        let received = scratch.get(..filled).unwrap_or_default();
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = scratch.get(..end).unwrap_or_default();
    let length = body_length(head).ok_or_else(|| {
        let head = String::from_utf8_lossy(head);
        io::Error::other(format!("not an answer with 200 and a length: {head}"))
    })?;
    let mut left = length.checked_sub((filled - end) as u64).ok_or(io::ErrorKind::InvalidData)?;
    while left > 0 {
        let read = read(stream, scratch).await? as u64;
        left = left.checked_sub(read).ok_or(io::ErrorKind::InvalidData)?;
    }
    Ok(length)
}

async fn read(stream: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
    match stream.read(into).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => Ok(read),
    }
}

/// The `Content-Length` of a 200.
fn body_length(head: &[u8]) -> Option<u64> {
    let head = std::str::from_utf8(head).ok()?.strip_prefix("HTTP/1.1 200 ")?;
    let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, length) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    length.trim().parse().ok()
}
