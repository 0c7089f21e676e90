//! The vendor: books what it is sent, and answers as vendors do on their worst day.
//!
//! It lives in the process of the test, so that it outlives every gateway, and knows the truth.

pub mod books;
pub mod temper;

use crate::message::{Link, Message};
use crate::plan::ANSWER_MAX;
use crate::pulse::Pulse;
use crate::write::Lane;
use books::{Arrival, Books};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use temper::{Act, Booked, Look, Temper};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A vendor that serves until it is dropped.
pub struct Vendor {
    pub address: SocketAddr,
    pub books: Arc<Books>,
    desk: Arc<Desk>,
    accepting: JoinHandle<()>,
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Vendor {
    pub async fn start(seed: u64, temper: Temper, pulse: Pulse) -> Vendor {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("bound");
        let books = Books::new(pulse);
        let desk = Arc::new(Desk { seed, books: books.clone(), temper: Mutex::new(temper) });
        let serving = desk.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((tcp, _)) = socket.accept().await {
                tokio::spawn(serve(Link::over(tcp), serving.clone()));
            }
        });
        Vendor { address, books, desk, accepting }
    }

    /// From now on.
    pub fn becomes(&self, temper: Temper) {
        *self.desk.temper.lock().expect("no panic") = temper;
    }
}

struct Desk {
    seed: u64,
    books: Arc<Books>,
    temper: Mutex<Temper>,
}

/// What becomes of the connection.
enum After {
    Next,
    Close,
    Reset,
}

async fn serve(mut link: Link, desk: Arc<Desk>) {
    loop {
        let Some(request) = link.request().await else { return };
        let after = match request.words().0 {
            "POST" => desk.write(&mut link, &request).await,
            "GET" => desk.look_up(&mut link, &request).await,
            _ => {
                desk.books.offend(format!("`{}` was not asked for", request.start));
                After::Close
            }
        };
        match after {
            After::Next => {}
            After::Close => return link.close().await,
            After::Reset => return link.reset(),
        }
    }
}

impl Desk {
    fn temper(&self) -> Temper {
        self.temper.lock().expect("no panic").clone()
    }

    async fn write(&self, link: &mut Link, request: &Message) -> After {
        let Some(arrival) = self.arrival(request) else { return After::Close };
        let id = number(&arrival.external_id);
        match self.temper() {
            Temper::Calm => self.book_and_answer(link, &arrival).await,
            Temper::Wild => {
                self.act(temper::act(self.seed, id, arrival.count), link, arrival).await
            }
            Temper::Gated(gate) => {
                tokio::select! {
                    permit = gate.acquire() => {
                        permit.expect("open").forget();
                        self.book_and_answer(link, &arrival).await
                    }
                    () = link.gone() => {
                        if temper::books_alone(self.seed, id) {
                            self.books.book(&arrival);
                        }
                        After::Close
                    }
                }
            }
        }
    }

    /// What came in; something that no client has sent is an offense.
    fn arrival(&self, request: &Message) -> Option<Arrival> {
        let lane = Lane::named(request.words().1.split('/').nth(1)?)?;
        let body = request.json();
        let Some(external_id) = body["externalId"].as_str() else {
            self.books.offend(format!("a body without its id: {request:?}"));
            return None;
        };
        let raw = request.fields.iter().find(|(_, value)| value.contains("torture-key"));
        if let Some((name, value)) = raw {
            self.books.offend(format!("{external_id} came with `{name}: {value}`"));
        }
        Some(self.books.arrive(lane, external_id, request.field("x-vendor-key")))
    }

