//! A request that nobody sends: what the gateway would decide about it.

use crate::access;
use crate::config::Listener;
use crate::exchange::{Arrival, Exchange};
use crate::gateway::arrival::split_absolute;
use crate::pipeline;
use crate::refusal::Refusal;
use crate::stages::authentication::Client;
use crate::stages::correlation::Entropy;
use crate::stages::validation::Head;
use crate::state::Snapshot;
use http::{HeaderMap, Version};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

/// The request.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its method.
    pub method: String,
    /// Its target: a path with its query, or a URL.
    pub target: String,
    /// Who sends it.
    pub client: String,
    /// What its credential is good for.
    pub scopes: Vec<String>,
}

/// The decision.
pub struct Answer {
    /// What was found out on the way.
    pub exchange: Exchange,
    /// What refuses it.
    pub refusal: Option<Refusal>,
}

impl Question {
    /// Asks a configuration; `None` if it has no listener.
    pub fn ask(&self, snapshot: &Arc<Snapshot>) -> Option<Answer> {
        let listener = snapshot.config.listeners.first()?.clone();
        let headers = HeaderMap::new();
        let arrival = Arc::new(self.arrival(listener));
        let entropy = Entropy { id: [b'0'; 36], trace_id: 1 };
        let (now, snapshot) = (Instant::now(), snapshot.clone());
        let mut exchange = pipeline::receive(snapshot, arrival.clone(), &headers, entropy, now);
        let head = Head {
            method: &arrival.method,
            path: &arrival.path,
            query: arrival.query.as_deref(),
            authority: arrival.authority.as_deref(),
            headers: &headers,
            version: arrival.version,
            raw: None,
            repaired: false,
        };
        let refusal = self.decide(&mut exchange, &head).err();
        Some(Answer { exchange, refusal })
    }

    fn decide(&self, exchange: &mut Exchange, head: &Head<'_>) -> Result<(), Refusal> {
        pipeline::find_route(exchange, head, None)?;
        let snapshot = exchange.snapshot.clone();
        let scopes = self.scopes.iter().map(|scope| scope.as_str().into()).collect();
        let directory = &snapshot.config.policies.directory;
        let client = Client::supposed(directory, &self.client, scopes);
        access::authorize(exchange, client.map_err(|denial| denial.refusal)?)
    }

    fn arrival(&self, listener: Arc<Listener>) -> Arrival {
        let absolute = split_absolute(&self.target);
        let (authority, target) = absolute.unwrap_or(("localhost", &self.target));
        let target = if target.is_empty() { "/" } else { target };
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        Arrival {
            https: listener.tls.is_some(),
            listener,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            version: Version::HTTP_11,
            authority: Some(authority.to_owned()),
            method: self.method.clone(),
            path: path.to_owned(),
            query,
            certificate: None,
        }
    }
}
