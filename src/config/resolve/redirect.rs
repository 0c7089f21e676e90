//! Other vendors and issuers in place of the configured ones: how the sandbox keeps everything on
//! the machine.

use crate::config::{
    BaseUrl, Config, Credential, Introspection, Issuer, Route, TokenSource, Vendor, VendorTls,
};
use crate::model::secret::Secret;
use crate::stages::authentication::{jwt, keys};
use std::sync::Arc;

impl Config {
    /// Sends each vendor's traffic where `urls` says, without its TLS settings and without a
    /// credential. A vendor of which it says nothing stays as it is.
    #[must_use]
    pub fn with_vendor_urls(self, urls: &dyn Fn(&str) -> Option<BaseUrl>) -> Config {
        let vendors: Vec<Arc<Vendor>> =
            self.vendors.iter().map(|vendor| redirect(vendor, urls)).collect();
        let routes = self.routes.iter().map(|route| {
            let same = |vendor: &&Arc<Vendor>| vendor.name == route.vendor.name;
            let vendor = vendors.iter().find(same).unwrap_or(&route.vendor);
            Arc::new(Route { vendor: vendor.clone(), ..Route::clone(route) })
        });
        let routes = routes.collect();
        Config { vendors, routes, ..self }
    }

    /// Has each issuer's keys and introspection where `urls` says. It keeps its `issuer` and its
    /// audiences.
    #[must_use]
    pub fn with_issuer_urls(self, urls: &dyn Fn(&Issuer) -> Option<IssuerUrls>) -> Config {
        let replace = |issuer: &Arc<Issuer>| match urls(issuer) {
            Some(urls) => Arc::new(simulated(issuer, urls)),
            None => issuer.clone(),
        };
        let issuers = self.issuers.iter().map(replace).collect();
        Config { issuers, ..self }
    }
}

/// Where the simulator of an issuer is.
#[derive(Clone, Debug)]
pub struct IssuerUrls {
    /// Its keys.
    pub keys: String,
    /// Its introspection endpoint.
    pub introspection: String,
    /// The name and the secret that it knows the gateway by.
    pub client: (String, String),
}

fn simulated(issuer: &Issuer, urls: IssuerUrls) -> Issuer {
    let source = match &issuer.source {
        TokenSource::Introspection(_) => TokenSource::Introspection(Introspection {
            url: urls.introspection,
            client_id: urls.client.0,
            client_secret: Secret::new(urls.client.1.as_bytes()),
        }),
        _ => TokenSource::Uri(urls.keys),
    };
    let mut policy = jwt::Policy::clone(&issuer.policy);
    // A secret is not shared with a simulator.
    policy.algorithms.retain(|algorithm| !keys::is_symmetric(*algorithm));
    if policy.algorithms.is_empty() {
        policy.algorithms = keys::DEFAULT.to_vec();
    }
    Issuer { policy: Arc::new(policy), source, scopes: issuer.scopes.clone() }
}

fn redirect(vendor: &Arc<Vendor>, urls: &dyn Fn(&str) -> Option<BaseUrl>) -> Arc<Vendor> {
    let Some(base_url) = urls(&vendor.name) else { return vendor.clone() };
    Arc::new(Vendor {
        name: vendor.name.clone(),
        profile: vendor.profile.clone(),
        base_url,
        timeouts: vendor.timeouts.clone(),
        tls: VendorTls::default(),
        forwarded: vendor.forwarded,
        handling: vendor.handling.clone(),
        reserved: vendor.reserved.clone(),
        outcomes: vendor.outcomes.clone(),
        vendor_key: vendor.vendor_key.clone(),
        reconcile: vendor.reconcile.clone(),
        credential: without_secret(&vendor.credential),
        credentials: vendor
            .credentials
            .iter()
            .map(|(name, credential)| (name.clone(), without_secret(credential)))
            .collect(),
    })
}

/// Nothing secret is shown to a simulator; what is the client's own is not ours to keep back.
fn without_secret(credential: &Credential) -> Credential {
    match credential {
        Credential::Passthrough => Credential::Passthrough,
        Credential::None | Credential::Field { .. } => Credential::None,
    }
}
