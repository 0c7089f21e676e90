//! `erpgate ledger`: looks at protected writes, settles unknown ones, takes copies.
//!
//! * [`door`]: by way of the running gateway, or the file itself where certainly none runs.
//! * [`gateway`], [`pinned`]: the admin listener, and how it is known to be ours.
//! * [`file`]: the file.
//! * [`verdict`]: what is typed, as the admin listener takes it.
//! * [`table`]: for people.

mod door;
mod file;
mod gateway;
mod pinned;
mod table;
mod verdict;

use super::{DONE, FAILED, Format, print, read_config};
use crate::adapters::ledger::entry::Standing;
use crate::admin::ledger::{PAGE, Page};
use clap::{Subcommand, ValueEnum};
use door::Door;
use std::io::Write;
use std::path::{Path, PathBuf};
use verdict::Said;

/// What is done with the ledger.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// List protected writes; without --state, those whose outcome is unknown.
    #[command(after_help = "Example:\n  erpgate ledger list --state unknown")]
    List {
        /// Which ones.
        #[arg(long, value_enum, default_value_t = State::Unknown)]
        state: State,
        /// The number before the first one, as the page before said it.
        #[arg(long, value_name = "ID", default_value_t = 0,
              value_parser = clap::value_parser!(i64).range(0..))]
        after: i64,
        /// How many at the most.
        #[arg(long, value_name = "N", default_value_t = PAGE,
              value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Show one, with the answer that is kept.
    #[command(after_help = "Example:\n  erpgate ledger show 17")]
    Show {
        /// Its number.
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        id: i64,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Say what came of an unknown one, after looking it up at the vendor.
    #[command(after_help = "Example:\n  erpgate ledger resolve 17 --as executed --status 201 \
                            --body answer.json --why 'found as invoice 4711'")]
    Resolve {
        /// Its number.
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        id: i64,
        /// What came of it.
        #[command(flatten)]
        said: Said,
    },
    /// Print all of them, a JSON object a line.
    #[command(after_help = "Example:\n  erpgate ledger export > ledger.jsonl")]
    Export,
    /// Copy the ledger, as of one moment, into a new file.
    #[command(after_help = "Example:\n  erpgate ledger backup /backup/ledger-2026-11-30.db")]
    Backup {
        /// The file; it must not be there yet.
        file: PathBuf,
    },
}

/// Where protected writes stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Sent, and not answered yet.
    InFlight,
    /// The vendor answered, or somebody said that it acted.
    Answered,
    /// Nobody knows.
    Unknown,
}

impl State {
    fn standing(self) -> Standing {
        match self {
            State::InFlight => Standing::InFlight,
            State::Answered => Standing::Answered,
            State::Unknown => Standing::Unknown,
        }
    }
}

/// Why a command failed: a sentence.
type Failure = String;

/// Does it. Returns the exit status.
pub fn ledger(config: &Path, command: &LedgerCommand) -> u8 {
    let Some(config) = read_config(config) else { return FAILED };
    let verdict = match command {
        LedgerCommand::Resolve { said, .. } => match said.members(&config) {
            Ok(members) => Some(members),
            Err((status, wrong)) => return complain(&wrong, status),
        },
        _ => None,
    };
    let done = Door::open(&config).and_then(|door| match command {
        LedgerCommand::List { state, after, limit, format } => {
            let standing = state.standing();
            let page = door.list(Page { standing, after: *after, limit: *limit })?;
            print(&match format {
                Format::Json => format!("{page}\n"),
                Format::Human => table::list(&page, standing),
            });
            Ok(())
        }
        LedgerCommand::Show { id, format } => {
            let entry = door.show(*id)?;
            print(&match format {
                Format::Json => format!("{entry}\n"),
                Format::Human => table::entry(&entry),
            });
            Ok(())
        }
        LedgerCommand::Resolve { id, .. } => {
            let entry = door.resolve(*id, verdict.unwrap_or_default())?;
            print(&table::settled(&entry));
            Ok(())
        }
        LedgerCommand::Export => {
            let mut out = std::io::stdout().lock();
            door.export(&mut out)?;
            out.flush().map_err(|error| format!("the output can't be written: {error}"))
        }
        LedgerCommand::Backup { file } => {
            let bytes = door.back_up(file)?;
            print(&format!("{}: {bytes} bytes\n", file.display()));
            Ok(())
        }
    });
    match done {
        Ok(()) => DONE,
        Err(why) => complain(&why, FAILED),
    }
}

fn complain(why: &str, status: u8) -> u8 {
    eprintln!("erpgate: {why}");
    status
}
