//! Findings as people read them, in the manner of rustc, and as programs read them.

use super::{Problem, Severity, Text, deceives};
use std::fmt::Write;

/// Widest source line that is shown, in characters.
const LINE_MAX: usize = 160;
/// Characters shown before the place when a longer line is cut.
const LEAD: usize = 40;
/// What stands for bytes that are never shown.
const HIDDEN: &str = "…";

/// All findings and their count, for a terminal, without color.
pub fn human(problems: &[Problem], texts: &[Text]) -> String {
    let mut out = String::new();
    for problem in problems {
        out.push_str(&one(problem, texts));
        out.push('\n');
    }
    if !problems.is_empty() {
        out.push_str(&count(problems));
        out.push('\n');
    }
    out
}

/// All findings as `{"problems":[…]}`.
pub fn json(problems: &[Problem]) -> String {
    serde_json::json!({ "problems": problems }).to_string()
}

/// One finding: what, where, the line it is in, what to write instead.
pub fn one(problem: &Problem, texts: &[Text]) -> String {
    let text = texts.iter().find(|text| text.file == problem.file);
    let severity = match problem.severity {
        Severity::Problem => "problem",
        Severity::Warning => "warning",
    };
    let mut out = format!("{severity}[{}]: {}\n", problem.code, problem.message);
    let number = problem.line.to_string();
    let gutter = " ".repeat(number.len());
    let place = format!("{}:{}:{}", problem.file.display(), problem.line, problem.column);
    // Writing to a String can't fail.
    let _ = writeln!(out, "{gutter}--> {place}");
    if let Some((line, caret)) = text.and_then(|text| source(problem, text)) {
        let _ = writeln!(out, "{gutter} |\n{number} | {line}\n{gutter} | {caret}");
    }
    if !problem.help.is_empty() {
        let _ = writeln!(out, "help: {}", problem.help);
    }
    out
}

fn count(problems: &[Problem]) -> String {
    let refused = problems.iter().filter(|p| p.severity == Severity::Problem).count();
    let counted = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match (refused, problems.len() - refused) {
        (refused, 0) => counted(refused, "problem"),
        (0, warned) => counted(warned, "warning"),
        (refused, warned) => {
            format!("{}, {}", counted(refused, "problem"), counted(warned, "warning"))
        }
    }
}

/// The source line and the caret line under it; nothing where the file has no such line.
fn source(problem: &Problem, text: &Text) -> Option<(String, String)> {
    let line = text.content.split('\n').nth(problem.line - 1)?;
    // Subslices of one string: their distance is the offset of the line.
    let start = text.content.split('\n').take(problem.line - 1).map(|l| l.len() + 1).sum::<usize>();
    if text.content.is_empty() {
        return None;
    }
    let skipped = match problem.column {
        column if line.chars().count() <= LINE_MAX || column <= LEAD => 0,
        column => column - LEAD,
    };
    let mut shown = String::new();
    let mut caret = String::new();
    let mut hidden_until = 0;
    for (index, (offset, c)) in line.char_indices().enumerate() {
        let offset = start + offset;
        if index < skipped || index >= skipped + LINE_MAX || c == '\r' {
            continue;
        }
        let piece = match text.hidden_until(offset) {
            _ if offset < hidden_until => "",
            Some(end) => {
                hidden_until = end;
                HIDDEN
            }
            None if c == '\t' => "    ",
            None if deceives(c) => "\u{fffd}",
            None => line.get(offset - start..offset - start + c.len_utf8()).unwrap_or_default(),
        };
        shown.push_str(piece);
        let mark = if problem.span.contains(&offset) { '^' } else { ' ' };
        caret.extend(piece.chars().map(|_| mark));
    }
    let caret = caret.trim_end();
    // A place after the last character, as of what is missing at the end of a line.
    let caret = match caret {
        "" => format!("{}^", " ".repeat(shown.chars().count().min(problem.column - 1))),
        caret => caret.to_owned(),
    };
    Some((shown.trim_end().to_owned(), caret))
}

#[cfg(test)]
mod tests {
    use super::super::Notes;
    use super::*;
    use std::path::Path;

    fn rendered(
        content: &str,
        span: std::ops::Range<usize>,
        hidden: &[std::ops::Range<usize>],
    ) -> String {
        let mut notes = Notes::new(Text::new(Path::new("gateway.toml"), content.into()));
        hidden.iter().for_each(|span| notes.text.hide(span.clone()));
        notes.problem("some-code", &span, "What is wrong", "write `b`");
        human(&notes.problems, &[notes.text])
    }

    #[test]
    fn shows_the_line_and_underlines_the_place() {
        assert_eq!(
            rendered("[server]\nnam = 1\n", 9..12, &[]),
            "problem[some-code]: What is wrong\n --> gateway.toml:2:1\n  |\n2 | nam = 1\n  | ^^^\n\
             help: write `b`\n\n1 problem\n"
        );
    }

    #[test]
    fn never_shows_what_is_hidden() {
        let shown = rendered("token = \"hunter2\" # x", 8..17, std::slice::from_ref(&(8..17)));
        assert!(shown.contains("1 | token = … # x\n  |         ^\n"), "{shown}");
        assert!(!shown.contains("hunter2"));
    }

    #[test]
    fn the_end_of_a_line_and_of_the_file_can_be_meant() {
        assert!(rendered("a = \nb = 1", 4..4, &[]).contains("1 | a =\n  |     ^"));
        assert!(rendered("a = ", 4..4, &[]).contains("1 | a =\n  |     ^"));
        assert!(rendered("", 0..0, &[]).contains("--> gateway.toml:1:1\nhelp"));
    }

    #[test]
    fn long_lines_and_control_characters_are_tamed() {
        let content = format!("\u{1b}[31m\t{} = 1", "x".repeat(5_000));
        let shown = rendered(&content, 5_004..5_006, &[]);
        assert!(!shown.contains('\u{1b}') && shown.len() < 600, "{shown}");
    }

    #[test]
    fn the_machine_form_has_exactly_the_documented_members() {
        let mut notes = Notes::new(Text::new(Path::new("gateway.toml"), "a".into()));
        notes.warning("w", &(0..1), "M", "h");
        assert_eq!(
            json(&notes.problems),
            "{\"problems\":[{\"severity\":\"warning\",\"code\":\"w\",\"message\":\"M\",\
             \"help\":\"h\",\"file\":\"gateway.toml\",\"line\":1,\"column\":1}]}"
        );
        assert_eq!(count(&notes.problems), "1 warning");
        notes.problem("w", &(0..1), "M", "h");
        notes.problem("w", &(0..1), "M", "h");
        assert_eq!(count(&notes.problems), "2 problems, 1 warning");
    }
}
