//! Decides whether two requests ask the same: the digest of everything that a vendor could act on.
//!
//! Every part stands behind its length, so that no octet of one part can be taken for one of the
//! next, and the body, whose length is not known before its end, comes last. Never reads what it
//! is given: the same JSON in another order is another request.

use crate::model::digest::{Pieces, Sha256};
use http::{HeaderMap, HeaderName, header};
use std::collections::BTreeSet;

/// The form of what is digested. Another one would make every retained key a mismatch.
const FORM: u8 = 1;

/// What a request asks, as a value that can be kept and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub Sha256);

/// The head of a request, as the vendor gets it.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its path after the route's prefix, byte for byte.
    pub path: &'a str,
    /// Its query, without `?`.
    pub query: Option<&'a str>,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// The fields by which this vendor's requests mean something else.
    pub semantic: &'a [HeaderName],
}

/// A fingerprint in the making, while the body comes in pieces.
#[derive(Clone, Debug)]
pub struct Taking(Pieces);

impl Taking {
    /// Begins with the head.
    pub fn begin(head: &Head<'_>) -> Taking {
        let mut pieces = Pieces::default();
        write_head(head, &mut |octets| pieces.add(octets));
        Taking(pieces)
    }

    /// The next piece of the body.
    pub fn add(&mut self, piece: &[u8]) {
        self.0.add(piece);
    }

    /// The body has ended.
    pub fn finish(self) -> Fingerprint {
        Fingerprint(self.0.finish())
    }
}

fn write_head(head: &Head<'_>, write: &mut impl FnMut(&[u8])) {
    write(&[FORM]);
    part(head.method.as_bytes(), write);
    part(head.path.as_bytes(), write);
    // `/a?` is not `/a`.
    write(&[u8::from(head.query.is_some())]);
    part(head.query.unwrap_or_default().as_bytes(), write);
    // Only fields that are there: a profile that learns of another one changes no fingerprint of
    // requests without it. In an order of their own, whatever order the profile names them in.
    let always = [header::CONTENT_TYPE, header::CONTENT_ENCODING];
    let wanted: BTreeSet<&str> =
        always.iter().chain(head.semantic).map(HeaderName::as_str).collect();
    let present = wanted.iter().filter(|name| head.headers.contains_key(**name));
    number(present.clone().count(), write);
    for name in present {
        part(name.as_bytes(), write);
        let values = head.headers.get_all(*name);
        number(values.iter().count(), write);
        values.iter().for_each(|value| part(value.as_bytes(), write));
    }
}

fn part(octets: &[u8], write: &mut impl FnMut(&[u8])) {
    number(octets.len(), write);
    write(octets);
}

