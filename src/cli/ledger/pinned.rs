//! Knows the admin listener by its own certificate, which lies where the configuration says.
//!
//! Stricter than any authority: whoever shows another certificate is not told the token, whoever
//! may have signed it.

use crate::config::ListenerTls;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether somebody else's certificate was shown.
#[derive(Clone, Debug, Default)]
pub struct Stranger(Arc<AtomicBool>);

impl Stranger {
    /// Whether it was.
    pub fn was_there(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// How to speak TLS with the listener that has one of these certificates.
///
/// # Errors
/// No version of TLS can be spoken.
pub fn speaking(tls: &ListenerTls, stranger: Stranger) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificates = tls.certificates.iter().filter_map(|it| it.key.cert.first().cloned());
    let pinned = Pinned {
        certificates: certificates.collect(),
        algorithms: provider.signature_verification_algorithms,
        stranger,
    };
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    // Rustls calls all verifiers of one's own dangerous; this one takes less than its own.
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned));
    Ok(builder.with_no_client_auth())
}

#[derive(Debug)]
struct Pinned {
    certificates: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
    stranger: Stranger,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.certificates.iter().any(|ours| ours == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.stranger.0.store(true, Ordering::Release);
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
