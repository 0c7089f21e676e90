//! Whoever is wrong too often harms nobody else: neither clients nor issuers.

use crate::support::issuer::{Issuer, ORDERS, TENANT, get, policy_of};
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Folder, UnderTest, Vendor, key, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;

const PROXIED: &str =
    "[server]\nfailed_auth_rate = \"60/minute\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n";

/// A gateway that asks the issuer about opaque tokens.
async fn asking(issuer: &Issuer, vendor: &Vendor, route: &str) -> UnderTest {
    let trusted = format!(
        "[[issuer]]\nname = \"{TENANT}\"\naudiences = [\"erp-gateway\"]\n\
         introspection = {{ url = \"{}/introspect\", client_id = \"erpgate\", \
         client_secret = {{ file = \"secret\" }} }}\n",
        issuer.url()
    );
    let config = format!("{PROXIED}{HEAD}{trusted}{}", to_vendor(vendor.address, "", route));
    let folder = Folder::with(&config);
    folder.write("secret", "sandbox");
    folder.write("policies/erp.toml", &policy_of(ORDERS));
    UnderTest::start_in(folder).await
}

fn from(address: &str, token: &str) -> String {
    format!("X-Forwarded-For: {address}\r\nAuthorization: Bearer {token}\r\n")
}

async fn asked(issuer: &Issuer) -> u64 {
    issuer.control(json!({})).await["requests"][TENANT]["introspect"].as_u64().unwrap_or(0)
}

