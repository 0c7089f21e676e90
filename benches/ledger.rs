//! What the ledger costs: claims, claims with answers, and looks, in an empty one and in one that
//! retains many keys, with and without encryption.
//!
//! `make bench`, or `cargo bench --bench ledger -- plain|sealed` for a part of it.
//! `ERPGATE_BENCH_LEDGER_KEYS`: how many keys are retained (a million). Filling takes long:
//! `ERPGATE_BENCH_LEDGER_FOLDER` names a folder where filled ledgers stay for the next time.
//! Many claims at a time share the few pages of a small index, and none of a large one: theirs is
//! the worst ratio. All figures are printed, none is asserted: only a bench that can't be run fails.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

#[path = "ledger/callers.rs"]
mod callers;
#[path = "stream_lane/spread.rs"]
#[allow(dead_code)]
mod spread;
#[path = "ledger/store.rs"]
mod store;

use callers::{Cost, Work};
use spread::{Spread, print_target};
use std::path::{Path, PathBuf};
use std::time::Instant;
use store::Store;

/// Rounds that count, and rounds that nobody counts.
const ROUNDS: usize = 5;
const WARM_UPS: usize = 1;
/// How many do the same thing at a time.
const CALLERS: [usize; 3] = [1, 64, 256];
/// The most that a claim may cost among the retained keys, as a share of an empty ledger's.
const RATIO_MAX: f64 = 2.0;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        // `cargo test --all-targets` runs benches too.
        println!("nothing measured: run `make bench`");
        return;
    }
    let parts: Vec<_> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
    let keys = std::env::var("ERPGATE_BENCH_LEDGER_KEYS").ok();
    let keys: u64 = keys.map_or(1_000_000, |keys| keys.parse().expect("a number of keys"));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let stays = std::env::var_os("ERPGATE_BENCH_LEDGER_FOLDER").map(PathBuf::from);
    let retained = stays.as_deref().unwrap_or(folder.path());
    for part in ["plain", "sealed"] {
        if parts.is_empty() || parts.iter().any(|it| *it == part) {
            run(part == "sealed", keys, retained, folder.path());
        }
    }
}

fn run(sealed: bool, keys: u64, retained: &Path, scratch: &Path) {
    let name = if sealed { "sealed" } else { "plain" };
    println!("\nLedger, {name}: empty, and with {keys} keys retained\n");
    let path = retained.join(format!("{name}-{keys}.db"));
    let begun = Instant::now();
    Store::fill(&path, sealed, keys);
    println!("  filled in {:.1} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let full = Store::open(&path, sealed);
    let (opened, millions) = (begun.elapsed().as_secs_f64(), keys as f64 / 1e6);
    let bytes = std::fs::metadata(&path).expect("a file").len() as f64;
    println!("  opened in {opened:.2} s, {:.2} s per million keys", opened / millions);
    println!("  {:.0} bytes a key\n", bytes / keys as f64);

    println!("  {:<30}{:^18}{:^18}{:^16}", "", "empty", "retained", "ratio");
    let units = ["CPU µs", "wall µs", "CPU µs", "wall µs", "CPU", "wall"];
    let [a, b, c, d, e, f] = units;
    println!("  {:<30}{a:>9}{b:>9}{c:>9}{d:>9}{e:>8}{f:>8}{:>10}", "", "each/s");
    let (mut alone, mut worst) = ([0.0f64; 2], [0.0f64; 2]);
    for work in Work::ALL {
        for callers in CALLERS {
            let ratios = compare(&full, sealed, scratch, work, callers);
            if (work, callers) == (Work::Claim, 1) {
                alone = ratios;
            }
            if work == Work::Claim {
                worst = [worst[0].max(ratios[0]), worst[1].max(ratios[1])];
            }
        }
    }
    println!();
    for (who, [cpu, wall]) in [("one at a time", alone), ("the worst", worst)] {
        print_target(&format!("CPU of a claim, retained / empty, {who}"), cpu, RATIO_MAX, 2);
        print_target(&format!("time of a claim, retained / empty, {who}"), wall, RATIO_MAX, 2);
    }
}

/// The same work by turns in an empty ledger and in the full one; returns the ratios.
fn compare(full: &Store, sealed: bool, scratch: &Path, work: Work, callers: usize) -> [f64; 2] {
    let mut costs: [Spread; 4] = Default::default();
    let mut ratios: [Spread; 2] = Default::default();
    for round in 0..WARM_UPS + ROUNDS {
        let folder = tempfile::tempdir_in(scratch).expect("a folder");
        let empty = Store::open(&folder.path().join("ledger.db"), sealed);
        let (one, other) = (work.cost(&empty, callers), work.cost(full, callers));
        if round >= WARM_UPS {
            let Cost { cpu_us, wall_us } = one;
            let figures = [cpu_us, wall_us, other.cpu_us, other.wall_us];
            costs.iter_mut().zip(figures).for_each(|(spread, figure)| spread.add(figure));
            ratios[0].add(other.cpu_us / cpu_us);
            ratios[1].add(other.wall_us / wall_us);
        }
    }
    let [a, b, c, d] = costs.map(|spread| spread.median());
    let [e, f] = ratios.map(|spread| spread.median());
    let name = format!("{}, {callers} at a time", work.name());
    println!("  {name:<30}{a:>9.1}{b:>9.1}{c:>9.1}{d:>9.1}{e:>8.2}{f:>8.2}{:>10.0}", 1e6 / d);
    [e, f]
}
