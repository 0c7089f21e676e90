//! What the shipped profiles say of answers that vendors really give.

use super::{REST, config};
use crate::config::Config;
use crate::profile::outcome::{Class, Executed, HeadVerdict, Matchers, Verdict};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, proptest};
use std::time::Duration;

const NOW: i64 = 1_800_000_000;

fn of_profile(name: &str) -> Config {
    config(&REST.replace("base_url", &format!("profile = \"{name}\"\nbase_url")))
}

fn fields(typed: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in typed {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        headers.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    headers
}

/// Asserts that the head says nothing that the body takes back.
fn judged(of: &Matchers, status: u16, headers: &HeaderMap, body: &[u8]) -> Option<Verdict> {
    let verdict = of.body(status, headers, body, true, NOW);
    match of.head(status, headers, NOW) {
        HeadVerdict::Decided(early) => assert_eq!(Some(early), verdict),
        HeadVerdict::NoMatch => assert_eq!(verdict, None),
        HeadVerdict::NeedsBody => assert!(of.needs_bodies()),
    }
    verdict
}

/// Status, fields, body, and what is made of them: class, scope, seconds to wait, code.
type Case<'a> = (u16, &'a [(&'a str, &'a str)], &'a str, &'a str);

fn check(profile: &str, cases: &[Case<'_>]) {
    let config = of_profile(profile);
    for (status, headers, body, expected) in cases {
        let verdict =
            judged(&config.vendors[0].outcomes, *status, &fields(headers), body.as_bytes());
        let found = verdict.map(|v| {
            let wait = v.wait.map(|wait| format!(" {}s", wait.as_secs())).unwrap_or_default();
            let code = v.code.map(|code| format!(" {code}")).unwrap_or_default();
            format!("{} {}{wait}{code}", v.class.word(), v.scope.word())
        });
        let found = found.unwrap_or_default();
        assert_eq!(found, *expected, "{profile} {status} {headers:?} {body}");
    }
}

#[test]
fn generic_knows_two_statuses() {
    let asked = [("retry-after", "7")];
    check(
        "generic",
        &[
            (429, &[], "", "rate account"),
            (429, &asked, "", "rate account 7s"),
            (401, &[], "", "auth-expired credential"),
            (200, &[], "{}", ""),
            (408, &[], "", ""),
            (500, &[], "", ""),
            (503, &asked, "", ""),
        ],
    );
    assert!(!of_profile("generic").vendors[0].outcomes.needs_bodies());
}

/// A fault of NetSuite's SOAP.
fn fault(name: &str, code: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><soapenv:Envelope xmlns:soapenv=\"x\"><soapenv:Body>\
         <soapenv:Fault><faultstring>blocked</faultstring><detail><f:{name}>\
         <f:code>{code}</f:code></f:{name}></detail></soapenv:Fault></soapenv:Body>\
         </soapenv:Envelope>"
    )
}

#[test]
fn netsuite_throttles_in_three_shapes() {
    let rest = concat!(
        r#"{"title":"Bad Request","status":429,"o:errorDetails":[{"#,
        r#""detail":"Concurrent request limit exceeded. Request blocked.","#,
        r#""o:errorCode":"CONCURRENCY_LIMIT_EXCEEDED"}]}"#
    );
    let restlet = r#"{"error" : {"code" : "SSS_REQUEST_LIMIT_EXCEEDED", "message" : "..."}}"#;
    let mistake = r#"{"error":{"code":"OTHER","message":"SSS_REQUEST_LIMIT_EXCEEDED"}}"#;
    let twice = concat!(
        r#"{"title":"Conflict","status":400,"o:errorDetails":[{"#,
        r#""detail":"x","o:errorCode":"IDEMPOTENCY_ERROR"}]}"#
    );
    let too_many = fault("exceededConcurrentRequestLimitFault", "WS_REQUEST_BLOCKED");
    let sessions = fault("exceededRequestLimitFault", "WS_CONCUR_SESSION_DISALLWD");
    let job = [("location", "/services/rest/async/v1/job/7")];
    check(
        "netsuite",
        &[
            (429, &[], rest, "concurrency account CONCURRENCY_LIMIT_EXCEEDED"),
            (429, &[], "<html>", "concurrency account"),
            (400, &[], restlet, "concurrency account SSS_REQUEST_LIMIT_EXCEEDED"),
            (200, &[], restlet, ""),
            (400, &[], mistake, ""),
            (400, &job, twice, "duplicate resource IDEMPOTENCY_ERROR"),
            (500, &[], &too_many, "concurrency account"),
            (500, &[], &sessions, "session account"),
            (500, &[], &fault("unexpectedErrorFault", "USER_ERROR"), ""),
            // A client's own words are no fault.
            (500, &[], "{\"memo\":\"<code>WS_REQUEST_BLOCKED</code>\"}", ""),
            (500, &[], "<html>WS_REQUEST_BLOCKED", ""),
            (401, &[], "Invalid login attempt", "auth-expired credential"),
            (302, &[("location", "https://elsewhere")], "", ""),
        ],
    );
}

