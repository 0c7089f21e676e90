//! Writes the answers that erpgate makes itself.

use super::connection::Connection;
use crate::exchange::Exchange;
use crate::refusal::Refusal;
use crate::refusal::document::{self, Circumstances, MEDIA_TYPE, VendorFacts};
use crate::stages::correlation::CORRELATION_ID;
use crate::stages::forwarding::answer::PROXY_STATUS;
use crate::stages::outcome;
use crate::stages::validation::declared_length;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use std::time::Instant;

/// What is left of a small request body is read before a refusal, so that the connection can be
/// used again; a larger one is not worth it.
const DRAIN_BYTES_MAX: u64 = 64 << 10;

/// The fields and the body of a refusal, without framing.
pub struct Reply {
    /// HTTP status code.
    pub status: u16,
    /// The fields.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// The problem document.
    pub body: Vec<u8>,
}

/// Makes the answer for a refusal in this exchange.
pub fn of(refusal: &Refusal, exchange: &Exchange, date: HeaderValue) -> Reply {
    let side = &exchange.vendor;
    let vendor = exchange.vendor_config().filter(|_| side.attempts > 0).map(|vendor| VendorFacts {
        name: &vendor.name,
        status: side.status,
        code: side.throttled.as_ref().and_then(|throttled| throttled.code.as_deref()),
        request_id: side.request_id.as_deref(),
    });
    let attempt = exchange.attempt(Instant::now());
    let circumstances = Circumstances {
        correlation_id: exchange.correlation.id(),
        executed: outcome::executed(refusal, attempt),
        keyed: attempt.keyed,
        vendor,
    };
    make(refusal, &circumstances, &exchange.snapshot.config.server.name, date)
}

/// Makes the answer for a refusal of which nothing more is known than this.
pub fn make(
    refusal: &Refusal,
    circumstances: &Circumstances<'_>,
    pseudonym: &str,
    date: HeaderValue,
) -> Reply {
    let received = circumstances.vendor.as_ref().and_then(|vendor| vendor.status);
    let body = document::write(refusal, circumstances);
    let mut proxy_status = format!("{pseudonym}; error={}", refusal.proxy_status());
    if let Some(status) = received {
        proxy_status.push_str(&format!("; received-status={status}"));
    }
    let mut fields = vec![
        (header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::DATE, date),
        (header::CONTENT_LENGTH, HeaderValue::from(body.len())),
    ];
    let mut put = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            fields.push((name, value));
        }
    };
    put(CORRELATION_ID, circumstances.correlation_id);
    put(PROXY_STATUS, &proxy_status);
    if let Refusal::MethodNotAllowed(allowed) = refusal {
        put(header::ALLOW, &allowed.allow());
    }
    if let Some(challenge) = refusal.challenge() {
        put(header::WWW_AUTHENTICATE, &challenge);
    }
    if let Some(seconds) = refusal.retry_after() {
        put(header::RETRY_AFTER, &seconds.to_string());
    }
    Reply { status: refusal.status(), fields, body }
}

/// Sends a reply. What is left of a small body is read first; after a larger one the connection
/// ends, because its next octets would not be a request.
pub async fn send(session: &mut Session, connection: &Connection, reply: Reply) -> Result<()> {
    drain_small_body(session).await;
    let mut head = ResponseHeader::build(reply.status, Some(reply.fields.len()))?;
    for (name, value) in reply.fields {
        head.append_header(name, value)?;
    }
    let no_body = session.req_header().method == Method::HEAD || reply.body.is_empty();
    let session = session.as_downstream_mut();
    if !session.is_body_done() {
        connection.leaves_unread();
    }
    session.write_response_header(Box::new(head)).await?;
    if !no_body {
        session.write_response_body(Bytes::from(reply.body), true).await?;
    }
    Ok(())
}

async fn drain_small_body(session: &mut Session) {
    let expects = session.req_header().headers.contains_key(header::EXPECT);
    let length = declared_length(&session.req_header().headers);
    let small = length.is_some_and(|length| length <= DRAIN_BYTES_MAX);
    // A client that waits for 100 Continue sends no body after a refusal (RFC 9110 §10.1.1).
    if small && !expects && session.as_downstream_mut().drain_request_body().await.is_err() {
        session.as_downstream_mut().set_keepalive(None);
    }
}
