//! Whose a credential is: the identities of every policy, each leading to its one client.

use super::denial::Why;
use super::facts::Facts;
use crate::model::digest::Sha256;
use crate::model::scopes::{ScopeSet, ScopeTable};
use std::collections::HashMap;
use std::sync::Arc;

/// The identities of every policy. A client is named by its index.
#[derive(Debug, Default)]
pub struct Directory {
    clients: Vec<Listed>,
    names: HashMap<Arc<str>, usize>,
    tokens: HashMap<Arc<str>, HashMap<Box<str>, TokenIdentity>>,
    keys: HashMap<Sha256, KeyIdentity>,
    certificates: HashMap<Sha256, CertificateIdentity>,
    certificate_names: HashMap<Box<str>, CertificateIdentity>,
}

/// A client as far as authentication knows it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name.
    pub name: Arc<str>,
    /// The scopes that its rules ask for.
    pub asked: Arc<ScopeTable>,
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
        cap: Option<Vec<Box<str>>>,
    },
    /// An API key.
    Key {
        /// Its digest.
        digest: Sha256,
        /// What it is good for.
        scopes: Arc<Scopes>,
        /// When it ends, in seconds since 1970.
        expires: Option<i64>,
    },
    /// A client certificate.
    Certificate {
        /// Its digest, or one of its names.
        certificate: CertificateKey,
        /// What it is good for.
        scopes: Arc<Scopes>,
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

impl std::fmt::Display for CertificateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CertificateKey::Digest(digest) => write!(f, "{}", digest.short()),
            CertificateKey::Name(name) => f.write_str(name),
        }
    }
}

/// What somebody's credential is good for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// Every scope, as it was granted.
    pub names: Vec<Box<str>>,
    /// Those that the client's rules ask for.
    pub set: ScopeSet,
}

#[derive(Debug)]
struct TokenIdentity {
    client: usize,
    bound_only: bool,
    cap: Option<Vec<Box<str>>>,
}

/// An API key that a policy names.
#[derive(Debug)]
pub struct KeyIdentity {
    /// Whose it is.
    pub client: usize,
    /// Its number among all keys.
    pub number: usize,
    /// What it is good for.
    pub scopes: Arc<Scopes>,
    expires: Option<i64>,
}

/// A certificate that a policy names.
#[derive(Clone, Debug)]
pub struct CertificateIdentity {
    /// Whose it is.
    pub client: usize,
    /// What it is good for.
    pub scopes: Arc<Scopes>,
}

/// Whose a token is, and what it is good for there.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The client.
    pub client: usize,
    /// Whether only certificate-bound tokens count.
    pub bound_only: bool,
    /// What the token is good for.
    pub scopes: Arc<Scopes>,
}

impl Directory {
    /// With room for so many API keys.
    pub fn with_room(keys: usize) -> Directory {
        Directory { keys: HashMap::with_capacity(keys), ..Directory::default() }
    }

    /// Adds a client. An identity that leads to another one already is given back: it counts for
    /// the first.
    pub fn add<'i>(
        &mut self,
        client: Listed,
        identities: &'i [Identity],
    ) -> Vec<(&'i Identity, usize)> {
        let index = self.clients.len();
        self.names.entry(client.name.clone()).or_insert(index);
        self.clients.push(client);
        let mut taken = Vec::new();
        for identity in identities {
            if let Some(other) = self.enter(index, identity) {
                taken.push((identity, other));
            }
        }
        taken
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
            Identity::Key { digest, scopes, expires } => {
                if let Some(other) = self.keys.get(digest) {
                    return Some(other.client);
                }
                let (number, expires, scopes) = (self.keys.len(), *expires, scopes.clone());
                self.keys.insert(*digest, KeyIdentity { client, number, scopes, expires });
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

    /// The client of this number.
    pub fn client(&self, index: usize) -> Option<&Listed> {
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
        let asked = &self.clients.get(identity.client)?.asked;
        let cap = identity.cap.as_ref();
        let granted = facts.scopes.iter().filter(|scope| cap.is_none_or(|cap| cap.contains(scope)));
        let names = granted.cloned().collect();
        let scopes = Arc::new(Scopes::new(names, asked));
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

    /// The number of the key of this digest.
    pub fn number(&self, digest: &Sha256) -> Option<usize> {
        self.keys.get(digest).map(|key| key.number)
    }

    /// The digests of all keys with their numbers.
    pub fn keys(&self) -> impl Iterator<Item = (&Sha256, usize)> {
        self.keys.iter().map(|(digest, key)| (digest, key.number))
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

impl Scopes {
    /// For a client whose rules ask for these.
    pub fn new(names: Vec<Box<str>>, asked: &ScopeTable) -> Scopes {
        let set = asked.set(&names);
        Scopes { names, set }
    }
}
