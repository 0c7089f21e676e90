//! The metrics of INTERFACE §8 that exist by now: names, labels, and nothing that a request
//! could make a new label value with.

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

/// Seconds; the buckets of OpenTelemetry's HTTP durations, and three for slow ERPs.
const DURATION_BUCKETS: [f64; 17] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0,
    300.0,
];

/// All metrics of one gateway.
pub struct Metrics {
    registry: Registry,
    /// `requests_total{route,client,method,status}`.
    pub requests: IntCounterVec,
    /// `request_duration_seconds{route}`.
    pub request_duration: HistogramVec,
    /// `refusals_total{reason,route,client}`.
    pub refusals: IntCounterVec,
    /// `authentications_total{scheme,result}`.
    pub authentications: IntCounterVec,
    /// `jwks_refreshes_total{issuer,result}`.
    pub jwks_refreshes: IntCounterVec,
    /// `vendor_requests_total{vendor,outcome}`: how each request that asked a vendor ended.
    pub vendor_requests: IntCounterVec,
    /// `vendor_request_duration_seconds{vendor}`: from asking to the head of the answer.
    pub vendor_request_duration: HistogramVec,
    /// `vendor_attempts_total{vendor,result}`: how each attempt ended.
    pub vendor_attempts: IntCounterVec,
    /// Of pools and circuits.
    pub pools: PoolMetrics,
    /// Of protected writes.
    pub ledger: LedgerMetrics,
    /// `config_reloads_total{result}`.
    pub config_reloads: IntCounterVec,
    /// `config_generation`.
    pub config_generation: IntGauge,
    /// `connections{listener}`.
    pub connections: IntGaugeVec,
    /// `connections_closed_total{listener,reason}`.
    pub connections_closed: IntCounterVec,
    /// `log_lines_dropped`: addition to the contract.
    pub log_lines_dropped: Gauge,
}

/// What pools and circuits show.
#[derive(Clone)]
pub struct PoolMetrics {
    /// `pool_concurrency_limit{pool}`; 0: none.
    pub limit: IntGaugeVec,
    /// `pool_concurrency_in_use{pool}`.
    pub in_use: IntGaugeVec,
    /// `pool_queue_depth{pool}`.
    pub depth: IntGaugeVec,
    /// `pool_queue_wait_seconds{pool}`.
    pub wait: HistogramVec,
    /// `pool_paused{pool}`.
    pub paused: IntGaugeVec,
    /// `pool_budget_remaining{pool,budget}`.
    pub budget: IntGaugeVec,
    /// `circuit_state{vendor,state}`: 1 for the state that it is in.
    pub circuit: IntGaugeVec,
    /// `circuit_transitions_total{vendor,to}`.
    pub transitions: IntCounterVec,
}

impl PoolMetrics {
    fn new(registry: &Registry) -> Result<PoolMetrics, prometheus::Error> {
        let of_pool = |name, help| gauges(registry, name, help, &["pool"]);
        Ok(PoolMetrics {
            limit: of_pool(
                "pool_concurrency_limit",
                "Requests that may be at the vendor at a time; 0: any number.",
            )?,
            in_use: of_pool("pool_concurrency_in_use", "Requests that are at the vendor.")?,
            depth: of_pool("pool_queue_depth", "Requests that wait for the vendor.")?,
            wait: durations(
                registry,
                "pool_queue_wait_seconds",
                "From asking for a slot to having it.",
                &["pool"],
            )?,
            paused: of_pool("pool_paused", "Whether the vendor takes no requests for a while.")?,
            budget: gauges(
                registry,
                "pool_budget_remaining",
                "What a vendor says is left of a budget of its own.",
                &["pool", "budget"],
            )?,
            circuit: gauges(
                registry,
                "circuit_state",
                "1 for the state that a circuit is in.",
                &["vendor", "state"],
            )?,
            transitions: counters(
                registry,
                "circuit_transitions_total",
                "Changes of a circuit's state.",
                &["vendor", "to"],
            )?,
        })
    }
}

/// What protected writes show.
#[derive(Clone)]
pub struct LedgerMetrics {
    /// `idempotency_claims_total{route,result}`: what each write with a key met.
    pub claims: IntCounterVec,
    /// `ledger_entries{state}`.
    pub entries: IntGaugeVec,
    /// `ledger_oldest_unknown_seconds`; 0: there is none.
    pub oldest_unknown: Gauge,
    /// `ledger_commit_duration_seconds`.
    pub commits: Histogram,
    /// `ledger_available`: addition to the contract.
    pub available: IntGauge,
}

/// Seconds; a disk that syncs in a tenth of a millisecond, and one that is ill.
const COMMIT_BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

