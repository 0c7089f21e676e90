//! Certificates and keys out of PEM: read, looked into and matched.

use crate::config::problem::quoted;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use std::net::IpAddr;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

/// Shortest RSA key that is taken (NIST SP 800-131A).
const RSA_BITS_MIN: usize = 2048;

/// What a certificate says about itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// DNS names and addresses, lower case.
    pub names: Vec<String>,
    /// First second of its validity, since 1970.
    pub not_before: i64,
    /// Last second of its validity.
    pub not_after: i64,
}

/// All certificates of a file, at least one.
pub(super) fn chain(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match read {
        Ok(chain) if chain.is_empty() => Err("holds no certificate in PEM".to_owned()),
        Ok(chain) => Ok(chain),
        Err(error) => Err(format!("is broken PEM: {error}")),
    }
}

/// The private key of a file.
pub(super) fn key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(bytes).map_err(|_| "holds no private key in PEM".to_owned())
}

/// What the certificate says, if it is fit for use.
pub(super) fn look(certificate: &CertificateDer<'_>) -> Result<Facts, String> {
    let (_, parsed) = X509Certificate::from_der(certificate.as_ref())
        .map_err(|_| "holds a certificate that can't be read".to_owned())?;
    if let Ok(PublicKey::RSA(rsa)) = parsed.public_key().parsed()
        && rsa.key_size() < RSA_BITS_MIN
    {
        return Err(format!("has an RSA key of {} bits, less than 2048", rsa.key_size()));
    }
    let validity = parsed.validity();
    Ok(Facts {
        names: names(&parsed),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    })
}

/// Chain and key together, if they belong together.
pub(super) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, String> {
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(
        |error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                "does not belong to its key".to_owned()
            }
            error => format!("can't be used with its key: {error}"),
        },
    )
}

/// Whether verifying other certificates by this one is possible at all.
pub(super) fn check_authority(certificate: &CertificateDer<'static>) -> Result<(), String> {
    RootCertStore::empty()
        .add(certificate.clone())
        .map_err(|error| format!("holds a certificate that can't be an authority: {error}"))
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => address(octets),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

fn address(octets: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| v6()).ok().map(|address| address.to_string())
}

/// What is wrong with the file, as a sentence.
pub(super) fn fault(file: &std::path::Path, what: &str) -> String {
    format!("{} {what}", quoted(&file.display().to_string()))
}
/// Whether a certificate may sign others.
pub(super) fn is_authority(der: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, certificate)| certificate.is_ca())
}
