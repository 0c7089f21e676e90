//! Many requests that wait in one pool: what they take, and what it costs to come, to have one's
//! turn and to leave.

use crate::cpu_ns;
use crate::crowd::{Crowd, Waits};
use crate::spread::{Spread, print_head, print_target};
use erpgate::adapters::metrics::Metrics;
use erpgate::config::Pool;
use erpgate::model::limits::Priority;
use erpgate::pools::{Gauges, SharedPool};
use erpgate::stages::admission::{Policy, Ticket};
use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

/// Requests that wait: few, and many.
const FEW: usize = 1_000;
const MANY: usize = 100_000;
/// Clients that they come from.
const CLIENTS: usize = 1_000;
/// Requests of one round, and rounds that count.
const BATCH: usize = 100;
const ROUNDS: usize = 300;
const WARM_UPS: usize = 20;
/// Requests whose instructions are counted.
const COUNTED: usize = 500;
/// Rounds of those who leave, all at a time.
const LEAVINGS: usize = 5;
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(3600);

/// What is waited for.
struct Hall {
    pool: Arc<SharedPool>,
    tickets: Vec<Ticket>,
    semaphore: Semaphore,
    deadline: Instant,
}

impl Hall {
    /// With one slot. Has to be made inside the runtime.
    fn new() -> Hall {
        let metrics = Metrics::new().expect("metrics").pools;
        let labels = ["p"];
        let gauges = Gauges {
            limit: metrics.limit.with_label_values(&labels),
            in_use: metrics.in_use.with_label_values(&labels),
            depth: metrics.depth.with_label_values(&labels),
            wait: metrics.wait.with_label_values(&labels),
            paused: metrics.paused.with_label_values(&labels),
        };
        let policy = Policy {
            concurrency: Some(NonZeroU32::MIN),
            rates: Vec::new(),
            waiting_max: 2 * MANY,
            wait_max: LONG,
            adaptive: None,
            reserve_high: 0.0,
        };
        let now = Instant::now();
        let ticket = |number: usize| Ticket {
            client: format!("client-{number:05}").into(),
            share: 1,
            priority: Priority::Normal,
            writes: number.is_multiple_of(2),
        };
        Hall {
            pool: SharedPool::new(&Pool { name: "p".into(), policy }, gauges, now),
            tickets: (0..CLIENTS).map(ticket).collect(),
            semaphore: Semaphore::new(1),
            deadline: now + LONG,
        }
    }

    /// Who waits for the pool's slot.
    fn slots(&self, room: usize) -> Crowd<'_, impl Sized> {
        Crowd::new(room, |place| {
            let ticket = &self.tickets[place % CLIENTS];
            let future: Waits<'_, _> = Box::pin(self.pool.slot(ticket, false, self.deadline));
            future
        })
    }

    /// The control: who waits for a semaphore, with a timeout too, in the order of coming.
    fn permits(&self, room: usize) -> Crowd<'_, impl Sized> {
        Crowd::new(room, |_| {
            let acquire = self.semaphore.acquire();
            let future: Waits<'_, _> =
                Box::pin(tokio::time::timeout_at(self.deadline.into(), acquire));
            future
        })
    }

    /// Bytes of the future of a slot, and of the control's.
    fn future_bytes(&self) -> (usize, usize) {
        let slot = self.pool.slot(&self.tickets[0], false, self.deadline);
        let acquire = self.semaphore.acquire();
        let permit = tokio::time::timeout_at(self.deadline.into(), acquire);
        (size_of_val(&slot), size_of_val(&permit))
    }
}

/// One thread. It is entered, not run: so nothing happens beside the measured calls, and nothing
/// yields to others.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Prints memory, and processor time of coming and of having one's turn.
pub fn waiting() {
    println!("\nWaiting: {MANY} requests of {CLIENTS} clients in one pool with one slot\n");
    let runtime = runtime();
    let _inside = runtime.enter();
    let (of_slots, of_permits) = (Hall::new(), Hall::new());
    let (slot, permit) = of_slots.future_bytes();
    let mut slots = of_slots.slots(MANY + BATCH);
    let mut permits = of_permits.permits(MANY + BATCH);
    println!("  {:<32}{:>10}{:>10}", "bytes for each that waits", "future", "beyond it");
    let beyond = fill(&mut slots, MANY);
    println!("  {:<32}{slot:>10}{beyond:>10.0}", "slot of the pool");
    let of_control = fill(&mut permits, MANY);
    println!("  {:<32}{permit:>10}{of_control:>10.0}", "control: Semaphore and timeout");
    print_target("bytes, future included,", beyond + slot as f64, 1024.0, 0);
    let of_few = (Hall::new(), Hall::new());
    let mut few_slots = of_few.0.slots(FEW + BATCH);
    let mut few_permits = of_few.1.permits(FEW + BATCH);
    fill(&mut few_slots, FEW);
    fill(&mut few_permits, FEW);
    let mut took: [Took; 4] = Default::default();
    for _ in 0..WARM_UPS + ROUNDS {
        took[0].round(&mut few_slots);
        took[1].round(&mut slots);
        took[2].round(&mut few_permits);
        took[3].round(&mut permits);
    }
    print_took("CPU ns to come and wait", took.each_ref().map(|took| &took.join));
    print_took("CPU ns to give back and go next", took.each_ref().map(|took| &took.turn));
    instructions();
}

