//! Whether a vendor is left alone: the room `stages::circuit` with a lock around it, and a
//! [`Permit`] for each attempt that is judged, or handed back by dropping it.

use crate::adapters::entropy;
use crate::model::rates::retry_after_seconds;
use crate::refusal::Refusal;
use crate::stages::circuit::{Circuit, Pass, Policy, State, Verdict};
use arc_swap::ArcSwap;
use prometheus::{IntCounterVec, IntGaugeVec};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What a circuit shows of itself.
#[derive(Clone)]
pub struct Signs {
    /// `circuit_state{vendor,state}`: 1 for the state that it is in.
    pub state: IntGaugeVec,
    /// `circuit_transitions_total{vendor,to}`.
    pub transitions: IntCounterVec,
}

/// The circuit of a vendor, or of one of its routes.
pub struct SharedCircuit {
    /// The vendor's name, and the route's where each has its own: the metric label.
    pub name: Arc<str>,
    policy: ArcSwap<Policy>,
    circuit: Mutex<Circuit>,
    signs: Signs,
}

/// The right to try a vendor once.
pub struct Permit {
    circuit: Arc<SharedCircuit>,
    pass: Option<Pass>,
}

impl SharedCircuit {
    /// A closed one.
    pub fn new(name: Arc<str>, policy: Policy, signs: Signs) -> Arc<SharedCircuit> {
        let circuit = SharedCircuit {
            name,
            policy: ArcSwap::from_pointee(policy),
            circuit: Mutex::new(Circuit::new()),
            signs,
        };
        circuit.show(State::Closed);
        Arc::new(circuit)
    }

    /// Takes another policy; the state stays.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.lock().state(&self.policy.load(), Instant::now())
    }

    /// When the open time ends, or ended if nobody has come since.
    pub fn open_until(&self) -> Option<Instant> {
        self.lock().open_until()
    }

    /// Asks whether the vendor may be tried.
    ///
    /// # Errors
    /// `vendor-circuit-open`.
    pub fn permit(self: &Arc<Self>, reads: bool) -> Result<Permit, Refusal> {
        let now = Instant::now();
        let policy = self.policy.load();
        let mut circuit = self.lock();
        let passed = circuit.pass(&policy, reads, now);
        drop(circuit);
        match passed {
            Ok(pass) => Ok(self.permitted(pass)),
            Err(wait) => Err(Refusal::VendorCircuitOpen(retry_after_seconds(wait))),
        }
    }

    /// The permit of the configured probe, if one is due.
    pub fn probe(self: &Arc<Self>) -> Option<Permit> {
        let pass = self.lock().probe(&self.policy.load(), Instant::now());
        pass.map(|pass| self.permitted(pass))
    }

    fn permitted(self: &Arc<Self>, pass: Pass) -> Permit {
        if let Some(to) = pass.moved() {
            self.moved(to);
        }
        Permit { circuit: self.clone(), pass: Some(pass) }
    }

    fn lock(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moved(&self, to: State) {
        self.signs.transitions.with_label_values(&[&*self.name, to.word()]).inc();
        self.show(to);
    }

    /// Its name is not in the configuration any more.
    pub fn forget(&self) {
        for state in [State::Closed, State::Open, State::HalfOpen] {
            // One that was never shown is not shown now either.
            let _ = self.signs.state.remove_label_values(&[&*self.name, state.word()]);
        }
    }

    fn show(&self, now_in: State) {
        for state in [State::Closed, State::Open, State::HalfOpen] {
            let is = i64::from(state == now_in);
            self.signs.state.with_label_values(&[&*self.name, state.word()]).set(is);
        }
    }
}

impl Permit {
    /// The vendor has answered, and what was wrong was the client's: to a probe it is well, and
    /// beyond that it says nothing.
    pub fn judge_mistake(self) -> Option<State> {
        let probes = self.pass.is_some_and(Pass::probes);
        self.judge(if probes { Verdict::Success } else { Verdict::Neutral })
    }

    /// Says how the attempt ended; returns the state that the circuit moved to, if it moved.
    pub fn judge(mut self, verdict: Verdict) -> Option<State> {
        let pass = self.pass.take()?;
        let policy = self.circuit.policy.load();
        let (jitter, now) = (entropy::fraction(), Instant::now());
        let moved = self.circuit.lock().judge(&policy, pass, verdict, jitter, now);
        if let Some(to) = moved {
            self.circuit.moved(to);
        }
        moved
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.circuit.lock().drop_pass(pass);
        }
    }
}
