//! The tools of a security team as a person meets them: what they print, and their exit statuses.

use crate::support::Folder;
use crate::support::under_test::{HEAD, to_vendor};
use serde_json::Value;
use std::process::{Command, Output};

const ISSUER: &str = "[[issuer]]\nname = \"idp\"\nissuer = \"https://idp.test\"\n\
                      audiences = [\"gw\"]\n";
const POLICY: &str = r#"client = "erp"
[[identity]]
issuer = "idp"
client_id = "erp-prod"
[[allow]]
route = "r"
methods = ["GET"]
paths = ["/orders/**"]
scopes = ["orders:read"]
[[allow]]
route = "r"
methods = ["POST"]
paths = ["/orders"]
scopes = ["orders:write"]
idempotency = "required"
[[deny]]
paths = ["/**/payroll/**"]
reason = "payroll data"
"#;

fn folder() -> Folder {
    let vendor = "credentials.second = { kind = \"header\", name = \"X-Own\", value = \
                  { env = \"NOT_THERE\" } }";
    let vendor = to_vendor("127.0.0.1:1".parse().expect("one"), vendor, "");
    let folder = Folder::with(&format!("{HEAD}{ISSUER}{vendor}"));
    folder.write("policies/erp.toml", POLICY);
    folder
}

/// What a command prints, after a look at its exit status.
fn run(folder: &Folder, arguments: &[&str], status: i32) -> (String, String) {
    let Output { status: ended, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_erpgate"))
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .expect("runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let (stdout, stderr) = (text(stdout), text(stderr));
    assert_eq!(ended.code(), Some(status), "{arguments:?}\n{stdout}\n{stderr}");
    (stdout, stderr)
}

fn json(folder: &Folder, arguments: &[&str], status: i32) -> Value {
    let arguments = [arguments, &["--format", "json"]].concat();
    serde_json::from_str(&run(folder, &arguments, status).0).expect("JSON")
}

#[test]
fn explain_says_what_would_happen_and_why() {
    let folder = folder();
    let read = ["explain", "GET", "/v/orders/7", "--client", "erp", "--scope", "orders:read"];
    let said = json(&folder, &read, 0);
    let rule = "erp.toml:5";
    for (member, value) in [("route", "r"), ("vendor", "v"), ("rule", rule), ("client", "erp")] {
        assert_eq!(said[member], value, "{said:#}");
    }
    assert_eq!((&said["allowed"], &said["reads"]), (&true.into(), &true.into()), "{said:#}");
    assert!(said["idempotency"].is_null() && said["idempotency_key_from"].is_null(), "{said:#}");
    assert!(run(&folder, &read, 0).0.contains(rule));
    let write = ["explain", "POST", "/v/orders", "--client", "erp", "--scope", "orders:write"];
    let said = json(&folder, &write, 0);
    assert_eq!((&said["idempotency"], &said["reads"]), (&"required".into(), &false.into()));
    assert_eq!(said["idempotency_key_from"], serde_json::json!(["header:idempotency-key"]));
    let (human, _) = run(&folder, &write, 0);
    assert!(human.contains("idempotency required (header:idempotency-key)\n"), "{human}");
    for (arguments, slug, reason, rule) in [
        (&["GET", "/v/orders/7", "--client", "erp"][..], "scope-missing", "scope-missing", rule),
        (&["GET", "/v/x/Payroll/7/", "--client", "erp"], "not-permitted", "denied", "erp.toml:16"),
        (&["PUT", "/v/orders/7", "--client", "erp"], "not-permitted", "no-rule", ""),
        (&["GET", "/v/orders", "--client", "pre"], "client-unknown", "", ""),
        (&["GET", "/nowhere", "--client", "erp"], "route-not-found", "", ""),
        (&["GET", "/v/orders%2F7", "--client", "erp"], "path-ambiguous", "", ""),
        // What stands in a query is no target.
        (
            &["GET", "/v/payroll?next=https://h/v/orders/7", "--client", "erp"],
            "not-permitted",
            "denied",
            "erp.toml:16",
        ),
    ] {
        let said = json(&folder, &[&["explain"], arguments].concat(), 1);
        assert_eq!(said["refusal"]["code"], slug, "{said:#}");
        assert_eq!(said["refusal"]["reason"].as_str().unwrap_or(""), reason, "{said:#}");
        assert_eq!(said["rule"].as_str().unwrap_or(""), rule, "{said:#}");
        let (human, _) = run(&folder, &[&["explain"], arguments].concat(), 1);
        assert!(human.contains(slug), "{human}");
    }
    let denied = json(&folder, &["explain", "GET", "/v/payroll", "--client", "erp"], 1);
    assert_eq!(denied["refusal"]["rule_reason"], "payroll data");
    folder.write("policies/erp.toml", &format!("suspended = \"leaked\"\n{POLICY}"));
    let suspended = json(&folder, &read, 1);
    assert_eq!(suspended["refusal"]["code"], "client-suspended");
    assert_eq!(suspended["refusal"]["rule_reason"], "leaked");
    folder.write("gateway.toml", "nonsense");
    assert!(run(&folder, &read, 2).1.contains("gateway.toml:1"));
}

#[test]
fn policies_are_tested_by_cases() {
    let folder = folder();
    let case = |request: &str, scopes: &str, expect: &str| {
        format!(
            "[[case]]\nclient = \"erp\"\nscopes = [{scopes}]\nrequest = \"{request}\"\nexpect = \"{expect}\"\n"
        )
    };
    let read = case("GET /v/orders/7", "\"orders:read\"", "allow");
    let lacking = case("GET /v/orders/7", "", "scope-missing");
    folder.write("policies/tests/erp.toml", &format!("{read}{lacking}"));
    assert_eq!(run(&folder, &["policy", "test"], 0).0.trim(), "2 passed, 0 failed");
    for wrong in [
        case("GET /v/orders/7", "", "allow"),
        case("GET /v/payroll", "\"orders:read\"", "allow"),
        case("GET /v/orders/7", "\"orders:read\"", "not-permitted"),
        case("GET /v/orders/7", "\"orders:read\"", "no-such-code"),
        case("GET", "", "allow"),
        read.replace("expect", "expects"),
        "[[case]]\n".to_owned(),
        "nonsense".to_owned(),
    ] {
        folder.write("policies/tests/wrong.toml", &wrong);
        let (_, shown) = run(&folder, &["policy", "test"], 1);
        assert!(shown.contains("policies/tests/wrong.toml:"), "{wrong}: {shown}");
    }
    std::fs::write(folder.path().join("policies/tests/wrong.toml"), b"# caf\xe9\n")
        .expect("written");
    assert!(run(&folder, &["policy", "test"], 1).1.contains("wrong.toml"));
    std::fs::remove_dir_all(folder.path().join("policies/tests")).expect("removed");
    // No case at all is not a pass.
    run(&folder, &["policy", "test"], 1);
    folder.write("policies/erp.toml", "client = 5\n");
    run(&folder, &["policy", "test"], 2);
}

fn diff(folder: &Folder, new: &str) -> Value {
    folder.write("new/erp.toml", new);
    folder.write("new/tester.toml", &folder.read("policies/tester.toml"));
    let status = i32::from(new != POLICY);
    let found = json(folder, &["policy", "diff", "policies", "new"], status);
    assert!(found["clients"].as_array().is_some_and(|clients| clients.len() < 2), "{found:#}");
    found["clients"].get(0).cloned().unwrap_or_default()
}

#[test]
fn a_difference_names_what_is_gained_lost_and_changed() {
    let folder = folder();
    assert_eq!(diff(&folder, POLICY), Value::Null);
    let wider = diff(&folder, &POLICY.replace("[\"/orders/**\"]", "[\"/orders/**\", \"/bills\"]"));
    let gains = wider["gains"].as_array().expect("a list");
    assert_eq!(gains.len(), 1, "{wider:#}");
    assert_eq!((&gains[0]["path"], &gains[0]["scopes"]), (&"/bills".into(), &"orders:read".into()));
    assert_eq!(gains[0]["example"], "GET /v/bills");
    assert_eq!(wider["loses"], Value::Array(Vec::new()));
    let suspended = diff(&folder, &format!("suspended = \"x\"\n{POLICY}"));
    assert_eq!(suspended["loses"].as_array().map(Vec::len), Some(2), "{suspended:#}");
    for (from, to, told) in [
        ("idempotency = \"required\"\n", "", "idempotency required"),
        ("\"required\"", "\"required\"\ncredential = \"second\"", "credential second"),
        ("\"required\"", "\"required\"\nrate = \"5/minute\"", "5/minute"),
        ("client_id = \"erp-prod\"", "client_id = \"erp-test\"", "idp for erp-test"),
        ("[[identity]]", "[limits]\ndaily = 5\n[[identity]]", "5 in a calendar day of UTC"),
        ("client = \"erp\"", "client = \"erp\"\npriority = \"high\"", "high"),
        // The first of two that allow the same says what counts.
        (
            "[[allow]]\nroute = \"r\"\nmethods = [\"POST\"]",
            "[[allow]]\nroute = \"r\"\nmethods = [\"POST\"]\npaths = [\"/orders\"]\n\
             scopes = []\n[[allow]]\nroute = \"r\"\nmethods = [\"POST\"]",
            "usual terms",
        ),
    ] {
        let found = diff(&folder, &POLICY.replacen(from, to, 1));
        let changes = found["changes"].to_string();
        assert!(changes.contains(told), "{told}: {found:#}");
    }
    let (allows, denies) = POLICY.split_at(POLICY.find("[[deny]]").expect("one"));
    let (head, allows) = allows.split_at(allows.find("[[allow]]").expect("one"));
    let (first, second) = allows.split_at(allows.rfind("[[allow]]").expect("two"));
    let found = diff(&folder, &format!("{head}{second}{first}{denies}"));
    assert!(found["changes"].to_string().contains("order of rules"), "{found:#}");
}

#[test]
fn an_exchanged_key_is_a_difference() {
    let folder = folder();
    // Whoever makes enough keys finds one that begins like another.
    let keyed = |tail: &str| {
        let digest = format!("aabbccdd{}", tail.repeat(56));
        POLICY.replacen(
            "[[allow]]",
            &format!("[[identity]]\napi_key_sha256 = \"{digest}\"\nscopes = []\n[[allow]]"),
            1,
        )
    };
    folder.write("policies/erp.toml", &keyed("1"));
    let found = diff(&folder, &keyed("2"));
    assert_eq!(found["changes"].as_array().map(Vec::len), Some(2), "{found:#}");
}

#[test]
fn nothing_in_a_policy_deceives_a_terminal_or_an_eye() {
    let folder = folder();
    for line in [
        "query = { \"a\\u001b[2K\" = \"1\" }",
        "query = { a = \"1\\nno difference\" }",
        "query = { a = \"\"\"1\n2\"\"\" }",
        "scopes = [\"x\\u0007\"]",
        "query = { a = \"1\u{202e}\" }",
        "query = { \"a\u{200b}\" = \"1\" }",
        "# \u{9b}2K",
    ] {
        let text = POLICY.replacen("idempotency = \"required\"", line, 1).replacen(
            "scopes = [\"orders:write\"]\n",
            if line.starts_with("scopes") { "" } else { "scopes = []\n" },
            1,
        );
        folder.write("policies/erp.toml", &text);
        let (stdout, stderr) = run(&folder, &["check"], 1);
        assert!(stderr.contains("control-character") || stderr.contains("bad-scope"), "{stderr}");
        let deceives =
            |c: char| matches!(c, '\u{1b}' | '\u{7}' | '\u{9b}' | '\u{200b}' | '\u{202e}');
        assert!(!stdout.contains(deceives) && !stderr.contains(deceives), "{line}");
    }
}

#[test]
fn too_much_to_compare_is_said() {
    let folder = folder();
    let rule = |name: usize| {
        format!(
            "[[allow]]\nroute = \"r\"\nmethods = [\"GET\"]\npaths = [\"/x\"]\nscopes = []\nquery = {{ q{name} = \"1\" }}\n"
        )
    };
    let many: String = (0..40).map(rule).collect();
    folder.write("new/erp.toml", &format!("{POLICY}{many}"));
    let (_, shown) = run(&folder, &["policy", "diff", "policies", "new"], 2);
    assert!(shown.contains("too-many-parameters") && shown.contains("erp.toml:"), "{shown}");
}

#[test]
fn a_difference_with_a_folder_that_is_not_there_is_no_answer() {
    let folder = folder();
    for (old, new) in [("policies", "polices"), ("polices", "policies")] {
        let (_, shown) = run(&folder, &["policy", "diff", old, new], 2);
        assert!(shown.contains("policies-unreadable") && shown.contains("polices"), "{shown}");
    }
    folder.write("broken/erp.toml", "client = 5\n");
    assert!(run(&folder, &["policy", "diff", "policies", "broken"], 2).1.contains("erp.toml:1"));
}

#[test]
fn the_matrix_lists_every_rule() {
    let folder = folder();
    let rows = json(&folder, &["policy", "matrix"], 0);
    let rows = rows["rows"].as_array().expect("rows");
    let of_erp: Vec<_> = rows.iter().filter(|row| row["client"] == "erp").collect();
    assert_eq!(of_erp.len(), 2, "{rows:?}");
    assert_eq!(of_erp[0]["except"], "/**/payroll/**");
    let (csv, _) = run(&folder, &["policy", "matrix", "--format", "csv"], 0);
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("client,route,methods,path,query,scopes,except,rule"));
    assert!(lines.any(|line| line.starts_with("erp,r,POST,/orders,,orders:write,")), "{csv}");
    let (table, _) = run(&folder, &["policy", "matrix"], 0);
    assert!(table.contains("/orders/**") && table.contains("tester"), "{table}");
}

#[test]
fn a_new_key_works_with_the_lines_that_are_printed() {
    let folder = folder();
    let arguments = ["key", "new", "--client", "shop", "--scope", "s", "--expires", "2099-12-31"];
    let made = json(&folder, &arguments, 0);
    let key = made["key"].as_str().expect("a key");
    assert!(erpgate::stages::authentication::api_key::digest(key).is_ok(), "{key}");
    let lines = made["identity"].as_str().expect("lines");
    let rule =
        "[[allow]]\nroute = \"r\"\nmethods = [\"GET\"]\npaths = [\"/a\"]\nscopes = [\"s\"]\n";
    folder.write("policies/shop.toml", &format!("client = \"shop\"\n{lines}\n{rule}"));
    run(&folder, &["check"], 0);
    let digest = erpgate::model::digest::Sha256::of(key.as_bytes()).to_string();
    assert!(lines.contains(&digest) && made["sha256"] == digest.as_str());
    assert!(!lines.contains(key));
    let (human, _) = run(&folder, &arguments, 0);
    assert!(!human.contains(key) && human.contains("[[identity]]"), "another key each time");
    for wrong in [["--scope", "a b"], ["--expires", "soon"], ["--expires", "2026-02-30"]] {
        run(&folder, &[&["key", "new", "--client", "shop"], &wrong[..]].concat(), 2);
    }
    run(&folder, &["key", "new"], 2);
}

#[test]
fn every_command_shows_an_example() {
    let folder = folder();
    for command in [
        &["explain"][..],
        &["policy", "test"],
        &["policy", "diff"],
        &["policy", "matrix"],
        &["key", "new"],
    ] {
        let (help, _) = run(&folder, &[command, &["--help"]].concat(), 0);
        assert!(help.contains("Example:"), "{command:?}\n{help}");
    }
    let schema = run(&folder, &["schema", "policy"], 0).0;
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    assert!(schema["properties"]["identity"].is_object(), "{schema:#}");
}
