//! Decides whether a message has exactly one beginning and one end (RFC 9112 §2.2, §3, §6).
//!
//! The parser below repairs some of what is looked for here; whatever can still be seen is
//! refused, because two readers that repair differently see two different requests.

use super::Head;
use crate::refusal::Refusal;
use http::header;

/// Options of `Connection` at which the layer below gives up.
const OPTIONS_MAX: usize = 10;

/// Checks how the message is framed.
///
/// # Errors
/// `request-malformed`.
pub fn check(head: &Head<'_>) -> Result<(), Refusal> {
    if head.repaired {
        return Err(malformed("The request line is not method, target and version."));
    }
    if let Some(raw) = head.raw {
        check_lines(raw)?;
        let line = raw.split(|octet| *octet == b'\r').find(|line| !line.trim_ascii().is_empty());
        if line.is_some_and(|line| line.contains(&b'#')) {
            return Err(malformed("The request target holds a fragment."));
        }
    }
    check_connection(head)?;
    check_lengths(head)
}

/// `Connection` names what is the connection's alone (RFC 9110 §7.6.1): not what the gateway
/// itself decides by, and not everything there is.
fn check_connection(head: &Head<'_>) -> Result<(), Refusal> {
    let options = head.headers.get_all(header::CONNECTION).iter();
    let mut named = 0;
    for option in options.flat_map(|value| value.as_bytes().split(|octet| *octet == b',')) {
        let option = option.trim_ascii();
        let protected = ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
        let is = |name: &&str| option.eq_ignore_ascii_case(name.as_bytes());
        let legal =
            |octet: &u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(octet);
        named += usize::from(!option.is_empty());
        if named >= OPTIONS_MAX || protected.iter().any(is) || !option.iter().all(legal) {
            return Err(malformed("Connection names what is not the connection's."));
        }
    }
    Ok(())
}

/// Every line ends with CRLF, and no CR stands elsewhere.
fn check_lines(raw: &[u8]) -> Result<(), Refusal> {
    let mut before = 0;
    for &octet in raw {
        if (octet == b'\n') != (before == b'\r') {
            return Err(malformed("A line of the head does not end with CRLF."));
        }
        before = octet;
    }
    Ok(())
}

fn check_lengths(head: &Head<'_>) -> Result<(), Refusal> {
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let digits = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
        if !digits || length.as_bytes().len() > 19 || lengths.next().is_some() {
            return Err(malformed("Content-Length is not one number."));
        }
    }
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
        return Err(malformed("The only transfer coding that is understood is chunked."));
    }
    // The parser has dropped a Content-Length beside it: only the octets still tell.
    let declared_both = head.headers.contains_key(header::CONTENT_LENGTH)
        || head.raw.is_some_and(|raw| has_field(raw, b"content-length:"));
    if declared_both {
        return Err(malformed("Transfer-Encoding stands beside Content-Length."));
    }
    Ok(())
}

fn has_field(raw: &[u8], name: &[u8]) -> bool {
    raw.split(|octet| *octet == b'\n')
        .any(|line| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
}

fn malformed(what: &'static str) -> Refusal {
    Refusal::RequestMalformed(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderName, HeaderValue, Version};

    /// Fields as the parser would hand them over, from the octets.
    fn check_raw(raw: &str) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for line in raw.split("\r\n").skip(1).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').expect("a field line");
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).expect("legal name"),
                HeaderValue::from_str(value.trim()).expect("legal value"),
            );
        }
        if headers.contains_key(header::TRANSFER_ENCODING) {
            headers.remove(header::CONTENT_LENGTH);
        }
        check(&Head {
            method: "POST",
            path: "/",
            query: None,
            authority: None,
            headers: &headers,
            version: Version::HTTP_11,
            raw: Some(raw.as_bytes()),
            repaired: false,
        })
    }

    #[test]
    fn one_length_or_chunked() {
        for fine in ["Content-Length: 5", "Content-Length: 0", "Transfer-Encoding: chunked", "A: b"]
        {
            assert_eq!(check_raw(&format!("POST / HTTP/1.1\r\n{fine}\r\n\r\n")), Ok(()), "{fine}");
        }
        for broken in [
            "Content-Length: +5",
            "Content-Length: -0",
            "Content-Length: 5,6",
            "Content-Length: 5, 5",
            "Content-Length: 5;",
            "Content-Length: 0x5",
            "Content-Length: ",
            "Content-Length: 18446744073709551616",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\ncontent-length: 5",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: chunked;foo=bar",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ] {
            let result = check_raw(&format!("POST / HTTP/1.1\r\n{broken}\r\n\r\n"));
            assert!(result.is_err(), "{broken}");
        }
    }

    #[test]
    fn lines_end_with_crlf() {
        assert!(check_lines(b"GET / HTTP/1.1\r\nA: b\r\n\r\n").is_ok());
        for broken in [
            b"GET / HTTP/1.1\nA: b\r\n\r\n".as_slice(),
            b"GET / HTTP/1.1\r\nA: b\n\n",
            b"GET /\rx\r\n\r\n",
        ] {
            assert!(check_lines(broken).is_err(), "{broken:?}");
        }
    }
}
