//! Every finding about outcomes, back-offs and budgets, provoked at least once.

use super::{REST, assert_findings, loaded};
use crate::config::resolve::Mode;
use crate::config::sources::Memory;

/// A vendor's own outcome.
fn outcome(lines: &str) -> String {
    format!("{REST}[[vendors.erp.outcome]]\n{lines}\n")
}

#[test]
fn outcomes() {
    for (lines, codes) in [
        // Shapes.
        ("when = { status = 429 }\nclass = ◆\"rates\"", &["unknown-value"][..]),
        ("when = { status = 429 }\nclass = \"rate\"\nscope = ◆\"all\"", &["unknown-value"]),
        ("when = { status = 429 }\nclass = \"rate\"\nexecuted = ◆\"maybe\"", &["unknown-value"]),
        ("when = { ◆stats = 429 }\nclass = \"rate\"", &["unknown-key"]),
        ("when = { status = ◆true }\nclass = \"rate\"", &["wrong-type"]),
        ("when = { status = [429, ◆true] }\nclass = \"rate\"", &["wrong-type"]),
        ("when = { status = 429, pointer = ◆5 }\nclass = \"rate\"", &["wrong-type"]),
        (
            "when = { status = 429, equals = ◆5, pointer = \"/a\" }\nclass = \"rate\"",
            &["wrong-type"],
        ),
        // Statuses, fields, pointers, waits.
        ("when = { status = ◆42 }\nclass = \"rate\"", &["bad-matcher"]),
        ("when = { status = ◆\"6xx\" }\nclass = \"rate\"", &["bad-matcher"]),
        ("when = { status = ◆\"429\" }\nclass = \"rate\"", &["bad-matcher"]),
        ("when = { status = ◆[] }\nclass = \"rate\"", &["bad-matcher"]),
        ("when = { header = ◆\"a b\" }\nclass = \"rate\"", &["bad-field-name"]),
        ("when = { status = 400, pointer = ◆\"error\" }\nclass = \"rate\"", &["bad-matcher"]),
        ("when = { status = 429 }\nclass = \"rate\"\nwait = ◆\"soon\"", &["bad-wait"]),
        ("when = { status = 429 }\nclass = \"rate\"\nwait = ◆\"header:a b\"", &["bad-wait"]),
        // Comparisons.
        ("when = { status = 400, matches = ◆\"(\" }\nclass = \"rate\"", &["bad-matcher"]),
        ("when = { status = 400, contains = ◆\"\" }\nclass = \"rate\"", &["bad-matcher"]),
        ("when = { status = 400, equals = ◆\"a\" }\nclass = \"rate\"", &["bad-matcher"]),
        (
            "when = { status = 400, contains = \"a\", matches = ◆\"a\" }\nclass = \"rate\"",
            &["bad-matcher"],
        ),
        (
            "when = { status = 400, header = \"A\", pointer = \"/a\", equals = ◆\"a\" }\n\
             class = \"rate\"",
            &["bad-matcher"],
        ),
        (
            "when = { status = 400, header = \"A: 1\", equals = ◆\"a\" }\nclass = \"rate\"",
            &["bad-matcher"],
        ),
        // What a client's record could set off.
        ("when = { status = 200, pointer = ◆\"/memo\" }\nclass = \"rate\"", &["bad-matcher"]),
        ("when = { status = \"2xx\", pointer = ◆\"/status\" }\nclass = \"rate\"", &["bad-matcher"]),
        ("when = { pointer = ◆\"/0/message\" }\nclass = \"rate\"", &["bad-matcher"]),
        ("when = { contains = ◆\"blocked\" }\nclass = \"rate\"", &["bad-matcher"]),
        ("when = { status = [200, 500], matches = ◆\"a\" }\nclass = \"rate\"", &["bad-matcher"]),
        (
            "when = { status = 200, pointer = \"/error\" }\nclass = \"rate\"\n\
             wait = ◆\"pointer:/memo\"",
            &["bad-matcher"],
        ),
        ("when = { status = 200 }\nclass = ◆\"rate\"", &["bad-matcher"]),
        ("when = ◆{ }\nclass = \"rate\"", &["bad-matcher"]),
    ] {
        assert_findings(&outcome(lines), codes, Memory::default(), Mode::Run);
    }
    let missing = format!("{REST}◆◆[[vendors.erp.outcome]]\n");
    let codes = ["missing-key", "missing-key"];
    assert_findings(&missing, &codes, Memory::default(), Mode::Run);
}

