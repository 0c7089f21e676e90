//! Tells genuine tokens from others: the tokens that were verified, the issuers that know, and how
//! often an address was wrong.
//!
//! The tokens outlive a reload; each one is looked at again under the policies and keys in force
//! before it counts.

use crate::adapters::failed_auth::{Asker, FailedAuth};
use crate::adapters::introspection::{Introspector, Unanswered};
use crate::adapters::key_source::{Held, KeySource, Location, Unrenewed, Wanted};
use crate::adapters::log::Log;
use crate::adapters::web::Web;
use crate::config::{self, Introspection, TokenSource};
use crate::model::digest::Sha256;
use crate::model::rates::retry_after_seconds;
use crate::refusal::{Refusal, Shown};
use crate::stages::authentication::denial::{Denial, Why};
use crate::stages::authentication::directory::{Directory, Owner};
use crate::stages::authentication::facts::Facts;
use crate::stages::authentication::presented::invalid;
use crate::stages::authentication::{Proof, Scheme, jwt, opaque};
use moka::sync::Cache;
use prometheus::IntCounterVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes of verified tokens that are remembered.
const VERIFIED_BYTES_MAX: u64 = 64 << 20;
/// How long one is remembered at most: then it is verified again.
const VERIFIED_KEPT: Duration = Duration::from_secs(3600);
/// What an entry takes beside its token.
const ENTRY_BYTES: usize = 512;
/// Opaque tokens that an issuer refused, and how long that is believed.
const REFUSED_MAX: u64 = 10_000;
const REFUSED_KEPT: Duration = Duration::from_secs(5);
/// When to ask again about an opaque token that its issuer says nothing about.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Why a token is not taken that its issuer said nothing about.
pub const UNANSWERED: &str = "introspection-unavailable";

/// Tokens that were verified or refused, compared whole, and addresses that were wrong.
pub struct Tokens {
    verified: Cache<Arc<str>, Arc<Verified>>,
    /// With the number of the issuer that refused it.
    refused: Cache<Sha256, (u64, Why)>,
    /// Failed authentications.
    pub failed: FailedAuth,
}

impl Default for Tokens {
    fn default() -> Self {
        let verified = Cache::builder()
            .weigher(|token: &Arc<str>, _: &Arc<Verified>| {
                u32::try_from(token.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
            })
            .max_capacity(VERIFIED_BYTES_MAX)
            .time_to_live(VERIFIED_KEPT)
            .build();
        let refused = Cache::builder().max_capacity(REFUSED_MAX).time_to_live(REFUSED_KEPT).build();
        Tokens { verified, refused, failed: FailedAuth::default() }
    }
}

/// A token that was verified.
struct Verified {
    /// The issuer, by its number in this process, and the keys that it was verified by.
    issuer: u64,
    keys: u64,
    scheme: Scheme,
    facts: Arc<Facts>,
    /// Until when an issuer's answer is believed, in seconds since 1970.
    until: i64,
    /// Whose it is under the policies of this generation.
    generation: u64,
    owner: Option<Owner>,
}

/// The issuers of a configuration, with what they are asked through.
#[derive(Default)]
pub struct Issuers(Vec<Issuer>);

#[derive(Clone)]
struct Issuer {
    /// Tells it from the same issuer under other rules.
    number: u64,
    config: Arc<config::Issuer>,
    source: Source,
}

#[derive(Clone)]
enum Source {
    Fetched(Arc<KeySource>),
    Fixed(Arc<Held>),
    Asked(Arc<Introspector>),
}

/// What issuers are asked with.
#[derive(Clone)]
pub struct Means {
    /// The door to them.
    pub web: Arc<Web>,
    /// Log lines.
    pub log: Log,
    /// `jwks_refreshes_total{issuer,result}`.
    pub refreshes: IntCounterVec,
}

impl Issuers {
    /// For a configuration. What has not changed since the previous one is kept, keys included.
    /// Has to be called inside the runtime.
    pub fn new(
        configured: &[Arc<config::Issuer>],
        previous: Option<&Issuers>,
        means: &Means,
    ) -> Issuers {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let before = previous.map_or(&[][..], |previous| &previous.0);
        let issuers = configured.iter().map(|config| {
            if let Some(same) = before.iter().find(|issuer| issuer.config == *config) {
                return Issuer { config: config.clone(), ..same.clone() };
            }
            // Other rules may look at the same keys, also while nobody could fetch them.
            let source = before.iter().find(|issuer| has_same_keys(&issuer.config, config));
            Issuer {
                number: NUMBERS.fetch_add(1, Ordering::Relaxed),
                config: config.clone(),
                source: source.map_or_else(|| Source::of(config, means), |it| it.source.clone()),
            }
        });
        Issuers(issuers.collect())
    }

