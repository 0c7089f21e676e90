//! The validated configuration: immutable, parsed, compiled and cross-checked, made only by
//! [`resolve`].
//!
//! `raw` is what a person typed, `resolve` turns it into this or into every problem at once,
//! `problem` shows them, `sources` is the one door to files, environment and commands.

pub mod pools;
pub mod problem;
pub mod protection;
pub mod raw;
pub mod resolve;
pub mod schema;
pub mod sources;

pub use crate::model::base_url::BaseUrl;
pub use crate::stages::forwarding::request::Forwarded;
pub use crate::stages::validation::path::AllowInPath;
pub use pools::{Circuit, Handling, Pool};
pub use protection::{Ledger, LookUp, Protection, VendorKey};

use crate::model::digest::Sha256;
use crate::model::methods::MethodSet;
use crate::model::path::PathPattern;
use crate::model::rates::Rate;
use crate::model::secret::{Secret, SecretSource};
use crate::profile::Profile;
use crate::profile::outcome::Matchers;
use crate::stages::authentication::directory::{Directory, Identity};
use crate::stages::authentication::jwt;
use crate::stages::authentication::keys::KeySet;
use crate::stages::authorization;
use crate::stages::validation::HeadLimits;
use http::{HeaderName, header};
use ipnet::IpNet;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Everything that gateway.toml and the files it names say.
#[derive(Debug)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[[listener]]`, at least one, no two on the same address.
    pub listeners: Vec<Arc<Listener>>,
    /// `[admin]`.
    pub admin: Admin,
    /// `[[issuer]]`, no two of the same name.
    pub issuers: Vec<Arc<Issuer>>,
    /// `[ledger]`.
    pub ledger: Ledger,
    /// The policies folder.
    pub policies: Policies,
    /// `[pools.NAME]`, and the pools of vendors that have one of their own.
    pub pools: Vec<Arc<Pool>>,
    /// `[vendors.NAME]`, by name.
    pub vendors: Vec<Arc<Vendor>>,
    /// `[[route]]`, in file order; each one's `vendor` is one of `vendors`.
    pub routes: Vec<Arc<Route>>,
    /// `[log]`.
    pub log: Log,
    /// Every file and folder that was read, or would be if it existed: a change of one of them
    /// is a reason to reload.
    pub watched: Vec<PathBuf>,
    /// The files as they would be shown to an operator: secrets as their references.
    pub shown: serde_json::Value,
    /// gateway.toml as it was read.
    pub text: String,
}

/// `[server]`: the process.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// The pseudonym in `Via` and `Proxy-Status`: names this deployment, an RFC 9110 token.
    pub name: String,
    /// Worker threads; 0 is one per core. A change needs a restart.
    pub workers: usize,
    /// How long requests under way may take to finish after SIGTERM.
    pub drain_timeout: Duration,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Socket by which a successor takes the listeners over.
    pub handover: PathBuf,
    /// Failed authentications from one address, beyond which only credentials that were verified
    /// before are taken from it.
    pub failed_auth_rate: Rate,
    /// Whether answers carry `Server-Timing`.
    pub server_timing: bool,
    /// Bytes of request bodies in memory, all requests together.
    pub buffer_memory_bytes: u64,
    /// Bytes of request bodies on disk, all requests together.
    pub buffer_disk_bytes: u64,
}

/// `[[issuer]]`: who makes tokens for clients.
#[derive(Debug, Clone, PartialEq)]
pub struct Issuer {
    /// What is demanded of its tokens.
    pub policy: Arc<jwt::Policy>,
    /// Who knows whether they are genuine.
    pub source: TokenSource,
    /// The scopes that it grants, where they are known.
    pub scopes: Option<Vec<String>>,
}

/// Who knows whether an issuer's tokens are genuine.
#[derive(Debug, Clone)]
pub enum TokenSource {
    /// Keys at this address.
    Uri(String),
    /// Keys at the address that the issuer's metadata name.
    Discovery,
    /// Keys in a file, or a shared secret; with the digest of what was read.
    Fixed(Arc<KeySet>, Sha256),
    /// The issuer itself, asked about each token.
    Introspection(Introspection),
}

/// `introspection` of an issuer.
#[derive(Debug, Clone, PartialEq)]
pub struct Introspection {
    /// The endpoint.
    pub url: String,
    /// What the issuer calls the gateway.
    pub client_id: String,
    /// What proves the gateway to the issuer.
    pub client_secret: Secret,
}

