//! A Rust file as the rules see it: its text, and the paths, attributes and tests in its tokens.
//!
//! Paths are read from tokens, so that strings and comments can't trip a rule, and resolved within
//! the file: groups of a `use` are taken apart; `self`, `super`, the crate's own name and imported
//! names are written out.

use std::path::Path;
use std::{fs, ops::RangeInclusive};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

pub struct Source {
    /// From the root of the repository, as `src/stages/routing.rs`.
    pub path: String,
    pub text: String,
    pub paths: Vec<PathUse>,
    pub attributes: Vec<Attribute>,
    /// Lines of each `#[cfg(test)] mod tests { .. }`, also with `cfg(all(test, ..))`.
    pub test_modules: Vec<RangeInclusive<usize>>,
}

/// A path somewhere in the code: `use`, expression, type, attribute or macro.
pub struct PathUse {
    /// Written out: `["crate", "model", "time"]`; a glob ends in `"*"`, a macro in `"name!"`.
    pub segments: Vec<String>,
    /// How many leading segments come from a `use` or `mod` of this file.
    pub imported: usize,
    pub import: bool,
    pub called: bool,
    pub line: usize,
}

/// The inside of `#[..]` without white space: `cfg(test)`.
pub struct Attribute {
    pub text: String,
    pub line: usize,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let tokens = match text.parse::<TokenStream>() {
            Ok(tokens) => tokens,
            Err(error) => panic!("{path}:{}: not Rust: {error}", error.span().start().line),
        };
        let mut reader = Reader { module: module_path(path), ..Reader::default() };
        reader.read(tokens);
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            paths: reader.resolved(),
            attributes: reader.attributes,
            test_modules: reader.test_modules,
        }
    }

    /// The modules down to this file: `["stages", "routing"]`; for the roots `["lib"]`, `["main"]`.
    pub fn module(&self) -> Vec<String> {
        let module = module_path(&self.path);
        if module.is_empty() { vec![file_stem(&self.path).to_owned()] } else { module }
    }

    /// Whether it is a file of a module's tests, such as `src/config/resolve/tests/files.rs`.
    pub fn is_test_module(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// Whether this file is `place` or inside it; a `*` at its end stands for any rest.
    pub fn is_in(&self, place: &str) -> bool {
        let module = self.module().join("/");
        match (place.strip_suffix('*'), module.strip_prefix(place)) {
            (Some(beginning), _) => module.starts_with(beginning),
            (None, Some(rest)) => place.is_empty() || rest.is_empty() || rest.starts_with('/'),
            (None, None) => false,
        }
    }

    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    pub fn violation(&self, line: usize, what: &str, remedy: &str) -> String {
        format!("{}:{line}: {what}; {remedy}", self.path)
    }
}

/// All Rust files in these folders of the repository, in the order of their paths.
pub fn read_tree(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for folder in folders {
        read_folder(root, &root.join(folder), &mut sources);
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!sources.is_empty(), "no Rust file under {}", root.display());
    sources
}

fn read_folder(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    let failed = |path: &Path, error| -> ! { panic!("{}: {error}", path.display()) };
    let entries = fs::read_dir(folder).unwrap_or_else(|error| failed(folder, error));
    for entry in entries {
        let path = entry.unwrap_or_else(|error| failed(folder, error)).path();
        if path.is_dir() {
            read_folder(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| failed(&path, error));
            let relative = path.strip_prefix(root).unwrap_or(&path);
            sources.push(Source::new(&relative.to_string_lossy(), &text));
        }
    }
}

fn module_path(path: &str) -> Vec<String> {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let mut module: Vec<String> =
        inside.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(file_stem(path), "mod" | "lib" | "main") {
        module.pop();
    }
    module
}

fn file_stem(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs")
}

#[derive(Default)]
struct Reader {
    module: Vec<String>,
    /// What `use` and `mod` bring in, as name and path; scopes in the file are not told apart.
    names: Vec<(String, Vec<String>)>,
    paths: Vec<PathUse>,
    attributes: Vec<Attribute>,
    test_modules: Vec<RangeInclusive<usize>>,
}

