//! Findings about policies, each provoked.

use super::{REST, now};
use crate::config::problem::Severity;
use crate::config::resolve::{Loaded, Memo, Mode, load, load_again};
use crate::config::sources::Memory;
use std::path::Path;

const ISSUER: &str = "[[issuer]]\nname = \"idp\"\nissuer = \"https://idp.test\"\n\
                      audiences = [\"x\"]\nscopes = [\"read\", \"write\"]\n";
/// A client that nothing is wrong with, and into which a rule goes.
const CLIENT: &str = "client = \"c\"\n[[identity]]\nissuer = \"idp\"\nclient_id = \"c-1\"\n";
const RULE: &str = "[[allow]]\nroute = \"rest\"\nmethods = [\"GET\"]\npaths = [\"/a\"]\n\
                    scopes = [\"read\"]\n";

fn gateway() -> String {
    let vendor = "base_url = \"https://erp.example.com\"\ncredentials.own = \
                  { kind = \"passthrough\" }\ncredentials.none = { kind = \"none\" }";
    let rest = REST.replace("base_url = \"https://erp.example.com\"", vendor);
    format!("{ISSUER}{rest}methods = [\"GET\", \"POST\", \"DELETE\"]\n")
}

fn read(files: &[(&str, &str)], mode: Mode) -> Loaded {
    let mut sources = Memory::default().with("gateway.toml", gateway());
    for (file, text) in files {
        sources = sources.with(&format!("policies/{file}"), *text);
    }
    load(Path::new("gateway.toml"), &sources, mode, now())
}

/// Asserts that exactly these codes are found in a policy, each at its marker.
fn assert_found(file: &str, marked: &str, codes: &[&str]) {
    let places = marked.match_indices('◆').enumerate().map(|(index, (at, _))| {
        let before = marked[..at].replace('◆', "");
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (codes.get(index).copied().unwrap_or("nothing"), before.matches('\n').count() + 1, column)
    });
    let expected: Vec<_> = places.collect();
    let text = marked.replace('◆', "");
    let client = format!("{}{RULE}", CLIENT.replace("\"c", "\"other"));
    let loaded = read(&[(file, &text), ("a.toml", &client)], Mode::Check);
    let of_file = |p: &&crate::config::problem::Problem| p.file.ends_with(file);
    let found: Vec<_> =
        loaded.problems.iter().filter(of_file).map(|p| (p.code, p.line, p.column)).collect();
    assert_eq!(found, expected, "\n{marked}\n{}", loaded.human());
    assert_eq!(expected.len(), codes.len(), "a marker for each code: {marked}");
    assert_eq!(found.len(), loaded.problems.len(), "{}", loaded.human());
    let refused = loaded.problems.iter().any(|p| p.severity == Severity::Problem);
    assert_eq!(loaded.config.is_none(), refused);
    assert!(loaded.problems.iter().all(|p| !p.help.is_empty()), "{}", loaded.human());
}

#[test]
fn clients() {
    let identity = "[[identity]]\nissuer = \"idp\"\nclient_id = \"c-1\"\n";
    for (text, codes) in [
        (format!("{CLIENT}{RULE}"), &[][..]),
        (format!("◆{identity}{RULE}"), &["missing-key"]),
        (format!("client = ◆\"unknown\"\n{identity}{RULE}"), &["bad-name"]),
        (format!("client = ◆\"a b\"\n{identity}{RULE}"), &["bad-name"]),
        (format!("client = ◆\"other\"\n{identity}{RULE}"), &["duplicate-client"]),
        (format!("◆client = \"c\"\n{RULE}"), &["no-identity"]),
        (format!("◆{CLIENT}"), &["no-allow"]),
        (format!("suspended = ◆\"\"\n{CLIENT}{RULE}"), &["bad-suspended"]),
        (format!("priority = ◆\"highest\"\n{CLIENT}{RULE}"), &["unknown-value"]),
        (format!("share = ◆0\n{CLIENT}{RULE}"), &["out-of-range"]),
        (format!("share = ◆1001\n{CLIENT}{RULE}"), &["out-of-range"]),
        (format!("◆onwer = \"x\"\n{CLIENT}{RULE}"), &["unknown-key"]),
        ("client = ◆".to_owned(), &["syntax"]),
    ] {
        assert_found("c.toml", &text, codes);
    }
}

