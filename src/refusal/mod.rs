//! Everything that erpgate itself answers: each refusal with its slug, status, stage and words.
//!
//! The slug is the problem type, the reason in the log and the metric label. A new variant does
//! not compile until it has all of them.

pub mod document;
mod words;

use crate::model::methods::MethodSet;
use std::sync::Arc;

/// The scheme and the realm of every challenge.
const CHALLENGE: &str = "Bearer realm=\"erpgate\"";

/// Why erpgate answers in the vendor's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No route serves this host and path.
    RouteNotFound,
    /// The route serves other methods.
    MethodNotAllowed(MethodSet),
    /// The method is not in the registry.
    MethodUnknown,
    /// WebSocket and CONNECT ask for a tunnel.
    UpgradeRefused,
    /// The message breaks a rule of HTTP; the words say which.
    RequestMalformed(&'static str),
    /// Two readers could take the path for two different ones; the words say why.
    PathAmbiguous(&'static str),
    /// HTTP/1.1 without `Host`.
    HostMissing,
    /// The request target is longer than this many bytes.
    UriTooLong(usize),
    /// The head is larger than the listener takes; the words say which limit.
    HeaderTooLarge(&'static str),
    /// The body is larger than this many bytes.
    PayloadTooLarge(u64),
    /// The body made no progress in time.
    RequestTimeout,
    /// The connection was made for another name.
    MisdirectedRequest,
    /// No credential was shown.
    CredentialsMissing,
    /// A credential was shown that does not verify.
    TokenInvalid(Shown),
    /// A credential was shown that would verify if its time had not passed.
    TokenExpired(Shown),
    /// Credentials of two clients, or one in two places; the words say which.
    CredentialsAmbiguous(&'static str),
    /// The credential is genuine, but no policy names whom it belongs to.
    ClientUnknown,
    /// The client's policy suspends it.
    ClientSuspended,
    /// A rule would allow it, but for these scopes, separated by spaces.
    ScopeMissing(Arc<str>),
    /// No rule allows it, or one forbids it.
    NotPermitted,
    /// Credentials are not taken over a connection that others can read.
    TlsRequired,
    /// Whoever could say whether the token is genuine does not answer; seconds until it is asked
    /// again.
    IssuerUnavailable(u32),
    /// Credentials from this address failed too often; seconds until the next is looked at.
    HeldOff(u32),
    /// The write needs an idempotency key and has none.
    IdempotencyKeyMissing,
    /// The idempotency key can't be one; the words say why.
    IdempotencyKeyInvalid(&'static str),
    /// Another request came with this key before.
    IdempotencyKeyReused,
    /// The first request with this key is under way; seconds until it may be asked for again.
    RequestInFlight(u32),
    /// Nobody can know what became of the first request with this key.
    OutcomeUnknown,
    /// The first request with this key is settled, but its answer is not kept; whether the vendor
    /// acted.
    AnswerNotKept(Executed),
    /// The vendor has answered, but its answer could not be made durable, and so is not given;
    /// whether the vendor acted.
    AnswerUndelivered(Executed),
    /// Protected writes can't be written down; seconds until it may be tried again.
    LedgerUnavailable(u32),
    /// The client is faster than it may be; seconds until the next may come.
    RateLimited(u32),
    /// The client has used up what it has for a day; seconds until the next day.
    QuotaExhausted(u32),
    /// The client has as many requests under way as it may; seconds until it may look again.
    ConcurrencyLimited(u32),
    /// The request has been here before.
    LoopDetected,
    /// As many wait for the vendor as may; seconds until a place may be free.
    VendorQueueFull(u32),
    /// The request's turn did not come in time; seconds until it may.
    VendorQueueTimeout(u32),
    /// The vendor asked for a pause, or an operator ordered one; seconds until it ends.
    VendorPaused(u32),
    /// The vendor failed too often; seconds until it is tried again.
    VendorCircuitOpen(u32),
    /// The gateway holds as many bodies as it may; seconds until it may have room.
    GatewayOverloaded(u32),
    /// The gateway leaves, and the request was not sent yet.
    GatewayDraining(u32),
    /// No connection to the vendor could be made; nothing was sent.
    VendorUnreachable(Unreachable),
    /// What came back is not a complete HTTP answer.
    VendorResponseInvalid(Invalid),
    /// The vendor sent the client elsewhere.
    VendorRedirectRefused,
    /// The vendor does not accept the gateway's credential.
    VendorCredentialRejected,
    /// The vendor sent no head in time.
    VendorTimeout,
    /// The route's deadline passed.
    DeadlineExceeded,
    /// A defect of the gateway.
    GatewayFault,
}

/// Every slug, in the order of the contract's table.
pub const SLUGS: [&str; 46] = [
    "route-not-found",
    "method-not-allowed",
    "method-unknown",
    "upgrade-refused",
    "request-malformed",
    "path-ambiguous",
    "host-missing",
    "uri-too-long",
    "header-too-large",
    "payload-too-large",
    "request-timeout",
    "misdirected-request",
    "credentials-missing",
    "token-invalid",
    "token-expired",
    "credentials-ambiguous",
    "client-unknown",
    "client-suspended",
    "scope-missing",
    "not-permitted",
    "tls-required",
    "issuer-unavailable",
    "rate-limited",
    "quota-exhausted",
    "concurrency-limited",
    "idempotency-key-missing",
    "idempotency-key-invalid",
    "idempotency-key-reused",
    "request-in-flight",
    "outcome-unknown",
    "answer-not-kept",
    "vendor-queue-full",
    "vendor-queue-timeout",
    "vendor-paused",
    "vendor-circuit-open",
    "loop-detected",
    "vendor-unreachable",
    "vendor-response-invalid",
    "vendor-redirect-refused",
    "vendor-credential-rejected",
    "vendor-timeout",
    "deadline-exceeded",
    "gateway-overloaded",
    "gateway-draining",
    "ledger-unavailable",
    "gateway-fault",
];

/// What kind of credential was shown: only a token is spoken of in a challenge (RFC 6750 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// In `Authorization: Bearer`.
    Token,
    /// Anywhere else.
    Key,
}

/// What kept a connection from being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// The name has no address.
    NameUnresolved,
    /// Nobody listens there.
    Refused,
    /// No answer within the connect timeout.
    TimedOut,
    /// The TLS handshake failed.
    TlsFailed,
    /// The certificate does not hold for the name.
    CertificateInvalid,
    /// Anything else below HTTP.
    Other,
}

/// What was wrong with the vendor's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The connection ended before the head was complete.
    Incomplete,
    /// The body of the answer to a protected write broke off; whether the vendor acted, as its
    /// status says.
    Cut(Executed),
    /// The bytes are not HTTP, or break its rules.
    Protocol,
    /// A status that does not exist, or a switch of protocols that nobody asked for.
    Status,
}

/// Whether the vendor acted on the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executed {
    /// Certainly not.
    No,
    /// Nobody can know from here.
    Unknown,
    /// It did.
    Yes,
}

