//! The processes of a bench: started on free ports, read from `/proc`, ended by dropping them.

use crate::credential::{ISSUER, SECRET, write_policy};
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a process may take until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A pingora proxy that only proxies.
    Bare,
    /// The gateway, with its access log.
    Erpgate,
}

/// Where the programs are, and what they are started with.
pub struct Programs {
    erpgate: PathBuf,
    bare: PathBuf,
    vendor: PathBuf,
    /// Threads of each proxy.
    pub workers: usize,
    /// A library that is loaded into the gateway before all others.
    pub preload: Option<PathBuf>,
    folder: TempDir,
}

impl Programs {
    /// Looks beside this program, in `target/PROFILE`, unless the environment says otherwise.
    pub fn find() -> Result<Programs, String> {
        let me = std::env::current_exe().map_err(|error| error.to_string())?;
        let beside = me.parent().and_then(Path::parent).unwrap_or(Path::new("."));
        let find = |variable: &str, default: &str| {
            let path = std::env::var_os(variable).map_or(beside.join(default), PathBuf::from);
            match path.is_file() {
                true => Ok(path),
                false => Err(format!("{} is missing: {BUILD}", path.display())),
            }
        };
        Ok(Programs {
            erpgate: find("ERPGATE_BIN", "erpgate")?,
            bare: find("BARE_BIN", "examples/bare_proxy")?,
            vendor: find("VENDOR_BIN", "examples/bench_vendor")?,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            preload: None,
            folder: tempfile::tempdir().map_err(|error| error.to_string())?,
        })
    }

    /// Where the gateway's files are: only one of the benches that share this puts any there.
    #[allow(dead_code)]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the vendor.
    pub fn vendor(&self) -> io::Result<Process> {
        let address = free_address()?;
        let mut command = Command::new(&self.vendor);
        command.arg(address.to_string());
        Process::start(command, address)
    }

    /// Starts a proxy in front of the vendor.
    pub fn proxy(&self, subject: Subject, vendor: SocketAddr) -> io::Result<Process> {
        match subject {
            Subject::Bare => {
                let address = free_address()?;
                let mut command = Command::new(&self.bare);
                command.args([address, vendor].map(|it| it.to_string()));
                command.arg(self.workers.to_string());
                Process::start(command, address)
            }
            // Lines are made and written; where to is not erpgate's cost.
            Subject::Erpgate => self.erpgate(vendor, Stdio::null()),
        }
    }

    /// Starts erpgate with its log in a file, and says which.
    pub fn erpgate_with_log(&self, vendor: SocketAddr) -> io::Result<(Process, PathBuf)> {
        let path = self.folder.path().join("access.log");
        Ok((self.erpgate(vendor, File::create(&path)?.into())?, path))
    }

    fn erpgate(&self, vendor: SocketAddr, log: Stdio) -> io::Result<Process> {
        let further = r#"[[route]]
name = "bulk"
path = "/bulk"
vendor = "erp"
body_max = "none"
"#;
        self.erpgate_with(vendor, further, log)
    }

    /// Starts erpgate in front of the vendor `erp` with its route `/erp`, and with further
    /// vendors and routes.
    pub fn erpgate_with(
        &self,
        vendor: SocketAddr,
        further: &str,
        log: Stdio,
    ) -> io::Result<Process> {
        let (address, admin) = (free_address()?, free_address()?);
        let path = self.folder.path().join("gateway.toml");
        let workers = self.workers;
        let config = format!(
            r#"[server]
workers = {workers}

# All load comes from one address, and idle connections have to outlast the bench.
[[listener]]
address = "{address}"
connections_max = 100000
connections_max_per_address = 100000
idle_timeout = "1h"

[admin]
address = "{admin}"

[vendors.erp]
base_url = "http://{vendor}"
credential = {{ kind = "bearer", token = {{ env = "BENCH_TOKEN" }} }}

[[route]]
name = "erp"
path = "/erp"
vendor = "erp"

{further}
{ISSUER}"#
        );
        fs::write(&path, config)?;
        write_policy(self.folder.path())?;
        let mut command = Command::new(&self.erpgate);
        command.args(["run", "--config"]).arg(&path).env("BENCH_TOKEN", "a".repeat(64));
        command.env(SECRET.0, SECRET.1);
        command.envs(self.preload.iter().map(|library| ("LD_PRELOAD", library)));
        command.stdout(log);
        Process::start(command, address)
    }
}

/// How to get the programs.
const BUILD: &str =
    "build it with `cargo build --release --bin erpgate --examples`, or run `make bench`";

/// Processor time in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    /// In the program.
    pub user: f64,
    /// In the kernel, on its account.
    pub system: f64,
}

impl Cpu {
    /// Both.
    pub fn total(self) -> f64 {
        self.user + self.system
    }
}

impl std::ops::Sub for Cpu {
    type Output = Cpu;

    fn sub(self, before: Cpu) -> Cpu {
        Cpu { user: self.user - before.user, system: self.system - before.system }
    }
}

/// A running process. Dropping it ends it.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Process {
    fn start(mut command: Command, address: SocketAddr) -> io::Result<Process> {
        let child = command.stdin(Stdio::null()).spawn()?;
        let mut process = Process { child, address };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = process.child.try_wait()? {
                return Err(io::Error::other(format!("{command:?} ended: {status}")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("{command:?} does not serve")));
            }
            std::thread::sleep(LOOK);
        }
        Ok(process)
    }

    /// Processor time so far of all its threads.
    pub fn cpu(&self) -> io::Result<Cpu> {
        let stat = fs::read_to_string(self.file("stat"))?;
        // The program's name stands in parentheses and may hold anything: count from its end.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks: Vec<u64> =
            fields.split_whitespace().skip(11).take(2).filter_map(|it| it.parse().ok()).collect();
        let [user, system] = ticks[..] else { return Err(io::ErrorKind::InvalidData.into()) };
        let a_second = rustix::param::clock_ticks_per_second() as f64;
        Ok(Cpu { user: user as f64 / a_second, system: system as f64 / a_second })
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> io::Result<u64> {
        self.memory("VmRSS:")
    }

    /// The largest resident memory since [`Process::forget_peak`].
    pub fn peak(&self) -> io::Result<u64> {
        self.memory("VmHWM:")
    }

    /// Lets the peak be what is resident now.
    ///
    /// # Errors
    /// A kernel that can't.
    pub fn forget_peak(&self) -> io::Result<()> {
        fs::write(self.file("clear_refs"), "5")
    }

    fn memory(&self, name: &str) -> io::Result<u64> {
        let status = fs::read_to_string(self.file("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(number.ok_or(io::ErrorKind::InvalidData)? << 10)
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.child.id()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that nobody listens on.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
