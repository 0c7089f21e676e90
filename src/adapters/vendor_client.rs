//! The gateway's own vendor client: one request whose body is at hand, the head of the answer
//! before its body, and a look into the body before any of it goes on.
//!
//! It decides nothing: what failed is told as a [`Failure`], what came back as it came. It stands
//! on `pingora_core`'s connector: the same pools, TLS and versions as the stream lane.

pub mod failures;

use super::body::{Body, Position};
use crate::stages::outcome::Failure;
use bytes::{Bytes, BytesMut};
use http::{Uri, header};
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::{HttpPeer, Peer};
use pingora_core::{Error, ErrorType, OrErr, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Octets that are written at a time, so that a stalled vendor is seen.
const WRITE_BYTES: usize = 64 << 10;
/// How long a vendor may take none of a request: then it is looked whether it has answered.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// How long an answer is looked for that a vendor gave without reading the whole request.
const EARLY_ANSWER: Duration = Duration::from_millis(500);

/// Keeps the connections to vendors.
pub struct VendorClient {
    connector: Connector,
}

/// Where a request goes and how long it may take.
pub struct Way {
    /// The vendor's address and options.
    pub peer: Box<HttpPeer>,
    /// From the last octet of the request to the head of the answer.
    pub response: Duration,
    /// When everything has to be over that is not the answer's body.
    pub deadline: Instant,
}

/// How an attempt went wrong.
#[derive(Debug)]
pub struct Lost {
    /// What failed.
    pub failure: Failure,
    /// The same for operators: nothing of what the vendor or the client sent.
    pub why: String,
    /// Whether an octet may have reached the vendor.
    pub sent: bool,
    /// Whether the connection had been used before: it may have been dead already.
    pub reused: bool,
}

/// An answer whose head is there.
pub struct Answering {
    /// The head.
    pub head: ResponseHeader,
    client: Arc<VendorClient>,
    peer: Box<HttpPeer>,
    /// `None` once the body has ended.
    session: Option<HttpSession>,
    /// Read already, not given yet.
    held: VecDeque<Bytes>,
    /// Whether the whole request went out: the connection may be used again.
    whole: bool,
}

impl VendorClient {
    /// Keeps so many unused connections.
    pub fn new(connections_kept: usize) -> Arc<VendorClient> {
        let options = ConnectorOptions::new(connections_kept);
        Arc::new(VendorClient { connector: Connector::new(Some(options)) })
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// What failed, and whether the vendor may have seen any of it.
    pub async fn send(
        self: &Arc<Self>,
        way: Way,
        head: RequestHeader,
        body: &Body,
    ) -> Result<Answering, Lost> {
        let Way { peer, response, deadline } = way;
        let connecting = timeout_at(deadline, self.connector.get_http_session(&*peer)).await;
        let (mut session, reused) = match connecting {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return Err(Lost::by(error.into_up(), false, false)),
            Err(_) => return Err(Lost::late(failures::of_connecting_too_long(), false)),
        };
        // Streams of HTTP/2 share a connection: that it was used before says nothing of one.
        let reused = reused && session.as_http2().is_none();
        let left = deadline.saturating_duration_since(Instant::now());
        let stall = response.min(left);
        session.set_read_timeout(Some(stall));
        session.set_write_timeout(Some(stall.min(WRITE_STALL)));
        let head = head_for(&session, head, &peer);
        let head = head.map_err(|error| Lost::by(error, false, reused))?;
        let written = timeout_at(deadline, write(&mut session, head, body)).await;
        let whole = matches!(written, Ok(Ok(())));
        let left = deadline.saturating_duration_since(Instant::now());
        let patience = if whole { response.min(left) } else { EARLY_ANSWER };
        let read = timeout(patience, read_head(&mut session)).await;
        let head = match (read, written) {
            (Ok(Ok(head)), _) => head,
            // What kept the request from going out says more than the silence after it.
            (_, Ok(Err(error))) | (Ok(Err(error)), Ok(Ok(()))) => {
                if *error.etype() == ErrorType::H2Downgrade {
                    // It has not looked at the request, and wants it over HTTP/1.1.
                    self.connector.prefer_h1(&*peer);
                    let lost = Lost::by(error.into_up(), true, false);
                    return Err(Lost { failure: Failure::Unprocessed, ..lost });
                }
                return Err(Lost::by(error.into_up(), true, reused));
            }
            _ => return Err(Lost::late(Failure::TimedOut, true)),
        };
        // As in the stream lane: without a further octet for so long, the body has broken off.
        session.set_read_timeout(Some(stall));
        let client = self.clone();
        Ok(Answering { head, client, peer, session: Some(session), held: VecDeque::new(), whole })
    }
}

impl Lost {
    fn by(error: Box<Error>, sent: bool, reused: bool) -> Lost {
        // pingora's own words may hold what was sent.
        let why = format!("{}: {}", error.esource().as_str(), error.etype().as_str());
        Lost { failure: failures::read(&error), why, sent, reused }
    }

    fn late(failure: Failure, sent: bool) -> Lost {
        Lost { failure, why: "no answer in time".to_owned(), sent, reused: false }
    }
}

impl Answering {
    /// Looks into the body: up to `most` octets of it, and whether they are all of it. What was
    /// seen still comes from [`Answering::next`].
    ///
    /// # Errors
    /// The body broke off.
    pub async fn peek(&mut self, most: usize, deadline: Instant) -> Result<(Bytes, bool), Lost> {
        let seen = self.fill(most, deadline).await?;
        let complete = self.session.is_none();
        let mut all = self.seen();
        all.truncate(most);
        Ok((all, complete && seen <= most))
    }

    /// Reads until at least `most` octets of the body are held, or all of it: how many are.
    ///
    /// # Errors
    /// The body broke off.
    pub async fn fill(&mut self, most: usize, deadline: Instant) -> Result<usize, Lost> {
        let mut seen: usize = self.held.iter().map(Bytes::len).sum();
        while seen < most {
            let piece = match timeout_at(deadline, self.read()).await {
                Ok(read) => read?,
                Err(_) => return Err(Lost::late(Failure::TimedOut, true)),
            };
            let Some(piece) = piece else { break };
            seen += piece.len();
            self.held.push_back(piece);
        }
        Ok(seen)
    }

    /// Whether the whole body has come.
    pub fn is_whole(&self) -> bool {
        self.session.is_none()
    }

    /// What is held of the body, in one piece.
    pub fn seen(&self) -> Bytes {
        if let (1, Some(one)) = (self.held.len(), self.held.front()) {
            return one.clone();
        }
        let mut all = BytesMut::with_capacity(self.held.iter().map(Bytes::len).sum());
        self.held.iter().for_each(|piece| all.extend_from_slice(piece));
        all.freeze()
    }

    /// The next piece of the body; `None`: it has ended, and its connection may be used again.
    ///
    /// # Errors
    /// The body broke off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Lost> {
        match self.held.pop_front() {
            Some(piece) => Ok(Some(piece)),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>, Lost> {
        let Some(session) = &mut self.session else { return Ok(None) };
        loop {
            match session.read_response_body().await {
                Ok(Some(piece)) if piece.is_empty() => {}
                Ok(Some(piece)) => return Ok(Some(piece)),
                Ok(None) => break,
                Err(error) => return Err(Lost::by(error.into_up(), true, false)),
            }
        }
        if let Some(session) = self.session.take().filter(|_| self.whole) {
            let idle = self.peer.get_peer_options().and_then(|options| options.idle_timeout);
            self.client.connector.release_http_session(session, &*self.peer, idle).await;
        }
        Ok(None)
    }
}

/// HTTP/2 names the scheme and the authority in the target (RFC 9113 §8.3.1).
fn head_for(
    session: &HttpSession,
    mut head: RequestHeader,
    peer: &HttpPeer,
) -> Result<Box<RequestHeader>> {
    if session.as_http2().is_some() {
        let invalid = |cause| {
            let kind = ErrorType::InvalidHTTPHeader;
            Error::because(kind, "the target can't be sent over HTTP/2", cause)
        };
        let authority = head.headers.get(header::HOST).map_or(&b""[..], |host| host.as_bytes());
        let uri = Uri::builder()
            .scheme(if peer.is_tls() { "https" } else { "http" })
            .authority(authority)
            .path_and_query(head.raw_path())
            .build()
            .map_err(invalid)?;
        head.set_uri(uri);
        head.remove_header(&header::HOST);
    }
    Ok(Box::new(head))
}

async fn write(session: &mut HttpSession, head: Box<RequestHeader>, body: &Body) -> Result<()> {
    session.write_request_header(head).await?;
    let mut position = Position::default();
    loop {
        let piece = body.next(&mut position).await;
        let Some(mut rest) = piece.or_err(ErrorType::InternalError, "reading a held body")? else {
            return session.finish_request_body().await;
        };
        while !rest.is_empty() {
            let now = rest.split_to(rest.len().min(WRITE_BYTES));
            session.write_request_body(now, false).await?;
        }
    }
}

/// The first head that is not an interim one: those stay here (RFC 9110 §15.2).
async fn read_head(session: &mut HttpSession) -> Result<ResponseHeader> {
    loop {
        session.read_response_header().await?;
        let head = session.response_header();
        let head = head.ok_or_else(|| Error::new_up(ErrorType::ReadError))?;
        let status = head.status.as_u16();
        if !(100..200).contains(&status) || status == 101 {
            return Ok(head.clone());
        }
    }
}
