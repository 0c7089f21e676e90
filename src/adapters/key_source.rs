//! Keeps the keys of one issuer: fetched in the background, renewed before they are old, and once
//! more when a token names a key that is not among them.
//!
//! What was good is kept while the issuer is down or lies. However many tokens with unknown keys
//! come in, the issuer is asked for them once in a while only, and all of them wait for the same
//! answer.

use super::log::Log;
use super::web::Web;
use crate::model::digest::Sha256;
use crate::stages::authentication::keys::KeySet;
use arc_swap::ArcSwapOption;
use jsonwebtoken::Algorithm;
use prometheus::IntCounterVec;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Oldest that keys get, whatever the issuer says of them.
const AGE_MAX: Duration = Duration::from_secs(600);
/// From one request for keys to the next, where nothing but tokens and failures ask for it.
pub const COOL_DOWN: Duration = Duration::from_secs(30);
/// How long a request waits for keys.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// At this address.
    Uri(String),
    /// At the address that this issuer's metadata name.
    Discovery(String),
}

/// What a fetch of keys is done for.
pub struct Wanted {
    /// The issuer's name in the configuration.
    pub issuer: Arc<str>,
    /// Where its keys are.
    pub location: Location,
    /// What its keys have to be fit for.
    pub algorithms: Vec<Algorithm>,
}

/// Keys with a number that no other set of keys in this process has.
#[derive(Debug)]
pub struct Held {
    /// The keys.
    pub keys: Arc<KeySet>,
    /// The number.
    pub version: u64,
    digest: Sha256,
}

impl Held {
    /// Numbers a set of keys.
    pub fn new(keys: Arc<KeySet>, digest: Sha256) -> Held {
        static VERSIONS: AtomicU64 = AtomicU64::new(1);
        Held { keys, version: VERSIONS.fetch_add(1, Ordering::Relaxed), digest }
    }
}

/// Why there are no other keys than those held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrenewed {
    /// The issuer was asked a moment ago, and these are its keys.
    Fresh,
    /// It did not answer, or not in time; when it is asked again.
    Unavailable(Duration),
}

/// The keys of one issuer. Dropping it ends the fetching.
pub struct KeySource {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    held: ArcSwapOption<Held>,
    rounds: watch::Sender<Rounds>,
    asked: Mutex<Asked>,
    wake: Notify,
}

/// The fetches: one at a time.
#[derive(Clone, Copy, Debug)]
struct Rounds {
    ended: u64,
    succeeded: bool,
    next: Instant,
}

/// When tokens last asked for a fetch, and which one answers them.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    at: Option<Instant>,
    round: u64,
}

impl KeySource {
    /// Begins to fetch. Has to be called inside the runtime.
    pub fn start(wanted: Wanted, web: Arc<Web>, log: Log, refreshes: IntCounterVec) -> KeySource {
        let rounds = Rounds { ended: 0, succeeded: false, next: Instant::now() };
        let shared = Arc::new(Shared {
            held: ArcSwapOption::empty(),
            rounds: watch::Sender::new(rounds),
            // The first fetch answers whoever comes before it has ended.
            asked: Mutex::new(Asked { at: None, round: 1 }),
            wake: Notify::new(),
        });
        let fetcher = Fetcher { wanted, web, log, refreshes, shared: shared.clone() };
        KeySource { shared, task: tokio::spawn(fetcher.run()) }
    }

    /// The keys held, if there are any.
    pub fn held(&self) -> Option<Arc<Held>> {
        self.shared.held.load_full()
    }

    /// Whether the last fetch succeeded.
    pub fn is_healthy(&self) -> bool {
        self.shared.rounds.borrow().succeeded
    }

