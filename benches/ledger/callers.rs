//! What the callers do, and what one time costs: processor time of the whole process, and time.

use crate::store::{Store, WRITTEN, new_claim};
use erpgate::adapters::ledger::Ledger;
use erpgate::adapters::ledger::entry::{Claim, Settlement};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

/// How often in a round: where each waits for the disk, and where many share a commit.
const ALONE: u64 = 1000;
const TOGETHER: u64 = 20_000;

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A key is claimed.
    Claim,
    /// A key is claimed, and its answer stored.
    ClaimAndAnswer,
    /// A key is looked up that nobody knows.
    LookInVain,
    /// A key is looked up that is known.
    Look,
}

/// One time.
#[derive(Clone, Copy)]
pub struct Cost {
    /// Processor time.
    pub cpu_us: f64,
    /// Time, of which all callers together need one share each.
    pub wall_us: f64,
}

impl Work {
    /// All of it.
    pub const ALL: [Work; 4] = [Work::Claim, Work::ClaimAndAnswer, Work::LookInVain, Work::Look];

    /// As the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Work::Claim => "claim",
            Work::ClaimAndAnswer => "claim, answer",
            Work::LookInVain => "look in vain",
            Work::Look => "look",
        }
    }

    /// What one time costs if so many do it at the same time.
    pub fn cost(self, store: &Store, callers: usize) -> Cost {
        let times = if callers == 1 { ALONE } else { TOGETHER };
        match self {
            Work::Claim => claim(store, callers, times),
            Work::ClaimAndAnswer => claim_and_answer(store, callers, times),
            Work::LookInVain => {
                let from = store.fresh() << 1;
                look(store, callers, &|number| from + number)
            }
            Work::Look => match store.retained {
                0 => {
                    let first = store.fresh() + 1;
                    let _ = claim_and_answer(store, 256, 2000);
                    look(store, callers, &|number| first + number % 2000)
                }
                // All over the place.
                retained => look(store, callers, &|number| {
                    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % retained.min(WRITTEN)
                }),
            },
        }
    }
}

/// What a caller hears.
enum Told {
    Claimed(u64, Claim),
    Answered,
}

fn claim(store: &Store, callers: usize, times: u64) -> Cost {
    let mut claims = Vec::with_capacity(usize::try_from(times).expect("few"));
    let cost = measure(times, || {
        run(store, callers, times, |told, _| match told {
            Told::Claimed(_, claim) => {
                claims.push(claim);
                true
            }
            Told::Answered => false,
        });
    });
    // Nobody counts that; they would only be many that are under way.
    let (tell, told) = channel();
    for claim in &claims {
        let tell = tell.clone();
        store.answer(*claim, Settlement::NotKept(Some(201)), move || tell.send(()).is_ok());
    }
    claims.iter().for_each(|_| told.recv().expect("answered"));
    cost
}

/// Each caller has its answer stored before it comes again.
fn claim_and_answer(store: &Store, callers: usize, times: u64) -> Cost {
    measure(times, || {
        run(store, callers, times, |told, tell| match told {
            Told::Claimed(number, claim) => {
                let tell = tell.clone();
                let then = move || tell.send(Told::Answered).is_ok();
                store.answer(claim, store.settlement(number), then);
                false
            }
            Told::Answered => true,
        });
    })
}

/// Callers that come again as soon as they are done: `is_done` says so of what they hear.
fn run(
    store: &Store,
    callers: usize,
    times: u64,
    mut is_done: impl FnMut(Told, &Sender<Told>) -> bool,
) {
    let (tell, told) = channel();
    let come = || {
        let (number, tell) = (store.fresh(), tell.clone());
        store.claim(number, move |claim| tell.send(Told::Claimed(number, claim)).is_ok());
    };
    (0..callers).for_each(|_| come());
    let (mut begun, mut done) = (callers as u64, 0);
    while done < times {
        if is_done(told.recv().expect("told"), &tell) {
            done += 1;
            if begun < times {
                come();
                begun += 1;
            }
        }
    }
}

fn look(store: &Store, callers: usize, number: &(dyn Fn(u64) -> u64 + Sync)) -> Cost {
    let each = TOGETHER / callers as u64;
    measure(each * callers as u64, || {
        std::thread::scope(|scope| {
            for caller in 0..callers as u64 {
                scope.spawn(move || {
                    for time in 0..each {
                        let identity = new_claim(number(caller * each + time)).identity();
                        black_box(store.ledger.look(&identity).expect("told"));
                    }
                });
            }
        });
    })
}

fn measure(times: u64, work: impl FnOnce()) -> Cost {
    let (cpu, wall) = (cpu_us(), Instant::now());
    work();
    let (cpu, wall) = (cpu_us() - cpu, wall.elapsed().as_secs_f64() * 1e6);
    Cost { cpu_us: cpu / times as f64, wall_us: wall / times as f64 }
}

/// Processor time of this process.
fn cpu_us() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}
