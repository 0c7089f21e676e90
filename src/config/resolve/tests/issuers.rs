//! Findings about `[[issuer]]`, each provoked.

use super::{REST, assert_findings};
use crate::config::resolve::Mode;
use crate::config::sources::Memory;

/// What a good issuer needs, but for where its keys are.
const GOOD: &str = "[[issuer]]\nname = \"a\"\nissuer = \"https://a.test\"\naudiences = [\"x\"]\n";

fn check(cases: &[(&str, &[&str])]) {
    let mut sources = Memory::default().with("empty", "{\"keys\":[]}");
    sources.env.insert("SHORT".to_owned(), "0123456789".to_owned());
    sources.env.insert("LONG".to_owned(), "0123456789abcdef0123456789abcdef".to_owned());
    for (text, codes) in cases {
        assert_findings(&format!("{text}\n{REST}"), codes, sources.clone(), Mode::Run);
    }
}

fn with(lines: &str) -> String {
    format!("{GOOD}{lines}")
}

#[test]
fn what_a_token_has_to_be() {
    check(&[(GOOD, &[]), ("◆◆◆[[issuer]]\n", &["missing-key", "missing-key", "missing-key"])]);
    for (lines, codes) in [
        ("algorithms = [◆\"ES512\"]", &["unknown-algorithm"][..]),
        ("algorithms = [◆\"none\"]", &["unknown-algorithm"]),
        ("algorithms = [◆\"RS265\"]", &["unknown-algorithm"]),
        ("algorithms = ◆[]", &["no-algorithms"]),
        ("algorithms = [\"RS256\", ◆\"HS256\"]", &["algorithm-mixed"]),
        ("hmac_secret = { env = \"LONG\" }\nalgorithms = [◆\"RS256\"]", &["algorithm-mixed"]),
        ("hmac_secret = { env = \"LONG\" }\nalgorithms = [\"HS256\"]", &[]),
        ("hmac_secret = ◆{ env = \"LONG\" }\nalgorithms = [\"HS512\"]", &["secret-too-short"]),
        ("hmac_secret = ◆{ env = \"SHORT\" }", &["secret-too-short"]),
        ("hmac_secret = ◆\"in plain sight, and long enough\"", &["secret-literal"]),
        ("accept = ◆\"azure\"", &["unknown-value"]),
        ("leeway = ◆\"6m\"", &["out-of-range"]),
        ("client_claims = ◆[]", &["bad-claims"]),
        ("scope_claims = ◆[]", &["bad-claims"]),
        ("◆jwks_url = \"https://a.test/keys\"", &["unknown-key"]),
    ] {
        check(&[(&with(lines), codes)]);
    }
    check(&[
        (&GOOD.replace("[\"x\"]", "◆[]"), &["bad-audiences"]),
        (&GOOD.replace("[\"x\"]", "◆[\"\"]"), &["bad-audiences"]),
        (&GOOD.replace("\"a\"", "◆\"a b\""), &["bad-name"]),
    ]);
}

#[test]
fn where_keys_come_from() {
    for (lines, codes) in [
        ("jwks_uri = \"https://a.test/keys\"", &[][..]),
        ("jwks_uri = \"http://127.0.0.1:9/keys\"", &[]),
        ("jwks_uri = ◆\"http://a.test/keys\"", &["bad-url"]),
        ("jwks_uri = ◆\"a.test/keys\"", &["bad-url"]),
        ("jwks_uri = \"https://a.test\"\njwks_file = ◆\"empty\"", &["keys-mixed"]),
        ("jwks_file = ◆\"empty\"", &["bad-keys"]),
        ("jwks_file = ◆\"gone\"", &["bad-keys"]),
    ] {
        check(&[(&with(lines), codes)]);
    }
    check(&[(&GOOD.replace("\"https://a.test\"", "◆\"a.test\""), &["bad-url"])]);
}

#[test]
fn issuers_that_are_asked() {
    let asked = "[[issuer]]\nname = \"o\"\naudiences = [\"x\"]\nintrospection = ";
    let whole =
        "{ url = \"https://o.test/i\", client_id = \"g\", client_secret = { env = \"LONG\" } }";
    check(&[
        (&format!("{asked}{whole}"), &[]),
        (&format!("◆{}{whole}", asked.replace("audiences = [\"x\"]\n", "")), &["no-audiences"]),
        (&format!("{asked}◆◆◆{{}}"), &["missing-key", "missing-key", "missing-key"]),
        (&format!("{asked}{}", whole.replace("\"https:", "◆\"http:")), &["bad-url"]),
        (&format!("{asked}{whole}\nalgorithms = ◆[\"RS256\"]"), &["keys-mixed"]),
    ]);
}

#[test]
fn nobody_else_has_its_name() {
    let twice = format!("{GOOD}◆{}", GOOD.replace("https://a", "https://b"));
    check(&[(&twice, &["duplicate-issuer"])]);
    let twice = format!("{GOOD}◆{}", GOOD.replace("\"a\"", "\"b\""));
    check(&[(&twice, &["duplicate-issuer"])]);
}
