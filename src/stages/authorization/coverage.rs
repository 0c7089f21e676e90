//! Decides questions about all paths at once: is there one that these patterns match and those do
//! not. For the tools that look at policies, not for requests.
//!
//! Patterns tell segments apart only by what is written in them, so a few segments stand for all:
//! each word of a pattern, each beginning with something else behind it, either in other spellings,
//! and a word that no pattern has. Over these the search walks through every set of branches that
//! the matchers can be in.

use super::matcher::{Branches, Matcher};
use super::rules;
use super::target;
use crate::model::path::{PathPattern, Segment};
use crate::model::percent;
use std::collections::{BTreeSet, HashSet, VecDeque};

/// Sets of branches after which a search gives up: nobody writes patterns that need as many.
const STATES_MAX: usize = 50_000;

/// The paths that some patterns match.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    matcher: Matcher,
    /// Every word and beginning, in the form of the matcher.
    words: BTreeSet<(Vec<u8>, bool)>,
    folded: bool,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There is such a path, for instance this one.
    Path(String),
    /// There is none.
    None,
    /// The patterns are too many to say.
    Unknown,
}

impl Paths {
    /// As allows see them.
    pub fn exact<'p>(patterns: impl IntoIterator<Item = &'p PathPattern>) -> Paths {
        Paths::of(patterns.into_iter().map(rules::exact), false)
    }

    /// As denies see them.
    pub fn folded<'p>(patterns: impl IntoIterator<Item = &'p PathPattern>) -> Paths {
        Paths::of(patterns.into_iter().map(rules::folded), true)
    }

    fn of(patterns: impl Iterator<Item = Vec<Segment>>, folded: bool) -> Paths {
        let mut paths = Paths { folded, ..Paths::default() };
        for pattern in patterns {
            for segment in &pattern {
                match segment {
                    Segment::Literal(text) => drop(paths.words.insert((text.to_vec(), false))),
                    Segment::Prefix(text) => drop(paths.words.insert((text.to_vec(), true))),
                    Segment::Rest => {}
                }
            }
            paths.matcher.add(&pattern, 0);
        }
        paths
    }

    /// Whether they match a path, as it was received.
    pub fn matches(&self, path: &str) -> bool {
        let matches = |form: &[u8]| !self.matcher.matches(form).is_empty();
        match self.folded {
            true => target::readings(path.as_bytes()).iter().any(|reading| matches(reading)),
            false => matches(&target::exact(path.as_bytes())),
        }
    }

    /// The branches behind one more segment; a folded matcher does not see a trailing slash.
    fn step(&self, branches: &Branches, segment: &Letter, is_first: bool) -> Branches {
        let mut further = Branches::new();
        if self.folded && segment.exact.is_empty() && !is_first {
            return branches.clone();
        }
        let text = if self.folded { &segment.folded } else { &segment.exact };
        self.matcher.step(branches, text, &mut further);
        further.sort_unstable();
        further
    }

    fn accepts(&self, branches: &Branches) -> bool {
        !self.matcher.ends(branches).is_empty()
    }
}

/// One segment that stands for all that are like it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Letter {
    exact: Vec<u8>,
    folded: Vec<u8>,
}

/// Looks for a path that is in each of `inside` and in none of `outside`.
pub fn find(inside: &[&Paths], outside: &[&Paths]) -> Found {
    let all: Vec<&Paths> = inside.iter().chain(outside).copied().collect();
    let letters = letters(&all);
    let start: Vec<Branches> = all.iter().map(|paths| paths.matcher.start()).collect();
    let mut seen = HashSet::from([start.clone()]);
    let mut waiting = VecDeque::from([(start, String::new())]);
    while let Some((state, path)) = waiting.pop_front() {
        for letter in &letters {
            let is_first = path.is_empty();
            let each = all.iter().zip(&state);
            let next: Vec<Branches> =
                each.map(|(paths, branches)| paths.step(branches, letter, is_first)).collect();
            // What has left one of the sets never comes back.
            if next.iter().take(inside.len()).any(|branches| branches.is_empty()) {
                continue;
            }
            let accepted = |range: std::ops::Range<usize>| {
                let mut each = all.iter().zip(&next).skip(range.start).take(range.len());
                (each.clone().all(|(p, b)| p.accepts(b)), each.any(|(p, b)| p.accepts(b)))
            };
            let path = format!("{path}/{}", String::from_utf8_lossy(&letter.exact));
            let (in_all, _) = accepted(0..inside.len());
            let (_, in_any) = accepted(inside.len()..all.len());
            if in_all && !in_any {
                return Found::Path(path);
            }
            // An empty segment is the last one.
            if letter.exact.is_empty() || !seen.insert(next.clone()) {
                continue;
            }
            if seen.len() > STATES_MAX {
                return Found::Unknown;
            }
            waiting.push_back((next, path));
        }
    }
    Found::None
}

