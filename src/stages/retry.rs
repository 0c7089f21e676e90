//! Decides whether an attempt that ended badly is made again, and when.
//!
//! Never repeats what the vendor may have acted on, unless acting twice is acting once: a request
//! that only reads, or a write under the vendor's own key or upsert. Never waits, sends or looks
//! at an answer. Refuses nothing: where the answer is no, the client gets how the last attempt
//! ended. The pause and the slot that a throttled attempt waits for are `admission`'s.

use std::time::Duration;

/// The retries that are always possible after a time without trouble, whatever the share is: one
/// bad moment of a quiet vendor must not be told to its few clients.
const RESERVE: u32 = 10;

/// Tokens are counted in millionths, exactly: many small shares do not add up to a wrong sum.
const TOKEN: u64 = 1_000_000;

/// How often, how much and how soon.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Attempts at most, the first one included, those that met a throttle not.
    pub attempts: u32,
    /// How many retries that add load there may be for each request, in the long run.
    pub budget: f64,
    /// The longest wait before the second attempt; it doubles with each further one.
    pub base: Duration,
    /// The longest wait before any attempt.
    pub max: Duration,
}

/// What is known of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// It only reads.
    pub reads: bool,
    /// The vendor's own key or an upsert is in force: acting twice is acting once.
    pub vendor_key: bool,
    /// The body is at hand whole, and nothing went to the client yet.
    pub replayable: bool,
}

/// How the attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There was no connection: nothing was sent.
    NotSent,
    /// HTTP/2 proves it unprocessed, or a read met a pooled connection that was already dead.
    Unprocessed,
    /// The vendor refused without acting.
    RefusedUnexecuted {
        /// For its load, so that a pause or a slot decides when to come again; else for what the
        /// next attempt brings anew: a token, a lock.
        throttle: bool,
    },
    /// It was sent, and no complete answer came, or none in time.
    Lost,
    /// The vendor answered that it failed, and that trying again may help.
    RetryableServer,
    /// With an answer for the client, good or bad.
    Final,
}

/// Whether and when to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// As soon as admission lets it.
    AtOnce,
    /// After this wait, then through admission.
    After(Duration),
    /// Not at all.
    No,
}

/// Keeps a vendor in trouble from being asked more than it would be in health: each first attempt
/// brings in a share of a token, each retry that adds load takes out one.
#[derive(Clone, Debug)]
pub struct Budget {
    millionths: u64,
}

/// Whether and when an attempt is made again. A retry that adds load takes its token here.
///
/// `attempts_made` counts those that met no throttle, this one included. `left` is what the
/// request's deadline leaves; `entropy` lies in [0, 1).
pub fn decide(
    policy: &Policy,
    request: Request,
    ended: Ended,
    attempts_made: u32,
    budget: &mut Budget,
    left: Duration,
    entropy: f64,
) -> Again {
    if !request.replayable || left.is_zero() {
        return Again::No;
    }
    let acting_twice_is_acting_once = request.reads || request.vendor_key;
    let adds_load = match ended {
        Ended::Final => return Again::No,
        // Not even an attempt: what bounds it is the deadline.
        Ended::RefusedUnexecuted { throttle: true } => return Again::AtOnce,
        Ended::NotSent | Ended::Unprocessed | Ended::RefusedUnexecuted { throttle: false } => false,
        Ended::Lost | Ended::RetryableServer if acting_twice_is_acting_once => true,
        Ended::Lost | Ended::RetryableServer => return Again::No,
    };
    if attempts_made >= policy.attempts {
        return Again::No;
    }
    // A dead connection from the pool says nothing of the vendor: a new one is at hand. Who is
    // turned away a second time has to wait.
    if ended == Ended::Unprocessed && attempts_made <= 1 {
        return Again::AtOnce;
    }
    let wait = backoff(policy, attempts_made, entropy);
    // The token last: who could not wait anyway must not take it.
    if wait >= left || (adds_load && !budget.withdraw()) {
        return Again::No;
    }
    Again::After(wait)
}

/// Full jitter: anything up to the bound, so that those who failed together do not come back
/// together.
fn backoff(policy: &Policy, attempts_made: u32, entropy: f64) -> Duration {
    let doublings = attempts_made.saturating_sub(1).min(31);
    let bound = policy.base.saturating_mul(1 << doublings).min(policy.max);
    let wait = bound.as_secs_f64() * entropy.clamp(0.0, 1.0);
    // What can't be said in seconds is no number: the whole wait, then.
    Duration::try_from_secs_f64(wait).map_or(bound, |wait| wait.min(bound))
}

