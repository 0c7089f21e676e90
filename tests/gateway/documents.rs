//! Each refusal of authentication and authorization, met once, with its exact document, challenge
//! and wait.

use crate::support::issuer::{Issuer, ORDERS, folder, gateway, get, policy_of};
use crate::support::{Answer, UnderTest, Vendor, key};
use serde_json::{Value, json};

const ORDER: &str = "/v/orders/7";
const NONE: &str = "Bearer realm=\"erpgate\"";
const INVALID: &str = "Bearer realm=\"erpgate\", error=\"invalid_token\"";

/// A refusal as it has to be told.
pub struct Told<'a> {
    pub status: u16,
    pub code: &'a str,
    pub title: &'a str,
    pub detail: &'a str,
    pub action: &'a str,
    pub retryable: bool,
    pub challenge: Option<&'a str>,
    pub error: &'a str,
}

#[track_caller]
pub fn assert_told(answer: &Answer, told: &Told<'_>) {
    assert_eq!(answer.slug(), told.code);
    assert_eq!(answer.status, told.status, "{}", told.code);
    let mut document = answer.json();
    let members = document.as_object_mut().expect("an object");
    // Those that every refusal has alike are checked by `slug`.
    for alike in ["type", "status", "instance", "correlation_id", "retry_after"] {
        members.remove(alike);
    }
    let expected: Value = json!({
        "code": told.code, "title": told.title, "detail": told.detail, "action": told.action,
        "executed": "no", "retryable": told.retryable,
    });
    assert_eq!(document, expected);
    assert_eq!(answer.field("www-authenticate").as_deref(), told.challenge, "{}", told.code);
    let proxy_status = format!("erpgate; error={}", told.error);
    assert_eq!(answer.field("proxy-status"), Some(proxy_status), "{}", told.code);
    assert_eq!(answer.field("retry-after").is_some(), told.retryable, "{}", told.code);
}

const INVALID_TOLD: Told<'static> = Told {
    status: 401,
    code: "token-invalid",
    title: "Credential invalid",
    detail: "The credential is not accepted.",
    action: "Send a credential that the gateway accepts.",
    retryable: false,
    challenge: Some(INVALID),
    error: "http_request_error",
};

async fn bearer(issuer: &Issuer, client: &str, scope: &str) -> String {
    format!("Authorization: Bearer {}\r\n", issuer.token(client, scope, "").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_known() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = gateway(&issuer, vendor.address, "").await;
    let missing = Told {
        code: "credentials-missing",
        title: "Credentials missing",
        detail: "The request shows no credential.",
        action: "Send a token, an API key or a client certificate.",
        challenge: Some(NONE),
        ..INVALID_TOLD
    };
    assert_told(&get(&gateway, ORDER, "").await, &missing);
    let garbage = "Authorization: Bearer e30.e30.e30\r\n";
    assert_told(&get(&gateway, ORDER, garbage).await, &INVALID_TOLD);
    let claims = json!({ "client_id": "erp-prod", "scope": "orders:read", "exp": 1_700_000_000 });
    let expired = issuer.minted(json!({}), claims).await;
    let fields = format!("Authorization: Bearer {expired}\r\n");
    let told = Told {
        code: "token-expired",
        title: "Credential expired",
        detail: "The credential has expired.",
        action: "Get a new credential.",
        ..INVALID_TOLD
    };
    assert_told(&get(&gateway, ORDER, &fields).await, &told);
    let good = bearer(&issuer, "erp-prod", "orders:read").await;
    let two = format!("{good}X-API-Key: {}\r\n", key());
    let told = Told {
        status: 400,
        code: "credentials-ambiguous",
        title: "Credentials ambiguous",
        detail: "Credentials of two clients are shown.",
        action: "Show one credential, in one place.",
        challenge: Some("Bearer realm=\"erpgate\", error=\"invalid_request\""),
        ..INVALID_TOLD
    };
    assert_told(&get(&gateway, ORDER, &two).await, &told);
    let told = Told {
        status: 403,
        code: "client-unknown",
        title: "Client unknown",
        detail: "No policy names the owner of this credential.",
        action: "Ask the gateway's security team about this client.",
        challenge: None,
        error: "http_request_denied",
        ..INVALID_TOLD
    };
    let stranger = bearer(&issuer, "stranger", "orders:read").await;
    assert_told(&get(&gateway, ORDER, &stranger).await, &told);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = gateway(&issuer, vendor.address, "").await;
    let denied = Told { status: 403, error: "http_request_denied", ..INVALID_TOLD };
    let told = Told {
        code: "scope-missing",
        title: "Scope missing",
        detail: "The credential lacks a scope.",
        action: "Get a token with the scope in the WWW-Authenticate field.",
        challenge: Some(
            "Bearer realm=\"erpgate\", error=\"insufficient_scope\", scope=\"orders:read\"",
        ),
        ..denied
    };
    let unscoped = bearer(&issuer, "erp-prod", "orders:write").await;
    assert_told(&get(&gateway, ORDER, &unscoped).await, &told);
    let good = bearer(&issuer, "erp-prod", "orders:read").await;
    let told = Told {
        code: "not-permitted",
        title: "Not permitted",
        detail: "The client may not do this.",
        action: "Ask the gateway's security team for access.",
        challenge: None,
        ..denied
    };
    assert_told(&get(&gateway, "/v/bills/7", &good).await, &told);
    let suspended = format!("suspended = \"key leaked\"\n{}", policy_of(ORDERS));
    gateway.folder.write("policies/erp.toml", &suspended);
    gateway.serving.gateway.state.reload("admin").await;
    let told = Told {
        code: "client-suspended",
        title: "Client suspended",
        detail: "The client is suspended.",
        action: "Ask the gateway's security team about this client.",
        challenge: None,
        ..denied
    };
    let answer = get(&gateway, ORDER, &good).await;
    assert_told(&answer, &told);
    // Who it is and why is for the log.
    let id = answer.field("x-correlation-id").expect("an id");
    let line =
        gateway.log.line(&[("action", "access".into()), ("correlation_id", id.into())]).await;
    assert_eq!((&line["client"], &line["rule_reason"]), (&"erp".into(), &"key leaked".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_to_wait() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let token = bearer(&issuer, "erp-prod", "orders:read").await;
    issuer.control(json!({ "down": true })).await;
    let folder = folder(&issuer, vendor.address, "");
    let config = folder.read("gateway.toml").replace("100000/minute", "2/minute");
    folder.write("gateway.toml", &config);
    let gateway = UnderTest::start_in(folder).await;
    let told = Told {
        status: 503,
        code: "issuer-unavailable",
        title: "Issuer unavailable",
        detail: "The credential can't be checked: its issuer does not answer.",
        action: "Wait as long as Retry-After says, then try again.",
        retryable: true,
        challenge: None,
        error: "proxy_internal_error",
    };
    assert_told(&get(&gateway, ORDER, &token).await, &told);
    for _ in 0..2 {
        let wrong = "X-API-Key: egk_wrong\r\n";
        assert_eq!(get(&gateway, ORDER, wrong).await.slug(), "token-invalid");
    }
    let told = Told {
        status: 429,
        code: "rate-limited",
        title: "Too many requests",
        detail: "Too many requests in too short a time.",
        error: "http_request_error",
        ..told
    };
    let answer = get(&gateway, ORDER, "X-API-Key: egk_wrong\r\n").await;
    assert_told(&answer, &told);
    let wait = answer.field("retry-after").expect("a wait");
    assert!((1..=30).contains(&wait.parse::<u32>().expect("seconds")), "{wait}");
    assert!(vendor.seen().is_empty());
}