impl Reader {
    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += match (ident(token).as_deref(), token) {
                (Some("use"), _) if !is_punct(tokens.get(at + 1), '<') => {
                    let length =
                        tokens[at..].iter().take_while(|t| !is_punct(Some(t), ';')).count();
                    self.read_use(&tokens[at + 1..at + length], &[]);
                    length
                }
                (Some("mod"), _) => self.read_mod(&tokens, at),
                (Some(_), _) => self.read_path(&tokens[at..]),
                (None, TokenTree::Group(group)) => {
                    if group.delimiter() == Delimiter::Bracket && follows_hash(&tokens, at) {
                        self.read_attribute(group);
                    }
                    self.read(group.stream());
                    1
                }
                (None, _) => 1,
            };
        }
    }

    fn read_use(&mut self, tokens: &[TokenTree], prefix: &[String]) {
        for branch in tokens.split(|token| is_punct(Some(token), ',')) {
            let mut path = prefix.to_vec();
            let mut name = None;
            let mut group = None;
            for (position, token) in branch.iter().enumerate() {
                match (ident(token).as_deref(), token) {
                    (Some("as"), _) => {
                        name = branch.get(position + 1).and_then(ident);
                        break;
                    }
                    (Some("self"), _) if !path.is_empty() => {}
                    (Some(segment), _) => path.push(segment.to_owned()),
                    (None, TokenTree::Group(inner)) => group = Some(inner),
                    (None, _) if is_punct(Some(token), '*') => path.push("*".to_owned()),
                    (None, _) => {}
                }
            }
            if let Some(group) = group {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                self.read_use(&inner, &path);
            } else if let (Some(last), Some(token)) = (path.last(), branch.first()) {
                let name = name.unwrap_or_else(|| last.clone());
                let path = self.absolute(path);
                self.names.push((name, path.clone()));
                self.push_path(path, line(token), |found| found.import = true);
            }
        }
    }

    /// `mod name;` or `mod name { .. }`: the name leads there, what is inside is a module deeper.
    fn read_mod(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        let Some(name) = tokens.get(at + 1).and_then(ident) else {
            return 1;
        };
        self.module.push(name.clone());
        let mut path = vec!["crate".to_owned()];
        path.extend(self.module.iter().cloned());
        self.names.push((name.clone(), path));
        if let Some(TokenTree::Group(body)) = tokens.get(at + 2) {
            self.read(body.stream());
            if let (Some(first), "tests") = (test_attribute(&tokens[..at]), name.as_str()) {
                self.test_modules.push(first..=body.span_close().end().line);
            }
        }
        self.module.pop();
        if let Some(TokenTree::Group(_)) = tokens.get(at + 2) { 3 } else { 2 }
    }

    fn read_path(&mut self, tokens: &[TokenTree]) -> usize {
        let mut path: Vec<String> = ident(&tokens[0]).into_iter().collect();
        let mut length = 1;
        while is_punct(tokens.get(length), ':') && is_punct(tokens.get(length + 1), ':') {
            let Some(segment) = tokens.get(length + 2).and_then(ident) else {
                break;
            };
            path.push(segment);
            length += 3;
        }
        let next = tokens.get(length);
        if let (true, Some(TokenTree::Group(_)), Some(last)) =
            (is_punct(next, '!'), tokens.get(length + 1), path.last_mut())
        {
            last.push('!');
        }
        let called = matches!(next, Some(TokenTree::Group(arguments))
            if arguments.delimiter() == Delimiter::Parenthesis);
        let path = self.absolute(path);
        self.push_path(path, line(&tokens[0]), |found| found.called = called);
        length
    }

    fn read_attribute(&mut self, group: &Group) {
        let text = group.stream().to_string().split_whitespace().collect();
        self.attributes.push(Attribute { text, line: group.span_open().start().line });
    }

    fn push_path(&mut self, segments: Vec<String>, line: usize, mark: impl Fn(&mut PathUse)) {
        let mut found = PathUse { segments, imported: 0, import: false, called: false, line };
        mark(&mut found);
        self.paths.push(found);
    }

    /// `self`, `super` and our own crate name, written out from `crate`.
    fn absolute(&self, path: Vec<String>) -> Vec<String> {
        let supers = path.iter().take_while(|segment| *segment == "super").count();
        let first = path.first().map(String::as_str);
        if path.len() < 2 || !(supers > 0 || matches!(first, Some("self" | "erpgate"))) {
            return path;
        }
        let depth =
            if first == Some("erpgate") { 0 } else { self.module.len().saturating_sub(supers) };
        let mut absolute = vec!["crate".to_owned()];
        absolute.extend(self.module.iter().take(depth).cloned());
        absolute.extend(path.into_iter().skip(supers.max(1)));
        absolute
    }

    /// The paths with imported names written out: `Instant::now` becomes `std::time::Instant::now`.
    fn resolved(&mut self) -> Vec<PathUse> {
        const RENAMINGS_MAX: usize = 4;
        let mut resolved = std::mem::take(&mut self.paths);
        let mut fresh = 0..resolved.len();
        for _ in 0..RENAMINGS_MAX {
            for at in fresh.clone() {
                let found = &resolved[at];
                let meanings: Vec<PathUse> = self
                    .names
                    .iter()
                    .filter(|(name, path)| *name == found.segments[0] && path[0] != *name)
                    .map(|(_, path)| PathUse {
                        segments: [path, &found.segments[1..]].concat(),
                        imported: path.len(),
                        ..*found
                    })
                    .collect();
                resolved.extend(meanings);
            }
            fresh = fresh.end..resolved.len();
        }
        resolved
    }
}

