//! Words that mark unfinished work, and fixed sleeps in tests.

use crate::source::Source;

/// Put together here, so that this file does not hold them.
const NOTES: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

const MACROS: &[&str] = &["dbg!", "todo!", "unimplemented!"];

/// The mark of the one line of a waiting function that may sleep.
const POLL: &str = "// poll interval";

/// Notes to oneself, placeholders, switched-off tests and tolerated dead code.
pub fn leftovers(source: &Source) -> Vec<String> {
    let mut violations = Vec::new();
    for (line, text) in source.lines() {
        let mut words = text.split(|character: char| !character.is_alphanumeric());
        if let Some(note) = words.find(|word| NOTES.contains(word)) {
            violations.push(source.violation(line, note, "do it now, or open an issue"));
        }
    }
    for found in source.paths.iter().filter(|found| found.imported == 0) {
        if let Some(name) = found.segments.last().filter(|last| MACROS.contains(&last.as_str())) {
            violations.push(source.violation(found.line, name, "finish the code and remove it"));
        }
    }
    for attribute in &source.attributes {
        let remedy = match attribute.text.as_str() {
            text if text == "ignore" || text.starts_with("ignore=") => "run the test or delete it",
            text if text.starts_with("doc=") => continue,
            text if text.contains("allow(") && text.contains("dead_code") => "delete the dead code",
            _ => continue,
        };
        let what = format!("#[{}]", attribute.text);
        violations.push(source.violation(attribute.line, &what, remedy));
    }
    violations
}

/// Calls of `sleep`: a test that waits for a time is slow on a good day and fails on a bad one.
pub fn fixed_sleeps(source: &Source) -> Vec<String> {
    let is_poll = |line| source.lines().any(|(at, text)| at == line && text.contains(POLL));
    let calls = source.paths.iter().filter(|found| {
        found.called
            && found.imported == 0
            && found.segments.last().is_some_and(|last| last == "sleep")
    });
    let fixed = calls.filter(|call| !is_poll(call.line));
    let remedy = "wait for a fact, with a deadline";
    fixed.map(|call| source.violation(call.line, "fixed sleep", remedy)).collect()
}

#[cfg(test)]
mod tests {
    use super::{NOTES, fixed_sleeps, leftovers};
    use crate::source::Source;

    #[test]
    fn unfinished_work() {
        for note in NOTES {
            for text in [format!("// {note}: later"), format!("fn f() {{}} // ({note})")] {
                assert_eq!(leftovers(&Source::new("src/a.rs", &text)).len(), 1, "{text}");
            }
            let longer = format!("// {note}S and a{note}");
            assert!(leftovers(&Source::new("src/a.rs", &longer)).is_empty(), "{longer}");
        }
        let bad = [
            "fn f() { dbg!(1) }",
            "fn f() { g(std::todo!()) }",
            "fn f() { unimplemented!(\"x\") }",
            "#[test]\n#[ignore]\nfn f() {}",
            "#[ignore = \"slow\"]\nfn f() {}",
            "#![allow(unused, dead_code)]",
            "#[cfg_attr(test, allow(dead_code))]\nfn f() {}",
        ];
        for text in bad {
            assert_eq!(leftovers(&Source::new("src/a.rs", text)).len(), 1, "{text}");
        }
        let good = [
            "/// Never `dbg!(x)`, nor `allow(dead_code)`.\nfn f() { \"todo!()\"; }",
            "fn f(todo: bool) -> bool { !todo != ignore }",
            "#[allow(clippy::too_many_lines)]\nfn f() {}",
        ];
        for text in good {
            assert!(leftovers(&Source::new("src/a.rs", text)).is_empty(), "{text}");
        }
    }

    #[test]
    fn sleeps() {
        let sleeps = |text| fixed_sleeps(&Source::new("tests/gateway/a.rs", text)).len();
        assert_eq!(sleeps("async fn f() { tokio::time::sleep(D).await }"), 1);
        assert_eq!(sleeps("use std::thread::sleep; fn f() { sleep(D); clock.sleep(D) }"), 2);
        assert_eq!(sleeps("async fn f() { sleep(D).await; // poll interval\n }"), 0);
        assert_eq!(sleeps("// sleep(D)\nfn f() { \"sleep(D)\"; asleep(D) }"), 0);
    }
}
