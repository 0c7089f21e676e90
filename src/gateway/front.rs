//! Stands between pingora's HTTP server and its proxy, once per connection: tells each request
//! which connection it came by, and ends those whose body stalls.

use super::connection::{Closing, Connection};
use super::hooks::Hooks;
use super::pace::Pace;
use crate::adapters::clock::Clock;
use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use std::sync::Arc;
use std::time::Duration;

/// How often a stream is looked at.
const LOOK: Duration = Duration::from_millis(250);

tokio::task_local! {
    /// The stream of HTTP/2 that the current task serves: pingora shows no more of it than its
    /// octets. Over HTTP/1 a request is asked for its connection itself.
    pub static STREAM: Arc<Incoming>;
}

/// A request before its head is read.
pub struct Incoming {
    /// The connection.
    pub connection: Arc<Connection>,
    /// Of one among the streams of HTTP/2.
    pace: Pace,
}

impl Incoming {
    /// For a connection of HTTP/1, or one stream of HTTP/2.
    pub fn new(connection: Arc<Connection>) -> Arc<Incoming> {
        Arc::new(Incoming { connection, pace: Pace::default() })
    }

    /// The pace that the request has to keep. HTTP/1 has one request at a time: its connection
    /// keeps it, and the sweep looks after it.
    pub fn pace(&self) -> &Pace {
        if self.connection.is_http2() { &self.pace } else { &self.connection.pace }
    }
}

/// One connection's way to the proxy.
pub struct Front {
    proxy: Arc<HttpProxy<Hooks>>,
    connection: Arc<Connection>,
    clock: Arc<Clock>,
    options: HttpServerOptions,
}

impl Front {
    /// For a connection that was just accepted.
    pub fn new(
        proxy: Arc<HttpProxy<Hooks>>,
        connection: Arc<Connection>,
        clock: Arc<Clock>,
    ) -> Arc<Front> {
        let mut options = HttpServerOptions::default();
        options.h2c = connection.tls.is_none() && connection.listener.address.ip().is_loopback();
        Arc::new(Front { proxy, connection, clock, options })
    }
}

#[async_trait]
impl HttpServerApp for Front {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if session.get_keepalive().is_some() {
            // Our own sweep knows the deadlines between requests; `None` means that the
            // connection has to close, and must stay.
            session.set_keepalive(Some(0));
        }
        // Without it, octets of a next request would break the one under way.
        session.set_pipelining_enabled(true);
        let http2 = session.is_http2();
        let served = self.proxy.process_new_http(session, shutdown);
        if !http2 {
            return served.await;
        }
        let incoming = Incoming::new(self.connection.clone());
        let served = STREAM.scope(incoming.clone(), served);
        tokio::select! {
            reused = served => reused,
            why = overdue(&incoming, &self.clock) => {
                self.connection.note(why);
                None
            }
        }
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }

    fn h2_options(&self) -> Option<H2Options> {
        // A head that is over our limit has to reach the room that says so.
        let bytes = self.connection.listener.header_bytes_max.saturating_mul(2);
        let mut options = default_h2_options();
        options.max_header_list_size(u32::try_from(bytes).unwrap_or(u32::MAX).max(64 << 10));
        Some(options)
    }
}

/// Waits until a stream is overdue.
async fn overdue(incoming: &Incoming, clock: &Clock) -> Closing {
    let timeout = incoming.connection.listener.body_timeout;
    loop {
        tokio::time::sleep(LOOK.min(timeout)).await;
        if let Some(why) = incoming.pace.overdue(clock.milliseconds(), timeout) {
            return why;
        }
    }
}
