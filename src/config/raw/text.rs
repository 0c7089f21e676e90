//! Strings with a meaning of their own: durations and sizes, kept as typed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A whole number and one of ms, s, m, h, d: "250ms", "30s", "15m", "24h", "30d".
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent, inline, extend("pattern" = "^[0-9]+(ms|s|m|h|d)$"))]
pub struct DurationText(pub String);

/// A whole number and one of B, KiB, MiB, GiB: "32KiB", "10MiB"; where the key says so, "none".
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent, inline, extend("pattern" = "^([0-9]+(B|KiB|MiB|GiB)|none)$"))]
pub struct SizeText(pub String);
