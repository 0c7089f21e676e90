//! What erpgate costs on top of pingora: processor time for each request, memory for idle
//! connections and for large bodies, beside a bare pingora proxy in the same run.
//!
//! `make bench`, or `cargo bench --bench stream_lane -- cpu|idle|streams` for a part of it. All
//! figures are printed, none is asserted: only a bench that can't be run fails.

#[path = "stream_lane/credential.rs"]
mod credential;
#[path = "stream_lane/load.rs"]
mod load;
#[path = "stream_lane/processes.rs"]
mod processes;
#[path = "stream_lane/spread.rs"]
mod spread;

use load::CONNECTIONS;
use processes::{Cpu, Process, Programs, Subject};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spread::{Spread, print_head, print_target};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Requests over each connection in one round: two seconds of processor time and more, so that
/// the kernel's hundredths of a second are far below one percent.
const EACH: u32 = 1250;
/// Rounds that nobody counts: allocators, pools and caches fill.
const WARM_UPS: usize = 2;
/// Rounds of each that count.
const ROUNDS: usize = 15;
/// Rounds of the memory figures, each with fresh processes.
const MEMORY_ROUNDS: usize = 3;
/// Idle connections, if the limit of open files lets them be.
const IDLE: u64 = 10_000;
/// File descriptors for everything else.
const OTHER_FILES: u64 = 500;
/// A large body.
const LARGE: u64 = 1 << 30;
/// How long memory may settle before it is read.
const SETTLE: Duration = Duration::from_secs(1);
/// How often memory is read where the kernel keeps no peak.
const SAMPLE: Duration = Duration::from_millis(10);
/// How long the proxies are watched without requests.
const REST: Duration = Duration::from_secs(2);
const MIB: f64 = 1_048_576.0;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        // `cargo test --all-targets` runs benches too.
        println!("nothing measured: run `make bench`");
        return Ok(());
    }
    if !cfg!(target_os = "linux") {
        println!("nothing measured: processor time and memory are read from Linux's /proc");
        return Ok(());
    }
    let parts: Vec<&String> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| *wanted == part);
    let files = raise_files_limit()?;
    let programs = Programs::find()?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    println!("\n{} cores and workers, Linux {}\n", programs.workers, kernel.trim());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let vendor = programs.vendor()?;
        if wanted("cpu") {
            show_log(&programs, vendor.address).await?;
            cpu(&programs, vendor.address).await?;
        }
        if wanted("idle") {
            idle(&programs, vendor.address, files).await?;
        }
        if wanted("streams") {
            streams(&programs, vendor.address).await?;
        }
        Ok(())
    })
}

