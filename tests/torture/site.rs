//! The folder of a gateway under torture: configuration, policies, ports that stay its own.

use crate::plan::{ANSWER_MAX, Plan, binary};
use crate::write::{CLIENTS, Lane};
use rand::Rng;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Whether the gateway keeps a ledger; one that does not has to be found out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Memory {
    Kept,
    /// It forgets every key at once.
    None,
}

/// Everything that outlives a gateway.
pub struct Site {
    folder: TempDir,
    pub listener: SocketAddr,
    pub admin: SocketAddr,
    /// What each client shows.
    pub api_keys: [String; CLIENTS],
}

const NAMES: [&str; CLIENTS] = ["orders", "billing"];

impl Site {
    /// With the ledger at this path, else in the folder.
    pub fn make(plan: &Plan, vendor: SocketAddr, memory: Memory, ledger: Option<&Path>) -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        let (listener, admin) = (own_port(), own_port());
        let api_keys = NAMES.map(|client| api_key(client, folder.path()));
        let site = Site { folder, listener, admin, api_keys };
        let ledger = ledger.map_or_else(|| site.path().join("data/ledger.db"), Path::to_path_buf);
        site.write("gateway.toml", &site.config(plan, vendor, memory, &ledger));
        site
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn config_path(&self) -> PathBuf {
        self.path().join("gateway.toml")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("written");
    }

    fn config(&self, plan: &Plan, vendor: SocketAddr, memory: Memory, ledger: &Path) -> String {
        let (listener, admin) = (self.listener, self.admin);
        let mut config = format!(
            "[server]\ndrain_timeout = \"5s\"\nhandover = \"handover.sock\"\n\
             [[listener]]\naddress = \"{listener}\"\n[admin]\naddress = \"{admin}\"\n"
        );
        if memory == Memory::Kept {
            let ledger = ledger.display();
            config.push_str(&format!(
                "[ledger]\npath = \"{ledger}\"\nanswer_max = \"{ANSWER_MAX}B\"\n"
            ));
        }
        for lane in Lane::ALL {
            config.push_str(&lane_lines(plan, lane, vendor, memory));
        }
        config
    }
}

fn lane_lines(plan: &Plan, lane: Lane, vendor: SocketAddr, memory: Memory) -> String {
    let name = lane.name();
    let concurrency = if lane == Lane::Narrow { 2 } else { 64 };
    let mut lines = format!(
        "[vendors.{name}]\nprofile = \"generic\"\nbase_url = \"http://{vendor}/{name}\"\n\
         concurrency = {concurrency}\nqueue = {{ max_wait = \"30s\" }}\n\
         timeouts = {{ connect = \"2s\", response = \"{}ms\" }}\n\
         retry = {{ base = \"10ms\", max = \"50ms\" }}\n\
         circuit = {{ min_requests = 1000000, consecutive_failures = 1000000 }}\n",
        plan.response.as_millis()
    );
    let mut route = format!(
        "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nvendor = \"{name}\"\n\
         deadline = \"20s\"\n"
    );
    if memory == Memory::None {
        route.push_str("idempotency = \"off\"\n");
    } else {
        let window = if lane == Lane::Remembered { ", window = \"24h\"" } else { "" };
        if lane != Lane::ExternalId {
            lines.push_str(&format!(
                "vendor_key = {{ header = \"X-Vendor-Key\", format = \"hex32\"{window} }}\n"
            ));
        }
        route.push_str("idempotency = \"required\"\n");
        route.push_str(match lane {
            Lane::ExternalId => "idempotency_key_from = [\"body:/externalId\"]\n",
            Lane::Remembered => "idempotency_ambiguous = \"retry\"\n",
            Lane::Header | Lane::Narrow => "",
        });
        if lane != Lane::Remembered {
            route.push_str(
                "reconcile = { lookup = \"GET /records/eid:{key}\", \
                 executed = { status = 200 }, not_executed = { status = 404 } }\n",
            );
        }
    }
    lines + &route
}

/// Makes a key for a client, and the policy by which it may use every route.
fn api_key(client: &str, folder: &Path) -> String {
    let made = Command::new(binary())
        .args(["key", "new", "--client", client, "--scope", "write", "--format", "json"])
        .output()
        .expect("runs");
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).expect("JSON");
    let identity = made["identity"].as_str().expect("lines for a policy");
    let mut policy = format!("client = \"{client}\"\n{identity}");
    for lane in Lane::ALL {
        policy.push_str(&format!(
            "[[allow]]\nroute = \"{}\"\nmethods = [\"*\"]\npaths = [\"/**\"]\n\
             scopes = [\"write\"]\n",
            lane.name()
        ));
    }
    std::fs::create_dir_all(folder.join("policies")).expect("made");
    std::fs::write(folder.join(format!("policies/{client}.toml")), policy).expect("written");
    made["key"].as_str().expect("a key").to_owned()
}

/// A port that no connection gets by chance while the gateway is dead: below those that the system
/// gives away by itself.
fn own_port() -> SocketAddr {
    loop {
        let port = rand::rng().random_range(10_240..32_000);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
