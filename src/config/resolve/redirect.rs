//! Other vendors in place of the configured ones: how the sandbox keeps everything on the
//! machine.

use crate::config::{BaseUrl, Config, Credential, Route, Vendor, VendorTls};
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
            Arc::new(with_vendor(route, vendor.clone()))
        });
        let routes = routes.collect();
        Config { vendors, routes, ..self }
    }
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
        credential: Credential::None,
    })
}

fn with_vendor(route: &Route, vendor: Arc<Vendor>) -> Route {
    Route {
        name: route.name.clone(),
        host: route.host.clone(),
        prefix: route.prefix.clone(),
        vendor,
        methods: route.methods,
        reads: route.reads.clone(),
        body_bytes_max: route.body_bytes_max,
        deadline: route.deadline,
        rewrite_links: route.rewrite_links,
        allow_in_path: route.allow_in_path,
    }
}
