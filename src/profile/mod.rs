//! Vendor profiles: what a kind of vendor does, as data, the same schema for ours and a user's.
//!
//! Everything here is compiled once, by `config::resolve`, and only looked at afterwards.

pub mod budget;
pub mod outcome;
pub mod wait;
pub mod when;

use crate::model::digest::Sha256;
use crate::model::path::PathPattern;
use budget::Budget;
use http::HeaderName;
use outcome::Matchers;
use wait::Backoff;

/// What a kind of vendor does.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its name, or the file it was read from.
    pub name: String,
    /// The digest of its text: tells whether two readings differ.
    pub digest: Sha256,
    /// Answer fields that hold the vendor's own id of the request, first present wins, in lower
    /// case.
    pub request_id_headers: Vec<HeaderName>,
    /// Request fields in which the vendor's SDKs put their key.
    pub key_headers: Vec<HeaderName>,
    /// Paths by which any record can be reached.
    pub open_doors: Vec<PathPattern>,
    /// What its answers mean; a vendor's own matchers come before them.
    pub outcomes: Matchers,
    /// How long to wait after a throttle that names no time.
    pub backoff: Backoff,
    /// What its answers say of what is left.
    pub budgets: Vec<Budget>,
    /// Request fields by which a write means something else: they are part of what a key stands
    /// for.
    pub semantic_headers: Vec<HeaderName>,
}

/// The profiles that come with erpgate: name and text.
pub const SHIPPED: [(&str, &str); 9] = [
    ("acumatica", include_str!("../../profiles/acumatica.toml")),
    ("avatax", include_str!("../../profiles/avatax.toml")),
    ("celigo", include_str!("../../profiles/celigo.toml")),
    ("generic", include_str!("../../profiles/generic.toml")),
    ("netsuite", include_str!("../../profiles/netsuite.toml")),
    ("salesforce", include_str!("../../profiles/salesforce.toml")),
    ("shiphawk", include_str!("../../profiles/shiphawk.toml")),
    ("shopify", include_str!("../../profiles/shopify.toml")),
    ("stripe", include_str!("../../profiles/stripe.toml")),
];
