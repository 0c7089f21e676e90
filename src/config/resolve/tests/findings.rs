//! Every finding about gateway.toml alone, provoked at least once.

use super::{REST, assert_findings, loaded};
use crate::config::resolve::Mode;
use crate::config::sources::Memory;

fn check(cases: &[(&str, &[&str])]) {
    for (text, codes) in cases {
        assert_findings(&format!("{text}{REST}"), codes, Memory::default(), Mode::Run);
    }
}

#[test]
fn shapes() {
    check(&[
        ("[server]\n◆drain_timout = \"30s\"\n", &["unknown-key"]),
        ("[◆servr]\nname = \"x\"\n", &["unknown-key"]),
        ("[server]\nworkers = ◆\"4\"\n", &["wrong-type"]),
        ("[server]\nserver_timing = ◆1\n", &["wrong-type"]),
        ("[server]\ntrusted_proxies = ◆\"10.0.0.0/8\"\n", &["wrong-type"]),
        ("[server]\ntrusted_proxies = [\"10.0.0.0/8\", ◆5]\n", &["wrong-type"]),
        ("server = ◆5\n", &["wrong-type"]),
        ("server = ◆[\"x\"]\n", &["wrong-type"]),
        ("server = ◆2026-11-21\n", &["wrong-type"]),
        ("admin = ◆[]\n", &["wrong-type"]),
        ("◆[[server]]\nname = \"x\"\n", &["wrong-type"]),
        ("[server]\n◆name.first = \"x\"\n", &["wrong-type"]),
        ("[server]\nworkers = ◆99999999999999999999\n", &["out-of-range"]),
        ("[server]\nname = \"a\"\n◆name = \"b\"\n", &["duplicate-key"]),
        (
            "[[listener]]\naddress = \"127.0.0.1:0\"\n\
             tls = { certificates = ◆\"c\", client_auth = ◆\"maybe\" }\n",
            &["certificate-missing", "unknown-value"],
        ),
    ]);
}

#[test]
fn syntax_hides_everything_else() {
    for marked in [
        "[server]\nname = ◆\nworkers = \"x\"\n",
        "[server◆\nname = \"x\"\n",
        "[server]\nname = \"a◆\n",
        "[server]\nname = ◆1 2\n",
    ] {
        assert_findings(marked, &["syntax"], Memory::default(), Mode::Run);
    }
}

#[test]
fn files_that_can_not_be_read() {
    let sources = Memory::default();
    let gone = super::load(std::path::Path::new("a/b.toml"), &sources, Mode::Check, super::now());
    let found: Vec<_> = gone.problems.iter().map(|p| (p.code, p.line, p.column)).collect();
    assert_eq!(found, [("file-unreadable", 1, 1)]);
    let sources = Memory::default().with("b.toml", [b'a', 0xff]);
    let binary = super::load(std::path::Path::new("b.toml"), &sources, Mode::Check, super::now());
    assert_eq!(binary.problems.first().map(|p| p.code), Some("syntax"));
}

#[test]
fn required_keys_are_missed_at_their_table() {
    assert_findings("◆◆", &["missing-key", "no-route"], Memory::default(), Mode::Run);
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
    assert_findings(&format!("◆{listener}"), &["no-route"], Memory::default(), Mode::Run);
    check(&[
        ("◆[[listener]]\nidle_timeout = \"1s\"\n", &["missing-key"]),
        ("[[listener]]\naddress = \"127.0.0.1:0\"\ntls = ◆{ }\n", &["missing-key"]),
        ("◆[[route]]\nname = \"a\"\nvendor = \"erp\"\n", &["missing-key"]),
        ("◆◆[[route]]\npath = \"/a\"\n", &["missing-key", "missing-key"]),
        ("◆[vendors.◆a]\n", &["missing-key", "unused-vendor"]),
        (
            "[vendors.◆a]\nbase_url = \"https://a\"\n\
             credential = ◆{ token = { env = \"A\" } }\n",
            &["unused-vendor", "missing-key"],
        ),
    ]);
}

#[test]
fn server_and_log() {
    check(&[
        ("[server]\nname = ◆\"a b\"\n", &["bad-name"]),
        ("[server]\nworkers = ◆-1\n", &["out-of-range"]),
        ("[server]\nworkers = ◆5000\n", &["out-of-range"]),
        ("[server]\ndrain_timeout = ◆\"30\"\n", &["bad-duration"]),
        ("[server]\ndrain_timeout = ◆\"0s\"\n", &["out-of-range"]),
        ("[server]\ndrain_timeout = ◆\"30d\"\n", &["out-of-range"]),
        ("[server]\ntrusted_proxies = [\"10.0.0.1\", ◆\"lb\"]\n", &["bad-address"]),
        ("[server]\ntrusted_proxies = [◆\"0.0.0.0/0\"]\n", &["trusts-everybody"]),
        ("[server]\nhandover = ◆\"\"\n", &["bad-path"]),
        ("[log]\nredact_query = [◆\"\"]\n", &["bad-name"]),
    ]);
}

