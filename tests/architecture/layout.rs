//! How a file looks: name, first sentence, length and width, imports that name what they take.

use crate::source::Source;

const CODE_LINES_MAX: usize = 400;
const COLUMNS_MAX: usize = 100;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"];

pub fn glob_imports(source: &Source) -> Vec<String> {
    let in_tests = |line| {
        source.module().last().is_some_and(|module| module == "tests")
            || source.test_modules.iter().any(|lines| lines.contains(&line))
    };
    let written = source.paths.iter().filter(|found| found.import && found.imported == 0);
    let globs = written.filter(|found| found.segments.last().is_some_and(|last| last == "*"));
    let foreign = globs.filter(|glob| !(in_tests(glob.line) && is_parent(source, &glob.segments)));
    foreign
        .map(|glob| {
            let what = format!("glob import `{}`", glob.segments.join("::"));
            source.violation(glob.line, &what, "name what you use")
        })
        .collect()
}

/// Whether `crate::a::b::*` is what `use super::*` says in the tests of `a::b`.
fn is_parent(source: &Source, glob: &[String]) -> bool {
    let mut module = source.module();
    if matches!(module.last().map(String::as_str), Some("tests" | "lib" | "main")) {
        module.pop();
    }
    glob.first().is_some_and(|root| root == "crate") && glob[1..glob.len() - 1] == module
}

pub fn first_sentence(source: &Source) -> Vec<String> {
    let mut lines = source.text.lines();
    let mut sentence = || lines.next()?.strip_prefix("//!").map(str::trim);
    let first = sentence().unwrap_or_default();
    let ends = first.ends_with(['.', ':']) || sentence().is_some_and(|second| !second.is_empty());
    if first.is_empty() || !ends {
        let remedy = "say on the first line, after `//!`, what the file is for";
        return vec![source.violation(1, "no first sentence", remedy)];
    }
    Vec::new()
}

pub fn code_lines(source: &Source) -> Vec<String> {
    let last = source.lines().filter(|(_, text)| is_code(text)).last().map_or(0, |(line, _)| line);
    let mut in_comment = false;
    let count = source
        .lines()
        .take_while(|(line, _)| {
            let trailing = |tests: &&std::ops::RangeInclusive<usize>| *tests.end() >= last;
            !source.test_modules.iter().filter(trailing).any(|tests| tests.contains(line))
        })
        .filter(|(_, text)| {
            let comment = in_comment || text.trim_start().starts_with("/*");
            in_comment = comment && !text.contains("*/");
            !comment && is_code(text)
        })
        .count();
    if count > CODE_LINES_MAX {
        let what = format!("{count} code lines, at most {CODE_LINES_MAX} are allowed");
        return vec![source.violation(1, &what, "split the file along a rule that it holds")];
    }
    Vec::new()
}

/// Whether a line holds something else than blanks and a line comment.
fn is_code(text: &str) -> bool {
    let text = text.trim_start();
    !text.is_empty() && !text.starts_with("//")
}

pub fn columns(source: &Source) -> Vec<String> {
    let width = |text: &str| text.chars().count();
    let wide = source.lines().filter(|(_, text)| width(text) > COLUMNS_MAX);
    wide.map(|(line, text)| {
        let what = format!("{} columns, at most {COLUMNS_MAX} are allowed", width(text));
        source.violation(line, &what, "break the line")
    })
    .collect()
}

pub fn names(source: &Source) -> Vec<String> {
    let parts = source.path.trim_end_matches(".rs").split('/');
    let empty = parts.filter(|part| EMPTY_NAMES.contains(part));
    empty
        .map(|name| {
            let what = format!("`{name}` says nothing about what is inside");
            source.violation(1, &what, "name it after the rule it holds")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{code_lines, columns, first_sentence, glob_imports, names};
    use crate::source::Source;

    #[test]
    fn globs() {
        let tests = "#[cfg(test)]\nmod tests { use super::*; }";
        let globs = |path, text| glob_imports(&Source::new(path, text)).len();
        assert_eq!(globs("src/a/b.rs", tests), 0);
        assert_eq!(globs("src/a/mod.rs", tests), 0);
        assert_eq!(globs("src/lib.rs", tests), 0);
        assert_eq!(globs("src/a/tests.rs", "use super::*;"), 0);
        assert_eq!(globs("src/a.rs", "use b::{self, C}; fn f(d: u8) { (d::E) * d }"), 0);
        assert_eq!(globs("src/a.rs", "mod tests { use super::*; }"), 1);
        assert_eq!(globs("src/a.rs", "#[cfg(test)] mod tests { use proptest::prelude::*; }"), 1);
        assert_eq!(globs("src/a.rs", "pub use b::*; fn f() { use C::*; }"), 2);
        assert_eq!(globs("src/a/b.rs", "use super::{*, c::{D, *}};"), 2);
    }

    #[test]
    fn first_sentences() {
        let good = ["//! Routes a request.", "//! Decides:\n", "//! Begins here\n//! and goes on."];
        let bad = [
            "",
            "\n//! Late.",
            "//!\n//! Late.",
            "//! Breaks off\n//!\n",
            "// Routes.",
            "fn f() {}",
        ];
        for text in good {
            assert!(first_sentence(&Source::new("src/a.rs", text)).is_empty(), "{text}");
        }
        for text in bad {
            assert_eq!(first_sentence(&Source::new("src/a.rs", text)).len(), 1, "{text}");
        }
    }

    #[test]
    fn long_files() {
        let code = "fn f() {}\n".repeat(400);
        let tests = "#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n";
        let long = |text: &str| code_lines(&Source::new("src/a.rs", text));
        assert!(long(&code).is_empty());
        assert!(long(&format!("//! A.\n\n/* b\nc */\n  // d\n{code}{tests}// e\n")).is_empty());
        let found = long(&format!("{code}fn g() {{}}\n"));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("src/a.rs:1: 401 code lines"), "{found:?}");
        assert_eq!(long(&format!("{tests}{code}")).len(), 1);
    }

    #[test]
    fn wide_lines() {
        let comment = |width: usize| format!("\n//{}\n", "é".repeat(width - 2));
        let wide = |width| columns(&Source::new("src/a.rs", &comment(width)));
        assert!(wide(100).is_empty());
        assert_eq!(wide(101), ["src/a.rs:2: 101 columns, at most 100 are allowed; break the line"]);
    }

    #[test]
    fn empty_names() {
        for path in ["src/util.rs", "src/a/helpers.rs", "tests/common/mod.rs", "src/managers/a.rs"]
        {
            assert_eq!(names(&Source::new(path, "")).len(), 1, "{path}");
        }
        for path in ["src/stages/utility.rs", "src/config/common_name.rs"] {
            assert!(names(&Source::new(path, "")).is_empty(), "{path}");
        }
    }
}
