//! Looks at the octets of a request line before the parser repairs them (RFC 9112 §3).

/// A request line as its octets come in, in any number of parts.
#[derive(Debug, Default)]
pub struct RequestLine {
    state: State,
    spaces: u8,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// Empty lines before the first octet are ignored (RFC 9112 §2.2).
    #[default]
    Before,
    Within,
    /// What follows is not its affair.
    Done,
}

impl RequestLine {
    /// Takes the next octets; returns whether they show that the line is not exactly method,
    /// space, target, space, version, with a target of legal octets.
    pub fn takes(&mut self, octets: &[u8]) -> bool {
        for &octet in octets {
            match (&self.state, octet) {
                (State::Done, _) => return false,
                (State::Before, b'\r' | b'\n') => {}
                (_, b'\r' | b'\n') => {
                    self.state = State::Done;
                    return self.spaces != 2;
                }
                (_, b' ') => {
                    self.state = State::Within;
                    self.spaces = self.spaces.saturating_add(1);
                }
                (_, octet) => {
                    self.state = State::Within;
                    if !is_legal(octet) {
                        self.state = State::Done;
                        return true;
                    }
                }
            }
        }
        false
    }
}

/// What may stand in a URI or a version (RFC 3986 appendix A), and `|` and `^`, which clients
/// send unescaped and every vendor takes; `#` begins a fragment, which is never sent; a backslash
/// is for the path's own check to name.
fn is_legal(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'"' | b'<' | b'>' | b'#' | b'`')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_what_would_be_repaired() {
        for (line, broken) in [
            ("GET / HTTP/1.1\r\n", false),
            ("\r\nGET /a?b=c%20d|e HTTP/1.1\r\n", false),
            ("GET /a b HTTP/1.1\r\n", true),
            ("GET  / HTTP/1.1\r\n", true),
            ("GET /<a> HTTP/1.1\r\n", true),
            ("GET /a#b HTTP/1.1\r\n", true),
            ("GET /caf\u{e9} HTTP/1.1\r\n", true),
            ("GET /\t HTTP/1.1\r\n", true),
            ("GET /\r\n", true),
        ] {
            assert_eq!(RequestLine::default().takes(line.as_bytes()), broken, "{line:?}");
            let mut in_parts = RequestLine::default();
            let broken_in_parts = line.as_bytes().chunks(1).any(|part| in_parts.takes(part));
            assert_eq!(broken_in_parts, broken, "{line:?} in parts");
        }
    }

    #[test]
    fn what_follows_the_line_is_not_its_affair() {
        let mut line = RequestLine::default();
        assert!(!line.takes(b"GET / HTTP/1.1\r\nX: <\"\r\n\r\nbody \xff"));
    }
}