/// The line of the `#[cfg(test)]` among the attributes that end here, before `mod`.
fn test_attribute(before: &[TokenTree]) -> Option<usize> {
    let mut end = before.len();
    while let Some(at) = end.checked_sub(1) {
        match &before[at] {
            TokenTree::Group(group) if follows_hash(before, at) => {
                let text: String = group.stream().to_string().split_whitespace().collect();
                if text == "cfg(test)" || text.starts_with("cfg(all(test,") {
                    return Some(group.span_open().start().line);
                }
                end = at - 1;
            }
            TokenTree::Ident(visibility) if visibility == "pub" => end = at,
            _ => return None,
        }
    }
    None
}

/// Whether the token here comes after `#` or `#!`.
fn follows_hash(tokens: &[TokenTree], at: usize) -> bool {
    let back = |steps| at.checked_sub(steps).and_then(|earlier| tokens.get(earlier));
    is_punct(back(1), '#') || (is_punct(back(1), '!') && is_punct(back(2), '#'))
}

fn ident(token: &TokenTree) -> Option<String> {
    match token {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        _ => None,
    }
}

fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

#[cfg(test)]
mod tests {
    use super::Source;

    /// The paths of more than one segment in a file, joined.
    fn paths(path: &str, text: &str) -> Vec<String> {
        let mut paths: Vec<String> =
            Source::new(path, text).paths.iter().map(|found| found.segments.join("::")).collect();
        paths.retain(|path| path.contains("::"));
        paths
    }

    #[test]
    fn paths_are_written_out() {
        let cases = [
            "src/a.rs: use crate::{b::C, d::{self, E as F}}; => crate::b::C crate::d crate::d::E",
            "src/a/b.rs: use super::c::D; use self::e::F; => crate::a::c::D crate::a::b::e::F",
            "src/a/mod.rs: mod b; fn f() -> b::T {} => b::T crate::a::b::T",
            "src/a.rs: mod tests { fn f() { super::g::h() } } => crate::a::g::h",
            "src/main.rs: fn main() { erpgate::cli::run() } => crate::cli::run",
            "src/a.rs: fn f() { vec![crate::b::c!(x::Y)] } => crate::b::c! x::Y",
            "src/a.rs: fn f(x: impl Fn() -> crate::b::T + use<'_>) {} => crate::b::T",
            "src/a.rs: fn f() { \"crate::d::e\"; } // crate::b::c\n => ",
            "src/a.rs: use b::{C as D}; fn f() { D::e() } => b::C D::e b::C::e",
            "src/a.rs: use b::c; use c::d; f(d::E) => b::c c::d d::E b::c::d c::d::E b::c::d::E",
        ];
        for case in cases {
            let (file, expected) = case.split_once(" => ").unwrap();
            let (path, text) = file.split_once(": ").unwrap();
            assert_eq!(paths(path, text).join(" "), expected, "{case}");
        }
    }

    #[test]
    fn test_modules_are_found() {
        let text = "fn f() {}\n#[cfg(test)]\n#[rustfmt::skip]\nmod tests {\n}\nmod tests {}\n";
        assert_eq!(Source::new("src/a.rs", text).test_modules, [2..=5]);
    }

    #[test]
    fn places_end_at_a_boundary() {
        let source = Source::new("src/adapters/vendor_client/pool.rs", "");
        for place in ["", "adapters", "adapters/vendor_client", "adapters/vendor*"] {
            assert!(source.is_in(place), "{place}");
        }
        for place in ["adapt", "adapters/vendor", "config"] {
            assert!(!source.is_in(place), "{place}");
        }
        assert!(Source::new("src/config/mod.rs", "").is_in("config"));
        assert!(Source::new("src/lib.rs", "").is_in("lib"));
    }

    #[test]
    fn test_modules_may_demand_more() {
        let text = "#[cfg(all(test, unix))]\nmod tests {}\n#[cfg(unix)]\nmod tests {}\n";
        assert_eq!(Source::new("src/a.rs", text).test_modules, [1..=2]);
    }

    #[test]
    #[should_panic(expected = "src/a.rs:2: not Rust")]
    fn what_is_not_rust_is_named() {
        Source::new("src/a.rs", "\nfn f( {");
    }
}
