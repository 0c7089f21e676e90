//! The commands as a person meets them: what they print, where, and their exit statuses.

use crate::support::process::Process;
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Folder, Raw};
use std::process::{Command, Output};

fn erpgate(arguments: &[&str], folder: &Folder) -> Output {
    Command::new(env!("CARGO_BIN_EXE_erpgate"))
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn good() -> Folder {
    Folder::with(&format!("{HEAD}{}", to_vendor("127.0.0.1:1".parse().expect("one"), "", "")))
}

#[test]
fn check_says_that_all_is_well() {
    let checked = erpgate(&["check"], &good());
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    assert!(text(&checked.stdout).contains("no problems"));
    let checked = erpgate(&["check", "--format", "json"], &good());
    assert_eq!(text(&checked.stdout).trim(), "{\"problems\":[]}");
}

#[test]
fn check_reports_every_problem_with_its_place() {
    let broken = "[[listener]]\naddress = \"nowhere\"\nidel_timeout = \"5s\"\n\n\
                  [vendors.v]\nbase_url = \"http://example.com\"\n\n\
                  [[route]]\nname = \"r\"\npath = \"v\"\nvendor = \"w\"\ndeadline = 5\n";
    let folder = Folder::with(broken);
    let checked = erpgate(&["check"], &folder);
    assert_eq!(checked.status.code(), Some(1));
    let shown = text(&checked.stderr);
    for place in ["2:11", "3:1", "6:12", "10:8", "11:10", "12:12"] {
        assert!(shown.contains(&format!("gateway.toml:{place}")), "{place}:\n{shown}");
    }
    assert!(shown.contains("idle_timeout"), "the nearest key:\n{shown}");
    assert!(shown.contains("^^^"), "{shown}");
    let checked = erpgate(&["check", "--format", "json"], &folder);
    let json: serde_json::Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    let problems = json["problems"].as_array().expect("a list");
    assert!(problems.len() >= 6, "{json:#}");
    for member in ["severity", "code", "message", "help", "file", "line", "column"] {
        assert!(problems.iter().all(|problem| !problem[member].is_null()), "{member}: {json:#}");
    }
}

#[test]
fn a_secret_in_the_file_is_a_problem_that_does_not_show_it() {
    let vendor = "credential = { kind = \"bearer\", token = \"hunter2-hunter2\" }";
    let config = format!("{HEAD}{}", to_vendor("127.0.0.1:1".parse().expect("one"), vendor, ""));
    let checked = erpgate(&["check"], &Folder::with(&config));
    assert_eq!(checked.status.code(), Some(1));
    let shown = text(&checked.stderr);
    assert!(shown.contains("secret-literal"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn run_refuses_what_check_refuses() {
    let refused = erpgate(&["run"], &Folder::with("nonsense"));
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("gateway.toml:1"));
    let folder = Folder::with(HEAD);
    std::fs::remove_file(folder.config()).expect("there");
    let refused = erpgate(&["run"], &folder);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("gateway.toml"));
}

#[test]
fn an_address_in_use_is_said_plainly() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let config = HEAD.replacen("127.0.0.1:0", &address, 1);
    let vendor = to_vendor("127.0.0.1:1".parse().expect("one"), "", "");
    let refused = erpgate(&["run"], &Folder::with(&format!("{config}{vendor}")));
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains(&address), "{}", text(&refused.stderr));
}

#[test]
fn usage_errors_exit_with_2() {
    for arguments in [&["frob"][..], &["check", "--format", "xml"], &["schema"], &[]] {
        assert_eq!(erpgate(arguments, &good()).status.code(), Some(2), "{arguments:?}");
    }
    for command in ["run", "check", "schema", "sandbox", "certificates"] {
        let help = erpgate(&[command, "--help"], &good());
        assert_eq!(help.status.code(), Some(0));
        assert!(text(&help.stdout).contains("Example:"), "{command}");
        assert!(text(&help.stdout).contains("--config"), "{command}");
    }
}

#[test]
fn schemas_are_json() {
    for file in ["gateway", "profile"] {
        let printed = erpgate(&["schema", file], &good());
        let schema: serde_json::Value = serde_json::from_slice(&printed.stdout).expect("JSON");
        assert_eq!(schema["type"], "object", "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_serves_the_shipped_configuration_without_its_secrets() {
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/gateway.toml"))
        .expect("shipped");
    // Any port instead of the shipped ones, and a secret that is not there.
    let config = shipped
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:8443", "127.0.0.1:00000")
        .replace("127.0.0.1:9900", "127.0.0.1:0")
        .replacen(
            "profile = \"netsuite\"",
            "profile = \"netsuite\"\ncredential = { kind = \"bearer\", token = { env = \"NONE\" } }",
            1,
        );
    let folder = Folder::with(&config);
    folder.make_certificates();
    let process = Process::run(&folder, &["--sandbox"]);
    let address = process.address("127.0.0.1:0").await;
    let mut raw = Raw::connect(address).await;
    let path = "/netsuite/services/rest/record/v1/salesOrder";
    let body = "{\"memo\":\"from the test\"}";
    raw.send(format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await;
    let created = raw.answer().await;
    assert_eq!(created.status, 204, "{created:?}");
    let location = created.field("location").expect("a Location");
    let base = format!("http://{address}{path}/");
    assert!(location.starts_with(&base), "{location}");
    let id = &location[base.len()..];
    raw.send(format!("GET {path}/{id} HTTP/1.1\r\nHost: {address}\r\n\r\n")).await;
    assert_eq!(raw.answer().await.json()["memo"], "from the test");
    assert!(folder.path().join("data/sandbox/handover.sock").exists());
    assert!(!folder.path().join("data/handover.sock").exists());
}
