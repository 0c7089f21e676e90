//! What is known of one client connection, and what it is doing: the ground for every deadline
//! between requests.

use super::pace::Pace;
use crate::config::Listener;
use crate::tls::TlsFacts;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::task::AbortHandle;

/// One client connection, shared by its task, its requests and the sweeper.
pub struct Connection {
    /// Names it in the table.
    pub id: u64,
    /// The listener that it came in by.
    pub listener: Arc<Listener>,
    /// The peer.
    pub peer: SocketAddr,
    /// What the handshake told.
    pub tls: Option<TlsFacts>,
    /// Of the one request of HTTP/1 that is under way.
    pub pace: Pace,
    activity: Activity,
    unread: AtomicBool,
    retired: AtomicBool,
    closing: AtomicU8,
    closed: AtomicBool,
    task: OnceLock<AbortHandle>,
}

/// What a connection is doing, as far as deadlines go.
struct Activity {
    /// Set once the first bytes are those of HTTP/2: heads are then streams' own affair.
    http2: AtomicBool,
    /// Requests under way.
    requests: AtomicU32,
    /// Whether bytes of a head have come in for which no request has begun.
    in_head: AtomicBool,
    /// Milliseconds of the process's clock when it last changed to what it does now.
    since: AtomicU64,
    /// When the client's socket last took nothing though something was to be written; 0 while it
    /// takes what comes.
    blocked: AtomicU64,
    /// Whether the request line under way needs repair, and whether it was seen at all.
    repaired: AtomicBool,
    seen: AtomicBool,
    /// Octets that came in, and those that requests are known to have used up: where the two
    /// agree, the next octet begins a head. Beyond a chunked body nobody counts any more.
    received: AtomicU64,
    consumed: AtomicU64,
}

/// Stands for a number of octets that is not known.
const UNCOUNTED: u64 = u64::MAX;

/// Why a connection ended; also the metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The client, or the end of the last request, closed it.
    Ended,
    /// No request in time.
    Idle,
    /// The head of a request did not come in time.
    SlowHead,
    /// A head that is not HTTP.
    MalformedHead,
    /// A body made no progress in time.
    SlowBody,
    /// The head of an answer was not there when it had to be.
    Deadline,
    /// The gateway left.
    Draining,
    /// The client's certificate is no longer accepted.
    CertificateRevoked,
    /// The client's certificate has expired since it was shown.
    CertificateExpired,
}

/// What is known of a request line, before the parser repaired it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// It is method, target and version.
    Sound,
    /// It is not.
    Broken,
    /// It came in behind octets that nobody counts: pipelined, or after a chunked body.
    Unseen,
}

/// What octets that came in belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// They begin a head.
    HeadBegins,
    /// They go on with a head, or nobody knows where it began.
    Onward,
    /// A body, or HTTP/2.
    Elsewhere,
}