#[test]
fn listeners_and_admin() {
    let listener = |line: &str| format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{line}\n");
    for (line, code) in [
        ("header_max = ◆\"32KB\"", "bad-size"),
        ("header_max = ◆\"1MiB\"", "out-of-range"),
        ("header_max = ◆\"1B\"", "out-of-range"),
        ("uri_max = ◆\"64KiB\"", "out-of-range"),
        ("headers_max = ◆251", "out-of-range"),
        ("headers_max = ◆0", "out-of-range"),
        ("connections_max = ◆0", "out-of-range"),
        ("connections_max_per_address = ◆-5", "out-of-range"),
        ("idle_timeout = ◆\"0ms\"", "out-of-range"),
        ("handshake_timeout = ◆\"1h\"", "out-of-range"),
    ] {
        check(&[(&listener(line), &[code])]);
    }
    check(&[
        ("[[listener]]\naddress = ◆\"8080\"\n", &["bad-address"]),
        ("[[listener]]\naddress = ◆\"0.0.0.0:81\"\n", &["plain-listener"]),
        (
            "[[listener]]\naddress = \"127.0.0.1:81\"\n\
             [[listener]]\naddress = ◆\"127.0.0.1:81\"\n",
            &["duplicate-listener"],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:81\"\n\
             [[listener]]\naddress = ◆◆\"0.0.0.0:81\"\n",
            &["duplicate-listener", "plain-listener"],
        ),
        ("[[listener]]\naddress = ◆\"127.0.0.1:9900\"\n", &["duplicate-listener"]),
        ("[admin]\naddress = ◆\"0.0.0.0:9900\"\n", &["admin-exposed"]),
        ("◆[admin]\nread_token = ◆{ env = \"A\" }\n", &["admin-exposed", "secret-missing"]),
    ]);
}

#[test]
fn vendors() {
    let vendor =
        |line: &str| format!("[vendors.◆a]\nbase_url = \"https://a.example.com\"\n{line}\n");
    for (line, code) in [
        ("profile = ◆\"netsiute\"", "unknown-profile"),
        ("profile = ◆\"./mine.toml\"", "file-unreadable"),
        ("forwarded = ◆\"on\"", "unknown-value"),
        ("timeouts = { connect = ◆\"0s\" }", "out-of-range"),
        ("timeouts.response = ◆\"2\"", "bad-duration"),
        ("timeouts.idel = \"2s\"", "unknown-key"),
        ("credential = { kind = ◆\"oauth\" }", "unknown-value"),
        ("credential = { kind = \"none\", token = ◆{ env = \"A\" } }", "credential-mixed"),
        (
            "credential = { kind = \"header\", name = ◆\"TE\", value = { command = [\"ok\"] } }",
            "bad-field-name",
        ),
        (
            "credential = { kind = \"header\", name = ◆\"a b\", value = { command = [\"ok\"] } }",
            "bad-field-name",
        ),
        ("credential = { kind = \"bearer\", token = ◆\"egk_literal\" }", "secret-literal"),
        ("credential = { kind = \"bearer\", token = ◆{ } }", "secret-source"),
        ("credential = { kind = \"bearer\", token = ◆{ env = \"GONE\" } }", "secret-missing"),
        ("credential = ◆{ kind = \"bearer\", token = { env = \"BAD\" } }", "secret-unusable"),
        ("[vendors.a.tls]\nca = ◆\"gone.pem\"", "file-unreadable"),
        ("tls = ◆{ certificate = \"a.pem\" }", "missing-key"),
    ] {
        let text = vendor(line).replace("timeouts.idel", "timeouts.◆idel");
        let text = format!("{text}{REST}");
        let mut sources = Memory::default().with("a.pem", "");
        sources.env.insert("BAD".into(), "a\u{7f}b".into());
        sources.commands.insert("ok".into(), b"value\n".to_vec());
        let mut codes = vec!["unused-vendor", code];
        if line.contains("a.pem") {
            // The certificate that is there is none either.
            let marked = text.replace("certificate = ", "certificate = ◆");
            codes.push("bad-certificate");
            assert_findings(&marked, &codes, sources, Mode::Run);
        } else {
            assert_findings(&text, &codes, sources, Mode::Run);
        }
    }
    check(&[
        ("[vendors.◆◆\"a b\"]\nbase_url = \"https://a\"\n", &["bad-name", "unused-vendor"]),
        (
            "[vendors.◆a]\nbase_url = ◆\"http://a.example.com\"\n",
            &["unused-vendor", "bad-base-url"],
        ),
        (
            "[vendors.◆a]\nbase_url = \"http://[::1]:1\"\ntls = ◆{ }\n",
            &["unused-vendor", "unused-tls"],
        ),
    ]);
}

