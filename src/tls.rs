//! TLS toward clients and operators: which certificate is shown, who may show one, and what a
//! reload changes.
//!
//! A listener's `ServerConfig` is made anew whenever its files change, with a session store of
//! its own: a session that was begun under other authorities can't be resumed, so a resumed
//! handshake never outlives a revoked authority. What a resumed session restores is verified once
//! more all the same, because a certificate may have expired meanwhile.

use crate::config::{self, ClientAuth, ListenerTls};
use crate::model::digest::Sha256;
use crate::stages::authentication::Certificate;
use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// What a TLS handshake told.
pub struct TlsFacts {
    /// The name that the client asked for.
    pub server_name: Option<String>,
    /// The names that the certificate shown holds for.
    pub certificate_names: Arc<[String]>,
    /// Whether HTTP/2 was agreed on.
    pub http2: bool,
    /// The client's own certificate and its chain.
    pub client_certificates: Vec<CertificateDer<'static>>,
    /// What the client's own certificate says.
    pub client: Option<Arc<Certificate>>,
}

/// What a listener shows and demands; swapped when its files change.
pub struct ListenerTlsState {
    current: ArcSwap<Current>,
    protocols: &'static [&'static str],
}

/// What a listener for clients speaks, in its order of preference (ALPN, RFC 7301).
pub const HTTP: &[&str] = &["h2", "http/1.1"];
/// The same for the admin listener.
pub const HTTP_1: &[&str] = &["http/1.1"];

/// Other files, checked and ready to be taken up.
pub struct Prepared(Arc<Current>);

struct Current {
    fingerprint: u64,
    server: Arc<ServerConfig>,
    names: Arc<Names>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    requires_client: bool,
}

impl ListenerTlsState {
    /// Makes the first state.
    ///
    /// # Errors
    /// What rustls refuses of the client authorities.
    pub fn new(
        tls: &ListenerTls,
        provider: &Arc<CryptoProvider>,
        protocols: &'static [&'static str],
    ) -> Result<ListenerTlsState, String> {
        let current = ArcSwap::from_pointee(Current::new(tls, provider, protocols)?);
        Ok(ListenerTlsState { current, protocols })
    }

    /// Makes ready for other files, if they differ.
    ///
    /// # Errors
    /// What rustls refuses of the client authorities; nothing has changed then.
    pub fn prepare(
        &self,
        tls: &ListenerTls,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Prepared>, String> {
        if self.current.load().fingerprint == tls.fingerprint {
            return Ok(None);
        }
        Ok(Some(Prepared(Arc::new(Current::new(tls, provider, self.protocols)?))))
    }

    /// Takes up what was made ready.
    pub fn commit(&self, prepared: Prepared) {
        self.current.store(prepared.0);
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub async fn accept(&self, tcp: TcpStream) -> Result<(TlsStream<TcpStream>, TlsFacts), String> {
        let current = self.current.load_full();
        let acceptor = tokio_rustls::TlsAcceptor::from(current.server.clone());
        let stream = acceptor.accept(tcp).await.map_err(|error| error.to_string())?;
        let session = stream.get_ref().1;
        let chain: Vec<CertificateDer<'static>> = session
            .peer_certificates()
            .unwrap_or(&[])
            .iter()
            .map(|c| c.clone().into_owned())
            .collect();
        if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            current.verify(&chain)?;
        }
        let server_name = session.server_name().map(str::to_owned);
        let facts = TlsFacts {
            certificate_names: current.names.of(server_name.as_deref()),
            server_name,
            http2: session.alpn_protocol() == Some(b"h2"),
            client: chain.first().map(|leaf| Arc::new(look_at(leaf))),
            client_certificates: chain,
        };
        Ok((stream, facts))
    }

    /// Whether a connection's client certificate is still accepted.
    pub fn still_accepts(&self, chain: &[CertificateDer<'static>]) -> bool {
        self.current.load().verify(chain).is_ok()
    }
}

impl Current {
    fn new(
        tls: &ListenerTls,
        provider: &Arc<CryptoProvider>,
        protocols: &[&str],
    ) -> Result<Current, String> {
        let names = Arc::new(Names::new(&tls.certificates, tls.default_certificate));
        let verifier = client_verifier(&tls.client, provider)?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder.with_cert_resolver(names.clone());
        server.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Current {
            fingerprint: tls.fingerprint,
            server: Arc::new(server),
            names,
            verifier,
            requires_client: matches!(tls.client, ClientAuth::Required(_)),
        })
    }

    fn verify(&self, chain: &[CertificateDer<'static>]) -> Result<(), String> {
        match (&self.verifier, chain.split_first()) {
            (None, _) => Ok(()),
            (Some(_), None) if self.requires_client => Err("no client certificate".into()),
            (Some(_), None) => Ok(()),
            (Some(verifier), Some((leaf, rest))) => verifier
                .verify_client_cert(leaf, rest, UnixTime::now())
                .map(|_| ())
                .map_err(|error| error.to_string()),
        }
    }
}

/// What a client certificate that was verified is known by.
fn look_at(leaf: &CertificateDer<'_>) -> Certificate {
    let digest = Sha256::of(leaf);
    let parsed = X509Certificate::from_der(leaf).ok();
    let names = parsed.as_ref().and_then(|(_, certificate)| {
        let names = certificate.subject_alternative_name().ok()??;
        Some(names.value.general_names.iter().filter_map(name).collect())
    });
    // One that could not be read would not have been verified.
    let not_after = parsed.as_ref().map_or(0, |(_, it)| it.validity().not_after.timestamp());
    Certificate { digest, names: names.unwrap_or_default(), not_after }
}

/// A name that a policy can name; in URIs case makes a difference (RFC 3986 §6.2.2.1).
fn name(name: &GeneralName<'_>) -> Option<Box<str>> {
    match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) => {
            Some(name.to_ascii_lowercase().into())
        }
        GeneralName::URI(name) => Some((*name).into()),
        _ => None,
    }
}

