//! The law of `policy diff`: what it shows is exactly what has changed, and of `explain`: what it
//! says is what the rules decide.

use super::regions::{Region, Side, gained};
use crate::cli::question::Question;
use crate::config::Config;
use crate::config::resolve::load_with_policies;
use crate::config::sources::Memory;
use crate::identity::Issuers;
use crate::model::path::PathPattern;
use crate::stages::authorization::coverage::Paths;
use crate::state::Snapshot;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_assert, prop_oneof, proptest};
use proptest::{collection, option};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

const GATEWAY: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\n[vendors.v]\nbase_url = \
    \"https://v.test\"\n[[route]]\nname = \"r\"\npath = \"/r\"\nvendor = \"v\"\n";

/// `[[allow]]` or `[[deny]]`.
#[derive(Clone, Debug)]
struct Rule {
    deny: bool,
    methods: Vec<&'static str>,
    paths: Vec<String>,
    query: Option<&'static str>,
    scopes: Vec<&'static str>,
}

fn rule() -> impl Strategy<Value = Rule> {
    let methods = prop_oneof![Just(vec!["GET"]), Just(vec!["POST"]), Just(vec!["GET", "POST"])];
    let paths = collection::vec("(/(a|b|A|\\*|a\\*|\\*\\*)){1,3}", 1..3);
    let scopes = prop_oneof![Just(vec![]), Just(vec!["x"]), Just(vec!["y"]), Just(vec!["x", "y"])];
    let query = option::of(prop_oneof![Just("1"), Just("2")]);
    let deny = prop_oneof![3 => Just(false), 1 => Just(true)];
    (deny, methods, paths, query, scopes).prop_map(|(deny, methods, paths, query, scopes)| Rule {
        deny,
        methods,
        paths,
        query,
        scopes,
    })
}

fn written(rules: &[Rule]) -> String {
    let mut text = "client = \"c\"\n".to_owned();
    for rule in rules {
        // An empty list is no way to say "any".
        let scopes = match rule.scopes.as_slice() {
            [] => String::new(),
            scopes => format!("scopes = {scopes:?}\n"),
        };
        let table = if rule.deny { "deny" } else { "allow" };
        let query = rule.query.map_or(String::new(), |q| format!("query = {{ q = \"{q}\" }}\n"));
        text.push_str(&format!(
            "[[{table}]]\nroute = \"r\"\nmethods = {:?}\npaths = {:?}\n{scopes}{query}",
            rule.methods, rule.paths
        ));
    }
    text
}

fn config(rules: &[Rule]) -> Config {
    let sources = Memory::default().with("gateway.toml", GATEWAY).with("p/c.toml", written(rules));
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let loaded = load_with_policies(Path::new("gateway.toml"), &sources, now, Path::new("p"));
    let problems = loaded.human();
    loaded.config.unwrap_or_else(|| panic!("{problems}"))
}

fn side(config: &Config) -> Side<'_> {
    let rules = &config.policies.rules;
    Side { own: rules.clients.first().map(|client| &client.rules), common: &rules.common }
}

/// A request of client `c`, after the route's prefix.
#[derive(Clone, Debug)]
struct Request {
    method: &'static str,
    path: String,
    query: Option<String>,
    scopes: Vec<&'static str>,
}

fn request() -> impl Strategy<Value = Request> {
    let method = prop_oneof![Just("GET"), Just("POST"), Just("PUT")];
    let query = option::of(prop_oneof![
        Just("q=1".to_owned()),
        Just("q=2".to_owned()),
        Just("q=1&q=2".to_owned()),
        Just("z=1".to_owned()),
    ]);
    let scopes = prop_oneof![Just(vec![]), Just(vec!["x"]), Just(vec!["y"]), Just(vec!["x", "y"])];
    (method, "(/(a|b|A|ab|%61|c)){1,3}/?", query, scopes)
        .prop_map(|(method, path, query, scopes)| Request { method, path, query, scopes })
}

fn is_allowed(snapshot: &Arc<Snapshot>, request: &Request) -> bool {
    let query = request.query.as_ref().map_or(String::new(), |query| format!("?{query}"));
    let question = Question {
        method: request.method.to_owned(),
        target: format!("/r{}{query}", request.path),
        client: "c".to_owned(),
        scopes: request.scopes.iter().map(|scope| (*scope).to_owned()).collect(),
    };
    question.ask(snapshot).expect("a listener").refusal.is_none()
}

/// Whether a region, as it is printed, holds the request. Exceptions do not say whether they were
/// allowed before or are denied now: they are looked at in both forms. `told` are the values that
/// rules ask for.
fn holds(region: &Region, request: &Request, told: &[&str], exact_exceptions: bool) -> bool {
    let pattern = |text: &str| PathPattern::parse(text).expect("printed patterns are patterns");
    let exact = |text: &str| Paths::exact([&pattern(text)]).matches(&request.path);
    let folded = |text: &str| Paths::folded([&pattern(text)]).matches(&request.path);
    let excepted = |text: &String| if exact_exceptions { exact(text) } else { folded(text) };
    exact(&region.path)
        && region.methods.contains(&request.method)
        && region.query.iter().all(|word| is_asked(word, request, told))
        && (region.only.is_empty() || region.only.iter().any(|text| folded(text)))
        && !region.except.iter().any(excepted)
}

/// `q=1`, `q repeated` or `q other`, which is all that no rule asks for.
fn is_asked(word: &str, request: &Request, told: &[&str]) -> bool {
    let query = request.query.as_deref().unwrap_or_default();
    let values: Vec<&str> = query.split('&').filter_map(|pair| pair.strip_prefix("q=")).collect();
    match (word, values.as_slice()) {
        ("q repeated", values) => values.len() > 1,
        ("q other", []) => true,
        ("q other", [value]) => !told.contains(value),
        (word, [value]) => word == format!("q={value}"),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever the new policy allows and the old one did not is in a region, and whatever is in
    /// one is so, for whoever has just the scopes that the region names.
    #[test]
    fn a_difference_is_exact(
        old in collection::vec(rule(), 0..5),
        new in collection::vec(rule(), 0..5),
        requests in collection::vec(request(), 30),
    ) {
        let told: Vec<&str> = old.iter().chain(&new).filter_map(|rule| rule.query).collect();
        let (old, new) = (config(&old), config(&new));
        let regions = gained(side(&old), side(&new), &new.routes).expect("few parameters");
        let snapshot = |config| {
            Arc::new(Snapshot::new(config, Issuers::default(), None).expect("compiles"))
        };
        let (old, new) = (snapshot(old), snapshot(new));
        for request in requests {
            let is_gained = is_allowed(&new, &request) && !is_allowed(&old, &request);
            let within = |region: &&Region| {
                let mut scopes = region.scopes.split_whitespace();
                scopes.all(|scope| request.scopes.contains(&scope))
            };
            if is_gained {
                // Exceptions are looked at both ways: as what was allowed, as what is denied.
                let is_in = regions.iter().filter(within).any(|region| {
                    holds(region, &request, &told, true) || holds(region, &request, &told, false)
                });
                prop_assert!(is_in, "{request:?} is in none of {regions:#?}");
            }
            let same = |region: &&Region| region.scopes == request.scopes.join(" ");
            for region in regions.iter().filter(same) {
                let surely =
                    [true, false].iter().all(|way| holds(region, &request, &told, *way));
                prop_assert!(!surely || is_gained, "{request:?} is not of {region:#?}");
            }
        }
    }
}
