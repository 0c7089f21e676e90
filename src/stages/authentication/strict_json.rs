//! Reads JSON that nobody could read differently: no member twice, no deep nesting.
//!
//! RFC 7515 §5.2 and RFC 8259 §4 leave it to a reader what a doubled member means; two readers
//! that choose differently are an attack.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Objects and arrays inside each other.
const DEPTH_MAX: u8 = 8;

/// Why a text was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is not JSON, or not UTF-8, or not an object.
    NotAnObject,
    /// A member is there twice.
    Doubled,
    /// It is nested too deep.
    TooDeep,
}

/// Reads one object.
///
/// # Errors
/// Why it was not taken.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, Unfit> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Strict(DEPTH_MAX).deserialize(&mut reader);
    let value = read.and_then(|value| reader.end().map(|()| value)).map_err(|error| {
        // The words are our own; serde adds where it was.
        let text = error.to_string();
        match (text.starts_with(DOUBLED), text.starts_with(TOO_DEEP)) {
            (true, _) => Unfit::Doubled,
            (_, true) => Unfit::TooDeep,
            _ => Unfit::NotAnObject,
        }
    })?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(Unfit::NotAnObject),
    }
}

const DOUBLED: &str = "a member is there twice";
const TOO_DEEP: &str = "nested too deep";

/// A value with so many levels left.
#[derive(Clone, Copy)]
struct Strict(u8);

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Strict {
    fn inside<E: Error>(self) -> Result<Strict, E> {
        self.0.checked_sub(1).map(Strict).ok_or_else(|| E::custom(TOO_DEEP))
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(inside)?;
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom(DOUBLED));
            }
        }
        Ok(Value::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inside)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read() {
        let read = object(br#" {"a":[1,-2,3.5,true,null],"b":{"c":"x"}} "#).expect("read");
        assert_eq!(
            Value::Object(read),
            serde_json::json!({
                "a": [1, -2, 3.5, true, null], "b": {"c": "x"}
            })
        );
    }

    #[test]
    fn everything_else_is_not() {
        let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        assert!(object(deep(8).as_bytes()).is_ok());
        for (text, expected) in [
            (r#"{"a":1,"a":1}"#.to_owned(), Unfit::Doubled),
            (r#"{"a":1,"\u0061":2}"#.to_owned(), Unfit::Doubled),
            (r#"{"b":{"a":1,"a":2}}"#.to_owned(), Unfit::Doubled),
            (deep(9), Unfit::TooDeep),
            (format!("{{\"a\":{}{}}}", "[".repeat(8), "]".repeat(8)), Unfit::TooDeep),
            ("[".repeat(100_000), Unfit::TooDeep),
            ("[]".to_owned(), Unfit::NotAnObject),
            ("{} {}".to_owned(), Unfit::NotAnObject),
            (r#"{"a":1e400}"#.to_owned(), Unfit::NotAnObject),
            (r#"{"a":NaN}"#.to_owned(), Unfit::NotAnObject),
            (String::new(), Unfit::NotAnObject),
        ] {
            assert_eq!(object(text.as_bytes()), Err(expected), "{text:.40}");
        }
        assert_eq!(object(b"{\"a\":\"\xc3\x28\"}"), Err(Unfit::NotAnObject));
    }
}
