//! The circuit's states as a table of short stories, and what is said on the way.

mod laws;

use super::*;

fn policy() -> Policy {
    Policy {
        window: Duration::from_secs(10),
        requests_min: 4,
        failure_ratio: 0.5,
        consecutive_failures: 3,
        open: Duration::from_secs(10),
        open_max: Duration::from_secs(40),
        probes: 2,
        probed_by_request: false,
    }
}

/// Where the time of a test begins. No instant can be made but from the clock; what it is plays
/// no part, all times are told from it.
fn start() -> Instant {
    Instant::now()
}

/// A circuit with a clock that goes as it is told.
struct Trial {
    circuit: Circuit,
    policy: Policy,
    now: Instant,
}

impl Trial {
    fn new() -> Trial {
        Trial { circuit: Circuit::new(), policy: policy(), now: Instant::now() }
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }

    fn read(&mut self) -> Result<Pass, Duration> {
        self.circuit.pass(&self.policy, true, self.now)
    }

    fn write(&mut self) -> Result<Pass, Duration> {
        self.circuit.pass(&self.policy, false, self.now)
    }

    fn probe(&mut self) -> Option<Pass> {
        self.circuit.probe(&self.policy, self.now)
    }

    fn judge(&mut self, pass: Pass, verdict: Verdict) -> Option<State> {
        self.circuit.judge(&self.policy, pass, verdict, 0.0, self.now)
    }

    fn state(&self) -> State {
        self.circuit.state(&self.policy, self.now)
    }

    /// `s` `f` `n`: a read that passes and is judged a success, a failure, neutral; `d`: one that
    /// is handed back; `w`: a write that passes and succeeds; `x` `X`: a read, a write that is
    /// refused; `.`: a second; `_`: ten.
    fn tell(&mut self, story: &str) {
        for (at, event) in story.chars().enumerate() {
            let read = |trial: &mut Trial| trial.read().unwrap_or_else(|_| panic!("{story} {at}"));
            match event {
                '.' => self.wait(1.0),
                '_' => self.wait(10.0),
                's' | 'f' | 'n' => {
                    let pass = read(self);
                    let verdict = match event {
                        's' => Verdict::Success,
                        'f' => Verdict::Failure,
                        _ => Verdict::Neutral,
                    };
                    self.judge(pass, verdict);
                }
                'd' => {
                    let pass = read(self);
                    self.circuit.drop_pass(pass);
                }
                'w' => {
                    let pass = self.write().unwrap_or_else(|_| panic!("{story} {at}"));
                    self.judge(pass, Verdict::Success);
                }
                'x' => assert!(self.read().is_err(), "{story} {at}"),
                'X' => assert!(self.write().is_err(), "{story} {at}"),
                other => panic!("{other} tells nothing"),
            }
        }
    }
}

#[test]
fn states_follow_the_story() {
    for (story, state) in [
        // Closed: in a row, by ratio, and what counts nowhere.
        ("", "closed"),
        ("f", "closed"),
        ("ff", "closed"),
        ("fff", "open"),
        ("ffnf", "open"),
        ("ffdf", "open"),
        ("nnnnnn", "closed"),
        ("ffs", "closed"),
        ("sssf", "closed"),
        ("fssf", "open"),
        ("ffss", "open"),
        ("ffwf", "open"),
        ("ff__f", "open"),
        ("fs_sf", "closed"),
        ("fs.........sf", "open"),
        // Open.
        ("fffxX", "open"),
        ("fff.........xX", "open"),
        ("fff_", "half-open"),
        ("fff______", "half-open"),
        // Half-open: only reads; successes in a row close, a failure opens.
        ("fff_X", "half-open"),
        ("fff_s", "half-open"),
        ("fff_sX", "half-open"),
        ("fff_ssw", "closed"),
        ("fff_s_s", "closed"),
        ("fff_f", "open"),
        ("fff_sf", "open"),
        ("fff_sf__s", "half-open"),
        ("fff_sf__ss", "closed"),
        ("fff_snds", "closed"),
        ("fff_ndnd", "half-open"),
        // Closed again: nothing is remembered but the openings.
        ("fff_ssff", "closed"),
        ("fff_ssfss", "closed"),
        // Openings in a row: 10, 20, 40, 40 seconds.
        ("fff_f_x", "open"),
        ("fff_f__f___x", "open"),
        ("fff_f__f____f___x", "open"),
        ("fff_f__f____f____ss", "closed"),
        // The row ends when it stayed closed for one window.
        ("fff_ssfff_x", "open"),
        ("fff_ss.........fff_x", "open"),
        ("fff_ss_fff_ss", "closed"),
        ("fff_f__f____ss_fff_ss", "closed"),
    ] {
        let mut trial = Trial::new();
        trial.tell(story);
        assert_eq!(trial.state().word(), state, "{story}");
    }
}

