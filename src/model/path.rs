//! Path patterns: `*` is one non-empty segment, `eid:*` a segment with that beginning, `**` zero
//! or more segments.

/// A compiled pattern over the segments of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    segments: Box<[Segment]>,
}

impl std::fmt::Display for PathPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.segments.iter().try_for_each(|segment| match segment {
            Segment::Literal(text) => write!(f, "/{}", String::from_utf8_lossy(text)),
            Segment::Prefix(text) => write!(f, "/{}*", String::from_utf8_lossy(text)),
            Segment::Rest => f.write_str("/**"),
        })
    }
}

/// What a pattern asks of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// To be this.
    Literal(Box<[u8]>),
    /// To begin with this, and to be longer.
    Prefix(Box<[u8]>),
    /// Nothing: zero or more segments.
    Rest,
}

impl PathPattern {
    /// Compiles a pattern as typed in a file.
    ///
    /// # Errors
    /// One sentence: what is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<PathPattern, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("`{text}` is not a path pattern: it has to begin with `/`"));
        };
        let segments =
            rest.split('/').map(|s| Segment::parse(text, s)).collect::<Result<_, _>>()?;
        Ok(PathPattern { segments })
    }

    /// `/**`.
    pub fn everything() -> PathPattern {
        PathPattern { segments: Box::new([Segment::Rest]) }
    }

    /// The pattern, segment by segment.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether the path matches; it begins with `/`.
    pub fn matches(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix('/') else { return false };
        let segments: Vec<&[u8]> = rest.split('/').map(str::as_bytes).collect();
        match_segments(&self.segments, &segments)
    }
}

impl Segment {
    fn parse(pattern: &str, segment: &str) -> Result<Segment, String> {
        match segment.find('*') {
            None => Ok(Segment::Literal(segment.as_bytes().into())),
            _ if segment == "**" => Ok(Segment::Rest),
            Some(star) if star + 1 == segment.len() => {
                Ok(Segment::Prefix(segment.trim_end_matches('*').as_bytes().into()))
            }
            Some(_) => Err(format!(
                "`{pattern}` is not a path pattern: `*` can only end a segment, as in `eid:*`"
            )),
        }
    }

    /// Whether one segment matches.
    pub fn matches(&self, segment: &[u8]) -> bool {
        match self {
            Segment::Literal(literal) => **literal == *segment,
            Segment::Prefix(prefix) => segment.len() > prefix.len() && segment.starts_with(prefix),
            Segment::Rest => true,
        }
    }
}

/// Greedy matching that goes back to the last `**` only: linear in pattern × path.
fn match_segments(pattern: &[Segment], path: &[&[u8]]) -> bool {
    let (mut at_pattern, mut at_path) = (0, 0);
    let mut last_rest: Option<(usize, usize)> = None;
    while at_path < path.len() {
        match (pattern.get(at_pattern), path.get(at_path)) {
            (Some(Segment::Rest), _) => {
                last_rest = Some((at_pattern, at_path));
                at_pattern += 1;
            }
            (Some(segment), Some(part)) if segment.matches(part) => {
                at_pattern += 1;
                at_path += 1;
            }
            _ => match last_rest {
                Some((rest, taken)) => {
                    last_rest = Some((rest, taken + 1));
                    at_pattern = rest + 1;
                    at_path = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at_pattern).all(|segment| matches!(segment, Segment::Rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_documented() {
        for (pattern, path, expected) in [
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/", false),
            ("/a/*", "/a/b/c", false),
            ("/a/**", "/a", true),
            ("/a/**", "/a/", true),
            ("/a/**", "/a/b/c", true),
            ("/a/**", "/ab", false),
            ("/**/employee/**", "/x/y/employee/7", true),
            ("/**/employee/**", "/employee", true),
            ("/**/employee/**", "/x/employees", false),
            ("/r/eid:*", "/r/eid:7", true),
            ("/r/eid:*", "/r/eid:", false),
            ("/**/b/*/d", "/b/b/c/d", true),
            ("/**", "/", true),
        ] {
            let compiled = PathPattern::parse(pattern).expect(pattern);
            assert_eq!(compiled.matches(path), expected, "{pattern} on {path}");
            assert_eq!(compiled.to_string(), pattern);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for pattern in ["", "a", "/a*b", "/**a", "/*a*"] {
            assert!(PathPattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
