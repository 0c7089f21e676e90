//! Three commands for a person who has just started the sandbox: they work at once, as printed.

use super::serving::Serving;
use super::simulation::SECRET;
use crate::model::path::{PathPattern, Segment};
use crate::state::Snapshot;

/// A client with a token, and something that it may read.
struct Reader {
    issuer: String,
    client_id: String,
    scopes: String,
    target: String,
}

/// What `run --sandbox` prints.
pub fn invitation(serving: &Serving) -> String {
    let snapshot = serving.gateway.state.snapshot.load();
    let plain = snapshot.config.listeners.iter().position(|listener| listener.tls.is_none());
    let address = plain.and_then(|index| serving.gateway.addresses.get(index));
    let (Some((_, address)), Some(simulation)) = (address, &serving.simulation) else {
        return String::new();
    };
    let admin = serving.admin;
    let identity = simulation.identity.base_url();
    let mut text = format!(
        "\nerpgate serves on http://{address}; vendors and issuers behind it are simulated. \
         Try:\n\n"
    );
    if let Some(reader) = reader(&snapshot) {
        let Reader { issuer, client_id, scopes, target } = reader;
        let token = |scopes: &str| {
            format!(
                "\"Authorization: Bearer $(curl -s {identity}/{issuer}/token \
                 -d grant_type=client_credentials -d client_id={client_id} \
                 -d client_secret={SECRET} -d 'scope={scopes}' | \
                 sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\""
            )
        };
        text.push_str(&format!(
            "  # a read, with a token of the client `{client_id}`\n  \
             curl -s 'http://{address}{target}' -H {}\n\n  \
             # a refusal: the same without the scope\n  \
             curl -si 'http://{address}{target}' -H {}\n\n",
            token(&scopes),
            token("")
        ));
    } else {
        text.push_str(&format!("  # a refusal\n  curl -si http://{address}/nowhere\n\n"));
    }
    text.push_str(&format!("  # the metrics page\n  curl -s http://{admin}/metrics\n\n"));
    for vendor in &snapshot.config.vendors {
        if let Some(simulator) = simulation.vendors.get(&*vendor.name) {
            let url = simulator.control_url();
            text.push_str(&format!("The simulator of {} is told to fail at {url}\n", vendor.name));
        }
    }
    text.push_str(&format!(
        "The identity provider ({identity}) is told to at {}\nCtrl-C stops it.\n\n",
        simulation.identity.control_url()
    ));
    text
}

/// The first client by name that shows tokens and may read something.
fn reader(snapshot: &Snapshot) -> Option<Reader> {
    let config = &snapshot.config;
    let mut identities: Vec<_> = config.policies.directory.token_clients().collect();
    identities.sort_unstable_by_key(|(_, client_id, client, _)| (*client, client_id.to_owned()));
    identities.into_iter().filter(|(.., bound_only)| !bound_only).find_map(
        |(issuer, client_id, client, _)| {
            let policy = config.policies.rules.clients.get(client)?;
            let rule = policy.rules.allows.iter().find(|rule| {
                rule.methods.contains("GET") && rule.query.is_empty() && !rule.scopes.is_empty()
            })?;
            let route = config.routes.iter().find(|r| r.name == rule.route && r.host.is_none())?;
            Some(Reader {
                issuer: issuer.to_owned(),
                client_id: client_id.to_owned(),
                scopes: rule.scopes.join(" "),
                target: format!("{}{}", route.prefix, example(rule.paths.first()?)),
            })
        },
    )
}

/// A path that the pattern matches.
fn example(pattern: &PathPattern) -> String {
    let mut path = String::new();
    for segment in pattern.segments() {
        path.push('/');
        match segment {
            Segment::Literal(text) => path.push_str(&String::from_utf8_lossy(text)),
            Segment::Prefix(text) => path.push_str(&format!("{}1", String::from_utf8_lossy(text))),
            Segment::Rest => {}
        }
    }
    path
}
