//! Tricks with spelling: what a rule keeps out stays out, however it is written.

use crate::support::issuer::{Issuer, get};
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Folder, UnderTest, Vendor, key};
use serde_json::json;

/// A gateway in front of the vendor, with more lines in the route and in the tester's policy.
async fn gateway(vendor: &Vendor, route: &str, policy: &str, more: &str) -> UnderTest {
    let config = format!("{HEAD}{}{more}", to_vendor(vendor.address, "", route));
    let folder = Folder::with(&config);
    let own = folder.read("policies/tester.toml");
    folder.write("policies/tester.toml", &format!("{own}{policy}"));
    UnderTest::start_in(folder).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_path_has_no_other_spelling() {
    let vendor = Vendor::fine().await;
    let deny = "[[deny]]\npaths = [\"/**/employee/**\", \"/salary\"]\n";
    let gateway = gateway(&vendor, "", deny, "").await;
    for (path, slug) in [
        ("/v/employee/7", "not-permitted"),
        ("/v/x/Employee", "not-permitted"),
        ("/v/%65mployee/7/", "not-permitted"),
        ("/v/%C5%BFalary", "not-permitted"),
        ("/v/%25%36%35mployee/7", "path-ambiguous"),
        ("/v/%2565mployee/7", "path-ambiguous"),
        ("/v/x/%25%32%65%25%32%65/employee", "path-ambiguous"),
        ("/v/x/%252%65%252%65/y", "path-ambiguous"),
        ("/v/x%25%32%66y", "path-ambiguous"),
        ("/v/x/..;/employee", "path-ambiguous"),
        ("/v/%c0%ae%c0%ae/x", "path-ambiguous"),
        ("/v/(S(x))/employee/7", "path-ambiguous"),
        ("/v/x//employee", "path-ambiguous"),
    ] {
        assert_eq!(gateway.get(path).await.slug(), slug, "{path}");
    }
    assert!(vendor.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn matrix_parameters_hide_no_segment() {
    let vendor = Vendor::fine().await;
    let deny = "[[deny]]\npaths = [\"/hr/employee/**\"]\n";
    let gateway = gateway(&vendor, "allow_in_path = [\";\"]", deny, "").await;
    for path in
        ["/v/hr/employee;x/7", "/v/hr;a=1/employee", "/v/hr/;x/employee/7", "/v/;/hr/employee"]
    {
        assert_eq!(gateway.get(path).await.slug(), "not-permitted", "{path}");
    }
    assert_eq!(gateway.get("/v/hr;x/other").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_chooses_another_route() {
    let vendor = Vendor::fine().await;
    let more = "[[route]]\nname = \"hr\"\npath = \"/v/hr\"\nvendor = \"v\"\n\
                [[route]]\nname = \"own\"\npath = \"/v\"\nhost = \"hr.gw.test\"\nvendor = \"v\"\n";
    let deny = "[[deny]]\nroute = \"hr\"\n[[deny]]\nroute = \"own\"\n";
    let gateway = gateway(&vendor, "", deny, more).await;
    for (path, slug) in [
        ("/v/hr/7", "not-permitted"),
        ("/v/%68r/7", "path-ambiguous"),
        ("/v/HR/7", "path-ambiguous"),
        ("/v/hr%2F7", "path-ambiguous"),
    ] {
        assert_eq!(gateway.get(path).await.slug(), slug, "{path}");
    }
    for host in ["hr.gw.test", "hr.gw.test.", "HR.gw.test:80", "hr.gw.test.:80"] {
        let answer = gateway.send(format!("GET /v/a HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(answer.slug(), "not-permitted", "{host}");
    }
    assert!(vendor.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_names_a_second_method_or_a_second_token() {
    let vendor = Vendor::fine().await;
    let gateway = gateway(&vendor, "", "", "").await;
    for query in
        ["_method=PUT", "x=1;_method=PUT", "_method%5B%5D=PUT", "+_method=PUT", "%5fMETHOD"]
    {
        assert_eq!(
            gateway.get(&format!("/v/a?{query}")).await.slug(),
            "request-malformed",
            "{query}"
        );
    }
    let bearer = format!("Authorization: Bearer {}\r\n", key());
    for query in [
        "access_token=s3cret",
        "access%5Ftoken=s3cret",
        "x;access_token=s3cret",
        "+Access_Token=s3cret",
    ] {
        let answer = get(&gateway, &format!("/v/a?{query}"), &bearer).await;
        assert_eq!(answer.slug(), "credentials-ambiguous", "{query}");
    }
    // Whoever puts a key where it does not belong does not find it in the log.
    let stray = format!("/v/{}?k={}", key(), key());
    let answer = get(&gateway, &stray, &format!("X-API-Key: {}\r\n", key())).await;
    let id = answer.field("x-correlation-id").expect("an id");
    gateway.log.line(&[("event", "request".into()), ("correlation_id", id.into())]).await;
    for secret in ["s3cret", &key()] {
        assert!(!gateway.log.text().contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_field_poses_as_the_gateways_own() {
    let vendor = Vendor::fine().await;
    let own = "credential = { kind = \"header\", name = \"X-Vendor-Token\", value = \
               { file = \"secret\" } }\ncredentials.second = { kind = \"header\", name = \
               \"X-Second-Token\", value = { file = \"secret\" } }";
    let folder = Folder::with(&format!("{HEAD}{}", to_vendor(vendor.address, own, "")));
    folder.write("secret", "ours");
    let gateway = UnderTest::start_in(folder).await;
    let fields = [
        "X-Vendor-Token: theirs",
        "X_Vendor_Token: theirs",
        "x-second_token: theirs",
        "X-Original-URL: /theirs",
        "X-Rewrite-URL: /theirs",
        "X-ARR-ClientCert: theirs",
        "SSL-Client-Verify: theirs",
        "X-SSL-Client-S-DN: theirs",
        "X-User: theirs",
    ];
    let fields: String = fields.map(|field| format!("{field}\r\n")).concat();
    let sent = gateway.send(format!("GET /v/a HTTP/1.1\r\nHost: gw.test\r\n{fields}\r\n")).await;
    assert_eq!(sent.status, 200);
    let seen = vendor.only();
    assert!(!seen.contains("theirs"), "{seen}");
    assert!(seen.to_ascii_lowercase().contains("x-vendor-token: ours"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_is_told_to_whom_nothing_else_has_to_be_told() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = crate::support::issuer::gateway(&issuer, vendor.address, "").await;
    let claims = json!({ "client_id": "erp-prod", "scope": "orders:read", "exp": 1_700_000_000 });
    let bearer = format!("Authorization: Bearer {}\r\n", issuer.minted(json!({}), claims).await);
    assert_eq!(get(&gateway, "/v/orders/7", &bearer).await.slug(), "token-expired");
    let unlisted = erpgate::stages::authentication::api_key::make([9; 32]);
    let both = format!("{bearer}X-API-Key: {unlisted}\r\n");
    assert_eq!(get(&gateway, "/v/orders/7", &both).await.slug(), "token-invalid");
    let two = format!("{bearer}X-API-Key: {}\r\n", key());
    assert_eq!(get(&gateway, "/v/orders/7", &two).await.slug(), "credentials-ambiguous");
}
