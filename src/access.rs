//! Who sends a request and whether it may: the doors of authentication and authorization, with
//! what is remembered between requests.
//!
//! Every decision leaves an [`Access`] in the exchange, which the shell writes into the audit log.

use crate::adapters::failed_auth::Asker;
use crate::exchange::{Access, Exchange};
use crate::identity::{Showing, UNANSWERED, held_off};
use crate::refusal::{Refusal, Shown};
use crate::stages::authentication::denial::Denial;
use crate::stages::authentication::presented::{self, Credential, Places};
use crate::stages::authentication::{Client, Proof, Proofs, Scheme, api_key, identify};
use crate::stages::authorization::{self, Forbidden, Grant, Request};
use crate::state::{Snapshot, State};
use http::HeaderMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The request's time is over before anybody could say what its token is.
const LATE: Denial = Denial { refusal: Refusal::DeadlineExceeded, reason: "deadline-exceeded" };

/// Decides which client a request belongs to.
///
/// # Errors
/// The first rule that is broken.
pub async fn authenticate(
    state: &State,
    exchange: &mut Exchange,
    headers: &HeaderMap,
) -> Result<Client, Refusal> {
    let mut scheme = Scheme::None;
    let mut proofs = Proofs::new();
    let proved = prove(state, exchange, headers, &mut scheme, &mut proofs).await;
    let decided = proved.and_then(|()| {
        let now = state.clock.unix_seconds();
        let directory = &exchange.snapshot.config.policies.directory;
        identify(directory, &proofs, exchange.arrival.certificate.as_deref(), now)
    });
    let label = decided.as_ref().map_or(scheme, Client::scheme).label();
    let result = match &decided {
        Ok(_) => "accepted",
        Err(denial) => denial.refusal.slug(),
    };
    state.metrics.authentications.with_label_values(&[label, result]).inc();
    match decided {
        Ok(client) => Ok(client),
        Err(denial) => {
            if matches!(denial.refusal, Refusal::TokenInvalid(_)) || denial.reason == UNANSWERED {
                asker(state, exchange).count();
            }
            let identity = proofs.first().map(Proof::describe);
            let refusal = bar(exchange, scheme, None, Forbidden::from(denial));
            if let Some(access) = &mut exchange.access {
                access.identity = identity;
            }
            Err(refusal)
        }
    }
}

/// Decides whether the client may do what it asks for.
///
/// # Errors
/// `client-suspended`, `scope-missing`, `not-permitted`.
pub fn authorize(exchange: &mut Exchange, client: Client) -> Result<(), Refusal> {
    let snapshot = exchange.snapshot.clone();
    // Of its limits a client is told also with what it may not do.
    exchange.bounds = snapshot.limits.of(&client);
    match permit(&snapshot, exchange, &client) {
        Ok(grant) => {
            if let Some(bounds) = &mut exchange.bounds {
                bounds.under(grant.rule());
            }
            exchange.access = Some(Access {
                scheme: client.scheme(),
                identity: None,
                client: Some(client),
                grant: Some(grant),
                barred: None,
                generation: snapshot.generation,
            });
            Ok(())
        }
        Err(forbidden) => {
            let scheme = client.scheme();
            Err(bar(exchange, scheme, Some(client), forbidden))
        }
    }
}

/// Decides once more what has not been sent yet, if the policies have changed since.
///
/// # Errors
/// What the policies in force refuse.
pub fn again(state: &State, exchange: &mut Exchange) -> Result<(), Refusal> {
    let Some(access) = &exchange.access else { return Err(Refusal::GatewayFault) };
    let current = state.snapshot.load();
    // A reload is seen here a moment later than by requests that begin.
    if current.generation <= access.generation {
        return Ok(());
    }
    let Some(client) = access.client.clone() else { return Err(Refusal::GatewayFault) };
    let directory = &current.config.policies.directory;
    let owned_now = |proof: &Proof| match proof {
        Proof::Token { scheme, facts, .. } => {
            Proof::Token { scheme: *scheme, facts: facts.clone(), owner: directory.owner(facts) }
        }
        Proof::Key { .. } => proof.clone(),
    };
    let proofs: Proofs = client.proofs().iter().map(owned_now).collect();
    let certificate = exchange.arrival.certificate.as_deref();
    let decided = identify(directory, &proofs, certificate, state.clock.unix_seconds())
        .map_err(Forbidden::from)
        .and_then(|client| Ok((permit(&current, exchange, &client)?, client)));
    match decided {
        Ok((grant, client)) => {
            if let Some(access) = &mut exchange.access {
                access.client = Some(client);
                access.grant = Some(grant);
                access.generation = current.generation;
            }
            Ok(())
        }
        Err(forbidden) => {
            let scheme = client.scheme();
            Err(bar(exchange, scheme, Some(client), forbidden))
        }
    }
}