    /// Those that have no keys yet, or whose keys could not be renewed.
    pub fn troubles(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|issuer| match &issuer.source {
            Source::Fetched(source) if !source.is_healthy() => {
                let held = if source.held().is_some() { "old keys only" } else { "no keys" };
                Some(format!("issuer {}: {held}", issuer.config.policy.name))
            }
            _ => None,
        })
    }

    fn numbered(&self, number: u64) -> Option<&Issuer> {
        self.0.iter().find(|issuer| issuer.number == number)
    }
}

/// Whether keys that were fetched for one issuer are those of the other.
fn has_same_keys(one: &config::Issuer, other: &config::Issuer) -> bool {
    let is_fetched = matches!(one.source, TokenSource::Uri(_) | TokenSource::Discovery);
    let (a, b) = (&one.policy, &other.policy);
    is_fetched
        && one.source == other.source
        && (&a.name, &a.issuer, &a.algorithms) == (&b.name, &b.issuer, &b.algorithms)
}

impl Source {
    fn of(issuer: &config::Issuer, means: &Means) -> Source {
        let policy = &issuer.policy;
        let location = match &issuer.source {
            TokenSource::Uri(uri) => Location::Uri(uri.clone()),
            TokenSource::Discovery => {
                Location::Discovery(policy.issuer.clone().unwrap_or_default())
            }
            TokenSource::Fixed(keys, digest) => {
                return Source::Fixed(Arc::new(Held::new(keys.clone(), *digest)));
            }
            TokenSource::Introspection(asked) => {
                let Introspection { url, client_id, client_secret } = asked.clone();
                let web = means.web.clone();
                return Source::Asked(Introspector::new(url, client_id, client_secret, web));
            }
        };
        let algorithms = policy.algorithms.clone();
        let wanted = Wanted { issuer: policy.name.clone(), location, algorithms };
        let (web, log, refreshes) = (means.web.clone(), means.log.clone(), means.refreshes.clone());
        Source::Fetched(Arc::new(KeySource::start(wanted, web, log, refreshes)))
    }

    /// The number of the keys held; of an issuer that is asked, 0.
    fn version(&self) -> Option<u64> {
        match self {
            Source::Fetched(source) => source.held().map(|held| held.version),
            Source::Fixed(held) => Some(held.version),
            Source::Asked(_) => Some(0),
        }
    }
}

/// Where and when a token was shown.
#[derive(Clone, Copy)]
pub struct Showing<'a> {
    /// The issuers in force.
    pub issuers: &'a Issuers,
    /// The policies in force, and their number.
    pub directory: &'a Directory,
    /// Counts configurations.
    pub generation: u64,
    /// The issuer that sees the route's opaque tokens.
    pub introspection: Option<&'a str>,
    /// Seconds since 1970.
    pub now: i64,
}

impl Tokens {
    /// Whether a token that is not known is genuine, and what it says.
    ///
    /// # Errors
    /// `token-invalid`, `issuer-unavailable`, and `rate-limited` where whoever shows it turns out
    /// to be wrong too often.
    pub async fn verify(
        &self,
        token: &str,
        showing: Showing<'_>,
        asker: &Asker,
    ) -> Result<Proof, Denial> {
        if token.len() > jwt::TOKEN_BYTES_MAX {
            return Err(invalid(Why::TooLong, Shown::Token));
        }
        let verified = match jwt::is_jwt(token) {
            true => self.verify_jwt(token, showing, asker).await?,
            false => self.ask(token, showing, asker, None).await?,
        };
        let verified = Arc::new(verified);
        self.verified.insert(token.into(), verified.clone());
        Ok(verified.proof())
    }

    /// A token that was verified before, by keys and rules that are still in force.
    pub fn known(&self, token: &str, showing: Showing<'_>) -> Option<Proof> {
        let known = self.verified.get(token)?;
        let issuer = showing.issuers.numbered(known.issuer)?;
        if issuer.source.version() != Some(known.keys) {
            return None;
        }
        // A JWT says itself until when it is good; what an issuer said is good for a while.
        let is_opaque = known.scheme == Scheme::Opaque;
        if is_opaque && (showing.now >= known.until || !issuer.is_named(showing.introspection)) {
            return None;
        }
        if known.generation == showing.generation {
            return Some(known.proof());
        }
        // Other policies: whose it is may have changed.
        let again = Arc::new(Verified {
            facts: known.facts.clone(),
            generation: showing.generation,
            owner: showing.directory.owner(&known.facts),
            ..*known
        });
        self.verified.insert(token.into(), again.clone());
        Some(again.proof())
    }

