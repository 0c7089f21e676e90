//! Pools, circuits and retries as a person typed them.

use super::at::At;
use super::rates::RawRates;
use super::table::Section;
use super::text::DurationText;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::fmt;

/// One vendor account: what everything that calls it shares.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPool {
    /// Requests at a time.
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrency: Option<At<i64>>,
    /// Requests in a time: one rate or several.
    pub rates: Option<At<RawRates>>,
    /// How many may wait, and for how long.
    pub queue: Option<Section<RawQueue>>,
    /// Whether `concurrency` is lowered while the vendor throttles, and how far.
    pub adaptive: Option<At<RawAdaptive>>,
    /// What is kept for clients of a priority.
    pub reserve: Option<Section<RawReserve>>,
}

/// How many may wait for a vendor, and for how long.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawQueue {
    /// Requests that may wait at a time, all clients together.
    #[schemars(extend("default" = 10000), range(min = 0, max = 1_000_000))]
    pub max_waiting: Option<At<i64>>,
    /// How long one may wait.
    #[schemars(extend("default" = "30s"))]
    pub max_wait: Option<At<DurationText>>,
}

/// What is kept for clients of a priority.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawReserve {
    /// The part of `concurrency` that only clients of high priority may use.
    #[schemars(extend("default" = 0.0), range(min = 0.0, max = 0.9))]
    pub high: Option<At<f64>>,
}

/// `false`, or `{ min = 1 }`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum RawAdaptive {
    /// Not adaptive; `true` is refused later, with its place.
    Switch(bool),
    /// Not below this many.
    Floor(RawFloor),
}

/// How far a limit may sink.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawFloor {
    /// Requests at a time.
    pub min: Option<At<i64>>,
}

impl<'de> Deserialize<'de> for RawAdaptive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Adaptive;
        impl<'de> Visitor<'de> for Adaptive {
            type Value = RawAdaptive;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`false` or a table")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<RawAdaptive, E> {
                Ok(RawAdaptive::Switch(on))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawAdaptive, A::Error> {
                RawFloor::deserialize(MapAccessDeserializer::new(map)).map(RawAdaptive::Floor)
            }
        }
        deserializer.deserialize_any(Adaptive)
    }
}

impl JsonSchema for RawAdaptive {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RawAdaptive".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "anyOf": [
                { "const": false },
                {
                    "type": "object",
                    "properties": { "min": { "type": "integer", "minimum": 1 } },
                    "required": ["min"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

/// When a vendor that fails is left alone.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCircuit {
    /// How far back failures count.
    #[schemars(extend("default" = "30s"))]
    pub window: Option<At<DurationText>>,
    /// Requests in the window, below which no ratio opens the circuit.
    #[schemars(extend("default" = 20), range(min = 1, max = 1_000_000))]
    pub min_requests: Option<At<i64>>,
    /// The part of the requests in the window whose failure opens the circuit.
    #[schemars(extend("default" = 0.5), range(min = 0.01, max = 1.0))]
    pub failure_ratio: Option<At<f64>>,
    /// Failures one after the other that open it.
    #[schemars(extend("default" = 8), range(min = 1, max = 1_000_000))]
    pub consecutive_failures: Option<At<i64>>,
    /// How long it is open at first; twice as long each time.
    #[schemars(extend("default" = "10s"))]
    pub open: Option<At<DurationText>>,
    /// How long it is open at most.
    #[schemars(extend("default" = "5m"))]
    pub open_max: Option<At<DurationText>>,
    /// Successes, one at a time, that close it.
    #[schemars(extend("default" = 3), range(min = 1, max = 1000))]
    pub probes: Option<At<i64>>,
    /// A read that tells whether the vendor is well: `"GET /path"`, the path behind `base_url`.
    /// Without it, clients' own reads do.
    pub probe: Option<At<String>>,
    /// Whether each route has a circuit of its own.
    #[schemars(extend("default" = false))]
    pub per_route: Option<bool>,
}

/// How often a request is sent again.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRetry {
    /// Attempts at most, the first included; waiting out a throttle is none.
    #[schemars(extend("default" = 3), range(min = 1, max = 10))]
    pub attempts: Option<At<i64>>,
    /// The part of the traffic that may be repetitions.
    #[schemars(extend("default" = 0.2), range(min = 0.0, max = 1.0))]
    pub budget: Option<At<f64>>,
    /// The longest wait before the first repetition; twice as long each time.
    #[schemars(extend("default" = "200ms"))]
    pub base: Option<At<DurationText>>,
    /// The longest wait.
    #[schemars(extend("default" = "10s"))]
    pub max: Option<At<DurationText>>,
}
