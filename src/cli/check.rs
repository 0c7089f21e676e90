//! `erpgate check`: every problem of the configuration, without serving it.

use super::{DONE, FAILED, Format};
use crate::config::problem::Severity;
use crate::config::resolve::{Mode, load};
use crate::config::sources::System;
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

/// Reports on the configuration. Returns the exit status.
pub fn check(config: &Path, format: Format) -> u8 {
    let loaded = load(config, &System, Mode::Check, SystemTime::now());
    let refused = loaded.problems.iter().any(|problem| problem.severity == Severity::Problem);
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    // Whoever does not read the answer any more still gets the status.
    let _ = match format {
        Format::Json => writeln!(out, "{}", loaded.json()),
        Format::Human => err.write_all(loaded.human().as_bytes()).and_then(|()| {
            let file = config.strip_prefix(".").unwrap_or(config).display();
            if refused { Ok(()) } else { writeln!(out, "{file}: no problems") }
        }),
    };
    if refused { FAILED } else { DONE }
}