impl PartialEq for TokenSource {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (TokenSource::Uri(a), TokenSource::Uri(b)) => a == b,
            (TokenSource::Discovery, TokenSource::Discovery) => true,
            (TokenSource::Fixed(_, a), TokenSource::Fixed(_, b)) => a == b,
            (TokenSource::Introspection(a), TokenSource::Introspection(b)) => a == b,
            _ => false,
        }
    }
}

/// The policies folder: who may do what.
#[derive(Debug, Default)]
pub struct Policies {
    /// Whose a credential is.
    pub directory: Directory,
    /// What each client may do.
    pub rules: authorization::Policies,
    /// What proves to be each client, by its number: for the tools that look at policies.
    pub identities: Vec<Arc<[Identity]>>,
    /// The folder.
    pub folder: PathBuf,
    /// The digest of each file, by its name: tells which ones a reload has changed.
    pub files: BTreeMap<String, Sha256>,
}

/// `[[listener]]`: one address that clients connect to.
#[derive(Debug)]
pub struct Listener {
    /// The address as it was typed: also the listener's metric label. A change needs a restart.
    pub name: Arc<str>,
    /// The address to bind.
    pub address: SocketAddr,
    /// Certificates and client authentication; `None`: plain HTTP.
    pub tls: Option<ListenerTls>,
    /// Connections at a time, all addresses together.
    pub connections_max: usize,
    /// Connections at a time from one address (an IPv6 /64 counts as one).
    pub connections_max_per_address: usize,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request head to its last.
    pub header_timeout: Duration,
    /// Without progress of a body, either way.
    pub body_timeout: Duration,
    /// Of a connection without a request.
    pub idle_timeout: Duration,
    /// Bytes of a whole request head.
    pub header_bytes_max: usize,
    /// Field lines of a request head.
    pub headers_max: usize,
    /// Bytes of a request target.
    pub uri_bytes_max: usize,
}

impl Listener {
    /// What it takes of a head.
    pub fn head_limits(&self) -> HeadLimits {
        HeadLimits {
            header_bytes_max: self.header_bytes_max,
            headers_max: self.headers_max,
            uri_bytes_max: self.uri_bytes_max,
        }
    }
}

/// `tls` of a listener.
#[derive(Debug)]
pub struct ListenerTls {
    /// Certificates by the names inside them.
    pub certificates: Vec<Certificate>,
    /// Index into `certificates` of the one that serves every other name.
    pub default_certificate: usize,
    /// Whether clients show a certificate, and who may have signed it.
    pub client: ClientAuth,
    /// Tells whether two readings of the files differ: a hash of certificates, keys and client
    /// authorities.
    pub fingerprint: u64,
}

/// One certificate that a listener can show.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The DNS names and addresses inside it, lower case; a wildcard as `*.example.com`.
    pub names: Vec<String>,
    /// Chain and signing key, checked to belong together.
    pub key: Arc<CertifiedKey>,
    /// The file it was read from.
    pub file: PathBuf,
}

/// `client_auth` of a listener.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientAuth {
    /// No certificate is asked for.
    None,
    /// One is asked for; a connection without one goes on, one that can't be verified ends.
    Optional(Vec<CertificateDer<'static>>),
    /// A connection without one ends in the handshake.
    Required(Vec<CertificateDer<'static>>),
}

/// `[admin]`: the operators' listener.
#[derive(Debug)]
pub struct Admin {
    /// Address to bind. A change needs a restart.
    pub address: SocketAddr,
    /// Needed for everything but `/livez` and `/readyz`, where it is set.
    pub token: Option<Secret>,
    /// Enough for `GET` and `/metrics`.
    pub read_token: Option<Secret>,
    /// Required, like `token`, on anything but a loopback address.
    pub tls: Option<ListenerTls>,
}

/// `[vendors.NAME]`: a service that requests are sent to.
#[derive(Debug)]
pub struct Vendor {
    /// Its name: metric label, log member, `vendor.name` of problems.
    pub name: Arc<str>,
    /// What this kind of vendor does, as data.
    pub profile: Arc<Profile>,
    /// Where it lives.
    pub base_url: BaseUrl,
    /// How long to wait for it.
    pub timeouts: Timeouts,
    /// Authorities and the client certificate for it.
    pub tls: VendorTls,
    /// Whether it learns the client's address.
    pub forwarded: Forwarded,
    /// What proves the gateway to the vendor.
    pub credential: Credential,
    /// Further credentials, by name.
    pub credentials: BTreeMap<Arc<str>, Credential>,
    /// How its requests are bounded and repeated.
    pub handling: Handling,
    /// Fields that no client may fill: those in which its SDKs put keys, and the gateway's own.
    pub reserved: Vec<HeaderName>,
    /// What its answers mean: its own matchers, then the profile's.
    pub outcomes: Matchers,
    /// What it is sent in the place of a client's key: its own, else the profile's.
    pub vendor_key: Option<VendorKey>,
    /// How its profile has an unknown create looked up; a route's own comes first.
    pub reconcile: Option<LookUp>,
}

impl Vendor {
    /// What [`Vendor::reserved`] is. `Authorization` is not among them: it may be the client's.
    pub fn reserved<'a>(
        profile: &Profile,
        credentials: impl Iterator<Item = &'a Credential>,
    ) -> Vec<HeaderName> {
        let own = credentials.filter_map(|credential| match credential {
            Credential::Field { name, .. } => HeaderName::from_bytes(name.as_bytes()).ok(),
            Credential::None | Credential::Passthrough => None,
        });
        let all = profile.key_headers.iter().cloned().chain(own);
        all.filter(|name| *name != header::AUTHORIZATION).collect()
    }
}

