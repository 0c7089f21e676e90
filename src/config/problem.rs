//! What is wrong with a configuration: one value per finding, at a place in a file.
//!
//! A file's text can hold what nobody may see (a secret typed where a reference belongs), so
//! a [`Text`] knows which of its bytes are never shown, and no message quotes them.

mod render;

pub use render::{human, json, one};

use serde::Serialize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest piece of a file that a message quotes, in characters.
const QUOTE_MAX: usize = 80;

/// Whether a finding refuses the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is refused.
    Problem,
    /// It is taken, but somebody should look.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether it refuses the configuration.
    pub severity: Severity,
    /// A stable name for this kind of finding, in kebab case.
    pub code: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to write instead.
    pub help: String,
    /// The file it is in.
    pub file: PathBuf,
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in the line, in characters, from 1.
    pub column: usize,
    /// The bytes of the file that it is about.
    #[serde(skip)]
    pub span: Range<usize>,
}

/// A file as it was read, with the bytes that are never shown.
#[derive(Clone, Debug)]
pub struct Text {
    /// The path, as messages name it.
    pub file: PathBuf,
    /// Its last part.
    pub name: Arc<str>,
    /// The whole content; empty when the file could not be read.
    pub content: String,
    hidden: Vec<Range<usize>>,
}

impl Text {
    /// A text of which everything may be shown.
    pub fn new(file: &Path, content: String) -> Self {
        let name = Arc::from(&*file.file_name().unwrap_or_default().to_string_lossy());
        Text { file: file.to_owned(), name, content, hidden: Vec::new() }
    }

    /// Never shows these bytes.
    pub fn hide(&mut self, span: Range<usize>) {
        self.hidden.push(span);
    }

    /// The end of the hidden stretch that holds this byte, if one does.
    fn hidden_until(&self, offset: usize) -> Option<usize> {
        self.hidden.iter().filter(|span| span.contains(&offset)).map(|span| span.end).max()
    }

    /// Line and column of a byte, both from 1, the column in characters.
    pub fn place(&self, offset: usize) -> (usize, usize) {
        let mut end = offset.min(self.content.len());
        while !self.content.is_char_boundary(end) {
            end -= 1;
        }
        let before = self.content.get(..end).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

/// The findings about one file, as they are made.
#[derive(Debug)]
pub struct Notes {
    /// The file.
    pub text: Text,
    /// What was found so far, in no order.
    pub problems: Vec<Problem>,
    /// Keys that were typed but could not be read, by the start of their table.
    lost: Vec<(usize, String)>,
}

impl Notes {
    /// No findings yet.
    pub fn new(text: Text) -> Self {
        Notes { text, problems: Vec::new(), lost: Vec::new() }
    }

    /// Refuses the configuration.
    pub fn problem(
        &mut self,
        code: &'static str,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.note(Severity::Problem, code, span, message.into(), help.into());
    }

    /// Takes the configuration, but says something.
    pub fn warning(
        &mut self,
        code: &'static str,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.note(Severity::Warning, code, span, message.into(), help.into());
    }

    /// A finding of either severity.
    pub fn note(
        &mut self,
        severity: Severity,
        code: &'static str,
        span: &Range<usize>,
        message: String,
        help: String,
    ) {
        let (line, column) = self.text.place(span.start);
        let file = self.text.file.clone();
        let (message, help) = (printable(&message), printable(&help));
        let span = span.clone();
        self.problems.push(Problem { severity, code, message, help, file, line, column, span });
    }

    /// Remembers that a key was typed in the table that begins there, but could not be read:
    /// what is said about it already is enough.
    pub fn lose(&mut self, table: usize, key: &str) {
        self.lost.push((table, key.to_owned()));
    }

    /// Whether the key was typed in the table that begins there, but could not be read.
    pub fn has_lost(&self, table: usize, key: &str) -> bool {
        self.lost.iter().any(|(start, lost)| *start == table && lost == key)
    }

    /// Whether a key of that name was typed anywhere, but could not be read.
    pub fn has_lost_anywhere(&self, key: &str) -> bool {
        self.lost.iter().any(|(_, lost)| lost == key)
    }

    /// The value of a key that has to be there; if it is not, a problem at its table.
    pub fn required<T>(
        &mut self,
        table: &Range<usize>,
        table_name: &str,
        key: &str,
        value: Option<T>,
        example: &str,
    ) -> Option<T> {
        if value.is_none() && !self.has_lost(table.start, key) {
            let message = format!("{} has no `{key}`", quoted(table_name));
            self.problem("missing-key", table, message, format!("write `{key} = {example}`"));
        }
        value
    }
}

/// Sorts findings by file, line and column.
pub fn sort(problems: &mut [Problem]) {
    problems.sort_by(|a, b| {
        (&a.file, a.line, a.column, a.code).cmp(&(&b.file, b.line, b.column, b.code))
    });
}

/// A piece of a file between backticks, cut short if it is long.
pub fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTE_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// The known word that somebody probably meant.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    known
        .into_iter()
        .map(|word| (strsim::jaro_winkler(&typed, &word.to_lowercase()), word))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word)
}

/// What somebody probably meant, or everything they could have meant.
pub fn suggestion<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match (nearest(typed, known.iter().copied()), known.as_slice()) {
        (Some(word), _) => format!("write `{word}`"),
        (None, []) => "remove it".to_owned(),
        (None, [only]) => format!("write `{only}`"),
        (None, [first @ .., last]) => {
            let first: Vec<String> = first.iter().map(|word| quoted(word)).collect();
            format!("write one of {} and {}", first.join(", "), quoted(last))
        }
    }
}

/// Whether a character could make a terminal, a program that reads line by line, or a person's eye
/// see something else: controls (but a tab), what turns the direction of writing, what has no
/// width, and what ends a line without looking like it.
pub fn deceives(c: char) -> bool {
    let unseen = matches!(c,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' | '\u{feff}');
    unseen || (c.is_control() && c != '\t')
}

/// A sentence without characters that deceive.
fn printable(text: &str) -> String {
    text.chars().map(|c| if deceives(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters_from_one() {
        let text = Text::new(Path::new("a"), "ä = 1\nbö = 2\n".into());
        for (offset, place) in [(0, (1, 1)), (1, (1, 1)), (2, (1, 2)), (7, (2, 1)), (10, (2, 3))] {
            assert_eq!(text.place(offset), place, "{offset}");
        }
        assert_eq!(text.place(9_999), (3, 1));
    }

    #[test]
    fn names_what_was_probably_meant() {
        let known = ["drain_timeout", "workers", "name"];
        assert_eq!(nearest("drain_timout", known), Some("drain_timeout"));
        assert_eq!(nearest("Workers", known), Some("workers"));
        assert_eq!(nearest("zebra", known), None);
        assert_eq!(suggestion("zebra", ["a", "b", "c"]), "write one of `a`, `b` and `c`");
        assert_eq!(suggestion("zebra", []), "remove it");
    }

    #[test]
    fn quotes_are_short_and_messages_harmless() {
        assert_eq!(quoted(&"x".repeat(200)).chars().count(), QUOTE_MAX + 3);
        assert_eq!(printable("a\u{1b}[31mb\n"), "a\u{fffd}[31mb\u{fffd}");
        assert_eq!(printable("\u{202e}a\u{200b}\u{9b}\té"), "\u{fffd}a\u{fffd}\u{fffd}\té");
    }
}
