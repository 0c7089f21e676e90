//! A vendor that stores the exact octets it receives and answers as it is told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What to do with a request that has come in.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Write these octets and wait for the next request.
    Octets(Vec<u8>),
    /// Write these octets and close.
    Close(Vec<u8>),
    /// Reset the connection.
    Reset,
    /// Say nothing, ever.
    Hang,
}

impl Reply {
    /// A 200 with this body.
    pub fn ok(body: &str) -> Reply {
        Reply::text(&format!("200 OK\r\nContent-Length: {}", body.len()), body)
    }

    /// A head without its first word and last line, and a body.
    pub fn text(head: &str, body: &str) -> Reply {
        Reply::Octets(format!("HTTP/1.1 {head}\r\n\r\n{body}").into_bytes())
    }
}

/// A recording vendor.
pub struct Vendor {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
    /// Keeps the gate from being taken for one that nobody holds any more.
    gate: Option<watch::Sender<bool>>,
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Vendor {
    /// Answers each request with `reply`, given the octets of the request.
    pub async fn answering(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Vendor {
        Vendor::counting(move |request, _| reply(request)).await
    }

    /// The same, given too how many requests came before it on its connection.
    pub async fn counting(reply: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Vendor {
        let (gate, open) = watch::channel(true);
        let mut vendor = Vendor::with_gate(reply, open).await;
        vendor.gate = Some(gate);
        vendor
    }

    async fn with_gate(
        reply: impl Fn(&str, usize) -> Reply + Send + Sync + 'static,
        gate: watch::Receiver<bool>,
    ) -> Vendor {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (for_seen, counted) = (seen.clone(), connections.clone());
        let reply = Arc::new(reply);
        let accepting = tokio::spawn(async move {
            while let Ok((tcp, _)) = socket.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(tcp, reply.clone(), for_seen.clone(), gate.clone()));
            }
        });
        Vendor { address, seen, connections, accepting, gate: None }
    }

    /// Answers each request only once the gate is open.
    pub async fn gated(
        reply: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> (Vendor, watch::Sender<bool>) {
        let (gate, closed) = watch::channel(false);
        let mut vendor = Vendor::with_gate(move |request, _| reply(request), closed).await;
        vendor.gate = Some(gate.clone());
        (vendor, gate)
    }

    /// Answers everything with 200 and `fine`.
    pub async fn fine() -> Vendor {
        Vendor::answering(|_| Reply::ok("fine")).await
    }

    /// The requests so far, octet by octet.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").clone()
    }

    /// The one request so far.
    pub fn only(&self) -> String {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:#?}");
        seen[0].clone()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// The value of a field in a recorded request.
pub fn field(request: &str, name: &str) -> Option<String> {
    let head = request.split("\r\n\r\n").next().expect("a head");
    let values: Vec<&str> = head
        .split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

async fn serve(
    mut tcp: TcpStream,
    reply: Arc<impl Fn(&str, usize) -> Reply + Send + Sync + 'static>,
    seen: Arc<Mutex<Vec<String>>>,
    mut gate: watch::Receiver<bool>,
) {
    let mut buffer = Vec::new();
    let mut before = 0;
    while let Some(request) = read_request(&mut tcp, &mut buffer).await {
        seen.lock().expect("no panic").push(request.clone());
        before += 1;
        // Ends with the vendor.
        let _ = gate.wait_for(|open| *open).await;
        match reply(&request, before - 1) {
            Reply::Octets(octets) => {
                if tcp.write_all(&octets).await.is_err() {
                    return;
                }
            }
            Reply::Close(octets) => {
                let _ = tcp.write_all(&octets).await;
                let _ = tcp.shutdown().await;
                return;
            }
            Reply::Reset => {
                tcp.set_zero_linger().expect("set");
                return;
            }
            Reply::Hang => {
                let mut rest = [0; 1024];
                while matches!(tcp.read(&mut rest).await, Ok(1..)) {}
                return;
            }
        }
    }
}

/// Reads one request, framed by Content-Length or chunks; `None` when the connection ends before
/// it is complete.
pub async fn read_request<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
) -> Option<String> {
    loop {
        if let Some(length) = complete(buffer) {
            let request: Vec<u8> = buffer.drain(..length).collect();
            return Some(String::from_utf8_lossy(&request).into_owned());
        }
        let mut part = [0; 16384];
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => buffer.extend_from_slice(&part[..read]),
        }
    }
}

/// The length of the first request in the buffer, once it is complete.
fn complete(buffer: &[u8]) -> Option<usize> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
    if head.contains("transfer-encoding: chunked") {
        let last = buffer[end..].windows(5).position(|window| window == b"0\r\n\r\n")?;
        return Some(end + last + 5);
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.trim().parse().expect("a number"));
    (buffer.len() >= end + length).then_some(end + length)
}
