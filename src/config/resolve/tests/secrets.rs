//! Secrets: read where they are wanted, and shown nowhere.

use super::{REST, loaded};
use crate::config::Credential;
use crate::config::problem::Severity;
use crate::config::resolve::Mode;
use crate::config::sources::Memory;

fn vendor(credential: &str) -> String {
    format!(
        "[vendors.v]\nbase_url = \"https://v.example.com\"\ncredential = {credential}\n\
         [[route]]\nname = \"v\"\npath = \"/v\"\nvendor = \"v\"\n{REST}"
    )
}

fn sources() -> Memory {
    let mut sources = Memory::default().with("secrets/pw", "pass word\r\n\n");
    sources.env.insert("TOKEN".into(), "hunter2".into());
    sources.commands.insert("vault".into(), b"from vault\n".to_vec());
    sources.commands.insert("tool".into(), b"sesame\n".to_vec());
    sources
}

fn field(credential: &str, mode: Mode) -> Option<(String, String)> {
    let loaded = loaded(&vendor(credential), sources(), mode);
    assert!(!loaded.human().contains("problem["), "{}", loaded.human());
    let config = loaded.config?;
    let vendor = config.vendors.iter().find(|vendor| &*vendor.name == "v")?;
    match &vendor.credential {
        Credential::Field { name, value, .. } => {
            Some((name.clone(), String::from_utf8_lossy(value.expose()).into_owned()))
        }
        _ => None,
    }
}

