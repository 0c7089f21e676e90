//! One request's way through the limits of its client and rule, the vendor's pool and its circuit,
//! where none of them holds it up.

use crate::spread::{Spread, print_head, print_target};
use crate::support::under_test::{HEAD, to_vendor};
use crate::support::{Folder, UnderTest};
use crate::{cpu_ns, ready};
use erpgate::attempts::{self, Next};
use erpgate::cli::question::Question;
use erpgate::exchange::{Exchange, Repeat};
use erpgate::model::limits::Priority;
use erpgate::stages::admission::{Ended, Ticket};
use erpgate::stages::circuit::Verdict;
use erpgate::state::State;
use erpgate::vendors::Desk;
use http::HeaderMap;
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Requests of one round, rounds that count, and rounds that nobody counts.
const EACH: u32 = 100_000;
const ROUNDS: usize = 15;
const WARM_UPS: usize = 2;
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(3600);

/// Every kind of limit, each so wide that nobody waits. The circuit's window is full after a
/// second, and needs no more room from then on.
const POOL: &str = "concurrency = 64\nrates = [\"100000000/second\"]\n\
                    circuit = { window = \"1s\" }";
const POLICY: &str = r#"
client = "bench"
[limits]
rate = [{ rate = "100000000/second", burst = 1000000 }]
daily = 1000000000
concurrency = 1000
[[identity]]
api_key_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
[[allow]]
route = "r"
methods = ["GET"]
paths = ["/records/**"]
scopes = []
rate = "100000000/second"
burst = 1000000
"#;

/// What is measured, with what it stands on.
struct Bench {
    state: Arc<State>,
    desk: Arc<Desk>,
    ticket: Ticket,
    headers: HeaderMap,
    exchange: Exchange,
    semaphore: Semaphore,
    mutex: Mutex<u32>,
}

/// A part of the way, and what of it is done once.
type Part = (&'static str, fn(&mut Bench));

const PARTS: [Part; 6] = [
    ("the whole way", Bench::way),
    ("  limits of client and rule", Bench::limits),
    ("  slot of the pool", Bench::slot),
    ("  permit of the circuit", Bench::permit),
    ("one look at the clock", Bench::clock),
    ("control: Semaphore and Mutex", Bench::control),
];

/// Prints processor time and allocations of one request.
pub fn run() {
    println!("\nUncontended: limits, pool and circuit of one request that nothing holds up\n");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let vendor = "127.0.0.1:1".parse().expect("an address");
    let folder = Folder::without_policies(&format!("{HEAD}{}", to_vendor(vendor, POOL, "")));
    folder.write("policies/bench.toml", POLICY);
    let gateway = runtime.block_on(UnderTest::start_in(folder));
    // Entered, not run: nothing yields to others.
    let _inside = runtime.enter();
    measure(&mut Bench::of(&gateway));
}

fn measure(bench: &mut Bench) {
    let mut took = PARTS.map(|_| Spread::default());
    let mut ratios = Spread::default();
    for round in 0..WARM_UPS + ROUNDS {
        let times = PARTS.map(|(_, part)| {
            bench.exchange.began = Instant::now();
            let begun = cpu_ns();
            (0..EACH).for_each(|_| part(black_box(bench)));
            (cpu_ns() - begun) / f64::from(EACH)
        });
        if round >= WARM_UPS {
            took.iter_mut().zip(times).for_each(|(spread, time)| spread.add(time));
            ratios.add(times[0] / times[PARTS.len() - 1]);
        }
    }
    print_head("CPU ns for each request");
    PARTS.iter().zip(&took).for_each(|((name, _), spread)| spread.print(name, 0));
    ratios.print("the whole way / control", 1);
    print_target("ns", took[0].median(), 1000.0, 0);
    let future = size_of_val(&attempts::admit(&bench.state, &mut bench.exchange));
    println!("  bytes of the future of `attempts::admit`: {future}");
    for (name, part) in PARTS {
        let allocated = allocation_counter::measure(|| (0..EACH).for_each(|_| part(bench)));
        println!("  {:<32}{:>10} allocations in {EACH}", name.trim(), allocated.count_total);
        if name == PARTS[0].0 {
            print_target("allocations", allocated.count_total as f64, 0.0, 0);
        }
    }
}

impl Bench {
    fn of(gateway: &UnderTest) -> Bench {
        let state = gateway.serving.gateway.state.clone();
        let question = Question {
            method: "GET".to_owned(),
            target: "/v/records/kind19/7".to_owned(),
            client: "bench".to_owned(),
            scopes: Vec::new(),
        };
        let answer = question.ask(&state.snapshot.load_full()).expect("a listener");
        assert!(answer.refusal.is_none(), "{:?}", answer.refusal);
        let exchange = answer.exchange;
        let desk = exchange.desk().expect("a desk");
        let mut headers = HeaderMap::new();
        for (name, value) in [("content-type", "application/json"), ("content-length", "1024")] {
            headers.insert(name, value.parse().expect("a value"));
        }
        let ticket =
            Ticket { client: "bench".into(), share: 1, priority: Priority::Normal, writes: false };
        let (semaphore, mutex) = (Semaphore::new(64), Mutex::new(0));
        Bench { state, desk, ticket, headers, exchange, semaphore, mutex }
    }

    /// As the gateway goes it: counted, admitted, judged by a good answer, everything given back.
    fn way(&mut self) {
        let Bench { state, exchange, headers, .. } = self;
        exchange.repeat = Repeat::default();
        exchange.count(&state.clock).expect("within the limits");
        let mut held = ready(attempts::admit(state, exchange)).expect("admitted");
        let next = held.answered(exchange, 200, headers, None, true);
        assert_eq!(next, Next::Tell);
        drop(held);
        exchange.give_back();
    }

    fn limits(&mut self) {
        self.exchange.count(&self.state.clock).expect("within the limits");
        self.exchange.give_back();
    }

    fn slot(&mut self) {
        let deadline = self.exchange.began + LONG;
        let slot = ready(self.desk.pool.slot(&self.ticket, false, deadline));
        slot.expect("free").ended = Ended::Success;
    }

    fn permit(&mut self) {
        let permit = self.desk.circuit.permit(true).expect("closed");
        permit.judge(Verdict::Success);
    }

    fn clock(&mut self) {
        black_box(Instant::now());
    }

    fn control(&mut self) {
        let permit = ready(self.semaphore.acquire()).expect("open");
        *self.mutex.lock().expect("no panic") += 1;
        drop(permit);
    }
}