fn letters(all: &[&Paths]) -> Vec<Letter> {
    let words =
        |folded: bool| all.iter().filter(move |p| p.folded == folded).flat_map(|p| &p.words);
    let unlike = fresh(all);
    let mut texts: BTreeSet<Vec<u8>> = BTreeSet::from([unlike.clone(), Vec::new()]);
    let mut add = |text: Vec<u8>, is_prefix: bool| {
        if is_prefix {
            texts.insert([text.as_slice(), &unlike].concat());
        }
        texts.insert(text);
    };
    for (word, is_prefix) in words(false) {
        add(word.clone(), *is_prefix);
        // A beginning that allows ask for, of a word that denies know.
        for (folded, also) in words(true) {
            if let Some(rest) = folded.strip_prefix(target::folded(word).as_slice()) {
                add([word.as_slice(), &target::canonical(rest)].concat(), *also);
            }
        }
    }
    for (word, is_prefix) in words(true) {
        add(target::canonical(word), *is_prefix);
        add(target::canonical(word).to_ascii_uppercase(), *is_prefix);
        add(percent::encode(word).into_bytes(), *is_prefix);
    }
    let letter = |exact: Vec<u8>| Letter { folded: target::folded(&exact), exact };
    let mut letters: Vec<Letter> = texts.into_iter().map(letter).collect();
    // Plain spellings first: what is found is shown to a person.
    letters.sort_by_key(|letter| letter.exact != letter.folded);
    letters
}

/// A word that no pattern has, and none begins with.
fn fresh(all: &[&Paths]) -> Vec<u8> {
    let known = |text: &[u8]| {
        let folded = target::folded(text);
        all.iter().flat_map(|paths| &paths.words).any(|(word, _)| word.starts_with(&folded))
    };
    let mut word = b"x".to_vec();
    while known(&word) {
        word.push(b'x');
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, prop_assert, proptest};

    fn patterns(texts: &[&str]) -> Vec<PathPattern> {
        texts.iter().map(|text| PathPattern::parse(text).expect(text)).collect()
    }

    fn exact(texts: &[&str]) -> Paths {
        Paths::exact(&patterns(texts))
    }

    fn folded(texts: &[&str]) -> Paths {
        Paths::folded(&patterns(texts))
    }

    #[test]
    fn what_is_left_of_a_pattern_is_found() {
        for (inside, outside, denied, is_left) in [
            (&["/a/**"][..], &["/a/**"][..], &[][..], false),
            (&["/a/**"], &["/a/*"], &[], true),
            (&["/a/**"], &["/a/*/**", "/a"], &[], true), // `/a/`: an empty segment
            (&["/a/**"], &["/a/*/**", "/a", "/a/"], &[], false),
            (&["/a/*"], &["/**"], &[], false),
            (&["/a/b"], &["/a/*"], &[], false),
            (&["/a/eid:*"], &["/a/*"], &[], false),
            (&["/a/*"], &["/a/eid:*"], &[], true),
            (&["/a/eid:7*"], &["/a/eid:*"], &[], false),
            (&["/a/b", "/c"], &["/a/*", "/c"], &[], false),
            (&["/**/x"], &["/x", "/*/x", "/*/*/**"], &[], false),
            (&["/Employee"], &[], &["/employee/"], false),
            (&["/employee/"], &[], &["/EMPLOYEE"], false),
            (&["/*"], &["/employee"], &["/employee"], true),
            (&["/*", "/**"], &[], &["/**"], false),
            (&["/eid:*"], &[], &["/EID:*"], false),
            (&["/e*"], &["/e*"], &[], false),
        ] {
            let found = find(&[&exact(inside)], &[&exact(outside), &folded(denied)]);
            assert_eq!(
                found != Found::None,
                is_left,
                "{inside:?} {outside:?} {denied:?} {found:?}"
            );
        }
    }

    #[test]
    fn spellings_that_only_a_deny_takes_for_one_are_seen() {
        // What `/x/*` allows and the deny does not keep out: nothing of the word itself.
        let (open, narrow, deny) =
            (exact(&["/x/*"]), exact(&["/x/Emp*"]), folded(&["/x/employee"]));
        assert!(matches!(find(&[&open, &deny], &[]), Found::Path(_)));
        assert_eq!(find(&[&narrow, &deny], &[]), Found::Path("/x/Employee".to_owned()));
        let lower = exact(&["/x/employee"]);
        // Other spellings than the plain one.
        assert!(matches!(find(&[&open, &deny], &[&lower]), Found::Path(_)));
        let colon = (exact(&["/x/eid:*"]), folded(&["/x/eid:*"]));
        let Found::Path(path) = find(&[&open, &colon.1], &[&colon.0]) else { panic!("found") };
        assert!(path.starts_with("/x/EID:") || path.starts_with("/x/eid%3A"), "{path}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// What is found is what was asked for; where nothing is found, no path is.
        #[test]
        fn the_search_is_right(
            inside in "(/(a|b|ab|\\*|a\\*|\\*\\*)){1,3}",
            outside in proptest::collection::vec("(/(a|b|ab|\\*|a\\*|\\*\\*)){1,3}", 0..4),
            denied in proptest::collection::vec("(/(A|b|aB|\\*|a\\*|\\*\\*)){1,3}", 0..2),
            path in "(/(a|b|ab|abc|c|A)){0,4}/?",
        ) {
            let of = |texts: &[String]| {
                patterns(&texts.iter().map(String::as_str).collect::<Vec<_>>())
            };
            let inside = of(std::slice::from_ref(&inside));
            let sets = (
                Paths::exact(&inside), Paths::exact(&of(&outside)), Paths::folded(&of(&denied)),
            );
            let wanted = |path: &str| {
                let path = if path.is_empty() { "/" } else { path };
                sets.0.matches(path) && !sets.1.matches(path) && !sets.2.matches(path)
            };
            match find(&[&sets.0], &[&sets.1, &sets.2]) {
                Found::Path(found) => prop_assert!(wanted(&found), "{found}"),
                Found::None => prop_assert!(!wanted(&path), "{path}"),
                Found::Unknown => prop_assert!(false, "small patterns"),
            }
        }
    }
}
