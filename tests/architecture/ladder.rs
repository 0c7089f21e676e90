//! Who may see whom: the ladder of our modules, the order of stages, fences around other crates.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{PathUse, Source};

/// A module sees the rungs before its own, and of its own rung what `sees` says.
struct Rung {
    modules: &'static [&'static str],
    sees: Sees,
}

enum Sees {
    Below,
    BelowAndBeside,
    Only(&'static [&'static str]),
}

/// From the ground up. A new top-level module begins with a line here.
const LADDER: &[Rung] = &[
    Rung { modules: &["model"], sees: Sees::Below },
    Rung { modules: &["refusal"], sees: Sees::Below },
    Rung { modules: &["stages", "profile"], sees: Sees::BelowAndBeside },
    Rung { modules: &["config", "adapters"], sees: Sees::Below },
    Rung {
        modules: &[
            "state",
            "identity",
            "tls",
            "exchange",
            "access",
            "limits",
            "pipeline",
            "settlement",
            "vendors",
            "pools",
            "holds",
            "circuits",
            "attempts",
            "observation",
            "protected",
            "keying",
        ],
        sees: Sees::BelowAndBeside,
    },
    Rung { modules: &["gateway", "admin"], sees: Sees::Below },
    Rung { modules: &["sandbox"], sees: Sees::Only(&["model"]) },
    Rung { modules: &["cli", "main", "lib"], sees: Sees::BelowAndBeside },
];

/// In the order a request meets them; a stage sees the evidence of earlier ones.
const STAGES: &[&str] = &[
    "correlation",
    "routing",
    "authentication",
    "authorization",
    "validation",
    "rate_limit",
    "idempotency",
    "admission",
    "circuit",
    "retry",
    "credentials",
    "forwarding",
    "outcome",
    "record",
];

/// Paths of other crates that are kept out of some places.
struct Fence {
    /// A `*` at the end stands for any rest of the name.
    paths: &'static [&'static str],
    out_of: &'static [&'static str],
    except: &'static [&'static str],
    remedy: &'static str,
}

const PURE: &[&str] = &["model", "refusal", "stages", "profile"];

const FENCES: &[Fence] = &[
    Fence {
        paths: &["pingora*"],
        out_of: &[""],
        except: &["gateway", "adapters/vendor_client*"],
        remedy: "only gateway and adapters/vendor_client know pingora",
    },
    Fence {
        paths: &["pingora", "pingora_proxy", "pingora_cache", "pingora_load_balancing"],
        out_of: &["adapters/vendor_client*"],
        except: &[],
        remedy: "the vendor client stands on pingora_core alone",
    },
    Fence {
        paths: &["std::fs", "tokio::fs"],
        out_of: &["config"],
        except: &["config/sources"],
        remedy: "read through the Sources argument",
    },
    Fence {
        paths: &[
            "std::time::Instant::now",
            "std::time::SystemTime::now",
            "jiff::Timestamp::now",
            "jiff::Zoned::now",
        ],
        out_of: PURE,
        except: &[],
        remedy: "take the time as an argument",
    },
    Fence {
        paths: &["rand", "uuid::Uuid::new_v4", "uuid::Uuid::now_*", "uuid::Timestamp::now"],
        out_of: PURE,
        except: &[],
        remedy: "take the entropy as an argument",
    },
    Fence {
        paths: &["log", "tracing*"],
        out_of: PURE,
        except: &[],
        remedy: "return what is to be said, the shell logs it",
    },
    Fence {
        paths: &[
            "tokio*",
            "std::fs",
            "std::env",
            "std::net::TcpStream",
            "std::net::TcpListener",
            "std::net::UdpSocket",
        ],
        out_of: PURE,
        except: &[],
        remedy: "take the value as an argument, the shell fetches it",
    },
];

