//! What protected writes cost through the whole gateway: fresh ones on the disk there is and on a
//! slower one, and those that are told what the first one was told.
//!
//! `make bench`, or `cargo bench --bench once -- fresh|slow|replay|duplicates` for a part of it.
//! The control is the same gateway in the same run: the same requests to the same vendor by a
//! route with `idempotency = "off"`. All figures are printed, none is asserted: only a bench that
//! can't be run fails.

#[path = "stream_lane/credential.rs"]
mod credential;
#[path = "stream_lane/processes.rs"]
#[allow(dead_code)]
mod processes;
#[path = "stream_lane/spread.rs"]
#[allow(dead_code)]
mod spread;
#[path = "once/writes.rs"]
mod writes;

use processes::{Process, Programs};
use spread::{Spread, print_head, print_target};
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use writes::{Keys, Request, Told};

/// Connections that are busy at a time.
const CONNECTIONS: usize = 256;
/// Writes over each of them in one round.
const EACH: u32 = 40;
const REQUESTS: usize = CONNECTIONS * EACH as usize;
const WARM_UPS: usize = 1;
const ROUNDS: usize = 7;
/// Of the throughput of the control, at the least.
const SHARE_MIN: f64 = 0.4;
/// Writes a second with commits that take 5 ms longer, at the least.
const SLOW_MIN: f64 = 2000.0;
/// Processor time of a replay beyond that of a refused request, at the most.
const REPLAY_US_MAX: f64 = 5.0;

/// Beside the route `/erp`, which takes keys: the same, where they mean nothing.
const CONTROL: &str = r#"
[[route]]
name = "bulk"
path = "/bulk"
vendor = "erp"
idempotency = "off"

[ledger]
path = "data/ledger.db"
"#;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        // `cargo test --all-targets` runs benches too.
        println!("nothing measured: run `make bench`");
        return Ok(());
    }
    if !cfg!(target_os = "linux") {
        println!("nothing measured: processor time is read from Linux's /proc");
        return Ok(());
    }
    let parts: Vec<&String> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| *wanted == part);
    let mut programs = Programs::find()?;
    println!("\n{} cores and workers, {CONNECTIONS} connections, access log on", programs.workers);
    println!("{ROUNDS} rounds of {REQUESTS} writes of 0.5 KiB each, alternating\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let vendor = programs.vendor()?;
        if wanted("fresh") {
            println!("Fresh keys, on the disk there is\n");
            let [_, ratio] = fresh(&mut Load::start(&programs, &vendor).await?).await?;
            println!("  {}\n", at_least("share of the control's throughput", ratio, SHARE_MIN));
        }
        if wanted("slow") {
            println!("Fresh keys, each sync of the disk 5 ms longer\n");
            programs.preload = Some(slow_disk(programs.folder())?);
            let [each_second, _] = fresh(&mut Load::start(&programs, &vendor).await?).await?;
            programs.preload = None;
            println!("  {}\n", at_least("writes a second", each_second, SLOW_MIN));
        }
        if wanted("replay") {
            replays(&programs, &vendor).await?;
        }
        if wanted("duplicates") {
            duplicates(&mut Load::start(&programs, &vendor).await?).await?;
        }
        Ok(())
    })
}

fn at_least(what: &str, figure: f64, limit: f64) -> String {
    let verdict = if figure >= limit { "met" } else { "missed" };
    format!("target {what} >= {limit}: {verdict} ({figure:.2})")
}

/// Makes what is preloaded to slow the disk down.
fn slow_disk(folder: &Path) -> Outcome<std::path::PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/programs/slow_disk.c");
    let made = folder.join("slow_disk.so");
    let compiler = std::env::var_os("CC").unwrap_or("cc".into());
    let options = ["-O1", "-shared", "-fPIC", "-o"];
    let status = Command::new(compiler).args(options).args([&made, &source]).status()?;
    if status.success() { Ok(made) } else { Err("the slow disk can't be compiled".into()) }
}

/// A gateway, and connections to it.
struct Load {
    gateway: Process,
    connections: Vec<TcpStream>,
    next: u64,
}

/// What a round took.
struct Took {
    told: Told,
    cpu_us: f64,
    each_second: f64,
}

impl Load {
    async fn start(programs: &Programs, vendor: &Process) -> Outcome<Load> {
        let gateway = programs.erpgate_with(vendor.address, CONTROL, Stdio::null())?;
        let connections = writes::open(gateway.address, CONNECTIONS).await?;
        // No key of an earlier run.
        let next = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
        Ok(Load { gateway, connections, next: u64::try_from(next)? })
    }

    fn request(&self, route: &str, quantity: u32) -> Arc<Request> {
        let address: SocketAddr = self.gateway.address;
        Request::new(address, route, quantity)
    }

    /// As many keys as a round needs.
    fn keys(&mut self) -> u64 {
        self.next += REQUESTS as u64;
        self.next
    }

    async fn round(&mut self, request: &Arc<Request>, keys: Keys) -> Outcome<Took> {
        let (cpu, begun) = (self.gateway.cpu()?, Instant::now());
        let told = writes::round(&mut self.connections, request, keys, EACH).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let cpu = (self.gateway.cpu()? - cpu).total();
        let each_second = REQUESTS as f64 / seconds;
        Ok(Took { told, cpu_us: cpu * 1e6 / REQUESTS as f64, each_second })
    }
}

