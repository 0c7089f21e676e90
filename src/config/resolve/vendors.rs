//! `[vendors.NAME]`: where requests are sent, how long we wait, and what proves us there.

use super::bounds::{Longest, duration};
use super::names::check_name;
use super::outcomes::outcomes;
use super::profiles::Defaults;
use super::vendor_key::vendor_key;
use super::{Context, Mode, TOP, pem};
use crate::config::problem::{Notes, nearest, quoted};
use crate::config::protection::{Place, VendorKey};
use crate::config::raw::at::At;
use crate::config::raw::table::Section;
use crate::config::raw::vendor::{RawForwarded, RawTimeouts, RawVendor, RawVendorTls};
use crate::config::raw::{RawGateway, RawRoute};
use crate::config::{BaseUrl, Credential, Forwarded, Pool, Timeouts, Vendor, VendorTls};
use crate::profile::outcome::Matchers;
use http::HeaderName;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

impl Context<'_> {
    /// The vendors that can be used, by name.
    pub(super) fn vendors(&mut self, raw: &RawGateway, pools: &[Arc<Pool>]) -> Vec<Arc<Vendor>> {
        let routes = raw.route.as_ref().map_or(&[][..], |routes| &routes.value);
        let named = |route: &Section<RawRoute>| Some(route.value.vendor.as_ref()?.value.clone());
        let wanted: Vec<String> = routes.iter().filter_map(named).collect();
        let names: Vec<&str> =
            raw.vendors.iter().flatten().map(|(name, _)| name.value.as_str()).collect();
        // A route that misspells a vendor is a problem of its own.
        let meant = |wanted: &String| match names.contains(&wanted.as_str()) {
            true => Some(wanted.clone()),
            false => nearest(wanted, names.iter().copied()).map(str::to_owned),
        };
        let wanted: Vec<String> = wanted.iter().filter_map(meant).collect();
        let mut vendors = Vec::new();
        for (name, at) in raw.vendors.iter().flatten() {
            let used = wanted.contains(&name.value) || self.notes.has_lost(TOP.start, "route");
            if !used {
                let message = format!("no route leads to the vendor {}", quoted(&name.value));
                let help = format!("write `vendor = \"{}\"` in a `[[route]]`", name.value);
                self.notes.warning("unused-vendor", &name.span, message, help);
            }
            vendors.extend(self.vendor(name, at, raw, pools).map(Arc::new));
        }
        vendors
    }

    fn vendor(
        &mut self,
        name: &At<String>,
        at: &Section<RawVendor>,
        gateway: &RawGateway,
        pools: &[Arc<Pool>],
    ) -> Option<Vendor> {
        let raw = &at.value;
        let named = check_name(&mut self.notes, "vendor", name);
        let handling = self.handling(name, raw, gateway, pools);
        let defaults = self.profile(raw.profile.as_ref());
        let base_url = self.base_url(name, at);
        let credential = self.credential(raw.credential.as_ref());
        let credentials = self.named_credentials(raw);
        let timeouts = self.timeouts(raw.timeouts.as_ref().map(|timeouts| &timeouts.value.0));
        let tls = self.vendor_tls(raw.tls.as_ref());
        if let (Some(typed), Some(false)) = (&raw.tls, base_url.as_ref().map(|url| url.https)) {
            let message = "this vendor is reached without TLS, so `tls` does nothing";
            let help = "remove it, or write `https://` in `base_url`";
            self.notes.warning("unused-tls", &typed.span, message, help);
        }
        let own = outcomes(&mut self.notes, raw.outcome.as_ref());
        let forwarded = match raw.forwarded.unwrap_or_default() {
            RawForwarded::Off => Forwarded::Off,
            RawForwarded::XForwarded => Forwarded::XForwarded,
            RawForwarded::Rfc7239 => Forwarded::Rfc7239,
        };
        let own_key = raw.vendor_key.as_ref().map(|typed| vendor_key(&mut self.notes, typed));
        let Defaults { profile, vendor_key, reconcile } = defaults?;
        let credentials_of_all = credential.iter().chain(credentials.values());
        let reserved = Vendor::reserved(&profile, credentials_of_all);
        check_own_key(&mut self.notes, raw, own_key.as_ref().and_then(Option::as_ref), &reserved);
        Some(Vendor {
            name: named.then(|| Arc::from(name.value.as_str()))?,
            base_url: base_url?,
            timeouts,
            tls,
            forwarded,
            handling,
            reserved,
            outcomes: Matchers::before(own, &profile.outcomes),
            vendor_key: own_key.unwrap_or(vendor_key),
            reconcile,
            profile,
            credential: credential.unwrap_or(Credential::None),
            credentials,
        })
    }

    fn named_credentials(&mut self, raw: &RawVendor) -> BTreeMap<Arc<str>, Credential> {
        let mut credentials = BTreeMap::new();
        for (name, at) in raw.credentials.iter().flatten() {
            let named = check_name(&mut self.notes, "credential", name);
            if let Some(credential) = self.credential(Some(at)).filter(|_| named) {
                credentials.insert(Arc::from(name.value.as_str()), credential);
            }
        }
        credentials
    }

    fn base_url(&mut self, name: &At<String>, at: &Section<RawVendor>) -> Option<BaseUrl> {
        let table = format!("[vendors.{}]", name.value);
        let example = "\"https://vendor.example.com\"";
        let typed = at.value.base_url.as_ref();
        let typed = self.notes.required(&at.span, &table, "base_url", typed, example)?;
        match BaseUrl::parse(&typed.value) {
            Ok(url) => Some(url),
            Err(fault) => {
                // It may hold a password, or a token in its query.
                if typed.value.contains(['@', '?', '#']) {
                    self.notes.text.hide(typed.span.clone());
                }
                let message = format!("this `base_url` can't be used: it {fault}");
                let help = "write it as in \"https://vendor.example.com/api\"";
                self.notes.problem("bad-base-url", &typed.span, message, help);
                None
            }
        }
    }

    fn timeouts(&mut self, raw: Option<&RawTimeouts>) -> Timeouts {
        let empty = RawTimeouts::default();
        let raw = raw.unwrap_or(&empty);
        let notes = &mut self.notes;
        let mut time = |key, typed: &Option<_>, default, longest| {
            duration(notes, key, typed.as_ref(), default, longest)
        };
        Timeouts {
            connect: time("connect", &raw.connect, "5s", Longest::of("5m")),
            response: time("response", &raw.response, "15m", Longest::of("24h")),
            idle: time("idle", &raw.idle, "30s", Longest::of("24h")),
            write_reuse_idle: time(
                "write_reuse_idle",
                &raw.write_reuse_idle,
                "2s",
                // Zero: a write never takes a connection that was used before.
                Longest { text: "24h", zero: true },
            ),
        }
    }

    /// In the sandbox no vendor is reached, so nothing is read.
    fn vendor_tls(&mut self, at: Option<&Section<RawVendorTls>>) -> VendorTls {
        let Some(at) = at.filter(|_| self.mode != Mode::Sandbox) else {
            return VendorTls::default();
        };
        let authorities =
            at.value.ca.as_ref().map(|typed| self.authorities(typed)).unwrap_or_default();
        let client = self.client_certificate(at);
        let mut hasher = DefaultHasher::new();
        let der = client.as_ref().map(|(chain, key)| (chain, key.secret_der()));
        (&authorities, der).hash(&mut hasher);
        VendorTls { authorities, client, fingerprint: hasher.finish() }
    }

    fn client_certificate(
        &mut self,
        at: &Section<RawVendorTls>,
    ) -> Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let raw = &at.value;
        if raw.certificate.is_none() && raw.key.is_none() {
            return None;
        }
        let typed = raw.certificate.as_ref();
        let typed = self.notes.required(&at.span, "tls", "certificate", typed, "\"client.pem\"");
        let key = raw.key.as_ref();
        let key = self.notes.required(&at.span, "tls", "key", key, "{ file = \"client.key\" }");
        let leaf = typed.and_then(|typed| {
            let file = self.path(&typed.value);
            self.leaf(&file, &typed.span).map(|(chain, _)| (chain, typed))
        });
        let key = key.and_then(|typed| self.secret("key", typed).map(|(key, _)| (key, typed)));
        let ((chain, chain_at), (secret, key_at)) = (leaf?, key?);
        if secret.expose().is_empty() {
            return None;
        }
        let matched =
            pem::key(secret.expose()).map_err(|what| (&key_at.span, what)).and_then(|key| {
                match pem::certified(chain.clone(), key.clone_key()) {
                    Ok(_) => Ok((chain, key)),
                    Err(what) => Err((&chain_at.span, what)),
                }
            });
        matched
            .map_err(|(span, what)| {
                let help = "name a certificate chain and the private key made for it, both in PEM";
                self.notes.problem("bad-certificate", span, format!("this {what}"), help);
            })
            .ok()
    }
}

/// A credential, or a client's own key, goes into that field.
fn check_own_key(
    notes: &mut Notes,
    raw: &RawVendor,
    key: Option<&VendorKey>,
    reserved: &[HeaderName],
) {
    let (Some(at), Some(key)) = (&raw.vendor_key, key) else { return };
    let header = match &key.place {
        Place::Header(name) => Some(name),
        Place::Path(_) | Place::Query(_) | Place::Body(_) => None,
    };
    let companion = key.companion.as_ref().map(|(name, _)| name);
    for (name, typed) in [(header, &at.value.header), (companion, &at.value.companion)] {
        if let (Some(name), Some(typed)) = (name, typed)
            && reserved.contains(name)
        {
            let message = format!("credentials go into the field {}", quoted(name.as_str()));
            let help = "write the field that the vendor asks for, as in \"Idempotency-Key\"";
            notes.problem("bad-field-name", &typed.span, message, help);
        }
    }
}