#[test]
fn a_move_is_told_once() {
    let mut trial = Trial::new();
    let told = |trial: &mut Trial, verdict| {
        let pass = trial.read().expect("a pass");
        (pass.probes(), pass.moved(), trial.judge(pass, verdict))
    };
    trial.tell("ff");
    assert_eq!(told(&mut trial, Verdict::Failure), (false, None, Some(State::Open)));
    trial.wait(10.0);
    assert_eq!(told(&mut trial, Verdict::Success), (true, Some(State::HalfOpen), None));
    assert_eq!(told(&mut trial, Verdict::Success), (true, None, Some(State::Closed)));
    assert_eq!(told(&mut trial, Verdict::Success), (false, None, None));
}

#[test]
fn the_refused_are_told_what_is_left() {
    let mut trial = Trial::new();
    trial.tell("fff");
    let opened = trial.now;
    let end = Some(opened + Duration::from_secs(10));
    for (seconds, left) in [(0.0, 10_000), (2.5, 7_500), (7.499, 1)] {
        trial.wait(seconds);
        assert_eq!(trial.read(), Err(Duration::from_millis(left)));
        assert_eq!(trial.write(), Err(Duration::from_millis(left)));
        assert_eq!((trial.circuit.open_until(), trial.circuit.probe_at()), (end, end));
    }
    trial.wait(0.001);
    assert_eq!(trial.write(), Err(MOMENT), "a write, with the place free");
    let probe = trial.read().expect("the probe");
    assert_eq!((trial.read(), trial.write()), (Err(MOMENT), Err(MOMENT)), "while the probe runs");
    assert_eq!((trial.circuit.open_until(), trial.circuit.probe_at()), (None, None));
    trial.circuit.drop_pass(probe);
    assert_eq!(trial.write(), Err(MOMENT));
    assert!(trial.read().is_ok());
}

#[test]
fn of_a_hundred_at_half_open_one_passes() {
    let mut trial = Trial::new();
    trial.tell("fff_");
    let passed = (0..100).filter(|_| trial.read().is_ok()).count();
    assert_eq!(passed, 1);
    trial.wait(3600.0);
    assert!(trial.read().is_err(), "a probe that runs long is still the only one");
}

#[test]
fn late_results_count_nowhere() {
    let all = [Verdict::Success, Verdict::Failure, Verdict::Neutral];
    for (story, state) in
        [("fff", "open"), ("fff_", "half-open"), ("fff_s", "half-open"), ("fff_ss", "closed")]
    {
        let mut trial = Trial::new();
        let late: Vec<Pass> = (0..12).map(|_| trial.read().expect("closed")).collect();
        trial.tell(story);
        for (pass, verdict) in late.into_iter().zip(all.into_iter().cycle()) {
            assert_eq!(trial.judge(pass, verdict), None, "{story}");
            trial.circuit.drop_pass(pass);
        }
        assert_eq!(trial.state().word(), state, "{story}");
    }
}

#[test]
fn a_probe_is_judged_once_or_handed_back() {
    let mut trial = Trial::new();
    trial.tell("fff_");
    let first = trial.read().expect("the first probe");
    trial.circuit.drop_pass(first);
    let second = trial.read().expect("the second probe");
    assert_eq!(trial.judge(first, Verdict::Failure), None, "it was handed back");
    trial.circuit.drop_pass(first);
    assert!(trial.read().is_err(), "the second still runs");
    assert_eq!(trial.judge(second, Verdict::Success), None);
    assert_eq!(trial.judge(second, Verdict::Success), None, "it was judged");
    assert_eq!(trial.state(), State::HalfOpen);
}