impl LedgerMetrics {
    fn new(registry: &Registry) -> Result<LedgerMetrics, prometheus::Error> {
        let oldest = opts("ledger_oldest_unknown_seconds", "Age of the oldest unknown entry.");
        let oldest_unknown = Gauge::with_opts(oldest)?;
        registry.register(Box::new(oldest_unknown.clone()))?;
        let commits = opts("ledger_commit_duration_seconds", "Until a commit was durable.");
        let commits = HistogramOpts::from(commits).buckets(COMMIT_BUCKETS.to_vec());
        let commits = Histogram::with_opts(commits)?;
        registry.register(Box::new(commits.clone()))?;
        Ok(LedgerMetrics {
            claims: counters(
                registry,
                "idempotency_claims_total",
                "Writes with an idempotency key, by what they met.",
                &["route", "result"],
            )?,
            entries: gauges(registry, "ledger_entries", "Entries of the ledger.", &["state"])?,
            oldest_unknown,
            commits,
            available: gauge(
                registry,
                "ledger_available",
                "Whether protected writes can be written down.",
            )?,
        })
    }
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// A name that is wrong or registered twice: a defect of this file.
    pub fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let build = IntGaugeVec::new(opts("build_info", "The version that runs."), &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let dropped =
            Gauge::with_opts(opts("log_lines_dropped", "Log lines that nobody read in time."))?;
        registry.register(Box::new(dropped.clone()))?;
        let counters = |name, help, labels: &[&str]| counters(&registry, name, help, labels);
        let durations = |name, help, labels: &[&str]| durations(&registry, name, help, labels);
        let requests = "Requests that were answered, or whose client left.";
        let took = "From the head of a request to the end of its answer.";
        let refused = "Requests that erpgate answered in the vendor's place.";
        let asked = "Requests that asked a vendor, by how they ended.";
        let metrics = Metrics {
            requests: counters(
                "requests_total",
                requests,
                &["route", "client", "method", "status"],
            )?,
            request_duration: durations("request_duration_seconds", took, &["route"])?,
            refusals: counters("refusals_total", refused, &["reason", "route", "client"])?,
            authentications: counters(
                "authentications_total",
                "Decisions about who sends a request.",
                &["scheme", "result"],
            )?,
            jwks_refreshes: counters(
                "jwks_refreshes_total",
                "Fetches of issuers' keys.",
                &["issuer", "result"],
            )?,
            vendor_requests: counters("vendor_requests_total", asked, &["vendor", "outcome"])?,
            vendor_request_duration: durations(
                "vendor_request_duration_seconds",
                "From asking the vendor to the head of its answer.",
                &["vendor"],
            )?,
            vendor_attempts: counters(
                "vendor_attempts_total",
                "Attempts at a vendor, by how they ended.",
                &["vendor", "result"],
            )?,
            pools: PoolMetrics::new(&registry)?,
            ledger: LedgerMetrics::new(&registry)?,
            config_reloads: counters(
                "config_reloads_total",
                "Reloads of the configuration.",
                &["result"],
            )?,
            config_generation: gauge(
                &registry,
                "config_generation",
                "Counts the configurations that this process has served with.",
            )?,
            connections: gauges(&registry, "connections", "Open connections.", &["listener"])?,
            connections_closed: counters(
                "connections_closed_total",
                "Connections that ended, by why.",
                &["listener", "reason"],
            )?,
            log_lines_dropped: dropped,
            registry,
        };
        for result in ["accepted", "refused"] {
            metrics.config_reloads.with_label_values(&[result]).reset();
        }
        Ok(metrics)
    }

    /// The text exposition format, version 0.0.4.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        // Writing to memory can't fail; a family that can't be encoded is left out.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("erpgate_{name}"), help)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counters = IntCounterVec::new(opts(name, help), labels)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    let gauges = IntGaugeVec::new(opts(name, help), labels)?;
    registry.register(Box::new(gauges.clone()))?;
    Ok(gauges)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::with_opts(opts(name, help))?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn durations(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<HistogramVec, prometheus::Error> {
    let buckets = HistogramOpts::from(opts(name, help)).buckets(DURATION_BUCKETS.to_vec());
    let histograms = HistogramVec::new(buckets, labels)?;
    registry.register(Box::new(histograms.clone()))?;
    Ok(histograms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_contract() {
        let metrics = Metrics::new().expect("each name once");
        metrics.requests.with_label_values(&["netsuite", "unknown", "GET", "200"]).inc();
        let text = String::from_utf8(metrics.text()).expect("text");
        let line = concat!(
            "erpgate_requests_total{client=\"unknown\",method=\"GET\",",
            "route=\"netsuite\",status=\"200\"} 1"
        );
        assert!(text.contains(line), "{text}");
        assert!(text.contains("erpgate_build_info{version="));
        assert!(text.contains("erpgate_config_reloads_total{result=\"refused\"} 0"));
    }
}
