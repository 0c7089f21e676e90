//! A vendor that costs next to nothing, so that the proxies under measurement get the processor.
//!
//! Usage: `bench_vendor LISTEN`. Every request is answered with 200 on a connection that stays:
//! a target that ends in `/stream/N` with N bytes, a request with a body with how many bytes
//! came in, any other with 1 KiB of JSON. Reads `Content-Length` only, not chunks.

use std::error::Error;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is read or written at a time.
const PIECE: usize = 128 << 10;
/// The body of the ordinary answer.
const JSON_BYTES: usize = 1 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).ok_or("usage: bench_vendor LISTEN")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        let ordinary: Arc<[u8]> = ordinary().into();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let ordinary = ordinary.clone();
            // An error is a proxy that left: nothing to tell anybody.
            tokio::spawn(async move { serve(stream, &ordinary).await });
        }
    })
}

/// The ordinary answer, head and body in one piece.
fn ordinary() -> Vec<u8> {
    let (begin, end) = (r#"{"id":"7","memo":""#, r#""}"#);
    let memo = "x".repeat(JSON_BYTES - begin.len() - end.len());
    let mut answer = head(JSON_BYTES as u64).into_bytes();
    answer.extend_from_slice(format!("{begin}{memo}{end}").as_bytes());
    answer
}

/// A head such as ERPs send.
fn head(length: u64) -> String {
    format!(
        "HTTP/1.1 200 OK\r\n\
         Content-Type: application/json; charset=utf-8\r\n\
         Content-Length: {length}\r\n\
         Date: Sat, 21 Nov 2026 03:38:34 GMT\r\n\
         Cache-Control: private, no-store\r\n\
         Vary: Accept-Encoding\r\n\
         Strict-Transport-Security: max-age=31536000\r\n\
         X-Request-Id: 2f1c6a1e-6d0b-4b7f-9f0e-6f6f1f2a3b4c\r\n\
         Server: bench\r\n\r\n"
    )
}

async fn serve(mut stream: TcpStream, ordinary: &[u8]) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut filled = 0;
    loop {
        let end = loop {
            let read = stream.read(buffer.get_mut(filled..).unwrap_or_default()).await?;
            if read == 0 {
                return Ok(());
            }
            filled += read;
            let received = buffer.get(..filled).unwrap_or_default();
            if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let asked = Asked::read(buffer.get(..end).unwrap_or_default());
        let mut left = asked.body.saturating_sub((filled - end) as u64);
        filled = 0;
        while left > 0 {
            let read = stream.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            left = left.saturating_sub(read as u64);
        }
        match (asked.stream, asked.body) {
            (Some(length), _) => send(&mut stream, length).await?,
            (None, 0) => stream.write_all(ordinary).await?,
            (None, received) => {
                let body = format!(r#"{{"received":{received}}}"#);
                let answer = head(body.len() as u64) + &body;
                stream.write_all(answer.as_bytes()).await?;
            }
        }
    }
}

/// Sends an answer of this length.
async fn send(stream: &mut TcpStream, length: u64) -> io::Result<()> {
    stream.write_all(head(length).as_bytes()).await?;
    let piece = vec![b'x'; PIECE];
    let mut left = length;
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        stream.write_all(piece.get(..size).unwrap_or_default()).await?;
        left -= size as u64;
    }
    Ok(())
}

/// What a request asks for.
struct Asked {
    /// The length of its body.
    body: u64,
    /// The length of the answer, where it asks for one.
    stream: Option<u64>,
}

impl Asked {
    fn read(head: &[u8]) -> Asked {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split("\r\n");
        let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or("");
        let stream = target.rsplit_once("/stream/").and_then(|(_, length)| length.parse().ok());
        let body = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse().ok())?
        });
        Asked { body: body.unwrap_or(0), stream }
    }
}
