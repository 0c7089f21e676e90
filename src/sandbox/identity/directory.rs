//! Keeps the state of the provider behind one lock: keys, opaque tokens, counts, behavior.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::keys::{Algorithm, Key};
use super::lies::Lie;
use super::ring::{Generation, Order, Ring};
use super::shape::Grant;
use super::tenant::Profile;
use crate::sandbox::guarded::Guarded;
use crate::sandbox::listener::Lever;
use crate::sandbox::slot::{Gauge, Slot};

/// Opaque tokens that are kept; beyond them the oldest is forgotten.
const OPAQUE_MAX: usize = 100_000;

/// The provider, shared by all of its connections.
#[derive(Debug)]
pub struct Directory {
    base_url: String,
    lever: Lever,
    gauge: Arc<Gauge>,
    profiles: Vec<Profile>,
    state: Guarded<State>,
}

/// All that changes.
#[derive(Debug)]
struct State {
    rings: BTreeMap<String, Ring>,
    /// Keys for [`Lie::DuplicateKid`].
    strangers: BTreeMap<String, Generation>,
    requests: BTreeMap<String, Counts>,
    opaque: Opaque,
    revoked: BTreeSet<String>,
    behavior: Behavior,
    down: bool,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Either metadata document.
    Discovery,
    /// The keys.
    Jwks,
    /// The token endpoint.
    Token,
    /// Introspection.
    Introspect,
    /// Where [`Lie::Redirect`] leads.
    Moved,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    discovery: u64,
    jwks: u64,
    token: u64,
    introspect: u64,
    moved: u64,
}

/// How the provider behaves.
#[derive(Debug, Default, Clone, Copy)]
pub struct Behavior {
    /// How long each answer takes.
    pub delay: Duration,
    /// What discovery, JWKS and introspection answer instead.
    pub status: Option<StatusCode>,
    /// What is wrong with them.
    pub lie: Option<Lie>,
}

/// What the control endpoint can change at once.
#[derive(Debug, Default)]
pub struct Change {
    /// Forgets counts, tokens and revocations, and goes back to the behavior and keys of the start.
    pub reset: bool,
    /// Replaces [`Behavior::delay`].
    pub delay: Option<Duration>,
    /// Replaces [`Behavior::status`].
    pub status: Option<Option<StatusCode>>,
    /// Replaces [`Behavior::lie`].
    pub lie: Option<Option<Lie>>,
    /// A token that is not valid any more.
    pub revoke: Option<String>,
}

#[derive(Debug, Default)]
struct Opaque {
    /// By tenant and token.
    claims: HashMap<(String, String), Map<String, Value>>,
    oldest_first: VecDeque<(String, String)>,
}

impl Directory {
    /// A provider at `base_url` with the first keys of each tenant; `lever` opens and closes its
    /// listener.
    pub fn new(base_url: String, lever: Lever, tenants: Vec<(Profile, Generation)>) -> Directory {
        let mut rings = BTreeMap::new();
        let mut profiles = Vec::new();
        for (profile, first) in tenants {
            rings.insert(profile.name.clone(), Ring::new(first));
            profiles.push(profile);
        }
        let state = State {
            rings,
            strangers: BTreeMap::new(),
            requests: zeros(&profiles),
            opaque: Opaque::default(),
            revoked: BTreeSet::new(),
            behavior: Behavior::default(),
            down: false,
        };
        let gauge = Arc::new(Gauge::default());
        Directory { base_url, lever, gauge, profiles, state: Guarded::new(state) }
    }

