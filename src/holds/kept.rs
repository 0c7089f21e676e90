//! The form of the file in which operators' pauses are kept.

use crate::stages::admission::{Hold, Scope};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The form of the file.
const VERSION: u32 = 1;

/// Operators' pauses by the names of the pools, also of those that no configuration has now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The pauses.
    pub pools: BTreeMap<String, Pause>,
}

/// An operator's pause, by the wall clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// What waits.
    pub scope: Scope,
    /// When it was asked for.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// What the operator wrote.
    pub why: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    pools: BTreeMap<String, WrittenPause>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPause {
    scope: String,
    since: String,
    until: Option<String>,
    why: String,
}

impl Pause {
    /// Whether it is not over.
    pub fn lasts(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }

    /// What the pool is told; `None`: it is over.
    pub fn hold(&self, now: Instant) -> Option<Hold> {
        let until = match self.until {
            None => None,
            Some(until) => {
                let left = until.duration_since(Timestamp::now());
                let left = Duration::try_from(left).ok().filter(|left| !left.is_zero())?;
                // An end that no clock reaches is none.
                now.checked_add(left)
            }
        };
        Some(Hold { scope: self.scope, until, why: self.why.clone() })
    }
}

impl Kept {
    /// As it is written.
    pub fn text(&self) -> Vec<u8> {
        let pause = |pause: &Pause| WrittenPause {
            scope: pause.scope.word().to_owned(),
            since: pause.since.to_string(),
            until: pause.until.map(|until| until.to_string()),
            why: pause.why.clone(),
        };
        let pools = self.pools.iter().map(|(name, it)| (name.clone(), pause(it))).collect();
        let mut text = serde_json::to_vec_pretty(&Written { version: VERSION, pools })
            // Names and times are text: that is always possible.
            .unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Reads what was written.
    ///
    /// # Errors
    /// Why it is nothing of ours, in words.
    pub fn parse(bytes: &[u8]) -> Result<Kept, String> {
        let written: Written = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if written.version != VERSION {
            return Err(format!("its version is {}, not {VERSION}", written.version));
        }
        let mut kept = Kept::default();
        for (pool, WrittenPause { scope, since, until, why }) in written.pools {
            let time = |text: String| {
                text.parse::<Timestamp>().map_err(|_| format!("`{text}` is not a time"))
            };
            let found = Scope::parse(&scope).ok_or_else(|| format!("`scope` is `{scope}`"))?;
            let until = until.map(time).transpose()?;
            let pause = Pause { scope: found, since: time(since)?, until, why };
            kept.pools.insert(pool, pause);
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    proptest! {
        /// What is written is read again; a part of it is an error in words.
        #[test]
        fn what_is_written_is_read(
            pauses in proptest::collection::btree_map(
                "[a-z]{1,8}",
                (any::<bool>(), 0i64..4_000_000_000, any::<Option<u32>>(), any::<String>()),
                0..8,
            ),
            cut in any::<proptest::sample::Index>(),
        ) {
            let time = |seconds| Timestamp::from_second(seconds).expect("a time");
            let pause = |(all, since, until, why): (bool, i64, Option<u32>, String)| Pause {
                scope: if all { Scope::All } else { Scope::Writes },
                since: time(since),
                until: until.map(|until| time(i64::from(until))),
                why,
            };
            let pools = pauses.into_iter().map(|(name, it)| (name, pause(it))).collect();
            let kept = Kept { pools };
            let text = kept.text();
            prop_assert_eq!(Kept::parse(&text), Ok(kept));
            prop_assert!(Kept::parse(&text[..cut.index(text.len() - 1)]).is_err());
        }

        #[test]
        fn garbage_is_refused_in_words(garbage in any::<Vec<u8>>()) {
            prop_assert!(Kept::parse(&garbage).is_err());
        }
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let time = "2026-11-30T00:00:00Z";
        for (version, pause, mention) in [
            (2, String::new(), "version is 2"),
            (1, format!(r#""scope":"reads","since":"{time}","until":null,"why":"x""#), "reads"),
            (1, format!(r#""scope":"all","since":"{time}","until":"soon","why":"x""#), "soon"),
            (1, format!(r#""scope":"all","since":"{time}","until":null"#), "why"),
            (1, format!(r#""scope":"all","since":"{time}","why":"x","more":1"#), "more"),
        ] {
            let pools = match pause.is_empty() {
                true => String::new(),
                false => format!("\"p\":{{{pause}}}"),
            };
            let text = format!("{{\"version\":{version},\"pools\":{{{pools}}}}}");
            let why = Kept::parse(text.as_bytes()).expect_err(&text);
            assert!(why.contains(mention), "{why}");
        }
    }

    #[test]
    fn the_end_is_by_the_wall_clock() {
        let now = Timestamp::now();
        let pause = |until| Pause { scope: Scope::All, since: now, until, why: "x".into() };
        let hour = Duration::from_secs(3600);
        for (until, ends) in [(None, None), (Some(now + hour), Some(hour))] {
            let began = Instant::now();
            let hold = pause(until).hold(began).expect("lasts");
            let left = hold.until.map(|until| until.saturating_duration_since(began));
            assert_eq!(left.is_some(), ends.is_some());
            assert!(left <= ends && left.is_none_or(|left| left > hour / 2), "{left:?}");
            assert!(pause(until).lasts(now));
        }
        assert_eq!(pause(Some(now - hour)).hold(Instant::now()), None);
        assert!(!pause(Some(now)).lasts(now));
        let never = Timestamp::MAX;
        assert!(pause(Some(never)).hold(Instant::now()).is_some());
    }
}
