//! Tries discovery, keys, tokens and introspection over real sockets.

use serde_json::{Value, json};

use super::trial::{
    GRANT, introspect, keys, parts, start, start_one, tenant, token, verify, verify_with,
};
use super::{IdentityOptions, IdentityProvider, Tenant};
use crate::sandbox::raw_client::Client;

#[tokio::test]
async fn both_metadata_documents_lead_to_the_endpoints() {
    let provider = start_one("rfc9068").await;
    let mut client = Client::connect(&provider).await;
    let url = provider.tenant_url("t");
    assert_eq!(url, format!("http://{}/t", provider.address()));
    let oidc = client.ask("GET", "/t/.well-known/openid-configuration", "", "").await;
    let oauth = client.ask("GET", "/.well-known/oauth-authorization-server/t", "", "").await;
    assert_eq!((oidc.status, oidc.header("content-type")), (200, Some("application/json")));
    assert_eq!(oidc.json(), oauth.json());
    let document = oidc.json();
    assert_eq!(document["issuer"], *url);
    assert_eq!(document["jwks_uri"], format!("{url}/jwks"));
    assert_eq!(document["token_endpoint"], format!("{url}/token"));
    assert_eq!(document["introspection_endpoint"], format!("{url}/introspect"));
    assert_eq!(document["grant_types_supported"], json!(["client_credentials"]));
    assert_eq!(document["id_token_signing_alg_values_supported"], json!(["ES256"]));
}

#[tokio::test]
async fn every_algorithm_signs_tokens_that_the_published_keys_verify() {
    let algorithms = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];
    let provider = start(vec![tenant("t", "rfc9068", &algorithms)]).await;
    let mut client = Client::connect(&provider).await;
    let got = client.ask("GET", "/t/jwks", "", "").await;
    assert_eq!(got.header("cache-control"), Some("max-age=600"));
    let published = keys(&provider, "t").await;
    let kids: Vec<&Value> = published.iter().map(|key| &key["kid"]).collect();
    assert_eq!(kids, ["t-1", "t-ps256-1", "t-es256-1", "t-es384-1", "t-eddsa-1"]);
    for (key, algorithm) in published.iter().zip(algorithms) {
        assert_eq!((&key["use"], &key["alg"]), (&json!("sig"), &json!(algorithm)));
        assert!(key.get("d").is_none());
        let token = token(&provider, "t", &format!("&alg={algorithm}")).await;
        let (header, claims) = parts(&token);
        assert_eq!((&header["alg"], &header["kid"]), (&key["alg"], &key["kid"]));
        assert_eq!(claims["client_id"], "shop");
        assert!(verify_with(&token, key), "{algorithm}");
        let others = published.iter().filter(|other| other["kty"] == key["kty"] && *other != key);
        for other in others.filter(|other| other["crv"] == key["crv"]) {
            assert!(!verify_with(&token, other), "{algorithm}");
        }
    }
    let default = token(&provider, "t", "").await;
    assert_eq!(parts(&default).0["alg"], "RS256");
}

#[tokio::test]
async fn a_token_says_what_was_asked_for() {
    let provider = start_one("rfc9068").await;
    let mut client = Client::connect(&provider).await;
    let form = format!("{GRANT}&scope=orders.read+orders.write+orders.read");
    let got = client.form("/t/token", "", &form).await;
    assert_eq!((got.status, got.header("cache-control")), (200, Some("no-store")));
    let text = String::from_utf8(got.body.clone()).unwrap();
    assert!(text.starts_with(r#"{"access_token":"ey"#), "{text}");
    let body = got.json();
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(3600)));
    assert_eq!(body["scope"], "orders.read orders.write");
    let (header, claims) = parts(body["access_token"].as_str().unwrap());
    assert_eq!(header, json!({"alg": "ES256", "typ": "at+jwt", "kid": "t-1"}));
    assert_eq!(claims["iss"], *provider.tenant_url("t"));
    assert_eq!((&claims["aud"], &claims["sub"]), (&json!("api://erp"), &json!("shop")));
    assert_eq!(claims["scope"], "orders.read orders.write");
    let secs = |name: &str| claims[name].as_i64().unwrap();
    assert_eq!(secs("exp") - secs("iat"), 3600);

    let odd = "&audience=other&expires_in=-60&cnf_x5t_s256=print";
    let (_, claims) = parts(&token(&provider, "t", odd).await);
    assert_eq!(claims["aud"], "other");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), -60);
    assert_eq!(claims["cnf"], json!({"x5t#S256": "print"}));
    assert!(claims.get("scope").is_none());
}

#[tokio::test]
async fn a_tenant_has_its_own_issuer_audiences_and_keys() {
    let acme = Tenant {
        issuer: Some("https://login.acme.example/".to_owned()),
        audiences: vec!["a".to_owned(), "b".to_owned()],
        ..tenant("acme", "auth0", &["EdDSA"])
    };
    let provider = start(vec![acme, tenant("t", "plain", &["EdDSA"])]).await;
    let (acme, other) = (token(&provider, "acme", "").await, token(&provider, "t", "").await);
    let (_, claims) = parts(&acme);
    assert_eq!(claims["iss"], "https://login.acme.example/");
    assert_eq!(claims["aud"], json!(["a", "b"]));
    assert_eq!(claims["sub"], "shop@clients");
    let (ours, theirs) = (keys(&provider, "acme").await, keys(&provider, "t").await);
    assert!(verify(&acme, &ours) && verify(&other, &theirs));
    assert!(!verify_with(&acme, &theirs[0]));
    assert_eq!(introspect(&provider, "acme", &acme).await["active"], true);
    assert_eq!(introspect(&provider, "t", &acme).await, json!({"active": false}));
}

