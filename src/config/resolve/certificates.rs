//! Certificates: folders of what we show, bundles of those who may sign for others.

use super::Context;
use super::pem::{self, Facts, fault};
use super::secrets::in_words;
use crate::config::problem::quoted;
use crate::config::raw::at::At;
use crate::config::raw::table::Section;
use crate::config::raw::{RawClientAuth, RawGateway, RawListenerTls};
use crate::config::{Certificate, ClientAuth, ListenerTls};
use rustls::pki_types::CertificateDer;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// How long before its end a certificate is spoken of, in seconds.
const SOON: i64 = 14 * 86_400;
/// What to do about a folder without certificates.
const HELP_FOLDER: &str = "put NAME.pem (chain) and NAME.key into it; for development, \
                           `erpgate certificates --dir certs` makes them";

impl Context<'_> {
    pub(super) fn listener_tls(&mut self, at: &Section<RawListenerTls>) -> Option<ListenerTls> {
        let raw = &at.value;
        let folder = raw.certificates.as_ref();
        let folder = self.notes.required(&at.span, "tls", "certificates", folder, "\"certs\"");
        let mut hasher = DefaultHasher::new();
        let certificates = folder.map(|folder| self.folder(folder, &mut hasher));
        let client = self.client_auth(at);
        match &client {
            ClientAuth::None => 0u8.hash(&mut hasher),
            ClientAuth::Optional(authorities) => (1u8, authorities).hash(&mut hasher),
            ClientAuth::Required(authorities) => (2u8, authorities).hash(&mut hasher),
        }
        let certificates = certificates.filter(|certificates| !certificates.is_empty())?;
        let is_default = |certificate: &Certificate| certificate.file.ends_with("default.pem");
        let default_certificate = certificates.iter().position(is_default).unwrap_or(0);
        Some(ListenerTls {
            certificates,
            default_certificate,
            client,
            fingerprint: hasher.finish(),
        })
    }

    fn client_auth(&mut self, at: &Section<RawListenerTls>) -> ClientAuth {
        let raw = &at.value;
        let wanted = raw.client_auth.as_ref().map_or(RawClientAuth::None, |auth| auth.value);
        let typed = raw.client_ca.as_ref();
        if wanted == RawClientAuth::None {
            let unread = self.notes.has_lost(at.span.start, "client_auth");
            if let Some(typed) = typed.filter(|_| !unread) {
                let message = "no client is asked for a certificate, so `client_ca` does nothing";
                let help = "write `client_auth = \"optional\"` or \"required\"";
                self.notes.warning("client-ca-unused", &typed.span, message, help);
            }
            return ClientAuth::None;
        }
        let example = "\"certs/client-ca.pem\"";
        let typed = self.notes.required(&at.span, "tls", "client_ca", typed, example);
        let authorities = typed.map(|typed| self.authorities(typed)).unwrap_or_default();
        match wanted {
            RawClientAuth::Required => ClientAuth::Required(authorities),
            _ => ClientAuth::Optional(authorities),
        }
    }

    /// A PEM file of authorities; what is wrong with it has been noted.
    pub(super) fn authorities(&mut self, typed: &At<String>) -> Vec<CertificateDer<'static>> {
        let file = self.path(&typed.value);
        let Some(chain) = self.chain(&file, &typed.span) else { return Vec::new() };
        for certificate in &chain {
            let facts = pem::look(certificate)
                .and_then(|facts| pem::check_authority(certificate).map(|()| facts));
            match facts {
                Ok(facts) => self.check_validity(&file, &facts, 0, &typed.span),
                Err(what) => self.refuse(&file, &what, &typed.span),
            }
        }
        chain
    }

    /// A PEM file of certificates, the first of them looked into. `None`: it has been noted.
    pub(super) fn leaf(
        &mut self,
        file: &Path,
        span: &Range<usize>,
    ) -> Option<(Vec<CertificateDer<'static>>, Facts)> {
        let chain = self.chain(file, span)?;
        match pem::look(chain.first()?) {
            Ok(facts) => {
                self.check_validity(file, &facts, SOON, span);
                Some((chain, facts))
            }
            Err(what) => {
                self.refuse(file, &what, span);
                None
            }
        }
    }

    fn chain(&mut self, file: &Path, span: &Range<usize>) -> Option<Vec<CertificateDer<'static>>> {
        let bytes = self.sources.read(file).map_err(|error| {
            let what = format!("can't be read: {}", in_words(&error));
            ("file-unreadable", what)
        });
        let chain =
            bytes.and_then(|bytes| pem::chain(&bytes).map_err(|what| ("bad-certificate", what)));
        match chain {
            Ok(chain) => Some(chain),
            Err((code, what)) => {
                let help = "name a file of certificates in PEM";
                self.notes.problem(code, span, fault(file, &what), help);
                None
            }
        }
    }

    /// Every pair of the folder, in the order of names.
    fn folder(&mut self, typed: &At<String>, hasher: &mut DefaultHasher) -> Vec<Certificate> {
        let folder = self.path(&typed.value);
        let span = &typed.span;
        let files = match self.sources.list(&folder) {
            Ok(files) => files,
            Err(error) => {
                let what = format!("can't be read: {}", in_words(&error));
                let message = fault(&folder, &what);
                self.notes.problem("certificate-missing", span, message, HELP_FOLDER);
                return Vec::new();
            }
        };
        let before = self.notes.problems.len();
        let mut certificates: Vec<Certificate> = Vec::new();
        for file in files.iter().filter(|file| is_visible(file, "pem")) {
            let key = file.with_extension("key");
            if !files.contains(&key) {
                if !self.other_certificates.contains(&normal(file)) && !self.is_authority(file) {
                    let what = "has no key beside it";
                    self.refuse(file, &format!("{what}: {}", key.display()), span);
                }
                continue;
            }
            let Some(certificate) = self.pair(file, &key, span, hasher) else { continue };
            self.check_names(&certificate, &certificates, span);
            certificates.push(certificate);
        }
        if certificates.is_empty() && self.notes.problems.len() == before {
            let message = fault(&folder, "holds no certificate with its key");
            self.notes.problem("certificate-missing", span, message, HELP_FOLDER);
        }
        certificates
    }

    /// A file of authorities may lie beside the certificates without a key.
    fn is_authority(&self, file: &Path) -> bool {
        let bytes = self.sources.read(file).ok();
        bytes
            .and_then(|bytes| pem::chain(&bytes).ok())
            .is_some_and(|chain| chain.first().is_some_and(pem::is_authority))
    }

    fn pair(
        &mut self,
        file: &Path,
        key_file: &Path,
        span: &Range<usize>,
        hasher: &mut DefaultHasher,
    ) -> Option<Certificate> {
        let (chain, facts) = self.leaf(file, span)?;
        let key = self
            .sources
            .read(key_file)
            .map_err(|error| format!("can't be read: {}", in_words(&error)));
        let key = match key.and_then(|bytes| pem::key(&bytes)) {
            Ok(key) => key,
            Err(what) => {
                self.refuse(key_file, &what, span);
                return None;
            }
        };
        if self.sources.open_to_others(key_file) == Some(true) {
            let message = fault(key_file, "may be read by others than its owner");
            let help = format!("run `chmod 600 {}`", key_file.display());
            self.notes.warning("key-open-to-others", span, message, help);
        }
        (file, &chain, key.secret_der()).hash(hasher);
        match pem::certified(chain, key) {
            Ok(key) => {
                Some(Certificate { names: facts.names, key: Arc::new(key), file: file.to_owned() })
            }
            Err(what) => {
                self.refuse(file, &what, span);
                None
            }
        }
    }

    fn check_names(&mut self, new: &Certificate, others: &[Certificate], span: &Range<usize>) {
        if new.names.is_empty() {
            let message = fault(&new.file, "holds no names (subjectAltName): clients refuse it");
            let help = "have it issued for the names that clients call";
            self.notes.warning("certificate-nameless", span, message, help);
        }
        for other in others {
            if let Some(name) = new.names.iter().find(|name| other.names.contains(name)) {
                let what = format!("is for {}, as {} is", quoted(name), other.file.display());
                let message = fault(&new.file, &what);
                let help = "keep one certificate for each name";
                self.notes.warning("certificate-name-twice", span, message, help);
            }
        }
    }

    fn check_validity(&mut self, file: &Path, facts: &Facts, soon: i64, span: &Range<usize>) {
        let (code, what) = if self.now > facts.not_after {
            ("certificate-expired", "has expired".to_owned())
        } else if self.now < facts.not_before {
            ("certificate-not-yet-valid", "is not valid yet".to_owned())
        } else if self.now > facts.not_after - soon {
            let days = (facts.not_after - self.now) / 86_400;
            ("certificate-expires-soon", format!("expires in {days} days"))
        } else {
            return;
        };
        self.notes.warning(code, span, fault(file, &what), "replace it: no restart is needed");
    }

    fn refuse(&mut self, file: &Path, what: &str, span: &Range<usize>) {
        let help = "replace the file, or take it out of the folder";
        self.notes.problem("bad-certificate", span, fault(file, what), help);
    }

    /// Every certificate that a key names by itself.
    pub(super) fn named_certificates(&self, raw: &RawGateway) -> Vec<PathBuf> {
        let listeners = raw.listener.iter().flat_map(|listeners| &listeners.value);
        let listeners = listeners.filter_map(|listener| listener.value.tls.as_ref());
        let admin = raw.admin.iter().filter_map(|admin| admin.value.tls.as_ref());
        let client_cas = listeners.chain(admin).filter_map(|tls| tls.value.client_ca.as_ref());
        let vendors = raw.vendors.iter().flat_map(|vendors| vendors.values());
        let vendors = vendors.filter_map(|vendor| vendor.value.tls.as_ref());
        let vendors = vendors.flat_map(|tls| [&tls.value.ca, &tls.value.certificate]).flatten();
        client_cas.chain(vendors).map(|typed| normal(&self.base.join(&typed.value))).collect()
    }
}

fn is_visible(file: &Path, extension: &str) -> bool {
    let hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    !hidden && file.extension().is_some_and(|found| found == extension)
}

/// Without `.` segments: two spellings of a path that people use as one.
fn normal(path: &Path) -> PathBuf {
    path.components().filter(|component| *component != Component::CurDir).collect()
}
