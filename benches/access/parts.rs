//! The parts of the bench. Where a process has to be measured as a whole, this program starts
//! itself with `--child`.

use crate::corpus::{self, RULES, SCOPE, TARGET};
use crate::spread::{Spread, print_head, print_target};
use crate::support::issuer::Issuer;
use crate::support::process::Process;
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Answer, Folder, Raw, UnderTest, Vendor, within};
use erpgate::access;
use erpgate::cli::question::Question;
use erpgate::exchange::Exchange;
use erpgate::state::{ReloadOutcome, State};
use http::{HeaderMap, HeaderName, header};
use jsonwebtoken::{DecodingKey, Validation};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::future::Future;
use std::hint::black_box;
use std::io::ErrorKind;
use std::pin::pin;
use std::process::Command;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Requests of one round, rounds that count, and rounds that nobody counts.
const EACH: u32 = 100_000;
const ROUNDS: usize = 15;
const WARM_UPS: usize = 2;
/// Tokens that are seen for the first time.
const FIRST: usize = 2000;
/// Clients: few, and many.
const FEW: usize = 10;
const MANY: usize = 10_000;
/// Requests whose instructions are counted.
const COUNTED: u32 = 2000;
const MIB: f64 = 1_048_576.0;

/// Runs one part.
pub fn run(part: &str) {
    match part {
        "warm" => runtime().block_on(warm()),
        "first" => runtime().block_on(first()),
        "scale" => scale(),
        "load" => load(),
        _ => runtime().block_on(edit()),
    }
}

/// Runs a part of a part, alone in its process.
pub fn child(part: &str, clients: usize) {
    match part {
        "instructions" => instructions(clients),
        _ => runtime().block_on(loaded(clients)),
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("one")
}

/// Processor time of this thread, in nanoseconds.
fn cpu_ns() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// Something that never waits.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

fn config(issuer: &str, vendor: std::net::SocketAddr) -> String {
    format!("{HEAD}{issuer}{}", to_vendor(vendor, "", ""))
}

/// A request as it stands before authentication.
fn exchange(state: &State, client: &str) -> Exchange {
    let question = Question {
        method: "GET".to_owned(),
        target: TARGET.to_owned(),
        client: client.to_owned(),
        scopes: vec![SCOPE.to_owned()],
    };
    question.ask(&state.snapshot.load_full()).expect("a listener").exchange
}

fn fields(name: HeaderName, value: &str) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in [("user-agent", "integration/2.7"), ("accept", "application/json")] {
        fields.insert(name, value.parse().expect("a value"));
    }
    fields.insert(name, value.parse().expect("a value"));
    fields
}

/// Authentication, authorization, and the second look before the request leaves.
async fn pass(state: &State, exchange: &mut Exchange, headers: &HeaderMap) {
    let client = access::authenticate(state, exchange, headers).await.expect("known");
    access::authorize(exchange, client).expect("permitted");
    access::again(state, exchange).expect("permitted still");
}

/// Processor time and allocations of requests whose credential was verified before.
async fn warm() {
    println!("\nWarm: one request through authentication and authorization, {RULES} rules\n");
    let (issuer, vendor) = (Issuer::start().await, Vendor::fine().await);
    let folder = Folder::with(&config(&issuer.trusted(""), vendor.address));
    corpus::write(folder.path(), FEW).expect("written");
    let gateway = UnderTest::start_in(folder).await;
    let state = gateway.serving.gateway.state.clone();
    let client = corpus::name(FEW / 2);
    let token = issuer.token(&client, SCOPE, "").await;
    let key = corpus::key(FEW / 2, 3);
    let map: HashMap<String, u64> =
        (0..1000).map(|number| (format!("{token}{number}"), number)).collect();
    let looked_up = format!("{token}7");
    println!("  the token has {} bytes", token.len());
    print_head("CPU ns for each request");
    let mut control = Spread::default();
    for (name, headers) in [
        ("token", fields(header::AUTHORIZATION, &format!("Bearer {token}"))),
        ("API key", fields("x-api-key".parse().expect("a name"), &key)),
    ] {
        let mut exchange = exchange(&state, &client);
        // The first time may fetch keys.
        pass(&state, &mut exchange, &headers).await;
        let mut took = Spread::default();
        for round in 0..WARM_UPS + ROUNDS {
            let begun = cpu_ns();
            for _ in 0..EACH {
                ready(pass(&state, &mut exchange, black_box(&headers)));
            }
            let between = cpu_ns();
            for _ in 0..EACH {
                black_box(map.get(black_box(&looked_up)));
            }
            if round >= WARM_UPS {
                took.add((between - begun) / f64::from(EACH));
                control.add((cpu_ns() - between) / f64::from(EACH));
            }
        }
        took.print(name, 0);
        let allocated = allocation_counter::measure(|| {
            for _ in 0..EACH {
                ready(pass(&state, &mut exchange, &headers));
            }
        });
        println!("    allocations in {EACH} requests: {}", allocated.count_total);
        print_target("ns", took.median(), 1000.0, 0);
    }
    control.print("control: HashMap::get of the token", 0);
}