    async fn act(&self, act: Act, link: &mut Link, arrival: Arrival) -> After {
        match act {
            Act::Answer(before, after) => {
                let _ = tokio::time::timeout(before, link.gone()).await;
                let Some(record) = self.books.book(&arrival) else { return After::Close };
                let _ = tokio::time::timeout(after, link.gone()).await;
                say(link, &created(&arrival, record, 0)).await
            }
            Act::Alone(time) => {
                let _ = tokio::time::timeout(time, link.gone()).await;
                self.book_and_answer(link, &arrival).await
            }
            Act::Pieces => match self.books.book(&arrival) {
                Some(record) => in_pieces(link, &created(&arrival, record, 0)).await,
                None => After::Close,
            },
            Act::Large => match self.books.book(&arrival) {
                Some(record) => say(link, &created(&arrival, record, ANSWER_MAX)).await,
                None => After::Close,
            },
            Act::Vanish { reset, booked } => {
                match booked {
                    Booked::Before => drop(self.books.book(&arrival)),
                    Booked::After(time) => {
                        let (late, books) = (self.books.later(), self.books.clone());
                        tokio::spawn(async move {
                            tokio::time::sleep_until(Instant::now() + time).await;
                            books.book(&arrival);
                            drop(late);
                        });
                    }
                    Booked::Never => {}
                }
                if reset { After::Reset } else { After::Close }
            }
            Act::Fail { status, booked } => {
                if booked {
                    self.books.book(&arrival);
                }
                let problem = json!({ "by": "failure", "externalId": arrival.external_id });
                say(link, &octets(status, "", &problem.to_string())).await
            }
            Act::Throttle => say(link, &octets(429, "", "{\"by\":\"throttle\"}")).await,
            Act::Refuse => {
                let refusal = json!({ "by": "refusal", "externalId": arrival.external_id });
                say(link, &octets(422, "", &refusal.to_string())).await
            }
            Act::Cut { reset } => {
                let Some(record) = self.books.book(&arrival) else { return After::Close };
                let whole = created(&arrival, record, 0);
                link.send(&whole[..whole.len() - 5]).await;
                if reset { After::Reset } else { After::Close }
            }
            Act::Garbage => {
                self.books.book(&arrival);
                link.send(b"220 mail.example.com ESMTP\r\n\r\n").await;
                After::Close
            }
            Act::Silence { booked } => {
                if booked {
                    self.books.book(&arrival);
                }
                link.gone().await;
                After::Close
            }
        }
    }

    async fn book_and_answer(&self, link: &mut Link, arrival: &Arrival) -> After {
        match self.books.book(arrival) {
            Some(record) => say(link, &created(arrival, record, 0)).await,
            None => After::Close,
        }
    }

    /// `GET /LANE/records/eid:NAME`: what it says was true when it was asked.
    async fn look_up(&self, link: &mut Link, request: &Message) -> After {
        let name = request.words().1.split_once(":").map_or("", |(_, name)| name);
        let (external_id, entry) = self.books.look(name);
        let look = match self.temper() {
            Temper::Wild => temper::look(self.seed, number(&external_id), entry.looks),
            Temper::Calm | Temper::Gated(_) => Look::Answer(std::time::Duration::ZERO),
        };
        let record = json!({
            "by": "look-up", "externalId": external_id, "record": entry.record, "look": entry.looks
        });
        let answer = match entry.booked {
            0 => octets(404, "", "{\"by\":\"look-up\"}"),
            _ => {
                let field = format!("X-Record: {}\r\n", entry.record);
                octets(200, &field, &record.to_string())
            }
        };
        match look {
            Look::Answer(after) => {
                let _ = tokio::time::timeout(after, link.gone()).await;
                say(link, &answer).await
            }
            Look::Fail(status) => say(link, &octets(status, "", "{}")).await,
            Look::Vanish => After::Reset,
            Look::Cut => {
                link.send(&answer[..answer.len() - 5]).await;
                After::Close
            }
            Look::Garbage => {
                link.send(b"?\r\n\r\n").await;
                After::Close
            }
        }
    }
}

/// The number in an external id.
fn number(external_id: &str) -> u64 {
    external_id.rsplit('-').next().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

/// The answer to who has a write booked, with so many further octets.
fn created(arrival: &Arrival, record: u64, filling: usize) -> Vec<u8> {
    let body = json!({
        "by": "booking", "externalId": arrival.external_id, "record": record,
        "filling": ".".repeat(filling)
    });
    octets(201, &format!("X-Record: {record}\r\n"), &body.to_string())
}

fn octets(status: u16, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Said So\r\n{fields}Content-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

async fn say(link: &mut Link, octets: &[u8]) -> After {
    if link.send(octets).await { After::Next } else { After::Close }
}

/// The same answer in chunks, the head in two parts.
async fn in_pieces(link: &mut Link, octets: &[u8]) -> After {
    let text = String::from_utf8_lossy(octets);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return After::Close };
    let fields = head.split("\r\n").filter(|line| !line.starts_with("Content-Length"));
    let head = fields.collect::<Vec<_>>().join("\r\n");
    let (first, second) = head.split_at(head.len() / 2);
    let (begin, end) = body.split_at(body.len() / 2);
    let chunk = |part: &str| format!("{:x}\r\n{part}\r\n", part.len());
    let rest = format!("{second}\r\nTransfer-Encoding: chunked\r\n\r\n{}", chunk(begin));
    for piece in [first.to_owned(), rest, format!("{}0\r\n\r\n", chunk(end))] {
        if !link.send(piece.as_bytes()).await {
            return After::Close;
        }
        tokio::task::yield_now().await;
    }
    After::Next
}
