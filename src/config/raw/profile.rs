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
    /// Request fields in which the vendor's SDKs put their key, beside `Authorization` and
    /// `X-API-Key`: a client may put its API key there.
    #[schemars(extend("default" = []))]
    pub key_headers: Option<Vec<At<String>>>,
    /// Paths by which any record can be reached, whatever a policy says of other paths: queries,
    /// batches. `check` warns where one stands open beside a deny.
    #[schemars(extend("default" = []))]
    pub open_doors: Option<Vec<At<String>>>,
}