/// A module that is on no rung, or uses one that it may not see.
pub fn climbs(source: &Source) -> Vec<String> {
    let from = &source.module()[0];
    let Some((height, sees)) = rung(from) else {
        let what = format!("module `{from}` is not on the ladder");
        return vec![source.violation(1, &what, "give it a line in LADDER (tests/architecture)")];
    };
    let mut violations = Vec::new();
    for found in source.paths.iter().filter(|found| says(found, &["crate", "*"])) {
        let to = &found.segments[1];
        let problem = match rung(to) {
            _ if to == from || to == "*" => continue,
            None => Some(("which is not a module on the ladder", "import it from its module")),
            Some((floor, _)) => match sees {
                Sees::Only(modules) if modules.contains(&to.as_str()) => None,
                Sees::Only(_) => Some(("but stands apart", "it may see only what LADDER names")),
                Sees::BelowAndBeside if floor <= height => None,
                Sees::Below if floor < height => None,
                _ if floor == height => Some(("beside it", "move what both need a rung down")),
                _ => Some(("above it", "move what it needs down, or take it as an argument")),
            },
        };
        if let Some((what, remedy)) = problem {
            let what = format!("`{from}` uses `{}`, {what}", found.segments.join("::"));
            violations.push(source.violation(found.line, &what, remedy));
        }
    }
    violations
}

fn rung(module: &str) -> Option<(usize, &'static Sees)> {
    let height = LADDER.iter().position(|rung| rung.modules.contains(&module))?;
    Some((height, &LADDER[height].sees))
}

/// A stage that uses what a later stage, or no stage of the list, provides.
pub fn looks_ahead(source: &Source) -> Vec<String> {
    let module = source.module();
    let [top, stage, ..] = module.as_slice() else {
        return Vec::new();
    };
    if top != "stages" {
        return Vec::new();
    }
    let Some(own) = position(stage) else {
        let what = format!("stage `{stage}` has no place in the order");
        return vec![source.violation(1, &what, "add it to STAGES (tests/architecture)")];
    };
    let mut violations = Vec::new();
    for found in source.paths.iter().filter(|found| says(found, &["crate", "stages", "*"])) {
        let used = &found.segments[2];
        let (what, remedy) = match position(used) {
            _ if used == "*" => continue,
            Some(other) if other <= own => continue,
            Some(_) => (
                format!("stage `{stage}` uses the later `{used}`"),
                "a stage sees only evidence of earlier ones; what both need belongs to model",
            ),
            None => (
                format!("stage `{stage}` uses `stages::{used}`, which has no place in the order"),
                "import from the stage that owns it, or add a new stage to STAGES",
            ),
        };
        violations.push(source.violation(found.line, &what, remedy));
    }
    violations
}

fn position(stage: &str) -> Option<usize> {
    STAGES.iter().position(|name| *name == stage)
}

/// A path of another crate, in a place that a fence keeps it out of.
pub fn crosses_a_fence(source: &Source) -> Vec<String> {
    let mut violations = Vec::new();
    for fence in FENCES {
        let inside = |places: &[&str]| places.iter().any(|place| source.is_in(place));
        // Tests of a module may make the files that it reads.
        if !inside(fence.out_of) || inside(fence.except) || source.is_test_module() {
            continue;
        }
        let patterns: Vec<Vec<&str>> =
            fence.paths.iter().map(|path| path.split("::").collect()).collect();
        for found in &source.paths {
            // A lone name in an expression is a variable, not a crate.
            let is_path = found.import || found.segments.len() > 1;
            if is_path && patterns.iter().any(|pattern| says(found, pattern)) {
                let what = format!("`{}` is fenced off here", found.segments.join("::"));
                violations.push(source.violation(found.line, &what, fence.remedy));
            }
        }
    }
    violations
}

/// Whether the path begins with the pattern, and the `use` that it rests on did not say so already.
fn says(found: &PathUse, pattern: &[&str]) -> bool {
    let matches = |(segment, wanted): (&String, &&str)| match wanted.strip_suffix('*') {
        Some(beginning) => segment.starts_with(beginning),
        None => segment == wanted,
    };
    found.imported < pattern.len()
        && pattern.len() <= found.segments.len()
        && found.segments.iter().zip(pattern).all(matches)
}

