//! Reloads: all or nothing, by whoever may ask, and never a failed request.

use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Raw, UnderTest, Vendor, wait_for};
use erpgate::state::ReloadOutcome;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn config(vendor: &Vendor, path: &str) -> String {
    format!("{HEAD}{}", to_vendor(vendor.address, "", "")).replace("\"/v\"", &format!("\"{path}\""))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_changes_nothing() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::start(&config(&vendor, "/v")).await;
    let state = gateway.serving.gateway.state.clone();
    for (broken, mention) in [
        ("this is not TOML".to_owned(), "gateway.toml:1"),
        (format!("{}\nunknown = 1\n", config(&vendor, "/v")), "unknown"),
        (config(&vendor, "/v").replacen("\"v\"\n", "\"w\"\n", 1), "`w`"),
        (config(&vendor, "/v").replacen("127.0.0.1:0", "127.0.0.1:1", 1), "restart"),
        (format!("[server]\nworkers = 7\n{}", config(&vendor, "/v")), "server.workers"),
    ] {
        // Asked for by hand, so that the outcome is that of these files.
        gateway.folder.write("gateway.toml", &broken);
        let outcome = state.reload("admin").await;
        let ReloadOutcome::Refused { problems } = outcome else { panic!("{broken}: {outcome:?}") };
        assert!(problems.iter().any(|problem| problem.contains(mention)), "{problems:?}");
        assert_eq!(gateway.get("/v/a").await.status, 200);
    }
    assert_eq!(gateway.metric("erpgate_config_generation ").await, 1.0);
    assert!(gateway.metric("erpgate_config_reloads_total{result=\"refused\"} ").await >= 5.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_taken_up_by_itself() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::start(&config(&vendor, "/v")).await;
    assert_eq!(gateway.get("/new/a").await.status, 404);
    gateway.folder.write("gateway.toml", &config(&vendor, "/new"));
    wait_for("the new route", async || (gateway.get("/new/a").await.status == 200).then_some(()))
        .await;
    assert_eq!(gateway.get("/v/a").await.status, 404);
    gateway.log.line(&[("action", "reload".into()), ("asked_by", "file".into())]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_the_files_is_no_change_of_them() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::start(&config(&vendor, "/v")).await;
    gateway.folder.write("gateway.toml", &config(&vendor, "/new"));
    gateway.log.line(&[("action", "reload".into()), ("asked_by", "file".into())]).await;
    // A watcher that woke itself would have looked some thousand times since.
    let looks = async || gateway.serving.gateway.state.looks.load(Ordering::Relaxed);
    let before = looks().await;
    for _ in 0..200 {
        gateway.get("/new/a").await;
    }
    assert!(looks().await - before < 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_reloads_and_reports() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::start(&config(&vendor, "/v")).await;
    let ask = async || {
        let mut raw = Raw::connect(gateway.serving.admin).await;
        raw.send("POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            .await;
        raw.answer().await
    };
    gateway.folder.write("gateway.toml", &config(&vendor, "/new"));
    let answer = ask().await;
    assert_eq!((answer.status, answer.json()["result"].as_str()), (200, Some("accepted")));
    assert_eq!(gateway.get("/new/a").await.status, 200);
    gateway.folder.write("gateway.toml", "nonsense");
    let answer = ask().await;
    assert_eq!((answer.status, answer.json()["result"].as_str()), (409, Some("refused")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_reloads_under_load_fail_no_request() {
    let vendor = Vendor::fine().await;
    let gateway = Arc::new(UnderTest::start(&config(&vendor, "/v")).await);
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..8 {
        let (gateway, stop, served) = (gateway.clone(), stop.clone(), served.clone());
        clients.spawn(async move {
            let mut raw = gateway.connect().await;
            while !stop.load(Ordering::Relaxed) {
                let request = match client % 2 {
                    0 => "GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n",
                    _ => "POST /v/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}",
                };
                raw.send(request).await;
                let answer = raw.answer().await;
                assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let state = gateway.serving.gateway.state.clone();
    for _ in 0..1000 {
        let outcome = state.reload("admin").await;
        assert!(matches!(outcome, ReloadOutcome::Accepted { .. }), "{outcome:?}");
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.expect("no failed request");
    }
    assert!(served.load(Ordering::Relaxed) > 1000);
    assert_eq!(gateway.metric("erpgate_config_generation ").await, 1001.0);
}