impl Refusal {
    /// Stable name: problem type, log reason, metric label.
    pub fn slug(&self) -> &'static str {
        match self {
            Refusal::RouteNotFound => "route-not-found",
            Refusal::MethodNotAllowed(_) => "method-not-allowed",
            Refusal::MethodUnknown => "method-unknown",
            Refusal::UpgradeRefused => "upgrade-refused",
            Refusal::RequestMalformed(_) => "request-malformed",
            Refusal::PathAmbiguous(_) => "path-ambiguous",
            Refusal::HostMissing => "host-missing",
            Refusal::UriTooLong(_) => "uri-too-long",
            Refusal::HeaderTooLarge(_) => "header-too-large",
            Refusal::PayloadTooLarge(_) => "payload-too-large",
            Refusal::RequestTimeout => "request-timeout",
            Refusal::MisdirectedRequest => "misdirected-request",
            Refusal::CredentialsMissing => "credentials-missing",
            Refusal::TokenInvalid(_) => "token-invalid",
            Refusal::TokenExpired(_) => "token-expired",
            Refusal::CredentialsAmbiguous(_) => "credentials-ambiguous",
            Refusal::ClientUnknown => "client-unknown",
            Refusal::ClientSuspended => "client-suspended",
            Refusal::ScopeMissing(_) => "scope-missing",
            Refusal::NotPermitted => "not-permitted",
            Refusal::TlsRequired => "tls-required",
            Refusal::IssuerUnavailable(_) => "issuer-unavailable",
            Refusal::HeldOff(_) | Refusal::RateLimited(_) => "rate-limited",
            Refusal::QuotaExhausted(_) => "quota-exhausted",
            Refusal::ConcurrencyLimited(_) => "concurrency-limited",
            Refusal::IdempotencyKeyMissing => "idempotency-key-missing",
            Refusal::IdempotencyKeyInvalid(_) => "idempotency-key-invalid",
            Refusal::IdempotencyKeyReused => "idempotency-key-reused",
            Refusal::RequestInFlight(_) => "request-in-flight",
            Refusal::OutcomeUnknown => "outcome-unknown",
            Refusal::AnswerNotKept(_) => "answer-not-kept",
            Refusal::LedgerUnavailable(_) => "ledger-unavailable",
            Refusal::VendorQueueFull(_) => "vendor-queue-full",
            Refusal::VendorQueueTimeout(_) => "vendor-queue-timeout",
            Refusal::VendorPaused(_) => "vendor-paused",
            Refusal::VendorCircuitOpen(_) => "vendor-circuit-open",
            Refusal::GatewayOverloaded(_) => "gateway-overloaded",
            Refusal::GatewayDraining(_) => "gateway-draining",
            Refusal::LoopDetected => "loop-detected",
            Refusal::VendorUnreachable(_) => "vendor-unreachable",
            Refusal::VendorResponseInvalid(_) => "vendor-response-invalid",
            Refusal::VendorRedirectRefused => "vendor-redirect-refused",
            Refusal::VendorCredentialRejected => "vendor-credential-rejected",
            Refusal::VendorTimeout => "vendor-timeout",
            Refusal::DeadlineExceeded => "deadline-exceeded",
            Refusal::GatewayFault | Refusal::AnswerUndelivered(_) => "gateway-fault",
        }
    }

    /// HTTP status code.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::RequestMalformed(_)
            | Refusal::PathAmbiguous(_)
            | Refusal::HostMissing
            | Refusal::CredentialsAmbiguous(_)
            | Refusal::IdempotencyKeyMissing
            | Refusal::IdempotencyKeyInvalid(_) => 400,
            Refusal::CredentialsMissing | Refusal::TokenInvalid(_) | Refusal::TokenExpired(_) => {
                401
            }
            Refusal::ClientUnknown
            | Refusal::ClientSuspended
            | Refusal::ScopeMissing(_)
            | Refusal::NotPermitted
            | Refusal::TlsRequired => 403,
            Refusal::RouteNotFound => 404,
            Refusal::MethodNotAllowed(_) => 405,
            Refusal::RequestTimeout => 408,
            Refusal::RequestInFlight(_) | Refusal::OutcomeUnknown | Refusal::AnswerNotKept(_) => {
                409
            }
            Refusal::PayloadTooLarge(_) => 413,
            Refusal::UriTooLong(_) => 414,
            Refusal::MisdirectedRequest => 421,
            Refusal::IdempotencyKeyReused => 422,
            Refusal::HeldOff(_)
            | Refusal::RateLimited(_)
            | Refusal::QuotaExhausted(_)
            | Refusal::ConcurrencyLimited(_) => 429,
            Refusal::HeaderTooLarge(_) => 431,
            Refusal::GatewayFault | Refusal::AnswerUndelivered(_) => 500,
            Refusal::MethodUnknown | Refusal::UpgradeRefused => 501,
            Refusal::LoopDetected
            | Refusal::VendorUnreachable(_)
            | Refusal::VendorResponseInvalid(_)
            | Refusal::VendorRedirectRefused
            | Refusal::VendorCredentialRejected => 502,
            Refusal::IssuerUnavailable(_)
            | Refusal::VendorQueueFull(_)
            | Refusal::VendorQueueTimeout(_)
            | Refusal::VendorPaused(_)
            | Refusal::VendorCircuitOpen(_)
            | Refusal::GatewayOverloaded(_)
            | Refusal::GatewayDraining(_)
            | Refusal::LedgerUnavailable(_) => 503,
            Refusal::VendorTimeout | Refusal::DeadlineExceeded => 504,
        }
    }

    /// What exactly was wrong, where one kind of refusal has several reasons.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Refusal::RequestMalformed(why)
            | Refusal::PathAmbiguous(why)
            | Refusal::HeaderTooLarge(why)
            | Refusal::CredentialsAmbiguous(why)
            | Refusal::IdempotencyKeyInvalid(why) => Some(why),
            _ => None,
        }
    }

    /// The stage that refused, as the log names it.
    pub fn stage(&self) -> &'static str {
        match self {
            Refusal::RouteNotFound | Refusal::MethodNotAllowed(_) => "routing",
            Refusal::MethodUnknown
            | Refusal::UpgradeRefused
            | Refusal::RequestMalformed(_)
            | Refusal::PathAmbiguous(_)
            | Refusal::HostMissing
            | Refusal::UriTooLong(_)
            | Refusal::HeaderTooLarge(_)
            | Refusal::PayloadTooLarge(_)
            | Refusal::RequestTimeout
            | Refusal::MisdirectedRequest => "validation",
            Refusal::CredentialsMissing
            | Refusal::TokenInvalid(_)
            | Refusal::TokenExpired(_)
            | Refusal::CredentialsAmbiguous(_)
            | Refusal::ClientUnknown
            | Refusal::TlsRequired
            | Refusal::IssuerUnavailable(_)
            | Refusal::HeldOff(_) => "authentication",
            Refusal::ClientSuspended | Refusal::ScopeMissing(_) | Refusal::NotPermitted => {
                "authorization"
            }
            Refusal::RateLimited(_)
            | Refusal::QuotaExhausted(_)
            | Refusal::ConcurrencyLimited(_) => "rate-limit",
            Refusal::IdempotencyKeyMissing
            | Refusal::IdempotencyKeyInvalid(_)
            | Refusal::IdempotencyKeyReused
            | Refusal::RequestInFlight(_)
            | Refusal::OutcomeUnknown
            | Refusal::AnswerNotKept(_)
            | Refusal::AnswerUndelivered(_)
            | Refusal::LedgerUnavailable(_) => "idempotency",
            Refusal::VendorQueueFull(_)
            | Refusal::VendorQueueTimeout(_)
            | Refusal::VendorPaused(_) => "admission",
            Refusal::VendorCircuitOpen(_) => "circuit",
            Refusal::LoopDetected | Refusal::VendorUnreachable(_) => "forwarding",
            Refusal::VendorResponseInvalid(_)
            | Refusal::VendorRedirectRefused
            | Refusal::VendorCredentialRejected
            | Refusal::VendorTimeout
            | Refusal::DeadlineExceeded => "outcome",
            Refusal::GatewayOverloaded(_) | Refusal::GatewayDraining(_) | Refusal::GatewayFault => {
                "gateway"
            }
        }
    }

    /// The `error` of a `Proxy-Status` member (RFC 9209 §2.3).
    pub fn proxy_status(&self) -> &'static str {
        match self {
            Refusal::RouteNotFound => "destination_not_found",
            Refusal::LoopDetected => "proxy_loop_detected",
            Refusal::VendorUnreachable(why) => why.proxy_status(),
            Refusal::VendorResponseInvalid(Invalid::Incomplete | Invalid::Cut(_)) => {
                "http_response_incomplete"
            }
            Refusal::VendorResponseInvalid(_) | Refusal::VendorRedirectRefused => {
                "http_protocol_error"
            }
            Refusal::VendorCredentialRejected
            | Refusal::ClientUnknown
            | Refusal::ClientSuspended
            | Refusal::ScopeMissing(_)
            | Refusal::NotPermitted
            | Refusal::TlsRequired => "http_request_denied",
            Refusal::VendorQueueFull(_) | Refusal::VendorQueueTimeout(_) => {
                "connection_limit_reached"
            }
            Refusal::VendorPaused(_) | Refusal::VendorCircuitOpen(_) => "destination_unavailable",
            Refusal::IssuerUnavailable(_)
            | Refusal::GatewayOverloaded(_)
            | Refusal::GatewayDraining(_) => "proxy_internal_error",
            Refusal::VendorTimeout | Refusal::DeadlineExceeded => "http_response_timeout",
            Refusal::GatewayFault
            | Refusal::LedgerUnavailable(_)
            | Refusal::AnswerUndelivered(_) => "proxy_internal_error",
            _ => "http_request_error",
        }
    }

    /// Whether the same request may be sent again as it is, given what is known of the vendor;
    /// `keyed`: under an idempotency key, by which nothing is done twice.
    pub fn retryable(&self, executed: Executed, keyed: bool) -> bool {
        match self {
            Refusal::RequestTimeout
            | Refusal::IssuerUnavailable(_)
            | Refusal::HeldOff(_)
            | Refusal::RateLimited(_)
            | Refusal::QuotaExhausted(_)
            | Refusal::ConcurrencyLimited(_)
            | Refusal::VendorQueueFull(_)
            | Refusal::VendorQueueTimeout(_)
            | Refusal::VendorPaused(_)
            | Refusal::VendorCircuitOpen(_)
            | Refusal::GatewayOverloaded(_)
            | Refusal::GatewayDraining(_)
            | Refusal::VendorUnreachable(_)
            | Refusal::VendorResponseInvalid(
                Invalid::Incomplete | Invalid::Protocol | Invalid::Status,
            )
            | Refusal::VendorTimeout
            | Refusal::DeadlineExceeded
            | Refusal::LedgerUnavailable(_) => {
                executed == Executed::No || (keyed && executed == Executed::Unknown)
            }
            Refusal::RequestInFlight(_)
            | Refusal::OutcomeUnknown
            | Refusal::AnswerUndelivered(_) => true,
            _ => false,
        }
    }

    /// Seconds after which the same request may succeed, where they are known: the value of
    /// `Retry-After`.
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Refusal::IssuerUnavailable(seconds)
            | Refusal::HeldOff(seconds)
            | Refusal::RateLimited(seconds)
            | Refusal::QuotaExhausted(seconds)
            | Refusal::ConcurrencyLimited(seconds) => Some(*seconds),
            Refusal::VendorQueueFull(seconds)
            | Refusal::VendorQueueTimeout(seconds)
            | Refusal::VendorPaused(seconds)
            | Refusal::VendorCircuitOpen(seconds)
            | Refusal::GatewayOverloaded(seconds)
            | Refusal::GatewayDraining(seconds)
            | Refusal::RequestInFlight(seconds)
            | Refusal::LedgerUnavailable(seconds) => Some(*seconds),
            _ => None,
        }
    }

    /// The value of `WWW-Authenticate` (RFC 6750 §3): which credential would be needed. It speaks
    /// of an error only where a token was shown.
    pub fn challenge(&self) -> Option<String> {
        let error = match self {
            Refusal::CredentialsMissing
            | Refusal::TokenInvalid(Shown::Key)
            | Refusal::TokenExpired(Shown::Key) => "",
            Refusal::TokenInvalid(Shown::Token) | Refusal::TokenExpired(Shown::Token) => {
                ", error=\"invalid_token\""
            }
            Refusal::CredentialsAmbiguous(_) => ", error=\"invalid_request\"",
            Refusal::ScopeMissing(scopes) => {
                return Some(format!(
                    "{CHALLENGE}, error=\"insufficient_scope\", scope=\"{scopes}\""
                ));
            }
            _ => return None,
        };
        Some(format!("{CHALLENGE}{error}"))
    }
}

impl Unreachable {
    fn proxy_status(self) -> &'static str {
        match self {
            Unreachable::NameUnresolved => "dns_error",
            Unreachable::Refused => "connection_refused",
            Unreachable::TimedOut => "connection_timeout",
            Unreachable::TlsFailed => "tls_protocol_error",
            Unreachable::CertificateInvalid => "tls_certificate_error",
            Unreachable::Other => "destination_unavailable",
        }
    }
}
