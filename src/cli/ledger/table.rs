//! Entries for people: aligned, and without characters that a terminal would act on.

use crate::adapters::ledger::entry::Standing;
use crate::config::problem::deceives;
use serde_json::Value;

/// The columns of a list.
const HEADS: [&str; 8] = ["ID", "SINCE", "AGE", "CLIENT", "VENDOR", "REQUEST", "STATUS", "KEY"];
/// Characters of a cell.
const CELL_MAX: usize = 60;
/// What stands where nothing does.
const NOTHING: &str = "-";

/// A page of entries.
pub fn list(page: &Value, standing: Standing) -> String {
    let entries = page["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    let state = standing.word();
    let mut text = match entries {
        [] => format!("no entry is {state}\n"),
        _ => {
            let heads = HEADS.map(str::to_owned);
            let rows: Vec<_> = std::iter::once(heads).chain(entries.iter().map(row)).collect();
            aligned(&rows)
        }
    };
    if let Some(next) = page["next"].as_i64() {
        text.push_str(&format!("more: erpgate ledger list --state {state} --after {next}\n"));
    }
    text
}

fn row(entry: &Value) -> [String; 8] {
    let since = word(&entry["since"]);
    let since = since.split_once('.').map_or(since.clone(), |(seconds, _)| format!("{seconds}Z"));
    let cells = [
        word(&entry["id"]),
        since,
        age(&entry["age_seconds"]),
        word(&entry["client"]),
        word(&entry["vendor"]),
        format!("{} {}", word(&entry["method"]), word(&entry["path"])),
        word(&entry["status"]),
        word(&entry["key"]),
    ];
    cells.map(|cell| short(&cell))
}

fn aligned(rows: &[[String; 8]]) -> String {
    let mut widths = [0; 8];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// One entry, and what can be done about it.
pub fn entry(entry: &Value) -> String {
    let (id, state) = (word(&entry["id"]), word(&entry["state"]));
    let mut text = format!("entry {id}: {state}\n");
    let since = format!("{} ({})", word(&entry["since"]), age(&entry["age_seconds"]));
    let kept = if entry["answer_kept"] == true { "kept" } else { "not kept" };
    for (name, value) in [
        ("request", format!("{} {}", word(&entry["method"]), word(&entry["path"]))),
        ("client", word(&entry["client"])),
        ("vendor", word(&entry["vendor"])),
        ("route", word(&entry["route"])),
        ("key", word(&entry["key"])),
        ("vendor key", word(&entry["vendor_key"])),
        ("correlation id", word(&entry["correlation_id"])),
        ("attempts", word(&entry["attempts"])),
        ("first claimed", word(&entry["first_claimed"])),
        ("since", since),
        ("status", word(&entry["status"])),
        ("answer", kept.to_owned()),
        ("generation", word(&entry["generation"])),
    ] {
        text.push_str(&format!("  {name:<16}{}\n", plain(&value)));
    }
    text.push_str(&answer(&entry["answer"]));
    if let Some(trouble) = entry["answer_trouble"].as_str() {
        text.push_str(&format!("\nthe answer can't be shown: {}\n", plain(trouble)));
    }
    if state == Standing::Unknown.word() {
        text.push_str(&format!(
            "\nLook it up at the vendor, then say what is so:\n  \
             erpgate ledger resolve {id} --as executed\n  \
             erpgate ledger resolve {id} --as not-executed\n"
        ));
    }
    text
}

fn answer(answer: &Value) -> String {
    if !answer.is_object() {
        return String::new();
    }
    let mut text = format!("\n{}\n", word(&answer["status"]));
    for field in answer["fields"].as_array().into_iter().flatten() {
        let line = format!("{}: {}", word(&field["name"]), word(&field["value"]));
        text.push_str(&plain(&line));
        text.push('\n');
    }
    match (answer["body"].as_str(), answer["body_base64"].as_str()) {
        (Some(""), _) | (None, None) => {}
        (Some(body), _) => {
            let lines: Vec<String> = body.split('\n').map(plain).collect();
            text.push_str(&format!("\n{}\n", lines.join("\n").trim_end()));
        }
        (None, Some(_)) => text.push_str("\nThe body is not text: --format json shows it.\n"),
    }
    text
}

/// What has become of an entry.
pub fn settled(entry: &Value) -> String {
    let id = word(&entry["id"]);
    let (answered, kept) = (entry["state"] == "answered", entry["answer_kept"] == true);
    match (answered, kept) {
        (true, true) => format!(
            "entry {id} is settled as executed: the key gets status {} from now on\n",
            word(&entry["status"])
        ),
        (true, false) => format!(
            "entry {id} is settled as executed: the key gets `answer-not-kept` from now on\n"
        ),
        _ => format!(
            "entry {id} is settled as not executed: the key is free, and the next request with it \
             is sent\n"
        ),
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => NOTHING.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn age(seconds: &Value) -> String {
    match seconds.as_u64().unwrap_or(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

fn short(cell: &str) -> String {
    let cell = plain(cell);
    if cell.chars().count() <= CELL_MAX {
        return cell;
    }
    cell.chars().take(CELL_MAX - 1).chain(['…']).collect()
}

/// What can't be seen, or would move the cursor, is escaped.
fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push(c),
            c if deceives(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample(key: &str) -> Value {
        json!({
            "id": 7, "state": "unknown", "client": "shiphawk", "vendor": "netsuite",
            "route": "ns", "method": "POST", "path": "/orders", "key": key, "vendor_key": null,
            "correlation_id": "c-7", "attempts": 1, "first_claimed": "2026-11-30T03:00:00.125Z",
            "since": "2026-11-30T03:00:01.500Z", "age_seconds": 7300, "status": 503,
            "answer_kept": true, "generation": 3,
        })
    }

    #[test]
    fn a_list_is_aligned_and_says_how_to_go_on() {
        let mut second = sample("\u{1b}[31mred\u{202e}");
        second["id"] = 1234.into();
        second["status"] = Value::Null;
        let page = json!({ "entries": [sample("INV-7"), second], "next": 1234 });
        let expected = "\
ID    SINCE                 AGE  CLIENT    VENDOR    REQUEST       STATUS  KEY
7     2026-11-30T03:00:01Z  2h   shiphawk  netsuite  POST /orders  503     INV-7
1234  2026-11-30T03:00:01Z  2h   shiphawk  netsuite  POST /orders  -       \\u{1b}[31mred\\u{202e}
more: erpgate ledger list --state unknown --after 1234
";
        assert_eq!(list(&page, Standing::Unknown), expected);
        let none = json!({ "entries": [], "next": null });
        assert_eq!(list(&none, Standing::InFlight), "no entry is in-flight\n");
        let long = short(&"é".repeat(61));
        assert_eq!((long.chars().count(), long.ends_with("é…")), (60, true));
    }

    #[test]
    fn an_entry_is_shown_with_its_answer_and_what_to_do() {
        let mut shown = sample("INV-7");
        let fields = json!([{ "name": "location", "value": "/a" }]);
        shown["answer"] = json!({ "status": 503, "fields": fields, "body": "busy\u{7}\n\n" });
        let expected = "\
entry 7: unknown
  request         POST /orders
  client          shiphawk
  vendor          netsuite
  route           ns
  key             INV-7
  vendor key      -
  correlation id  c-7
  attempts        1
  first claimed   2026-11-30T03:00:00.125Z
  since           2026-11-30T03:00:01.500Z (2h)
  status          503
  answer          kept
  generation      3

503
location: /a

busy\\u{7}

Look it up at the vendor, then say what is so:
  erpgate ledger resolve 7 --as executed
  erpgate ledger resolve 7 --as not-executed
";
        assert_eq!(entry(&shown), expected);
        shown["state"] = "answered".into();
        shown["answer"] = json!({ "status": 200, "fields": [], "body_base64": "/w==" });
        let text = entry(&shown);
        assert!(text.ends_with("200\n\nThe body is not text: --format json shows it.\n"), "{text}");
    }

    #[test]
    fn ages_are_short() {
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7199, "119m"),
            (172_799, "47h"),
            (172_800, "2d"),
        ] {
            assert_eq!(age(&json!(seconds)), expected);
        }
    }
}
