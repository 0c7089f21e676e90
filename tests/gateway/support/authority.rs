//! Certificates of a test's own.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use std::time::SystemTime;

/// An authority of a test's own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key in PEM for these names; a name with a colon is a URI.
    pub fn issue(&self, names: &[&str], usage: ExtendedKeyUsagePurpose) -> (String, String) {
        self.issue_until(names, usage, None)
    }

    /// The same, until a moment.
    pub fn issue_until(
        &self,
        names: &[&str],
        usage: ExtendedKeyUsagePurpose,
        until: Option<SystemTime>,
    ) -> (String, String) {
        let names = names.iter().map(|name| (*name).to_owned());
        let (uris, names): (Vec<String>, Vec<String>) = names.partition(|name| name.contains(':'));
        let mut params = CertificateParams::new(names).expect("parameters");
        let uri = |uri: String| SanType::URI(uri.try_into().expect("ASCII"));
        params.subject_alt_names.extend(uris.into_iter().map(uri));
        params.extended_key_usages = vec![usage];
        if let Some(until) = until {
            params.not_after = until.into();
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        (certificate.pem(), key.serialize_pem())
    }
}