/// Finds what is shown, and verifies what has to be verified elsewhere.
async fn prove(
    state: &State,
    exchange: &Exchange,
    headers: &HeaderMap,
    scheme: &mut Scheme,
    proofs: &mut Proofs,
) -> Result<(), Denial> {
    let arrival = &exchange.arrival;
    let snapshot = &exchange.snapshot;
    let Some(taken) = &exchange.taken else {
        return Err(Denial { refusal: Refusal::GatewayFault, reason: "no-route" });
    };
    let places = Places {
        passthrough: taken.route.is_passthrough(),
        key_fields: &taken.route.vendor.profile.key_headers,
    };
    let shown = match presented::find(headers, arrival.query.as_deref(), places) {
        Ok(shown) => shown,
        Err(denial) => {
            hold_off(&asker(state, exchange))?;
            return Err(denial);
        }
    };
    if !shown.is_empty()
        && !arrival.https
        && !arrival.listener.address.ip().to_canonical().is_loopback()
    {
        return Err(Denial { refusal: Refusal::TlsRequired, reason: "plain-connection" });
    }
    let showing = Showing {
        issuers: &snapshot.issuers,
        directory: &snapshot.config.policies.directory,
        generation: snapshot.generation,
        introspection: taken.route.introspection.as_deref(),
        now: state.clock.unix_seconds(),
    };
    for credential in &shown {
        proofs.push(match credential {
            Credential::Token(token) => {
                *scheme = Scheme::of_token(token);
                match state.tokens.known(token, showing) {
                    Some(proof) => proof,
                    None => {
                        let asker = asker(state, exchange);
                        hold_off(&asker)?;
                        let left = exchange.time_left(Instant::now());
                        let verified = state.tokens.verify(token, showing, &asker);
                        tokio::time::timeout(left, verified).await.map_err(|_| LATE)??
                    }
                }
            }
            Credential::Key(key, shown) => {
                *scheme = Scheme::Key;
                prove_key(state, exchange, key, *shown)?
            }
        });
    }
    Ok(())
}

/// A key is looked up; from an address that was wrong too often, only one that was right before.
fn prove_key(state: &State, exchange: &Exchange, key: &str, shown: Shown) -> Result<Proof, Denial> {
    let snapshot = &exchange.snapshot;
    let directory = &snapshot.config.policies.directory;
    let digest = api_key::digest(key);
    let listed = digest.ok().and_then(|d| directory.key(&d, state.clock.unix_seconds()).ok());
    if !listed.is_some_and(|key| key.seen.load(Ordering::Relaxed)) {
        hold_off(&asker(state, exchange))?;
        if let Some(key) = listed {
            key.seen.store(true, Ordering::Relaxed);
        }
    }
    let digest = digest.map_err(|why| presented::invalid(why, shown))?;
    Ok(Proof::Key { digest, shown })
}

fn asker(state: &State, exchange: &Exchange) -> Asker {
    let (address, gcra) = (exchange.arrival.address, exchange.snapshot.failed_auth);
    state.tokens.failed.asker(address, gcra, state.clock.clone())
}

/// What would have to be looked at is not, where an address was wrong too often.
fn hold_off(asker: &Asker) -> Result<(), Denial> {
    asker.wait().map_or(Ok(()), |wait| Err(held_off(wait)))
}

fn permit(snapshot: &Snapshot, exchange: &Exchange, client: &Client) -> Result<Grant, Forbidden> {
    let fault = || Forbidden::from(Denial { refusal: Refusal::GatewayFault, reason: "no-route" });
    let taken = exchange.taken.as_ref().ok_or_else(fault)?;
    let arrival = &exchange.arrival;
    // The route may have another number under other rules, or be gone: then nothing allows it.
    let name = &taken.route.name;
    let route = match exchange.snapshot.generation == snapshot.generation {
        true => Some(taken.matched.route()),
        false => snapshot.config.routes.iter().position(|route| route.name == *name),
    };
    let request = Request {
        route: route.unwrap_or(usize::MAX),
        method: &arrival.method,
        path: taken.matched.rest(&arrival.path),
        query: arrival.query.as_deref(),
    };
    authorization::authorize(&snapshot.config.policies.rules, client, request)
}

fn bar(
    exchange: &mut Exchange,
    scheme: Scheme,
    client: Option<Client>,
    forbidden: Forbidden,
) -> Refusal {
    let refusal = forbidden.denial.refusal.clone();
    exchange.access = Some(Access {
        scheme,
        identity: None,
        client,
        grant: None,
        barred: Some(forbidden),
        generation: exchange.snapshot.generation,
    });
    refusal
}