impl Closing {
    const ALL: [Closing; 9] = [
        Closing::Ended,
        Closing::Idle,
        Closing::SlowHead,
        Closing::MalformedHead,
        Closing::SlowBody,
        Closing::Deadline,
        Closing::Draining,
        Closing::CertificateRevoked,
        Closing::CertificateExpired,
    ];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Closing::Ended => "ended",
            Closing::Idle => "idle-timeout",
            Closing::SlowHead => "header-timeout",
            Closing::MalformedHead => "malformed-head",
            Closing::SlowBody => "body-timeout",
            Closing::Deadline => "deadline",
            Closing::Draining => "draining",
            Closing::CertificateRevoked => "certificate-revoked",
            Closing::CertificateExpired => "certificate-expired",
        }
    }
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(
        id: u64,
        listener: Arc<Listener>,
        peer: SocketAddr,
        tls: Option<TlsFacts>,
        now: u64,
    ) -> Arc<Connection> {
        let http2 = tls.as_ref().is_some_and(|tls| tls.http2);
        Arc::new(Connection {
            id,
            listener,
            peer,
            tls,
            pace: Pace::default(),
            activity: Activity {
                http2: http2.into(),
                requests: AtomicU32::new(0),
                in_head: AtomicBool::new(false),
                since: AtomicU64::new(now),
                blocked: AtomicU64::new(0),
                repaired: AtomicBool::new(false),
                seen: AtomicBool::new(false),
                received: AtomicU64::new(0),
                consumed: AtomicU64::new(0),
            },
            unread: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            closing: AtomicU8::new(0),
            closed: AtomicBool::new(false),
            task: OnceLock::new(),
        })
    }

    /// The connection speaks HTTP/2.
    pub fn speaks_http2(&self) {
        self.activity.http2.store(true, Ordering::Relaxed);
    }

    /// Whether it speaks HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.activity.http2.load(Ordering::Relaxed)
    }

    /// Octets came in. Returns what they belong to.
    pub fn arrived(&self, octets: usize, now: u64) -> Arrived {
        let activity = &self.activity;
        let before = activity.received.fetch_add(octets as u64, Ordering::AcqRel);
        if self.is_http2() || self.has_request() {
            return Arrived::Elsewhere;
        }
        self.head_begins(now);
        if before != activity.consumed.load(Ordering::Acquire) {
            return Arrived::Onward;
        }
        activity.seen.store(true, Ordering::Relaxed);
        Arrived::HeadBegins
    }

    /// The first octets of a head have come in, though nobody has taken them yet.
    pub fn head_begins(&self, now: u64) {
        if !self.activity.in_head.swap(true, Ordering::AcqRel) {
            self.activity.since.store(now, Ordering::Release);
        }
    }

    /// A request of HTTP/1 uses up this many octets; `None`: nobody knows how many.
    pub fn uses_up(&self, octets: Option<u64>) {
        let consumed = &self.activity.consumed;
        let so_far = consumed.load(Ordering::Acquire);
        let sum = octets.filter(|_| so_far != UNCOUNTED).and_then(|more| so_far.checked_add(more));
        consumed.store(sum.unwrap_or(UNCOUNTED), Ordering::Release);
    }

    /// Whether bytes of a head have come in for which no request has begun.
    pub fn is_in_head(&self) -> bool {
        self.activity.in_head.load(Ordering::Acquire)
    }

    /// The request line under way is not method, target and version.
    pub fn head_needs_repair(&self) {
        self.activity.repaired.store(true, Ordering::Relaxed);
    }

    /// A request has begun. Returns what is known of its request line.
    pub fn request_began(&self) -> Line {
        let activity = &self.activity;
        activity.requests.fetch_add(1, Ordering::AcqRel);
        activity.in_head.store(false, Ordering::Release);
        let seen = activity.seen.swap(false, Ordering::Relaxed);
        match activity.repaired.swap(false, Ordering::Relaxed) {
            true => Line::Broken,
            false if seen || self.is_http2() => Line::Sound,
            false => Line::Unseen,
        }
    }

    /// The client's socket takes what is written, or it does not.
    pub fn takes(&self, takes: bool, now: u64) {
        let blocked = &self.activity.blocked;
        match (takes, blocked.load(Ordering::Relaxed)) {
            (true, 0) => {}
            (true, _) => blocked.store(0, Ordering::Relaxed),
            (false, 0) => blocked.store(now.max(1), Ordering::Relaxed),
            (false, _) => {}
        }
    }

    /// A request has ended.
    pub fn request_ended(&self, now: u64) {
        self.pace.rests();
        self.activity.since.store(now, Ordering::Release);
        self.activity.requests.fetch_sub(1, Ordering::AcqRel);
    }

    /// Part of a request stays unread though it was answered.
    pub fn leaves_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Whether part of a request stays unread.
    pub fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Whether a request is under way.
    pub fn has_request(&self) -> bool {
        self.activity.requests.load(Ordering::Acquire) > 0
    }

    /// Whether nothing is under way: no request, no part of one.
    pub fn is_idle(&self) -> bool {
        !self.has_request() && !self.is_in_head()
    }

    /// The deadline that has passed, if one has.
    pub fn overdue(&self, now: u64) -> Option<Closing> {
        if self.has_request() {
            let blocked = self.activity.blocked.load(Ordering::Relaxed);
            let still = Duration::from_millis(now.saturating_sub(blocked));
            if blocked != 0 && still >= self.listener.body_timeout {
                return Some(Closing::SlowBody);
            }
            return self.pace.overdue(now, self.listener.body_timeout);
        }
        let (limit, closing) = match self.is_in_head() {
            true => (self.listener.header_timeout, Closing::SlowHead),
            false => (self.listener.idle_timeout, Closing::Idle),
        };
        let passed = now.saturating_sub(self.activity.since.load(Ordering::Acquire));
        (Duration::from_millis(passed) >= limit).then_some(closing)
    }

    /// Ends the connection; the first reason stays.
    pub fn close(&self, why: Closing) {
        self.note(why);
        self.closed.store(true, Ordering::SeqCst);
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    /// The task that serves the connection: it ends when the connection is closed.
    pub fn ends_with(&self, task: AbortHandle) {
        let task = self.task.get_or_init(|| task);
        // Closed before the task was known.
        if self.closed.load(Ordering::SeqCst) {
            task.abort();
        }
    }

    /// Says why the connection is about to end by itself; the first reason stays.
    pub fn note(&self, why: Closing) {
        let _ = self.closing.compare_exchange(0, why as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Takes no further request: ends once it is idle.
    pub fn retire(&self, why: Closing) {
        self.note(why);
        self.retired.store(true, Ordering::Release);
    }

    /// Whether it takes no further request.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Why it ended.
    pub fn why(&self) -> Closing {
        let index = usize::from(self.closing.load(Ordering::Acquire));
        Closing::ALL.get(index).copied().unwrap_or(Closing::Ended)
    }
}
