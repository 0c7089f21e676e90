//! The style as a test: imports, files and words are what DESIGN promises, in every file.
//!
//! A rule is a function from one file, or from all of them, to the violations in it. It stands
//! beside its tests on good and bad examples; this page runs the rules over the real tree and
//! reports all violations at once. Code inside `#[cfg(test)]` obeys the same rules.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

#[path = "architecture/ladder.rs"]
mod ladder;
#[path = "architecture/layout.rs"]
mod layout;
#[path = "architecture/source.rs"]
mod source;
#[path = "architecture/words.rs"]
mod words;

use source::{Source, read_tree};

#[test]
fn imports_go_down_the_ladder() {
    check(&["src"], ladder::climbs);
}

#[test]
fn stages_see_only_earlier_stages() {
    check(&["src"], ladder::looks_ahead);
}

#[test]
fn fences_hold() {
    check(&["src"], ladder::crosses_a_fence);
}

#[test]
fn modules_form_no_cycle() {
    assert_none(&ladder::cycles(&read_tree(&["src"])));
}

#[test]
fn imports_name_what_they_take() {
    check(&["src"], layout::glob_imports);
}

#[test]
fn every_file_begins_with_a_sentence() {
    check(&["src"], layout::first_sentence);
}

#[test]
fn files_are_short() {
    check(&["src"], layout::code_lines);
}

#[test]
fn lines_are_short() {
    check(&["src"], layout::columns);
}

#[test]
fn names_say_what_is_inside() {
    check(&["src", "tests"], layout::names);
}

#[test]
fn nothing_is_left_for_later() {
    check(&["src", "tests"], words::leftovers);
}

#[test]
fn tests_wait_for_facts() {
    check(&["tests"], words::fixed_sleeps);
}

fn check(folders: &[&str], rule: fn(&Source) -> Vec<String>) {
    let violations: Vec<String> = read_tree(folders).iter().flat_map(rule).collect();
    assert_none(&violations);
}

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}
