//! What protects writes, as a person typed it: the ledger, a vendor's own key, look-ups, and what
//! a route does after an unknown outcome.

use super::at::At;
use super::outcome::RawWhen;
use super::secret::RawSecret;
use super::table::Section;
use super::text::{DurationText, SizeText};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where protected writes are written down.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLedger {
    /// The file. A change needs a restart.
    #[schemars(extend("default" = "data/ledger.db"))]
    pub path: Option<At<String>>,
    /// A ledger of several gateways: it is refused with a word of its own.
    #[schemars(skip)]
    pub url: Option<At<RawSecret>>,
    /// Whether one is made where there is no file. A change needs a restart.
    #[schemars(extend("default" = true))]
    pub create: Option<bool>,
    /// How long keys of answered writes are kept.
    #[schemars(extend("default" = "30d"))]
    pub retention: Option<At<DurationText>>,
    /// How long their answers are; not longer than `retention`.
    #[schemars(extend("default" = "7d"))]
    pub answer_retention: Option<At<DurationText>>,
    /// The largest answer body that is kept. A change needs a restart.
    #[schemars(extend("default" = "1MiB"))]
    pub answer_max: Option<At<SizeText>>,
    /// Encrypts what is kept: 32 bytes, as 64 hexadecimal digits or in base64. A change needs a
    /// restart.
    pub encryption_key: Option<At<RawSecret>>,
}

/// What a later call meets after an unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawAmbiguous {
    /// `outcome-unknown`.
    Hold,
    /// The vendor's answer, if there was one.
    Replay,
    /// A new attempt, while the vendor's own key protects.
    Retry,
}

/// Which complete answers keep a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawStores {
    /// All of them.
    All,
    /// A 4xx frees the key.
    Success,
}

/// What a vendor is sent in the place of a client's key: in exactly one place.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct RawVendorKey {
    /// In this field.
    pub header: Option<At<String>>,
    /// With `header`: a further field that has to go with it, as in `"Prefer: respond-async"`.
    pub companion: Option<At<String>>,
    /// In the path: `POST /orders` becomes `PUT /orders/NAME:KEY`, which creates or updates.
    pub path: Option<At<String>>,
    /// In this parameter of the query.
    pub query: Option<At<String>>,
    /// In this member of a JSON body (RFC 6901).
    pub body: Option<At<String>>,
    /// The form that the vendor takes: `uuid`, `hex32`, `alphanumeric:20`, or `20 of 0-9A-Z_`.
    #[schemars(extend("default" = "uuid"))]
    pub format: Option<At<String>>,
    /// How long the vendor remembers a key, from its first sending; without it, nobody knows.
    pub window: Option<At<DurationText>>,
    /// There is none, whatever the profile says.
    pub off: Option<At<bool>>,
}

/// How the vendor is asked whether it acted on a create of unknown outcome.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawReconcile {
    /// The question, `"GET /path"` behind the vendor's `base_url`: `{key}` is the value that the
    /// vendor was sent, `{N}` the N-th segment of the create's path behind the route's prefix.
    #[schemars(required)]
    pub lookup: Option<At<String>>,
    /// Which answers say that it acted.
    #[schemars(required)]
    pub executed: Option<Section<RawWhen>>,
    /// Which answers say that it did not.
    #[schemars(required)]
    pub not_executed: Option<Section<RawWhen>>,
    /// Patterns of the paths whose POST creates what is looked up, behind the route's prefix.
    /// Without it: the path of the look-up before the segment, or the query, that holds `{key}`.
    pub creates: Option<At<Vec<At<String>>>>,
    /// Where the vendor has to be sent the value that it is asked for, as in
    /// `idempotency_key_from`: `path:eid:*`, `body:/externalId`. Without it, anywhere.
    pub sent_in: Option<At<Vec<At<String>>>>,
}