    /// Waits for keys other than those of the given version: joins a fetch that is under way, or
    /// begins one, unless another one was begun for the same reason a moment ago.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn renewed(&self, version: Option<u64>) -> Result<Arc<Held>, Unrenewed> {
        let mut rounds = self.shared.rounds.subscribe();
        let round = self.ask(rounds.borrow().ended);
        let waited = rounds.wait_for(|rounds| rounds.ended >= round);
        let ended = tokio::time::timeout(PATIENCE, waited).await.is_ok_and(|ended| ended.is_ok());
        match self.held() {
            Some(held) if Some(held.version) != version => Ok(held),
            _ => {
                let now = *self.shared.rounds.borrow();
                Err(match ended && now.succeeded {
                    true => Unrenewed::Fresh,
                    false => {
                        Unrenewed::Unavailable(now.next.saturating_duration_since(Instant::now()))
                    }
                })
            }
        }
    }

    /// The fetch to wait for.
    fn ask(&self, ended: u64) -> u64 {
        let mut asked = self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_cool = asked.at.is_none_or(|at| now.duration_since(at) >= COOL_DOWN);
        if ended >= asked.round && is_cool {
            *asked = Asked { at: Some(now), round: ended + 1 };
            self.shared.wake.notify_one();
        }
        asked.round
    }
}

impl Drop for KeySource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Fetcher {
    wanted: Wanted,
    web: Arc<Web>,
    log: Log,
    refreshes: IntCounterVec,
    shared: Arc<Shared>,
}

impl Fetcher {
    async fn run(self) {
        loop {
            let outcome = self.fetch().await;
            let succeeded = outcome.is_ok();
            let pause = match &outcome {
                // Before they are old, and not at the same moment as every other gateway.
                Ok(max_age) => max_age.clamp(&COOL_DOWN, &AGE_MAX).mul_f64(0.7 + 0.2 * draw()),
                Err(_) => COOL_DOWN.mul_f64(1.0 + 0.2 * draw()),
            };
            self.tell(&outcome);
            let next = Instant::now() + pause;
            self.shared.rounds.send_modify(|rounds| {
                *rounds = Rounds { ended: rounds.ended + 1, succeeded, next };
            });
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = self.shared.wake.notified() => {}
            }
        }
    }

    /// Fetches, and takes up what is good. Returns how long it may be kept.
    async fn fetch(&self) -> Result<Duration, String> {
        let uri = match &self.wanted.location {
            Location::Uri(uri) => uri.clone(),
            Location::Discovery(issuer) => self.discover(issuer).await?,
        };
        let answer = self.web.get(&uri).await.map_err(|why| format!("keys: {why}"))?;
        let (keys, skipped) = KeySet::parse(&answer.body, &self.wanted.algorithms)
            .map_err(|why| format!("keys: {why}"))?;
        let digest = Sha256::of(&answer.body);
        if self.shared.held.load().as_ref().is_none_or(|held| held.digest != digest) {
            let skipped: Vec<String> =
                skipped.iter().map(|key| format!("`{}`: {}", key.id, key.why)).collect();
            let members = [
                ("action", "keys".into()),
                ("issuer", (&*self.wanted.issuer).into()),
                ("result", "changed".into()),
                ("keys", keys.len().into()),
                ("skipped", skipped.into()),
            ];
            self.log.event("audit", &members);
            self.shared.held.store(Some(Arc::new(Held::new(Arc::new(keys), digest))));
        }
        Ok(answer.max_age.unwrap_or(AGE_MAX))
    }

    /// RFC 8414 §3 first, then OpenID Connect Discovery §4.
    async fn discover(&self, issuer: &str) -> Result<String, String> {
        let mut why = String::new();
        for url in metadata_urls(issuer) {
            let answer = self.web.get(&url).await;
            match answer.and_then(|answer| keys_uri(&answer.body, issuer)) {
                Ok(uri) => return Ok(uri),
                Err(error) => why = error,
            }
        }
        Err(format!("metadata: {why}"))
    }

    fn tell(&self, outcome: &Result<Duration, String>) {
        let issuer = &*self.wanted.issuer;
        let result = if outcome.is_ok() { "success" } else { "failure" };
        self.refreshes.with_label_values(&[issuer, result]).inc();
        if let Err(reason) = outcome {
            let kept = self.shared.held.load().is_some();
            let members = [
                ("issuer", issuer.into()),
                ("reason", reason.as_str().into()),
                ("earlier_keys_kept", kept.into()),
            ];
            self.log.event("keys-unavailable", &members);
        }
    }
}