#[test]
fn identities() {
    let digest = "ab".repeat(32);
    let key = |lines: &str| {
        format!(
            "client = \"c\"\n[[identity]]\napi_key_sha256 = \"{digest}\"\n\
             scopes = [\"read\"]\n{lines}\n{RULE}"
        )
    };
    let only = |lines: &str| format!("client = \"c\"\n{lines}\n{RULE}");
    for (text, codes) in [
        (key(""), &[][..]),
        (key("expires = 2027-06-30"), &[]),
        (key("expires = ◆2027-01-14"), &["key-expired"]),
        (key("expires = ◆2027-01-20"), &["key-expires-soon"]),
        (key("expires = ◆\"2027-01-20\""), &["bad-date"]),
        (key("expires = ◆2027-01-20T10:00:00Z"), &["bad-date"]),
        (key("require_bound_token = ◆true"), &["identity-mixed"]),
        (key("issuer = \"idp\"").replace("[[id", "◆[[id"), &["bad-identity"]),
        (only("◆[[identity]]\nscopes = [\"read\"]"), &["bad-identity"]),
        (only("[[identity]]\napi_key_sha256 = ◆\"egk_plain\""), &["bad-digest"]),
        (only("[[identity]]\ncertificate_sha256 = ◆\"12\""), &["bad-digest"]),
        (only("[[identity]]\ncertificate_san = ◆\"*.a.test\""), &["bad-name"]),
        (only("◆[[identity]]\nissuer = \"idp\""), &["missing-key"]),
        (only("◆[[identity]]\nclient_id = \"c\""), &["missing-key"]),
        (only("[[identity]]\nissuer = ◆\"ipd\"\nclient_id = \"c\""), &["unknown-issuer"]),
        (only("◆[[identity]]\nissuer = \"idp\"\nclient_id = \"other-1\""), &["duplicate-identity"]),
        (key("").replacen("[\"read\"]", "[◆\"a b\", \"read\"]", 1), &["bad-scope"]),
    ] {
        assert_found("c.toml", &text, codes);
    }
    let shown =
        read(&[("c.toml", &only("[[identity]]\napi_key_sha256 = \"egk_plain\""))], Mode::Check);
    assert!(!shown.human().contains("egk_plain"), "{}", shown.human());
}

#[test]
fn what_deceives_a_reader() {
    const CODE: &str = "control-character";
    let described = |text: &str| format!("description = {text}\n{CLIENT}{RULE}");
    for (text, codes) in [
        (described("\"caf\u{e9} \u{1f6d2}\\tand\ta tab\""), &[][..]),
        (described("'''a tab\t'''"), &[]),
        // Some editors begin a file with it, and end lines with two octets.
        (format!("\u{feff}{CLIENT}{RULE}"), &[]),
        (format!("{CLIENT}# caf\u{e9}\n{RULE}").replace('\n', "\r\n"), &[]),
        (described("◆\"\u{202e}\""), &[CODE]),
        (described("◆\"\\u202e\""), &[CODE]),
        (described("◆\"\\u009b2K\""), &[CODE]),
        (described("◆'''\u{9b}2K'''"), &[CODE]),
        (described("◆'''\n\n'''"), &[CODE]),
        (described("\"\" # ◆\u{2066}{RULE}"), &[CODE]),
        (described("◆\"\u{feff}\" # \u{e9}◆\u{85}"), &[CODE, CODE]),
        (format!("{CLIENT}{RULE}query = {{ ◆\"a\u{200d}\" = ◆\"\u{2060}\" }}\n"), &[CODE, CODE]),
    ] {
        assert_found("c.toml", &text, codes);
    }
    for c in ['\u{80}', '\u{9f}', '\u{200f}', '\u{202a}', '\u{2064}', '\u{2069}', '\u{61c}'] {
        let text = described(&format!("\"{c}\" # {c}"));
        let read = read(&[("c.toml", &text), ("_all.toml", &format!("# {c}\n"))], Mode::Check);
        let found: Vec<_> = read.problems.iter().map(|it| it.code).collect();
        assert_eq!(found, [CODE; 3], "{c:?}");
        assert!(!read.human().contains(c) && !read.json().contains(c), "{c:?}");
    }
}

