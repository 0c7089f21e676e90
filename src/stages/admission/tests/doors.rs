//! Each door of the pool, one situation at a time.

use super::{BACKOFF, Bench, FAR, normal, policy, rate, ticket};
use crate::model::limits::Priority;
use crate::model::rates::Rate;
use crate::stages::admission::{
    Ended, Full, Held, Hold, Joined, Policy, Pool, Scope, Throttle, Turn, Why,
};
use std::num::NonZeroU32;
use std::time::Duration;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn turns(admitted: Vec<(Turn, Held)>) -> Vec<Turn> {
    admitted.into_iter().map(|(turn, _)| turn).collect()
}

fn throttle(bench: &mut Bench, held: Held, class: Throttle, hint: Option<Duration>) -> Duration {
    let now = bench.now();
    let wait = bench.pool.throttled(&held, class, hint, BACKOFF, 0.0, now);
    bench.release(held, Ended::Throttled);
    wait
}

#[test]
fn what_is_full_says_so_at_once() {
    let short = Policy { waiting_max: 1, wait_max: seconds(30), ..policy(1) };
    let mut bench = Bench::new(short);
    let _held = bench.enter(&normal("a"));
    bench.wait(&normal("a"));
    assert_eq!(bench.join(&normal("b")).unwrap_err(), Full::QueueFull(seconds(1)));
    let now = bench.now();
    let late = bench.pool.join(&normal("b"), true, now, now);
    assert_eq!(late.unwrap_err(), Full::WaitTooLong(seconds(1)));
    bench.pool.pause(now + seconds(31), Why::Quota, now);
    assert_eq!(bench.join(&normal("b")).unwrap_err(), Full::Paused(seconds(31)));
    bench.millis = 1_000;
    assert!(matches!(bench.join(&normal("b")), Err(Full::QueueFull(_))), "30 s may be waited");
    let soon = bench.at(20_000);
    let refused = bench.pool.join(&normal("b"), false, soon, bench.at(1_000));
    assert_eq!(refused.unwrap_err(), Full::Paused(seconds(30)), "the deadline may not");
}

#[test]
fn a_rate_refuses_only_what_it_certainly_will() {
    let slow = Policy { rates: vec![rate("60/hour", 1)], wait_max: seconds(70), ..policy(0) };
    let mut bench = Bench::new(slow);
    let _held = bench.enter(&normal("a"));
    bench.wait(&normal("a"));
    // The second in the queue waits in vain too, but nobody can be certain: the first may leave.
    let second = bench.wait(&normal("a"));
    assert_eq!(bench.wake(), Some(60_000));
    let soon = bench.at(50_000);
    let refused = bench.pool.join(&normal("b"), false, soon, bench.at(0));
    assert!(matches!(refused, Err(Full::WaitTooLong(wait)) if wait >= seconds(60)));
    bench.millis = 60_000;
    assert_eq!(bench.admit().len(), 1);
    let now = bench.now();
    assert!(bench.pool.leave(second, now) && !bench.pool.leave(second, now));
    assert_eq!((bench.pool.waiting(), bench.wake()), (0, None));
}

#[test]
fn the_estimate_follows_the_drain() {
    let mut bench = Bench::new(policy(1));
    let mut held = Some(bench.enter(&normal("a")));
    for _ in 0..100 {
        bench.wait(&normal("a"));
    }
    for round in 1..=80 {
        bench.millis = round * 500;
        bench.release(held.take().unwrap(), Ended::Success);
        held = bench.admit().pop().map(|(_, held)| held);
    }
    let now = bench.now();
    let estimate = |bench: &Bench, priority| bench.pool.estimate(priority, now).as_millis();
    assert_eq!(estimate(&bench, Priority::Normal), 10_500);
    assert_eq!(estimate(&bench, Priority::High), 1_000);
    bench.pool.pause(now + seconds(100), Why::Rate, now);
    assert_eq!(estimate(&bench, Priority::Normal), 110_500);
    bench.pool.pause(now + seconds(100_000), Why::Rate, now);
    assert_eq!(estimate(&bench, Priority::Low), 3_600_000);
}

