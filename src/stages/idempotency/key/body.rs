//! Finds one member of a JSON body, without keeping the rest.
//!
//! A member that stands there twice on the way is told of: the vendor may take the other one.

use crate::profile::when::Pointer;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// What is at the pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// Nothing, `null` or an empty string: records without an id of their own are written so.
    /// Or the body is not JSON.
    None,
    /// A string, or a whole number as text.
    Value(String),
    /// There are two.
    Twice,
    /// Something that is no name.
    Unfit,
}

/// Looks for it.
pub fn member(body: &[u8], pointer: &Pointer) -> Member {
    let names: Vec<String> = pointer.as_str().split('/').skip(1).map(unescaped).collect();
    let mut reader = serde_json::Deserializer::from_slice(body);
    let found = Way(&names).deserialize(&mut reader);
    match found.and_then(|found| reader.end().map(|()| found)) {
        Ok(Member::Value(value)) if value.is_empty() => Member::None,
        Ok(found) => found,
        Err(_) => Member::None,
    }
}

/// RFC 6901 §4.
fn unescaped(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}

/// The names that are still to be followed.
#[derive(Clone, Copy)]
struct Way<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for Way<'_> {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Way<'_> {
    /// A value that leads no further.
    fn end(self, value: impl FnOnce() -> Member) -> Member {
        if self.0.is_empty() { value() } else { Member::None }
    }
}

impl<'de> Visitor<'de> for Way<'_> {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Member, A::Error> {
        let Some((name, rest)) = self.0.split_first() else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Member::Unfit);
        };
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(Is(name))? {
            if is_it && found.is_none() {
                found = Some(map.next_value_seed(Way(rest))?);
                continue;
            }
            map.next_value::<IgnoredAny>()?;
            if is_it {
                found = Some(Member::Twice);
            }
        }
        Ok(found.unwrap_or(Member::None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Member, A::Error> {
        let step = self.0.split_first();
        let wanted = step.and_then(|(name, rest)| Some((name.parse::<usize>().ok()?, rest)));
        let mut found = self.end(|| Member::Unfit);
        let mut index = 0;
        loop {
            match wanted.filter(|(wanted, _)| *wanted == index) {
                Some((_, rest)) => match values.next_element_seed(Way(rest))? {
                    Some(value) => found = value,
                    None => break,
                },
                None if values.next_element::<IgnoredAny>()?.is_none() => break,
                None => {}
            }
            index += 1;
        }
        Ok(found)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Member, E> {
        Ok(self.end(|| Member::Value(value.to_owned())))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Member, E> {
        Ok(self.end(|| Member::Value(value.to_string())))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Member, E> {
        Ok(self.end(|| Member::Value(value.to_string())))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Member, E> {
        Ok(self.end(|| Member::Unfit))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Member, E> {
        Ok(self.end(|| Member::Unfit))
    }

    fn visit_unit<E: Error>(self) -> Result<Member, E> {
        Ok(Member::None)
    }
}

/// Whether a name is this one, escapes resolved.
struct Is<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    fn at(pointer: &str, body: &str) -> Member {
        member(body.as_bytes(), &Pointer::parse(pointer).expect(pointer))
    }

    fn value(text: &str) -> Member {
        Member::Value(text.to_owned())
    }

    #[test]
    fn one_member_is_found() {
        for (pointer, body, expected) in [
            ("/id", r#"{"a":{"id":"no"},"id":"yes"}"#, value("yes")),
            ("/id", r#" {"id":42,"a":[1,{"id":2}]} "#, value("42")),
            ("/id", r#"{"id":-7}"#, value("-7")),
            ("/a/id", r#"{"id":"no","a":{"b":0,"id":"yes"}}"#, value("yes")),
            ("/a/1/id", r#"{"a":[{"id":"no"},{"id":"yes"},{"id":"no"}]}"#, value("yes")),
            ("/0", r#"["yes","no"]"#, value("yes")),
            ("/a~1b~0", r#"{"a/b~":"yes"}"#, value("yes")),
            ("/id", r#"{"\u0069d":"\u00e9"}"#, value("é")),
            ("/id", r#"{"id":null}"#, Member::None),
            ("/id", r#"{"id":""}"#, Member::None),
            ("/id", r#"{"ID":"x"}"#, Member::None),
            ("/id/x", r#"{"id":"x"}"#, Member::None),
            ("/5", r#"["x"]"#, Member::None),
            ("/x", r#"["x"]"#, Member::None),
            ("/id", r#""id""#, Member::None),
            ("/id", "", Member::None),
            ("/id", r#"{"id":"x""#, Member::None),
            ("/id", r#"{"id":"x"} {}"#, Member::None),
            ("/id", "id=x", Member::None),
            ("/id", r#"{"id":"x","id":"y"}"#, Member::Twice),
            ("/id", r#"{"id":"x","i\u0064":"x"}"#, Member::Twice),
            ("/id", r#"{"id":null,"id":"x"}"#, Member::Twice),
            ("/a/id", r#"{"a":{"id":"x"},"a":{}}"#, Member::Twice),
            ("/id", r#"{"id":{}}"#, Member::Unfit),
            ("/id", r#"{"id":["x"]}"#, Member::Unfit),
            ("/id", r#"{"id":true}"#, Member::Unfit),
            ("/id", r#"{"id":1.5}"#, Member::Unfit),
            ("/id", r#"{"id":99999999999999999999}"#, Member::Unfit),
        ] {
            assert_eq!(at(pointer, body), expected, "{pointer} in {body}");
        }
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = format!("{{\"a\":{}1{},\"id\":\"x\"}}", "[".repeat(9_999), "]".repeat(9_999));
        assert_eq!(at("/id", &deep), value("x"));
    }

    proptest! {
        #[test]
        fn garbage_is_looked_at_in_peace(body in any::<Vec<u8>>(), text in "[{}\\[\\]\":,a0 ]*") {
            let pointer = Pointer::parse("/a/0").expect("one");
            member(&body, &pointer);
            member(text.as_bytes(), &pointer);
        }
    }
}