/// Processor time of RS256 tokens that nobody has seen.
async fn first() {
    println!("\nFirst sight: RS256 with 2048 bits, {FIRST} tokens, each once\n");
    let (issuer, vendor) = (Issuer::signing("rfc9068", &["RS256"]).await, Vendor::fine().await);
    let folder = Folder::with(&config(&issuer.trusted(""), vendor.address));
    corpus::write(folder.path(), FEW).expect("written");
    let gateway = UnderTest::start_in(folder).await;
    let state = gateway.serving.gateway.state.clone();
    let client = corpus::name(0);
    let mut exchange = exchange(&state, &client);
    let mut tokens = Vec::new();
    for _ in 0..FIRST {
        tokens.push(issuer.token(&client, SCOPE, "").await);
    }
    let bearer = |token: &String| fields(header::AUTHORIZATION, &format!("Bearer {token}"));
    // The first one fetches the keys.
    pass(&state, &mut exchange, &bearer(&tokens[0])).await;
    let published = format!("{}/jwks", issuer.url());
    let set: jsonwebtoken::jwk::JwkSet =
        serde_json::from_slice(&get(&published).await.body).expect("a key set");
    let key = DecodingKey::from_jwk(&set.keys[0]).expect("a key");
    let mut validation = Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.set_audience(&["erp-gateway"]);
    let (mut took, mut control) = (Spread::default(), Spread::default());
    for token in &tokens[1..] {
        let headers = bearer(token);
        let begun = cpu_ns();
        ready(pass(&state, &mut exchange, &headers));
        let between = cpu_ns();
        let _: jsonwebtoken::TokenData<serde_json::Value> =
            jsonwebtoken::decode(token, &key, &validation).expect("genuine");
        took.add((between - begun) / 1000.0);
        control.add((cpu_ns() - between) / 1000.0);
    }
    print_head("CPU µs for each token");
    took.print("through the gateway's checks", 1);
    control.print("control: jsonwebtoken::decode", 1);
    println!("  ratio of the medians: {:.2}", took.median() / control.median());
    print_target("µs", took.median(), 40.0, 1);
}

