//! `[ledger]`: where protected writes are written down, for how long, and how they are encrypted.

use super::bounds::{Longest, duration, size};
use super::{Context, Mode};
use crate::config::Ledger;
use crate::config::problem::Notes;
use crate::config::raw::at::At;
use crate::config::raw::protection::RawLedger;
use crate::config::raw::secret::RawSecret;
use crate::config::raw::table::Section;
use crate::model::digest::Sha256;
use crate::model::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use std::path::PathBuf;
use std::time::Duration;

/// Longest time that anything is kept, as a person would type it.
const KEPT_MAX: &str = "3650d";
/// How long answers are kept where nothing else is typed, and keys are not forgotten before.
const ANSWERS_KEPT: Duration = Duration::from_secs(7 * 86_400);
/// Bytes of an encryption key.
const KEY_BYTES: usize = 32;

impl Context<'_> {
    pub(super) fn ledger(&mut self, at: Option<&Section<RawLedger>>) -> Ledger {
        let empty = RawLedger::default();
        let raw = at.map_or(&empty, |at| &at.value);
        if let Some(typed) = &raw.url {
            // It may hold a password.
            self.notes.text.hide(typed.span.clone());
            let message =
                "a ledger that several gateways share is not supported: there is no `url`";
            let help = "write `path = \"data/ledger.db\"`, a file of this gateway alone";
            self.notes.problem("ledger-url", &typed.span, message, help);
        }
        let (retention, answer_retention) = retentions(&mut self.notes, raw);
        Ledger {
            path: self.ledger_path(raw),
            create: raw.create.unwrap_or(true),
            retention,
            answer_retention,
            answer_bytes_max: size(
                &mut self.notes,
                "answer_max",
                raw.answer_max.as_ref(),
                1 << 20,
                1 << 10..=64 << 20,
            ),
            encryption_key: raw.encryption_key.as_ref().and_then(|typed| self.key_of_ledger(typed)),
        }
    }

    /// Not watched: it changes with every write.
    fn ledger_path(&mut self, raw: &RawLedger) -> PathBuf {
        let typed = raw.path.as_ref();
        if let Some(typed) =
            typed.filter(|typed| typed.value.is_empty() || typed.value.ends_with('/'))
        {
            let help = "write the path of a file, as in \"data/ledger.db\"";
            self.notes.problem("bad-path", &typed.span, "`path` names no file", help);
        }
        self.base.join(typed.map_or("data/ledger.db", |typed| typed.value.as_str()))
    }

    /// The key itself, whichever way it is written. `None` where there is none to use.
    fn key_of_ledger(&mut self, typed: &At<RawSecret>) -> Option<Secret> {
        let (secret, _) = self.secret("encryption_key", typed)?;
        if self.mode == Mode::Sandbox || secret.expose().is_empty() {
            return None;
        }
        let key = key_of(secret.expose());
        if key.is_none() {
            let message = "the secret of `encryption_key` is no key of 32 bytes";
            let help = "make one with `openssl rand -hex 32`: 64 hexadecimal digits; base64 of 32 \
                        bytes is taken too";
            self.notes.problem("secret-unusable", &typed.span, message, help);
        }
        key
    }
}

/// How long keys, and how long answers are kept.
fn retentions(notes: &mut Notes, raw: &RawLedger) -> (Duration, Duration) {
    let kept = Longest::of(KEPT_MAX);
    let retention = duration(notes, "retention", raw.retention.as_ref(), "30d", kept);
    let Some(typed) = &raw.answer_retention else {
        return (retention, ANSWERS_KEPT.min(retention));
    };
    let of_answers = duration(notes, "answer_retention", Some(typed), "7d", kept);
    if of_answers > retention {
        let message = "answers can't be kept for longer than their keys: `retention` ends before";
        let help = "write a longer `retention`, or a shorter `answer_retention`";
        notes.problem("out-of-range", &typed.span, message, help);
    }
    (retention, of_answers.min(retention))
}

fn key_of(written: &[u8]) -> Option<Secret> {
    let written = written.trim_ascii();
    let digits = || {
        let text = std::str::from_utf8(written).ok().filter(|text| text.len() == 2 * KEY_BYTES)?;
        // So many digits as a digest has.
        Sha256::parse(text).map(|bytes| bytes.0.to_vec())
    };
    let base64 = || STANDARD.decode(written).or_else(|_| STANDARD_NO_PAD.decode(written)).ok();
    let key = digits().or_else(base64).filter(|key| key.len() == KEY_BYTES)?;
    Some(Secret::new(&key))
}
