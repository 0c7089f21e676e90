//! The commands: arguments in, answers on stdout, problems on stderr, exit statuses as documented.

pub mod certificates;
pub mod check;
pub mod explain;
pub mod invitation;
pub mod key;
pub mod ledger;
pub mod policy;
pub mod question;
pub mod run;
pub mod sandbox;
pub mod schema;
pub mod serving;
pub mod simulation;

use crate::config::Config;
use crate::config::problem::Severity;
use crate::config::resolve::{Loaded, Mode, load};
use crate::config::sources::System;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ledger::LedgerCommand;
use question::Question;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

/// Exit status of a command that did what it was asked for.
pub const DONE: u8 = 0;
/// Exit status of a command that failed, or found what it was asked to find.
pub const FAILED: u8 = 1;
/// Exit status of a command that could not be understood, or not be answered at all.
pub const USAGE: u8 = 2;
/// Exit status of `run` when the drain cut something.
pub const CUT: u8 = 3;

/// The gateway between ERP integrations and the vendors they call.
#[derive(Debug, Parser)]
#[command(name = "erpgate", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT; SIGHUP reads the configuration again.
    #[command(after_help = "Example:\n  erpgate run --config /etc/erpgate/gateway.toml")]
    Run {
        #[command(flatten)]
        config: ConfigFile,
        /// Start the built-in simulators and send every vendor's traffic to them.
        #[arg(long)]
        sandbox: bool,
        /// Take the listeners over from the running gateway, which then drains.
        #[arg(long)]
        replace: bool,
    },
    /// Report every problem of the configuration, with file, line and column.
    #[command(after_help = "Example:\n  erpgate check --format json")]
    Check {
        #[command(flatten)]
        config: ConfigFile,
        /// How to report.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Say which rule lets a request through or keeps it out, and what would happen to it.
    #[command(after_help = "Example:\n  erpgate explain GET /netsuite/services/rest/record/v1/\
                            salesOrder/7 --client shiphawk --scope orders:read")]
    Explain {
        /// The method.
        method: String,
        /// A path with its query, or a URL.
        target: String,
        /// Who would send it.
        #[arg(long)]
        client: String,
        /// A scope of its credential.
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// How to report.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Test, compare and list the policies of clients.
    #[command(after_help = "Example:\n  erpgate policy diff policies.before policies")]
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Make API keys.
    #[command(after_help = "Example:\n  erpgate key new --client storefront --scope items:read")]
    Key {
        #[command(subcommand)]
        command: KeyCommand,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Look at protected writes, and settle those whose outcome is unknown.
    #[command(after_help = "Example:\n  erpgate ledger list --state unknown")]
    Ledger {
        #[command(subcommand)]
        command: LedgerCommand,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Print the JSON Schema of a configuration file, for editors.
    #[command(after_help = "Example:\n  erpgate schema gateway > gateway.schema.json")]
    Schema {
        /// Which file.
        #[arg(value_enum)]
        file: SchemaFile,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Run the vendor simulators alone.
    #[command(after_help = "Example:\n  erpgate sandbox --listen 127.0.0.1:7070 --vendor netsuite")]
    Sandbox {
        /// Address of the first simulator; each further one takes the next port.
        #[arg(long, default_value = "127.0.0.1:7070")]
        listen: SocketAddr,
        /// Which vendors to simulate.
        #[arg(long = "vendor", value_enum, default_values_t = [SimulatedVendor::Netsuite])]
        vendors: Vec<SimulatedVendor>,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Make certificates and keys for development, where there are none.
    #[command(after_help = "Example:\n  erpgate certificates --dir certs")]
    Certificates {
        /// The folder to fill.
        #[arg(long, default_value = "certs")]
        dir: PathBuf,
        #[command(flatten)]
        config: ConfigFile,
    },
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Run the cases in policies/tests.
    #[command(after_help = "Example:\n  erpgate policy test")]
    Test,
    /// What each client gains and loses between two policy folders.
    #[command(after_help = "Example:\n  erpgate policy diff policies.before policies")]
    Diff {
        /// The folder as it was.
        old: PathBuf,
        /// The folder as it will be.
        new: PathBuf,
        /// How to report.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Clients, routes, methods, paths and scopes.
    #[command(after_help = "Example:\n  erpgate policy matrix --format csv > access.csv")]
    Matrix {
        /// How to print it.
        #[arg(long, value_enum, default_value_t = MatrixFormat::Table)]
        format: MatrixFormat,
    },
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key, print it once, and print the lines that let it in.
    #[command(after_help = "Example:\n  erpgate key new --client storefront --expires 2027-06-30 \
                            --scope items:read")]
    New {
        /// Whose key it will be.
        #[arg(long)]
        client: String,
        /// Its last day, in UTC, as in 2027-06-30.
        #[arg(long, value_name = "DATE")]
        expires: Option<jiff::civil::Date>,
        /// A scope that it is good for.
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file.
    #[arg(long = "config", value_name = "FILE", default_value = "./gateway.toml", global = true)]
    path: PathBuf,
}

/// How a matrix is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MatrixFormat {
    /// For people.
    Table,
    /// For spreadsheets.
    Csv,
    /// For programs.
    Json,
}

/// Reads the configuration for a command that looks at it; `None`, and every problem on stderr, if
/// it can't be used.
pub fn read_config(path: &Path) -> Option<Config> {
    shown(load(path, &System, Mode::Check, SystemTime::now()))
}

/// The configuration, if nothing refuses it; its problems go to stderr.
fn shown(mut loaded: Loaded) -> Option<Config> {
    loaded.problems.retain(|problem| problem.severity == Severity::Problem);
    eprint!("{}", loaded.human());
    loaded.config
}

/// Prints an answer. Whoever does not read it any more still gets the exit status.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// How a command reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Human,
    /// For programs; documented and stable.
    Json,
}

/// Files that have a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaFile {
    /// gateway.toml.
    Gateway,
    /// A client's policy.
    Policy,
    /// A vendor profile.
    Profile,
}

/// Vendors that have a simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SimulatedVendor {
    /// Oracle NetSuite, SuiteTalk REST.
    Netsuite,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One crypto library for everything we choose, before anybody else chooses: a second
    // installation is refused, which is what we want.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let status = match arguments.command {
        Command::Run { config, sandbox, replace } => {
            run::run(&run::Options { config: config.path, sandbox, replace })
        }
        Command::Check { config, format } => check::check(&config.path, format),
        Command::Explain { method, target, client, scopes, format, config } => {
            let question = Question { method, target, client, scopes };
            explain::explain(&config.path, &question, format)
        }
        Command::Policy { command, config } => match command {
            PolicyCommand::Test => policy::cases::test(&config.path),
            PolicyCommand::Diff { old, new, format } => {
                policy::diff::diff(&config.path, &old, &new, format)
            }
            PolicyCommand::Matrix { format } => policy::matrix::matrix(&config.path, format),
        },
        Command::Key { command: KeyCommand::New { client, expires, scopes, format }, .. } => {
            key::new(&key::Options { client, expires, scopes, format })
        }
        Command::Ledger { command, config } => ledger::ledger(&config.path, &command),
        Command::Schema { file, .. } => schema::schema(file),
        Command::Sandbox { listen, vendors, .. } => sandbox::sandbox(listen, &vendors),
        Command::Certificates { dir, .. } => certificates::certificates(&dir),
    };
    ExitCode::from(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_is_well_formed_and_has_an_example() {
        let command = Arguments::command();
        command.clone().debug_assert();
        let deeper = command.get_subcommands().flat_map(clap::Command::get_subcommands);
        for command in deeper {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example:\n  erpgate "), "{}", command.get_name());
        }
        for command in command.get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example:\n  erpgate "), "{}", command.get_name());
            assert!(command.get_arguments().any(|arg| arg.get_id() == "path"), "--config");
        }
    }
}
