//! A client's policy as a person typed it, and the one that holds for all clients.

use super::at::At;
use super::rates::RawRates;
use super::table::Section;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What one client may do: deny is the default.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "client policy")]
pub struct RawPolicy {
    /// The client's name in logs and metrics.
    #[schemars(required)]
    pub client: Option<At<String>>,
    /// What it is.
    pub description: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Its place in vendors' queues.
    #[schemars(extend("default" = "normal"))]
    pub priority: Option<RawPriority>,
    /// Its weight among clients of the same priority.
    #[schemars(extend("default" = 1), range(min = 1, max = 1000))]
    pub share: Option<At<i64>>,
    /// Why it may do nothing for now.
    pub suspended: Option<At<String>>,
    /// What proves to be this client.
    pub identity: Option<At<Vec<Section<RawIdentity>>>>,
    /// What bounds it.
    pub limits: Option<Section<RawLimits>>,
    /// What it may do; the first that matches is the rule.
    pub allow: Option<At<Vec<Section<RawAllow>>>>,
    /// What it may not do, whatever an allow says.
    pub deny: Option<At<Vec<Section<RawDeny>>>>,
}

/// What holds for every client: `_all.toml`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCommonPolicy {
    /// What bounds each client by itself, on top of its own limits.
    pub limits: Option<Section<RawLimits>>,
    /// What nobody may do.
    pub deny: Option<At<Vec<Section<RawDeny>>>>,
}

/// One proof of who a client is: a token's client, an API key or a certificate.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawIdentity {
    /// Name of the token's `[[issuer]]`.
    pub issuer: Option<At<String>>,
    /// What the issuer calls the client.
    pub client_id: Option<At<String>>,
    /// Whether only certificate-bound tokens count (RFC 8705).
    #[schemars(extend("default" = false))]
    pub require_bound_token: Option<At<bool>>,
    /// SHA-256 of an API key, as `erpgate key new` prints it.
    pub api_key_sha256: Option<At<String>>,
    /// SHA-256 of a client certificate.
    pub certificate_sha256: Option<At<String>>,
    /// A subject alternative name of a client certificate.
    pub certificate_san: Option<At<String>>,
    /// What a key or certificate is good for; of a token, what its scopes are capped by.
    pub scopes: Option<Vec<At<String>>>,
    /// Last day of an API key, in UTC.
    pub expires: Option<At<RawDate>>,
}

/// A date without quotes, as in 2027-06-30.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct RawDate(pub toml::Value);

impl JsonSchema for RawDate {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RawDate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "format": "date" })
    }
}

/// What bounds a client.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLimits {
    /// Requests in each period.
    pub rate: Option<At<RawRates>>,
    /// Requests at once; one second's worth without it.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<At<i64>>,
    /// Requests in a calendar day.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub daily: Option<At<i64>>,
    /// Time zone whose midnight begins a new day.
    #[schemars(extend("default" = "UTC"))]
    pub timezone: Option<At<String>>,
    /// Requests at a time, those that wait included.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub concurrency: Option<At<i64>>,
}

/// Something that a client may do.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawAllow {
    /// Name of a route.
    #[schemars(required)]
    pub route: Option<At<String>>,
    /// Methods; `["*"]`: all of the route's.
    #[schemars(required)]
    pub methods: Option<At<Vec<At<String>>>>,
    /// Path patterns, after the route's prefix: `*` is one segment, `**` any number of them.
    #[schemars(required)]
    pub paths: Option<At<Vec<At<String>>>>,
    /// Query parameters and the values that they need to have, once each.
    pub query: Option<BTreeMap<At<String>, At<String>>>,
    /// Scopes, all of which are needed.
    pub scopes: Option<At<Vec<At<String>>>>,
    /// What writes under this rule need; the stricter of route and rule wins.
    pub idempotency: Option<At<RawIdempotency>>,
    /// Name of one of the vendor's credentials.
    pub credential: Option<At<String>>,
    /// Requests in each period, of this client under this rule.
    pub rate: Option<At<RawRates>>,
    /// Requests at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<At<i64>>,
    /// Requests in a calendar day.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub daily: Option<At<i64>>,
    /// Requests at a time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub concurrency: Option<At<i64>>,
}

/// Something that may not be done. What is left out means any.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawDeny {
    /// Name of a route.
    pub route: Option<At<String>>,
    /// Methods.
    pub methods: Option<At<Vec<At<String>>>>,
    /// Path patterns, matched without regard to case and to a trailing slash.
    pub paths: Option<At<Vec<At<String>>>>,
    /// Query parameters and the values that they may not have.
    pub query: Option<At<BTreeMap<At<String>, At<String>>>>,
    /// Scopes: credentials that are good for all of them.
    pub scopes: Option<At<Vec<At<String>>>>,
    /// Why, for the audit log.
    pub reason: Option<String>,
}

/// Whose turn comes first in the queue of a vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawPriority {
    /// First.
    High,
    /// In between.
    Normal,
    /// Last.
    Low,
}

/// What is said of idempotency keys on writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawIdempotency {
    /// One has to be there.
    Required,
    /// One protects.
    Optional,
    /// None is looked at.
    Off,
}