    /// The tenant of that name.
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.iter().find(|profile| profile.name == name)
    }

    /// Where a tenant's paths begin.
    pub fn url(&self, profile: &Profile) -> String {
        format!("{}/{}", self.base_url, profile.name)
    }

    /// A tenant's `iss`.
    pub fn issuer(&self, profile: &Profile) -> String {
        profile.issuer.clone().unwrap_or_else(|| self.url(profile))
    }

    /// Counts a request and says how to behave toward it; it is in flight until the slot is
    /// dropped.
    pub fn enter(&self, profile: &Profile, endpoint: Endpoint) -> (Behavior, Option<Slot>) {
        let mut state = self.state.lock();
        let counts = state.requests.entry(profile.name.clone()).or_default();
        let count = match endpoint {
            Endpoint::Discovery => &mut counts.discovery,
            Endpoint::Jwks => &mut counts.jwks,
            Endpoint::Token => &mut counts.token,
            Endpoint::Introspect => &mut counts.introspect,
            Endpoint::Moved => &mut counts.moved,
        };
        *count += 1;
        (state.behavior, self.gauge.enter(usize::MAX))
    }

    /// The key that signs by default, or with `algorithm`.
    pub fn signing(&self, profile: &Profile, algorithm: Option<Algorithm>) -> Option<Arc<Key>> {
        self.state.lock().rings.get(&profile.name)?.signing(algorithm)
    }

    /// The keys that are published, the newest first.
    pub fn published(&self, profile: &Profile) -> Generation {
        let state = self.state.lock();
        state
            .rings
            .get(&profile.name)
            .map(|ring| ring.published().cloned().collect())
            .unwrap_or_default()
    }

    /// The tenant's keys for [`Lie::DuplicateKid`], in the order of its algorithms.
    pub fn strangers(&self, profile: &Profile) -> Generation {
        self.state.lock().strangers.get(&profile.name).cloned().unwrap_or_default()
    }

    /// Remembers the claims of an opaque token.
    pub fn remember(&self, profile: &Profile, token: &str, claims: Map<String, Value>) {
        let mut state = self.state.lock();
        let key = (profile.name.clone(), token.to_owned());
        state.opaque.oldest_first.push_back(key.clone());
        state.opaque.claims.insert(key, claims);
        if state.opaque.oldest_first.len() > OPAQUE_MAX
            && let Some(oldest) = state.opaque.oldest_first.pop_front()
        {
            state.opaque.claims.remove(&oldest);
        }
    }

    /// The claims of an opaque token of this tenant.
    pub fn recall(&self, profile: &Profile, token: &str) -> Option<Map<String, Value>> {
        let key = (profile.name.clone(), token.to_owned());
        self.state.lock().opaque.claims.get(&key).cloned()
    }

    /// Whether a token was revoked.
    pub fn is_revoked(&self, token: &str) -> bool {
        self.state.lock().revoked.contains(token)
    }

    /// A grant of a tenant that begins now.
    pub fn grant(&self, profile: &Profile, client_id: &str, valid_secs: i64) -> Grant {
        let issued_secs = now_secs();
        Grant {
            issuer: self.issuer(profile),
            tenant: profile.name.clone(),
            audiences: profile.audiences.clone(),
            client_id: client_id.to_owned(),
            scopes: Vec::new(),
            issued_secs,
            expires_secs: issued_secs.saturating_add(valid_secs),
            thumbprint: None,
        }
    }

    /// Notes whether the listener is closed.
    pub fn note_down(&self, down: bool) {
        self.state.lock().down = down;
    }

    /// Closes or opens the listener, and returns when that is done.
    ///
    /// # Errors
    /// As [`Lever::switch`].
    pub async fn switch(&self, down: bool) -> io::Result<()> {
        self.lever.switch(down).await
    }

    /// Applies a change, a reset first.
    pub fn change(&self, change: Change) {
        let mut state = self.state.lock();
        if change.reset {
            state.rings.values_mut().for_each(Ring::reset);
            state.requests = zeros(&self.profiles);
            state.opaque = Opaque::default();
            state.revoked.clear();
            state.behavior = Behavior::default();
            self.gauge.reset();
        }
        if let Some(delay) = change.delay {
            state.behavior.delay = delay;
        }
        if let Some(status) = change.status {
            state.behavior.status = status;
        }
        if let Some(lie) = change.lie {
            state.behavior.lie = lie;
        }
        state.revoked.extend(change.revoke);
    }

    /// Orders new keys: for one tenant, or for all.
    pub fn order(&self, tenant: Option<&str>) -> Vec<Order> {
        let mut state = self.state.lock();
        let meant = |name: &String| tenant.is_none_or(|tenant| tenant == name);
        let rings = state.rings.iter_mut().filter(|(name, _)| meant(name));
        rings.map(|(name, ring)| ring.order(name)).collect()
    }

    /// Takes the keys that were ordered into use.
    pub fn rotate(&self, fresh: Vec<(Order, Generation)>, keep_old: bool) {
        let mut state = self.state.lock();
        for (order, keys) in fresh {
            if let Some(ring) = state.rings.get_mut(&order.tenant) {
                ring.rotate(keys, keep_old);
            }
        }
    }

    /// Orders the keys for [`Lie::DuplicateKid`], for tenants that have none yet.
    pub fn order_strangers(&self) -> Vec<Order> {
        let state = self.state.lock();
        let lonely =
            self.profiles.iter().filter(|profile| !state.strangers.contains_key(&profile.name));
        lonely.map(|profile| Order::first(&profile.name, profile.algorithms.clone())).collect()
    }

    /// Takes the keys for [`Lie::DuplicateKid`] into use.
    pub fn meet(&self, strangers: Vec<(Order, Generation)>) {
        let mut state = self.state.lock();
        state.strangers.extend(strangers.into_iter().map(|(order, keys)| (order.tenant, keys)));
    }

    /// The state as the control endpoint shows it.
    pub fn document(&self) -> Map<String, Value> {
        let state = self.state.lock();
        let requests: Map<String, Value> =
            state.requests.iter().map(|(name, counts)| (name.clone(), counts.shown())).collect();
        let kids: Map<String, Value> = state
            .rings
            .iter()
            .map(|(name, ring)| {
                (name.clone(), ring.published().map(|key| key.kid()).collect::<Value>())
            })
            .collect();
        let delay_ms = u64::try_from(state.behavior.delay.as_millis()).unwrap_or(u64::MAX);
        let mut document = Map::new();
        for (name, value) in [
            ("requests", requests.into()),
            ("kids", kids.into()),
            ("in_flight", self.gauge.in_flight().into()),
            ("peak_in_flight", self.gauge.peak().into()),
            ("opaque_tokens", state.opaque.claims.len().into()),
            ("revoked_tokens", state.revoked.len().into()),
            ("slow_ms", delay_ms.into()),
            ("status", state.behavior.status.map(|status| status.as_u16()).into()),
            ("lie", json!(state.behavior.lie)),
            ("down", state.down.into()),
        ] {
            document.insert(name.to_owned(), value);
        }
        document
    }
}

impl Counts {
    fn shown(&self) -> Value {
        json!({
            "discovery": self.discovery,
            "jwks": self.jwks,
            "token": self.token,
            "introspect": self.introspect,
            "moved": self.moved,
        })
    }
}

fn zeros(profiles: &[Profile]) -> BTreeMap<String, Counts> {
    profiles.iter().map(|profile| (profile.name.clone(), Counts::default())).collect()
}

/// Seconds since 1970, as tokens count.
pub fn now_secs() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
