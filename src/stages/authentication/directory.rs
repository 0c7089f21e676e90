//! Whose a credential is: the identities of every policy, each leading to its one client.

use super::denial::Why;
use super::facts::Facts;
use crate::model::digest::Sha256;
use crate::model::scopes::Scopes;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The identities of every policy. A client is named by its index.
#[derive(Debug, Default)]
pub struct Directory {
    clients: Vec<Arc<str>>,
    names: HashMap<Arc<str>, usize>,
    tokens: HashMap<Arc<str>, HashMap<Box<str>, TokenIdentity>>,
    keys: HashMap<Sha256, KeyIdentity>,
    certificates: HashMap<Sha256, CertificateIdentity>,
    certificate_names: HashMap<Box<str>, CertificateIdentity>,
}

/// What proves to be a client.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Tokens of an issuer for one of its clients.
    Token {
        /// The issuer's name.
        issuer: Arc<str>,
        /// What the issuer calls the client.
        client_id: Box<str>,
        /// Whether only certificate-bound tokens count.
        bound_only: bool,
        /// What its tokens' scopes are capped by.
        cap: Option<Scopes>,
    },
    /// An API key.
    Key {
        /// Its digest.
        digest: Sha256,
        /// What it is good for.
        scopes: Scopes,
        /// When it ends, in seconds since 1970.
        expires: Option<i64>,
        /// Whether somebody had it, since its policy was read.
        seen: Arc<AtomicBool>,
    },
    /// A client certificate.
    Certificate {
        /// Its digest, or one of its names.
        certificate: CertificateKey,
        /// What it is good for.
        scopes: Scopes,
    },
}

/// How a policy names a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CertificateKey {
    /// By the SHA-256 of its DER octets.
    Digest(Sha256),
    /// By a subject alternative name.
    Name(Box<str>),
}

impl CertificateKey {
    /// In full, where two that begin alike must not look alike.
    pub fn whole(&self) -> String {
        match self {
            CertificateKey::Digest(digest) => digest.to_string(),
            CertificateKey::Name(name) => name.to_string(),
        }
    }
}

impl std::fmt::Display for CertificateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CertificateKey::Digest(digest) => write!(f, "{}", digest.short()),
            CertificateKey::Name(name) => f.write_str(name),
        }
    }
}

#[derive(Debug)]
struct TokenIdentity {
    client: usize,
    bound_only: bool,
    cap: Option<Scopes>,
}

/// An API key that a policy names.
#[derive(Debug)]
pub struct KeyIdentity {
    /// Whose it is.
    pub client: usize,
    /// What it is good for.
    pub scopes: Scopes,
    expires: Option<i64>,
    /// Whether somebody had it.
    pub seen: Arc<AtomicBool>,
}

/// A certificate that a policy names.
#[derive(Clone, Debug)]
pub struct CertificateIdentity {
    /// Whose it is.
    pub client: usize,
    /// What it is good for.
    pub scopes: Scopes,
}

/// Whose a token is, and what it is good for there.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The client.
    pub client: usize,
    /// Whether only certificate-bound tokens count.
    pub bound_only: bool,
    /// What the token is good for.
    pub scopes: Scopes,
}

impl Directory {
    /// With room for so many API keys.
    pub fn with_room(keys: usize) -> Directory {
        Directory { keys: HashMap::with_capacity(keys), ..Directory::default() }
    }

    /// Adds a client. Tells of each identity that leads to another client already which one it is
    /// and to whom it leads: it counts for the first.
    pub fn add(&mut self, client: Arc<str>, identities: &[Identity]) -> Vec<(usize, usize)> {
        let index = self.clients.len();
        self.names.entry(client.clone()).or_insert(index);
        self.clients.push(client);
        let entered = identities.iter().map(|identity| self.enter(index, identity)).enumerate();
        entered.filter_map(|(which, other)| Some((which, other?))).collect()
    }

    /// The client that has the identity already, if there is one.
    fn enter(&mut self, client: usize, identity: &Identity) -> Option<usize> {
        match identity {
            Identity::Token { issuer, client_id, bound_only, cap } => {
                let of_issuer = self.tokens.entry(issuer.clone()).or_default();
                if let Some(other) = of_issuer.get(client_id) {
                    return Some(other.client);
                }
                let (bound_only, cap) = (*bound_only, cap.clone());
                of_issuer.insert(client_id.clone(), TokenIdentity { client, bound_only, cap });
            }
            Identity::Key { digest, scopes, expires, seen } => {
                if let Some(other) = self.keys.get(digest) {
                    return Some(other.client);
                }
                let (scopes, expires, seen) = (scopes.clone(), *expires, seen.clone());
                self.keys.insert(*digest, KeyIdentity { client, scopes, expires, seen });
            }
            Identity::Certificate { certificate, scopes } => {
                let entry = CertificateIdentity { client, scopes: scopes.clone() };
                let other = match certificate {
                    CertificateKey::Digest(digest) => {
                        let other = self.certificates.get(digest).map(|other| other.client);
                        self.certificates.entry(*digest).or_insert(entry);
                        other
                    }
                    CertificateKey::Name(name) => {
                        let other = self.certificate_names.get(name).map(|other| other.client);
                        self.certificate_names.entry(name.clone()).or_insert(entry);
                        other
                    }
                };
                return other;
            }
        }
        None
    }

    /// The name of the client of this number.
    pub fn client(&self, index: usize) -> Option<&Arc<str>> {
        self.clients.get(index)
    }

    /// The number of the client of this name.
    pub fn named(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// How many clients there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Whose a genuine token is; `None`: no policy names its client.
    pub fn owner(&self, facts: &Facts) -> Option<Owner> {
        let identity = self.tokens.get(&*facts.issuer)?.get(&*facts.client_id)?;
        let scopes = match &identity.cap {
            Some(cap) => facts.scopes.iter().filter(|scope| cap.contains(scope)).cloned().collect(),
            None => facts.scopes.clone(),
        };
        Some(Owner { client: identity.client, bound_only: identity.bound_only, scopes })
    }

    /// The clients of issuers: issuer, what it calls the client, number, whether only bound tokens
    /// count.
    pub fn token_clients(&self) -> impl Iterator<Item = (&str, &str, usize, bool)> {
        self.tokens.iter().flat_map(|(issuer, of_issuer)| {
            of_issuer.iter().map(move |(client_id, identity)| {
                (&**issuer, &**client_id, identity.client, identity.bound_only)
            })
        })
    }

    /// The key of this digest, if it is listed and its last day has not passed.
    ///
    /// # Errors
    /// `key-not-listed`, `key-expired`.
    pub fn key(&self, digest: &Sha256, now: i64) -> Result<&KeyIdentity, Why> {
        let key = self.keys.get(digest).ok_or(Why::KeyNotListed)?;
        match key.expires {
            Some(expires) if now >= expires => Err(Why::KeyExpired),
            _ => Ok(key),
        }
    }

    /// The identities of a certificate: by its digest first, then by each of its names.
    pub fn certificate<'d>(
        &'d self,
        digest: &Sha256,
        names: &'d [Box<str>],
    ) -> impl Iterator<Item = &'d CertificateIdentity> {
        let by_name = names.iter().filter_map(|name| self.certificate_names.get(name));
        self.certificates.get(digest).into_iter().chain(by_name)
    }
}
