//! Pools, circuits and retries, validated.

use crate::stages::{admission, circuit, retry};
use std::sync::Arc;

/// `[pools.NAME]`, or the pool of a vendor that has one of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// Its name: metric label.
    pub name: Arc<str>,
    /// What it holds to.
    pub policy: admission::Policy,
}

/// `circuit` of a vendor.
#[derive(Debug, Clone, PartialEq)]
pub struct Circuit {
    /// When it opens and closes.
    pub policy: circuit::Policy,
    /// The path, behind the base URL, of the read that tells whether the vendor is well.
    pub probe: Option<String>,
    /// Whether each route has a circuit of its own.
    pub per_route: bool,
}

/// How a vendor's requests are bounded and repeated.
#[derive(Debug, Clone, PartialEq)]
pub struct Handling {
    /// Name of its pool.
    pub pool: Arc<str>,
    /// Whether that pool has a limit of requests at a time.
    pub limits_concurrency: bool,
    /// Its circuit.
    pub circuit: Circuit,
    /// When a request is sent again.
    pub retry: retry::Policy,
}