#[test]
fn the_drain_is_not_measured_while_nobody_could_go() {
    let mut bench = Bench::new(policy(1));
    let mut held = Some(bench.enter(&normal("a")));
    let mut end = |bench: &mut Bench, millis| {
        bench.millis += millis;
        bench.release(held.take().unwrap(), Ended::Success);
        held = bench.admit().pop().map(|(_, held)| held);
        held.is_some()
    };
    let all: Vec<Turn> = (0..4).map(|_| bench.wait(&normal("a"))).collect();
    assert!(end(&mut bench, 0) && end(&mut bench, 2_000));
    let now = bench.now();
    bench.pool.pause(now + seconds(1_000), Why::Rate, now);
    assert!(end(&mut bench, 1_000_000));
    // The last one leaves; much later others come.
    let now = bench.now();
    assert!(bench.pool.leave(all[3], now));
    bench.millis += 1_000_000;
    bench.wait(&normal("b"));
    bench.wait(&normal("b"));
    assert!(end(&mut bench, 0) && end(&mut bench, 2_000));
    for _ in 0..9 {
        bench.wait(&normal("b"));
    }
    assert_eq!(bench.pool.estimate(Priority::Low, bench.now()), seconds(20));
}

#[test]
fn a_volley_of_throttles_is_one() {
    let mut bench = Bench::new(policy(20));
    let mut volley: Vec<Held> = (0..20).map(|_| bench.enter(&normal("a"))).collect();
    bench.wait(&normal("a"));
    for (number, held) in volley.drain(..19).enumerate() {
        bench.millis = 100 + number as u64;
        assert_eq!(throttle(&mut bench, held, Throttle::Rate, None), seconds(1));
    }
    let (until, why) = bench.pool.paused_until(bench.now()).unwrap();
    assert_eq!((until, why), (bench.at(1_118), Why::Rate));
    assert_eq!((bench.wake(), bench.admit().len()), (Some(1_000), 0));
    bench.millis = 1_118;
    let (_, probe) = bench.admit().pop().unwrap();
    bench.wait(&normal("a"));
    assert_eq!((bench.wake(), bench.pool.ramp()), (None, Some(1)));
    bench.millis = 1_200;
    assert_eq!(throttle(&mut bench, probe, Throttle::Rate, None), seconds(2));
    assert_eq!(bench.wake(), Some(2_000));
    bench.millis = 3_200;
    assert_eq!(bench.admit().len(), 1);
    bench.release(volley.pop().unwrap(), Ended::Success);
    assert_eq!(bench.pool.ramp(), Some(1), "from before the pause");
}

#[test]
fn traffic_ramps_up_after_a_pause() {
    // Without a limit the ramp is over at the peak before the pause, here 6: then all go.
    for (limit, rounds) in [(8, vec![1, 2, 4, 8, 8]), (0, vec![1, 2, 4, 93])] {
        let mut bench = Bench::new(policy(limit));
        let peak: Vec<Held> = (0..6).map(|_| bench.enter(&normal("a"))).collect();
        let now = bench.now();
        bench.pool.pause(now + seconds(5), Why::Quota, now);
        peak.into_iter().for_each(|held| bench.release(held, Ended::Success));
        for _ in 0..100 {
            bench.wait(&normal("a"));
        }
        bench.millis = 5_000;
        for round in rounds {
            let admitted = bench.admit();
            assert_eq!(admitted.len(), round, "limit {limit}");
            admitted.into_iter().for_each(|(_, held)| bench.release(held, Ended::Success));
        }
        assert_eq!(bench.pool.ramp(), None);
    }
}

#[test]
fn a_ramp_knows_only_the_last_peak() {
    let mut bench = Bench::new(policy(0));
    let peak: Vec<Held> = (0..6).map(|_| bench.enter(&normal("a"))).collect();
    peak.into_iter().for_each(|held| bench.release(held, Ended::Success));
    for successes in [5, 1] {
        let now = bench.now();
        bench.pool.pause(now + seconds(5), Why::Session, now);
        bench.millis += 5_000;
        for success in 1..=successes {
            assert_eq!(bench.pool.ramp(), Some(success));
            let held = bench.enter(&normal("a"));
            bench.release(held, Ended::Success);
        }
        assert_eq!(bench.pool.ramp(), None);
    }
}

