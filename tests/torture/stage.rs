//! A vendor, clients, and the gateway between them that is hurt while they work.

use crate::clients::Clients;
use crate::journal::Violation;
use crate::message::{Link, Message};
use crate::plan::{Matter, Plan, STALL, dice};
use crate::process::Process;
use crate::pulse::{Beat, Pulse};
use crate::site::{Memory, Site};
use crate::trouble::Trouble;
use crate::vendor::Vendor;
use crate::vendor::temper::Temper;
use crate::verdict;
use crate::write::Write;
use rand::Rng;
use rand::rngs::StdRng;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// How long a moment is waited for: in a full disk nothing may happen any more.
const MOMENT_MAX: Duration = Duration::from_secs(3);
/// How long what everybody knows may take to show in the ledger.
const SETTLING: Duration = Duration::from_secs(30);
/// How often a gateway is started that ends by itself.
const STARTS_MAX: usize = 3;

/// Everything that one run needs.
pub struct Stage {
    pub plan: Plan,
    memory: Memory,
    began: Instant,
    pub pulse: Pulse,
    pub vendor: Vendor,
    pub site: Site,
    pub clients: Arc<Clients>,
    pub gateway: Process,
    /// Gateways that were replaced, and have yet to end.
    pub leaving: Vec<Process>,
}

impl Stage {
    pub async fn open(plan: Plan, temper: Temper, memory: Memory, ledger: Option<&Path>) -> Stage {
        let (began, pulse) = (Instant::now(), Pulse::new());
        let vendor = Vendor::start(plan.seed, temper, pulse.clone()).await;
        let site = Site::make(&plan, vendor.address, memory, ledger);
        let clients = Arc::new(Clients::of(&site, plan, pulse.clone()));
        let mut gateway = Process::start(&site, &[]);
        if let Err(words) = gateway.serves().await {
            panic!("the gateway can't be tested: {words}");
        }
        Stage { plan, memory, began, pulse, vendor, site, clients, gateway, leaving: Vec::new() }
    }

    /// SIGKILL; whoever was dead before is an offense.
    pub fn kill(&mut self) {
        if let Some(status) = self.gateway.ended() {
            let words = format!("with {status}:\n{}", self.gateway.last_words());
            self.clients.journal.violates(Violation::Ended(words));
        }
        self.gateway.kill();
        self.clients.journal.count("kills");
    }

    /// A new gateway in the place of a dead one, which serves.
    pub async fn revive(&mut self) {
        // Who leaves has the sockets for a moment yet.
        self.everybody_left().await;
        for _ in 0..STARTS_MAX {
            self.gateway = Process::start(&self.site, &[]);
            match self.gateway.serves().await {
                Ok(()) => return,
                Err(words) => self.clients.journal.violates(Violation::Ended(words)),
            }
        }
        self.clients.lose_hope();
    }

    /// Waits for a moment that the dice choose.
    pub async fn moment(&self, dice: &mut StdRng, events_mean: u64) {
        let beats = [Beat::Sent, Beat::Arrived, Beat::Booked, Beat::Heard];
        let beat = beats[dice.random_range(0..beats.len())];
        let events = dice.random_range(1..=events_mean * 2);
        // Nothing may be left to happen until it is hurt.
        let _ = timeout(MOMENT_MAX, self.pulse.more(beat, events)).await;
    }

    /// Clients work while the gateway is hurt as often as planned, until every key is settled;
    /// then each answer is asked for again, of a gateway that has just begun.
    pub async fn torture(&mut self, trouble: &Trouble) {
        let mut workers = JoinSet::new();
        for _ in 0..self.plan.clients {
            let clients = self.clients.clone();
            workers.spawn(async move { clients.work().await });
        }
        for strike in 0..self.plan.kills {
            let mut dice = dice(self.plan.seed, Matter::Trouble, [strike, 0]);
            self.moment(&mut dice, self.plan.between_kills()).await;
            trouble.strike(self, &mut dice).await;
        }
        self.clients.have_enough();
        self.settles(workers).await;
        self.vendor.books.up_to_date().await;
        self.vendor.becomes(Temper::Calm);
        self.everybody_left().await;
        self.kill();
        self.revive().await;
        self.asks_all_again().await;
        if self.memory == Memory::Kept {
            self.nothing_is_unknown().await;
        }
    }

