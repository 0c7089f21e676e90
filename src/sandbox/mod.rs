//! Stands in for vendors, as they are known to behave, and for identity providers.
//!
//! A test, `erpgate run --sandbox` or a developer with curl gets a NetSuite account that keeps
//! records in memory, counts what it booked, and misbehaves on demand; and an identity provider
//! whose tokens the gateway can check. They use nothing else of this crate, so that they can't
//! share a bug with the gateway that is tried against them.
//!
//! How a request travels: `listener` accepts → `connection` speaks HTTP through a `wire` → the
//! `Host` answers → `outgoing` carries it back and gives the slot in flight back. A NetSuite
//! account's host is its `simulator`: `front` counts, delays, breaks or executes the request, and
//! `netsuite` decides the answer. The provider's is in `identity`. Each has a `control`, the lever
//! for tests.
//!
//! What is absent from an account: authentication (credentials are looked at by nobody;
//! `/_sandbox/echo` shows them), asynchronous jobs and batches, RESTlets and SOAP. A
//! `Prefer: respond-async` is ignored, as RFC 7240 allows.

mod account;
mod answer;
mod connection;
mod control;
mod faults;
mod front;
mod guarded;
mod identity;
mod intake;
mod listener;
mod mirror;
mod netsuite;
mod outgoing;
mod script;
mod server;
mod simulator;
mod slot;
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

pub use account::{NetSuite, Options};
pub use identity::{IdentityOptions, IdentityProvider, Tenant};
