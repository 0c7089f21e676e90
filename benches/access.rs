//! What it costs to know who asks and whether it may: processor time, allocations and instructions
//! of a request, and what policies by the thousand take.
//!
//! `make bench`, or `cargo bench --bench access -- warm|first|scale|load|edit` for a part of it.
//! All figures are printed, none is asserted: only a bench that can't be run fails.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

#[path = "access/corpus.rs"]
mod corpus;
#[path = "access/parts.rs"]
mod parts;
#[path = "stream_lane/spread.rs"]
#[allow(dead_code)]
mod spread;
#[path = "../tests/gateway/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--child", part, clients] => parts::child(part, clients.parse().expect("a number")),
        arguments if arguments.contains(&"--bench") => {
            let parts: Vec<_> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
            let all = ["warm", "first", "scale", "load", "edit"];
            for part in all.iter().filter(|part| parts.is_empty() || parts.contains(part)) {
                parts::run(part);
            }
        }
        // `cargo test --all-targets` runs benches too.
        _ => println!("nothing measured: run `make bench`"),
    }
}
