//! `[pools.NAME]`, and what a vendor says of its pool, circuit and retries.

use super::bounds::{Longest, duration, fraction, number};
use super::limits::{count, rates};
use super::names::check_name;
use super::{Context, TOP};
use crate::config::Route;
use crate::config::pools::{Circuit, Handling, Pool};
use crate::config::problem::{Notes, quoted, suggestion};
use crate::config::raw::RawGateway;
use crate::config::raw::at::At;
use crate::config::raw::pool::{RawAdaptive, RawCircuit, RawPool, RawQueue, RawReserve, RawRetry};
use crate::config::raw::rates::RawRates;
use crate::config::raw::table::Section;
use crate::config::raw::vendor::RawVendor;
use crate::stages::{admission, circuit, retry};
use std::num::NonZeroU32;
use std::sync::Arc;

/// Most requests at a time.
const CONCURRENCY_MAX: i64 = 100_000;

impl Context<'_> {
    /// The pools under `[pools]`, and one for each vendor that names none.
    pub(super) fn pools(&mut self, raw: &RawGateway) -> Vec<Arc<Pool>> {
        let mut pools = Vec::new();
        for (name, at) in raw.pools.iter().flatten() {
            let vendors = raw.vendors.iter().flatten();
            let named = |raw: &RawVendor| raw.pool.as_ref().is_some_and(|it| *it == *name);
            if !vendors.clone().any(|(_, vendor)| named(&vendor.value.0))
                && !self.notes.has_lost(TOP.start, "vendors")
            {
                let message = format!("no vendor uses the pool {}", quoted(&name.value));
                let help = format!("write `pool = \"{}\"` in a `[vendors.NAME]`", name.value);
                self.notes.warning("unused-pool", &name.span, message, help);
            }
            if check_name(&mut self.notes, "pool", name) {
                let policy = policy(&mut self.notes, Keys::from(&at.value.0));
                pools.push(Arc::new(Pool { name: Arc::from(name.value.as_str()), policy }));
            }
        }
        for (name, at) in raw.vendors.iter().flatten() {
            let own = &at.value.0;
            if own.pool.is_some() {
                continue;
            }
            if let Some(shared) = pools.iter().find(|pool| *pool.name == *name.value) {
                let message = format!(
                    "this vendor's own pool is called {} too: they would be one",
                    quoted(&shared.name)
                );
                let help = format!("write `pool = \"{}\"`, or rename one of them", name.value);
                self.notes.problem("duplicate-name", &name.span, message, help);
                continue;
            }
            let policy = policy(&mut self.notes, Keys::from(own));
            pools.push(Arc::new(Pool { name: Arc::from(name.value.as_str()), policy }));
        }
        pools
    }

    /// What a vendor says of its pool, circuit and retries.
    pub(super) fn handling(
        &mut self,
        name: &At<String>,
        raw: &RawVendor,
        gateway: &RawGateway,
        pools: &[Arc<Pool>],
    ) -> Handling {
        let mut pool: Arc<str> = Arc::from(name.value.as_str());
        if let Some(typed) = &raw.pool {
            pool = Arc::from(typed.value.as_str());
            self.check_pool(typed, raw, gateway);
        }
        let circuit = circuit(&mut self.notes, raw.circuit.as_ref());
        let found = pools.iter().find(|it| it.name == pool);
        let limits_concurrency = found.is_some_and(|it| it.policy.concurrency.is_some());
        let retry = retry(&mut self.notes, raw.retry.as_ref());
        Handling { pool, limits_concurrency, circuit, retry }
    }

    /// A circuit that is open closes by reads: where there are none, somebody has to make them.
    pub(super) fn check_probes(&mut self, raw: &RawGateway, routes: &[Arc<Route>]) {
        for (name, _) in raw.vendors.iter().flatten() {
            let mut leading = routes.iter().filter(|it| *it.vendor.name == *name.value).peekable();
            let reads = |route: &Arc<Route>| {
                let safe = ["GET", "HEAD"].iter().any(|method| route.methods.contains(method));
                safe || !route.reads.is_empty() || route.vendor.handling.circuit.probe.is_some()
            };
            if leading.peek().is_some() && !leading.any(reads) {
                let message = "nothing but writes goes to this vendor: once its circuit is open, \
                               no read would find out that it is well again";
                let help = "write `circuit = { probe = \"GET /path\" }` with a read that costs \
                            nothing";
                self.notes.warning("no-probe", &name.span, message, help);
            }
        }
    }

    fn check_pool(&mut self, typed: &At<String>, raw: &RawVendor, gateway: &RawGateway) {
        let known: Vec<&str> =
            gateway.pools.iter().flatten().map(|(name, _)| name.value.as_str()).collect();
        let is_lost = self.notes.has_lost(TOP.start, "pools");
        if !known.contains(&typed.value.as_str()) && !is_lost {
            let message = format!("there is no pool {}", quoted(&typed.value));
            let help = match known.as_slice() {
                [] => format!("write `[pools.{}]` with `concurrency = 4`", typed.value),
                _ => suggestion(&typed.value, known),
            };
            self.notes.problem("unknown-pool", &typed.span, message, help);
        }
        let own = [
            ("concurrency", raw.concurrency.as_ref().map(|at| &at.span)),
            ("rates", raw.rates.as_ref().map(|at| &at.span)),
            ("queue", raw.queue.as_ref().map(|at| &at.span)),
            ("adaptive", raw.adaptive.as_ref().map(|at| &at.span)),
            ("reserve", raw.reserve.as_ref().map(|at| &at.span)),
        ];
        for (key, span) in own {
            if let Some(span) = span {
                let message = format!("`{key}` here and a shared `pool`: which one would count?");
                let help = format!("move `{key}` to `[pools.{}]`", typed.value);
                self.notes.problem("two-pools", span, message, help);
            }
        }
    }
}

