//! The operators' listener: health, metrics, configuration, reload, and who may.

use crate::once::post;
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Answer, Folder, Raw, Reply, UnderTest, Vendor};

async fn ask(gateway: &UnderTest, method: &str, path: &str, token: Option<&str>) -> Answer {
    let mut raw = Raw::connect(gateway.serving.admin).await;
    let field = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    raw.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n")).await;
    raw.answer().await
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_token() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    assert_eq!(ask(&gateway, "GET", "/livez", None).await.status, 200);
    let ready = ask(&gateway, "GET", "/readyz", None).await;
    assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("ready")));
    assert_eq!(ask(&gateway, "GET", "/nowhere", None).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_open_what_they_are_for() {
    let vendor = Vendor::fine().await;
    let tokens = "token = { file = \"all\" }\nread_token = { file = \"read\" }\n";
    let config = format!("{HEAD}{tokens}{}", to_vendor(vendor.address, "", ""));
    let folder = Folder::with(&config);
    folder.write("all", "operator-token");
    folder.write("read", "reader-token");
    let gateway = UnderTest::start_in(folder).await;
    for (method, path, token, status) in [
        ("GET", "/livez", None, 200),
        ("GET", "/metrics", None, 401),
        ("GET", "/metrics", Some("wrong"), 401),
        ("GET", "/metrics", Some("reader-token"), 200),
        ("GET", "/api/v1/config", Some("reader-token"), 200),
        ("POST", "/api/v1/reload", Some("reader-token"), 403),
        ("POST", "/api/v1/reload", None, 401),
        ("POST", "/api/v1/reload", Some("operator-token"), 200),
        ("GET", "/metrics", Some("operator-token"), 200),
    ] {
        let answer = ask(&gateway, method, path, token).await;
        assert_eq!(answer.status, status, "{method} {path} {token:?}");
        if status == 401 {
            let challenge = answer.field("www-authenticate").expect("a challenge");
            assert_eq!(challenge.contains("invalid_token"), token.is_some(), "{challenge}");
        }
    }
    let shown = ask(&gateway, "GET", "/api/v1/config", Some("reader-token")).await.text();
    assert!(shown.contains("file:"), "{shown}");
    assert!(!shown.contains("operator-token") && !shown.contains("reader-token"), "{shown}");
    gateway.log.line(&[("event", "audit".into()), ("result", "refused".into())]).await;
    assert!(!gateway.log.text().contains("-token\""), "no token in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_describes_itself() {
    let vendor = Vendor::answering(|_| Reply::Reset).await;
    let gateway = UnderTest::before(vendor.address).await;
    assert_eq!(gateway.send(post("/orders", "unknown", "{}")).await.status, 502);
    let document = ask(&gateway, "GET", "/api/v1/openapi.json", None).await.json();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let methods = methods.as_object().expect("methods").iter();
        for (method, about) in methods.filter(|(method, _)| *method != "parameters") {
            let content = &about["requestBody"]["content"]["application/json"];
            let body = match &content["example"] {
                serde_json::Value::Null => String::new(),
                example => example.to_string(),
            };
            let (method, path) =
                (method.to_uppercase(), path.replace("{name}", "v").replace("{id}", "1"));
            let mut raw = Raw::connect(gateway.serving.admin).await;
            let of_body =
                format!("Content-Type: application/json\r\nContent-Length: {}", body.len());
            let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{of_body}");
            raw.send(format!("{head}\r\n\r\n{body}")).await;
            assert_eq!(raw.answer().await.status, 200, "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_rebinds_a_name_gets_nothing() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let mut raw = Raw::connect(gateway.serving.admin).await;
    raw.send("POST /api/v1/reload HTTP/1.1\r\nHost: evil.test\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(raw.answer().await.status, 421);
}