#[test]
fn routes() {
    let route =
        |line: &str| format!("[[route]]\nname = \"a\"\npath = \"/a\"\nvendor = \"erp\"\n{line}\n");
    for (line, code) in [
        ("host = ◆\"a:80\"", "bad-host"),
        ("host = ◆\"*.example.com\"", "bad-host"),
        ("methods = ◆[]", "no-methods"),
        ("methods = [◆\"get\"]", "unknown-method"),
        ("methods = [◆\"TRACE\"]", "unknown-method"),
        ("reads = [◆\"POST\"]", "bad-read"),
        ("reads = [◆\"POST a\"]", "bad-read"),
        ("reads = [◆\"POST /a*b\"]", "bad-read"),
        ("reads = [◆\"POTS /a\"]", "unknown-method"),
        ("reads = [◆\"GET /a\"]", "useless-read"),
        ("methods = [\"GET\"]\nreads = [◆\"POST /a\"]", "bad-read"),
        ("body_max = ◆\"10MB\"", "bad-size"),
        ("body_max = ◆\"nothing\"", "bad-size"),
        ("deadline = ◆\"0s\"", "out-of-range"),
        ("allow_in_path = [\";\", ◆\"%5C\"]", "unknown-value"),
    ] {
        check(&[(&route(line), &[code])]);
    }
    check(&[
        ("[[route]]\nname = ◆\"a b\"\npath = \"/a\"\nvendor = \"erp\"\n", &["bad-name"]),
        ("[[route]]\nname = \"a\"\npath = ◆\"a\"\nvendor = \"erp\"\n", &["bad-path"]),
        ("[[route]]\nname = \"a\"\npath = ◆\"/a/\"\nvendor = \"erp\"\n", &["bad-path"]),
        ("[[route]]\nname = \"a\"\npath = \"/a\"\nvendor = ◆\"epr\"\n", &["unknown-vendor"]),
        (
            "[[route]]\nname = \"a\"\npath = \"/a\"\nvendor = \"erp\"\n\
             [[route]]\nname = ◆\"a\"\npath = ◆\"/a\"\nvendor = \"erp\"\n",
            &["duplicate-name", "duplicate-route"],
        ),
        (
            "[[route]]\nname = \"a\"\nhost = \"A.example\"\nvendor = \"erp\"\n\
             [[route]]\nname = \"b\"\nhost = \"a.example\"\npath = ◆\"/\"\nvendor = \"erp\"\n",
            &["duplicate-route"],
        ),
    ]);
}

#[test]
fn everything_is_found_in_one_go() {
    let marked = r#"
◆surprise = 1
[server]
◆nam = "x"
workers = ◆"many"
drain_timeout = ◆"soon"
[[listener]]
address = ◆"nowhere"
tls = { ◆certficates = "certs", client_auth = ◆5 }
◆[[listener]]
body_timeout = ◆[ ]
[admin]
address = ◆"0.0.0.0:1"
token = ◆"hunter2"
◆[vendors.erp]
profile = ◆"x"
credential = { ◆knid = "none" }
timeouts = { connect = ◆"0s", ◆conect = "1s" }
[[route]]
name = ◆"no good"
path = ◆"x"
vendor = ◆"erb"
methods = ["GET", ◆"FETCH", ◆5]
"#;
    let codes = [
        "unknown-key",
        "unknown-key",
        "wrong-type",
        "bad-duration",
        "bad-address",
        "unknown-key",
        "wrong-type",
        "missing-key",
        "wrong-type",
        "admin-exposed",
        "secret-literal",
        "missing-key",
        "unknown-profile",
        "unknown-key",
        "out-of-range",
        "unknown-key",
        "bad-name",
        "bad-path",
        "unknown-vendor",
        "unknown-method",
        "wrong-type",
    ];
    assert_findings(marked, &codes, Memory::default(), Mode::Run);
}

#[test]
fn help_names_what_was_meant() {
    for (line, help) in [
        ("[server]\ndrain_timout = \"30s\"", "write `drain_timeout`"),
        ("[sever]\nname = \"a\"", "write `server`"),
        ("[[listener]]\nadress = \"127.0.0.1:0\"", "write `address`"),
        ("[vendors.a]\nprofile = \"netsiute\"", "write `netsuite`, or the path"),
        ("[[route]]\nvendor = \"epr\"", "write `erp`"),
        ("[[route]]\nmethods = [\"get\"]", "write `GET`"),
    ] {
        let loaded = loaded(&format!("{line}{REST}"), Memory::default(), Mode::Run);
        let found = loaded.problems.iter().any(|problem| problem.help.starts_with(help));
        assert!(found, "{help}\n{}", loaded.human());
    }
}
