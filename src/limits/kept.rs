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
    /// Whoever writes holds it.
    written: Mutex<Written>,
}

struct Written {
    /// What was written last.
    text: Vec<u8>,
    /// Whether it was said that nothing can be written.
    failing: bool,
}

impl Keeper {
    /// In the folder of the handover socket.
    pub fn new(counters: Arc<Counters>, handover: &Path, clock: Arc<Clock>, log: Log) -> Keeper {
        let path = handover.with_file_name("limits.json");
        // Where there are no quotas, no file is needed.
        let written = Written { text: text(&Counters::default()), failing: false };
        let written = Mutex::new(written);
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
        if known == written.text {
            return;
        }
        // Another process may have counted too, before it handed over.
        self.load();
        let text = text(&self.counters);
        match whole_file::replace(&self.path, &text) {
            Ok(()) => *written = Written { text, failing: false },
            Err(error) => {
                if !std::mem::replace(&mut written.failing, true) {
                    self.say("limits-not-kept", &[("reason", error.to_string().into())]);
                }
            }
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
            for (text, used) in quota.used {
                let date: Date = text.parse().map_err(|_| format!("`{text}` is not a date"))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    fn day(date: &str, used: u32) -> Day {
        Day { date: date.parse().expect(date), used }
    }

    proptest! {
        /// What is written is read again; what nobody wrote is an error in words.
        #[test]
        fn what_is_written_is_read(
            used in proptest::collection::vec((0usize..4, 0usize..3, 1u32..1000), 0..20),
            cut in any::<proptest::sample::Index>(),
        ) {
            let counters = Counters::default();
            for (client, kind, used) in used {
                let zone = |name: &str| TimeZone::get(name).expect(name);
                let key = match kind {
                    0 => Key::daily(Of::Client, None, TimeZone::UTC),
                    1 => Key::daily(Of::All, None, zone("America/New_York")),
                    _ => Key::daily(Of::Rule, Some(Sha256::of(b"rule")), zone("Asia/Kolkata")),
                };
                let name = format!("client-{client}");
                counters.raise(&name, key.clone(), day("2026-11-21", used));
                counters.raise(&name, key, day("2026-11-20", used + 1));
            }
            let written = text(&counters);
            let again = Counters::default();
            for (client, key, day) in parse(&written).expect("readable") {
                again.raise(&client, key, day);
            }
            let sorted = |counters: &Counters| {
                let mut used: Vec<String> =
                    counters.used().iter().map(|entry| format!("{entry:?}")).collect();
                used.sort();
                used
            };
            prop_assert_eq!(sorted(&again), sorted(&counters));
            let cut = cut.index(written.len() - 1);
            prop_assert!(parse(&written[..cut]).is_err());
        }

        #[test]
        fn garbage_is_refused_in_words(garbage in any::<Vec<u8>>()) {
            prop_assert!(parse(&garbage).is_err());
        }
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        for (quota, mention) in [
            (r#"{"of":"everybody","zone":"UTC","used":{}}"#, "everybody"),
            (r#"{"of":"rule","rule":"7","zone":"UTC","used":{}}"#, "`7`"),
            (r#"{"of":"client","zone":"Mars/Base","used":{}}"#, "Mars"),
            (r#"{"of":"client","zone":"UTC","used":{"yesterday":1}}"#, "yesterday"),
            (r#"{"of":"client","zone":"UTC","used":{"2026-11-21":-1}}"#, "-1"),
            (r#"{"of":"client","zone":"UTC","used":{},"more":1}"#, "more"),
        ] {
            let text = format!(r#"{{"version":1,"clients":{{"a":[{quota}]}}}}"#);
            let why = parse(text.as_bytes()).expect_err(quota);
            assert!(why.contains(mention), "{why}");
        }
    }
}