#[test]
fn a_configured_probe_is_the_only_one() {
    let mut trial = Trial::new();
    trial.policy.probed_by_request = true;
    assert_eq!(trial.probe(), None, "closed");
    trial.tell("fff");
    assert_eq!(trial.probe(), None, "open");
    trial.tell("_xX");
    let probe = trial.probe().expect("due");
    assert!(probe.probes());
    assert_eq!(probe.moved(), Some(State::HalfOpen));
    assert_eq!((trial.probe(), trial.read()), (None, Err(MOMENT)));

    // A try that said nothing is followed by a pause, a success is not.
    trial.judge(probe, Verdict::Neutral);
    assert_eq!(trial.circuit.probe_at(), Some(trial.now + MOMENT));
    assert_eq!((trial.probe(), trial.read()), (None, Err(MOMENT)));
    trial.wait(1.0);
    let probe = trial.probe().expect("after the pause");
    trial.circuit.drop_pass(probe);
    assert_eq!(trial.circuit.probe_at(), Some(trial.now + MOMENT));
    trial.wait(1.0);
    let probe = trial.probe().expect("after the pause");
    assert_eq!(trial.judge(probe, Verdict::Success), None);
    let probe = trial.probe().expect("at once");
    assert_eq!(trial.judge(probe, Verdict::Success), Some(State::Closed));
    assert_eq!((trial.probe(), trial.circuit.probe_at()), (None, None));
}

#[test]
fn without_a_configured_probe_none_is_due() {
    let mut trial = Trial::new();
    trial.tell("fff_");
    assert_eq!(trial.probe(), None);
    assert!(trial.read().is_ok());
}

#[test]
fn a_reload_keeps_the_state() {
    let mut trial = Trial::new();
    trial.tell("fff");
    trial.policy.open = Duration::from_secs(1);
    trial.tell(".x");
    trial.tell("_");
    let probe = trial.read().expect("a client's probe");
    trial.policy.probed_by_request = true;
    assert_eq!(trial.probe(), None, "the client's probe still runs");
    trial.judge(probe, Verdict::Success);
    trial.policy.probes = 3;
    for state in [None, Some(State::Closed)] {
        let probe = trial.probe().expect("due");
        assert_eq!(trial.judge(probe, Verdict::Success), state);
    }
    trial.tell("ff");
    trial.policy.consecutive_failures = 1;
    trial.tell("fx");
}

#[test]
fn what_was_seen_before_the_opening_is_forgotten() {
    let mut trial = Trial::new();
    trial.policy.open = Duration::from_secs(1);
    trial.tell("fff.ssff");
    assert_eq!(trial.state(), State::Closed, "two are few; with what was before, five of five");
}

#[test]
fn a_clock_that_goes_backwards_stands_still() {
    let mut trial = Trial::new();
    let start = trial.now;
    trial.wait(60.0);
    trial.tell("ff");
    trial.now = start;
    trial.tell("f");
    let end = start + Duration::from_secs(70);
    assert_eq!(trial.circuit.open_until(), Some(end));
    assert_eq!(trial.read(), Err(Duration::from_secs(10)));
    assert_eq!(trial.state(), State::Open);
    trial.now = end;
    assert_eq!(trial.state(), State::HalfOpen);
    assert!(trial.read().is_ok());
    trial.now = start;
    assert_eq!(trial.state(), State::HalfOpen);
}

#[test]
fn open_times_grow_to_their_bound_and_jitter_upward() {
    let policy = policy();
    let seconds = |before, entropy| open_for(&policy, before, entropy).as_secs_f64();
    for (before, expected) in [(0, 10.0), (1, 20.0), (2, 40.0), (3, 40.0), (u32::MAX, 40.0)] {
        assert_eq!(seconds(before, 0.0), expected);
        assert_eq!(seconds(before, 0.5), expected * 1.05);
        for odd in [1.0, 7.0, f64::INFINITY] {
            assert_eq!(seconds(before, odd), expected * 1.1);
        }
        for odd in [-1.0, f64::NAN] {
            assert_eq!(seconds(before, odd), expected);
        }
    }
    let forever = Policy { open: Duration::MAX, open_max: Duration::MAX, ..policy };
    assert_eq!(open_for(&forever, 9, 0.9), Duration::MAX);
    let mut circuit = Circuit::new();
    let now = start();
    for _ in 0..3 {
        let pass = circuit.pass(&forever, true, now).expect("closed");
        circuit.judge(&forever, pass, Verdict::Failure, 0.9, now);
    }
    assert!(circuit.pass(&forever, false, now).is_err(), "no panic, and not closed");
}
