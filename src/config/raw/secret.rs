//! References of secrets as a person typed them. A literal is taken too, but only as the fact
//! that there was one: its value is dropped here.

use super::at::At;
use crate::model::secret::SecretSource;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

/// Where a secret comes from: exactly one of these.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct RawReference {
    /// An environment variable.
    pub env: Option<At<String>>,
    /// A file, read again when it changes.
    pub file: Option<At<String>>,
    /// A program and its arguments; what it prints is the secret.
    pub command: Option<At<Vec<String>>>,
}

impl RawReference {
    /// The one source, its file as typed; `None` unless there is exactly one.
    pub fn source(&self) -> Option<SecretSource> {
        match (&self.env, &self.file, &self.command) {
            (Some(name), None, None) => Some(SecretSource::Env(name.value.clone())),
            (None, Some(path), None) => Some(SecretSource::File(PathBuf::from(&path.value))),
            (None, None, Some(argv)) => Some(SecretSource::Command(argv.value.clone())),
            _ => None,
        }
    }
}

/// A secret: a reference, or the fact that somebody typed something else.
#[derive(Debug)]
pub enum RawSecret {
    /// A table, which holds a reference.
    Reference(RawReference),
    /// Anything but a table. What it was is forgotten at once.
    Literal,
}

impl Serialize for RawSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            RawSecret::Literal => serializer.serialize_str("…"),
            RawSecret::Reference(reference) => match reference.source() {
                Some(source) => serializer.collect_str(&source),
                None => serializer.serialize_str("…"),
            },
        }
    }
}

impl JsonSchema for RawSecret {
    fn schema_name() -> Cow<'static, str> {
        RawReference::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        RawReference::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        RawReference::json_schema(generator)
    }
}

impl<'de> Deserialize<'de> for RawSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = RawSecret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawSecret, A::Error> {
        RawReference::deserialize(MapAccessDeserializer::new(map)).map(RawSecret::Reference)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawSecret, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(RawSecret::Literal)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<RawSecret, E> {
        Ok(RawSecret::Literal)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<RawSecret, E> {
        Ok(RawSecret::Literal)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<RawSecret, E> {
        Ok(RawSecret::Literal)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<RawSecret, E> {
        Ok(RawSecret::Literal)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<RawSecret, E> {
        Ok(RawSecret::Literal)
    }
}

/// Something that may be a secret: typed here, or as a reference.
#[derive(Debug)]
pub enum RawText {
    /// A table, which holds a reference.
    Reference(RawReference),
    /// The text itself.
    Typed(String),
}

impl Serialize for RawText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            // Some vendors take a key for a user name.
            RawText::Typed(_) => serializer.serialize_str("…"),
            RawText::Reference(reference) => match reference.source() {
                Some(source) => serializer.collect_str(&source),
                None => serializer.serialize_str("…"),
            },
        }
    }
}

impl JsonSchema for RawText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RawText".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let reference = generator.subschema_for::<RawReference>();
        schemars::json_schema!({ "anyOf": [{ "type": "string" }, reference] })
    }
}

impl<'de> Deserialize<'de> for RawText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = RawText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a table")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RawText, E> {
        Ok(RawText::Typed(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawText, A::Error> {
        RawReference::deserialize(MapAccessDeserializer::new(map)).map(RawText::Reference)
    }
}
