//! The doors to the world: log, metrics, clock and entropy, name resolution.

pub mod clock;
pub mod entropy;
pub mod log;
pub mod metrics;
pub mod resolver;