#[test]
fn acumatica_hides_its_limits() {
    let stack = r#"{"stackTrace":"at PX.LicensePolicy.Provider.CheckApiUsersLimits(..)"}"#;
    let page = concat!(
        "/Frames/Error.aspx?message=The%20number%20of%20concurrent%20API%20logins",
        "%20has%20been%20reached."
    );
    let other_page = "/Frames/Error.aspx?message=other";
    let exception = |name: &str| format!(r#"{{"message":"x","exceptionType":"{name}"}}"#);
    let gone = "PX.Api.ContractBased.NoEntitySatisfiesTheConditionException";
    check(
        "acumatica",
        &[
            (429, &[], "", "rate account"),
            (500, &[], stack, "session account"),
            (500, &[], r#"{"exceptionMessage":"API Login Limit"}"#, "session account"),
            (200, &[], "API Login Limit", ""),
            (302, &[("location", page)], "", "session account"),
            (302, &[("location", other_page)], "", ""),
            (500, &[], &exception(gone), &format!("not-found resource {gone}")),
            (500, &[], &exception("PX.Data.PXException"), "business resource PX.Data.PXException"),
            (500, &[], &exception("System.OutOfMemoryException"), ""),
            (422, &[], "{}", "business resource"),
        ],
    );
}

#[test]
fn avatax_says_what_was_done_before() {
    let code = |code: &str| format!(r#"{{"error":{{"code":"{code}"}}}}"#);
    let committed = concat!(
        r#"{"error":{"code":"GetTaxError","#,
        r#""details":[{"number":300,"description":"Expected Saved|Posted"}]}}"#
    );
    check(
        "avatax",
        &[
            (429, &[], "", "rate account"),
            (400, &[], &code("RequestLimitExceeded"), "rate account RequestLimitExceeded"),
            (
                400,
                &[],
                &code("TransactionAlreadyExists"),
                "already-done resource TransactionAlreadyExists",
            ),
            (400, &[], committed, "already-done resource Expected Saved|Posted"),
            (400, &[], &code("GetTaxError"), ""),
            (401, &[], &code("AuthenticationException"), "auth-expired credential"),
        ],
    );
}

#[test]
fn celigo_and_shiphawk_say_it_by_status() {
    let celigo = r#"{"errors":[{"code":"rate_limited","message":"Too many requests."}]}"#;
    check(
        "celigo",
        &[(429, &[("retry-after", "2")], celigo, "rate account 2s"), (403, &[], celigo, "")],
    );
    check(
        "shiphawk",
        &[
            (423, &[], "", "lock resource"),
            (402, &[], "", "business account"),
            (422, &[], "", "business resource"),
            (429, &[], "", "rate account"),
            (500, &[], "", ""),
        ],
    );
}

#[test]
fn salesforce_says_two_things_with_one_code() {
    let limit = |message: &str| {
        format!(r#"[{{"message":"{message}","errorCode":"REQUEST_LIMIT_EXCEEDED"}}]"#)
    };
    let (total, long) =
        ("TotalRequests Limit exceeded.", "ConcurrentPerOrgLongTxn Limit exceeded.");
    let forbidden = r#"[{"message":"x","errorCode":"INSUFFICIENT_ACCESS"}]"#;
    check(
        "salesforce",
        &[
            (403, &[], &limit(total), &format!("quota account {total}")),
            (403, &[], &limit(long), &format!("concurrency account {long}")),
            (403, &[], &limit("?"), "rate account REQUEST_LIMIT_EXCEEDED"),
            (403, &[], forbidden, ""),
            (300, &[], "[]", "business resource"),
            (401, &[], "", "auth-expired credential"),
            (200, &[], r#"{"compositeResponse":[{"httpStatusCode":400}]}"#, ""),
        ],
    );
    let config = of_profile("salesforce");
    let budget = &config.vendors[0].profile.budgets[0];
    let headers = fields(&[("sforce-limit-info", "api-usage=10018/100000; api-bursts=1/750")]);
    let reading = budget.read(&headers).map(|reading| (reading.used, reading.limit));
    assert_eq!((budget.reserve, reading), (0.05, Some((10_018, 100_000))));
}

#[test]
fn shopify_throttles_in_a_success() {
    let throttled = concat!(
        r#"{"errors":[{"message":"Throttled","extensions":{"code":"THROTTLED"}}],"#,
        r#""extensions":{"cost":{}}}"#
    );
    let asked = [("retry-after", "2.0"), ("x-shopify-shop-api-call-limit", "40/40")];
    check(
        "shopify",
        &[
            (429, &asked, r#"{"errors":"Exceeded 2 calls per second."}"#, "rate account 2s"),
            (200, &[], throttled, "rate account THROTTLED"),
            (200, &[], r#"{"errors":[{"extensions":{"code":"MAX_COST_EXCEEDED"}}]}"#, ""),
            (200, &[], r#"{"data":{"order":{"note":"THROTTLED"}}}"#, ""),
        ],
    );
    let config = of_profile("shopify");
    let vendor = &config.vendors[0];
    let verdict = vendor.outcomes.body(200, &HeaderMap::new(), throttled.as_bytes(), true, NOW);
    let verdict = verdict.expect("a throttle");
    assert!(verdict.executed == Some(Executed::No) && verdict.certainly_unexecuted());
    let cut = vendor.outcomes.body(200, &HeaderMap::new(), throttled.as_bytes(), false, NOW);
    assert_eq!(cut, None);
    let headers = fields(&[("X-Shopify-Shop-Api-Call-Limit", "32/40")]);
    let reading = vendor.profile.budgets[0].read(&headers).expect("a reading");
    assert_eq!((reading.used, reading.limit, reading.remaining()), (32, 40, 8));
}

#[test]
fn stripe_tells_limits_from_locks() {
    let reason = |reason| [("stripe-rate-limited-reason", reason)];
    let again = |again| [("stripe-should-retry", again)];
    let lock = r#"{"error":{"type":"invalid_request_error","code":"lock_timeout"}}"#;
    check(
        "stripe",
        &[
            (429, &reason("global-rate"), "", "rate account"),
            (429, &reason("endpoint-rate"), "", "rate endpoint"),
            (429, &reason("resource-specific"), "", "rate resource"),
            (429, &reason("global-concurrency"), "", "concurrency account"),
            (429, &reason("endpoint-concurrency"), lock, "concurrency endpoint"),
            (429, &[], lock, "lock resource lock_timeout"),
            (429, &[], "", "rate account"),
            (500, &again("true"), "", "retryable-server endpoint"),
            (500, &again("false"), "", "final-server endpoint"),
            (500, &[], "", ""),
            (402, &[], "", "business resource"),
            (409, &[], "", ""),
        ],
    );
    let config = of_profile("stripe");
    let head = config.vendors[0].outcomes.head(429, &fields(&reason("global-rate")), NOW);
    assert!(matches!(head, HeadVerdict::Decided(_)), "{head:?}");
    let backoff = config.vendors[0].profile.backoff;
    assert_eq!((backoff.base.as_millis(), backoff.max.as_secs()), (500, 8));
}

#[test]
fn a_vendors_own_matchers_come_first() {
    let own = "[[vendors.erp.outcome]]\nwhen = { status = 429 }\nclass = \"quota\"\n\
               wait = \"pointer:/error/retryAfterMs\"\n";
    let config = config(&format!("{REST}{own}"));
    let outcomes = &config.vendors[0].outcomes;
    assert!(outcomes.needs_bodies());
    assert_eq!(outcomes.head(429, &HeaderMap::new(), NOW), HeadVerdict::NeedsBody);
    let body = br#"{"error":{"retryAfterMs":1500}}"#;
    let verdict = judged(outcomes, 429, &HeaderMap::new(), body).expect("a verdict");
    assert_eq!((verdict.class, verdict.wait), (Class::Quota, Some(Duration::from_millis(1500))));
    let verdict = judged(outcomes, 401, &HeaderMap::new(), b"").expect("the profile's");
    assert!(verdict.class == Class::AuthExpired && verdict.certainly_unexecuted());
}

#[test]
fn a_code_is_fit_for_a_log() {
    let own = "[[vendors.erp.outcome]]\nwhen = { status = 400, pointer = \"/error/code\" }\n\
               class = \"business\"\n";
    let config = config(&format!("{REST}{own}"));
    let code = |held: &str| {
        let body = serde_json::json!({ "error": { "code": held } }).to_string();
        judged(&config.vendors[0].outcomes, 400, &HeaderMap::new(), body.as_bytes())?.code
    };
    assert_eq!(code("A_B c").as_deref(), Some("A_B c"));
    assert_eq!(code("a\r\nb\u{1b}[31mé").as_deref(), Some("a\\r\\nb\\u{1b}[31m\\u{e9}"));
    assert_eq!(code(&"x".repeat(1_000)).map(|code| code.len()), Some(200));
    assert_eq!(code(" "), None);
}

/// Bodies that begin like those of vendors, and any others.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let known = proptest::sample::select(vec![
        r#"{"errors":[{"extensions":{"code":"THROTTLED"}}]"#,
        r#"{"error":{"code":"lock_timeout","code":1e400}"#,
        r#"[{"message":"TotalRequests Limit exceeded"}"#,
        "<Envelope>>WS_REQUEST_BLOCKED<",
        "\u{feff}[[[[[[[[[[",
        "",
    ]);
    let rest = proptest::collection::vec(any::<u8>(), 0..64);
    (known, rest, any::<bool>()).prop_map(|(known, rest, close)| {
        let end: &[u8] = if close { b"}" } else { b"" };
        [known.as_bytes(), end, &rest].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// No answer makes the classifier fall over, and the head never says what the body takes back.
    #[test]
    fn any_answer_is_judged(
        status in proptest::sample::select(vec![200u16, 300, 302, 400, 401, 403, 429, 500, 999]),
        name in proptest::sample::select(vec![
            "retry-after", "location", "stripe-should-retry", "stripe-rate-limited-reason",
        ]),
        value in proptest::collection::vec(0x20u8..=0x7e, 0..40),
        body in bodies(),
        complete in any::<bool>(),
        now in any::<i64>(),
    ) {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(&value).expect("visible"));
        for config in CONFIGS.iter() {
            let outcomes = &config.vendors[0].outcomes;
            let verdict = outcomes.body(status, &headers, &body, complete, now);
            match outcomes.head(status, &headers, now) {
                HeadVerdict::Decided(early) => prop_assert_eq!(Some(early), verdict),
                HeadVerdict::NoMatch => prop_assert_eq!(verdict, None),
                HeadVerdict::NeedsBody => {}
            }
            for budget in &config.vendors[0].profile.budgets {
                budget.read(&headers);
            }
        }
    }
}

static CONFIGS: std::sync::LazyLock<Vec<Config>> = std::sync::LazyLock::new(|| {
    crate::profile::SHIPPED.iter().map(|(name, _)| of_profile(name)).collect()
});
