//! A simulated identity provider with one tenant, and a gateway that trusts it.

use super::under_test::{HEAD, to_vendor};
use super::{Answer, Folder, Raw, UnderTest};
use erpgate::sandbox::{IdentityOptions, IdentityProvider, Tenant};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// The tenant, which is also the issuer's name in the configuration.
pub const TENANT: &str = "corporate";

/// A running identity provider.
pub struct Issuer {
    pub provider: IdentityProvider,
}

impl Issuer {
    /// With keys for two algorithms, ES256 first.
    pub async fn start() -> Issuer {
        Issuer::shaped("rfc9068").await
    }

    /// Whose tokens have this shape.
    pub async fn shaped(shape: &str) -> Issuer {
        Issuer::signing(shape, &["ES256", "EdDSA"]).await
    }

    /// With these algorithms.
    pub async fn signing(shape: &str, algorithms: &[&str]) -> Issuer {
        let tenant = Tenant {
            name: TENANT.to_owned(),
            issuer: None,
            audiences: vec!["erp-gateway".to_owned()],
            shape: shape.to_owned(),
            algorithms: algorithms.iter().map(|name| (*name).to_owned()).collect(),
        };
        let listen = "127.0.0.1:0".parse().expect("an address");
        let options = IdentityOptions { listen, tenants: vec![tenant] };
        Issuer { provider: IdentityProvider::start(options).await.expect("starts") }
    }

    /// What stands in `iss` of its tokens.
    pub fn url(&self) -> String {
        self.provider.tenant_url(TENANT)
    }

    /// The lines of gateway.toml that trust it, with more lines.
    pub fn trusted(&self, lines: &str) -> String {
        let url = self.url();
        format!(
            "[[issuer]]\nname = \"{TENANT}\"\nissuer = \"{url}\"\njwks_uri = \"{url}/jwks\"\n\
             audiences = [\"erp-gateway\"]\n{lines}\n"
        )
    }

    /// A token by the client-credentials grant, with more members of the form.
    pub async fn token(&self, client_id: &str, scope: &str, more: &str) -> String {
        let form = format!(
            "grant_type=client_credentials&client_id={client_id}&client_secret=sandbox\
             &scope={scope}{more}"
        );
        let path = format!("/{TENANT}/token");
        let answer =
            post(self.provider.address(), &path, "application/x-www-form-urlencoded", &form);
        let answer = answer.await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["access_token"].as_str().expect("a token").to_owned()
    }

    /// Tells the provider to behave otherwise. Returns its state.
    pub async fn control(&self, change: Value) -> Value {
        let address = self.provider.control_address();
        let answer =
            post(address, "/_sandbox/control", "application/json", &change.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// A token with other members in its header and claims; null takes one out.
    pub async fn minted(&self, header: Value, claims: Value) -> String {
        self.minted_by(json!({ "header": header, "claims": claims })).await
    }

    /// A token as the provider's control endpoint makes it.
    pub async fn minted_by(&self, mut mint: Value) -> String {
        mint["tenant"] = TENANT.into();
        let state = self.control(json!({ "mint": mint })).await;
        state["minted"].as_str().expect("a token").to_owned()
    }

    /// How often its keys were asked for.
    pub async fn key_fetches(&self) -> u64 {
        self.control(json!({})).await["requests"][TENANT]["jwks"].as_u64().expect("a count")
    }
}

async fn post(address: SocketAddr, path: &str, media: &str, body: &str) -> Answer {
    let mut raw = Raw::connect(address).await.bare();
    raw.send(format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {media}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await;
    raw.answer().await
}

/// A policy of the client `erp`, which tokens for `erp-prod` prove.
pub fn policy_of(allows: &str) -> String {
    format!(
        "client = \"erp\"\n[[identity]]\nissuer = \"{TENANT}\"\nclient_id = \"erp-prod\"\n{allows}"
    )
}

/// It may read orders with `orders:read`, and write them with `orders:write`.
pub const ORDERS: &str = r#"
[[allow]]
route = "r"
methods = ["GET", "HEAD"]
paths = ["/orders/**"]
scopes = ["orders:read"]
[[allow]]
route = "r"
methods = ["POST"]
paths = ["/orders"]
scopes = ["orders:write"]
"#;

/// A gateway that trusts the issuer, with the policy of `erp` and a high limit for failures.
pub async fn gateway(issuer: &Issuer, vendor: SocketAddr, lines: &str) -> UnderTest {
    UnderTest::start_in(folder(issuer, vendor, lines)).await
}

/// The folder of such a gateway.
pub fn folder(issuer: &Issuer, vendor: SocketAddr, lines: &str) -> Folder {
    let server = "[server]\nfailed_auth_rate = \"100000/minute\"\n";
    let trusted = issuer.trusted(lines);
    let folder = Folder::with(&format!("{server}{HEAD}{trusted}{}", to_vendor(vendor, "", "")));
    folder.write("policies/erp.toml", &policy_of(ORDERS));
    folder
}

/// A GET that shows these fields only.
pub async fn get(gateway: &UnderTest, target: &str, fields: &str) -> Answer {
    let mut raw = gateway.connect().await.bare();
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: gw.test\r\n{fields}\r\n")).await;
    raw.answer().await
}

/// A GET with a bearer token.
pub async fn get_with(gateway: &UnderTest, target: &str, token: &str) -> Answer {
    get(gateway, target, &format!("Authorization: Bearer {token}\r\n")).await
}
