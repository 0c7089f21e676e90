//! Stands in for identity providers: tenants that issue tokens, publish keys and introspect.
//!
//! Each tenant issues access tokens in the shape of a known provider ([`Tenant::shape`]), to any
//! client whose secret is `sandbox`:
//!
//! * `GET /{tenant}/.well-known/openid-configuration` and
//!   `GET /.well-known/oauth-authorization-server/{tenant}`: metadata;
//! * `GET /{tenant}/jwks`: the keys;
//! * `POST /{tenant}/token`: the client-credentials grant;
//! * `POST /{tenant}/introspect`: introspection, of opaque tokens and of the tenant's own JWTs.
//!
//! `control` is the lever for tests: it rotates keys, revokes and mints tokens, takes the provider
//! down, slows it, and makes its documents lie. Signatures are made with bare primitives, so that
//! no JWT code is shared with the gateway.
//!
//! What is absent: users, and with them every other grant, ID tokens and refresh tokens; clients
//! and scopes that have to be registered first.

mod control;
mod der;
mod directory;
mod documents;
mod form;
mod front;
mod introspection;
mod jws;
mod keys;
mod lies;
mod mint;
mod provider;
mod ring;
mod shape;
mod tenant;
mod token;

#[cfg(test)]
mod control_tests;
#[cfg(test)]
mod lie_tests;
#[cfg(test)]
mod token_tests;
#[cfg(test)]
mod trial;

pub use provider::{IdentityOptions, IdentityProvider};
pub use tenant::Tenant;