/// As many open files as the system lets us have; our processes inherit the limit.
fn raise_files_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Makes sure that the access log is on: one line for each request.
async fn show_log(programs: &Programs, vendor: SocketAddr) -> Outcome<()> {
    let (gateway, path) = programs.erpgate_with_log(vendor)?;
    load::open(gateway.address, CONNECTIONS).await?;
    tokio::time::sleep(SETTLE).await;
    let log = std::fs::read_to_string(path)?;
    let lines: Vec<&str> = log.lines().filter(|it| it.contains(r#""event":"request""#)).collect();
    if lines.len() != CONNECTIONS {
        return Err(format!("{CONNECTIONS} requests left {} log lines", lines.len()).into());
    }
    let bytes = lines.first().map_or(0, |line| line.len());
    println!("access log of erpgate: on, one line of about {bytes} bytes for each request\n");
    Ok(())
}

/// A proxy under load.
struct Loaded {
    process: Process,
    connections: Vec<TcpStream>,
    request: Arc<[u8]>,
}

impl Loaded {
    async fn start(programs: &Programs, subject: Subject, vendor: SocketAddr) -> Outcome<Loaded> {
        let process = programs.proxy(subject, vendor)?;
        let connections = load::open(process.address, CONNECTIONS).await?;
        let request = load::ordinary(process.address);
        Ok(Loaded { process, connections, request })
    }

    /// Processor time for each request of one round, in microseconds.
    async fn round(&mut self) -> Outcome<Cpu> {
        let before = self.process.cpu()?;
        let connections = std::mem::take(&mut self.connections);
        self.connections = load::round(connections, &self.request, EACH).await?;
        let took = self.process.cpu()? - before;
        let millions = f64::from(EACH) * self.connections.len() as f64 / 1e6;
        Ok(Cpu { user: took.user / millions, system: took.system / millions })
    }

    /// Milliseconds of processor time in a second without any request.
    async fn rest(&self) -> Outcome<f64> {
        let before = self.process.cpu()?;
        tokio::time::sleep(REST).await;
        let took = self.process.cpu()? - before;
        Ok(took.total() * 1000.0 / REST.as_secs_f64())
    }
}

/// Figures of one subject, over all rounds.
#[derive(Default)]
struct Took {
    total: Spread,
    user: Spread,
    system: Spread,
}

impl Took {
    fn add(&mut self, cpu: Cpu) {
        self.total.add(cpu.total());
        self.user.add(cpu.user);
        self.system.add(cpu.system);
    }

    fn print(&self, name: &str) {
        self.total.print(name, 2);
        self.user.print("  in the program", 2);
        self.system.print("  in the kernel", 2);
    }
}

/// Processor time for each request, in alternating rounds.
async fn cpu(programs: &Programs, vendor: SocketAddr) -> Outcome<()> {
    let requests = EACH as usize * CONNECTIONS;
    println!("Stream lane: GET, 10 request fields, 1 KiB of JSON back, {CONNECTIONS} connections");
    println!("{ROUNDS} rounds of {requests} requests each, alternating\n");
    let mut bare = Loaded::start(programs, Subject::Bare, vendor).await?;
    let mut erpgate = Loaded::start(programs, Subject::Erpgate, vendor).await?;
    for _ in 0..WARM_UPS {
        bare.round().await?;
        erpgate.round().await?;
    }
    let (mut bare_took, mut erpgate_took) = (Took::default(), Took::default());
    let mut ratios = Spread::default();
    for round in 0..ROUNDS {
        // Each is first in every other pair: what drifts hits both alike.
        let (of_bare, of_erpgate) = if round % 2 == 0 {
            let of_bare = bare.round().await?;
            (of_bare, erpgate.round().await?)
        } else {
            let of_erpgate = erpgate.round().await?;
            (bare.round().await?, of_erpgate)
        };
        bare_took.add(of_bare);
        erpgate_took.add(of_erpgate);
        ratios.add(of_erpgate.total() / of_bare.total());
    }
    print_head("CPU µs for each request");
    bare_took.print("bare pingora");
    erpgate_took.print("erpgate, access log on");
    ratios.print("erpgate / bare, pair by pair", 3);
    print_target("median of the ratios", ratios.median(), 1.10, 2);
    let (of_bare, of_erpgate) = (bare.rest().await?, erpgate.rest().await?);
    println!("  without requests: bare {of_bare:.0}, erpgate {of_erpgate:.0} ms of CPU a second\n");
    Ok(())
}

/// Resident memory while many connections are idle.
async fn idle(programs: &Programs, vendor: SocketAddr, files: u64) -> Outcome<()> {
    let count = usize::try_from(IDLE.min(files.saturating_sub(OTHER_FILES)))?;
    println!("{count} idle keep-alive connections, each after one request");
    if (count as u64) < IDLE {
        println!("(not {IDLE}: the limit of open files is {files})");
    }
    println!();
    let (mut bare, mut erpgate, mut ratios) = <(Spread, Spread, Spread)>::default();
    let mut starts = [Spread::default(), Spread::default()];
    for _ in 0..MEMORY_ROUNDS {
        let [bare_start, erpgate_start] = &mut starts;
        let of_bare = hold(programs, Subject::Bare, vendor, count, bare_start).await?;
        let of_erpgate = hold(programs, Subject::Erpgate, vendor, count, erpgate_start).await?;
        bare.add(of_bare);
        erpgate.add(of_erpgate);
        ratios.add(of_erpgate / of_bare);
    }
    let [bare_start, erpgate_start] = starts;
    print_head("resident MiB");
    bare_start.print("bare pingora, before", 1);
    bare.print("bare pingora, holding them", 1);
    erpgate_start.print("erpgate, before", 1);
    erpgate.print("erpgate, holding them", 1);
    ratios.print("erpgate / bare, pair by pair", 3);
    print_target("median of the ratios", ratios.median(), 1.25, 2);
    Ok(())
}

/// MiB of a fresh proxy that holds so many idle connections.
async fn hold(
    programs: &Programs,
    subject: Subject,
    vendor: SocketAddr,
    count: usize,
    start: &mut Spread,
) -> Outcome<f64> {
    let process = programs.proxy(subject, vendor)?;
    tokio::time::sleep(SETTLE).await;
    start.add(process.resident()? as f64 / MIB);
    let connections = load::open(process.address, count).await?;
    tokio::time::sleep(SETTLE).await;
    let resident = process.resident()? as f64 / MIB;
    let open = connections.iter().filter(|stream| load::is_open(stream)).count();
    if open != count {
        return Err(format!("{subject:?} holds {open} of {count} connections").into());
    }
    Ok(resident)
}

/// Resident growth while a large body passes, each way.
async fn streams(programs: &Programs, vendor: SocketAddr) -> Outcome<()> {
    println!("One body of {} MiB, {MEMORY_ROUNDS} rounds with fresh processes\n", LARGE >> 20);
    let ways = [
        ("bare pingora, download", Subject::Bare, Way::Down),
        ("erpgate, download", Subject::Erpgate, Way::Down),
        ("bare pingora, upload", Subject::Bare, Way::Up),
        ("erpgate, upload", Subject::Erpgate, Way::Up),
    ];
    let mut growths: Vec<Spread> = ways.iter().map(|_| Spread::default()).collect();
    let mut times: Vec<Spread> = ways.iter().map(|_| Spread::default()).collect();
    for _ in 0..MEMORY_ROUNDS {
        for ((way, growth), time) in ways.iter().zip(&mut growths).zip(&mut times) {
            let (grown, took) = pass(programs, way.1, vendor, way.2).await?;
            growth.add(grown);
            time.add(took);
        }
    }
    print_head("resident growth, MiB");
    ways.iter().zip(&growths).for_each(|((name, _, _), growth)| growth.print(name, 1));
    print_head("CPU seconds");
    ways.iter().zip(&times).for_each(|((name, _, _), time)| time.print(name, 2));
    let of_erpgate = ways.iter().zip(&growths).filter(|(way, _)| way.1 == Subject::Erpgate);
    let worst = of_erpgate.map(|(_, growth)| growth.largest()).fold(0.0, f64::max);
    print_target("largest growth of erpgate, MiB,", worst, 32.0, 1);
    Ok(())
}

#[derive(Clone, Copy)]
enum Way {
    Down,
    Up,
}

/// Lets a large body pass through a fresh proxy. Returns MiB grown and CPU seconds.
async fn pass(
    programs: &Programs,
    subject: Subject,
    vendor: SocketAddr,
    way: Way,
) -> Outcome<(f64, f64)> {
    let process = programs.proxy(subject, vendor)?;
    let mut connections = load::open(process.address, 1).await?;
    let stream = connections.first_mut().ok_or("no connection")?;
    tokio::time::sleep(SETTLE).await;
    let (before, cpu_before) = (process.resident()?, process.cpu()?);
    let has_peak = process.forget_peak().is_ok();
    let (head, body, expected) = match way {
        Way::Down => (load::download(process.address, LARGE), 0, LARGE),
        Way::Up => {
            let answer = format!(r#"{{"received":{LARGE}}}"#);
            (load::upload(process.address, LARGE), LARGE, answer.len() as u64)
        }
    };
    let mut most = before;
    let mut samples = tokio::time::interval(SAMPLE);
    let mut passing = std::pin::pin!(load::stream(stream, &head, body));
    let answered = loop {
        tokio::select! {
            answered = &mut passing => break answered?,
            _ = samples.tick() => most = most.max(process.resident()?),
        }
    };
    if answered != expected {
        return Err(format!("{subject:?} answered {answered} bytes, not {expected}").into());
    }
    if has_peak {
        most = most.max(process.peak()?);
    }
    let grown = most.saturating_sub(before) as f64 / MIB;
    Ok((grown, (process.cpu()? - cpu_before).total()))
}