/// The keys of a pool, wherever they are typed.
struct Keys<'a> {
    concurrency: Option<&'a At<i64>>,
    rates: Option<&'a At<RawRates>>,
    queue: Option<&'a Section<RawQueue>>,
    adaptive: Option<&'a At<RawAdaptive>>,
    reserve: Option<&'a Section<RawReserve>>,
}

impl<'a> From<&'a RawPool> for Keys<'a> {
    fn from(raw: &'a RawPool) -> Keys<'a> {
        Keys {
            concurrency: raw.concurrency.as_ref(),
            rates: raw.rates.as_ref(),
            queue: raw.queue.as_ref(),
            adaptive: raw.adaptive.as_ref(),
            reserve: raw.reserve.as_ref(),
        }
    }
}

impl<'a> From<&'a RawVendor> for Keys<'a> {
    fn from(raw: &'a RawVendor) -> Keys<'a> {
        Keys {
            concurrency: raw.concurrency.as_ref(),
            rates: raw.rates.as_ref(),
            queue: raw.queue.as_ref(),
            adaptive: raw.adaptive.as_ref(),
            reserve: raw.reserve.as_ref(),
        }
    }
}

fn policy(notes: &mut Notes, keys: Keys<'_>) -> admission::Policy {
    let concurrency = count(notes, "concurrency", keys.concurrency, CONCURRENCY_MAX);
    let queue = keys.queue.map(|queue| &queue.value.0);
    let waiting = queue.and_then(|queue| queue.max_waiting.as_ref());
    let wait = queue.and_then(|queue| queue.max_wait.as_ref());
    let reserve = keys.reserve.and_then(|reserve| reserve.value.high.as_ref());
    if let (Some(typed), None) = (keys.reserve, concurrency) {
        let message = "without `concurrency` there is nothing to keep for anybody";
        notes.warning("unused-reserve", &typed.span, message, "write `concurrency = 4` beside it");
    }
    admission::Policy {
        concurrency,
        rates: rates(notes, keys.rates, None),
        waiting_max: number(notes, "max_waiting", waiting, 10_000, 0..=1_000_000),
        wait_max: duration(notes, "max_wait", wait, "30s", Longest::of("24h")),
        adaptive: keys.adaptive.and_then(|typed| floor(notes, typed, concurrency)),
        reserve_high: fraction(notes, "high", reserve, 0.0, 0.0..=0.9),
    }
}

