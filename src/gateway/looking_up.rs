//! Asks vendors whether they acted on creates of which nobody knows: the look-up that `reconcile`
//! names, sent by the gateway itself, until it says something or a person does (INTERFACE §6.8).

use super::context::Live;
use super::own_request::{self, Heard, Question, place};
use crate::adapters::coding;
use crate::adapters::ledger::entry::{Answer, Change, Entry, Outcome, Settlement, Standing};
use crate::adapters::vendor_client::Answering;
use crate::config::protection::Reconcile;
use crate::config::{Credential, Vendor};
use crate::model::limits::Priority;
use crate::profile::outcome::PEEK_BYTES_MAX;
use crate::stages::forwarding::kept;
use crate::stages::idempotency::{Finding, LookedUp, find};
use crate::state::State;
use crate::vendors::Desk;
use arc_swap::ArcSwap;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often all unknown entries are looked through, if nothing is told of a new one.
const LIST: Duration = Duration::from_secs(30);
/// From being told of a new one to looking through them, and the least wait in any case.
const LIST_MIN: Duration = Duration::from_millis(100);
/// Entries of one page of them.
const PAGE: u32 = 500;
/// Look-ups at a time at one vendor, so that a slow one keeps none of another's.
const AT_ONCE: usize = 4;
/// How long a look-up may wait for its slot, and then for its answer, if the vendor's `response` is
/// no shorter: one that hangs must not keep the others waiting.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long until an entry is looked up again, at first and at the most: while a client may still
/// repeat its write, and later.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(10);
const AGAIN_OLD: Duration = Duration::from_secs(300);
/// From when on an entry is an old one.
const OLD: Duration = Duration::from_secs(600);
/// How long until one that can't be looked up is looked at again: another configuration may know.
const HOPELESS: Duration = Duration::from_secs(300);

/// When an entry is looked up next.
struct Due {
    vendor: Box<str>,
    at: Instant,
    wait: Duration,
    running: bool,
}

/// What a look-up came to.
enum Came {
    /// It is settled, or nobody can look it up.
    Over,
    /// It stays unknown, and is looked up again after so long at the most.
    Stays(Duration),
    /// What was seen proves something only later; it may be seen otherwise before.
    TooEarly(Duration),
    /// It was not looked up: something on our side was in the way.
    Hindered,
}

/// Looks up whatever is unknown, until the task is dropped.
pub async fn look_up(state: Arc<State>, live: Arc<ArcSwap<Live>>) {
    let mut dues: BTreeMap<i64, Due> = BTreeMap::new();
    let mut running = JoinSet::new();
    let mut list_at = Instant::now();
    loop {
        if list_at <= Instant::now() {
            list(&state, &mut dues).await;
            list_at = Instant::now() + LIST;
        }
        begin(&state, &live, &mut dues, &mut running);
        let next = dues.values().filter(|due| !due.running).map(|due| due.at).min();
        // Never busy: what is due now waits for one of those that run.
        let until = next.map_or(list_at, |at| at.min(list_at)).max(Instant::now() + LIST_MIN);
        tokio::select! {
            Some(ended) = running.join_next() => {
                if let Ok((id, came)) = ended {
                    end(&mut dues, id, came);
                }
            }
            () = state.protected.unknowns.notified() => {
                // Many come together: they are looked through together.
                list_at = list_at.min(Instant::now() + LIST_MIN);
            }
            () = tokio::time::sleep_until(until.into()) => {}
        }
    }
}

/// Learns of new ones, and forgets those that are unknown no more.
async fn list(state: &State, dues: &mut BTreeMap<i64, Due>) {
    let (mut after, mut found) = (0, BTreeMap::new());
    loop {
        let Ok(page) = state.protected.book.list(Standing::Unknown, after, PAGE).await else {
            return;
        };
        let Some(last) = page.last() else { break };
        after = last.claim.id;
        found.extend(page.into_iter().map(|entry| (entry.claim.id, entry.of.vendor)));
    }
    dues.retain(|id, due| due.running || found.contains_key(id));
    for (id, vendor) in found {
        let new = || Due { vendor, at: Instant::now(), wait: AGAIN, running: false };
        dues.entry(id).or_insert_with(new);
    }
}

/// The oldest first.
fn begin(
    state: &Arc<State>,
    live: &Arc<ArcSwap<Live>>,
    dues: &mut BTreeMap<i64, Due>,
    running: &mut JoinSet<(i64, Came)>,
) {
    let now = Instant::now();
    let mut at_once: HashMap<Box<str>, usize> = HashMap::new();
    for due in dues.values().filter(|due| due.running) {
        *at_once.entry(due.vendor.clone()).or_default() += 1;
    }
    for (id, due) in dues.iter_mut().filter(|(_, due)| !due.running && due.at <= now) {
        let of_vendor = at_once.entry(due.vendor.clone()).or_default();
        if *of_vendor >= AT_ONCE {
            continue;
        }
        *of_vendor += 1;
        due.running = true;
        let (state, live, id) = (state.clone(), live.load_full(), *id);
        running.spawn(async move { (id, one(&state, &live, id).await) });
    }
}

fn end(dues: &mut BTreeMap<i64, Due>, id: i64, came: Came) {
    let Some(due) = dues.get_mut(&id) else { return };
    due.running = false;
    let wait = match came {
        Came::Over => HOPELESS,
        Came::Hindered => AGAIN,
        Came::Stays(at_most) => {
            let wait = due.wait.min(at_most);
            due.wait = (due.wait * 2).min(AGAIN_OLD);
            wait
        }
        Came::TooEarly(left) => left.min(AGAIN_MAX),
    };
    due.at = Instant::now() + wait;
}