#[test]
fn too_many_at_a_time_sinks_the_limit() {
    let mut bench = Bench::new(policy(4));
    let mut held: Vec<Held> = (0..4).map(|_| bench.enter(&normal("a"))).collect();
    bench.wait(&normal("a"));
    let refused = held.pop().unwrap();
    assert_eq!(throttle(&mut bench, refused, Throttle::Concurrency, None), seconds(1));
    assert_eq!((bench.pool.limit(), bench.pool.in_use()), (Some(3), 3));
    assert!(bench.pool.paused_until(bench.now()).is_none());
    assert_eq!((bench.admit().len(), bench.wake()), (0, Some(10_000)));
    bench.release(held.pop().unwrap(), Ended::Success);
    assert_eq!(bench.admit().len(), 1, "a slot has ended");
    bench.wait(&normal("a"));
    bench.millis = 10_000;
    assert_eq!(turns(bench.admit()).len(), 1);

    // Alone, with slots held elsewhere: after one second it is tried again.
    let mut bench = Bench::new(policy(0));
    let refused = bench.enter(&normal("a"));
    throttle(&mut bench, refused, Throttle::Concurrency, None);
    bench.wait(&normal("a"));
    assert_eq!((bench.admit().len(), bench.wake()), (0, Some(1_000)));
    bench.millis = 1_000;
    assert_eq!((bench.admit().len(), bench.pool.limit()), (1, Some(1)));
}

#[test]
fn an_adaptive_limit_learns_from_every_throttle() {
    let adaptive = Policy { adaptive: NonZeroU32::new(2), ..policy(10) };
    let mut bench = Bench::new(adaptive);
    let held: Vec<Held> = (0..10).map(|_| bench.enter(&normal("a"))).collect();
    bench.millis = 50;
    for held in held {
        throttle(&mut bench, held, Throttle::Concurrency, None);
    }
    assert_eq!(bench.pool.limit(), Some(9));
    bench.millis = 2_000;
    let held = bench.enter(&normal("a"));
    bench.release(held, Ended::TimedOut);
    assert_eq!(bench.pool.limit(), Some(8));
}

#[test]
fn held_writes_do_not_block_reads() {
    let mut bench = Bench::new(policy(1));
    let [write, read] = [true, false].map(|writes| ticket("a", Priority::Normal, writes));
    let held = bench.enter(&read);
    let turns_in_order = [&write, &read, &write, &read].map(|ticket| bench.wait(ticket));
    let hold = Hold { scope: Scope::Writes, until: None, why: "month end".into() };
    bench.pool.hold(Some(hold.clone()), bench.start);
    assert!(matches!(bench.join(&write), Err(Full::Paused(wait)) if wait == seconds(60)));
    bench.release(held, Ended::Success);
    for expected in [1, 3] {
        let (turn, held) = bench.admit().pop().unwrap();
        assert_eq!(turn, turns_in_order[expected]);
        bench.release(held, Ended::Success);
    }
    assert_eq!((bench.admit().len(), bench.wake()), (0, None));
    let ends = Hold { until: Some(bench.at(5_000)), ..hold };
    bench.pool.hold(Some(ends), bench.start);
    assert_eq!(bench.wake(), Some(5_000));
    let read_now = bench.enter(&read);
    bench.release(read_now, Ended::Success);
    bench.millis = 5_000;
    assert!(bench.pool.on_hold(bench.now()).is_none());
    assert_eq!(turns(bench.admit()), [turns_in_order[0]]);
}

#[test]
fn an_operator_holds_everything() {
    let mut bench = Bench::new(Policy { wait_max: seconds(30), ..policy(1) });
    let hold = |until| Some(Hold { scope: Scope::All, until, why: "vendor maintenance".into() });
    bench.pool.hold(hold(Some(bench.at(20_000))), bench.start);
    let turn = bench.wait(&normal("a"));
    assert_eq!(bench.wake(), Some(20_000));
    bench.pool.hold(hold(None), bench.start);
    assert_eq!((bench.wake(), bench.admit().len()), (None, 0));
    assert!(matches!(bench.join(&normal("a")), Err(Full::Paused(_))));
    bench.pool.hold(None, bench.start);
    assert_eq!((bench.wake(), turns(bench.admit())), (Some(0), vec![turn]));
}

