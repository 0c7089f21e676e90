//! Keeps what was used of daily quotas over a restart, in a small file beside the handover socket.
//!
//! A file that can't be read is put aside and said in the log: it keeps no gateway from serving.

use super::counters::{Counters, Key};
use super::{closed, moment};
use crate::adapters::clock::Clock;
use crate::adapters::log::Log;
use crate::adapters::whole_file;
use crate::model::days::Day;
use crate::model::digest::Sha256;
use crate::stages::rate_limit::Of;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often it is written, where something has changed: what a crash may lose.
const PERIOD: Duration = Duration::from_secs(3);
/// How many times that what nobody asks for is looked for.
const FORGET_EVERY: u32 = 20;
/// The form of the file.
const VERSION: u32 = 1;

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    clients: BTreeMap<String, Vec<KeptQuota>>,
}

/// One daily quota of a client.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptQuota {
    /// `client`, `all` or `rule`.
    of: String,
    /// Which rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    zone: String,
    /// What was used on each day.
    used: BTreeMap<String, u32>,
}

/// Whoever keeps them.
pub struct Keeper {
    counters: Arc<Counters>,
    path: PathBuf,
    clock: Arc<Clock>,
    log: Log,
    /// What was written last; whoever writes holds it.
    written: Mutex<Vec<u8>>,
}

impl Keeper {
    /// In the folder of the handover socket.
    pub fn new(counters: Arc<Counters>, handover: &Path, clock: Arc<Clock>, log: Log) -> Keeper {
        let path = handover.with_file_name("limits.json");
        // Where there are no quotas, no file is needed.
        let written = Mutex::new(text(&Counters::default()));
        Keeper { counters, path, clock, log, written }
    }

    /// Writes now and then what has changed, and forgets what nobody asks for.
    pub async fn keep(self: Arc<Keeper>) {
        for round in 1u32.. {
            tokio::time::sleep(PERIOD).await;
            let keeper = self.clone();
            // A panic in it is said by the runtime; the next round tries again.
            let _ = tokio::task::spawn_blocking(move || {
                keeper.save();
                if round % FORGET_EVERY == 0 {
                    keeper.counters.forget(moment(&keeper.clock));
                }
            })
            .await;
        }
    }

    /// Writes what has changed.
    pub fn save(&self) {
        let mut written = closed(&self.written);
        let known = text(&self.counters);
        if known == *written {
            return;
        }
        // Another process may have counted too, before it handed over.
        self.load();
        let text = text(&self.counters);
        match whole_file::replace(&self.path, &text) {
            Ok(()) => *written = text,
            Err(error) => self.say("limits-not-kept", &[("reason", error.to_string().into())]),
        }
    }

    /// Takes in what was kept.
    pub fn load(&self) {
        let read = match whole_file::read(&self.path) {
            Ok(None) => return,
            Ok(Some(bytes)) => parse(&bytes),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(quotas) => {
                for (client, key, day) in quotas {
                    self.counters.raise(&client, key, day);
                }
            }
            Err(why) => {
                let aside = self.path.with_file_name("limits.json.corrupt");
                let kept_as = match whole_file::put_aside(&self.path, &aside) {
                    Ok(()) => aside.display().to_string(),
                    Err(error) => format!("nowhere: {error}"),
                };
                let members = [("reason", why.into()), ("kept_as", kept_as.into())];
                self.say("limits-unreadable", &members);
            }
        }
    }

    fn say(&self, event: &str, members: &[(&str, Value)]) {
        let file = [("file", self.path.display().to_string().into())];
        self.log.event(event, &[&file, members].concat());
    }
}

fn text(counters: &Counters) -> Vec<u8> {
    let mut clients: BTreeMap<String, Vec<KeptQuota>> = BTreeMap::new();
    for (client, key, days) in counters.used() {
        let zone = key.zone().and_then(TimeZone::iana_name).unwrap_or("UTC").to_owned();
        let rule = key.rule.map(|rule| rule.to_string());
        let used = days.iter().map(|day| (day.date.to_string(), day.used)).collect();
        let of = word(key.of).to_owned();
        clients.entry(client.to_string()).or_default().push(KeptQuota { of, rule, zone, used });
    }
    let kept = Kept { version: VERSION, clients };
    let mut text = serde_json::to_vec_pretty(&kept).unwrap_or_default();
    text.push(b'\n');
    text
}

fn parse(bytes: &[u8]) -> Result<Vec<(String, Key, Day)>, String> {
    let kept: Kept = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if kept.version != VERSION {
        return Err(format!("its version is {}, not {VERSION}", kept.version));
    }
    let mut quotas = Vec::new();
    for (client, of_client) in kept.clients {
        for quota in of_client {
            let of = [Of::Client, Of::All, Of::Rule].into_iter().find(|of| word(*of) == quota.of);
            let of = of.ok_or_else(|| format!("`of` is `{}`", quota.of))?;
            let rule = match &quota.rule {
                None => None,
                Some(rule) => {
                    Some(Sha256::parse(rule).ok_or_else(|| format!("`rule` is `{rule}`"))?)
                }
            };
            let zone = TimeZone::get(&quota.zone).map_err(|error| error.to_string())?;
            for (date, used) in quota.used {
                let date: Date = date.parse().map_err(|error: jiff::Error| error.to_string())?;
                let key = Key::daily(of, rule, zone.clone());
                quotas.push((client.clone(), key, Day { date, used }));
            }
        }
    }
    Ok(quotas)
}

fn word(of: Of) -> &'static str {
    match of {
        Of::Client => "client",
        Of::All => "all",
        Of::Rule => "rule",
    }
}