/// What is needed to look an entry up.
struct Look {
    desk: Arc<Desk>,
    vendor: Arc<Vendor>,
    reconcile: Arc<Reconcile>,
    target: String,
}

/// `None`: it can't be looked up.
fn prepare(live: &Live, entry: &Entry) -> Option<Look> {
    let of = &entry.of;
    // What a later change of a record did, its being there does not tell.
    let value = of.vendor_key.as_deref().filter(|_| &*of.method == "POST")?;
    let mut routes = live.snapshot.config.routes.iter();
    let route = routes.position(|it| *it.name == *of.route && *it.vendor.name == *of.vendor)?;
    let (desk, vendor) = place(live, route)?;
    let reconcile = live.snapshot.config.routes.get(route)?.protection.reconcile.clone()?;
    let target = reconcile.target(&of.path, value)?;
    Some(Look { desk, vendor, reconcile, target })
}

/// The credential that the write was sent with.
fn credential<'v>(vendor: &'v Vendor, name: Option<&str>) -> Option<&'v Credential> {
    let named = match name {
        Some(name) => vendor.credentials.get(name),
        None => Some(&vendor.credential),
    };
    // The client's own is gone with it.
    named.filter(|it| !matches!(it, Credential::Passthrough))
}

async fn one(state: &State, live: &Live, id: i64) -> Came {
    let entry = match state.protected.book.entry(id).await {
        Ok(Some(entry)) if entry.standing == Standing::Unknown => entry,
        Ok(_) => return Came::Over,
        Err(_) => return Came::Hindered,
    };
    let Some(look) = prepare(live, &entry) else { return Came::Over };
    let Some(credential) = credential(&look.vendor, entry.of.credential.as_deref()) else {
        return Came::Over;
    };
    let slot = own_request::slot(&look.desk, Priority::Normal, PATIENCE).await;
    let Some(mut slot) = slot else { return Came::Hindered };
    let Ok(permit) = look.desk.circuit.permit(true) else { return Came::Hindered };
    let question = Question {
        vendor: &look.vendor,
        method: &look.reconcile.method,
        target: &look.target,
        credential,
        patience: look.vendor.timeouts.response.min(PATIENCE),
    };
    // What is seen is as of this moment, at the earliest.
    let Some(asked) = state.protected.book.now() else { return Came::Hindered };
    let heard = own_request::ask(state, live, &question, &mut slot, permit).await;
    let age = entry.since.at_least(asked);
    let at_most = if age < OLD { AGAIN_MAX } else { AGAIN_OLD };
    let Heard::Answer(mut answering) = heard else { return Came::Stays(at_most) };
    let deadline = Instant::now() + question.patience;
    let (looked_up, answer) = read(state, &look.reconcile, &mut answering, deadline).await;
    drop(slot);
    let response = look.vendor.timeouts.response;
    let found = match find(looked_up, entry.since, response, asked) {
        Finding::Answered => Some(answer),
        Finding::Free => None,
        Finding::Stays if looked_up == LookedUp::NotExecuted => {
            return Came::TooEarly(response.saturating_sub(age));
        }
        Finding::Stays => return Came::Stays(at_most),
    };
    settle(state, &entry, found).await
}

/// What the answer says, and the answer as it is kept.
async fn read(
    state: &State,
    reconcile: &Reconcile,
    answering: &mut Answering,
    deadline: Instant,
) -> (LookedUp, Settlement) {
    let status = answering.head.status.as_u16();
    let config = &state.snapshot.load().config;
    let most = usize::try_from(config.ledger.answer_bytes_max).unwrap_or(usize::MAX);
    let filled = answering.fill(most.saturating_add(1), deadline.into()).await;
    let whole = filled.is_ok_and(|seen| seen <= most) && answering.is_whole();
    let (headers, seen) = (&answering.head.headers, answering.seen());
    let (plain, complete) = coding::decoded(headers, seen.clone(), whole, PEEK_BYTES_MAX);
    let looked_up = reconcile.read(status, headers, &plain, complete);
    let answer = match whole {
        true => Settlement::Kept(Answer { status, fields: kept::kept(headers), body: seen }),
        false => Settlement::NotKept(Some(status)),
    };
    (looked_up, answer)
}

async fn settle(state: &State, entry: &Entry, found: Option<Settlement>) -> Came {
    let Ok(ledger) = state.protected.book.ledger() else { return Came::Hindered };
    let executed = if found.is_some() { "executed" } else { "not-executed" };
    let change = Change::Found(entry.claim, found);
    match state.protected.book.change(&ledger, change).await {
        Ok(Outcome::Made) => {}
        // Somebody else was quicker, or it was tried again meanwhile.
        Ok(_) => return Came::Over,
        Err(_) => return Came::Hindered,
    }
    let members = [
        ("action", Value::from("ledger-settled")),
        ("by", "look-up".into()),
        ("as", executed.into()),
        ("id", entry.claim.id.into()),
        ("correlation_id", (*entry.of.correlation).into()),
        ("client", (*entry.of.client).into()),
        ("vendor", (*entry.of.vendor).into()),
        ("route", (*entry.of.route).into()),
    ];
    state.log.event("audit", &members);
    Came::Over
}