/// The answer at an address of a simulator.
async fn get(url: &str) -> Answer {
    let (authority, path) = url.trim_start_matches("http://").split_once('/').expect("a path");
    let mut raw = Raw::connect(authority.parse().expect("an address")).await.bare();
    raw.send(format!("GET /{path} HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await;
    raw.answer().await
}

/// Instructions of one client's request beside few and many other clients.
fn scale() {
    println!("\nScale: {RULES} rules and {} API keys for each client\n", corpus::KEYS);
    let count = |clients: usize| -> Option<f64> {
        let me = std::env::current_exe().expect("this program");
        let mut command = Command::new("valgrind");
        command.args([
            "--tool=callgrind",
            "--collect-atstart=no",
            "--callgrind-out-file=/dev/null",
        ]);
        command.args(["--toggle-collect=*counted_requests*", "--"]);
        let output =
            command.arg(me).args(["--child", "instructions", &clients.to_string()]).output();
        let output = match output {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            output => output.expect("valgrind runs"),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        let count = said.lines().find_map(|line| line.split_once("Collected : ")?.1.parse().ok());
        let count: f64 = count.unwrap_or_else(|| panic!("valgrind counts: {said}"));
        Some(count / f64::from(COUNTED))
    };
    let (Some(few), Some(many)) = (count(FEW), count(MANY)) else {
        println!("  NOT MEASURED: instructions are counted by valgrind, which is not installed");
        return;
    };
    println!("  instructions for each request with an API key");
    println!("  {FEW:>6} clients: {few:.0}");
    println!("  {MANY:>6} clients: {many:.0}");
    print_target("ratio", many / few, 1.2, 3);
}

fn instructions(clients: usize) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let folder = Folder::with(&config("", "127.0.0.1:1".parse().expect("an address")));
    let config = folder.read("gateway.toml");
    folder.write("gateway.toml", &format!("{config}{}", silent_issuer()));
    corpus::write(folder.path(), clients).expect("written");
    let gateway = runtime.block_on(UnderTest::start_in(folder));
    let state = gateway.serving.gateway.state.clone();
    let mut exchange = exchange(&state, &corpus::name(clients / 2));
    let headers = fields("x-api-key".parse().expect("a name"), &corpus::key(clients / 2, 3));
    ready(pass(&state, &mut exchange, &headers));
    counted_requests(&state, &mut exchange, &headers);
}

/// An issuer that is never asked.
fn silent_issuer() -> &'static str {
    "[[issuer]]\nname = \"corporate\"\nissuer = \"http://127.0.0.1:1\"\n\
     jwks_uri = \"http://127.0.0.1:1/keys\"\naudiences = [\"erp-gateway\"]\n"
}

#[inline(never)]
fn counted_requests(state: &State, exchange: &mut Exchange, headers: &HeaderMap) {
    for _ in 0..COUNTED {
        ready(pass(state, exchange, headers));
    }
}

/// Time that many policies take.
fn load() {
    println!("\nLoad: {MANY} clients, {RULES} rules and {} API keys each\n", corpus::KEYS);
    let me = std::env::current_exe().expect("this program");
    let clients = MANY.to_string();
    let output = Command::new(me).args(["--child", "load", &clients]).output().expect("runs");
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn loaded(clients: usize) {
    let folder = Folder::with(&config(silent_issuer(), "127.0.0.1:1".parse().expect("one")));
    corpus::write(folder.path(), clients).expect("written");
    let begun = Instant::now();
    let gateway = UnderTest::start_in(folder).await;
    let full = begun.elapsed().as_secs_f64() * 1000.0;
    let state = gateway.serving.gateway.state.clone();
    let mut changes = Spread::default();
    for round in 0..ROUNDS {
        let line = format!("description = \"round {round}\"\n");
        corpus::write_one(gateway.folder.path(), clients / 2, &line).expect("written");
        let begun = Instant::now();
        let outcome = state.reload("admin").await;
        changes.add(begun.elapsed().as_secs_f64() * 1000.0);
        assert!(matches!(outcome, ReloadOutcome::Accepted { .. }), "{outcome:?}");
    }
    print_target("ms for the start", full, 3000.0, 0);
    print_head("ms for one changed file");
    changes.print("reload", 0);
    print_target("ms for one changed file", changes.median(), 200.0, 0);
}

/// MiB of a process.
fn memory(process: u32, kind: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(kind)).expect("a line");
    let kib: f64 = line.split_whitespace().next().expect("a number").parse().expect("a number");
    kib * 1024.0 / MIB
}

/// From a file that is saved to the first refusal, in a process of its own.
async fn edit() {
    println!("\nEdit: {MANY} clients, one of them is suspended in its file\n");
    let vendor = Vendor::fine().await;
    let folder = Folder::with(&config(silent_issuer(), vendor.address));
    corpus::write(folder.path(), MANY).expect("written");
    let process = Process::run(&folder, &[]);
    let address = process.address("127.0.0.1:0").await;
    let key = corpus::key(MANY / 2, 3);
    let becomes = async |status: u16| {
        let begun = Instant::now();
        let mut raw = Raw::connect(address).await.bare();
        loop {
            raw.send(format!("GET {TARGET} HTTP/1.1\r\nHost: gw\r\nX-API-Key: {key}\r\n\r\n"))
                .await;
            if raw.answer().await.status == status {
                return begun.elapsed().as_secs_f64() * 1000.0;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within("the start", becomes(200)).await;
    let mut took = Spread::default();
    for _ in 0..5 {
        corpus::write_one(folder.path(), MANY / 2, "suspended = \"leaked\"\n").expect("written");
        took.add(within("the suspension", becomes(403)).await);
        corpus::write_one(folder.path(), MANY / 2, "").expect("written");
        within("the end of it", becomes(200)).await;
    }
    let (now, peak) = (memory(process.id(), "VmRSS:"), memory(process.id(), "VmHWM:"));
    println!("  resident {now:.0} MiB, at most {peak:.0} MiB");
    print_target("MiB resident", now, 300.0, 0);
    print_head("ms from the save to the refusal");
    took.print("a suspended client", 0);
    print_target("ms", took.largest(), 2000.0, 0);
}