    async fn verify_jwt(
        &self,
        token: &str,
        showing: Showing<'_>,
        asker: &Asker,
    ) -> Result<Verified, Denial> {
        let refused = |why| invalid(why, Shown::Token);
        let unverified = jwt::take_apart(token).map_err(refused)?;
        let named = unverified.issuer().map_err(refused)?;
        let of_name = |issuer: &&Issuer| issuer.config.policy.issuer.as_deref() == Some(named);
        let issuer = showing.issuers.0.iter().find(of_name);
        let issuer = issuer.ok_or_else(|| refused(Why::IssuerUnknown))?;
        let policy = &issuer.config.policy;
        if matches!(issuer.source, Source::Asked(_)) {
            return self.ask(token, showing, asker, Some(issuer)).await;
        }
        // Before any key is looked for: what can't be true must not make anybody fetch keys.
        unverified.check_header(policy).map_err(refused)?;
        let mut held = issuer.keys(None).await?;
        let facts = match unverified.verify(policy, &held.keys, showing.now) {
            Err(Why::KeyUnknown) => {
                held = issuer.keys(Some(&held)).await?;
                unverified.verify(policy, &held.keys, showing.now)
            }
            verified => verified,
        };
        let facts = Arc::new(facts.map_err(refused)?);
        Ok(Verified {
            issuer: issuer.number,
            keys: held.version,
            scheme: Scheme::Jwt,
            until: facts.expires,
            generation: showing.generation,
            owner: showing.directory.owner(&facts),
            facts,
        })
    }

    /// Asks the one issuer that may see this token.
    async fn ask(
        &self,
        token: &str,
        showing: Showing<'_>,
        asker: &Asker,
        named: Option<&Issuer>,
    ) -> Result<Verified, Denial> {
        let refused = |why| invalid(why, Shown::Token);
        let of_route = |issuer: &&Issuer| issuer.is_named(showing.introspection);
        let issuer = showing.issuers.0.iter().find(of_route);
        // A token that says whose it is is shown to nobody else.
        let issuer = issuer.filter(|issuer| named.is_none_or(|n| n.number == issuer.number));
        let issuer = issuer.ok_or_else(|| refused(Why::NobodyToAsk))?;
        let digest = Sha256::of(token.as_bytes());
        if let Some((by, why)) = self.refused.get(&digest)
            && by == issuer.number
        {
            return Err(refused(why));
        }
        let Source::Asked(introspector) = &issuer.source else {
            return Err(unanswered());
        };
        let answer = introspector.ask(token, asker).await.map_err(|why| match why {
            Unanswered::Unavailable => unanswered(),
            Unanswered::HeldOff(wait) => held_off(wait),
        })?;
        let facts = opaque::judge(&answer, &issuer.config.policy, showing.now);
        let facts = Arc::new(facts.map_err(|why| match why {
            Some(why) => {
                self.refused.insert(digest, (issuer.number, why));
                refused(why)
            }
            None => unanswered(),
        })?);
        Ok(Verified {
            issuer: issuer.number,
            keys: 0,
            scheme: Scheme::Opaque,
            // RFC 7662 §4: no longer than `exp`, without leeway.
            until: facts
                .expires
                .saturating_sub(issuer.config.policy.leeway)
                .min(showing.now.saturating_add(opaque::KEPT_SECONDS)),
            generation: showing.generation,
            owner: showing.directory.owner(&facts),
            facts,
        })
    }
}

impl Verified {
    fn proof(&self) -> Proof {
        Proof::Token { scheme: self.scheme, facts: self.facts.clone(), owner: self.owner.clone() }
    }
}

impl Issuer {
    fn is_named(&self, name: Option<&str>) -> bool {
        name == Some(&*self.config.policy.name)
    }

    /// The keys held; others than these, where there may be some.
    async fn keys(&self, other_than: Option<&Held>) -> Result<Arc<Held>, Denial> {
        let source = match &self.source {
            Source::Fetched(source) => source,
            Source::Fixed(held) if other_than.is_none() => return Ok(held.clone()),
            Source::Fixed(_) => return Err(invalid(Why::KeyUnknown, Shown::Token)),
            Source::Asked(_) => return Err(unanswered()),
        };
        if let Some(held) = source.held().filter(|_| other_than.is_none()) {
            return Ok(held);
        }
        source.renewed(other_than.map(|held| held.version)).await.map_err(|why| match why {
            Unrenewed::Fresh => invalid(Why::KeyUnknown, Shown::Token),
            // The key may be new: nobody can say so now.
            Unrenewed::Unavailable(wait) => unavailable(wait),
        })
    }
}

fn unavailable(wait: Duration) -> Denial {
    let refusal = Refusal::IssuerUnavailable(retry_after_seconds(wait));
    Denial { refusal, reason: "issuer-unavailable" }
}

/// An introspecting issuer said nothing: what was shown may be anything.
fn unanswered() -> Denial {
    Denial { reason: UNANSWERED, ..unavailable(ASK_AGAIN) }
}

/// Too many credentials of this address were wrong.
pub fn held_off(wait: Duration) -> Denial {
    let refusal = Refusal::HeldOff(retry_after_seconds(wait));
    Denial { refusal, reason: "failed-auth-rate" }
}