#[test]
fn high_has_slots_of_its_own() {
    for (limit, part, others) in [(10, 0.1, 9), (5, 0.1, 4), (1, 0.5, 1), (4, 1.0, 1)] {
        let mut bench = Bench::new(Policy { reserve_high: part, ..policy(limit) });
        let low: Vec<Held> =
            (0..others).map(|_| bench.enter(&ticket("a", Priority::Low, false))).collect();
        bench.wait(&normal("b"));
        assert_eq!((bench.admit().len(), bench.wake()), (0, None), "{limit} {part}");
        let high: Vec<Held> =
            (others..limit).map(|_| bench.enter(&ticket("c", Priority::High, true))).collect();
        high.into_iter().for_each(|held| bench.release(held, Ended::Unused));
        assert_eq!(bench.admit().len(), 0, "{limit} {part}");
        low.into_iter().for_each(|held| bench.release(held, Ended::Unused));
        assert_eq!(bench.admit().len(), 1, "{limit} {part}");
    }
}

#[test]
fn a_short_budget_is_for_high() {
    let mut bench = Bench::new(policy(0));
    let restore = Rate::parse("1/second").ok();
    bench.pool.pace("calls", 8, 100, restore, 0.1, bench.start);
    bench.wait(&normal("a"));
    bench.wait(&normal("a"));
    let high = ticket("b", Priority::High, false);
    let _one = bench.enter(&high);
    assert_eq!(bench.wake(), Some(3_000));
    bench.millis = 3_000;
    assert_eq!((bench.admit().len(), bench.wake()), (1, Some(1_000)));
    let now = bench.now();
    bench.pool.pace("calls", 50, 100, restore, 0.1, now);
    assert_eq!(bench.admit().len(), 1);
    bench.pool.pace("calls", 0, 100, restore, 0.1, now);
    bench.wait(&high);
    assert_eq!(bench.wake(), Some(1_000));
}

#[test]
fn two_processes_share_the_slots() {
    let mut old = Bench::new(policy(4));
    let mut new = Bench::new(policy(4));
    new.pool.set_lent(4);
    new.wait(&normal("a"));
    let held: Vec<Held> = (0..3).map(|_| old.enter(&normal("a"))).collect();
    assert!(old.pool.give() && !old.pool.give());
    new.pool.take(1);
    assert_eq!((new.admit().len(), new.pool.lent(), old.pool.lent()), (1, 3, 1));
    old.wait(&normal("a"));
    held.into_iter().for_each(|held| old.release(held, Ended::Success));
    assert_eq!(old.admit().len(), 1);

    // What is kept for high is kept once: of 1 slot nothing, of the other 3 one.
    for (lent, others) in [(3, 1), (1, 2), (0, 3), (4, 0), (9, 0)] {
        let mut bench = Bench::new(Policy { reserve_high: 0.1, ..policy(4) });
        bench.pool.set_lent(lent);
        for _ in 0..others {
            let _held = bench.enter(&normal("a"));
        }
        bench.wait(&normal("a"));
        assert_eq!(bench.admit().len(), 0, "{lent} lent");
    }
    assert!(!Pool::new(policy(0), old.start).give());
}

