//! The rooms of the gateway, in the order in which a request meets them.
//!
//! Each one is values in, decision out: no socket, file, clock, randomness or log line. Time and
//! entropy are arguments. A room refuses with [`Refusal`](crate::refusal::Refusal) or gives
//! evidence that the next one asks for.

pub mod admission;
pub mod authentication;
pub mod authorization;
pub mod circuit;
pub mod correlation;
pub mod forwarding;
pub mod idempotency;
pub mod outcome;
pub mod rate_limit;
pub mod record;
pub mod retry;
pub mod routing;
pub mod validation;
