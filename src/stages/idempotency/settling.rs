//! Decides what an attempt leaves of a protected write: its key free again, its answer, or doubt.
//!
//! Only where the vendor certainly did not act is a key free. Never looks at a clock and never
//! writes; what nobody can know is never guessed (INTERFACE §6.3).

use crate::profile::outcome::{Class, Executed, Verdict};

/// How an attempt ended, as far as the vendor's acting goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing of it reached the vendor, or HTTP/2 proves it unprocessed.
    NotSent,
    /// It was sent, and there is no complete head of an answer to it.
    Lost,
    /// The vendor answered.
    Answered {
        /// The status.
        status: u16,
        /// What its matchers say.
        verdict: Option<Verdict>,
        /// Whether it is a redirect that leads away from the vendor.
        leads_away: bool,
        /// Whether a 401 speaks of the gateway's credential, and not of the client's.
        ours: bool,
    },
}

/// What an attempt leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The key is free.
    Free,
    /// The answer is the answer.
    Answer,
    /// Nobody can know.
    Doubt,
}

impl Ending {
    /// Decides what it leaves. `success_only`: a complete 4xx answer frees the key.
    pub fn leaves(&self, success_only: bool) -> Left {
        let (status, verdict, leads_away, ours) = match self {
            Ending::NotSent => return Left::Free,
            Ending::Lost => return Left::Doubt,
            Ending::Answered { status, verdict, leads_away, ours } => {
                (*status, verdict.as_ref(), *leads_away, *ours)
            }
        };
        if verdict.is_some_and(Verdict::certainly_unexecuted) {
            return Left::Free;
        }
        let answered = match verdict.and_then(|verdict| verdict.executed) {
            Some(Executed::Yes) => true,
            Some(Executed::Unknown) => false,
            Some(Executed::No) | None => says_so(status, verdict, leads_away),
        };
        match status {
            _ if !answered => Left::Doubt,
            // The vendor did not let the gateway in: it did nothing.
            401 if ours && verdict.is_none() => Left::Free,
            400..=499 if success_only && !self.is_done() => Left::Free,
            _ => Left::Answer,
        }
    }

    /// Whether its matcher says that the vendor acted, now or before, whatever the status is: a
    /// status that says otherwise would mislead.
    pub fn is_done(&self) -> bool {
        let Ending::Answered { verdict: Some(verdict), .. } = self else { return false };
        verdict.executed == Some(Executed::Yes)
            || matches!(verdict.class, Class::Duplicate | Class::AlreadyDone)
    }
}

/// Whether the answer tells what became of the write.
fn says_so(status: u16, verdict: Option<&Verdict>, leads_away: bool) -> bool {
    match verdict.map(|verdict| verdict.class) {
        Some(Class::RetryableServer | Class::FinalServer) => false,
        Some(Class::Duplicate | Class::AlreadyDone | Class::NotFound | Class::Business) => true,
        // A refusal whose 2xx says that it acted after all: both can't be believed.
        Some(_) if (200..300).contains(&status) => true,
        Some(_) | None => !leads_away && status != 408 && status < 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::outcome::Scope;

    fn verdict(class: Class, executed: Option<Executed>, status: u16) -> Verdict {
        Verdict {
            class,
            scope: Scope::Account,
            wait: None,
            executed,
            success: (200..300).contains(&status),
            code: None,
        }
    }

    fn of(status: u16, verdict: Option<&Verdict>, success_only: bool) -> Left {
        let (verdict, leads_away, ours) = (verdict.cloned(), false, true);
        Ending::Answered { status, verdict, leads_away, ours }.leaves(success_only)
    }

    #[test]
    fn what_nobody_said_anything_of() {
        use Left::{Answer, Doubt, Free};
        for (status, all, success_only) in [
            (200, Answer, Answer),
            (204, Answer, Answer),
            (303, Answer, Answer),
            (400, Answer, Free),
            (401, Free, Free),
            (404, Answer, Free),
            (408, Doubt, Doubt),
            (409, Answer, Free),
            (429, Answer, Free),
            (500, Doubt, Doubt),
            (503, Doubt, Doubt),
            (599, Doubt, Doubt),
        ] {
            assert_eq!(of(status, None, false), all, "{status}");
            assert_eq!(of(status, None, true), success_only, "{status}");
        }
    }

    #[test]
    fn each_class_with_each_status() {
        use Left::{Answer, Doubt, Free};
        for (class, on_200, on_400, on_503) in [
            (Class::Rate, Answer, Free, Free),
            (Class::Concurrency, Answer, Free, Free),
            (Class::Quota, Answer, Free, Free),
            (Class::Session, Answer, Free, Free),
            (Class::Lock, Answer, Free, Free),
            (Class::AuthExpired, Answer, Free, Free),
            (Class::Csrf, Answer, Free, Free),
            (Class::Duplicate, Answer, Answer, Answer),
            (Class::AlreadyDone, Answer, Answer, Answer),
            (Class::NotFound, Answer, Answer, Answer),
            (Class::Business, Answer, Answer, Answer),
            (Class::RetryableServer, Doubt, Doubt, Doubt),
            (Class::FinalServer, Doubt, Doubt, Doubt),
        ] {
            for (status, expected) in [(200, on_200), (400, on_400), (503, on_503)] {
                let of = |executed| of(status, Some(&verdict(class, executed, status)), false);
                assert_eq!(of(None), expected, "{class:?} {status}");
                assert_eq!(of(Some(Executed::No)), Free, "{class:?} {status}");
                assert_eq!(of(Some(Executed::Unknown)), Doubt, "{class:?} {status}");
                assert_eq!(of(Some(Executed::Yes)), Answer, "{class:?} {status}");
            }
        }
    }

    #[test]
    fn what_was_done_is_not_free_whatever_its_status() {
        for (class, executed, expected) in [
            (Class::Duplicate, Some(Executed::Yes), Left::Answer),
            (Class::AlreadyDone, None, Left::Answer),
            (Class::Duplicate, None, Left::Answer),
            (Class::Business, None, Left::Free),
        ] {
            let verdict = verdict(class, executed, 409);
            assert_eq!(of(409, Some(&verdict), true), expected, "{class:?}");
            let (leads_away, ours) = (false, true);
            let ending = Ending::Answered { status: 409, verdict: Some(verdict), leads_away, ours };
            assert_eq!(ending.is_done(), expected == Left::Answer, "{class:?}");
        }
    }

    #[test]
    fn what_was_not_sent_is_free_and_what_was_lost_is_not() {
        assert_eq!(Ending::NotSent.leaves(false), Left::Free);
        assert_eq!(Ending::Lost.leaves(true), Left::Doubt);
        let redirect =
            |verdict| Ending::Answered { status: 302, verdict, leads_away: true, ours: true };
        assert_eq!(redirect(None).leaves(false), Left::Doubt);
        let business = verdict(Class::Business, None, 302);
        assert_eq!(redirect(Some(business)).leaves(false), Left::Answer);
        let theirs =
            Ending::Answered { status: 401, verdict: None, leads_away: false, ours: false };
        assert_eq!(theirs.leaves(false), Left::Answer);
    }
}
