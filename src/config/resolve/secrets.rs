//! Secrets: from a reference to a value, in the one place that reads them.

use super::{Context, Mode};
use crate::config::problem::{Severity, quoted};
use crate::config::raw::at::At;
use crate::config::raw::secret::{RawReference, RawSecret};
use crate::model::secret::{Secret, SecretSource};
use std::io;
use std::ops::Range;

/// One source that was read, and what came of it.
pub(super) struct Read {
    source: SecretSource,
    outcome: Result<Secret, String>,
}

impl Context<'_> {
    /// The secret and its source; `None` if there is none to use, which has been noted.
    ///
    /// In a check, the value of a source that is missing is empty; in the sandbox every one is.
    pub(super) fn secret(
        &mut self,
        key: &str,
        typed: &At<RawSecret>,
    ) -> Option<(Secret, SecretSource)> {
        match &typed.value {
            RawSecret::Reference(reference) => self.reference(key, reference, &typed.span),
            RawSecret::Literal => {
                self.notes.text.hide(typed.span.clone());
                let message = format!("`{key}` is written here in plain sight");
                let help = format!(
                    "write `{key} = {{ env = \"NAME\" }}`, `{{ file = \"PATH\" }}` or \
                     `{{ command = [\"…\"] }}`, and change the secret: it may have been seen"
                );
                self.notes.problem("secret-literal", &typed.span, message, help);
                None
            }
        }
    }

    /// The same for a reference that is known to be one.
    pub(super) fn reference(
        &mut self,
        key: &str,
        reference: &RawReference,
        span: &Range<usize>,
    ) -> Option<(Secret, SecretSource)> {
        let Some(typed) = reference.source() else {
            // Of `{ env = 5 }` the entry has been noted and taken out already.
            let lost = ["env", "file", "command"];
            if !lost.iter().any(|key| self.notes.has_lost(span.start, key)) {
                let message = format!("`{key}` needs exactly one source");
                let help = "write one of `env`, `file` and `command`";
                self.notes.problem("secret-source", span, message, help);
            }
            return None;
        };
        let source = match typed {
            SecretSource::File(path) => SecretSource::File(self.path(&path.to_string_lossy())),
            other => other,
        };
        if self.mode == Mode::Sandbox {
            return Some((Secret::new(b""), source));
        }
        match self.read_secret(&source) {
            Ok(secret) => Some((secret, source)),
            Err(why) => {
                let severity = match self.mode {
                    Mode::Run => Severity::Problem,
                    Mode::Check | Mode::Sandbox => Severity::Warning,
                };
                let message = format!("the secret of `{key}` is missing: {why}");
                let help = "provide it where the gateway runs".to_owned();
                self.notes.note(severity, "secret-missing", span, message, help);
                Some((Secret::new(b""), source))
            }
        }
    }

    /// A secret that is sent in an `Authorization` field: visible ASCII. `None` in the sandbox,
    /// which has no secrets, and where it can't be used.
    pub(super) fn bearer_secret(&mut self, key: &str, typed: &At<RawSecret>) -> Option<Secret> {
        let (secret, _) = self.secret(key, typed)?;
        if self.mode == Mode::Sandbox {
            return None;
        }
        if secret.expose().iter().any(|byte| !byte.is_ascii_graphic()) {
            let message = format!("the secret of `{key}` can't be sent in a header field");
            let help = "use visible ASCII characters without spaces";
            self.notes.problem("secret-unusable", &typed.span, message, help);
            return None;
        }
        Some(secret)
    }

    fn read_secret(&mut self, source: &SecretSource) -> Result<Secret, String> {
        if let Some(read) = self.secrets.iter().find(|read| read.source == *source) {
            return read.outcome.clone();
        }
        let outcome = self.fetch(source);
        self.secrets.push(Read { source: source.clone(), outcome: outcome.clone() });
        outcome
    }

    fn fetch(&self, source: &SecretSource) -> Result<Secret, String> {
        let bytes = match source {
            SecretSource::Env(name) => self
                .sources
                .env(name)
                .map(String::into_bytes)
                .ok_or_else(|| format!("the variable {} is not set", quoted(name)))?,
            SecretSource::File(path) => self.sources.read(path).map_err(|error| {
                format!("the file {}: {}", quoted(&path.display().to_string()), in_words(&error))
            })?,
            SecretSource::Command(argv) => self.sources.command(argv).map_err(|error| {
                let program = argv.first().map_or("", String::as_str);
                format!("the command {}: {}", quoted(program), in_words(&error))
            })?,
        };
        let trimmed = match source {
            SecretSource::Env(_) => bytes.as_slice(),
            // Editors and `echo` end a file with a line end that is not meant.
            _ => bytes.trim_ascii_end_of_line(),
        };
        if trimmed.is_empty() { Err("it is empty".to_owned()) } else { Ok(Secret::new(trimmed)) }
    }
}

/// An error of the system without its number.
pub(super) fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "it may not be read".to_owned(),
        _ => error.to_string(),
    }
}

trait TrimEndOfLine {
    fn trim_ascii_end_of_line(&self) -> &[u8];
}

impl TrimEndOfLine for [u8] {
    fn trim_ascii_end_of_line(&self) -> &[u8] {
        let mut rest = self;
        while let [before @ .., b'\n' | b'\r'] = rest {
            rest = before;
        }
        rest
    }
}