impl Budget {
    const MAX: u64 = RESERVE as u64 * TOKEN;

    /// A budget after a time without trouble.
    pub fn new() -> Budget {
        Budget { millionths: Self::MAX }
    }

    /// A first attempt is made: it brings in its share of a token.
    pub fn deposit(&mut self, share: f64) {
        // Rounded down, and nothing where the share is negative or no number.
        let millionths = (share * TOKEN as f64) as u64;
        self.millionths = self.millionths.saturating_add(millionths).min(Self::MAX);
    }

    /// Takes out a token, if there is a whole one.
    pub fn withdraw(&mut self) -> bool {
        let rest = self.millionths.checked_sub(TOKEN);
        self.millionths = rest.unwrap_or(self.millionths);
        rest.is_some()
    }
}

impl Default for Budget {
    fn default() -> Budget {
        Budget::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{
        Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
    };

    const READ: Request = Request { reads: true, vendor_key: false, replayable: true };
    const KEYED: Request = Request { reads: false, vendor_key: true, replayable: true };
    const WRITE: Request = Request { reads: false, vendor_key: false, replayable: true };
    const LONG: Duration = Duration::from_secs(3600);

    const THROTTLED: Ended = Ended::RefusedUnexecuted { throttle: true };
    const REFUSED: Ended = Ended::RefusedUnexecuted { throttle: false };

    fn policy() -> Policy {
        Policy {
            attempts: 3,
            budget: 0.2,
            base: Duration::from_millis(200),
            max: Duration::from_secs(10),
        }
    }

    fn after(milliseconds: u64) -> Again {
        Again::After(Duration::from_millis(milliseconds))
    }

    fn empty() -> Budget {
        Budget { millionths: TOKEN - 1 }
    }

    #[test]
    fn each_end_meets_each_request() {
        use Again::{AtOnce, No};
        // After the first, the second and the third attempt of three: read, keyed write, write.
        let no = [No; 3];
        let any = |again| [again; 3];
        let safe = |again| [again, again, No];
        for (ended, first, second, third, takes) in [
            (Ended::NotSent, any(after(100)), any(after(200)), no, 0),
            (Ended::Unprocessed, any(AtOnce), any(after(200)), no, 0),
            (THROTTLED, any(AtOnce), any(AtOnce), any(AtOnce), 0),
            (REFUSED, any(after(100)), any(after(200)), no, 0),
            (Ended::Lost, safe(after(100)), safe(after(200)), no, 1),
            (Ended::RetryableServer, safe(after(100)), safe(after(200)), no, 1),
            (Ended::Final, no, no, no, 0),
        ] {
            for (made, expected) in [(1, first), (2, second), (3, third), (u32::MAX, third)] {
                for (request, expected) in [READ, KEYED, WRITE].into_iter().zip(expected) {
                    let decided = |request, budget: &mut Budget, left| {
                        decide(&policy(), request, ended, made, budget, left, 0.5)
                    };
                    let mut budget = Budget::new();
                    let name = format!("{ended:?} {made} {request:?}");
                    assert_eq!(decided(request, &mut budget, LONG), expected, "{name}");
                    let taken = if expected == No { 0 } else { takes };
                    assert_eq!(budget.millionths, Budget::MAX - taken * TOKEN, "{name}");
                    // Without a token; not at hand any more; out of time.
                    let spent = if takes == 0 { expected } else { No };
                    assert_eq!(decided(request, &mut empty(), LONG), spent, "{name}");
                    let gone = Request { replayable: false, ..request };
                    assert_eq!(decided(gone, &mut Budget::new(), LONG), No, "{name}");
                    assert_eq!(decided(request, &mut Budget::new(), Duration::ZERO), No, "{name}");
                }
            }
        }
    }

    #[test]
    fn a_wait_ends_before_the_deadline() {
        let mut budget = Budget::new();
        let mut decided = |left| {
            let left = Duration::from_millis(left);
            decide(&policy(), READ, Ended::Lost, 1, &mut budget, left, 0.5)
        };
        assert_eq!((decided(101), decided(100), decided(99)), (after(100), Again::No, Again::No));
        assert_eq!(budget.millionths, Budget::MAX - TOKEN, "who can't wait takes no token");
    }

    #[test]
    fn waits_double_up_to_their_bound() {
        for (made, entropy, milliseconds) in [
            (0, 0.5, 100),
            (1, 0.0, 0),
            (1, 0.25, 50),
            (2, 0.5, 200),
            (3, 0.5, 400),
            (6, 0.5, 3_200),
            (7, 0.5, 5_000),
            (u32::MAX, 0.5, 5_000),
            (1, 7.0, 200),
            (1, -7.0, 0),
            (1, f64::NAN, 200),
        ] {
            let wait = backoff(&policy(), made, entropy);
            assert_eq!(wait, Duration::from_millis(milliseconds), "{made} {entropy}");
        }
        let forever = Policy { base: Duration::MAX, max: Duration::MAX, ..policy() };
        assert!(backoff(&forever, 9, 0.9) > LONG);
        assert_eq!(backoff(&forever, 9, 1.0), Duration::MAX);
        // As a float it is longer than it is.
        let odd = Duration::new(1 << 52, 999_999_999);
        assert_eq!(backoff(&Policy { base: odd, max: odd, ..policy() }, 1, 1.0), odd);
    }

    #[test]
    fn the_reserve_comes_back_with_quiet_requests() {
        let mut budget = Budget::new();
        let withdrawals = |budget: &mut Budget| (0..99).filter(|_| budget.withdraw()).count();
        assert_eq!(withdrawals(&mut budget), 10);
        for (requests, share, retries) in
            [(4, 0.2, 0), (1, 0.2, 1), (50, 0.2, 10), (5_000, 0.2, 10), (9, 0.0, 0), (9, -1.0, 0)]
        {
            (0..requests).for_each(|_| budget.deposit(share));
            assert_eq!(withdrawals(&mut budget), retries, "{requests} at {share}");
        }
        for (odd, retries) in [(f64::NAN, 0), (f64::INFINITY, 10), (1e300, 10)] {
            budget.deposit(odd);
            assert_eq!(withdrawals(&mut budget), retries);
        }
    }

    #[test]
    fn waits_spread_evenly() {
        let waits = (0..1_000).map(|at| backoff(&policy(), 2, f64::from(at) / 1_000.0));
        let mut tenths = [0; 10];
        for wait in waits {
            tenths[wait.as_millis() as usize / 40] += 1;
        }
        assert_eq!(tenths, [100; 10]);
    }

    fn ends() -> impl Strategy<Value = Ended> {
        prop_oneof![
            Just(Ended::NotSent),
            Just(Ended::Unprocessed),
            Just(THROTTLED),
            Just(REFUSED),
            Just(Ended::Lost),
            Just(Ended::RetryableServer),
            Just(Ended::Final),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// Whatever else holds: a write without the vendor's key is not repeated once the vendor
        /// may have acted, nothing is repeated that is not at hand or has no time left, and no
        /// wait is longer than its bound.
        #[test]
        fn nothing_is_booked_twice(
            reads: bool, vendor_key: bool, replayable: bool,
            ended in ends(),
            attempts in 0u32..9, made in 0u32..9,
            base in any::<Duration>(), max in any::<Duration>(), left in any::<Duration>(),
            entropy in 0.0f64..1.0,
        ) {
            let policy = Policy { attempts, budget: 0.2, base, max };
            let request = Request { reads, vendor_key, replayable };
            let again =
                decide(&policy, request, ended, made, &mut Budget::new(), left, entropy);
            let may_have_acted = matches!(ended, Ended::Lost | Ended::RetryableServer);
            if may_have_acted && !reads && !vendor_key {
                prop_assert_eq!(again, Again::No);
            }
            if !replayable || ended == Ended::Final {
                prop_assert_eq!(again, Again::No);
            }
            if made >= attempts && ended != THROTTLED {
                prop_assert_eq!(again, Again::No);
            }
            if let Again::After(wait) = again {
                prop_assert!(wait < left && wait <= max);
            }
        }

        /// With every attempt failing, the retries are no more than their share of the requests
        /// and the reserve, and no fewer than the share that the attempts allow.
        #[test]
        fn retries_keep_to_their_budget(
            percent in 0u32..=100, attempts in 1u32..6, requests in 1u32..2_000, lost: bool,
        ) {
            let share = f64::from(percent) / 100.0;
            let policy = Policy { attempts, budget: share, ..policy() };
            let ended = if lost { Ended::Lost } else { Ended::RetryableServer };
            let mut budget = Budget::new();
            let mut retries = 0;
            for request in 1..=requests {
                budget.deposit(policy.budget);
                let mut made = 1;
                while decide(&policy, READ, ended, made, &mut budget, LONG, 0.5) != Again::No {
                    made += 1;
                    retries += 1;
                }
                let most = u64::from(RESERVE) * 100 + u64::from(percent * request);
                prop_assert!(retries * 100 <= most, "{} of {}", retries, request);
            }
            let least = u64::from((percent * requests) / 100).saturating_sub(1);
            prop_assert!(attempts == 1 || retries >= least, "{} of {}", retries, requests);
        }
    }
}
