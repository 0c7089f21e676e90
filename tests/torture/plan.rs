//! How much a run does, and dice that fall the same way for the same seed.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::path::PathBuf;
use std::time::Duration;

/// How long the vendor may take to answer, as the gateway is told.
const RESPONSE: Duration = Duration::from_millis(2500);
/// The same where the test itself holds answers back.
const RESPONSE_HELD: Duration = Duration::from_secs(8);
/// The latest that the vendor books, after a request has come in: whoever looks a write up sooner
/// than that after it was sent may see nothing of what is booked later.
pub const LATE_MAX: Duration = Duration::from_millis(1500);
/// Bytes of the largest answer that the gateway keeps.
pub const ANSWER_MAX: usize = 16 * 1024;
/// How long a run goes on in which nothing happens any more.
pub const STALL: Duration = Duration::from_secs(60);

/// The size of a run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Of all dice.
    pub seed: u64,
    /// How often the gateway is hurt.
    pub kills: u64,
    /// Keys that are to be settled, at least.
    pub keys: u64,
    /// How many clients send at a time.
    pub clients: u64,
    /// How long the vendor may take to answer.
    pub response: Duration,
}

impl Plan {
    /// The short form, unless the environment asks for more.
    pub fn of(kills: u64, keys: u64) -> Plan {
        let kills = number("ERPGATE_TORTURE_KILLS").unwrap_or(kills);
        let keys = number("ERPGATE_TORTURE_KEYS").unwrap_or(keys);
        let clients = if keys < 5000 { 48 } else { 128 };
        Plan { seed: seed(), kills, keys, clients, response: RESPONSE }
    }

    /// A run that has the same size in the short and in the long form.
    pub fn fixed(kills: u64, keys: u64) -> Plan {
        Plan { seed: seed(), kills, keys, clients: 48, response: RESPONSE }
    }

    /// A run whose test decides when the vendor answers.
    pub fn held() -> Plan {
        Plan { response: RESPONSE_HELD, ..Plan::fixed(1, 1) }
    }

    /// Events of the kinds that are waited for, from one kill to the next, in the mean.
    pub fn between_kills(&self) -> u64 {
        (self.keys * 3 / 2 / self.kills.max(1)).max(1)
    }
}

/// The gateway that is tortured: the one built with the tests, or any other.
pub fn binary() -> PathBuf {
    let other = std::env::var_os("ERPGATE_TORTURE_BINARY");
    other.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_erpgate")), PathBuf::from)
}

fn seed() -> u64 {
    number("ERPGATE_TORTURE_SEED").unwrap_or_else(|| rand::rng().random())
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// What is decided by dice; each has dice of its own.
#[derive(Clone, Copy, Debug)]
pub enum Matter {
    Client,
    Vendor,
    LookUp,
    Trouble,
    Again,
}

/// Dice for one decision: they depend on what is decided, not on when.
pub fn dice(seed: u64, matter: Matter, parts: [u64; 2]) -> StdRng {
    let [first, second] = parts;
    let mixed = [matter as u64, first, second].iter().fold(seed, |mixed, part| mix(mixed ^ part));
    StdRng::seed_from_u64(mixed)
}

/// The finalizer of SplitMix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A duration below this one.
pub fn part_of(dice: &mut StdRng, most: Duration) -> Duration {
    most.mul_f64(dice.random_range(0.0..1.0))
}