/// Fails if the answers are not what is to be measured.
fn insist(told: Told, expected: Told) -> Outcome<()> {
    if told == expected { Ok(()) } else { Err(format!("told {told:?}, not {expected:?}").into()) }
}

/// Fresh writes beside the control. Returns the median of writes a second and of the ratios.
async fn fresh(load: &mut Load) -> Outcome<[f64; 2]> {
    let (protected, control) = (load.request("erp", 1), load.request("bulk", 1));
    let expected = Told { fresh: REQUESTS, ..Told::default() };
    let (mut rate, mut rate_of_control, mut ratios) = <(Spread, Spread, Spread)>::default();
    let (mut cpu, mut cpu_of_control, mut cpu_ratios) = <(Spread, Spread, Spread)>::default();
    for round in 0..WARM_UPS + ROUNDS {
        let (one, other) = (Keys::Each(load.keys()), Keys::Each(load.keys()));
        // Each is first in every other pair: what drifts hits both alike.
        let (it, beside) = if round % 2 == 0 {
            let it = load.round(&protected, one).await?;
            (it, load.round(&control, other).await?)
        } else {
            let beside = load.round(&control, other).await?;
            (load.round(&protected, one).await?, beside)
        };
        insist(it.told, expected)?;
        insist(beside.told, expected)?;
        if round >= WARM_UPS {
            rate.add(it.each_second);
            rate_of_control.add(beside.each_second);
            ratios.add(it.each_second / beside.each_second);
            cpu.add(it.cpu_us);
            cpu_of_control.add(beside.cpu_us);
            cpu_ratios.add(it.cpu_us / beside.cpu_us);
        }
    }
    print_head("writes a second");
    rate.print("protected", 0);
    rate_of_control.print("control: idempotency off", 0);
    ratios.print("protected / control, by pairs", 3);
    print_head("CPU µs for each write");
    cpu.print("protected", 1);
    cpu_of_control.print("control: idempotency off", 1);
    cpu_ratios.print("protected / control, by pairs", 3);
    Ok([rate.median(), ratios.median()])
}

/// Replays from the disk and from memory beside refused requests.
async fn replays(programs: &Programs, vendor: &Process) -> Outcome<()> {
    println!("Replays; the control is refused with 422, its key is another request's\n");
    let mut load = Load::start(programs, vendor).await?;
    let write = load.request("erp", 1);
    let fresh = Told { fresh: REQUESTS, ..Told::default() };
    let mut stored = Vec::new();
    for _ in 0..=ROUNDS {
        let first = load.keys();
        insist(load.round(&write, Keys::Each(first)).await?.told, fresh)?;
        stored.push(first);
    }
    drop(load);
    // Another process on the same ledger has nothing of it in memory.
    let mut load = Load::start(programs, vendor).await?;
    let (write, other) = (load.request("erp", 1), load.request("erp", 2));
    let replayed = Told { replayed: REQUESTS, ..Told::default() };
    let reused = Told { reused: REQUESTS, ..Told::default() };
    let mut stored = stored.into_iter().map(Keys::Each);
    // Few enough that all of them stay in memory.
    let kept = stored.next().ok_or("nothing is stored")?;
    insist(load.round(&write, kept).await?.told, replayed)?;
    let (mut disk, mut memory, mut refused, mut over) =
        <(Spread, Spread, Spread, Spread)>::default();
    for round in 0..WARM_UPS + ROUNDS {
        let (again, other) = if round % 2 == 0 {
            let again = load.round(&write, kept).await?;
            (again, load.round(&other, kept).await?)
        } else {
            let other = load.round(&other, kept).await?;
            (load.round(&write, kept).await?, other)
        };
        insist(again.told, replayed)?;
        insist(other.told, reused)?;
        if round >= WARM_UPS {
            memory.add(again.cpu_us);
            refused.add(other.cpu_us);
            over.add(again.cpu_us - other.cpu_us);
        }
    }
    for keys in stored {
        let took = load.round(&write, keys).await?;
        insist(took.told, replayed)?;
        disk.add(took.cpu_us);
    }
    print_head("CPU µs for each request");
    disk.print("replay from the disk", 1);
    memory.print("replay from memory", 1);
    refused.print("control: refused, 422", 1);
    over.print("memory - control, pair by pair", 1);
    print_target("µs beyond a refused request", over.median(), REPLAY_US_MAX, 1);
    Ok(())
}

/// All connections come with one key at a time.
async fn duplicates(load: &mut Load) -> Outcome<()> {
    println!("Duplicates: {CONNECTIONS} connections come with one key at a time\n");
    let write = load.request("erp", 1);
    let (mut cpu, mut rate, mut told) = (Spread::default(), Spread::default(), Told::default());
    for round in 0..WARM_UPS + ROUNDS {
        let first = load.keys();
        let took = load.round(&write, Keys::Shared(first)).await?;
        if took.told.fresh != EACH as usize {
            return Err(format!("not once for each key: {:?}", took.told).into());
        }
        if round >= WARM_UPS {
            cpu.add(took.cpu_us);
            rate.add(took.each_second);
            told = took.told;
        }
    }
    print_head("for each request");
    cpu.print("CPU µs", 1);
    rate.print("requests a second", 0);
    println!("  the last round: {told:?}\n");
    Ok(())
}