/// `timeouts` of a vendor.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeouts {
    /// Of one TCP connection with its TLS handshake.
    pub connect: Duration,
    /// From the last byte of the request to the head of the answer.
    pub response: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
    /// The same for requests that write: a connection idle for longer may be dead already, and
    /// a write on it would end with an unknown outcome.
    pub write_reuse_idle: Duration,
}

/// `tls` of a vendor.
#[derive(Debug, Default)]
pub struct VendorTls {
    /// Who may have signed its certificate; empty: the system's authorities.
    pub authorities: Vec<CertificateDer<'static>>,
    /// The certificate to show: chain and key.
    pub client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    /// Tells whether two readings of the files differ.
    pub fingerprint: u64,
}

/// `credential` of a vendor.
#[derive(Debug, Clone, PartialEq)]
pub enum Credential {
    /// The vendor asks for none.
    None,
    /// The client's own `Authorization` goes to the vendor.
    Passthrough,
    /// A fixed field: `bearer`, `basic` and `header` all come down to one.
    Field {
        /// Its name, lower case.
        name: String,
        /// Its whole value, checked to be a legal field value.
        value: Secret,
        /// Where the secret in it came from.
        sources: Vec<SecretSource>,
    },
}

impl Route {
    /// The credential that is shown to the vendor, where a rule may name another one than the
    /// route. `None`: a rule of a later configuration names what is not there, or what no rule
    /// may choose.
    pub fn credential(&self, of_rule: Option<&Arc<str>>) -> Option<&Credential> {
        let named = |name: &Arc<str>| self.vendor.credentials.get(name);
        match (of_rule, &self.credential) {
            (Some(name), _) => named(name).filter(|it| !matches!(it, Credential::Passthrough)),
            (None, Some(name)) => named(name),
            (None, None) => Some(&self.vendor.credential),
        }
    }

    /// Whether the client's own `Authorization` goes to the vendor.
    pub fn is_passthrough(&self) -> bool {
        matches!(self.credential(None), Some(Credential::Passthrough))
    }
}

/// `[[route]]`: which requests go to which vendor, and within which bounds.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its name: metric label and log member.
    pub name: Arc<str>,
    /// Exact host, lower case, without a port.
    pub host: Option<String>,
    /// Path prefix on a segment boundary, without a trailing slash: `/` is the empty string.
    pub prefix: String,
    /// Where its requests go.
    pub vendor: Arc<Vendor>,
    /// Name of the vendor's credential, if it is not its own one.
    pub credential: Option<Arc<str>>,
    /// Name of the introspecting issuer that sees its opaque tokens.
    pub introspection: Option<Arc<str>>,
    /// Which methods it serves.
    pub methods: MethodSet,
    /// Requests that read in spite of their method.
    pub reads: Vec<Read>,
    /// Bytes of a request body; `None`: a stream of any size.
    pub body_bytes_max: Option<u64>,
    /// From the request's head to the head of the answer.
    pub deadline: Duration,
    /// Whether `Location` (of an answer that is no redirect), `Content-Location` and `Link`
    /// are rewritten to stay on the gateway. A redirect's `Location` always is.
    pub rewrite_links: bool,
    /// The segment behind the prefix, from 1, by whose value requests go one at a time.
    pub serialize_by: Option<usize>,
    /// What a path may hold in spite of being ambiguous.
    pub allow_in_path: AllowInPath,
    /// How its writes are protected.
    pub protection: Protection,
}

/// One entry of a route's `reads`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The method it is about.
    pub method: String,
    /// The path after the route's prefix.
    pub path: PathPattern,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Query parameters whose values are never logged, compared percent-decoded and without
    /// regard to case. The shipped ones are always among them.
    pub redact_query: Vec<String>,
}
