//! The doors to the world: log, metrics, clock and entropy, files, name resolution, the ledger of
//! protected writes, and the issuers of tokens.

pub mod body;
pub mod clock;
pub mod coding;
pub mod entropy;
pub mod failed_auth;
pub mod introspection;
pub mod key_source;
pub mod ledger;
pub mod log;
pub mod metrics;
pub mod resolver;
pub mod vendor_client;
pub mod web;
pub mod whole_file;