fn client_verifier(
    client: &ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let (authorities, optional) = match client {
        ClientAuth::None => return Ok(None),
        ClientAuth::Optional(authorities) => (authorities, true),
        ClientAuth::Required(authorities) => (authorities, false),
    };
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(|error| error.to_string())?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = if optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map(Some).map_err(|error| error.to_string())
}

/// Certificates by the names that they hold for.
#[derive(Debug)]
struct Names {
    by_name: HashMap<String, usize>,
    certificates: Vec<(Arc<CertifiedKey>, Arc<[String]>)>,
    default: usize,
}

impl Names {
    fn new(certificates: &[config::Certificate], default: usize) -> Names {
        let mut by_name = HashMap::new();
        for (index, certificate) in certificates.iter().enumerate() {
            for name in &certificate.names {
                // The first by file name keeps a name that two certificates hold.
                by_name.entry(name.clone()).or_insert(index);
            }
        }
        let certificates = certificates
            .iter()
            .map(|certificate| (certificate.key.clone(), certificate.names.clone().into()))
            .collect();
        Names { by_name, certificates, default }
    }

    fn index(&self, server_name: Option<&str>) -> usize {
        let Some(name) = server_name.map(str::to_ascii_lowercase) else { return self.default };
        let wildcard = || name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        self.by_name
            .get(&name)
            .or_else(|| self.by_name.get(&wildcard()?))
            .copied()
            .unwrap_or(self.default)
    }

    fn of(&self, server_name: Option<&str>) -> Arc<[String]> {
        let index = self.index(server_name);
        self.certificates.get(index).map_or_else(|| Arc::from([]), |(_, names)| names.clone())
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certificates.get(self.index(hello.server_name())).map(|(key, _)| key.clone())
    }
}
