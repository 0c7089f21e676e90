//! The gateway end to end: real sockets, real TLS, the same start as `erpgate run`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod access;
mod admin;
mod answers;
mod attacks;
mod certificates;
mod client_limits;
mod commands;
mod correlation;
mod credentials;
mod documents;
mod evasion;
mod explained;
mod forwarding;
mod framing;
mod http2;
mod issuers;
mod leaving;
mod ledger;
mod ledger_command;
mod limits;
mod observed;
mod once;
mod once_attacks;
mod pauses;
mod policies;
mod pressure;
mod refusals;
mod reload;
mod shared_slots;
mod streams;
mod support;
mod throughput;
mod tls;
mod tools;
mod troubles;
mod turned_away;
mod upstream;
mod vendor_keys;
mod vendors;
