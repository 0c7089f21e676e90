//! A vendor profile as a person typed it.

use super::at::At;
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
}
