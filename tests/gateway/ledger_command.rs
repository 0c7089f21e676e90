//! `erpgate ledger` end to end: through a running gateway, and with the file of one that is gone.

use crate::ledger::vendor;
use crate::once::post;
use crate::support::process::Process;
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Answer, Folder, Raw, Reply, UnderTest, Vendor, wait_for};
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const ADMIN: &str = "[admin]\naddress = \"127.0.0.1:0\"\n";
/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";

/// A folder whose `cli.toml` names the real address of the admin listener.
fn named(folder: &Folder, admin: &str) {
    let config = folder.read("gateway.toml");
    assert!(config.contains(ADMIN));
    let real = ADMIN.replace("127.0.0.1:0", admin);
    folder.write("cli.toml", &config.replace(ADMIN, &real));
}

/// `erpgate ledger …` in the folder.
fn ledger(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_erpgate"));
    command.arg("ledger").args(arguments).args(["--config", "cli.toml"]).current_dir(folder);
    command.stdin(Stdio::null()).output().expect("runs")
}

/// What it prints when it does what it is asked.
fn done(folder: &Folder, arguments: &[&str]) -> String {
    let output = ledger(folder.path(), arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn done_json(folder: &Folder, arguments: &[&str]) -> Value {
    serde_json::from_str(&done(folder, arguments)).expect("JSON")
}

/// What it says when it does not.
fn refused(folder: &Folder, arguments: &[&str], status: i32) -> String {
    let output = ledger(folder.path(), arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
    said
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).expect("UTF-8")
}

async fn send(address: SocketAddr, octets: String) -> Answer {
    let mut raw = Raw::connect(address).await;
    raw.send(octets).await;
    raw.answer().await
}

fn folder(vendor: &Vendor) -> Folder {
    Folder::with(&format!("{HEAD}{}", to_vendor(vendor.address, "", "")))
}

#[tokio::test(flavor = "multi_thread")]
async fn through_the_gateway_that_runs() {
    let vendor = vendor().await;
    let folder = folder(&vendor);
    let gateway = Process::run(&folder, &[]);
    let (address, admin) = (gateway.address("127.0.0.1:0").await, gateway.address("admin").await);
    named(&folder, &admin.to_string());
    assert_eq!(done(&folder, &["list"]), "no entry is unknown\n");
    for key in ["a", "b", "c"] {
        assert_eq!(send(address, post("/lost", key, "{}")).await.status, 502);
    }
    assert_eq!(send(address, post("/orders", "fine", "{}")).await.status, 201);
    let listed = done(&folder, &["list", "--limit", "2"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].starts_with("ID  SINCE"), "{listed}");
    assert!(
        lines[1].starts_with("1   2") && lines[1].ends_with("POST /lost  -       a"),
        "{listed}"
    );
    assert_eq!(lines[3], "more: erpgate ledger list --state unknown --after 2");
    let listed = done_json(&folder, &["list", "--after", "2", "--format", "json"]);
    assert_eq!((&listed["entries"][0]["key"], &listed["next"]), (&json!("c"), &Value::Null));
    let shown = done(&folder, &["show", "1"]);
    assert!(shown.starts_with("entry 1: unknown\n"), "{shown}");
    assert!(shown.ends_with("  erpgate ledger resolve 1 --as not-executed\n"), "{shown}");
    let shown = done_json(&folder, &["show", "4", "--format", "json"]);
    assert_eq!(shown["answer"]["body"], "{\"id\":7}");
    assert!(done(&folder, &["list", "--state", "answered"]).contains("  201     fine\n"));
    // Each way to settle one.
    folder.write("answer.json", "{\"id\":\"4711\"}\n");
    let resolve = ["resolve", "1", "--as", "executed", "--status", "201", "--body", "answer.json"];
    let said = done(&folder, &[&resolve[..], &["--why", "seen", "--location", "/x"]].concat());
    assert_eq!(said, "entry 1 is settled as executed: the key gets status 201 from now on\n");
    let again = send(address, post("/lost", "a", "{}")).await;
    assert_eq!((again.status, again.text().as_str()), (201, "{\"id\":\"4711\"}\n"));
    let said = done(&folder, &["resolve", "2", "--as", "executed"]);
    assert!(said.contains("gets `answer-not-kept` from now on"), "{said}");
    assert_eq!(send(address, post("/lost", "b", "{}")).await.slug(), "answer-not-kept");
    let said = done(&folder, &["resolve", "3", "--as", "not-executed"]);
    assert!(said.contains("the key is free"), "{said}");
    assert_eq!(send(address, post("/lost", "c", "{}")).await.status, 502);
    assert_eq!(vendor.seen().len(), 5);
    // From stdin, and no text.
    let resolve = "resolve 5 --as executed --status 200 --body - --content-type image/png";
    let mut piped = Command::new(env!("CARGO_BIN_EXE_erpgate"))
        .arg("ledger")
        .args(resolve.split(' '))
        .args(["--config", "cli.toml"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("runs");
    piped.stdin.take().expect("piped").write_all(&[0xff, 0, 7]).expect("written");
    assert!(piped.wait().expect("ends").success());
    let again = send(address, post("/lost", "c", "{}")).await;
    assert_eq!((again.status, again.body.as_slice()), (200, &[0xff, 0, 7][..]));
    assert_eq!(again.field("content-type").as_deref(), Some("image/png"));
    let line = [("action", "ledger-resolved".into()), ("why", "seen".into())];
    assert_eq!(gateway.line(&line).await["by"], "nobody");
    // What can't be.
    let said = refused(&folder, &["resolve", "1", "--as", "not-executed"], 1);
    assert!(said.contains("Entry 1 is answered already: only unknown entries"), "{said}");
    for arguments in [&["resolve", "3", "--as", "executed"][..], &["show", "3"]] {
        let said = refused(&folder, arguments, 1);
        assert!(said.contains("no entry of this number"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_is_taken_away() {
    let vendor = vendor().await;
    let folder = folder(&vendor);
    let mut gateway = Process::run(&folder, &[]);
    let (address, admin) = (gateway.address("127.0.0.1:0").await, gateway.address("admin").await);
    named(&folder, &admin.to_string());
    assert_eq!(send(address, post("/orders", "fine", "{}")).await.status, 201);
    assert_eq!(send(address, post("/lost", "lost", "{}")).await.status, 502);
    for (live, file) in [(true, "live.db"), (false, "dead.db")] {
        if !live {
            gateway.signal("TERM");
            assert_eq!(gateway.exit_status().await, 0);
        }
        let export = done(&folder, &["export"]);
        let lines = export.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        let lines: Vec<Value> = lines.collect();
        assert_eq!((lines.len(), &lines[0]["answer"]["status"]), (2, &json!(201)));
        let said = done(&folder, &["backup", file]);
        let path = folder.path().join(file);
        let made = std::fs::metadata(&path).expect("made");
        assert_eq!(said, format!("{file}: {} bytes\n", made.len()));
        assert_eq!(made.permissions().mode() & 0o777, 0o600);
        let said = refused(&folder, &["backup", file], 1);
        assert!(said.contains(&format!("{file} is there already: name another file")), "{said}");
        // It is a ledger.
        let config = folder.read("cli.toml").replace(&admin.to_string(), NOWHERE);
        folder.write("copy.toml", &format!("[ledger]\npath = \"{file}\"\n{config}"));
        let listed = Command::new(env!("CARGO_BIN_EXE_erpgate"))
            .args(["ledger", "list", "--config", "copy.toml", "--format", "json"])
            .current_dir(folder.path())
            .output()
            .expect("runs");
        let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        assert_eq!(listed["entries"][0]["key"], "lost");
    }
    let said = refused(&folder, &["backup", "nowhere/x.db"], 1);
    assert!(said.contains("there is no folder nowhere"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_file_of_a_gateway_that_died() {
    let vendor = Vendor::answering(|_| Reply::Hang).await;
    let folder = folder(&vendor);
    let mut gateway = Process::run(&folder, &[]);
    let (address, admin) = (gateway.address("127.0.0.1:0").await, gateway.address("admin").await);
    named(&folder, &admin.to_string());
    let mut waiting = Vec::new();
    for key in ["a", "b"] {
        let mut raw = Raw::connect(address).await;
        raw.send(post("/orders", key, "{}")).await;
        waiting.push(raw);
        let sent = waiting.len();
        wait_for("the vendor", async || (vendor.seen().len() == sent).then_some(())).await;
    }
    let said = refused(&folder, &["resolve", "1", "--as", "executed"], 1);
    assert!(said.contains("Entry 1 is in flight"), "{said}");
    gateway.signal("KILL");
    gateway.exit_status().await;
    // Claims of the dead are unknown, whatever is written.
    let output = ledger(folder.path(), &["list", "--format", "json"]);
    let said = text(&output.stderr);
    assert!(said.contains(&format!("no gateway runs at {admin}: this is the file")), "{said}");
    let listed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(listed["entries"].as_array().map(Vec::len), Some(2), "{listed}");
    assert_eq!(done(&folder, &["list", "--state", "in-flight"]), "no entry is in-flight\n");
    assert!(done(&folder, &["show", "2"]).starts_with("entry 2: unknown\n"));
    let resolve = ["resolve", "1", "--as", "executed", "--status", "201", "--why", "seen"];
    let output = ledger(folder.path(), &resolve);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    let audit: Value = serde_json::from_str(said.lines().last().expect("a line")).expect("JSON");
    for (name, value) in [
        ("event", json!("audit")),
        ("action", json!("ledger-resolved")),
        ("result", json!("done")),
        ("by", json!("command")),
        ("id", json!(1)),
        ("client", json!("tester")),
        ("as", json!("executed")),
        ("status", json!(201)),
        ("why", json!("seen")),
    ] {
        assert_eq!(audit[name], value, "{audit}");
    }
    done(&folder, &["resolve", "2", "--as", "not-executed"]);
    let said = refused(&folder, &["resolve", "1", "--as", "executed"], 1);
    assert!(said.contains("Entry 1 is answered already"), "{said}");
    let said = refused(&folder, &["resolve", "2", "--as", "executed"], 1);
    assert!(said.contains("no entry of this number"), "{said}");
    // Whoever comes again to the next gateway meets what was said.
    let gateway = Process::run(&folder, &[]);
    let again = send(gateway.address("127.0.0.1:0").await, post("/orders", "a", "{}")).await;
    assert_eq!((again.status, again.field("idempotency-replayed").is_some()), (201, true));
    assert_eq!(vendor.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_holds_is_left_alone() {
    let vendor = vendor().await;
    let folder = folder(&vendor);
    named(&folder, NOWHERE);
    let said = refused(&folder, &["list"], 1);
    assert!(
        said.contains(&format!("no gateway runs at {NOWHERE}, and there is no ledger")),
        "{said}"
    );
    let gateway = Process::run(&folder, &[]);
    gateway.address("admin").await;
    for arguments in [&["list"][..], &["resolve", "1", "--as", "executed"], &["backup", "x.db"]] {
        let said = refused(&folder, arguments, 1);
        assert!(said.contains("but a process holds the ledger"), "{said}");
        assert!(said.contains("it was left alone"), "{said}");
    }
    // Something else listens there.
    named(&folder, &vendor.address.to_string());
    let said = refused(&folder, &["list"], 1);
    assert!(said.contains("is not this version's admin listener"), "{said}");
    drop(gateway);
    named(&folder, NOWHERE);
    folder.write("data/ledger.db", "this is no ledger, only a text that is long enough to be one");
    let said = refused(&folder, &["list"], 1);
    assert!(said.contains("the ledger is damaged"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listener_is_known_by_its_certificate_and_asks_for_the_token() {
    let vendor = vendor().await;
    let lines = "token = { file = \"all\" }\nread_token = { file = \"read\" }\n\
                 tls = { certificates = \"certs\" }\n";
    let config = format!("{HEAD}{lines}{}", to_vendor(vendor.address, "", ""));
    let of = |token: Option<&str>| {
        let folder = Folder::with(&config);
        folder.make_certificates();
        folder.write("read", "reader-token");
        if let Some(token) = token {
            folder.write("all", token);
        }
        folder
    };
    let gateway = UnderTest::start_in(of(Some("operator-token"))).await;
    let admin = gateway.serving.admin.to_string();
    assert_eq!(gateway.send(post("/lost", "k", "{}")).await.status, 502);
    let stranger = of(Some("operator-token"));
    named(&stranger, &admin);
    named(&gateway.folder, &admin);
    tokio::task::block_in_place(|| {
        assert!(done(&gateway.folder, &["list"]).contains("POST /lost  -       k\n"));
        let said = refused(&stranger, &["list"], 1);
        assert!(said.contains("a certificate that is not in the folder"), "{said}");
        done(&gateway.folder, &["resolve", "1", "--as", "executed"]);
        done(&gateway.folder, &["backup", "x.db"]);
    });
    let line = gateway.log.line(&[("action", "ledger-resolved".into())]).await;
    assert_eq!(line["by"], "token");
    // With another token, none, or one that only reads. The gateway keeps what it has read.
    let of_reader = |folder: &Folder, lines: &str| {
        let config = folder.read("cli.toml");
        folder.write("cli.toml", &config.replace("read_token = { file = \"read\" }\n", lines));
    };
    tokio::task::block_in_place(|| {
        let certs = gateway.folder.path().join("certs");
        let elsewhere = of(None);
        std::fs::remove_dir_all(elsewhere.path().join("certs")).expect("removed");
        std::os::unix::fs::symlink(certs, elsewhere.path().join("certs")).expect("linked");
        named(&elsewhere, &admin);
        assert_eq!(done(&elsewhere, &["list"]), "no entry is unknown\n");
        assert!(done(&elsewhere, &["show", "1"]).contains("key             -\n"));
        let said = refused(&elsewhere, &["resolve", "1", "--as", "executed"], 1);
        assert!(said.contains("This token can only read."), "{said}");
        let said = refused(&elsewhere, &["backup", "x.db"], 1);
        assert!(said.contains("a copy holds all"), "{said}");
        assert!(!elsewhere.path().join("x.db").exists());
        of_reader(&elsewhere, "");
        let said = refused(&elsewhere, &["list"], 1);
        assert!(said.contains("wants a token, and there is no secret"), "{said}");
        elsewhere.write("all", "wrong");
        let said = refused(&elsewhere, &["list"], 1);
        assert!(said.contains("does not take the secret of `[admin] token`"), "{said}");
    });
}

#[test]
fn what_is_typed_wrong_is_usage() {
    let to = to_vendor(NOWHERE.parse().expect("an address"), "", "");
    let folder = Folder::with(&format!("[ledger]\nanswer_max = \"1KiB\"\n{HEAD}{to}"));
    named(&folder, NOWHERE);
    folder.write("body", "x");
    folder.write("large", &"x".repeat(1025));
    let executed = ["resolve", "1", "--as", "executed"];
    for (more, status, mention) in [
        (&["--status", "199"][..], 2, "200..=599"),
        (&["--body", "body"], 2, "--status"),
        (&["--status", "200", "--content-type", "a/b"], 2, "--body"),
        (&["--status", "204", "--body", "body"], 2, "status 204 has no body"),
        (&["--status", "200", "--body", "body", "--content-type", "x"], 2, "not a media type"),
        (&["--why", ""], 2, "1 to 500 characters"),
        (&["--status", "200", "--body", "none"], 1, "none can't be read: "),
        (&["--status", "200", "--body", "large"], 1, "has 1025 octets"),
    ] {
        let said = refused(&folder, &[&executed[..], more].concat(), status);
        assert!(said.contains(mention), "{more:?}: {said}");
    }
    for (arguments, mention) in [
        (&["resolve", "1", "--as", "not-executed", "--status", "200"][..], "leave out `status`"),
        (&["resolve", "1"], "--as"),
        (&["resolve", "0", "--as", "executed"], "0"),
        (&["resolve", "1", "--as", "done"], "not-executed"),
        (&["list", "--state", "all"], "in-flight"),
        (&["list", "--limit", "1001"], "1..=1000"),
        (&["backup"], "<FILE>"),
        (&[], "Usage"),
    ] {
        let said = refused(&folder, arguments, 2);
        assert!(said.contains(mention), "{arguments:?}: {said}");
    }
    folder.write("cli.toml", "nonsense");
    assert!(refused(&folder, &["list"], 1).contains("cli.toml:1"));
    for command in ["list", "show", "resolve", "export", "backup"] {
        let help = ledger(folder.path(), &[command, "--help"]);
        let help = text(&help.stdout);
        assert!(help.contains("Example:") && help.contains("--config"), "{command}: {help}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_file_needs_its_key() {
    let vendor = vendor().await;
    let to = to_vendor(vendor.address, "", "");
    let folder =
        Folder::with(&format!("[ledger]\nencryption_key = {{ file = \"key\" }}\n{HEAD}{to}"));
    folder.write("key", &"0f".repeat(32));
    let mut gateway = Process::run(&folder, &[]);
    let (address, admin) = (gateway.address("127.0.0.1:0").await, gateway.address("admin").await);
    named(&folder, &admin.to_string());
    assert_eq!(send(address, post("/lost", "k", "{}")).await.status, 502);
    let live = done(&folder, &["export"]);
    assert!(live.contains("\"key\":\"k\""), "{live}");
    done(&folder, &["backup", "live.db"]);
    gateway.signal("TERM");
    assert_eq!(gateway.exit_status().await, 0);
    assert!(done(&folder, &["list"]).contains("POST /lost  -       k\n"));
    for (key, mention) in [
        (Some("1f".repeat(32)), "the ledger was encrypted with another key than `encryption_key`"),
        (None, "or its secret is missing here: provide it as for the gateway"),
    ] {
        match key {
            Some(key) => folder.write("key", &key),
            None => std::fs::remove_file(folder.path().join("key")).expect("removed"),
        }
        for arguments in [&["list"][..], &["export"], &["resolve", "1", "--as", "executed"]] {
            let said = refused(&folder, arguments, 1);
            assert!(said.contains(mention), "{arguments:?}: {said}");
        }
    }
    // A copy stays as it is, and needs none.
    done(&folder, &["backup", "dead.db"]);
}