/// Lets so many come. Returns bytes of heap for each of them, without its future.
fn fill<T>(crowd: &mut Crowd<'_, T>, count: usize) -> f64 {
    crowd.prepare(count);
    let allocated = allocation_counter::measure(|| crowd.join());
    allocated.bytes_current as f64 / count as f64
}

/// Nanoseconds for each request.
#[derive(Default)]
struct Took {
    rounds: usize,
    join: Spread,
    turn: Spread,
}

impl Took {
    /// Some come, and as many have their turns: as many wait as before.
    fn round<T>(&mut self, crowd: &mut Crowd<'_, T>) {
        crowd.prepare(BATCH);
        let begun = cpu_ns();
        crowd.join();
        let between = cpu_ns();
        crowd.turns(BATCH);
        let ended = cpu_ns();
        crowd.clear();
        self.rounds += 1;
        if self.rounds > WARM_UPS {
            self.join.add((between - begun) / BATCH as f64);
            self.turn.add((ended - between) / BATCH as f64);
        }
    }
}

fn print_took(title: &str, [few_slots, slots, few_permits, permits]: [&Spread; 4]) {
    print_head(title);
    few_slots.print(&format!("slot, {FEW} wait"), 0);
    slots.print(&format!("slot, {MANY} wait"), 0);
    few_permits.print(&format!("control, {FEW} wait"), 0);
    permits.print(&format!("control, {MANY} wait"), 0);
    let of_slots = slots.median() / few_slots.median();
    let of_control = permits.median() / few_permits.median();
    println!("  many / few: slot {of_slots:.2}, control {of_control:.2}\n");
}

/// Instructions of coming and of having one's turn, where few and where many wait.
fn instructions() {
    let count = |what: &str, waiting: usize| -> Option<f64> {
        let me = std::env::current_exe().expect("this program");
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--collect-atstart=no"]);
        command.args(["--callgrind-out-file=/dev/null", "--toggle-collect=*counted_requests*"]);
        command.arg("--").arg(me).args(["--child", what, &waiting.to_string()]);
        let output = match command.output() {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            output => output.expect("valgrind runs"),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        let count = said.lines().find_map(|line| line.split_once("Collected : ")?.1.parse().ok());
        let count: f64 = count.unwrap_or_else(|| panic!("valgrind counts: {said}"));
        Some(count / COUNTED as f64)
    };
    println!("  {:<32}{:>10}{:>10}{:>10}", "instructions", FEW, MANY, "ratio");
    for (what, name) in [("join", "to come and wait"), ("turns", "to give back and go next")] {
        let (Some(few), Some(many)) = (count(what, FEW), count(what, MANY)) else {
            println!("  NOT MEASURED: they are counted by valgrind, which is not installed");
            return;
        };
        println!("  {name:<32}{few:>10.0}{many:>10.0}{:>10.2}", many / few);
    }
    let logarithms = (MANY as f64).log2() / (FEW as f64).log2();
    println!("  the logarithms' ratio is {logarithms:.2}\n");
}

/// Runs what is counted, alone in its process.
pub fn child(what: &str, waiting: usize) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let hall = Hall::new();
    let mut slots = hall.slots(waiting + COUNTED);
    fill(&mut slots, waiting);
    if what == "join" {
        slots.prepare(COUNTED);
        counted_requests(|| slots.join());
    } else {
        counted_requests(|| slots.turns(COUNTED));
    }
}

#[inline(never)]
fn counted_requests(run: impl FnOnce()) {
    run();
}

/// Prints processor time and memory of those who leave, all of them.
pub fn leaving() {
    println!("\nLeaving: {MANY} waiting requests hang up, in another order than they came\n");
    let runtime = runtime();
    let _inside = runtime.enter();
    let (mut of_slots, mut of_permits) = (Spread::default(), Spread::default());
    let (mut slots, mut permits) = (Left::default(), Left::default());
    for _ in 0..LEAVINGS {
        let hall = Hall::new();
        slots = leave(&mut hall.slots(MANY));
        permits = leave(&mut hall.permits(MANY));
        of_slots.add(slots.ns);
        of_permits.add(permits.ns);
    }
    print_head("CPU ns for each that leaves");
    of_slots.print("slot of the pool", 0);
    of_permits.print("control: Semaphore and timeout", 0);
    println!("  {:<32}{:>14}{:>14}", "bytes of all of them", "waiting", "after");
    println!("  {:<32}{:>14}{:>14}", "slot of the pool", slots.taken, slots.kept);
    println!("  {:<32}{:>14}{:>14}\n", "control", permits.taken, permits.kept);
}

#[derive(Default)]
struct Left {
    ns: f64,
    taken: i64,
    /// Of them, once all have left.
    kept: i64,
}

fn leave<T>(crowd: &mut Crowd<'_, T>) -> Left {
    let came = allocation_counter::measure(|| {
        crowd.prepare(MANY);
        crowd.join();
    });
    let mut ns = 0.0;
    let left = allocation_counter::measure(|| {
        let begun = cpu_ns();
        crowd.leave();
        ns = (cpu_ns() - begun) / MANY as f64;
    });
    let (taken, kept) = (came.bytes_current, came.bytes_current + left.bytes_current);
    Left { ns, taken, kept }
}