#[test]
fn a_reload_keeps_what_waits_and_what_is_held() {
    let mut bench = Bench::new(Policy { rates: vec![rate("1/second", 1)], ..policy(3) });
    let held = bench.enter(&normal("a"));
    let turn = bench.wait(&normal("a"));
    bench.pool.pause(bench.at(3_000), Why::Rate, bench.start);
    let smaller = Policy { rates: vec![rate("1/second", 1)], waiting_max: 0, ..policy(1) };
    bench.pool.set_policy(smaller, bench.start);
    bench.millis = 3_000;
    assert_eq!((bench.admit().len(), bench.pool.waiting()), (0, 1));
    bench.release(held, Ended::Success);
    assert_eq!(turns(bench.admit()), [turn]);
    assert!(matches!(bench.join(&normal("a")), Err(Full::QueueFull(_))));
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut bench = Bench::new(Policy { rates: vec![rate("1/second", 1)], ..policy(0) });
    bench.millis = 10_000;
    let held = bench.enter(&normal("a"));
    bench.millis = 2_000;
    bench.pool.pause(bench.at(9_000), Why::Rate, bench.at(2_000));
    assert!(bench.pool.paused_until(bench.now()).is_none());
    bench.wait(&normal("a"));
    assert_eq!(
        (bench.admit().len(), bench.pool.wake_at(bench.now())),
        (0, bench.at(11_000).into())
    );
    let wait =
        bench.pool.throttled(&held, Throttle::Rate, Some(Duration::MAX), BACKOFF, 0.5, bench.start);
    assert!(wait == Duration::MAX && bench.pool.paused_until(bench.start).is_some());
    bench.release(held, Ended::Throttled);
    assert_eq!(bench.pool.in_use(), 0);
}

#[test]
fn who_comes_back_goes_before_the_others_of_its_client() {
    let mut bench = Bench::new(policy(1));
    let held = bench.enter(&normal("a"));
    let other = bench.wait(&normal("a"));
    bench.release(held, Ended::Throttled);
    let now = bench.now();
    let back = match bench.pool.join(&normal("a"), true, now + FAR, now) {
        // Nobody has called `admit` yet, so somebody else's turn has come.
        Ok(Joined::Waits(turn)) => turn,
        joined => panic!("{joined:?}"),
    };
    let (turn, held) = bench.admit().pop().unwrap();
    assert_eq!(turn, back);
    bench.release(held, Ended::Success);
    assert_eq!(turns(bench.admit()), [other]);
}

#[test]
fn ten_thousand_who_come_and_go_leave_nothing() {
    let mut bench = Bench::new(policy(1));
    let held = bench.enter(&normal("first"));
    let mut left = Vec::new();
    for number in 0..10_000u32 {
        let class = [Priority::High, Priority::Normal, Priority::Low][number as usize % 3];
        let ticket = ticket(&format!("client-{number}"), class, number % 2 == 0);
        left.push(bench.wait(&ticket));
    }
    assert_eq!((bench.pool.waiting(), bench.pool.waiting_by_client().count()), (10_000, 10_000));
    let now = bench.now();
    // Neither in the order in which they came nor in the reverse of it.
    left.sort_by_key(|turn| turn.0.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    assert!(left.iter().all(|turn| bench.pool.leave(*turn, now)));
    assert!(!left.iter().any(|turn| bench.pool.leave(*turn, now)));
    bench.release(held, Ended::Unused);
    let pool = &bench.pool;
    assert_eq!((pool.waiting(), pool.in_use(), pool.queue.known()), (0, 0, 0));
    assert_eq!((pool.waiting_by_client().count(), bench.wake()), (0, None));
}

#[test]
fn who_was_turned_away_comes_back_into_a_full_queue() {
    let mut bench = Bench::new(Policy { waiting_max: 2, ..policy(1) });
    let held = bench.enter(&normal("a"));
    bench.wait(&normal("b"));
    bench.wait(&normal("b"));
    throttle(&mut bench, held, Throttle::Rate, Some(seconds(1)));
    let now = bench.now();
    let back = bench.pool.join(&normal("a"), true, now + FAR, now);
    assert!(matches!(back, Ok(Joined::Waits(_))), "{back:?}");
}

#[test]
fn one_client_does_not_take_all_places_of_the_queue() {
    let mut bench = Bench::new(Policy { waiting_max: 100, ..policy(1) });
    let _held = bench.enter(&normal("greedy"));
    let turns: Vec<Turn> = (0..100).map(|_| bench.wait(&normal("greedy"))).collect();
    assert!(matches!(bench.join(&normal("greedy")), Err(Full::QueueFull(_))));
    for (number, client) in ["other", "third", "other"].into_iter().enumerate() {
        match bench.join(&normal(client)) {
            Ok(Joined::Displaces { displaced, .. }) => {
                assert_eq!(Some(&displaced), turns.get(99 - number));
            }
            joined => panic!("{joined:?}"),
        }
        assert_eq!(bench.pool.waiting(), 100);
    }
}
