//! What a genuine token says.

use super::denial::Why;
use crate::model::digest::Sha256;
use crate::model::scopes::Scopes;
use std::sync::Arc;

/// What a genuine token says: of a JWT its claims, of an opaque token what its issuer answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The issuer's name in the configuration.
    pub issuer: Arc<str>,
    /// The client that the issuer gave it to.
    pub client_id: Box<str>,
    /// What it is good for.
    pub scopes: Scopes,
    /// The last moment it is taken at, leeway included, in seconds since 1970.
    pub expires: i64,
    /// SHA-256 of the only certificate it may be used with (RFC 8705 §3.1).
    pub bound_to: Option<Sha256>,
}

impl Facts {
    /// Checks what depends on the moment and the connection.
    ///
    /// # Errors
    /// `binding-broken`, `token-unbound`; `expired` only if all else holds.
    pub fn check(
        &self,
        certificate: Option<&Sha256>,
        bound_only: bool,
        now: i64,
    ) -> Result<(), Why> {
        match &self.bound_to {
            Some(bound) if certificate != Some(bound) => return Err(Why::BindingBroken),
            None if bound_only => return Err(Why::Unbound),
            _ => {}
        }
        if now >= self.expires { Err(Why::Expired) } else { Ok(()) }
    }
}