#[test]
fn rules() {
    let rule = |from: &str, to: &str| format!("{CLIENT}{}", RULE.replace(from, to));
    for (text, codes) in [
        (rule("\"rest\"", "◆\"rset\""), &["unknown-route"][..]),
        (rule("route = \"rest\"\n", "").replace("[[allow]]", "◆[[allow]]"), &["missing-key"]),
        (rule("methods = [\"GET\"]\n", "").replace("[[allow]]", "◆[[allow]]"), &["missing-key"]),
        (rule("paths = [\"/a\"]\n", "").replace("[[allow]]", "◆[[allow]]"), &["missing-key"]),
        (rule("\"GET\"", "◆\"GTE\""), &["unknown-method"]),
        (rule("\"GET\"", "◆\"PATCH\""), &["unserved-method"]),
        (rule("[\"GET\"]", "◆[]"), &["empty-list"]),
        (rule("[\"/a\"]", "◆[]"), &["empty-list"]),
        (rule("\"/a\"", "◆\"a\""), &["bad-pattern"]),
        (rule("\"/a\"", "◆\"/a/../b\""), &["bad-pattern"]),
        (rule("\"/a\"", "◆\"/a?b=1\""), &["bad-pattern"]),
        (rule("[\"read\"]", "[◆\"a b\"]"), &["bad-scope"]),
        (rule("scopes = [\"read\"]\n", "").replace("[[allow]]", "◆[[allow]]"), &["no-scopes"]),
        (rule("scopes = [\"read\"]", "scopes = []"), &[]),
        (rule("scopes = [\"read\"]\n", "scopes = [\"read\"]\ncredential = \"none\"\n"), &[]),
        (rule("scopes", "credential = ◆\"own\"\nscopes"), &["credential-passthrough"]),
        (rule("scopes", "credential = ◆\"onw\"\nscopes"), &["unknown-credential"]),
        (rule("scopes", "rate = ◆\"5/fortnight\"\nscopes"), &["bad-rate"]),
        (rule("scopes", "burst = ◆5\nscopes"), &["burst-alone"]),
        (rule("scopes", "idempotency = ◆\"maybe\"\nscopes"), &["unknown-value"]),
        (format!("{CLIENT}{RULE}[[deny]]\nmethods = ◆[]\n"), &["empty-list"]),
        (format!("{CLIENT}{RULE}[[deny]]\npaths = ◆[]\n"), &["empty-list"]),
        (format!("{CLIENT}{RULE}[[deny]]\nscopes = ◆[]\n"), &["empty-list"]),
        (format!("{CLIENT}{RULE}[[deny]]\nquery = ◆{{}}\n"), &["empty-list"]),
        (format!("{CLIENT}{RULE}[[deny]]\nroute = ◆\"nowhere\"\n"), &["unknown-route"]),
        (
            format!("{CLIENT}{RULE}[limits]\ndaily = 5\ntimezone = ◆\"Mars/Olympus\"\n"),
            &["unknown-timezone"],
        ),
        (format!("{CLIENT}{RULE}[limits]\ndaily = 5\ntimezone = \"Europe/Berlin\"\n"), &[]),
        (format!("{CLIENT}{RULE}[limits]\ntimezone = ◆\"UTC\"\n"), &["unused-timezone"]),
        (format!("{CLIENT}{RULE}[limits]\ndaily = ◆0\n"), &["out-of-range"]),
        (format!("{CLIENT}{RULE}[limits]\nrate = ◆[]\n"), &["bad-rate"]),
        (format!("{CLIENT}{RULE}[limits]\nrate = [\"5/second\"]\nburst = ◆5\n"), &["burst-alone"]),
    ] {
        assert_found("c.toml", &text, codes);
    }
    assert_found("_all.toml", "[[deny]]\npaths = [◆\"a\"]\n", &["bad-pattern"]);
    assert_found("_all.toml", "[[◆allow]]\nroute = \"rest\"\n", &["unknown-key"]);
}

