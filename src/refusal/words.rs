//! The words of each refusal: its title, what happened, and what to do about it.

use super::{Executed, Invalid, Refusal, Unreachable};

impl Refusal {
    /// Short name of the kind of problem: the same for each occurrence (RFC 9457 §3.1.3).
    pub fn title(&self) -> &'static str {
        match self {
            Refusal::RouteNotFound => "No route",
            Refusal::MethodNotAllowed(_) => "Method not allowed",
            Refusal::MethodUnknown => "Method unknown",
            Refusal::UpgradeRefused => "Upgrade refused",
            Refusal::RequestMalformed(_) => "Request malformed",
            Refusal::PathAmbiguous(_) => "Path ambiguous",
            Refusal::HostMissing => "Host missing",
            Refusal::UriTooLong(_) => "Request target too long",
            Refusal::HeaderTooLarge(_) => "Request head too large",
            Refusal::PayloadTooLarge(_) => "Request body too large",
            Refusal::RequestTimeout => "Request too slow",
            Refusal::MisdirectedRequest => "Misdirected request",
            Refusal::CredentialsMissing => "Credentials missing",
            Refusal::TokenInvalid(_) => "Credential invalid",
            Refusal::TokenExpired(_) => "Credential expired",
            Refusal::CredentialsAmbiguous(_) => "Credentials ambiguous",
            Refusal::ClientUnknown => "Client unknown",
            Refusal::ClientSuspended => "Client suspended",
            Refusal::ScopeMissing(_) => "Scope missing",
            Refusal::NotPermitted => "Not permitted",
            Refusal::TlsRequired => "TLS required",
            Refusal::IssuerUnavailable(_) => "Issuer unavailable",
            Refusal::HeldOff(_) | Refusal::RateLimited(_) => "Too many requests",
            Refusal::QuotaExhausted(_) => "Quota exhausted",
            Refusal::ConcurrencyLimited(_) => "Too many requests at a time",
            Refusal::IdempotencyKeyMissing => "Idempotency key missing",
            Refusal::IdempotencyKeyInvalid(_) => "Idempotency key invalid",
            Refusal::IdempotencyKeyReused => "Idempotency key used for another request",
            Refusal::RequestInFlight(_) => "Request in flight",
            Refusal::OutcomeUnknown => "Outcome unknown",
            Refusal::AnswerNotKept(_) => "Answer not kept",
            Refusal::LedgerUnavailable(_) => "Ledger unavailable",
            Refusal::VendorQueueFull(_) => "Vendor queue full",
            Refusal::VendorQueueTimeout(_) => "Vendor queue timeout",
            Refusal::VendorPaused(_) => "Vendor paused",
            Refusal::VendorCircuitOpen(_) => "Vendor circuit open",
            Refusal::GatewayOverloaded(_) => "Gateway overloaded",
            Refusal::GatewayDraining(_) => "Gateway draining",
            Refusal::LoopDetected => "Loop detected",
            Refusal::VendorUnreachable(_) => "Vendor unreachable",
            Refusal::VendorResponseInvalid(_) => "Vendor answer invalid",
            Refusal::VendorRedirectRefused => "Vendor redirect refused",
            Refusal::VendorCredentialRejected => "Vendor refused the gateway's credential",
            Refusal::VendorTimeout => "Vendor did not answer in time",
            Refusal::DeadlineExceeded => "Deadline exceeded",
            Refusal::GatewayFault | Refusal::AnswerUndelivered(_) => "Gateway fault",
        }
    }

    /// One plain sentence about this occurrence, fit for anybody's eyes.
    pub fn detail(&self) -> String {
        match self {
            Refusal::RouteNotFound => "No route serves this host and path.".into(),
            Refusal::MethodNotAllowed(allowed) => {
                format!("This route serves {}.", allowed.allow())
            }
            Refusal::MethodUnknown => "The method is not a registered HTTP method.".into(),
            Refusal::UpgradeRefused => "The gateway opens no tunnels.".into(),
            Refusal::RequestMalformed(why)
            | Refusal::PathAmbiguous(why)
            | Refusal::HeaderTooLarge(why)
            | Refusal::CredentialsAmbiguous(why)
            | Refusal::IdempotencyKeyInvalid(why) => (*why).into(),
            Refusal::HostMissing => "An HTTP/1.1 request needs a Host field.".into(),
            Refusal::UriTooLong(max) => {
                format!("The request target is longer than {max} bytes.")
            }
            Refusal::PayloadTooLarge(max) => {
                format!("The request body is larger than {max} bytes.")
            }
            Refusal::RequestTimeout => "The request body made no progress in time.".into(),
            Refusal::MisdirectedRequest => {
                "The connection is another name's, or its certificate no longer holds.".into()
            }
            Refusal::CredentialsMissing => "The request shows no credential.".into(),
            Refusal::TokenInvalid(_) => "The credential is not accepted.".into(),
            Refusal::TokenExpired(_) => "The credential has expired.".into(),
            Refusal::ClientUnknown => "No policy names the owner of this credential.".into(),
            Refusal::ClientSuspended => "The client is suspended.".into(),
            Refusal::ScopeMissing(_) => "The credential lacks a scope.".into(),
            Refusal::NotPermitted => "The client may not do this.".into(),
            Refusal::TlsRequired => "Credentials are taken over TLS only.".into(),
            Refusal::IssuerUnavailable(_) => {
                "The credential can't be checked: its issuer does not answer.".into()
            }
            Refusal::HeldOff(_) | Refusal::RateLimited(_) => {
                "Too many requests in too short a time.".into()
            }
            Refusal::QuotaExhausted(_) => "The client has used up its requests for today.".into(),
            Refusal::ConcurrencyLimited(_) => {
                "The client has as many requests under way as it may.".into()
            }
            Refusal::IdempotencyKeyMissing
            | Refusal::IdempotencyKeyReused
            | Refusal::RequestInFlight(_)
            | Refusal::OutcomeUnknown
            | Refusal::AnswerNotKept(_)
            | Refusal::AnswerUndelivered(_)
            | Refusal::LedgerUnavailable(_) => self.of_protected_writes().into(),
            Refusal::VendorQueueFull(_)
            | Refusal::VendorQueueTimeout(_)
            | Refusal::VendorPaused(_)
            | Refusal::VendorCircuitOpen(_)
            | Refusal::GatewayOverloaded(_)
            | Refusal::GatewayDraining(_) => self.of_waiting().into(),
            Refusal::LoopDetected => "The request has passed this gateway before.".into(),
            Refusal::VendorUnreachable(why) => why.detail().into(),
            Refusal::VendorResponseInvalid(why) => why.detail().into(),
            Refusal::VendorRedirectRefused => {
                "The vendor answered with a redirect to another place.".into()
            }
            Refusal::VendorCredentialRejected => {
                "The vendor does not accept the credential that the gateway presents.".into()
            }
            Refusal::VendorTimeout => "The vendor sent no answer in time.".into(),
            Refusal::DeadlineExceeded => "The route's deadline passed without an answer.".into(),
            Refusal::GatewayFault => "The gateway met a defect of its own.".into(),
        }
    }

    fn of_waiting(&self) -> &'static str {
        match self {
            Refusal::VendorQueueFull(_) => "Too many requests wait for this vendor.",
            Refusal::VendorQueueTimeout(_) => {
                "The request waited for this vendor as long as it may; nothing was sent."
            }
            Refusal::VendorPaused(_) => "This vendor takes no requests for a while.",
            Refusal::VendorCircuitOpen(_) => {
                "This vendor failed too often and is left alone for a while."
            }
            Refusal::GatewayDraining(_) => "The gateway is leaving, and the request was not sent.",
            _ => "The gateway has no room for this request.",
        }
    }

    fn of_protected_writes(&self) -> &'static str {
        match self {
            Refusal::IdempotencyKeyMissing => "This write needs an idempotency key.",
            Refusal::IdempotencyKeyReused => {
                "This idempotency key came with another request before."
            }
            Refusal::RequestInFlight(_) => {
                "The first request with this idempotency key is still under way."
            }
            Refusal::OutcomeUnknown => {
                "Nobody knows yet whether the vendor acted on the first request with this \
                 idempotency key."
            }
            Refusal::AnswerNotKept(Executed::No) => {
                "The first request with this idempotency key was answered: the vendor did not \
                 act. Its answer is not kept."
            }
            Refusal::AnswerNotKept(_) => {
                "The first request with this idempotency key was answered: the vendor acted. Its \
                 answer is not kept."
            }
            Refusal::LedgerUnavailable(_) => {
                "The gateway can't write down protected writes; nothing was sent."
            }
            _ => "The vendor has answered, but its answer could not be written down.",
        }
    }

    /// What the caller should do next, in plain language.
    pub fn action(&self) -> &'static str {
        match self {
            Refusal::RouteNotFound => "Check the base URL and the path.",
            Refusal::MethodNotAllowed(_) => "Use one of the methods in the Allow field.",
            Refusal::MethodUnknown => "Use a standard method.",
            Refusal::UpgradeRefused => "Send plain requests.",
            Refusal::RequestMalformed(_) => "Correct the request.",
            Refusal::PathAmbiguous(_) => "Send the path in its plain form.",
            Refusal::HostMissing => "Send a Host field.",
            Refusal::UriTooLong(_) => "Shorten the path or the query.",
            Refusal::HeaderTooLarge(_) => "Send fewer or shorter fields.",
            Refusal::PayloadTooLarge(_) => "Send a smaller body, or ask for a larger limit.",
            Refusal::RequestTimeout => "Send the request again, without pauses.",
            Refusal::MisdirectedRequest => "Send the request on a connection of its own.",
            Refusal::CredentialsMissing => "Send a token, an API key or a client certificate.",
            Refusal::TokenInvalid(_) => "Send a credential that the gateway accepts.",
            Refusal::TokenExpired(_) => "Get a new credential.",
            Refusal::CredentialsAmbiguous(_) => "Show one credential, in one place.",
            Refusal::ClientUnknown | Refusal::ClientSuspended => {
                "Ask the gateway's security team about this client."
            }
            Refusal::ScopeMissing(_) => "Get a token with the scope in the WWW-Authenticate field.",
            Refusal::NotPermitted => "Ask the gateway's security team for access.",
            Refusal::TlsRequired => "Use the gateway's https address, and change the credential.",
            Refusal::IssuerUnavailable(_)
            | Refusal::HeldOff(_)
            | Refusal::RateLimited(_)
            | Refusal::QuotaExhausted(_)
            | Refusal::VendorQueueFull(_)
            | Refusal::VendorQueueTimeout(_)
            | Refusal::VendorPaused(_)
            | Refusal::VendorCircuitOpen(_)
            | Refusal::GatewayOverloaded(_)
            | Refusal::GatewayDraining(_) => "Wait as long as Retry-After says, then try again.",
            Refusal::IdempotencyKeyMissing => {
                "Send an Idempotency-Key: one for each write, the same again when you repeat it."
            }
            Refusal::IdempotencyKeyInvalid(_) => {
                "Send one key of 1 to 255 visible ASCII characters."
            }
            Refusal::IdempotencyKeyReused => {
                "Send the first request again as it was, or take a new key."
            }
            Refusal::RequestInFlight(_) | Refusal::LedgerUnavailable(_) => {
                "Wait as long as Retry-After says, then try again with the same key."
            }
            Refusal::OutcomeUnknown => {
                "Try again later with the same key, or ask the gateway's operator to settle it."
            }
            Refusal::AnswerNotKept(_) => "Look the result up at the vendor.",
            Refusal::AnswerUndelivered(_) => "Try again with the same key.",
            Refusal::ConcurrencyLimited(_) => {
                "Wait for an answer to an earlier request, then try again."
            }
            Refusal::LoopDetected => "Ask the gateway's operator to correct the vendor's base URL.",
            Refusal::VendorUnreachable(_) => "Try again later; nothing was sent.",
            Refusal::VendorResponseInvalid(_)
            | Refusal::VendorTimeout
            | Refusal::DeadlineExceeded => {
                "Repeat a write only with its idempotency key, or look up first whether the vendor \
                 acted."
            }
            Refusal::VendorRedirectRefused => {
                "Ask the gateway's operator to check the vendor's base URL."
            }
            Refusal::VendorCredentialRejected => {
                "Ask the gateway's operator to check the vendor's credential."
            }
            Refusal::GatewayFault => "Report the correlation id to the gateway's operator.",
        }
    }
}

impl Unreachable {
    fn detail(self) -> &'static str {
        match self {
            Unreachable::NameUnresolved => "The vendor's name has no address.",
            Unreachable::Refused => "The vendor refused the connection.",
            Unreachable::TimedOut => "The vendor did not accept a connection in time.",
            Unreachable::TlsFailed => "No TLS connection to the vendor could be made.",
            Unreachable::CertificateInvalid => "The vendor's certificate could not be verified.",
            Unreachable::Other => "No connection to the vendor could be made.",
        }
    }
}

impl Invalid {
    fn detail(self) -> &'static str {
        match self {
            Invalid::Incomplete => "The vendor's connection ended before its answer was complete.",
            Invalid::Cut(_) => "The vendor's answer broke off in its body.",
            Invalid::Protocol => "The vendor's answer is not valid HTTP.",
            Invalid::Status => "The vendor's answer has a status that it may not have.",
        }
    }
}
