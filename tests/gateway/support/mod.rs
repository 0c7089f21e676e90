//! What the tests stand on: a gateway in this process, a vendor that records octets, raw clients.

pub mod authority;
pub mod client;
pub mod folder;
pub mod issuer;
pub mod process;
pub mod tls_vendor;
pub mod under_test;
pub mod vendor;

use std::time::Duration;

pub use authority::Authority;
pub use client::{Answer, Raw};
pub use folder::Folder;
pub use under_test::UnderTest;
pub use vendor::{Reply, Vendor};

/// How long a fact may take to come true before a test gives up: generous, because a loaded
/// machine is slow and nothing here measures time.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The API key of the client that every test's policies allow everything.
pub fn key() -> String {
    erpgate::stages::authentication::api_key::make([7; 32])
}

/// A policy by which that client may use these routes.
pub fn policy(routes: &[&str]) -> String {
    let digest = erpgate::model::digest::Sha256::of(key().as_bytes());
    let mut policy = format!("client = \"tester\"\n[[identity]]\napi_key_sha256 = \"{digest}\"\n");
    for route in routes {
        policy.push_str(&format!(
            "[[allow]]\nroute = \"{route}\"\nmethods = [\"*\"]\npaths = [\"/**\"]\nscopes = []\n"
        ));
    }
    policy
}

/// Waits until `fact` gives something.
pub async fn wait_for<T>(what: &str, mut fact: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = fact().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await; // poll interval
    }
}

/// Bounds something that might never end.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not end"),
    }
}
