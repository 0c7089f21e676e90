//! From text to raw types, with every unknown key and every wrong type found in one go.
//!
//! serde stops at its first error. So the text becomes a tree with places first; an entry that
//! serde refuses is noted and taken out of the tree, and serde begins again, until nothing is
//! left to refuse. Nothing is required at this level, so taking an entry out never makes a new
//! error, and each round makes the tree smaller.

use crate::config::problem::{Notes, deceives, nearest, quoted, suggestion};
use serde::de::DeserializeOwned;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer, Error};

/// Names that hold one of these parts, and no secret.
const PLAIN: [&str; 3] = ["idempotency_key_from", "key_headers", "vendor_key"];

/// Rounds after which a file is beyond help: each one is a problem that somebody has to read.
const ROUNDS_MAX: usize = 200;

/// Parts of key names whose values may be secrets, typed where a reference belongs.
const SECRETIVE: [&str; 8] =
    ["token", "secret", "password", "passwd", "credential", "key", "value", "username"];

/// Reads a file into its raw type. `None` if not even its syntax holds.
///
/// What could not be read is noted, hidden where it might be a secret, and left out.
pub fn read<T: DeserializeOwned>(notes: &mut Notes) -> Option<T> {
    let content = notes.text.content.clone();
    let (tree, errors) = DeTable::parse_recoverable(&content);
    hide_secrets(tree.get_ref(), false, notes);
    let mut readable = true;
    for error in &errors {
        readable &= note_syntax(error, notes);
    }
    // A tree that was repaired by guesses would make problems that are none.
    if readable { deserialize(tree, notes) } else { None }
}

