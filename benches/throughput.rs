//! What it costs to hold to limits: processor time and allocations of a request that nothing holds
//! up, memory and time of a hundred thousand that wait, and the lane that reads bodies first.
//!
//! `make bench`, or `cargo bench --bench throughput -- uncontended|waiting|leaving|vendor-lane` for
//! a part of it. All figures are printed, none is asserted: only a bench that can't be run fails.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

#[path = "stream_lane/credential.rs"]
mod credential;
#[path = "throughput/crowd.rs"]
mod crowd;
#[path = "throughput/lanes.rs"]
mod lanes;
#[path = "stream_lane/load.rs"]
#[allow(dead_code)]
mod load;
#[path = "stream_lane/processes.rs"]
#[allow(dead_code)]
mod processes;
#[path = "throughput/queue.rs"]
mod queue;
#[path = "stream_lane/spread.rs"]
#[allow(dead_code)]
mod spread;
#[path = "../tests/gateway/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;
#[path = "throughput/uncontended.rs"]
mod uncontended;

use rustix::time::{ClockId, clock_gettime};
use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--child", what, waiting] => queue::child(what, waiting.parse()?),
        arguments if arguments.contains(&"--bench") => {
            let parts: Vec<_> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
            let all = ["uncontended", "waiting", "leaving", "vendor-lane"];
            for part in all.iter().filter(|part| parts.is_empty() || parts.contains(part)) {
                match *part {
                    "uncontended" => uncontended::run(),
                    "waiting" => queue::waiting(),
                    "leaving" => queue::leaving(),
                    _ => lanes::run()?,
                }
            }
        }
        // `cargo test --all-targets` runs benches too.
        _ => println!("nothing measured: run `make bench`"),
    }
    Ok(())
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