#[test]
fn what_a_rule_says_of_keys_has_to_fit_its_route() {
    let rule = |method: &str, said: &str| {
        let rule = RULE.replace("\"GET\"", method);
        format!("{CLIENT}{}", rule.replace("scopes", &format!("idempotency = {said}\nscopes")))
    };
    let (strict, usual, off) = ("◆\"required\"", "◆\"optional\"", "◆\"off\"");
    let streams = "body_max = \"none\"\n";
    let records = "idempotency_key_from = [\"body:/a\"]\n";
    for (route, method, said, code) in [
        ("", "\"POST\"", strict, ""),
        ("", "\"GET\"", strict, "idempotency-unused"),
        ("", "\"*\"", strict, ""),
        ("", "\"POST\"", usual, ""),
        ("", "\"POST\"", off, "idempotency-weaker"),
        ("idempotency = \"off\"\n", "\"POST\"", off, ""),
        ("idempotency = \"off\"\n", "\"POST\"", usual, ""),
        ("idempotency = \"required\"\n", "\"POST\"", usual, "idempotency-weaker"),
        (streams, "\"POST\"", off, ""),
        (streams, "\"POST\"", usual, "idempotency-stream"),
        (streams, "\"POST\"", strict, "idempotency-stream"),
        (records, "\"POST\"", strict, ""),
        (records, "\"DELETE\"", strict, "key-never-there"),
    ] {
        let marked = rule(method, said);
        let files = Memory::default()
            .with("gateway.toml", format!("{}{route}", gateway()))
            .with("policies/c.toml", marked.replace('◆', ""));
        let loaded = load(Path::new("gateway.toml"), &files, Mode::Run, now());
        let found: Vec<_> = loaded.problems.iter().map(|p| (p.code, p.line, p.column)).collect();
        let expected = [(code, 9, "idempotency = ".len() + 1)];
        let expected = if code.is_empty() { &[][..] } else { &expected };
        assert_eq!(found, expected, "{route}{marked}\n{}", loaded.human());
    }
}

#[test]
fn what_is_legal_and_probably_not_meant() {
    let second = "[[allow]]\nroute = \"rest\"\nmethods = [\"GET\"]\npaths = [\"/a\"]\n\
                  scopes = [\"read\", \"write\"]\n";
    for (text, codes) in [
        (format!("{CLIENT}{RULE}◆{second}"), &["unreachable-rule"][..]),
        (format!("{CLIENT}{second}{RULE}"), &[]),
        (format!("{CLIENT}◆{RULE}[[deny]]\npaths = [\"/A/\"]\n"), &["unreachable-rule"]),
        (format!("{CLIENT}{RULE}[[deny]]\npaths = [\"/b\"]\n"), &[]),
        (format!("{CLIENT}◆{}", RULE.replace("\"read\"", "\"admin\"")), &["unknown-scope"]),
        (
            format!("{CLIENT}scopes = [\"read\"]\n◆{}", RULE.replace("\"read\"", "\"write\"")),
            &["unknown-scope"],
        ),
        (
            format!("{CLIENT}◆{}[[deny]]\npaths = [\"/b\"]\n", RULE.replace("\"/a\"", "\"/**\"")),
            &["open-door"],
        ),
        (
            format!(
                "{CLIENT}{}[[deny]]\npaths = [\"/graphql\", \"/api/graphql\", \"/$batch\", \
                 \"/composite/**\"]\n",
                RULE.replace("\"/a\"", "\"/**\"")
            ),
            &[],
        ),
    ] {
        assert_found("c.toml", &text, codes);
    }
    // Each is a warning: nobody is kept from serving, and nobody waits for the search.
    let text = format!("{CLIENT}{RULE}{second}");
    assert_eq!(read(&[("c.toml", &text)], Mode::Run).problems.len(), 0);
}

#[test]
fn a_folder_that_is_gone_takes_nothing_away() {
    let mut memo = Memo::default();
    let config = Memory::default().with("gateway.toml", gateway());
    let gone = load_again(Path::new("gateway.toml"), &config, Mode::Run, now(), &mut memo);
    assert_eq!(gone.problems.iter().map(|p| p.code).collect::<Vec<_>>(), ["no-policies"]);
    assert!(gone.config.is_some());
    let full = config.clone().with("policies/c.toml", format!("{CLIENT}{RULE}"));
    let there = load_again(Path::new("gateway.toml"), &full, Mode::Run, now(), &mut memo);
    assert!(there.problems.is_empty(), "{}", there.human());
    for _ in 0..2 {
        let gone = load_again(Path::new("gateway.toml"), &config, Mode::Run, now(), &mut memo);
        assert_eq!(
            gone.problems.iter().map(|p| p.code).collect::<Vec<_>>(),
            ["policies-unreadable"]
        );
        assert!(gone.config.is_none());
    }
}
