//! Whole files in, findings at exact places out.
//!
//! A `◆` in a case's text stands before the place that a finding has to name.

mod certificates;
mod findings;
mod issuers;
mod matchers;
mod outcomes;
mod policies;
mod pools;
mod protection;
mod reconcile;
mod robustness;
mod secrets;
mod values;

use super::{Loaded, Mode, load};
use crate::config::problem::Severity;
use crate::config::sources::Memory;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a file needs at least; it goes after a case's own text.
const REST: &str = r#"
[[listener]]
address = "127.0.0.1:0"
[vendors.erp]
base_url = "https://erp.example.com"
[[route]]
name = "rest"
path = "/rest"
vendor = "erp"
"#;

/// 2027-01-15.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn loaded(text: &str, sources: Memory, mode: Mode) -> Loaded {
    let sources = sources.with("gateway.toml", text.as_bytes());
    let mut loaded = load(Path::new("gateway.toml"), &sources, mode, now());
    // Most cases are about something else.
    loaded.problems.retain(|problem| problem.code != "no-policies");
    loaded
}

/// Loads a text that nothing may be wrong with.
fn config(text: &str) -> crate::config::Config {
    let loaded = loaded(text, Memory::default(), Mode::Run);
    assert!(loaded.problems.is_empty(), "{}", loaded.human());
    loaded.config.expect("a configuration")
}

/// Asserts that exactly these codes are found, each at its marker, in the order of the file.
fn assert_findings(marked: &str, codes: &[&str], sources: Memory, mode: Mode) {
    let places = marked.split('◆').scan(String::new(), |before, piece| {
        before.push_str(piece);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Some((line, column))
    });
    let places: Vec<(usize, usize)> = places.take(marked.matches('◆').count()).collect();
    let loaded = loaded(&marked.replace('◆', ""), sources, mode);
    let found: Vec<(&str, (usize, usize))> =
        loaded.problems.iter().map(|p| (p.code, (p.line, p.column))).collect();
    let expected: Vec<_> = codes.iter().copied().zip(places).collect();
    assert_eq!(found, expected, "\n{marked}\n{}", loaded.human());
    assert_eq!(expected.len(), codes.len(), "a marker for each code: {marked}");
    let refused = loaded.problems.iter().any(|p| p.severity == Severity::Problem);
    assert_eq!(loaded.config.is_none(), refused);
    for problem in &loaded.problems {
        assert!(!problem.message.is_empty() && !problem.help.is_empty(), "{problem:?}");
    }
}
