//! The clients: each sends a keyed write until it is answered, whatever happens meanwhile.

use crate::journal::{Journal, Violation};
use crate::message::{Link, Message};
use crate::plan::{Matter, Plan, dice};
use crate::pulse::{Beat, Pulse};
use crate::reading::{Again, Reading, read};
use crate::site::Site;
use crate::write::{CLIENTS, Write};
use rand::Rng;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long a client waits for one answer: longer than any deadline of the gateway's.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// All clients of a run.
pub struct Clients {
    pub journal: Journal,
    plan: Plan,
    address: SocketAddr,
    api_keys: [String; CLIENTS],
    pulse: Pulse,
    next: AtomicU64,
    /// No more keys than planned are needed.
    enough: AtomicBool,
    /// It leads nowhere: let go.
    hopeless: AtomicBool,
}

/// What one attempt does with its connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    /// Sends and waits.
    Patient,
    /// Hangs up as soon as all is sent, in good order or not.
    HangsUp { reset: bool },
    /// Hangs up in the midst of sending.
    BreaksOff,
    /// Sends the same twice at once.
    Double,
}

impl Clients {
    pub fn of(site: &Site, plan: Plan, pulse: Pulse) -> Clients {
        Clients {
            journal: Journal::new(pulse.clone()),
            plan,
            address: site.listener,
            api_keys: site.api_keys.clone(),
            pulse,
            next: AtomicU64::new(0),
            enough: AtomicBool::new(false),
            hopeless: AtomicBool::new(false),
        }
    }

    /// Ends as soon as all keys of the plan are settled.
    pub fn have_enough(&self) {
        self.enough.store(true, Ordering::Relaxed);
    }

    /// Ends, settled or not.
    pub fn lose_hope(&self) {
        self.hopeless.store(true, Ordering::Relaxed);
    }

    /// One client: takes keys that nobody has taken, one after the other.
    pub async fn work(&self) {
        let mut link = None;
        while !self.hopeless.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.plan.keys && self.enough.load(Ordering::Relaxed) {
                return;
            }
            self.settle_with(Write::mixed(number), 0, &mut link).await;
            let mut dice = dice(self.plan.seed, Matter::Again, [number, 0]);
            if dice.random_bool(0.2) {
                let earlier = dice.random_range(0..=number);
                self.ask_again(Write::mixed(earlier), &mut link).await;
            }
        }
    }

    /// Sends a write until it is answered; each copy of its client has dice of its own.
    pub async fn settle(&self, write: Write, copy: u64) {
        self.settle_with(write, copy, &mut None).await;
    }

    async fn settle_with(&self, write: Write, copy: u64, link: &mut Option<Link>) {
        let mut pause = PAUSE_FIRST;
        for attempt in 0_u64.. {
            let which = write.number ^ copy.rotate_right(16);
            let mut dice = dice(self.plan.seed, Matter::Client, [which, attempt]);
            let manner = match dice.random_range(0..100) {
                // The first ones only: each write has to be answered to somebody.
                0..3 if attempt < 4 => Manner::HangsUp { reset: false },
                3..6 if attempt < 4 => Manner::HangsUp { reset: true },
                6..8 if attempt < 4 => Manner::BreaksOff,
                8..12 if attempt < 4 => Manner::Double,
                _ => Manner::Patient,
            };
            let reading = match manner {
                Manner::Double => {
                    let mut second = None;
                    let other = self.attempt(write, attempt + 1, manner, &mut second);
                    tokio::join!(self.attempt(write, attempt, manner, link), other).0
                }
                _ => self.attempt(write, attempt, manner, link).await,
            };
            match reading {
                Reading::Final { .. } | Reading::Wrong(_) => return,
                Reading::Again(Again::NotExecuted(_))
                    if attempt == 0 && manner == Manner::Patient && dice.random_bool(0.3) =>
                {
                    return self.journal.gives_up(write);
                }
                Reading::Again(_) if self.hopeless.load(Ordering::Relaxed) => return,
                Reading::Again(_) => {}
            }
            let part = dice.random_range(0.5..1.0);
            tokio::time::sleep(pause.mul_f64(part)).await; // poll interval
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Asks for an answer that was given before, if it was; `true`: it was given again.
    pub async fn ask_again(&self, write: Write, link: &mut Option<Link>) -> bool {
        if self.journal.story(write).settled.is_none() {
            return true;
        }
        for attempt in 0..200 {
            let reading = self.attempt(write, attempt, Manner::Patient, link).await;
            if !matches!(reading, Reading::Again(_)) || self.hopeless.load(Ordering::Relaxed) {
                return true;
            }
            tokio::time::sleep(PAUSE_MAX / 2).await; // poll interval
        }
        false
    }

    /// Sends a write once, and tells the journal what is heard.
    pub async fn ask_once(&self, write: Write) -> Reading {
        self.attempt(write, 0, Manner::Patient, &mut None).await
    }

    /// Sends a write and hangs up; `false`: it could not be sent.
    pub async fn hang_up(&self, write: Write) -> bool {
        let manner = Manner::HangsUp { reset: false };
        let reading = self.attempt(write, 0, manner, &mut None).await;
        reading == Reading::Again(Again::Lost)
    }

    async fn attempt(
        &self,
        write: Write,
        attempt: u64,
        manner: Manner,
        link: &mut Option<Link>,
    ) -> Reading {
        let before = self.journal.asks(write);
        let octets = write.request(&self.api_keys[write.client()], attempt);
        let exchange = self.exchange(&octets, manner, link);
        let answer = match tokio::time::timeout(ANSWER_PATIENCE, exchange).await {
            Ok(answer) => answer,
            Err(_) => {
                let answer = "nothing, and no end".to_owned();
                self.journal.violates(Violation::Wrong { write, answer });
                None
            }
        };
        let reading = read(answer.as_ref());
        self.journal.hears(write, &before, &reading);
        reading
    }

    /// One request on the connection, if it is still good for one.
    async fn exchange(
        &self,
        octets: &[u8],
        manner: Manner,
        kept: &mut Option<Link>,
    ) -> Option<Message> {
        let mut link = match kept.take() {
            Some(link) => link,
            None => Link::connect(self.address).await?,
        };
        let octets = match manner {
            Manner::BreaksOff => &octets[..octets.len() - 5],
            _ => octets,
        };
        let sent = link.send(octets).await;
        self.pulse.beat(Beat::Sent);
        match manner {
            Manner::HangsUp { reset: true } => {
                link.reset();
                return None;
            }
            Manner::HangsUp { .. } | Manner::BreaksOff => return None,
            Manner::Patient | Manner::Double if !sent => return None,
            Manner::Patient | Manner::Double => {}
        }
        let answer = link.answer().await?;
        let closes = |value: &str| value.eq_ignore_ascii_case("close");
        if answer.complete && !answer.field("connection").is_some_and(closes) {
            *kept = Some(link);
        }
        Some(answer)
    }
}