/// Circles of top-level modules that use each other, the shortest one through each first name.
pub fn cycles(sources: &[Source]) -> Vec<String> {
    let uses = uses(sources);
    let modules: BTreeSet<&str> = uses.keys().map(|(from, _)| *from).collect();
    let circle = |start| Some((start, way_back(&uses, start)?));
    modules
        .into_iter()
        .filter_map(circle)
        .map(|(start, way)| describe(&uses, start, &way))
        .collect()
}

/// Which top-level module uses which other, and where first.
type Uses<'a> = BTreeMap<(&'a str, &'a str), (&'a str, usize)>;

fn uses(sources: &[Source]) -> Uses<'_> {
    let mut uses = Uses::new();
    for source in sources {
        let module = source.path.trim_start_matches("src/").split('/').next().unwrap_or_default();
        let from = module.trim_end_matches(".rs");
        if matches!(from, "lib" | "main") {
            continue;
        }
        for found in source.paths.iter().filter(|found| says(found, &["crate", "*"])) {
            if found.segments[1] != from {
                let place = (source.path.as_str(), found.line);
                uses.entry((from, found.segments[1].as_str())).or_insert(place);
            }
        }
    }
    uses
}

/// The shortest way from a module to itself through modules with later names, so that a circle
/// is found once.
fn way_back<'a>(uses: &Uses<'a>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way.last().copied().unwrap_or(start);
            for (_, to) in uses.keys().filter(|(from, _)| *from == last) {
                let further = [way.as_slice(), &[*to]].concat();
                if *to == start {
                    return Some(further);
                }
                if *to > start && seen.insert(*to) {
                    longer.push(further);
                }
            }
        }
        ways = longer;
    }
    None
}

fn describe(uses: &Uses, start: &str, way: &[&str]) -> String {
    let mut places = way.windows(2).map(|step| uses[&(step[0], step[1])]);
    let (path, line) = places.next().unwrap_or((start, 1));
    let others: Vec<String> = places.map(|(path, line)| format!("{path}:{line}")).collect();
    let (circle, others) = (way.join(" -> "), others.join(", "));
    format!("{path}:{line}: cycle {circle} (with {others}); move what they share down the ladder")
}

#[cfg(test)]
mod tests {
    use super::{climbs, crosses_a_fence, cycles, looks_ahead};
    use crate::source::Source;

    /// Runs a rule over files written `path: text`; bad ones add ` => ` and part of the violation.
    fn try_rule(rule: fn(&Source) -> Vec<String>, cases: &[&str]) {
        for case in cases {
            let (file, expected) = case.rsplit_once(" => ").unwrap_or((case, ""));
            let (path, text) = file.split_once(": ").unwrap_or((file, ""));
            let violations = rule(&Source::new(path, text));
            let kept = match violations.as_slice() {
                [] => expected.is_empty(),
                [only] => !expected.is_empty() && only.contains(expected),
                _ => false,
            };
            assert!(kept, "{case}: {violations:#?}");
        }
    }

    #[test]
    fn the_ladder() {
        try_rule(
            climbs,
            &[
                "src/stages/routing.rs: use crate::model::Method;",
                "src/stages/outcome.rs: use crate::profile::Matchers;",
                "src/pipeline.rs: use crate::{exchange::Exchange, state::State};",
                "src/cli/run.rs: use crate::{gateway::start, sandbox};",
                "src/main.rs: fn main() { erpgate::cli::main() }",
                "src/lib.rs: pub mod model; pub use model::Method;",
                "src/sandbox/netsuite.rs: use crate::{model::Method, sandbox::clock};",
                "src/model/time.rs: // crate::gateway\npub(crate) struct T;",
                "src/model/time.rs: \nuse crate::refusal::R; => src/model/time.rs:2: ",
                "src/model/time.rs: fn f() -> crate::state::S {} => above it",
                "src/model.rs: fn f() { println!(\"\", crate::state::s()) } => above it",
                "src/config/raw.rs: use crate::{adapters::Clock, model::X}; => beside it",
                "src/admin/mod.rs: use super::gateway::start; => `crate::gateway::start`",
                "src/gateway/mod.rs: use crate::sandbox; => above it",
                "src/sandbox/oauth.rs: use crate::config::Config; => stands apart",
                "src/state.rs: use crate::Refusal; => not a module on the ladder",
                "src/model/x.rs: use crate as us; fn f() { us::cli::run() } => above it",
                "src/novel.rs:  => `novel` is not on the ladder",
            ],
        );
    }

