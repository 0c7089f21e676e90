//! `[[outcome]]` as a person typed it: in a profile, and in `[[vendors.NAME.outcome]]`.

use super::at::At;
use super::table::Section;
use crate::profile::outcome::{Class, Executed, Scope};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Outcome matchers, in the order in which they are looked at.
pub type RawOutcomes = At<Vec<Section<RawOutcome>>>;

/// What an answer of the vendor means.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawOutcome {
    /// When it applies: everything that is named has to hold.
    #[schemars(required)]
    pub when: Option<Section<RawWhen>>,
    /// What the answer means then.
    #[schemars(required)]
    pub class: Option<At<Class>>,
    /// Whom it is about; without it, what is usual for the class.
    pub scope: Option<Scope>,
    /// How long to wait: a duration, `header:NAME` or `pointer:/…`, the latter two with ` s`,
    /// ` ms` or ` epoch` behind them. Without it, what `Retry-After` says.
    pub wait: Option<At<String>>,
    /// Whether the vendor acted, where the class does not say it.
    pub executed: Option<Executed>,
}

/// When an outcome matcher applies.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawWhen {
    /// A status, a class of them as in `5xx`, or a list of those; without it, every status.
    pub status: Option<At<RawStatuses>>,
    /// A field that has to be there; as `Name: value`, with that value.
    pub header: Option<At<String>>,
    /// A place in a JSON body (RFC 6901) where a value has to be.
    pub pointer: Option<At<String>>,
    /// What the value at `pointer`, or of `header`, is.
    pub equals: Option<At<String>>,
    /// A regular expression that matches a part of that value; without `pointer` and `header`, of
    /// the body.
    pub matches: Option<At<String>>,
    /// A part of that value; without `pointer` and `header`, of the body.
    pub contains: Option<At<String>>,
}

/// One status or class of them, or several.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum RawStatuses {
    /// `429` or `"5xx"`.
    One(RawStatus),
    /// `[400, "5xx"]`.
    List(Vec<RawStatus>),
}

/// One status, or a class of them.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum RawStatus {
    /// `429`.
    Number(i64),
    /// `"5xx"`.
    Text(String),
}

impl RawStatuses {
    /// Each of them.
    pub fn as_slice(&self) -> &[RawStatus] {
        match self {
            RawStatuses::One(status) => std::slice::from_ref(status),
            RawStatuses::List(statuses) => statuses,
        }
    }
}

impl<'de> Deserialize<'de> for RawStatuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Statuses;
        impl<'de> Visitor<'de> for Statuses {
            type Value = RawStatuses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status, a class of them as in \"5xx\", or a list of those")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<RawStatuses, E> {
                Ok(RawStatuses::One(RawStatus::Number(number)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawStatuses, E> {
                Ok(RawStatuses::One(RawStatus::Text(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawStatuses, A::Error> {
                let mut statuses = Vec::new();
                while let Some(status) = seq.next_element()? {
                    statuses.push(status);
                }
                Ok(RawStatuses::List(statuses))
            }
        }
        deserializer.deserialize_any(Statuses)
    }
}

impl<'de> Deserialize<'de> for RawStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Status;
        impl Visitor<'_> for Status {
            type Value = RawStatus;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status, or a class of them as in \"5xx\"")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<RawStatus, E> {
                Ok(RawStatus::Number(number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawStatus, E> {
                Ok(RawStatus::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Status)
    }
}

impl JsonSchema for RawStatuses {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RawStatuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = serde_json::json!([
            { "type": "integer", "minimum": 100, "maximum": 599 },
            { "type": "string", "pattern": "^[1-5]xx$" }
        ]);
        let list = serde_json::json!({ "type": "array", "minItems": 1, "items": { "anyOf": one } });
        let [number, class] = [one.get(0), one.get(1)];
        schemars::json_schema!({ "anyOf": [number, class, list] })
    }
}
