//! `erpgate`: the gateway between ERP integrations and the vendors they call.
//!
//! The map, from the bottom up; each rung sees only what is below it:
//!
//! * [`model`]: nouns, values without a door to the world.
//! * [`refusal`]: everything that erpgate itself answers.
//! * [`stages`], [`profile`]: the rooms that decide, and what vendors do, as data.
//! * [`config`], [`adapters`]: what people typed, validated; and the doors to the world.
//! * [`state`], [`identity`], [`tls`], [`exchange`], [`pipeline`], [`access`], [`limits`],
//!   [`settlement`]: what outlives a request, which tokens are genuine, what clients are shown, one
//!   request, its life, whether it may, how often, its end.
//! * [`vendors`], [`pools`], [`holds`], [`circuits`], [`attempts`], [`observation`]: what requests
//!   share at a vendor, where they wait, what operators pause, when it is left alone, what
//!   surrounds an attempt, what an answer means.
//! * [`keying`], [`protected`]: which key a write carries, and what keeps it from being done twice.
//! * [`gateway`], [`admin`]: the shell around pingora, and the operators' listener.
//! * [`cli`]: the commands.
//!
//! [`sandbox`] stands apart: simulators of vendors that share nothing with the gateway.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

pub mod access;
pub mod adapters;
pub mod admin;
pub mod attempts;
pub mod circuits;
pub mod cli;
pub mod config;
pub mod exchange;
pub mod gateway;
pub mod holds;
pub mod identity;
pub mod keying;
pub mod limits;
pub mod model;
pub mod observation;
pub mod pipeline;
pub mod pools;
pub mod profile;
pub mod protected;
pub mod refusal;
pub mod sandbox;
pub mod settlement;
pub mod stages;
pub mod state;
pub mod tls;
pub mod vendors;
