//! What the vendor does to a request: mostly what it should, and else what vendors do.

use crate::plan::{LATE_MAX, Matter, dice, part_of};
use rand::Rng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How it takes requests.
#[derive(Clone)]
pub enum Temper {
    /// It books and answers at once.
    Calm,
    /// Whatever the dice say.
    Wild,
    /// It books and answers who is let through the gate; whose connection ends first, it books
    /// if the dice say so.
    Gated(Arc<Semaphore>),
}

/// What it does to one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Waits, books, waits, answers.
    Answer(Duration, Duration),
    /// Answers in pieces.
    Pieces,
    /// Answers with more than the gateway keeps.
    Large,
    /// Books once it is alone, or after this time; answers whoever is still there.
    Alone(Duration),
    /// Ends the connection, then books after this time, or at once, or never.
    Vanish { reset: bool, booked: Booked },
    /// Answers with this status, which says nothing of what it did.
    Fail { status: u16, booked: bool },
    /// Says that it did not act for want of time.
    Throttle,
    /// Says that it won't, with a complete answer.
    Refuse,
    /// Books, and ends its answer too early.
    Cut { reset: bool },
    /// Books, and answers what is not HTTP.
    Garbage,
    /// Never answers.
    Silence { booked: bool },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Booked {
    Before,
    After(Duration),
    Never,
}

/// What it does to a look-up, which says what was true when it came in.
#[derive(Clone, Debug, PartialEq)]
pub enum Look {
    Answer(Duration),
    Fail(u16),
    Vanish,
    Cut,
    Garbage,
}

/// How often the dice decide for one external id: every write has to come to an end.
const WILD_MAX: u64 = 3;
const MOMENT: Duration = Duration::from_millis(150);
const WHILE: Duration = Duration::from_millis(300);
const STATUSES: [u16; 5] = [500, 502, 503, 504, 408];

/// What is done to the request for this id that came in so late.
pub fn act(seed: u64, id: u64, count: u64) -> Act {
    if count > WILD_MAX {
        return Act::Answer(Duration::ZERO, Duration::ZERO);
    }
    let mut dice = dice(seed, Matter::Vendor, [id, count]);
    let reset = dice.random_bool(0.5);
    let booked = dice.random_bool(0.5);
    let status = STATUSES[dice.random_range(0..STATUSES.len())];
    match dice.random_range(0..1000) {
        0..430 => Act::Answer(Duration::ZERO, Duration::ZERO),
        430..530 => Act::Answer(part_of(&mut dice, MOMENT), part_of(&mut dice, MOMENT)),
        530..560 => Act::Pieces,
        560..590 => Act::Large,
        590..690 => Act::Alone(part_of(&mut dice, WHILE)),
        690..740 => Act::Vanish { reset, booked: Booked::Before },
        740..800 => Act::Vanish { reset, booked: Booked::After(lateness(&mut dice)) },
        800..840 => Act::Vanish { reset, booked: Booked::Never },
        840..920 => Act::Fail { status, booked },
        920..925 => Act::Throttle,
        // Who has sent it before has been told something else, or nothing yet.
        925..955 if count == 1 => Act::Refuse,
        925..965 => Act::Cut { reset },
        965..985 => Act::Garbage,
        985..990 => Act::Silence { booked },
        _ => Act::Answer(Duration::ZERO, MOMENT),
    }
}

/// Mostly soon, at times as late as can be.
fn lateness(dice: &mut StdRng) -> Duration {
    match dice.random_bool(0.2) {
        true => LATE_MAX.mul_f64(dice.random_range(0.7..0.95)),
        false => part_of(dice, WHILE),
    }
}

/// What is done to so many look-ups of this id.
pub fn look(seed: u64, id: u64, count: u64) -> Look {
    if count > WILD_MAX {
        return Look::Answer(Duration::ZERO);
    }
    let mut dice = dice(seed, Matter::LookUp, [id, count]);
    match dice.random_range(0..100) {
        0..70 => Look::Answer(Duration::ZERO),
        70..82 => Look::Answer(part_of(&mut dice, Duration::from_secs(1))),
        82..90 => Look::Fail(STATUSES[dice.random_range(0..STATUSES.len())]),
        90..94 => Look::Vanish,
        94..97 => Look::Cut,
        _ => Look::Garbage,
    }
}

/// Whether what was held is booked when its connection has ended.
pub fn books_alone(seed: u64, id: u64) -> bool {
    dice(seed, Matter::Vendor, [id, u64::MAX]).random_bool(0.5)
}
