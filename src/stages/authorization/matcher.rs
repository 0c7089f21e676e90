//! Many path patterns at once: which of them match a path costs about what one of them would.
//!
//! The patterns of a set share a tree of segments. A path walks down it once, along every branch
//! that fits; the branches are few, whatever the number of patterns.

use crate::model::path::Segment;
use smallvec::SmallVec;

/// The patterns of a set, each with a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matcher {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    /// Sorted by segment.
    literals: Vec<(Box<[u8]>, u32)>,
    /// Beginnings of segments; `*` is the empty one.
    prefixes: Vec<(Box<[u8]>, u32)>,
    /// The `**` behind this node.
    rest: Option<u32>,
    /// Whether this node is a `**`: it takes any segment and stays.
    is_rest: bool,
    /// The patterns that end here.
    ends: SmallVec<[u32; 2]>,
}

/// Branches that are followed at once, without a heap.
pub type Branches = SmallVec<[u32; 24]>;

/// The patterns that match a path, in the order of their numbers, each once.
pub type Matches = SmallVec<[u32; 24]>;

impl Matcher {
    /// Adds a pattern under a number.
    pub fn add(&mut self, pattern: &[Segment], number: u32) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for segment in pattern {
            at = self.child(at, segment);
        }
        if let Some(node) = self.node_mut(at) {
            node.ends.push(number);
        }
    }

    /// Gives back the room for more: there may be thousands of sets.
    pub fn compact(&mut self) {
        self.nodes.shrink_to_fit();
        for node in &mut self.nodes {
            node.literals.shrink_to_fit();
            node.prefixes.shrink_to_fit();
        }
    }

    fn child(&mut self, at: u32, segment: &Segment) -> u32 {
        let next = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let Some(node) = self.node_mut(at) else { return at };
        let (found, is_rest) = match segment {
            Segment::Literal(text) => {
                let place = node.literals.binary_search_by(|(known, _)| (**known).cmp(text));
                match place {
                    Ok(place) => (node.literals.get(place).map(|(_, child)| *child), false),
                    Err(place) => {
                        node.literals.insert(place, (text.clone(), next));
                        (None, false)
                    }
                }
            }
            Segment::Prefix(text) => {
                let known = node.prefixes.iter().find(|(known, _)| **known == **text);
                let known = known.map(|(_, child)| *child);
                if known.is_none() {
                    node.prefixes.push((text.clone(), next));
                }
                (known, false)
            }
            // `**/**` is `**`.
            Segment::Rest if node.is_rest => (Some(at), true),
            Segment::Rest => (Some(*node.rest.get_or_insert(next)).filter(|n| *n != next), true),
        };
        found.unwrap_or_else(|| {
            self.nodes.push(Node { is_rest, ..Node::default() });
            next
        })
    }

    fn node_mut(&mut self, at: u32) -> Option<&mut Node> {
        self.nodes.get_mut(usize::try_from(at).ok()?)
    }

    fn node(&self, at: u32) -> Option<&Node> {
        self.nodes.get(usize::try_from(at).ok()?)
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The patterns that match a path; it begins with `/`.
    pub fn matches(&self, path: &[u8]) -> Matches {
        let [b'/', path @ ..] = path else { return Matches::new() };
        let (mut branches, mut further) = (self.start(), Branches::new());
        for segment in path.split(|octet| *octet == b'/') {
            self.step(&branches, segment, &mut further);
            std::mem::swap(&mut branches, &mut further);
            if branches.is_empty() {
                break;
            }
        }
        self.ends(&branches)
    }

    /// The branches before the first segment.
    pub fn start(&self) -> Branches {
        let mut branches = Branches::new();
        if !self.nodes.is_empty() {
            self.enter(0, &mut branches);
        }
        branches
    }

    /// The branches behind one more segment.
    pub fn step(&self, branches: &Branches, segment: &[u8], further: &mut Branches) {
        further.clear();
        for at in branches {
            if let Some(node) = self.node(*at) {
                self.follow(*at, node, segment, further);
            }
        }
    }

    /// The patterns that end at these branches.
    pub fn ends(&self, branches: &Branches) -> Matches {
        let mut matches = Matches::new();
        for at in branches {
            matches.extend(self.node(*at).into_iter().flat_map(|node| node.ends.iter().copied()));
        }
        matches.sort_unstable();
        matches.dedup();
        matches
    }

    fn follow(&self, at: u32, node: &Node, segment: &[u8], further: &mut Branches) {
        if node.is_rest {
            self.enter(at, further);
        }
        if let Ok(place) = node.literals.binary_search_by(|(known, _)| (**known).cmp(segment))
            && let Some((_, child)) = node.literals.get(place)
        {
            self.enter(*child, further);
        }
        for (prefix, child) in &node.prefixes {
            if segment.len() > prefix.len() && segment.starts_with(prefix) {
                self.enter(*child, further);
            }
        }
    }

    /// Takes a branch, and the `**` behind it, which may match nothing.
    fn enter(&self, at: u32, branches: &mut Branches) {
        if branches.contains(&at) {
            return;
        }
        branches.push(at);
        if let Some(rest) = self.node(at).and_then(|node| node.rest) {
            self.enter(rest, branches);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::path::PathPattern;
    use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

    fn matcher(patterns: &[&str]) -> Matcher {
        let mut matcher = Matcher::default();
        for (number, pattern) in (0..).zip(patterns) {
            matcher.add(PathPattern::parse(pattern).expect(pattern).segments(), number);
        }
        matcher
    }

    #[test]
    fn several_patterns_match_at_once() {
        let patterns = ["/a/**", "/a/*", "/a/b", "/**/b", "/**", "/a/b/**", "/a/b*", "/x"];
        let matcher = matcher(&patterns);
        for (path, expected) in [
            ("/a/b", &[0, 1, 2, 3, 4, 5][..]),
            ("/a/bc", &[0, 1, 4, 6]),
            ("/a", &[0, 4]),
            ("/a/", &[0, 4]),
            ("/x", &[4, 7]),
            ("/", &[4]),
            ("/x/y/b", &[3, 4]),
            ("", &[]),
            ("a", &[]),
        ] {
            assert_eq!(matcher.matches(path.as_bytes()).into_vec(), expected, "{path}");
        }
    }

    #[test]
    fn nothing_matches_an_empty_set() {
        assert!(Matcher::default().matches(b"/a").is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// The set agrees with each of its patterns by itself.
        #[test]
        fn a_set_is_its_patterns(
            patterns in proptest::collection::vec("(/(a|b|ab|\\*|a\\*|\\*\\*)){1,4}", 1..12),
            path in "(/(a|b|ab|)){1,5}",
        ) {
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let expected: Vec<u32> = (0..)
                .zip(&patterns)
                .filter(|(_, pattern)| PathPattern::parse(pattern).expect("legal").matches(&path))
                .map(|(number, _)| number)
                .collect();
            prop_assert_eq!(matcher(&patterns).matches(path.as_bytes()).into_vec(), expected);
        }
    }
}
