//! Decides which client a request belongs to, by everything that it shows.
//!
//! Never says more to the client than the slug: the reason is for the audit log. Refuses with
//! `credentials-missing`, `token-invalid`, `token-expired`, `credentials-ambiguous`,
//! `client-unknown`, `tls-required`. Gives [`Client`].

pub mod accept;
pub mod api_key;
pub mod claims;
pub mod denial;
pub mod directory;
pub mod facts;
pub mod jwt;
pub mod keys;
pub mod opaque;
pub mod presented;
pub mod strict_json;

use crate::model::digest::Sha256;
use crate::model::scopes::Scopes;
use crate::refusal::{Refusal, Shown};
use denial::{Denial, Why};
use directory::{Directory, Owner};
use facts::Facts;
use presented::invalid;
use smallvec::SmallVec;
use std::sync::Arc;

/// How a client proved who it is; also the metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// A JWT.
    Jwt,
    /// An opaque token.
    Opaque,
    /// An API key.
    Key,
    /// The certificate of its connection.
    Certificate,
    /// Nothing was shown, or nothing that could be read.
    None,
}

impl Scheme {
    /// What kind of token this means to be.
    pub fn of_token(token: &str) -> Scheme {
        if jwt::is_jwt(token) { Scheme::Jwt } else { Scheme::Opaque }
    }

    /// The metric label and the word in the audit log.
    pub fn label(self) -> &'static str {
        match self {
            Scheme::Jwt => "jwt",
            Scheme::Opaque => "opaque",
            Scheme::Key => "api-key",
            Scheme::Certificate => "certificate",
            Scheme::None => "none",
        }
    }
}

/// The certificate that a client showed in its handshake, verified there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of its DER octets.
    pub digest: Sha256,
    /// Its subject alternative names: DNS names and mail addresses in lower case, URIs.
    pub names: Vec<Box<str>>,
    /// The last second that it holds in, in seconds since 1970.
    pub not_after: i64,
}

/// A credential that is genuine.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A token, and what it says.
    Token {
        /// JWT or opaque.
        scheme: Scheme,
        /// What it says.
        facts: Arc<Facts>,
        /// Whose it is; `None`: no policy names its client.
        owner: Option<Owner>,
    },
    /// An API key that a policy names.
    Key {
        /// Its digest.
        digest: Sha256,
        /// How it was shown.
        shown: Shown,
    },
}

impl Proof {
    /// Whose it says that it is, for the audit log: never the credential itself.
    pub fn describe(&self) -> String {
        match self {
            Proof::Token { facts, .. } => format!("{}/{}", facts.issuer, facts.client_id),
            Proof::Key { digest, .. } => format!("key {}", digest.short()),
        }
    }
}

/// Evidence: the one client that a request belongs to.
#[derive(Clone, Debug)]
pub struct Client {
    index: usize,
    name: Arc<str>,
    scheme: Scheme,
    scopes: Scopes,
    /// What it was proved by, so that it can be proved again under other policies.
    proofs: Proofs,
}

/// Everything that a request proved.
pub type Proofs = SmallVec<[Proof; 1]>;

impl Client {
    /// Its number in the directory.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How it proved who it is.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What its credential is good for.
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// What it was proved by.
    pub fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    /// A client as if it had shown a credential with these scopes: for questions about policies,
    /// not for requests.
    ///
    /// # Errors
    /// `client-unknown`.
    pub fn supposed(directory: &Directory, name: &str, scopes: Scopes) -> Result<Client, Denial> {
        let index = directory.named(name).ok_or(UNKNOWN)?;
        admit(directory, index, Scheme::None, scopes, Proofs::new())
    }
}

const UNKNOWN: Denial = Denial { refusal: Refusal::ClientUnknown, reason: "client-unknown" };

/// Decides whose the proofs and the connection's certificate are. All of them have to be the same
/// client's; what the credential is good for is the token's, else the key's, else the
/// certificate's, never a union.
///
/// # Errors
/// The first rule that is broken.
pub fn identify(
    directory: &Directory,
    proofs: &Proofs,
    certificate: Option<&Certificate>,
    now: i64,
) -> Result<Client, Denial> {
    let digest = certificate.map(|certificate| &certificate.digest);
    let (mut best, mut expired): (Option<Known>, bool) = (None, false);
    for proof in proofs {
        let known = match proof {
            Proof::Token { scheme, facts, owner } => {
                let bound_only = owner.as_ref().is_some_and(|owner| owner.bound_only);
                match facts.check(digest, bound_only, now) {
                    Err(Why::Expired) => expired = true,
                    held => held.map_err(|why| invalid(why, Shown::Token))?,
                }
                let owner = owner.as_ref().ok_or(UNKNOWN)?;
                Known { client: owner.client, scheme: *scheme, scopes: &owner.scopes }
            }
            Proof::Key { digest, shown } => {
                let key = directory.key(digest, now).map_err(|why| invalid(why, *shown))?;
                Known { client: key.client, scheme: Scheme::Key, scopes: &key.scopes }
            }
        };
        best = Some(agree(best, known)?);
    }
    if let Some(certificate) = certificate {
        for identity in directory.certificate(&certificate.digest, &certificate.names) {
            let scheme = Scheme::Certificate;
            let known = Known { client: identity.client, scheme, scopes: &identity.scopes };
            best = Some(agree(best, known)?);
        }
    }
    let Some(Known { client, scheme, scopes }) = best else {
        let refusal = Refusal::CredentialsMissing;
        return Err(Denial { refusal, reason: "credentials-missing" });
    };
    // Told only to whom nothing else has to be told.
    if expired {
        return Err(invalid(Why::Expired, Shown::Token));
    }
    admit(directory, client, scheme, scopes.clone(), proofs.clone())
}

struct Known<'a> {
    client: usize,
    scheme: Scheme,
    scopes: &'a Scopes,
}

/// The better of two credentials, if both are the same client's.
fn agree<'a>(before: Option<Known<'a>>, known: Known<'a>) -> Result<Known<'a>, Denial> {
    let Some(before) = before else { return Ok(known) };
    if before.client != known.client {
        let refusal = Refusal::CredentialsAmbiguous("Credentials of two clients are shown.");
        return Err(Denial { refusal, reason: "two-clients" });
    }
    let rank = |known: &Known<'_>| match known.scheme {
        Scheme::Jwt | Scheme::Opaque => 0,
        Scheme::Key => 1,
        Scheme::Certificate | Scheme::None => 2,
    };
    // Of two of a kind the first one counts: the order of the places.
    Ok(if rank(&known) < rank(&before) { known } else { before })
}

fn admit(
    directory: &Directory,
    index: usize,
    scheme: Scheme,
    scopes: Scopes,
    proofs: Proofs,
) -> Result<Client, Denial> {
    let name = directory.client(index).ok_or(UNKNOWN)?.clone();
    Ok(Client { index, name, scheme, scopes, proofs })
}