    /// Waits for clients for as long as something happens.
    pub async fn settles(&self, mut workers: JoinSet<()>) {
        while !workers.is_empty() {
            tokio::select! {
                worker = workers.join_next() => {
                    worker.expect("one").expect("no panic");
                }
                goes_on = self.pulse.more(Beat::Settled, 1) => {
                    if !goes_on {
                        self.clients.lose_hope();
                    }
                }
            }
        }
    }

    /// Waits for the end of those who were replaced.
    pub async fn everybody_left(&mut self) {
        for mut process in self.leaving.drain(..) {
            let ended = process.end().await;
            let fair = ended.as_ref().is_ok_and(|status| matches!(status.code(), Some(0 | 3)));
            if !fair {
                let words = format!("with {ended:?}:\n{}", process.last_words());
                self.clients.journal.violates(Violation::Ended(words));
            }
        }
    }

    async fn asks_all_again(&self) {
        let stories = self.clients.journal.stories();
        let writes: Arc<[Write]> = stories.iter().map(|(write, _)| *write).collect();
        let mut workers = JoinSet::new();
        let clients_count = usize::try_from(self.plan.clients).expect("few");
        for first in 0..clients_count {
            let (clients, writes) = (self.clients.clone(), writes.clone());
            workers.spawn(async move {
                let mut link = None;
                for write in writes.iter().skip(first).step_by(clients_count) {
                    if !clients.ask_again(*write, &mut link).await {
                        let (write, last) = (*write, "asked again".to_owned());
                        clients.journal.violates(Violation::NeverAnswered { write, last });
                    }
                }
            });
        }
        self.settles(workers).await;
    }

    /// Every key is answered: nothing may be left in the ledger to be settled.
    async fn nothing_is_unknown(&self) {
        let deadline = Instant::now() + SETTLING;
        loop {
            let entries = self.unknown().await;
            if entries.as_ref().is_some_and(Vec::is_empty) {
                return;
            }
            if Instant::now() > deadline {
                let entries = format!("{entries:?}");
                return self.clients.journal.violates(Violation::LeftUnknown { entries });
            }
            tokio::time::sleep(Duration::from_millis(100)).await; // poll interval
        }
    }

    /// The unknown entries of the ledger; `None`: nobody tells.
    pub async fn unknown(&self) -> Option<Vec<serde_json::Value>> {
        let answer = self.admin("/api/v1/ledger?state=unknown").await?.json();
        let list = |value: &serde_json::Value| value.as_array().cloned();
        list(&answer).or_else(|| answer.as_object()?.values().find_map(list))
    }

    /// A GET on the admin listener; `None`: no good answer.
    pub async fn admin(&self, path: &str) -> Option<Message> {
        let mut link = Link::connect(self.site.admin).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        link.send(request.as_bytes()).await;
        let answer = timeout(STALL, link.answer()).await.ok()??;
        (answer.status() == Some(200)).then_some(answer)
    }

    /// What must not have happened, after a line that says what did.
    pub fn verdict(&self, name: &str) -> Vec<Violation> {
        let entries = self.vendor.books.entries();
        let booked: u64 = entries.values().map(|entry| entry.booked).sum();
        let looks: u64 = entries.values().map(|entry| entry.looks).sum();
        let arrivals: u64 = entries.values().map(|entry| entry.arrivals).sum();
        let keys = self.clients.journal.stories().len();
        let violations = verdict::violations(&self.clients.journal, &self.vendor.books);
        println!(
            "{name}: {:.1?}, seed {}, {keys} keys, {arrivals} arrivals, {booked} bookings, \
             {looks} look-ups, {} violations\n    {}",
            self.began.elapsed(),
            self.plan.seed,
            violations.len(),
            self.clients.journal.summary()
        );
        violations
    }

    /// Ends a test that finds nothing wrong.
    pub fn holds(&self, name: &str) {
        let violations = self.verdict(name);
        assert!(
            violations.is_empty(),
            "{name} with ERPGATE_TORTURE_SEED={}: {} violations\n{}\nThe gateway's last words:\n{}",
            self.plan.seed,
            violations.len(),
            verdict::told(&violations),
            self.gateway.last_words()
        );
    }
}