#[tokio::test]
async fn keys_are_published_as_the_provider_publishes_them() {
    let tenants = vec![tenant("e", "entra", &["ES256"]), tenant("k", "keycloak", &["ES256"])];
    let provider = start(tenants).await;
    let entra = keys(&provider, "e").await;
    assert_eq!(entra.len(), 1);
    assert!(entra[0].get("alg").is_none());
    assert_eq!(entra[0]["issuer"], *provider.tenant_url("e"));
    let keycloak = keys(&provider, "k").await;
    assert_eq!(keycloak.len(), 2);
    assert_eq!((&keycloak[1]["use"], &keycloak[1]["alg"]), (&json!("enc"), &json!("RSA-OAEP")));
    for name in ["e", "k"] {
        assert!(verify(&token(&provider, name, "").await, &keys(&provider, name).await), "{name}");
    }
}

#[tokio::test]
async fn clients_and_requests_that_are_not_right_are_refused() {
    let provider = start_one("okta").await;
    let mut client = Client::connect(&provider).await;
    let basic = "Authorization: Basic c2hvcDpzYW5kYm94\r\n";
    let got = client.form("/t/token", basic, "grant_type=client_credentials").await;
    assert_eq!(got.status, 200);
    let (_, claims) = parts(got.json()["access_token"].as_str().unwrap());
    assert_eq!((&claims["cid"], &claims["sub"]), (&json!("shop"), &json!("shop")));

    for (headers, form, status, code) in [
        ("", "grant_type=client_credentials&client_id=a", 401, "invalid_client"),
        ("", "grant_type=client_credentials&client_id=a&client_secret=b", 401, "invalid_client"),
        (basic, "", 400, "invalid_request"),
        (basic, "grant_type=password", 400, "unsupported_grant_type"),
        (basic, "grant_type=client_credentials&alg=RS256", 400, "invalid_request"),
        (basic, "grant_type=client_credentials&alg=none", 400, "invalid_request"),
        (basic, "grant_type=client_credentials&expires_in=soon", 400, "invalid_request"),
        (basic, "grant_type=client_credentials&scope=a&scope=b", 400, "invalid_request"),
    ] {
        let got = client.form("/t/token", headers, form).await;
        assert_eq!((got.status, got.json()["error"].as_str()), (status, Some(code)), "{form}");
        assert_eq!(got.header("cache-control"), Some("no-store"));
        assert_eq!(got.header("www-authenticate").is_some(), status == 401, "{form}");
    }
    let got = client.ask("GET", "/t/token", "", "").await;
    assert_eq!((got.status, got.header("allow")), (405, Some("POST")));
    let got = client.ask("POST", "/t/jwks", "", "{}").await;
    assert_eq!((got.status, got.header("allow")), (405, Some("GET, HEAD")));
    for path in ["/", "/nobody/jwks", "/t", "/t/authorize", "/.well-known/openid-configuration"] {
        let got = client.ask("GET", path, "", "").await;
        assert_eq!((got.status, got.header("content-type")), (404, Some("application/json")));
        assert!(got.json()["error"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn introspection_knows_opaque_tokens_and_the_tenants_own() {
    let provider = start_one("keycloak").await;
    for format in ["&format=opaque", "&token_type_hint=opaque", ""] {
        let valid = token(&provider, "t", &format!("&scope=a+b&cnf_x5t_s256=p{format}")).await;
        assert_eq!(valid.contains('.'), format.is_empty(), "{valid}");
        let said = introspect(&provider, "t", &valid).await;
        assert_eq!((&said["active"], &said["token_type"]), (&json!(true), &json!("Bearer")));
        assert_eq!((&said["scope"], &said["client_id"]), (&json!("a b"), &json!("shop")));
        assert_eq!(said["username"], "service-account-shop");
        assert_eq!(said["cnf"], json!({"x5t#S256": "p"}));
        assert_eq!(said["iss"], *provider.tenant_url("t"));
        assert!(said["exp"].is_i64() && said["iat"].is_i64() && said["aud"].is_string());

        let over = token(&provider, "t", &format!("&expires_in=-1{format}")).await;
        assert_eq!(introspect(&provider, "t", &over).await, json!({"active": false}));
    }
    for unknown in ["opaque", "a.b.c", "e30.e30.e30"] {
        assert_eq!(introspect(&provider, "t", unknown).await, json!({"active": false}));
    }
    let mut client = Client::connect(&provider).await;
    for (form, status) in [
        ("token=x", 401),
        ("token=x&client_id=erpgate&client_secret=wrong", 401),
        ("client_id=erpgate&client_secret=sandbox", 400),
    ] {
        assert_eq!(client.form("/t/introspect", "", form).await.status, status, "{form}");
    }
    let basic = "Authorization: Basic ZXJwZ2F0ZTpzYW5kYm94\r\n";
    let got = client.form("/t/introspect", basic, "token=x&token_type_hint=access_token").await;
    assert_eq!((got.status, got.header("cache-control")), (200, Some("no-store")));
}

#[tokio::test]
async fn a_provider_that_can_not_be_does_not_start() {
    let listen = "127.0.0.1:0".parse().unwrap();
    let tenants = vec![tenant("t", "saml", &["ES256"])];
    let error = IdentityProvider::start(IdentityOptions { listen, tenants }).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("`saml`"), "{error}");
}