fn floor(
    notes: &mut Notes,
    typed: &At<RawAdaptive>,
    ceiling: Option<NonZeroU32>,
) -> Option<NonZeroU32> {
    let help = "write `adaptive = { min = 1 }`, or `adaptive = false`";
    match &typed.value {
        RawAdaptive::Switch(false) => None,
        RawAdaptive::Switch(true) => {
            let message = "`adaptive` needs to know how far the limit may sink";
            notes.problem("missing-key", &typed.span, message, help);
            None
        }
        RawAdaptive::Floor(raw) => {
            let Some(min) = &raw.min else {
                notes.problem("missing-key", &typed.span, "`adaptive` has no `min`", help);
                return None;
            };
            let Some(ceiling) = ceiling else {
                let message = "without `concurrency` there is no limit that could sink";
                let help = "write `concurrency = 4` beside it";
                notes.problem("missing-key", &typed.span, message, help);
                return None;
            };
            count(notes, "min", Some(min), i64::from(ceiling.get()))
        }
    }
}

fn circuit(notes: &mut Notes, at: Option<&Section<RawCircuit>>) -> Circuit {
    let empty = RawCircuit::default();
    let raw = at.map_or(&empty, |at| &at.value.0);
    let day = Longest::of("24h");
    let open = duration(notes, "open", raw.open.as_ref(), "10s", day);
    let open_max = duration(notes, "open_max", raw.open_max.as_ref(), "5m", day);
    if open > open_max {
        let span = [&raw.open, &raw.open_max].into_iter().flatten().next().map(|it| &it.span);
        if let Some(span) = span {
            let message = "`open` is longer than `open_max`";
            notes.problem("out-of-range", span, message, "write `open_max` at least as long");
        }
    }
    let probe = raw.probe.as_ref().and_then(|typed| probe(notes, typed));
    let limit = |notes: &mut Notes, key, typed: &Option<At<i64>>, default, most| {
        let number = number(notes, key, typed.as_ref(), default, 1..=most);
        u32::try_from(number).unwrap_or(u32::MAX)
    };
    let policy = circuit::Policy {
        window: duration(notes, "window", raw.window.as_ref(), "30s", Longest::of("1h")),
        requests_min: limit(notes, "min_requests", &raw.min_requests, 20, 1_000_000),
        failure_ratio: fraction(
            notes,
            "failure_ratio",
            raw.failure_ratio.as_ref(),
            0.5,
            0.01..=1.0,
        ),
        consecutive_failures: limit(
            notes,
            "consecutive_failures",
            &raw.consecutive_failures,
            8,
            1_000_000,
        ),
        open,
        open_max,
        probes: limit(notes, "probes", &raw.probes, 3, 1000),
        probed_by_request: probe.is_some(),
    };
    Circuit { policy, probe, per_route: raw.per_route.unwrap_or(false) }
}

/// The path of a probe.
fn probe(notes: &mut Notes, typed: &At<String>) -> Option<String> {
    let path = typed.value.strip_prefix("GET ").map(str::trim_start);
    let path =
        path.filter(|path| path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic()));
    if path.is_none() {
        let message = format!("{} is no probe", quoted(&typed.value));
        let help = "write a read of the vendor's, behind `base_url`, as in \"GET /health\"";
        notes.problem("bad-probe", &typed.span, message, help);
    }
    path.map(str::to_owned)
}

fn retry(notes: &mut Notes, at: Option<&Section<RawRetry>>) -> retry::Policy {
    let empty = RawRetry::default();
    let raw = at.map_or(&empty, |at| &at.value.0);
    let attempts = number(notes, "attempts", raw.attempts.as_ref(), 3, 1..=10);
    retry::Policy {
        attempts: u32::try_from(attempts).unwrap_or(1),
        budget: fraction(notes, "budget", raw.budget.as_ref(), 0.2, 0.0..=1.0),
        base: duration(notes, "base", raw.base.as_ref(), "200ms", Longest::of("1m")),
        max: duration(notes, "max", raw.max.as_ref(), "10s", Longest::of("5m")),
    }
}