/// Notes every text, and every comment, with a character in it that [`deceives`] whoever reads the
/// file, or a list made of it.
pub fn check_texts(notes: &mut Notes) {
    // TOML takes control characters of ASCII only from escapes, and line ends from texts over
    // several lines; all others may stand in a file as they are.
    let could_hold = |content: &str| {
        let escaped = [r"\", r#"""""#, "'''"].iter().any(|mark| content.contains(mark));
        escaped || (!content.is_ascii() && content.contains(deceives))
    };
    if !could_hold(&notes.text.content) {
        return;
    }
    let content = notes.text.content.clone();
    let (tree, _) = DeTable::parse_recoverable(&content);
    let mut found = Vec::new();
    look_for_deceit(&DeValue::Table(tree.get_ref().clone()), tree.span(), &mut found);
    for span in &found {
        let help = "write it without line breaks, escapes and invisible characters";
        notes.problem("control-character", span, "this text holds a control character", help);
    }
    for span in deceits_between(&content, &found) {
        let message = "a control character makes this line look like another one";
        notes.problem("control-character", &span, message, "remove it, or type the line anew");
    }
}

fn look_for_deceit(value: &DeValue<'_>, span: Range<usize>, found: &mut Vec<Range<usize>>) {
    match value {
        DeValue::String(text) if text.contains(deceives) => found.push(span),
        DeValue::Array(items) => {
            items.iter().for_each(|item| look_for_deceit(item.get_ref(), item.span(), found));
        }
        DeValue::Table(table) => {
            for (key, value) in table.iter() {
                if key.get_ref().contains(deceives) {
                    found.push(key.span());
                }
                look_for_deceit(value.get_ref(), value.span(), found);
            }
        }
        _ => {}
    }
}

/// The first one of each line outside of what was found: in a comment.
fn deceits_between(content: &str, found: &[Range<usize>]) -> Vec<Range<usize>> {
    // A mark of the byte order is how some editors begin every file.
    let mut start = content.len() - content.trim_start_matches('\u{feff}').len();
    let mut deceits = Vec::new();
    for line in content.get(start..).unwrap_or_default().split_inclusive('\n') {
        let text = line.trim_end_matches(['\r', '\n']);
        let outside = |(at, c): (usize, char)| {
            let span = start + at..start + at + c.len_utf8();
            let is_known = found.iter().any(|known| known.contains(&span.start));
            (deceives(c) && !is_known).then_some(span)
        };
        deceits.extend(text.char_indices().find_map(outside));
        start += line.len();
    }
    deceits
}

/// Notes an error of syntax; false if the rest of the tree can't be trusted.
fn note_syntax(error: &Error, notes: &mut Notes) -> bool {
    let span = error.span().unwrap_or_default();
    hide_secretive_line(&span, notes);
    if error.message() == "duplicate key" {
        let key = notes.text.content.get(span.clone()).unwrap_or_default().trim();
        let message = format!("{} is here twice", quoted(key));
        notes.problem("duplicate-key", &span, message, "remove one of the two");
        return true;
    }
    let message = format!("this is not TOML: {}", error.message());
    notes.problem("syntax", &span, message, "see https://toml.io for how TOML is written");
    false
}

fn deserialize<T: DeserializeOwned>(
    mut tree: Spanned<DeTable<'_>>,
    notes: &mut Notes,
) -> Option<T> {
    for _ in 0..ROUNDS_MAX {
        let error = match T::deserialize(Deserializer::from(tree.clone())) {
            Ok(raw) => return Some(raw),
            Err(error) => error,
        };
        let mut search = Search { error: &error, notes, path: Vec::new() };
        if !search.prune_table(tree.get_mut(), 0) {
            let span = error.span().unwrap_or_default();
            notes.problem("wrong-type", &span, "this can't be read", "see docs/configuration.md");
            return None;
        }
    }
    None
}

/// The search for the entry that an error is about.
struct Search<'a> {
    error: &'a Error,
    notes: &'a mut Notes,
    /// The keys down to the table that is looked into.
    path: Vec<String>,
}

impl Search<'_> {
    fn is_about(&self, span: &Range<usize>) -> bool {
        self.error.span().as_ref() == Some(span)
    }

    /// Takes the entry out of the table, or out of one below it. `start` is where the table
    /// itself begins.
    fn prune_table(&mut self, table: &mut DeTable<'_>, start: usize) -> bool {
        let unknown = self.error.message().starts_with("unknown field");
        let found = table.iter().find_map(|(key, value)| {
            let is_key = unknown && self.is_about(&key.span());
            let is_value = !is_key && self.is_about(&value.span());
            (is_key || is_value).then(|| (key.clone(), is_key))
        });
        if let Some((key, is_key)) = found {
            let Some(value) = table.remove(key.get_ref().as_ref()) else { return false };
            let name = key.get_ref().as_ref();
            if is_key {
                self.note_unknown(start, name, &key.span(), &value);
            } else {
                self.note_wrong(&quoted(name), &value);
            }
            self.notes.lose(start, name);
            return true;
        }
        for (key, value) in table.iter_mut() {
            self.path.push(key.get_ref().to_string());
            if self.prune_value(value) {
                return true;
            }
            self.path.pop();
        }
        false
    }

    fn prune_value(&mut self, value: &mut Spanned<DeValue<'_>>) -> bool {
        let start = value.span().start;
        match value.get_mut() {
            DeValue::Table(table) => self.prune_table(table, start),
            DeValue::Array(array) => self.prune_array(array),
            _ => false,
        }
    }

    fn prune_array(&mut self, array: &mut DeArray<'_>) -> bool {
        match array.iter().position(|item| self.is_about(&item.span())) {
            // An array of tables shares its place with its first table: it is that table's
            // key only when the search above did not stop at the array.
            Some(index) => {
                let name = format!("an entry of {}", quoted(&self.path.join(".")));
                let mut kept = DeArray::new();
                for (at, item) in std::mem::replace(array, DeArray::new()).into_iter().enumerate() {
                    if at == index {
                        self.note_wrong(&name, &item);
                    } else {
                        kept.push(item);
                    }
                }
                *array = kept;
                true
            }
            None => array.iter_mut().any(|item| self.prune_value(item)),
        }
    }

    /// The value is never shown: nobody knows what it is. Whatever key was meant is not missed.
    fn note_unknown(
        &mut self,
        start: usize,
        key: &str,
        span: &Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) {
        hide_all(value, self.notes);
        let message = match self.path.as_slice() {
            [] => format!("there is no key {} at the top of this file", quoted(key)),
            path => format!("there is no key {} in `{}`", quoted(key), path.join(".")),
        };
        let known = self.error.message().strip_prefix(&format!("unknown field `{key}`"));
        // "…, expected one of `a`, `b`": every other piece between backticks is a key.
        let known = known.unwrap_or_default().split('`').skip(1).step_by(2);
        if let Some(meant) = nearest(key, known.clone()) {
            self.notes.lose(start, meant);
        }
        self.notes.problem("unknown-key", span, message, suggestion(key, known));
    }

    fn note_wrong(&mut self, name: &str, value: &Spanned<DeValue<'_>>) {
        let span = value.span();
        let message = self.error.message();
        if let Some(rest) = message.strip_prefix("unknown variant ") {
            let typed = value.get_ref().as_str().unwrap_or_default();
            // The first piece between backticks is what was typed.
            let known: Vec<&str> = rest
                .strip_prefix(&format!("`{typed}`"))
                .unwrap_or_default()
                .split('`')
                .skip(1)
                .step_by(2)
                .collect();
            let message = format!("{name} can't be {}", quoted(typed));
            self.notes.problem("unknown-value", &span, message, suggestion(typed, known));
            return;
        }
        let found = found_in_words(value.get_ref());
        let (wanted, example) = expected_in_words(message);
        if wanted == found || message.contains("overflow") {
            let message = format!("{name} is a number of an impossible size");
            self.notes.problem("out-of-range", &span, message, "write a smaller number");
            return;
        }
        if is_scalar(value.get_ref()) && wanted == "a table" {
            self.notes.text.hide(span.clone());
        }
        let message = format!("{name} has to be {wanted}, not {found}");
        self.notes.problem("wrong-type", &span, message, format!("write {example}"));
    }
}

fn is_scalar(value: &DeValue<'_>) -> bool {
    !matches!(value, DeValue::Table(_) | DeValue::Array(_))
}

fn found_in_words(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// What serde wanted, and what it looks like.
fn expected_in_words(message: &str) -> (&'static str, &'static str) {
    let expected = message.rsplit("expected ").next().unwrap_or_default();
    match expected {
        "a string" => ("a string", "it in double quotes"),
        "a boolean" => ("true or false", "`true` or `false`, without quotes"),
        "i64" => ("a whole number", "a whole number, without quotes"),
        "a sequence" => ("an array", "it between `[` and `]` (an array of tables: `[[name]]`)"),
        "a string or a table" => ("a string or a table", "it in double quotes"),
        // A word of a fixed set; toml's own wording.
        _ if message == "wanted string or table" => ("a string", "it in double quotes"),
        _ => ("a table", "`{ key = value }`, or a header `[name]` with the keys below it"),
    }
}

/// Hides what might be a secret typed in plain sight: strings and arrays under a telling name,
/// but not what a reference holds.
fn hide_secrets(table: &DeTable<'_>, secretive: bool, notes: &mut Notes) {
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        let is_reference = secretive && matches!(name, "env" | "file");
        let telling = (secretive && !is_reference) || name == "command" || is_secretive(name);
        match value.get_ref() {
            DeValue::Table(inner) => {
                // The table of a credential has telling names of its own inside.
                let inherits = telling && name != "credential" && name != "credentials";
                hide_secrets(inner, inherits, notes);
            }
            DeValue::Array(array) if !telling => {
                for item in array.iter() {
                    if let DeValue::Table(inner) = item.get_ref() {
                        hide_secrets(inner, false, notes);
                    }
                }
            }
            _ if telling => notes.text.hide(value.span()),
            _ => {}
        }
    }
}

fn hide_all(value: &Spanned<DeValue<'_>>, notes: &mut Notes) {
    match value.get_ref() {
        DeValue::Table(table) => table.values().for_each(|inner| hide_all(inner, notes)),
        DeValue::Array(array) => array.iter().for_each(|inner| hide_all(inner, notes)),
        _ => notes.text.hide(value.span()),
    }
}

fn is_secretive(name: &str) -> bool {
    let name = name.to_lowercase();
    SECRETIVE.iter().any(|part| name.contains(part)) && !PLAIN.contains(&name.as_str())
}

/// Where the syntax is broken nobody knows what is a value: if the line has a telling name,
/// everything after its first `=` is hidden.
fn hide_secretive_line(span: &Range<usize>, notes: &mut Notes) {
    let content = &notes.text.content;
    let at = span.start.min(content.len());
    let start = content.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |nl| nl + 1);
    let line = content.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    if let Some(equals) = line.find('=').filter(|_| is_secretive(line)) {
        let hidden = start + equals + 1..start + line.len();
        notes.text.hide(hidden);
    }
}
