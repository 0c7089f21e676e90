//! The way to the ledger: through the admin listener of the gateway that runs, or into the file
//! where certainly none does.

use super::Failure;
use super::file::File;
use super::gateway::Gateway;
use crate::adapters::ledger::judged::is_held;
use crate::admin::ledger::Page;
use crate::config::Config;
use serde_json::{Map, Value};
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The ledger, by one of the two ways.
pub enum Door {
    /// A gateway runs.
    Gateway(Box<Gateway>),
    /// None does.
    File(File),
}

impl Door {
    /// Finds the way.
    ///
    /// # Errors
    /// Why there is none.
    pub fn open(config: &Config) -> Result<Door, Failure> {
        let address = reachable(config.admin.address);
        let tried = match address.port() {
            // Whoever is bound to any free port can't be found by the file.
            0 => Err(io::Error::from(ErrorKind::ConnectionRefused)),
            _ => TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).map(drop),
        };
        match tried {
            Ok(()) => Gateway::at(address, config).map(|it| Door::Gateway(Box::new(it))),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                Door::to_file(config, address)
            }
            Err(error) => Err(format!(
                "the admin listener at {address} can't be reached: {error}; the ledger is opened \
                 without it only where certainly no gateway runs"
            )),
        }
    }

    fn to_file(config: &Config, address: SocketAddr) -> Result<Door, Failure> {
        let path = &config.ledger.path;
        let shown = path.display();
        if is_held(path).map_err(|trouble| format!("{shown}: {trouble}"))? {
            return Err(format!(
                "no admin listener answers at {address}, but a process holds the ledger {shown}: a \
                 gateway that starts, or one with another `[admin] address`; it was left alone"
            ));
        }
        if !path.exists() {
            return Err(format!("no gateway runs at {address}, and there is no ledger {shown}"));
        }
        eprintln!("erpgate: no gateway runs at {address}: this is the file {shown}");
        Ok(Door::File(File::new(config)))
    }

    /// A page of entries, as the admin listener tells it.
    pub fn list(&self, page: Page) -> Result<Value, Failure> {
        match self {
            Door::Gateway(gateway) => gateway.list(page),
            Door::File(file) => file.list(page),
        }
    }

    /// One entry, as the admin listener tells it.
    pub fn show(&self, id: i64) -> Result<Value, Failure> {
        match self {
            Door::Gateway(gateway) => gateway.show(id),
            Door::File(file) => file.show(id),
        }
    }

    /// Settles one; gives it as it is then.
    pub fn resolve(&self, id: i64, members: Map<String, Value>) -> Result<Value, Failure> {
        match self {
            Door::Gateway(gateway) => gateway.resolve(id, members),
            Door::File(file) => file.resolve(id, members),
        }
    }

    /// Writes all entries as lines.
    pub fn export(&self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Door::Gateway(gateway) => gateway.export(out),
            Door::File(file) => file.export(out),
        }
    }

    /// Copies the ledger into a new file; says how many octets it has.
    pub fn back_up(&self, to: &Path) -> Result<u64, Failure> {
        if fs::symlink_metadata(to).is_ok() {
            return Err(format!("{} is there already: name another file", to.display()));
        }
        let folder = match to.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            return Err(format!("there is no folder {}", folder.display()));
        }
        match self {
            Door::Gateway(gateway) => gateway.back_up(to, folder),
            Door::File(file) => file.back_up(to),
        }
    }
}

/// The address by which a listener on this machine is reached.
fn reachable(mut bound: SocketAddr) -> SocketAddr {
    if bound.ip().is_unspecified() {
        bound.set_ip(match bound {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_this_machine() {
        for (bound, expected) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.5:1", "10.0.0.5:1")]
        {
            let bound = bound.parse().expect("an address");
            assert_eq!(reachable(bound).to_string(), expected);
        }
    }
}