#[test]
fn outcomes_that_are_right() {
    for lines in [
        "when = { status = [400, \"5xx\"], contains = \"blocked\" }\nclass = \"rate\"",
        "when = { header = \"X-Throttled\" }\nclass = \"rate\"\nwait = \"header:X-Wait ms\"",
        "when = { header = \"X-A: 1\", pointer = \"/errors/0/code\", matches = \"^A\" }\n\
         class = \"rate\"\nexecuted = \"no\"",
        "when = { header = \"X-CSRF-Token\", status = 403, matches = \"(?i)required\" }\n\
         class = \"csrf\"",
        "when = { status = 208 }\nclass = \"already-done\"\nexecuted = \"yes\"",
        "when = { status = 500, pointer = \"/memo\" }\nclass = \"final-server\"\n\
         wait = \"pointer:/memo\"",
    ] {
        let loaded = loaded(&outcome(lines), Memory::default(), Mode::Run);
        assert!(loaded.problems.is_empty(), "{lines}\n{}", loaded.human());
    }
}

#[test]
fn what_an_earlier_one_takes_is_told() {
    let two = |first: &str, second: &str| {
        let one =
            |when: &str| format!("[[vendors.erp.outcome]]\nwhen = {when}\nclass = \"rate\"\n");
        format!("{REST}{}◆{}", one(first), one(second))
    };
    let of_429 = "{ status = 429 }";
    let told = ["unreachable-matcher"];
    assert_findings(&two(of_429, of_429), &told, Memory::default(), Mode::Run);
    let narrower = "{ status = 429, pointer = \"/error/code\", equals = \"A\" }";
    assert_findings(&two(of_429, narrower), &told, Memory::default(), Mode::Run);
    let fine = two(narrower, of_429).replace('◆', "");
    assert!(loaded(&fine, Memory::default(), Mode::Run).problems.is_empty());
    // To come before the profile's own is what a vendor's matchers are for.
    let own = outcome(&format!("when = {of_429}\nclass = \"quota\""));
    assert!(loaded(&own, Memory::default(), Mode::Run).problems.is_empty());
}

#[test]
fn profiles() {
    let budget = "[[budget]]\nname = \"a\"\nheader = \"X-A\"\n";
    for (profile, codes) in [
        ("backoff = { base = ◆\"0s\" }\n".to_owned(), &["out-of-range"][..]),
        ("backoff = { max = ◆\"2\" }\n".to_owned(), &["bad-duration"]),
        ("backoff = { base = ◆\"1m\" }\n".to_owned(), &["out-of-range"]),
        ("backoff = ◆{ max = \"1ms\" }\n".to_owned(), &["out-of-range"]),
        ("[[outcome]]\nwhen = { status = ◆1 }\nclass = \"rate\"\n".to_owned(), &["bad-matcher"]),
        ("◆◆◆[[budget]]\n".to_owned(), &["missing-key", "missing-key", "missing-key"]),
        (format!("{budget}format = ◆\"used\"\n"), &["unknown-value"]),
        (format!("{budget}format = \"used/limit\"\nlimit = ◆5\n"), &["bad-budget"]),
        (format!("◆{budget}format = \"remaining\"\n"), &["missing-key"]),
        (format!("{budget}format = \"remaining\"\nlimit = ◆0\n"), &["out-of-range"]),
        (
            format!("{budget}format = \"remaining\"\nlimit = 5\nlimit_header = ◆\"X-B\"\n"),
            &["bad-budget"],
        ),
        (format!("{budget}format = \"used/limit\"\nrestore = ◆\"2\"\n"), &["bad-rate"]),
        (format!("{budget}format = \"used/limit\"\nreserve = ◆1\n"), &["out-of-range"]),
        (format!("{budget}format = \"used/limit\"\nreserve = ◆nan\n"), &["out-of-range"]),
        (
            "[[budget]]\nname = ◆\"a b\"\nheader = ◆\"a b\"\nformat = \"used/limit\"\n".to_owned(),
            &["bad-name", "bad-field-name"],
        ),
        (
            format!("{budget}format = \"used/limit\"\n◆{budget}format = \"a=used/limit\"\n"),
            &["duplicate-name"],
        ),
    ] {
        let text = REST.replace("base_url", "profile = \"./mine.toml\"\nbase_url");
        let places = profile.split('◆').scan(String::new(), |before, piece| {
            before.push_str(piece);
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            Some((before.matches('\n').count() + 1, column))
        });
        let places = places.take(profile.matches('◆').count());
        let expected: Vec<_> = codes.iter().copied().zip(places).collect();
        let sources = Memory::default().with("mine.toml", profile.replace('◆', ""));
        let loaded = loaded(&text, sources, Mode::Run);
        let found: Vec<_> = loaded.problems.iter().map(|p| (p.code, (p.line, p.column))).collect();
        assert_eq!(found, expected, "{profile}\n{}", loaded.human());
    }
}