    #[test]
    fn the_order_of_stages() {
        try_rule(
            looks_ahead,
            &[
                "src/stages/circuit.rs: use crate::stages::admission::Slot;",
                "src/stages/authentication/jwt.rs: use super::{opaque, super::routing};",
                "src/stages/mod.rs: use self::record::Record;",
                "src/pipeline.rs: use crate::stages::record::Record;",
                "src/stages/routing.rs: use super::{circuit::P, correlation}; => later `circuit`",
                "src/stages/routing.rs: use crate::stages; fn f(p: stages::circuit::P) {} => later",
                "src/stages/routing.rs: use crate::stages::Shared; => `stages::Shared`",
                "src/stages/novel.rs:  => stage `novel` has no place",
            ],
        );
    }

    #[test]
    fn the_fences() {
        try_rule(
            crosses_a_fence,
            &[
                "src/gateway/hooks.rs: use pingora_proxy::Session;",
                "src/adapters/vendor_client.rs: use pingora_core::connectors::http::Connector;",
                "src/adapters/vendor_client/pool.rs: use pingora_http::RequestHeader;",
                "src/adapters/vendor_client.rs: use pingora_proxy::Session; => pingora_core alone",
                "src/adapters/jwks.rs: use pingora_core::Result; => only gateway",
                "src/admin/mod.rs: fn f() -> pingora_core::Result<()> {} => only gateway",
                "src/config/sources.rs: use std::fs;",
                "src/config/raw.rs: use std::{fmt, fs::read}; => Sources",
                "src/state.rs: fn f() { std::time::Instant::now(); }",
                "src/stages/circuit.rs: use std::time::{Duration, Instant};",
                "src/profile/a.rs: use std::time::Instant; fn f() { Instant::now() } => time as",
                "src/profile/a.rs: use std::time; fn f() { time::SystemTime::now() } => time as",
                "src/profile/a.rs: use jiff as j; fn f() { j::Zoned::now() } => time as",
                "src/model/names.rs: use uuid::Uuid; fn f() { Uuid::from_u128(7) }",
                "src/model/names.rs: use uuid::Uuid; fn f() { Uuid::now_v7() } => entropy",
                "src/refusal.rs: fn f(log: u8, rand: u8) -> u8 { log + rand + x.tokio }",
                "src/refusal.rs: use tracing::info; fn f() { info!(7); info!(8) } => shell logs",
                "src/refusal.rs: fn f() { log::info!(\"x\") } => shell logs",
                "src/stages/routing.rs: use std::net::{IpAddr, SocketAddr};",
                "src/stages/routing.rs: use std::net::{IpAddr, TcpStream}; => shell fetches",
                "src/refusal.rs: #[cfg(test)]\nmod tests { #[tokio::test] fn f() {} } => .rs:2: ",
            ],
        );
    }

    #[test]
    fn the_cycles() {
        let sources = |files: &[(&str, &str)]| -> Vec<Source> {
            files.iter().map(|(path, text)| Source::new(path, text)).collect()
        };
        let straight = sources(&[
            ("src/a.rs", "use crate::{b::B, c::C};"),
            ("src/b/mod.rs", "use crate::c::C; use self::x::X;"),
            ("src/b/x.rs", "use super::Y; use crate::b::Z;"),
            ("src/c.rs", "// crate::a\n"),
            ("src/lib.rs", "mod a; use crate::a::A;"),
        ]);
        assert!(cycles(&straight).is_empty());
        let circular = sources(&[
            ("src/a.rs", "use crate::b::B;"),
            ("src/b/mod.rs", "mod x;"),
            ("src/b/x.rs", "\nfn f() { super::super::c::g() }"),
            ("src/c.rs", "fn g(a: crate::a::A) {}"),
        ]);
        assert_eq!(
            cycles(&circular),
            ["src/a.rs:1: cycle a -> b -> c -> a (with src/b/x.rs:2, src/c.rs:1); \
              move what they share down the ladder"]
        );
    }
}
