//! Takes a request target apart: decoded path segments and decoded query pairs.

/// A request target, as received and in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Path and query as hyper passes them on.
    pub raw: String,
    /// The path's segments, percent-decoded; one trailing slash makes no difference.
    pub segments: Vec<String>,
    /// The query's pairs in order, percent-decoded, `+` read as a space.
    pub query: Vec<(String, String)>,
}

impl Target {
    /// Takes `uri` apart. `None` when an escape is no escape or doesn't give UTF-8.
    pub fn parse(uri: &http::Uri) -> Option<Target> {
        let path = uri.path().strip_prefix('/').unwrap_or(uri.path());
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments = path.split('/').map(decode).collect::<Option<Vec<_>>>()?;
        let query = pairs(uri.query().unwrap_or_default())?;
        let raw = uri.path_and_query().map_or(uri.path(), |whole| whole.as_str());
        Some(Target { raw: raw.to_owned(), segments, query })
    }

    /// The first value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The pairs of a query or of a form, in order and decoded, `+` read as a space. `None` as in
/// [`Target::parse`].
pub fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(&name.replace('+', " "))?, decode(&value.replace('+', " "))?))
        })
        .collect()
}

/// Undoes percent-encoding. `None` as in [`Target::parse`].
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn a_target_comes_apart_into_decoded_pieces() {
        let uri = "/a/eid:C%41-1/?limit=5&q=a+b%3D&x".parse().unwrap();
        let target = Target::parse(&uri).unwrap();
        assert_eq!(target.segments, ["a", "eid:CA-1"]);
        assert_eq!(target.parameter("limit"), Some("5"));
        assert_eq!(target.parameter("q"), Some("a b="));
        assert_eq!(target.parameter("x"), Some(""));
        assert_eq!(target.parameter("y"), None);
        assert_eq!(target.raw, "/a/eid:C%41-1/?limit=5&q=a+b%3D&x");
    }

    #[test]
    fn broken_escapes_are_no_target() {
        for bad in ["/a%2", "/a%zz", "/%ff", "/a?b=%4"] {
            assert_eq!(Target::parse(&bad.parse().unwrap()), None, "{bad}");
        }
    }
}
