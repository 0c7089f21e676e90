//! `[vendors.NAME]` as a person typed it.

use super::at::At;
use super::outcome::RawOutcomes;
use super::pool::{RawAdaptive, RawCircuit, RawQueue, RawReserve, RawRetry};
use super::protection::RawVendorKey;
use super::rates::RawRates;
use super::secret::{RawSecret, RawText};
use super::table::Section;
use super::text::DurationText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A service that requests are sent to.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawVendor {
    /// What this kind of vendor does: the name of a shipped profile, or a file of your own.
    #[schemars(extend("default" = "generic"))]
    pub profile: Option<At<String>>,
    /// Where it lives: https, except on loopback addresses. Its path is prepended.
    #[schemars(required)]
    pub base_url: Option<At<String>>,
    /// What proves the gateway to the vendor.
    pub credential: Option<Section<RawCredential>>,
    /// Further credentials by name, chosen by `credential` on a route or in a policy.
    pub credentials: Option<BTreeMap<At<String>, Section<RawCredential>>>,
    /// How long to wait for it.
    pub timeouts: Option<Section<RawTimeouts>>,
    /// The pool that it shares with others: a name under `[pools]`. Without it, the vendor has a
    /// pool of its own.
    pub pool: Option<At<String>>,
    /// Of its own pool: requests at a time.
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrency: Option<At<i64>>,
    /// Of its own pool: requests in a time, one rate or several.
    pub rates: Option<At<RawRates>>,
    /// Of its own pool: how many may wait, and for how long.
    pub queue: Option<Section<RawQueue>>,
    /// Of its own pool: whether `concurrency` is lowered while the vendor throttles.
    pub adaptive: Option<At<RawAdaptive>>,
    /// Of its own pool: what is kept for clients of a priority.
    pub reserve: Option<Section<RawReserve>>,
    /// When it is left alone because it fails.
    pub circuit: Option<Section<RawCircuit>>,
    /// How often a request is sent again.
    pub retry: Option<Section<RawRetry>>,
    /// Authorities and the client certificate for it.
    pub tls: Option<Section<RawVendorTls>>,
    /// Whether it learns the client's address.
    #[schemars(extend("default" = "off"))]
    pub forwarded: Option<RawForwarded>,
    /// What its answers mean; looked at before those of the profile.
    pub outcome: Option<RawOutcomes>,
    /// What it is sent in the place of a client's idempotency key; without it, as the profile
    /// says.
    pub vendor_key: Option<Section<RawVendorKey>>,
}

/// What proves the gateway to the vendor.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCredential {
    /// Which kind; it decides which of the other keys there are.
    #[schemars(required)]
    pub kind: Option<At<RawCredentialKind>>,
    /// `bearer`: the token.
    pub token: Option<At<RawSecret>>,
    /// `basic`: the user name, typed here or as the reference of a secret.
    pub username: Option<At<RawText>>,
    /// `basic`: the password.
    pub password: Option<At<RawSecret>>,
    /// `header`: the field's name.
    pub name: Option<At<String>>,
    /// `header`: the field's value.
    pub value: Option<At<RawSecret>>,
}

/// The kinds of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawCredentialKind {
    /// The vendor asks for none.
    None,
    /// `Authorization: Bearer TOKEN`.
    Bearer,
    /// `Authorization: Basic …`.
    Basic,
    /// A field of any name.
    Header,
    /// The client's own `Authorization`.
    Passthrough,
}

/// How long to wait for a vendor.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTimeouts {
    /// Of one connection with its TLS handshake.
    #[schemars(extend("default" = "5s"))]
    pub connect: Option<At<DurationText>>,
    /// From the last byte of the request to the head of the answer.
    #[schemars(extend("default" = "15m"))]
    pub response: Option<At<DurationText>>,
    /// How long an unused connection is kept.
    #[schemars(extend("default" = "30s"))]
    pub idle: Option<At<DurationText>>,
    /// Oldest unused connection that a writing request may take.
    #[schemars(extend("default" = "2s"))]
    pub write_reuse_idle: Option<At<DurationText>>,
}

/// Authorities and the client certificate for a vendor.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawVendorTls {
    /// PEM file with the authorities that may have signed its certificate; without it: the
    /// system's.
    pub ca: Option<At<String>>,
    /// PEM file with the certificate chain to show.
    pub certificate: Option<At<String>>,
    /// The private key of that certificate, in PEM.
    pub key: Option<At<RawSecret>>,
}

/// Whether a vendor learns the client's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawForwarded {
    /// It does not.
    #[default]
    Off,
    /// By `X-Forwarded-For`, `-Proto` and `-Host`.
    XForwarded,
    /// By `Forwarded` (RFC 7239).
    Rfc7239,
}