#[test]
fn each_kind_comes_down_to_a_field() {
    for (credential, name, value) in [
        (r#"{ kind = "bearer", token = { env = "TOKEN" } }"#, "authorization", "Bearer hunter2"),
        (
            r#"{ kind = "basic", username = "me", password = { file = "secrets/pw" } }"#,
            "authorization",
            "Basic bWU6cGFzcyB3b3Jk",
        ),
        (
            r#"{ kind = "basic", username = { env = "TOKEN" }, password.file = "secrets/pw" }"#,
            "authorization",
            "Basic aHVudGVyMjpwYXNzIHdvcmQ=",
        ),
        (
            r#"{ kind = "header", name = "X-Key", value = { command = ["vault", "-f", "x"] } }"#,
            "x-key",
            "from vault",
        ),
    ] {
        let expected = Some((name.to_owned(), value.to_owned()));
        assert_eq!(field(credential, Mode::Run), expected, "{credential}");
        assert_eq!(field(credential, Mode::Check), expected, "{credential}");
        let unread = Some((name.to_owned(), String::new()));
        assert_eq!(field(credential, Mode::Sandbox), unread, "{credential}");
    }
    assert_eq!(field(r#"{ kind = "none" }"#, Mode::Run), None);
    assert_eq!(field(r#"{ kind = "passthrough" }"#, Mode::Run), None);
}

#[test]
fn a_missing_source_refuses_only_those_who_serve_with_it() {
    for source in [
        r#"{ env = "GONE" }"#,
        r#"{ file = "gone" }"#,
        r#"{ command = ["gone"] }"#,
        r#"{ file = "empty" }"#,
    ] {
        let text = vendor(&format!(r#"{{ kind = "bearer", token = {source} }}"#));
        let severity = |mode| {
            let loaded = loaded(&text, sources().with("empty", "\n"), mode);
            loaded.problems.first().map(|problem| (problem.severity, problem.code))
        };
        let missing = |severity| Some((severity, "secret-missing"));
        assert_eq!(severity(Mode::Run), missing(Severity::Problem), "{source}");
        assert_eq!(severity(Mode::Check), missing(Severity::Warning), "{source}");
        assert_eq!(severity(Mode::Sandbox), None, "{source}");
    }
}

#[test]
fn a_literal_is_shown_nowhere() {
    for text in [
        vendor(r#"{ kind = "bearer", token = "hunter2" }"#),
        vendor(r#"{ kind = "bearer", token = "hunter2", tokn = "hunter2" }"#),
        vendor(r#"{ kind = "bearer", token = ["hunter2"] }"#),
        vendor(r#"{ kind = "bearer", token = { env = 5, value = "hunter2" } }"#),
        vendor(r#"{ kind = "bearer", token = { enw = "hunter2" } }"#),
        vendor(r#"{ kind = "bearer", token = { file = "gone", env = "hunter2x" } }"#)
            .replace("hunter2x", "X"),
        vendor(r#"{ kind = "basic", username = "hunter2:x", password = "hunter2" }"#),
        vendor(r#"{ kind = "header", name = "X", vlaue = "hunter2", value = "hunter2" }"#),
        vendor(r#"{ kind = "nix", token = { command = ["gone", "--t=hunter2"] } }"#),
        vendor(r#"{ kind = "bearer", token = { command = ["gone", "--t=hunter2"] } }"#),
        vendor(r#""hunter2""#),
        vendor(r#"["hunter2"]"#),
        vendor("{ kind = \"bearer\", token = \"\"\"\nhunter2\"\"\" }"),
        vendor("{ kind = \"bearer\", token = \"\"\"\nhunter2\n }"),
        vendor("{ kind = \"bearer\", token = [\n\"hunter2\"\n5] }"),
        vendor("{ kind = \"bearer\", token = \"\"\"\nhunter2 \\q\n\"\"\" }"),
        vendor("{ kind = \"bearer\", token =\n\"hunter2\" }"),
        vendor("{ kind = \"bearer\", token = hunter2 }"),
        vendor("{ kind = \"bearer\", token = \n hunter2 }"),
        vendor("{ kind = \"bearer\", \"hunter2\" }"),
        vendor(r#"{ kind = "bearer", token = "hunter2 }"#),
        vendor(r#"{ kind = "bearer", token = "hunter2", }, }"#),
        vendor(r#"{ kind = "bearer", token = "hunter2", token = "hunter2" }"#),
        format!("[admin]\ntoken = \"hunter2\"\nread_token = \"hunter2\"\n{REST}"),
        format!("[admin]\ntoken = \"hunter2\nread_token = \"hunter2\"\n{REST}"),
        format!("[amdin]\ntoken = \"hunter2\"\n{REST}"),
        format!("surprise = [[\"hunter2\"], {{ a = \"hunter2\" }}]\n{REST}"),
        format!("surprise.a.b = \"hunter2\"\n{REST}"),
        format!("[vendors.x]\nbase_url = \"https://me:hunter2@a.example\"\n{REST}"),
        format!("[vendors.x]\nbase_url = \"https://a.example/?key=hunter2\"\n{REST}"),
        format!("[vendors.x]\nbase_url = \"https://a.example\"\ntls.key = \"hunter2\"\n{REST}"),
    ] {
        let loaded = loaded(&text, sources(), Mode::Run);
        assert!(!loaded.problems.is_empty(), "{text}");
        let said = format!("{}{}{:?}", loaded.human(), loaded.json(), loaded.problems);
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn an_operator_sees_references() {
    let text = vendor(r#"{ kind = "bearer", token = { env = "TOKEN" } }"#);
    let text = format!("[admin]\ntoken = {{ command = [\"tool\", \"--t=hunter2\"] }}\n{text}");
    let config = loaded(&text, sources(), Mode::Run).config.expect("a configuration");
    assert_eq!(config.shown["admin"]["token"], "command:tool");
    assert_eq!(config.shown["vendors"]["v"]["credential"]["token"], "env:TOKEN");
    assert!(config.shown["vendors"]["v"].get("timeouts").is_none());
    assert!(!format!("{config:?} {}", config.shown).contains("--t=hunter2\"]"), "{config:?}");
}

#[test]
fn admin_tokens_differ_and_can_be_sent() {
    let admin = |token: &str, read: &str| {
        let mut sources = Memory::default();
        sources.env.insert("T".into(), token.into());
        sources.env.insert("R".into(), read.into());
        let text =
            format!("[admin]\ntoken = {{ env = \"T\" }}\nread_token = {{ env = \"R\" }}\n{REST}");
        let loaded = loaded(&text, sources, Mode::Run);
        loaded.problems.iter().map(|p| (p.code, p.line, p.column)).collect::<Vec<_>>()
    };
    assert_eq!(admin("a", "b"), []);
    assert_eq!(admin("a", "a"), [("tokens-equal", 1, 1)]);
    assert_eq!(admin("a b", "c"), [("secret-unusable", 2, 9)]);
}

#[test]
fn the_sandbox_guards_its_operators_by_the_address_alone() {
    let text = format!("[admin]\ntoken = {{ env = \"TOKEN\" }}\n{REST}");
    let config = loaded(&text, sources(), Mode::Sandbox).config.expect("a configuration");
    assert_eq!(config.admin.token, None);
    let text = format!("[admin]\naddress = \"0.0.0.0:0\"\ntoken = {{ env = \"TOKEN\" }}\n{REST}");
    let exposed = loaded(&text, sources(), Mode::Sandbox);
    assert_eq!(exposed.problems.first().map(|p| p.code), Some("admin-exposed"));
}
