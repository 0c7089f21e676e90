//! Rates as a person typed them: one, or a list of them, each with a burst or without.

use super::at::At;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::fmt;

/// One rate, or several.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum RawRates {
    /// `"600/minute"`.
    One(String),
    /// `["10/second", { rate = "600/minute", burst = 60 }]`.
    List(Vec<At<RawRate>>),
}

/// One rate of a list.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum RawRate {
    /// `"600/minute"`.
    Plain(String),
    /// `{ rate = "600/minute", burst = 60 }`.
    WithBurst(RawBurst),
}

/// A rate with its burst.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawBurst {
    /// The rate.
    pub rate: Option<At<String>>,
    /// Requests at once.
    pub burst: Option<At<i64>>,
}

impl<'de> Deserialize<'de> for RawRates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rates;
        impl<'de> Visitor<'de> for Rates {
            type Value = RawRates;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate or a list of rates")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawRates, E> {
                Ok(RawRates::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawRates, A::Error> {
                let mut rates = Vec::new();
                while let Some(rate) = seq.next_element()? {
                    rates.push(rate);
                }
                Ok(RawRates::List(rates))
            }
        }
        deserializer.deserialize_any(Rates)
    }
}

impl<'de> Deserialize<'de> for RawRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rate;
        impl<'de> Visitor<'de> for Rate {
            type Value = RawRate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a table")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawRate, E> {
                Ok(RawRate::Plain(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawRate, A::Error> {
                RawBurst::deserialize(MapAccessDeserializer::new(map)).map(RawRate::WithBurst)
            }
        }
        deserializer.deserialize_any(Rate)
    }
}

impl JsonSchema for RawRates {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RawRates".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = "^[0-9]+/(second|minute|hour|day)$";
        schemars::json_schema!({
            "anyOf": [
                { "type": "string", "pattern": pattern },
                { "type": "array", "items": { "anyOf": [
                    { "type": "string", "pattern": pattern },
                    {
                        "type": "object",
                        "properties": {
                            "rate": { "type": "string", "pattern": pattern },
                            "burst": { "type": "integer", "minimum": 1 }
                        },
                        "required": ["rate"],
                        "additionalProperties": false
                    }
                ] } }
            ]
        })
    }
}
