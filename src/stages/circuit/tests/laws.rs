//! The circuit's laws over random schedules, against a recount of everything.

use super::{MOMENT, Pass, Policy, State, Trial, Verdict, policy};
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use std::time::Duration;

fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        4 => Just(Verdict::Success),
        3 => Just(Verdict::Failure),
        1 => Just(Verdict::Neutral),
    ]
}

/// Milliseconds that the clock goes on, now and then back.
fn steps() -> impl Strategy<Value = i64> {
    prop_oneof![6 => 0i64..20, 2 => 0i64..2_000, 1 => -3_000i64..0]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// It opens when, and only when, a recount of all that was ever judged says so.
    #[test]
    fn opens_as_a_recount_says(
        window in 1u64..3_000,
        requests_min in 1u32..30,
        percent in 1u32..=100,
        consecutive_failures in 2u32..12,
        events in proptest::collection::vec((steps(), verdicts()), 1..400),
    ) {
        let mut trial = Trial::new();
        let failure_ratio = f64::from(percent) / 100.0;
        let window_time = Duration::from_millis(window);
        trial.policy = Policy {
            window: window_time, requests_min, failure_ratio, consecutive_failures, ..policy()
        };
        let start = trial.now;
        // The recount: every event with its millisecond, nothing thrown away.
        let mut judged: Vec<(u64, bool)> = Vec::new();
        let (mut elapsed, mut latest) = (0i64, 0i64);
        for (step, verdict) in events {
            elapsed = (elapsed + step).max(0);
            latest = latest.max(elapsed);
            trial.now = start + Duration::from_millis(elapsed as u64);
            let pass = trial.read().expect("closed");
            let moved = trial.judge(pass, verdict);
            if verdict != Verdict::Neutral {
                judged.push((latest as u64, verdict == Verdict::Failure));
            }
            let young: Vec<bool> = judged
                .iter()
                .filter(|(at, _)| *at + window > latest as u64)
                .map(|(_, failed)| *failed)
                .collect();
            let failures = young.iter().filter(|failed| **failed).count();
            let row = judged.iter().rev().take_while(|(_, failed)| *failed).count();
            let opens = verdict != Verdict::Neutral
                && ((failures > 0
                    && young.len() >= requests_min as usize
                    && failures * 100 >= percent as usize * young.len())
                    || row >= consecutive_failures as usize);
            prop_assert_eq!(moved, opens.then_some(State::Open));
            if opens {
                trial.now = trial.circuit.open_until().expect("open");
                trial.tell("ss");
                prop_assert_eq!(trial.state(), State::Closed);
                elapsed = trial.now.duration_since(start).as_millis() as i64;
                latest = elapsed;
                judged.clear();
            }
        }
    }

    /// Whatever comes in whatever order: at most one probe is out; writes pass only while closed;
    /// nobody passes while open, and whoever waits as told finds the open time over.
    #[test]
    fn one_probe_at_a_time_and_none_while_open(
        events in proptest::collection::vec(
            (0u8..8, steps(), any::<usize>(), verdicts(), 0.0f64..1.0), 1..400,
        ),
    ) {
        let mut trial = Trial::new();
        trial.policy.open = Duration::from_millis(500);
        let start = trial.now;
        let mut out: Vec<Pass> = Vec::new();
        let mut latest = start;
        for (event, step, choice, verdict, entropy) in events {
            let step_time = Duration::from_millis(step.unsigned_abs());
            trial.now = match step < 0 {
                true => trial.now.checked_sub(step_time).unwrap_or(start).max(start),
                false => trial.now + step_time,
            };
            let told = event <= 3 || (event <= 5 && !out.is_empty());
            if told {
                latest = latest.max(trial.now);
            }
            let before = trial.state();
            match event {
                0..=2 => {
                    let result = if event == 0 { trial.write() } else { trial.read() };
                    match before {
                        State::Closed => prop_assert!(result.is_ok_and(|pass| !pass.probes())),
                        State::Open => {
                            let until = trial.circuit.open_until().expect("open");
                            prop_assert_eq!(result.expect_err("open"), until - latest);
                        }
                        State::HalfOpen => {
                            let free = event != 0
                                && !trial.policy.probed_by_request
                                && !out.iter().any(|pass| pass.probes());
                            prop_assert_eq!(result.is_ok(), free);
                            prop_assert!(result.is_ok() || result == Err(MOMENT));
                        }
                    }
                    out.extend(result.ok());
                }
                3 => {
                    let probe = trial.probe();
                    prop_assert!(probe.is_none() || trial.policy.probed_by_request);
                    out.extend(probe);
                }
                4..=5 if !out.is_empty() => {
                    let pass = out.swap_remove(choice % out.len());
                    let now = trial.now;
                    let moved = trial.circuit.judge(&trial.policy, pass, verdict, entropy, now);
                    if pass.probes() && verdict == Verdict::Failure {
                        prop_assert_eq!(moved, Some(State::Open));
                    }
                    prop_assert!(pass.probes() || before != State::HalfOpen || moved.is_none());
                    if moved == Some(State::Open) {
                        let length = trial.circuit.open_until().expect("open") - latest;
                        prop_assert!(length >= trial.policy.open);
                        prop_assert!(length <= trial.policy.open_max.mul_f64(1.1));
                    }
                }
                6 if !out.is_empty() => {
                    trial.circuit.drop_pass(out.swap_remove(choice % out.len()));
                    prop_assert_eq!(trial.state(), before);
                }
                7 => trial.policy.probed_by_request = choice % 2 == 0,
                _ => {}
            }
            prop_assert!(out.iter().filter(|pass| pass.probes()).count() <= 1);
        }
    }
}
