//! The files as a person typed them: every key optional, nothing interpreted, every value with
//! its place.
//!
//! What is missing, out of range or contradictory is for [`super::resolve`] to say; here only
//! the shape counts. The doc comments are the descriptions in `erpgate schema`.

pub mod at;
pub mod issuer;
pub mod outcome;
pub mod policy;
pub mod pool;
pub mod profile;
pub mod protection;
pub mod rates;
pub mod read;
pub mod secret;
pub mod table;
pub mod text;
pub mod vendor;

use at::At;
use issuer::RawIssuer;
use policy::RawIdempotency;
use pool::RawPool;
use protection::{RawAmbiguous, RawLedger, RawReconcile, RawStores};
use schemars::JsonSchema;
use secret::RawSecret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use table::Section;
use text::{DurationText, SizeText};
use vendor::RawVendor;

/// The erpgate gateway: platform and operations.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "gateway.toml")]
pub struct RawGateway {
    /// The process.
    pub server: Option<Section<RawServer>>,
    /// Addresses that clients connect to; at least one.
    #[schemars(required)]
    pub listener: Option<At<Vec<Section<RawListener>>>>,
    /// The operators' listener.
    pub admin: Option<Section<RawAdmin>>,
    /// Who makes tokens for clients.
    pub issuer: Option<At<Vec<Section<RawIssuer>>>>,
    /// Where protected writes are written down.
    pub ledger: Option<Section<RawLedger>>,
    /// Where the policies of clients are.
    pub policies: Option<Section<RawPolicies>>,
    /// Vendor accounts that several vendors share, by name.
    pub pools: Option<BTreeMap<At<String>, Section<RawPool>>>,
    /// Services that requests are sent to, by name.
    pub vendors: Option<BTreeMap<At<String>, Section<RawVendor>>>,
    /// Which requests go to which vendor.
    pub route: Option<At<Vec<Section<RawRoute>>>>,
    /// What is never logged.
    pub log: Option<Section<RawLog>>,
}

/// The process.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawServer {
    /// Names this deployment in `Via` and `Proxy-Status`.
    #[schemars(extend("default" = "erpgate"), length(min = 1, max = 64))]
    pub name: Option<At<String>>,
    /// Worker threads; 0 is one per core. A change needs a restart.
    #[schemars(extend("default" = 0), range(min = 0, max = 1024))]
    pub workers: Option<At<i64>>,
    /// How long requests under way may take to finish after SIGTERM.
    #[schemars(extend("default" = "30s"))]
    pub drain_timeout: Option<At<DurationText>>,
    /// Addresses and networks whose `X-Forwarded-For` is believed.
    #[schemars(extend("default" = []))]
    pub trusted_proxies: Option<Vec<At<String>>>,
    /// Memory for request bodies, all requests together; beyond it they go to disk.
    #[schemars(extend("default" = "256MiB"))]
    pub buffer_memory: Option<At<SizeText>>,
    /// Disk for request bodies, all requests together; beyond it requests are refused.
    #[schemars(extend("default" = "1GiB"))]
    pub buffer_disk: Option<At<SizeText>>,
    /// Socket by which a successor takes the listeners over. A change needs a restart.
    #[schemars(extend("default" = "data/handover.sock"))]
    pub handover: Option<At<String>>,
    /// Failed authentications from one address (an IPv6 /64 counts as one), beyond which only
    /// credentials that were verified before are taken from it.
    #[schemars(extend("default" = "60/minute"))]
    pub failed_auth_rate: Option<At<String>>,
    /// Whether answers carry `Server-Timing`.
    #[schemars(extend("default" = true))]
    pub server_timing: Option<bool>,
}

/// Where the policies of clients are.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPolicies {
    /// Folder with a file for each client, and `_all.toml`.
    #[schemars(extend("default" = "policies"))]
    pub path: Option<At<String>>,
}

/// One address that clients connect to.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawListener {
    /// Address and port, as in `127.0.0.1:8080` or `[::]:8443`. A change needs a restart.
    #[schemars(required)]
    pub address: Option<At<String>>,
    /// Certificates and client authentication; without it: plain HTTP.
    pub tls: Option<Section<RawListenerTls>>,
    /// Connections at a time.
    #[schemars(extend("default" = 20000), range(min = 1, max = 1_000_000))]
    pub connections_max: Option<At<i64>>,
    /// Connections at a time from one address (an IPv6 /64 counts as one).
    #[schemars(extend("default" = 2000), range(min = 1, max = 1_000_000))]
    pub connections_max_per_address: Option<At<i64>>,
    /// From accept to the end of the TLS handshake.
    #[schemars(extend("default" = "10s"))]
    pub handshake_timeout: Option<At<DurationText>>,
    /// For a whole request head.
    #[schemars(extend("default" = "10s"))]
    pub header_timeout: Option<At<DurationText>>,
    /// Without progress of a body, either way.
    #[schemars(extend("default" = "30s"))]
    pub body_timeout: Option<At<DurationText>>,
    /// Of a connection without a request.
    #[schemars(extend("default" = "60s"))]
    pub idle_timeout: Option<At<DurationText>>,
    /// Size of a whole request head.
    #[schemars(extend("default" = "32KiB"))]
    pub header_max: Option<At<SizeText>>,
    /// Fields of a request head.
    #[schemars(extend("default" = 100), range(min = 1, max = 250))]
    pub headers_max: Option<At<i64>>,
    /// Size of a request target; less than `header_max`.
    #[schemars(extend("default" = "8KiB"))]
    pub uri_max: Option<At<SizeText>>,
}

