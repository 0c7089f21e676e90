//! Policies while the gateway serves: edits, revocations, and what the tools say of them.

use crate::support::issuer::{Issuer, ORDERS, gateway, get_with, policy_of};
use crate::support::process::Process;
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Folder, UnderTest, Vendor, key, wait_for};
use erpgate::access;
use erpgate::cli::question::Question;
use erpgate::model::digest::Sha256;
use erpgate::pipeline;
use erpgate::state::ReloadOutcome;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const ORDER: &str = "/v/orders/7";

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_takes_effect_by_itself_without_a_failed_request() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = Arc::new(gateway(&issuer, vendor.address, "").await);
    let token = issuer.token("erp-prod", "orders:read", "").await;
    // Somebody else works on meanwhile.
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let other = tokio::spawn({
        let (gateway, stop, served) = (gateway.clone(), stop.clone(), served.clone());
        async move {
            let mut raw = gateway.connect().await;
            while !stop.load(Ordering::Relaxed) {
                raw.send("GET /v/a HTTP/1.1\r\nHost: gw.test\r\n\r\n").await;
                assert_eq!(raw.answer().await.status, 200);
                served.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let becomes = async |slug: &str| {
        wait_for(slug, async || {
            let answer = get_with(&gateway, ORDER, &token).await;
            let found = if answer.status == 200 { "allowed".into() } else { answer.slug() };
            (found == slug).then_some(())
        })
        .await;
    };
    becomes("allowed").await;
    let suspended = format!("suspended = \"key leaked\"\n{}", policy_of(ORDERS));
    for (text, slug) in [
        (policy_of(&ORDERS.replace("orders:read", "orders:all")), "scope-missing"),
        (policy_of(ORDERS), "allowed"),
        (policy_of(&ORDERS.replace("/orders/**", "/invoices/**")), "not-permitted"),
        (policy_of(&format!("{ORDERS}[[deny]]\npaths = [\"/Orders/*/\"]\n")), "not-permitted"),
        (suspended, "client-suspended"),
        (policy_of(ORDERS), "allowed"),
        (policy_of(ORDERS).replace("erp-prod", "another"), "client-unknown"),
    ] {
        gateway.folder.write("policies/erp.toml", &text);
        becomes(slug).await;
    }
    std::fs::remove_file(gateway.folder.path().join("policies/erp.toml")).expect("removed");
    let audit = [("action", "policy".into()), ("result", "removed".into())];
    assert_eq!(gateway.log.line(&audit).await["file"], "erp.toml");
    assert_eq!(get_with(&gateway, ORDER, &token).await.slug(), "client-unknown");
    // What is broken changes nothing.
    gateway.folder.write("policies/erp.toml", &policy_of("[[allow]]\nroute = \"nowhere\"\n"));
    let refused = [("action", "reload".into()), ("result", "refused".into())];
    gateway.log.line(&refused).await;
    gateway.folder.write("policies/_all.toml", "[[deny]]\npaths = []\n");
    assert_eq!(get_with(&gateway, ORDER, &token).await.slug(), "client-unknown");
    stop.store(true, Ordering::Relaxed);
    other.await.expect("no failed request");
    assert!(served.load(Ordering::Relaxed) > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchanged_folder_is_followed() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::start(&format!("{HEAD}{}", to_vendor(vendor.address, "", ""))).await;
    let folder = gateway.folder.path();
    let policy = gateway.folder.read("policies/tester.toml");
    for round in 0..2 {
        let staged = folder.join(format!("staged-{round}"));
        gateway.folder.write(&format!("staged-{round}/tester.toml"), &policy);
        // While it is gone nothing changes.
        std::fs::rename(folder.join("policies"), folder.join(format!("old-{round}")))
            .expect("moved");
        gateway.log.line(&[("action", "reload".into()), ("result", "refused".into())]).await;
        assert_eq!(gateway.get("/v/a").await.status, 200);
        std::fs::rename(staged, folder.join("policies")).expect("moved");
        let text = format!("suspended = \"round {round}\"\n{policy}");
        gateway.folder.write("policies/tester.toml", &text);
        becomes(&gateway, 403).await;
        // What was seen of it is the new folder, not its exchange.
        gateway.folder.write("policies/tester.toml", &policy);
        becomes(&gateway, 200).await;
    }
}

/// Waits until the tester's requests are answered with this status.
async fn becomes(gateway: &UnderTest, status: u16) {
    let is_so = async || (gateway.get("/v/a").await.status == status).then_some(());
    wait_for(&format!("{status}"), is_so).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_behind_a_link_is_followed() {
    let vendor = Vendor::fine().await;
    let folder = Folder::with(&format!("{HEAD}{}", to_vendor(vendor.address, "", "")));
    let policy = folder.read("policies/tester.toml");
    folder.write("elsewhere/tester.toml", &policy);
    let link = folder.path().join("policies/tester.toml");
    std::fs::remove_file(&link).expect("removed");
    std::os::unix::fs::symlink("../elsewhere/tester.toml", &link).expect("linked");
    let gateway = UnderTest::start_in(folder).await;
    becomes(&gateway, 200).await;
    let suspended = format!("suspended = \"leaked\"\n{policy}");
    gateway.folder.write("elsewhere/tester.toml", &suspended);
    becomes(&gateway, 403).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_all_the_time_holds_nothing_up() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let policy = gateway.folder.read("policies/tester.toml");
    let noise = gateway.folder.path().join("policies");
    let writer = tokio::spawn(async move {
        for number in 0u64.. {
            // One that counts, and one that does not.
            std::fs::write(noise.join("noise.log"), number.to_string()).expect("written");
            let text = format!("client = \"noise\"\ndescription = \"{number}\"\n");
            std::fs::write(noise.join("noise.new"), text).expect("written");
            std::fs::rename(noise.join("noise.new"), noise.join("noise.toml")).expect("renamed");
            tokio::time::sleep(Duration::from_millis(20)).await; // poll interval
        }
    });
    gateway.folder.write("policies/tester.toml", &format!("suspended = \"leaked\"\n{policy}"));
    becomes(&gateway, 403).await;
    writer.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_restart_keeps_nobody_from_being_suspended() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::before(vendor.address).await;
    let state = gateway.serving.gateway.state.clone();
    let policy = gateway.folder.read("policies/tester.toml");
    let config = gateway.folder.read("gateway.toml");
    let tonight = format!("{config}[[listener]]\naddress = \"127.0.0.1:00\"\n");
    gateway.folder.write("gateway.toml", &tonight);
    assert!(matches!(state.reload("admin").await, ReloadOutcome::Refused { .. }));
    gateway.folder.write("policies/tester.toml", &format!("suspended = \"leaked\"\n{policy}"));
    let outcome = state.reload("admin").await;
    let ReloadOutcome::Accepted { warnings, .. } = outcome else { panic!("{outcome:?}") };
    assert!(warnings.iter().any(|warning| warning.contains("restart")), "{warnings:?}");
    assert_eq!(gateway.get("/v/a").await.slug(), "client-suspended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_becomes_passthrough_is_not_a_rules() {
    let vendor = Vendor::fine().await;
    let config = |kind: &str| {
        let lines = format!("credentials.second = {{ kind = \"{kind}\" }}");
        format!("{HEAD}{}", to_vendor(vendor.address, &lines, ""))
    };
    let folder = Folder::with(&config("none"));
    let policy = folder.read("policies/tester.toml");
    folder.write("policies/tester.toml", &format!("{policy}credential = \"second\"\n"));
    let gateway = UnderTest::start_in(folder).await;
    assert_eq!(gateway.get("/v/a").await.status, 200);
    gateway.folder.write("gateway.toml", &config("passthrough"));
    let outcome = gateway.serving.gateway.state.reload("admin").await;
    let ReloadOutcome::Refused { problems } = outcome else { panic!("{outcome:?}") };
    assert!(problems.iter().any(|problem| problem.contains("passthrough")), "{problems:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_policy_never_half_applies() {
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let gateway = gateway(&issuer, vendor.address, "").await;
    let state = gateway.serving.gateway.state.clone();
    let token = issuer.token("erp-prod", "orders:read", "").await;
    for (file, text, mention) in [
        ("erp.toml", "nonsense".to_owned(), "erp.toml:1:"),
        ("erp.toml", policy_of(&ORDERS.replace("\"r\"", "\"nowhere\"")), "`nowhere`"),
        ("erp.toml", policy_of(&ORDERS.replace("methods = [\"POST\"]", "methods = []")), "empty"),
        ("erp.toml", policy_of(&ORDERS.replace("paths = [\"/orders\"]\n", "")), "paths"),
        ("erp.toml", policy_of("[[deny]]\nmehtods = [\"GET\"]\n"), "mehtods"),
        ("erp.toml", policy_of("[[deny]]\nmethods = []\n"), "empty"),
        ("erp.toml", policy_of("[[deny]]\nmethods = 7\n"), "methods"),
        ("other.toml", policy_of(ORDERS), "another file"),
        ("other.toml", policy_of(ORDERS).replace("\"erp\"", "\"two\""), "already"),
        ("_all.toml", "[[deny]]\npaths = [\"orders\"]\n".to_owned(), "_all.toml"),
    ] {
        // Something good in the same folder is not taken up either.
        gateway.folder.write("policies/zz.toml", "client = \"zz\"\n");
        gateway.folder.write(&format!("policies/{file}"), &text);
        let outcome = state.reload("admin").await;
        let ReloadOutcome::Refused { problems } = outcome else { panic!("{text}: {outcome:?}") };
        assert!(
            problems.iter().any(|problem| problem.contains(mention)),
            "{mention}: {problems:?}"
        );
        assert_eq!(get_with(&gateway, ORDER, &token).await.status, 200, "{text}");
        let clients = gateway.admin_get("/api/v1/clients").await.text();
        assert!(!clients.contains("\"zz\""), "{clients}");
        std::fs::remove_file(gateway.folder.path().join("policies/zz.toml")).expect("removed");
        let path = gateway.folder.path().join("policies").join(file);
        std::fs::remove_file(path).expect("removed");
        gateway.folder.write("policies/erp.toml", &policy_of(ORDERS));
        assert!(matches!(state.reload("admin").await, ReloadOutcome::Accepted { .. }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_yet_sent_is_authorized_again() {
    let vendor = Vendor::fine().await;
    let gateway = UnderTest::start(&format!("{HEAD}{}", to_vendor(vendor.address, "", ""))).await;
    let state = gateway.serving.gateway.state.clone();
    let question = Question {
        method: "GET".to_owned(),
        target: ORDER.to_owned(),
        client: "tester".to_owned(),
        scopes: Vec::new(),
    };
    let before = state.snapshot.load_full();
    let headers = [("x-api-key".parse().expect("a name"), key().parse().expect("a value"))];
    let headers = headers.into_iter().collect();
    // Requests that are let in, and have not left yet.
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let mut exchange = question.ask(&before).expect("a listener").exchange;
        let client = access::authenticate(&state, &mut exchange, &headers).await.expect("known");
        access::authorize(&mut exchange, client).expect("permitted");
        pipeline::admit(&state, &mut exchange).await.expect("admitted");
        waiting.push(exchange);
    }
    let policy = gateway.folder.read("policies/tester.toml");
    let denied = "[[deny]]\nroute = \"r\"\npaths = [\"/orders/7\"]\n";
    for (text, slug) in [
        (format!("suspended = \"key leaked\"\n{policy}"), "client-suspended"),
        (policy.replace(&format!("{}", Sha256::of(key().as_bytes())), &"0".repeat(64)), "unknown"),
        (format!("{policy}{denied}"), "not-permitted"),
        (format!("# nothing to do with it\n{policy}"), "allowed"),
    ] {
        gateway.folder.write("policies/tester.toml", &text);
        let outcome = state.reload("admin").await;
        assert!(matches!(outcome, ReloadOutcome::Accepted { .. }), "{slug}: {outcome:?}");
        let mut exchange = waiting.pop().expect("one more");
        match pipeline::admit(&state, &mut exchange).await {
            Ok(_) => assert_eq!(slug, "allowed"),
            Err(refusal) if slug == "unknown" => assert_eq!(refusal.slug(), "token-invalid"),
            Err(refusal) => assert_eq!(refusal.slug(), slug),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_process_takes_an_edit_up() {
    let vendor = Vendor::fine().await;
    let folder = Folder::with(&format!("{HEAD}{}", to_vendor(vendor.address, "", "")));
    let process = Process::run(&folder, &[]);
    let address = process.address("127.0.0.1:0").await;
    let get = async || {
        let mut raw = crate::support::Raw::connect(address).await;
        raw.send("GET /v/a HTTP/1.1\r\nHost: gw\r\n\r\n").await;
        raw.answer().await
    };
    assert_eq!(get().await.status, 200);
    let policy = folder.read("policies/tester.toml");
    folder.write("policies/tester.toml", &format!("suspended = \"leaked\"\n{policy}"));
    wait_for("the suspension", async || {
        let answer = get().await;
        (answer.status == 403 && answer.slug() == "client-suspended").then_some(())
    })
    .await;
    process.line(&[("action", "policy".into()), ("file", "tester.toml".into())]).await;
}
