//! What a file without problems becomes: defaults, values, redirection, restarts.

use super::certificates::pair;
use super::{REST, config, loaded};
use crate::config::resolve::{Mode, files_differ, needs_restart};
use crate::config::sources::Memory;
use crate::config::{BaseUrl, Credential, Forwarded};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn defaults_are_as_documented() {
    let config = config(REST);
    assert_eq!(config.server.name, "erpgate");
    assert_eq!((config.server.workers, config.server.server_timing), (0, true));
    assert_eq!(config.server.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.server.handover, PathBuf::from("data/handover.sock"));
    assert_eq!(config.admin.address.to_string(), "127.0.0.1:9900");
    let listener = &config.listeners[0];
    assert_eq!(&*listener.name, "127.0.0.1:0");
    assert_eq!((listener.connections_max, listener.connections_max_per_address), (20_000, 2_000));
    assert_eq!((listener.header_bytes_max, listener.headers_max), (32 << 10, 100));
    assert_eq!(listener.uri_bytes_max, 8 << 10);
    assert_eq!(listener.idle_timeout, Duration::from_secs(60));
    let vendor = &config.vendors[0];
    assert_eq!(vendor.profile.name, "generic");
    assert_eq!(vendor.timeouts.response, Duration::from_secs(900));
    assert_eq!(vendor.forwarded, Forwarded::Off);
    assert!(matches!(vendor.credential, Credential::None));
    let route = &config.routes[0];
    assert_eq!((route.prefix.as_str(), route.host.as_deref()), ("/rest", None));
    assert_eq!(route.body_bytes_max, Some(10 << 20));
    assert_eq!(route.methods.iter().count(), 7);
    assert!(route.rewrite_links && Arc::ptr_eq(&route.vendor, vendor));
    assert!(config.log.redact_query.contains(&"access_token".to_owned()));
    assert_eq!(config.watched, ["gateway.toml", "policies"].map(PathBuf::from));
    assert_eq!(config.server.failed_auth_rate.count.get(), 60);
    assert!(config.issuers.is_empty() && config.policies.directory.is_empty());
}

#[test]
fn values_are_taken() {
    let config = config(
        r#"
[server]
trusted_proxies = ["10.1.2.3/8", "::1"]
[[listener]]
address = "127.0.0.1:0"
header_max = "1KiB"
[vendors.erp]
base_url = "https://erp.example.com/api/"
timeouts.write_reuse_idle = "0s"
forwarded = "x-forwarded"
[[route]]
name = "r"
host = "Erp.Example.COM"
vendor = "erp"
methods = ["POST", "GET"]
reads = ["POST /q/**"]
body_max = "none"
allow_in_path = ["%2f", ";"]
[log]
redact_query = ["Session"]
"#,
    );
    let proxies: Vec<String> =
        config.server.trusted_proxies.iter().map(|p| p.to_string()).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(config.listeners[0].uri_bytes_max, 512);
    assert_eq!(config.vendors[0].base_url.path, "/api");
    assert_eq!(config.vendors[0].timeouts.write_reuse_idle, Duration::ZERO);
    let route = &config.routes[0];
    assert_eq!((route.prefix.as_str(), route.host.as_deref()), ("", Some("erp.example.com")));
    assert_eq!(route.methods.allow(), "GET, POST");
    assert!(route.reads[0].path.matches("/q/x") && route.reads[0].method == "POST");
    assert_eq!(route.body_bytes_max, None);
    assert!(route.allow_in_path.encoded_slash && route.allow_in_path.semicolon);
    assert!(config.log.redact_query.contains(&"session".to_owned()));
}

#[test]
fn paths_begin_at_the_file() {
    let text = format!("[[listener]]\naddress = \"127.0.0.1:0\"\ntls.certificates = \"c\"\n{REST}");
    let sources = Memory::default().with("/etc/erpgate/gateway.toml", text);
    let file = std::path::Path::new("/etc/erpgate/gateway.toml");
    let loaded = super::load(file, &sources, Mode::Run, super::now());
    let beside = |name: &str| PathBuf::from("/etc/erpgate").join(name);
    assert_eq!(loaded.watched, [file.to_owned(), beside("c"), beside("policies")]);
}

#[test]
fn profiles_of_a_user_are_read_like_ours() {
    let text = REST.replace("base_url", "profile = \"mine.toml\"\nbase_url");
    let sources = Memory::default().with("mine.toml", "request_id_headers = [\"X-Mine\"]");
    let config = loaded(&text, sources, Mode::Run).config.expect("a configuration");
    let profile = &config.vendors[0].profile;
    assert_eq!(profile.name, "mine.toml");
    assert_eq!(profile.request_id_headers, ["x-mine"]);
    assert!(config.watched.contains(&PathBuf::from("mine.toml")));

    let broken = "\nrequest_id_heders = []\nrequest_id_headers = [\"a b\", 5]\n";
    let sources = Memory::default().with("mine.toml", broken);
    let loaded = loaded(&text, sources, Mode::Run);
    let found: Vec<_> = loaded
        .problems
        .iter()
        .map(|p| (p.code, p.file.display().to_string(), p.line, p.column))
        .collect();
    let at = |code, line, column| (code, "mine.toml".to_owned(), line, column);
    assert_eq!(
        found,
        [at("unknown-key", 2, 1), at("bad-field-name", 3, 23), at("wrong-type", 3, 30)]
    );
    assert!(loaded.human().contains("2 | request_id_heders = []"), "{}", loaded.human());
}

