//! A vendor profile as a person typed it.

use super::at::At;
use super::outcome::RawOutcomes;
use super::protection::{RawReconcile, RawVendorKey};
use super::table::Section;
use super::text::DurationText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a kind of vendor does.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "vendor profile")]
pub struct RawProfile {
    /// Answer fields that hold the vendor's own id of the request; the first present one wins.
    #[schemars(extend("default" = []))]
    pub request_id_headers: Option<Vec<At<String>>>,
    /// Request fields in which the vendor's SDKs put their key, beside `Authorization` and
    /// `X-API-Key`: a client may put its API key there.
    #[schemars(extend("default" = []))]
    pub key_headers: Option<Vec<At<String>>>,
    /// Paths by which any record can be reached, whatever a policy says of other paths: queries,
    /// batches. `check` warns where one stands open beside a deny.
    #[schemars(extend("default" = []))]
    pub open_doors: Option<Vec<At<String>>>,
    /// What its answers mean; the first that applies decides. A vendor's own come before these.
    pub outcome: Option<RawOutcomes>,
    /// How long to wait after a throttle that names no time.
    pub backoff: Option<Section<RawBackoff>>,
    /// What its answers say of what is left.
    pub budget: Option<At<Vec<Section<RawBudget>>>>,
    /// Request fields by which a write means something else: with another value in one of them,
    /// the same idempotency key is a mistake.
    #[schemars(extend("default" = []))]
    pub semantic_headers: Option<Vec<At<String>>>,
    /// What the vendor is sent in the place of a client's idempotency key.
    pub vendor_key: Option<Section<RawVendorKey>>,
    /// How a create of unknown outcome is looked up.
    pub reconcile: Option<Section<RawReconcile>>,
}

/// How long to wait after a throttle that names no time: each time twice as long.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawBackoff {
    /// After the first throttle.
    #[schemars(extend("default" = "1s"))]
    pub base: Option<At<DurationText>>,
    /// At most.
    #[schemars(extend("default" = "30s"))]
    pub max: Option<At<DurationText>>,
}

/// A budget that the vendor's answers tell of.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawBudget {
    /// Its name: metric label.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// The answer field that tells of it.
    #[schemars(required)]
    pub header: Option<At<String>>,
    /// How the field is written: `used/limit`, `KEY=used/limit` or `remaining`.
    #[schemars(required)]
    pub format: Option<At<String>>,
    /// `remaining`: how much there is in all.
    #[schemars(range(min = 1))]
    pub limit: Option<At<i64>>,
    /// `remaining`: the answer field that says how much there is in all.
    pub limit_header: Option<At<String>>,
    /// How fast it fills up again, as in `2/second`; without it, nobody knows.
    pub restore: Option<At<String>>,
    /// The fraction that is kept for clients of high priority.
    #[schemars(extend("default" = 0.05), range(min = 0.0, max = 0.9))]
    pub reserve: Option<At<f64>>,
}