/// Between 0 and 1.
fn draw() -> f64 {
    rand::random()
}

/// Where the metadata of an issuer are.
fn metadata_urls(issuer: &str) -> Vec<String> {
    let after_scheme = issuer.find("://").map_or(0, |at| at + 3);
    let path_at = issuer.get(after_scheme..).and_then(|rest| rest.find('/'));
    let path_at = path_at.map_or(issuer.len(), |at| after_scheme + at);
    let (host, path) = issuer.split_at_checked(path_at).unwrap_or((issuer, ""));
    let path = path.trim_end_matches('/');
    vec![
        format!("{host}/.well-known/oauth-authorization-server{path}"),
        format!("{host}{path}/.well-known/openid-configuration"),
    ]
}

/// Takes `jwks_uri` out of metadata, if they are this issuer's (RFC 8414 §3.3).
fn keys_uri(document: &[u8], issuer: &str) -> Result<String, String> {
    let members: serde_json::Value =
        serde_json::from_slice(document).map_err(|_| "metadata: they are not JSON")?;
    if members.get("issuer").and_then(serde_json::Value::as_str) != Some(issuer) {
        return Err("metadata: their `issuer` is another one".to_owned());
    }
    let uri = members.get("jwks_uri").and_then(serde_json::Value::as_str);
    let uri = uri.ok_or("metadata: they have no `jwks_uri`")?;
    match scheme(uri) == Some("https") || is_local(uri) && is_local(issuer) {
        true => Ok(uri.to_owned()),
        false => Err("metadata: their `jwks_uri` is not https".to_owned()),
    }
}

fn scheme(uri: &str) -> Option<&str> {
    uri.split_once("://").map(|(scheme, _)| scheme)
}

/// Whether it stays on this machine, where nobody on the way can put other keys in place of the
/// issuer's.
fn is_local(uri: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(uri) else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    url.scheme() == "http"
        && (host == "localhost" || address.is_ok_and(|address| address.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_are_where_the_standards_say() {
        for (issuer, first, second) in [
            (
                "https://as.test",
                "https://as.test/.well-known/oauth-authorization-server",
                "https://as.test/.well-known/openid-configuration",
            ),
            (
                "https://as.test/x/",
                "https://as.test/.well-known/oauth-authorization-server/x",
                "https://as.test/x/.well-known/openid-configuration",
            ),
        ] {
            assert_eq!(metadata_urls(issuer), [first, second]);
        }
    }

    #[test]
    fn metadata_of_another_issuer_are_not_used() {
        let uri = |issuer: &str, uri: &str| {
            let document = format!(r#"{{"issuer":"{issuer}","jwks_uri":"{uri}"}}"#);
            keys_uri(document.as_bytes(), "https://as.test")
        };
        assert_eq!(uri("https://as.test", "https://as.test/k"), Ok("https://as.test/k".into()));
        let local = br#"{"issuer":"http://[::1]:1","jwks_uri":"http://127.0.0.1:1/k"}"#;
        assert!(keys_uri(local, "http://[::1]:1").is_ok());
        for (issuer, keys) in [
            // Its keys would be whoever's listens here.
            ("https://as.test", "http://127.0.0.1:1/k"),
            ("https://as.test/", "https://as.test/k"),
            ("https://evil.test", "https://as.test/k"),
            ("https://as.test", "http://as.test/k"),
            ("https://as.test", "http://127.0.0.1.evil.test/k"),
            ("https://as.test", "file:///etc/passwd"),
            ("https://as.test", "k"),
        ] {
            assert!(uri(issuer, keys).is_err(), "{issuer} {keys}");
        }
    }
}
