//! Takes content codings off bodies, as far as that can be done within bounds.

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, header};
use std::io::Read;

/// What was seen of a body without its content coding, and whether it is all of it; nothing where
/// the coding can't be undone.
pub fn decoded(headers: &HeaderMap, seen: Bytes, complete: bool, most: usize) -> (Bytes, bool) {
    let coding = headers.get(header::CONTENT_ENCODING).map(|coding| coding.as_bytes());
    match coding {
        None => (seen, complete),
        Some(coding) if coding.eq_ignore_ascii_case(b"identity") => (seen, complete),
        Some(coding) if coding.eq_ignore_ascii_case(b"gzip") => {
            // One octet more than is looked at tells whether there is more.
            let mut plain = Vec::new();
            let limit = most as u64 + 1;
            let whole = GzDecoder::new(&*seen).take(limit).read_to_end(&mut plain).is_ok();
            let complete = complete && whole && plain.len() <= most;
            plain.truncate(most);
            (Bytes::from(plain), complete)
        }
        Some(_) => (Bytes::new(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http::HeaderValue;
    use std::io::Write;

    fn with(coding: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(coding) = coding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        headers
    }

    #[test]
    fn codings_are_undone_within_bounds() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&[b'a'; 1000]).expect("memory");
        let packed = Bytes::from(encoder.finish().expect("memory"));
        let plain = Bytes::from(vec![b'a'; 1000]);
        for (coding, seen, complete, most, expected, told) in [
            (None, &plain, true, 2000, 1000, true),
            (Some("identity"), &plain, false, 2000, 1000, false),
            (Some("GZIP"), &packed, true, 2000, 1000, true),
            (Some("gzip"), &packed, true, 1000, 1000, true),
            (Some("gzip"), &packed, true, 999, 999, false),
            (Some("gzip"), &plain, true, 2000, 0, false),
            (Some("br"), &packed, true, 2000, 0, false),
        ] {
            let (octets, all) = decoded(&with(coding), seen.clone(), complete, most);
            assert_eq!((octets.len(), all), (expected, told), "{coding:?} {most}");
        }
    }
}