fn number(number: usize, write: &mut impl FnMut(&[u8])) {
    // No address space holds more octets than 64 bits can count.
    write(&u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_assume, proptest};

    /// Everything that a fingerprint is of, with the fields as a list.
    #[derive(Clone, Debug, PartialEq)]
    struct Tuple {
        method: String,
        path: String,
        query: Option<String>,
        fields: Vec<(&'static str, Vec<Vec<u8>>)>,
        body: Vec<u8>,
    }

    const NAMES: [&str; 4] = ["content-encoding", "content-type", "if-match", "prefer"];

    impl Tuple {
        fn with_head<T>(&self, then: impl FnOnce(&Head<'_>) -> T) -> T {
            let mut headers = HeaderMap::new();
            for (name, values) in &self.fields {
                for value in values {
                    headers.append(*name, HeaderValue::from_bytes(value).expect("a value"));
                }
            }
            headers.insert("x-other", HeaderValue::from_static("never looked at"));
            let semantic = [HeaderName::from_static("prefer"), HeaderName::from_static("if-match")];
            let Tuple { method, path, query, .. } = self;
            let query = query.as_deref();
            then(&Head { method, path, query, headers: &headers, semantic: &semantic })
        }

        fn preimage(&self) -> Vec<u8> {
            let mut octets = Vec::new();
            self.with_head(|head| write_head(head, &mut |piece| octets.extend_from_slice(piece)));
            octets.extend_from_slice(&self.body);
            octets
        }

        fn fingerprint(&self) -> Fingerprint {
            self.with_head(|head| {
                let mut taking = Taking::begin(head);
                taking.add(&self.body);
                taking.finish()
            })
        }
    }

    /// Reads a preimage: what can be read back can't be another tuple's.
    fn read(mut octets: &[u8]) -> Tuple {
        fn take<'a>(octets: &mut &'a [u8], length: usize) -> &'a [u8] {
            let (taken, rest) = octets.split_at(length);
            *octets = rest;
            taken
        }
        fn count(octets: &mut &[u8]) -> usize {
            let number = take(octets, 8).try_into().expect("eight");
            usize::try_from(u64::from_be_bytes(number)).expect("small")
        }
        fn part(octets: &mut &[u8]) -> Vec<u8> {
            let length = count(octets);
            take(octets, length).to_vec()
        }
        let text = |octets: Vec<u8>| String::from_utf8(octets).expect("text");
        assert_eq!(take(&mut octets, 1), [FORM]);
        let method = text(part(&mut octets));
        let path = text(part(&mut octets));
        let has_query = take(&mut octets, 1) == [1];
        let query = text(part(&mut octets));
        let fields = (0..count(&mut octets)).map(|_| {
            let name = text(part(&mut octets));
            let name = NAMES.into_iter().find(|known| *known == name).expect("known");
            (name, (0..count(&mut octets)).map(|_| part(&mut octets)).collect())
        });
        let fields = fields.collect();
        let query = has_query.then_some(query);
        Tuple { method, path, query, fields, body: octets.to_vec() }
    }

    fn tuples() -> impl Strategy<Value = Tuple> {
        let value = proptest::collection::vec(proptest::sample::select(b"ab\x80 ,".to_vec()), 0..4);
        let values = proptest::collection::vec(value, 0..3);
        let fields = proptest::collection::vec(values, 4).prop_map(|values| {
            let fields = NAMES.into_iter().zip(values);
            fields.filter(|(_, values)| !values.is_empty()).collect()
        });
        let query = proptest::option::of("[a&=]{0,3}");
        let body = proptest::collection::vec(proptest::prelude::any::<u8>(), 0..12);
        ("(POST|PUT|P)", "/[ab/]{0,4}", query, fields, body).prop_map(
            |(method, path, query, fields, body)| Tuple { method, path, query, fields, body },
        )
    }

    proptest! {
        /// Two tuples with one preimage would both be read back from it.
        #[test]
        fn a_preimage_is_of_one_request(tuple in tuples()) {
            prop_assert_eq!(read(&tuple.preimage()), tuple);
        }

        #[test]
        fn different_requests_differ(one in tuples(), other in tuples()) {
            prop_assume!(one != other);
            prop_assert!(one.preimage() != other.preimage());
            prop_assert!(one.fingerprint() != other.fingerprint());
        }

        /// However the body comes in.
        #[test]
        fn pieces_make_no_difference(tuple in tuples(), size in 1usize..5) {
            let mut taking = tuple.with_head(Taking::begin);
            tuple.body.chunks(size).for_each(|piece| taking.add(piece));
            prop_assert_eq!(taking.finish(), tuple.fingerprint());
            prop_assert_eq!(tuple.fingerprint().0, Sha256::of(&tuple.preimage()));
        }
    }

    #[test]
    fn nothing_can_be_moved_from_one_part_to_the_next() {
        let tuple = |path: &str, query: Option<&str>, body: &str| Tuple {
            method: "POST".into(),
            path: path.into(),
            query: query.map(str::to_owned),
            fields: vec![("content-type", vec![b"a".to_vec()])],
            body: body.into(),
        };
        let all = [
            tuple("/a", Some("bc"), ""),
            tuple("/ab", Some("c"), ""),
            tuple("/abc", Some(""), ""),
            tuple("/abc", None, ""),
            tuple("/ab", None, "c"),
            tuple("/ab", None, r#"{"a":1,"b":2}"#),
            tuple("/ab", None, r#"{"b":2,"a":1}"#),
        ];
        let distinct: BTreeSet<Fingerprint> = all.iter().map(Tuple::fingerprint).collect();
        assert_eq!(distinct.len(), all.len());
    }

    /// Kept fingerprints have to be the same after an upgrade.
    #[test]
    fn the_form_does_not_change() {
        let tuple = Tuple {
            method: "POST".into(),
            path: "/v1/bills".into(),
            query: None,
            fields: vec![("content-type", vec![b"application/json".to_vec()])],
            body: b"{}".to_vec(),
        };
        assert_eq!(tuple.fingerprint().0.to_string(), KNOWN);
    }

    /// Computed once, with another program, from the octets that the form demands.
    const KNOWN: &str = "d69d6c4778821b7d50b81488b4fdd875bc597ac3e06594e0e2d52a5919f68b4a";
}
