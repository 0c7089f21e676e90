//! Tells what pingora's errors mean.

use crate::refusal::Unreachable;
use crate::stages::outcome::{ClientFailure, Failure};
use pingora_core::{Error, ErrorSource, ErrorType, RetryType};

/// What an error means for the exchange it ended.
pub fn read(error: &Error) -> Failure {
    match error.esource() {
        ErrorSource::Downstream => Failure::Client(of_client(error.etype())),
        ErrorSource::Upstream if distrusts_certificate(error) => {
            Failure::NoConnection(Unreachable::CertificateInvalid)
        }
        ErrorSource::Upstream if is_unprocessed(error) => Failure::Unprocessed,
        ErrorSource::Upstream => of_vendor(error.etype()),
        ErrorSource::Internal | ErrorSource::Unset => match of_vendor(error.etype()) {
            Failure::Ended | Failure::TimedOut => Failure::Fault,
            other => other,
        },
    }
}

/// A connection that took longer than the request has time.
pub fn of_connecting_too_long() -> Failure {
    Failure::NoConnection(Unreachable::TimedOut)
}

/// Whether HTTP/2 proves that the vendor did not process the request: a refused stream, or one
/// beyond the last that it took before it left (RFC 9113 §8.7). pingora marks exactly these.
fn is_unprocessed(error: &Error) -> bool {
    *error.etype() == ErrorType::H2Error && error.retry == RetryType::Decided(true)
}

/// Whether a handshake failed because the vendor's certificate does not hold: pingora keeps of
/// rustls' error only the words.
fn distrusts_certificate(error: &Error) -> bool {
    let words = || error.to_string().contains("invalid peer certificate");
    *error.root_etype() == ErrorType::TLSHandshakeFailure && words()
}

/// The short name of a failed attempt, a metric label.
pub fn label(failure: &Failure) -> &'static str {
    match failure {
        Failure::NoConnection(_) => "connect-failed",
        Failure::TimedOut => "timed-out",
        Failure::Ended => "ended",
        Failure::Unprocessed => "unprocessed",
        Failure::NotHttp => "not-http",
        Failure::Client(_) => "client-failed",
        Failure::Refused(_) => "refused",
        Failure::Fault => "fault",
    }
}

fn of_client(kind: &ErrorType) -> ClientFailure {
    match kind {
        ErrorType::ReadTimedout => ClientFailure::Slow,
        ErrorType::InvalidHTTPHeader
        | ErrorType::HTTPStatus(_)
        | ErrorType::H1Error
        | ErrorType::Custom(_)
        | ErrorType::CustomCode(..) => ClientFailure::Malformed,
        _ => ClientFailure::Gone,
    }
}

fn of_vendor(kind: &ErrorType) -> Failure {
    match kind {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => {
            Failure::NoConnection(Unreachable::TimedOut)
        }
        ErrorType::ConnectRefused => Failure::NoConnection(Unreachable::Refused),
        ErrorType::InvalidCert => Failure::NoConnection(Unreachable::CertificateInvalid),
        ErrorType::TLSHandshakeFailure
        | ErrorType::HandshakeError
        | ErrorType::TLSWantX509Lookup => Failure::NoConnection(Unreachable::TlsFailed),
        ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::BindError
        | ErrorType::SocketError
        | ErrorType::ConnectProxyFailure => Failure::NoConnection(Unreachable::Other),
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Failure::TimedOut,
        ErrorType::ConnectionClosed
        | ErrorType::ReadError
        | ErrorType::WriteError
        | ErrorType::H2Error => Failure::Ended,
        ErrorType::InvalidHTTPHeader
        | ErrorType::H1Error
        | ErrorType::InvalidH2
        | ErrorType::H2Downgrade => Failure::NotHttp,
        _ => Failure::Fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_side_decides_what_an_error_means() {
        let upstream = |kind| *Error::new_up(kind);
        let downstream = |kind| *Error::new_down(kind);
        assert_eq!(read(&upstream(ErrorType::ReadTimedout)), Failure::TimedOut);
        let slow = Failure::Client(ClientFailure::Slow);
        assert_eq!(read(&downstream(ErrorType::ReadTimedout)), slow);
        let gone = Failure::Client(ClientFailure::Gone);
        assert_eq!(read(&downstream(ErrorType::ConnectionClosed)), gone);
        let refused = Failure::NoConnection(Unreachable::Refused);
        assert_eq!(read(&upstream(ErrorType::ConnectRefused)), refused);
        assert_eq!(read(&Error::new_in(ErrorType::InternalError)), Failure::Fault);
    }
}