/// Shows so many wrong tokens at once from one address; gives the slugs with their numbers.
fn attack(gateway: &Arc<UnderTest>, count: usize) -> JoinSet<String> {
    let mut attackers = JoinSet::new();
    for number in 0..count {
        let gateway = gateway.clone();
        attackers.spawn(async move {
            let fields = from("192.0.2.66", &format!("bogus-{number}"));
            get(&gateway, "/v/orders/7", &fields).await.slug()
        });
    }
    attackers
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_take_a_slow_issuer_from_everybody() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = Arc::new(asking(&issuer, &vendor, "").await);
    let token = issuer.token("erp-prod", "orders:read", "&format=opaque").await;
    issuer.control(json!({ "slow_ms": 300 })).await;
    let attackers = attack(&gateway, 300);
    wait_for("the attack", async || (asked(&issuer).await > 0).then_some(())).await;
    let answer = get(&gateway, "/v/orders/7", &from("198.51.100.1", &token)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut slugs: BTreeMap<String, u64> = BTreeMap::new();
    for slug in attackers.join_all().await {
        *slugs.entry(slug).or_default() += 1;
    }
    // The budget, what was under way when it was used up, and the good one.
    assert!(asked(&issuer).await <= 60 + 16 + 1, "{slugs:?}");
    assert!(slugs["rate-limited"] > 0, "{slugs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_fails_is_not_asked_without_end() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = asking(&issuer, &vendor, "").await;
    issuer.control(json!({ "status": 500 })).await;
    let mut slugs: BTreeMap<String, u64> = BTreeMap::new();
    for number in 0..100 {
        let fields = from("192.0.2.66", &format!("bogus-{number}"));
        *slugs.entry(get(&gateway, "/v/orders/7", &fields).await.slug()).or_default() += 1;
    }
    assert!(slugs["issuer-unavailable"] < 70 && slugs["rate-limited"] > 30, "{slugs:?}");
    assert!(asked(&issuer).await < 70, "{slugs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_an_issuer_no_longer_than_its_deadline() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = asking(&issuer, &vendor, "deadline = \"300ms\"").await;
    issuer.control(json!({ "slow_ms": 60_000 })).await;
    let answer = get(&gateway, "/v/orders/7", &from("192.0.2.1", "some")).await;
    assert_eq!((answer.status, answer.slug().as_str()), (504, "deadline-exceeded"));
    assert_eq!(answer.json()["executed"], "no");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_issuer_is_asked_about_what_can_be_no_token() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = asking(&issuer, &vendor, "").await;
    let answer = get(&gateway, "/v/orders/7", &from("192.0.2.1", &"a".repeat(9_000))).await;
    assert_eq!(answer.slug(), "token-invalid");
    let line: [(&str, Value); 2] =
        [("action", "access".into()), ("reason", "token-too-long".into())];
    gateway.log.line(&line).await;
    assert_eq!(asked(&issuer).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_not_believed_beyond_the_end_of_the_token() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = asking(&issuer, &vendor, "").await;
    let token = issuer.token("erp-prod", "orders:read", "&format=opaque&expires_in=2").await;
    let fields = from("192.0.2.1", &token);
    assert_eq!(get(&gateway, "/v/orders/7", &fields).await.status, 200);
    wait_for("its end", async || {
        let answer = get(&gateway, "/v/orders/7", &fields).await;
        (answer.status == 401 && answer.slug() == "token-invalid").then_some(())
    })
    .await;
    assert!(asked(&issuer).await >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_debt_of_an_address_is_bounded() {
    let vendor = Vendor::fine().await;
    let config = format!("{PROXIED}{HEAD}{}", to_vendor(vendor.address, "", ""));
    let gateway = UnderTest::start(&config).await;
    let mut raw = gateway.connect().await.bare();
    let mut last = String::new();
    for _ in 0..300 {
        // No credential that could be one: each is counted, until nobody looks any more.
        let fields = "X-Forwarded-For: 192.0.2.1:4711\r\nAuthorization: Bearer";
        raw.send(format!("GET /v/a HTTP/1.1\r\nHost: gw.test\r\n{fields}\r\n\r\n")).await;
        last = raw.answer().await.slug();
    }
    assert_eq!(last, "rate-limited");
    let shown = |address: &str| format!("X-Forwarded-For: {address}\r\nX-API-Key: {}\r\n", key());
    let answer = get(&gateway, "/v/a", &shown("192.0.2.1")).await;
    let wait: u64 = answer.field("retry-after").expect("a wait").parse().expect("seconds");
    assert!(wait <= 60, "a minute's budget is back in a minute: {wait}");
    // The port is no part of an address, and other clients of the same proxy are others.
    assert_eq!(get(&gateway, "/v/a", &shown("198.51.100.9:55")).await.status, 200);
    assert_eq!(get(&gateway, "/v/a", &shown("[2001:db8::1]:55")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_issuer_refuses_another_may_know() {
    let (one, two, vendor) = (Issuer::start().await, Issuer::start().await, Vendor::fine().await);
    let issuer = |name: &str, of: &Issuer| {
        format!(
            "[[issuer]]\nname = \"{name}\"\naudiences = [\"erp-gateway\"]\nintrospection = {{ url = \
             \"{}/introspect\", client_id = \"erpgate\", client_secret = {{ file = \"secret\" }} }}\n",
            of.url()
        )
    };
    let (first, second) = (issuer("one", &one), issuer("two", &two));
    let route = "[[route]]\nname = \"s\"\npath = \"/w\"\nvendor = \"v\"\nintrospection = \"two\"\n";
    let own = to_vendor(vendor.address, "", "introspection = \"one\"");
    let folder = Folder::with(&format!("{HEAD}{first}{second}{own}{route}"));
    folder.write("secret", "sandbox");
    let policy = policy_of(&ORDERS.replace("\"r\"", "\"s\"")).replace(TENANT, "two");
    folder.write("policies/erp.toml", &policy);
    let gateway = UnderTest::start_in(folder).await;
    let token = two.token("erp-prod", "orders:read", "&format=opaque").await;
    let fields = from("192.0.2.1", &token);
    assert_eq!(get(&gateway, "/v/orders/7", &fields).await.slug(), "token-invalid");
    assert_eq!(get(&gateway, "/w/orders/7", &fields).await.status, 200);
}
