//! Stands in for the vendors: simulators on real sockets that behave as `facts/vendors.md` says.
//!
//! A test, `erpgate run --sandbox` or a developer with curl gets a NetSuite account that keeps
//! records in memory, counts what it booked, and misbehaves on demand. It uses nothing else of
//! this crate, so that it can't share a bug with the gateway that is tried against it.
//!
//! How a request travels: `listener` accepts → `connection` speaks HTTP through a `wire` →
//! `front` counts, delays, breaks or executes it → `netsuite` decides the answer → `outgoing`
//! carries it back and gives the concurrency slot back. `control` is the lever for tests.
//!
//! What is absent: authentication (credentials are looked at by nobody; `/_sandbox/echo` shows
//! them), asynchronous jobs and batches, RESTlets and SOAP. A `Prefer: respond-async` is ignored,
//! as RFC 7240 allows.

mod answer;
mod connection;
mod control;
mod faults;
mod front;
mod guarded;
mod intake;
mod listener;
mod mirror;
mod netsuite;
mod outgoing;
mod script;
mod server;
mod simulator;
mod tally;
mod target;
mod wire;

#[cfg(test)]
mod account_tests;
#[cfg(test)]
mod control_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod mirror_tests;
#[cfg(test)]
mod raw_client;

pub use server::{NetSuite, Options};
