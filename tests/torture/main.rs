//! The crash test: the real gateway dies at any moment, and nothing is booked twice.
//!
//! Clients send keyed writes until they are answered, to a vendor that drops, delays, resets and
//! books late. Meanwhile the gateway is killed, replaced, starved of disk or cut off from power.
//! In the end the vendor's books tell whether every key was booked once, and the clients whether
//! they were ever told two different things.
//!
//! `make torture` runs it long. `ERPGATE_TORTURE_KILLS` and `ERPGATE_TORTURE_KEYS` say how long,
//! `ERPGATE_TORTURE_SEED` lets the dice fall as they did before, `ERPGATE_TORTURE_BINARY` names
//! another gateway than the one built with the tests.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod clients;
mod deaths;
mod disk;
mod journal;
mod message;
mod plan;
mod process;
mod pulse;
mod reading;
mod site;
mod stage;
mod trouble;
mod vendor;
mod verdict;
mod waiting;
mod write;