#[test]
fn shipped_profiles_have_no_problems() {
    for (name, _) in crate::profile::SHIPPED {
        let text = REST.replace("base_url", &format!("profile = \"{name}\"\nbase_url"));
        assert_eq!(config(&text).vendors[0].profile.name, name);
    }
}

#[test]
fn traffic_is_redirected_without_credentials() {
    let secret = "credential = { kind = \"bearer\", token = { command = [\"vault\"] } }";
    let more = "credentials.own = { kind = \"passthrough\" }";
    let text = REST.replace("base_url", &format!("{secret}\n{more}\nbase_url"));
    let url = BaseUrl::parse("http://127.0.0.1:7070").expect("a URL");
    let mut sources = Memory::default();
    sources.commands.insert("vault".to_owned(), b"hunter2".to_vec());
    let config = || loaded(&text, sources.clone(), Mode::Run).config.expect("no problems");
    let redirected = config().with_vendor_urls(&|name| (name == "erp").then(|| url.clone()));
    let vendor = &redirected.vendors[0];
    assert_eq!(vendor.base_url, url);
    assert!(matches!(vendor.credential, Credential::None));
    assert!(matches!(vendor.credentials["own"], Credential::Passthrough));
    assert!(Arc::ptr_eq(vendor, &redirected.routes[0].vendor));
    let kept = config().with_vendor_urls(&|_| None);
    assert!(kept.vendors[0].base_url.https);
    assert!(Arc::ptr_eq(&kept.vendors[0], &kept.routes[0].vendor));
}

#[test]
fn some_changes_need_a_restart() {
    let base = "[server]\nworkers = 2\n";
    let old = config(&format!("{base}{REST}"));
    let more = "[[listener]]\naddress = \"127.0.0.1:1\"\n";
    for (text, keys) in [
        (format!("{base}{REST}"), &[][..]),
        (format!("{base}drain_timeout = \"1s\"\n{REST}"), &[]),
        (format!("{base}{}", REST.replace("erp.example", "crm.example")), &[]),
        (REST.to_owned(), &["server.workers"]),
        (format!("{base}handover = \"x\"\n{REST}"), &["server.handover"]),
        (format!("{base}[admin]\naddress = \"127.0.0.1:1\"\n{REST}"), &["admin.address"]),
        (format!("{base}{more}{REST}"), &["listener.address"]),
    ] {
        assert_eq!(needs_restart(&old, &config(&text)), keys, "{text}");
    }
}

#[test]
fn files_and_secrets_differ_under_one_text() {
    let text = "[admin]\ntoken.file = \"admin\"\n\
                [[listener]]\naddress = \"127.0.0.1:0\"\n\
                tls = { certificates = \"certs\", client_ca = \"ca\", \
                client_auth = \"optional\" }\n\
                [[issuer]]\nname = \"i\"\nissuer = \"https://i.test\"\naudiences = [\"x\"]\n\
                hmac_secret.file = \"shared\"\n\
                [vendors.v]\nbase_url = \"https://v.example.com\"\ntls.ca = \"vendor-ca\"\n\
                profile = \"own.toml\"\n\
                credential = { kind = \"bearer\", token.file = \"token\" }\n\
                credentials.second = { kind = \"bearer\", token.file = \"second\" }\n\
                [[route]]\nname = \"r\"\npath = \"/v\"\nvendor = \"v\"\n";
    let certificates: Vec<_> = (0..2).map(|_| pair(&["localhost"], -1, 300)).collect();
    let client = "client = \"c\"\n[[identity]]\nissuer = \"i\"\nclient_id = \"c\"\n[[allow]]\n\
                  route = \"r\"\nmethods = [\"GET\"]\npaths = [\"/a\"]\nscopes = []\n";
    let files = |at: usize| {
        let (chain, key) = &certificates[at];
        let (ca, secret) = (chain.clone(), ["0", "1"][at].repeat(64));
        [
            ("certs/default.pem", chain.clone()),
            ("certs/default.key", key.clone()),
            ("ca", ca.clone()),
            ("vendor-ca", ca),
            ("admin", secret.clone()),
            ("shared", secret.clone()),
            ("token", secret.clone()),
            ("second", secret),
            ("own.toml", format!("request_id_headers = [\"x-{at}\"]\n")),
            ("policies/c.toml", format!("{client}# {at}\n")),
        ]
    };
    let (before, after) = (files(0), files(1));
    let read = |changed: &[&str]| {
        let both = before.iter().zip(&after);
        let sources = both.fold(Memory::default(), |sources, (old, new)| {
            let (name, text) = if changed.contains(&old.0) { new } else { old };
            sources.with(name, text.as_bytes())
        });
        let loaded = loaded(text, sources, Mode::Run);
        assert!(loaded.problems.is_empty(), "{}", loaded.human());
        loaded.config.expect("a configuration")
    };
    let old = read(&[]);
    assert!(!files_differ(&old, &read(&[])));
    for changed in [
        &["certs/default.pem", "certs/default.key"][..],
        &["ca"],
        &["vendor-ca"],
        &["admin"],
        &["shared"],
        &["token"],
        &["second"],
        &["own.toml"],
        &["policies/c.toml"],
    ] {
        assert!(files_differ(&old, &read(changed)), "{changed:?}");
    }
}
