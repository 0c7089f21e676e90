//! The commands: arguments in, answers on stdout, problems on stderr, exit statuses as documented.

pub mod certificates;
pub mod check;
pub mod run;
pub mod sandbox;
pub mod schema;
pub mod serving;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit status of a command that did what it was asked for.
pub const DONE: u8 = 0;
/// Exit status of a command that failed, or found what it was asked to find.
pub const FAILED: u8 = 1;
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

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file.
    #[arg(long = "config", value_name = "FILE", default_value = "./gateway.toml")]
    path: PathBuf,
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
        for command in command.get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example:\n  erpgate "), "{}", command.get_name());
            assert!(command.get_arguments().any(|arg| arg.get_id() == "path"), "--config");
        }
    }
}