/// Certificates and client authentication.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawListenerTls {
    /// Folder with NAME.pem (chain) and NAME.key pairs; default.pem, else the first by name,
    /// serves the names that no other does.
    #[schemars(required)]
    pub certificates: Option<At<String>>,
    /// PEM file with the authorities that sign clients' certificates.
    pub client_ca: Option<At<String>>,
    /// Whether clients are asked for a certificate.
    #[schemars(extend("default" = "none"))]
    pub client_auth: Option<At<RawClientAuth>>,
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawClientAuth {
    /// They are not asked.
    #[default]
    None,
    /// They are asked; one without a certificate goes on.
    Optional,
    /// A connection without one ends in the handshake.
    Required,
}

/// The operators' listener.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawAdmin {
    /// Address and port; anything but a loopback address needs `token` and `tls`. A change
    /// needs a restart.
    #[schemars(extend("default" = "127.0.0.1:9900"))]
    pub address: Option<At<String>>,
    /// The token for everything.
    pub token: Option<At<RawSecret>>,
    /// The token for GET and /metrics.
    pub read_token: Option<At<RawSecret>>,
    /// Certificates and client authentication; without it: plain HTTP.
    pub tls: Option<Section<RawListenerTls>>,
}

/// Which requests go to which vendor, and within which bounds.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRoute {
    /// Its name in logs and metrics.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// Path prefix, on a segment boundary; it is cut before the request goes on.
    pub path: Option<At<String>>,
    /// Exact host.
    pub host: Option<At<String>>,
    /// The vendor that serves it: a name under `[vendors]`.
    #[schemars(required)]
    pub vendor: Option<At<String>>,
    /// Name of one of the vendor's credentials; without it: the vendor's `credential`.
    pub credential: Option<At<String>>,
    /// Name of the introspecting issuer that sees this route's opaque tokens; without it: the only
    /// one there is.
    pub introspection: Option<At<String>>,
    /// Which methods it serves.
    #[schemars(extend(
        "default" = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    ))]
    pub methods: Option<At<Vec<At<String>>>>,
    /// Requests that read in spite of their method: `"METHOD /path/pattern"`, the path after
    /// the route's prefix.
    #[schemars(extend("default" = []))]
    pub reads: Option<Vec<At<String>>>,
    /// What writes need; the stricter of route and rule wins. `off` with `body_max = "none"`.
    #[schemars(extend("default" = "optional"))]
    pub idempotency: Option<At<RawIdempotency>>,
    /// Where keys of writes come from, the first one that is there: `header:NAME`, `query:NAME`,
    /// and on POST only `body:/pointer` and `path:eid:*`.
    #[schemars(extend("default" = ["header:Idempotency-Key"]))]
    pub idempotency_key_from: Option<At<Vec<At<String>>>>,
    /// How long a duplicate waits for the first answer before it is told `request-in-flight`.
    #[schemars(extend("default" = "0s"))]
    pub idempotency_wait: Option<At<DurationText>>,
    /// What a later call meets after an unknown outcome. `retry` needs a vendor key that protects.
    #[schemars(extend("default" = "hold"))]
    pub idempotency_ambiguous: Option<At<RawAmbiguous>>,
    /// Which complete answers keep a key.
    #[schemars(extend("default" = "all"))]
    pub idempotency_stores: Option<At<RawStores>>,
    /// How a create of unknown outcome is looked up; without it, as the profile says.
    pub reconcile: Option<Section<RawReconcile>>,
    /// Largest request body; `"none"`: streams of any size.
    #[schemars(extend("default" = "10MiB"))]
    pub body_max: Option<At<SizeText>>,
    /// From the request's head to the head of the answer.
    #[schemars(extend("default" = "60s"))]
    pub deadline: Option<At<DurationText>>,
    /// Whether links in answers are rewritten to stay on the gateway.
    #[schemars(extend("default" = true))]
    pub rewrite_links: Option<bool>,
    /// One request at a time for each value of a part of the path: `"path:N"`, the N-th segment
    /// behind the route's prefix.
    pub serialize_by: Option<At<String>>,
    /// What a path may hold although it is ambiguous: `"%2F"`, `";"`.
    #[schemars(extend("default" = []))]
    pub allow_in_path: Option<Vec<At<String>>>,
}

/// What is never logged.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLog {
    /// Query parameters whose values are never logged, besides those that never are anyway.
    #[schemars(extend("default" = []))]
    pub redact_query: Option<Vec<At<String>>>,
}
