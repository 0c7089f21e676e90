//! What `erpgate explain` says of a request is what the gateway does with it.

use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Folder, Reply, UnderTest, Vendor};
use erpgate::cli::question::Question;
use erpgate::model::digest::Sha256;
use erpgate::refusal::Refusal;
use erpgate::stages::authentication::api_key;
use erpgate::state::Snapshot;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinSet;

const RULES: &str = r#"
[[allow]]
route = "r"
methods = ["GET", "POST"]
paths = ["/a/*", "/b/**", "/eid:*"]
scopes = ["s1"]
[[allow]]
route = "r"
methods = ["*"]
paths = ["/**"]
scopes = ["s1", "s2"]
query = { script = "1" }
[[allow]]
route = "open"
methods = ["*"]
paths = ["/**"]
scopes = []
[[deny]]
methods = ["POST"]
paths = ["/b/b/**"]
[[deny]]
paths = ["/**/a/a"]
query = { script = "2" }
[[deny]]
route = "open"
paths = ["/c/**", "/d/e"]
"#;
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const WORDS: [&str; 12] =
    ["a", "b", "A", "%61", "eid:7", "eid%3A7", "", "c;x", "d%2Fe", ".", "%2e%2e", "x y"];
const QUERIES: [&str; 7] =
    ["", "?script=1", "?script=2", "?script=1&script=1", "?%73cript=1", "?Script=2", "?x"];

/// A key of the client `c`, and what it is good for.
type Key = (String, Vec<String>);

/// A key for each set of scopes.
fn keys() -> Vec<Key> {
    let scopes = |set: u8| match set {
        0 => vec![],
        1 => vec!["s1".to_owned()],
        2 => vec!["s2".to_owned()],
        _ => vec!["s1".to_owned(), "s2".to_owned()],
    };
    (0..4).map(|set| (api_key::make([100 + set; 32]), scopes(set))).collect()
}

async fn start(vendor: &Vendor, keys: &[Key]) -> UnderTest {
    let route = "methods = [\"GET\", \"HEAD\", \"POST\", \"PUT\", \"DELETE\"]";
    let open = "[[route]]\nname = \"open\"\npath = \"/open\"\nvendor = \"v\"\n\
                allow_in_path = [\";\", \"%2F\"]\n";
    let folder = Folder::with(&format!("{HEAD}{}{open}", to_vendor(vendor.address, "", route)));
    let identity = |(key, scopes): &Key| {
        let digest = Sha256::of(key.as_bytes());
        format!("[[identity]]\napi_key_sha256 = \"{digest}\"\nscopes = {scopes:?}\n")
    };
    let identities: String = keys.iter().map(identity).collect();
    folder.write("policies/c.toml", &format!("client = \"c\"\n{identities}{RULES}"));
    folder.write("policies/_all.toml", "[[deny]]\npaths = [\"/**/eid:7/b\"]\nreason = \"no\"\n");
    UnderTest::start_in(folder).await
}

struct Asked {
    key: usize,
    method: &'static str,
    target: String,
}

/// Ten thousand requests: the same in every run.
fn requests() -> Vec<Asked> {
    // A linear congruential generator (Knuth's MMIX).
    let mut seed = 7u64;
    let mut draw = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).expect("31 bits") % below
    };
    let one = |_| {
        let prefix = ["/r", "/v", "/v", "/v", "/open"][draw(5)];
        let path: String = (0..draw(4)).map(|_| format!("/{}", WORDS[draw(12)])).collect();
        let target = format!("{prefix}{path}{}", QUERIES[draw(7)]);
        Asked { key: draw(4), method: METHODS[draw(7)], target }
    };
    (0..10_000).map(one).collect()
}

/// Asks both, and compares; gives the slug.
async fn compare(
    gateway: &UnderTest,
    snapshot: &Arc<Snapshot>,
    key: &Key,
    asked: &Asked,
) -> String {
    let Asked { method, target, .. } = asked;
    let mut raw = gateway.connect().await.bare();
    let fields = format!("Host: localhost\r\nX-API-Key: {}\r\n", key.0);
    raw.send(format!("{method} {target} HTTP/1.1\r\n{fields}\r\n")).await;
    let answer = match *method {
        "HEAD" => raw.head_answer().await,
        _ => raw.answer().await,
    };
    // No request line: the parser below refuses it before anybody is asked.
    if target.contains(' ') {
        assert_eq!(answer.status, 400, "{method} {target}");
        return "request-malformed".to_owned();
    }
    let question = Question {
        method: (*method).to_owned(),
        target: target.clone(),
        client: "c".to_owned(),
        scopes: key.1.clone(),
    };
    let said = question.ask(snapshot).expect("a listener").refusal;
    let expected = said.as_ref().map_or(200, Refusal::status);
    assert_eq!(answer.status, expected, "{method} {target} {:?}: {said:?}", key.1);
    let slug = said.as_ref().map_or("allowed", Refusal::slug);
    if answer.status != 200 && *method != "HEAD" {
        assert_eq!(answer.slug(), slug, "{method} {target} {:?}", key.1);
    }
    slug.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_what_the_gateway_does() {
    let vendor = Vendor::answering(|_| Reply::ok("fine")).await;
    let keys = Arc::new(keys());
    let gateway = Arc::new(start(&vendor, &keys).await);
    let snapshot = gateway.serving.gateway.state.snapshot.load_full();
    let requests = Arc::new(requests());
    let mut clients = JoinSet::new();
    for client in 0..20 {
        let (gateway, snapshot) = (gateway.clone(), snapshot.clone());
        let (requests, keys) = (requests.clone(), keys.clone());
        clients.spawn(async move {
            let mut slugs = BTreeSet::new();
            for asked in requests.iter().skip(client).step_by(20) {
                slugs.insert(compare(&gateway, &snapshot, &keys[asked.key], asked).await);
            }
            slugs
        });
    }
    let mut slugs = BTreeSet::new();
    while let Some(client) = clients.join_next().await {
        slugs.extend(client.expect("explained"));
    }
    let all = [
        "allowed",
        "method-not-allowed",
        "not-permitted",
        "path-ambiguous",
        "request-malformed",
        "route-not-found",
        "scope-missing",
    ];
    assert_eq!(slugs.into_iter().collect::<Vec<_>>(), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_knows_every_octet() {
    let vendor = Vendor::answering(|_| Reply::ok("fine")).await;
    let keys = keys();
    let gateway = start(&vendor, &keys).await;
    let snapshot = gateway.serving.gateway.state.snapshot.load_full();
    let octets = (0x21u8..0x7f).map(char::from);
    let mut targets: Vec<String> = octets
        .flat_map(|c| [format!("/v/a{c}b"), format!("/v/a?b{c}c"), format!("/v{c}/a")])
        .collect();
    targets.extend(
        [
            "/v/caf\u{e9}",
            "/v/a?caf\u{e9}",
            "/v?",
            "/v",
            "/v/",
            "/v?/../x",
            "//v/a",
            "/v//",
            "/v/a?x=http://h/y",
            "x://localhost/v/a",
            "http://localhost",
            "http://localhost?x",
            "/v/%",
            "/v/a?%zz",
            "/v/a?%",
        ]
        .map(str::to_owned),
    );
    for target in targets {
        compare(&gateway, &snapshot, &keys[3], &Asked { key: 3, method: "GET", target }).await;
    }
}
