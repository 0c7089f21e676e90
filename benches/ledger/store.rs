//! A ledger on a real disk, and what is written into it.

use erpgate::adapters::ledger::entry::{Answer, Change, Held, NewClaim, Outcome, Settlement};
use erpgate::adapters::ledger::entry::{Claim, Trouble};
use erpgate::adapters::ledger::seal::EncryptionKey;
use erpgate::adapters::ledger::sqlite::{Settings, SqliteLedger};
use erpgate::adapters::ledger::{Clocks, Ledger};
use erpgate::model::digest::Sha256;
use erpgate::stages::idempotency::fingerprint::Fingerprint;
use erpgate::stages::idempotency::key::Key;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Writes that are under way at a time while a ledger is filled.
const UNDER_WAY: u64 = 4096;
/// So many are written one by one; those that are looked up.
pub const WRITTEN: u64 = 100_000;
/// One of so many retained keys is young enough that its answer is still there: 7 of 30 days.
const ANSWERED: u64 = 4;

struct Real(Instant);

impl Clocks for Real {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        i64::try_from(since.as_millis()).expect("soon enough")
    }
}

/// An open ledger, and the numbers of its keys.
pub struct Store {
    /// The ledger.
    pub ledger: SqliteLedger,
    /// How many keys are retained.
    pub retained: u64,
    next: AtomicU64,
    body: String,
}

impl Store {
    /// Opens one, made if there is none.
    pub fn open(path: &Path, sealed: bool) -> Store {
        let encryption_key = sealed.then(|| EncryptionKey::new(&[7; 32]));
        let answer_bytes_max = 8 << 10;
        let settings =
            Settings { path: path.to_owned(), create: true, answer_bytes_max, encryption_key };
        let clocks = Arc::new(Real(Instant::now()));
        let opened = SqliteLedger::open(&settings, clocks, Box::new(|_| ()));
        let ledger = opened.expect("opened").0;
        let retained = ledger.tally().expect("told").answered;
        let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        // No number of an earlier run.
        let next = AtomicU64::new(u64::try_from(nanoseconds.as_nanos()).expect("soon enough"));
        let items = (0..30).map(|n| format!("{{\"id\":{n},\"sku\":\"{}\"}},", n * 7919));
        Store { ledger, retained, next, body: items.collect() }
    }

    /// Fills it up with keys of writes that were answered: the first ones as the gateway writes
    /// them, which are looked up later; behind them their doubles, under names at random.
    pub fn fill(path: &Path, sealed: bool, keys: u64) {
        if Store::open(path, sealed).retained < keys {
            Store::open(path, sealed).write(keys.min(WRITTEN));
            double(path, keys).expect("doubled");
        }
    }

    fn write(&self, keys: u64) {
        let (tell, told) = channel();
        let mut under_way = 0;
        for number in self.retained..keys {
            let tell = tell.clone();
            self.claim(number, move |claim| tell.send((number, claim)).is_ok());
            under_way += 1;
            if under_way == UNDER_WAY || number + 1 == keys {
                self.settle(&told, under_way);
                under_way = 0;
            }
        }
    }

    fn settle(&self, told: &Receiver<(u64, Claim)>, count: u64) {
        let claims: Vec<_> = (0..count).map(|_| told.recv().expect("claimed")).collect();
        let (tell, settled) = channel();
        for (number, claim) in claims {
            let settlement = match number % ANSWERED {
                0 => self.settlement(number),
                _ => Settlement::NotKept(Some(201)),
            };
            let tell = tell.clone();
            self.answer(claim, settlement, move || tell.send(()).is_ok());
        }
        (0..count).for_each(|_| settled.recv().expect("answered"));
    }

    /// A number that nobody had.
    pub fn fresh(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Claims the key of this number, and does that with its claim.
    pub fn claim(&self, number: u64, then: impl FnOnce(Claim) -> bool + Send + 'static) {
        let done = move |outcome: Result<Outcome, Trouble>| match outcome {
            Ok(Outcome::Held(Held::Ours(claim))) => then(claim),
            other => panic!("{number} is not ours: {other:?}"),
        };
        self.ledger.submit(Change::Claim(Box::new(new_claim(number))), Box::new(done));
    }

    /// Settles a claim, and does that once it is.
    pub fn answer(
        &self,
        claim: Claim,
        settlement: Settlement,
        then: impl FnOnce() -> bool + Send + 'static,
    ) {
        let done = move |outcome| {
            assert_eq!(outcome, Ok(Outcome::Made));
            then()
        };
        self.ledger.submit(Change::Answer(claim, settlement), Box::new(done));
    }

    /// An answer as a vendor gives it to a create.
    pub fn settlement(&self, number: u64) -> Settlement {
        let fields = vec![
            ("content-type".into(), "application/json".into()),
            ("location".into(), format!("/services/rest/record/v1/salesOrder/{number}").into()),
        ];
        let body = format!("{{\"id\":{number},\"items\":[{}]}}", self.body).into();
        Settlement::Kept(Answer { status: 201, fields, body })
    }
}

/// In the order in which writes come: their names fall all over the index.
fn double(path: &Path, keys: u64) -> rusqlite::Result<()> {
    let connection = rusqlite::Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA synchronous = OFF; PRAGMA journal_mode = TRUNCATE; PRAGMA cache_size = -1000000;",
    )?;
    let count = || connection.query_row("SELECT count(*) FROM claims", [], |row| row.get(0));
    let mut there: u64 = count()?;
    let columns = "client, vendor, private, correlation, route, method, credential, standing,
        attempt, generation, first_steady, first_wall, since_steady, since_wall, doubtful, status,
        kept";
    while there < keys {
        let more = WRITTEN.min(keys - there);
        connection.execute_batch(&format!(
            "BEGIN;
             INSERT INTO claims(id, identity, {columns})
                 SELECT id + {there}, randomblob(16), {columns} FROM claims WHERE id <= {more};
             INSERT INTO answers SELECT entry + {there}, raw_bytes, octets, settled_steady
                 FROM answers WHERE entry <= {more};
             COMMIT;"
        ))?;
        there += more;
    }
    connection.execute_batch("PRAGMA journal_mode = WAL;")
}

/// A claim as the gateway makes it.
pub fn new_claim(number: u64) -> NewClaim {
    let digits = Sha256::of(&number.to_be_bytes()).to_string();
    NewClaim {
        client: "shiphawk".into(),
        vendor: "netsuite".into(),
        key: Key::kept(digits[..36].into(), None),
        fingerprint: Fingerprint(Sha256::of(&number.to_le_bytes())),
        vendor_key: Some(digits[20..56].into()),
        method: "POST".into(),
        path: "/services/rest/record/v1/salesOrder".into(),
        credential: None,
        correlation: digits[..36].into(),
        route: "netsuite".into(),
    }
}
