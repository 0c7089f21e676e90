//! The ledger's own file, where no gateway runs.

use super::Failure;
use crate::adapters::clock;
use crate::adapters::ledger::entry::{Standing, Trouble, Unfit};
use crate::adapters::ledger::seal::EncryptionKey;
use crate::adapters::ledger::sqlite::{Reader, Settings, SqliteLedger, back_up};
use crate::adapters::ledger::{Ledger, World};
use crate::admin::ledger::resolving::{Settled, after, audit, otherwise};
use crate::admin::ledger::taking::Lines;
use crate::admin::ledger::verdict::Verdict;
use crate::admin::ledger::{NO_SUCH, Page, shown};
use crate::config::{self, Config};
use crate::protected::book::settings;
use serde_json::{Map, Value, json};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Who settles, in the audit line.
const BY: &str = "command";

/// The file.
pub struct File(config::Ledger);

impl File {
    /// The one that the configuration names.
    pub fn new(config: &Config) -> File {
        File(config.ledger.clone())
    }

    /// A page of entries, as the admin listener tells it.
    pub fn list(&self, page: Page) -> Result<Value, Failure> {
        let (entries, next) = shown::page(&self.reader()?, page).map_err(words)?;
        Ok(shown::list(&entries, next, true))
    }

    /// One entry, as the admin listener tells it.
    pub fn show(&self, id: i64) -> Result<Value, Failure> {
        let entry = shown::one(&self.reader()?, id, true).map_err(words)?;
        entry.ok_or_else(|| NO_SUCH.to_owned())
    }

    /// Settles one; the audit line goes to stderr, for there is no log.
    pub fn resolve(&self, id: i64, members: Map<String, Value>) -> Result<Value, Failure> {
        let most = self.0.answer_bytes_max;
        let verdict = Verdict::read(members, most).map_err(|wrong| wrong.2)?;
        let settled = match self.settle(id, &verdict) {
            Ok(settled) => settled,
            Err(trouble) => Settled::Failed(None, trouble),
        };
        if let Some(members) = audit(&settled, id, &verdict, BY, None) {
            let begin = [("time", clock::timestamp().into()), ("event", "audit".into())];
            let line = begin.into_iter().chain(members);
            let line: Map<_, _> = line.map(|(name, value)| (name.to_owned(), value)).collect();
            eprintln!("{}", json!(line));
        }
        match settled {
            Settled::Done(entry) => Ok(after(&entry, &verdict)),
            Settled::Gone => Err(NO_SUCH.to_owned()),
            Settled::Otherwise(entry) => Err(otherwise(&entry)),
            Settled::Failed(_, trouble) => Err(words(trouble)),
        }
    }

    fn settle(&self, id: i64, verdict: &Verdict) -> Result<Settled, Trouble> {
        let settings = settings(&self.0).map_err(Trouble::Failed)?;
        let settings = Settings { create: false, ..settings };
        // Claims of the gateway that died become unknown by that.
        let (ledger, _) =
            SqliteLedger::open(&settings, Arc::new(World::default()), Box::new(|_| ()))?;
        let Some(entry) = ledger.entry(id)? else { return Ok(Settled::Gone) };
        if entry.standing != Standing::Unknown {
            return Ok(Settled::Otherwise(entry));
        }
        match ledger.resolve(id, verdict.found.clone())? {
            true => Ok(Settled::Done(entry)),
            // A gateway that has started meanwhile was quicker.
            false => Ok(ledger.entry(id)?.map_or(Settled::Gone, Settled::Otherwise)),
        }
    }

    /// Writes all entries as lines.
    pub fn export(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut lines = Lines::of(self.reader()?, true).map_err(words)?;
        while let Some(text) = lines.more().map_err(words)? {
            out.write_all(&text).map_err(|error| format!("it can't be written: {error}"))?;
        }
        Ok(())
    }

    /// Copies the ledger into a new file; says how many octets it has.
    pub fn back_up(&self, to: &Path) -> Result<u64, Failure> {
        back_up(&self.0.path, to).map_err(words)?;
        let made = fs::metadata(to).map_err(|error| format!("{}: {error}", to.display()))?;
        Ok(made.len())
    }

    fn reader(&self) -> Result<Reader, Failure> {
        Reader::open(&self.0.path, self.key()?.as_ref()).map_err(words)
    }

    fn key(&self) -> Result<Option<EncryptionKey>, Failure> {
        self.0.encryption_key.as_ref().map(EncryptionKey::of).transpose()
    }
}

fn words(trouble: Trouble) -> Failure {
    match trouble {
        Trouble::WrongKey(Unfit::Missing) => {
            format!("{trouble}, or its secret is missing here: provide it as for the gateway")
        }
        other => other.to_string(),
    }
}
