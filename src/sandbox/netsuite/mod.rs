//! Decides what a NetSuite account answers: pure, from a command and the records it holds.

mod command;
mod page;
mod problem;
mod records;
mod suiteql;

use std::collections::BTreeSet;

use http::StatusCode;
use http::header::LOCATION;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Media};
pub use command::{Command, is_restlet};
use page::Page;
pub use problem::Problem;
pub use records::Records;
use records::{Key, Record, Refused};
use suiteql::Select;

/// Longest request body, 104 MB [N2].
pub const BODY_BYTES_MAX: u64 = 104_000_000;

/// SuiteQL shows no row beyond this one [N39].
const QUERY_ROWS_MAX: usize = 100_000;

/// Types that the account knows before it has a record of them.
const KNOWN_KINDS: [&str; 10] = [
    "contact",
    "customer",
    "employee",
    "inventoryItem",
    "invoice",
    "itemFulfillment",
    "purchaseOrder",
    "salesOrder",
    "vendor",
    "vendorBill",
];

/// Scheme and authority of the links in our answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// From a `Host` header.
    pub fn new(host: &str) -> Origin {
        Origin(format!("http://{host}"))
    }

    fn kind(&self, kind: &str) -> String {
        format!("{}/services/rest/record/v1/{kind}", self.0)
    }

    fn record(&self, kind: &str, id: u64) -> String {
        format!("{}/{id}", self.kind(kind))
    }
}

/// A write that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// Of the record that was written.
    pub external_id: Option<String>,
}

/// What came of a command.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What the client is told.
    pub answer: Answer,
    /// What was booked, if anything was.
    pub booking: Option<Booking>,
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Outcome {
        Outcome { answer, booking: None }
    }
}

impl From<Refused> for Outcome {
    fn from(refused: Refused) -> Outcome {
        let problem = match refused {
            Refused::Missing => Problem::nonexistent(),
            Refused::Duplicate => Problem::duplicate(),
            Refused::Full => Problem::full(),
        };
        problem.answer().into()
    }
}

impl Command {
    /// Carries the command out.
    pub fn execute(self, records: &mut Records, origin: &Origin, concurrency: usize) -> Outcome {
        match self {
            Command::Create { kind, external_id, fields } => {
                let booking = Booking { external_id: external_id.clone() };
                match records.create(&kind, external_id, fields) {
                    Ok(id) => written(origin, &kind, id, booking),
                    Err(refused) => refused.into(),
                }
            }
            Command::Update { kind, key, naming, fields } => {
                match records.update(&kind, &key, naming, fields) {
                    Ok(record) => {
                        let booking = Booking { external_id: record.external_id.clone() };
                        written(origin, &kind, record.id, booking)
                    }
                    Err(refused) => refused.into(),
                }
            }
            Command::Upsert { kind, external_id, fields } => {
                match records.upsert(&kind, &external_id, fields) {
                    Ok(id) => {
                        written(origin, &kind, id, Booking { external_id: Some(external_id) })
                    }
                    Err(refused) => refused.into(),
                }
            }
            Command::Delete { kind, key } => match records.delete(&kind, &key) {
                Some(record) => Outcome {
                    answer: Answer::empty(),
                    booking: Some(Booking { external_id: record.external_id }),
                },
                None => Refused::Missing.into(),
            },
            Command::Read { kind, key } => read(records, origin, &kind, &key),
            Command::List { kind, page } => list(records, origin, &kind, page).into(),
            Command::Query { select, page } => query(records, origin, &select, page),
            Command::Catalog => catalog(records, origin).into(),
            Command::Governance => governance(concurrency).into(),
            Command::Restlet { booked } => Outcome {
                answer: Answer::json(StatusCode::OK, Media::Json, &json!({ "success": true })),
                booking: booked.map(|external_id| Booking { external_id }),
            },
        }
    }
}

/// 204, an absolute `Location` and no body, for a creation as for an update [N41].
fn written(origin: &Origin, kind: &str, id: u64, booking: Booking) -> Outcome {
    let answer = Answer::empty().with(LOCATION, &origin.record(kind, id));
    Outcome { answer, booking: Some(booking) }
}

fn read(records: &Records, origin: &Origin, kind: &str, key: &Key) -> Outcome {
    let Some(record) = records.find(kind, key) else {
        return Refused::Missing.into();
    };
    let mut members = reference(origin, kind, record);
    if let Some(external_id) = &record.external_id {
        members.insert("externalId".to_owned(), external_id.as_str().into());
    }
    members.extend(record.fields.clone());
    Answer::json(StatusCode::OK, Media::Singular, &Value::Object(members)).into()
}

/// A record as a collection shows it: its link and its id.
fn reference(origin: &Origin, kind: &str, record: &Record) -> Map<String, Value> {
    let href = origin.record(kind, record.id);
    let mut members = Map::new();
    members.insert("links".to_owned(), json!([{"rel": "self", "href": href}]));
    members.insert("id".to_owned(), record.id.to_string().into());
    members
}

fn list(records: &Records, origin: &Origin, kind: &str, page: Page) -> Answer {
    let (total, all) = records.list(kind);
    let items = all
        .skip(page.offset)
        .take(page.limit)
        .map(|record| Value::Object(reference(origin, kind, record)))
        .collect();
    let document = page.document(&origin.kind(kind), items, total);
    Answer::json(StatusCode::OK, Media::Collection, &document)
}

fn query(records: &Records, origin: &Origin, select: &Select, page: Page) -> Outcome {
    let kinds = kinds(records);
    let Some(kind) = kinds.iter().find(|kind| kind.eq_ignore_ascii_case(&select.kind)) else {
        return Problem::query(&format!("Record '{}' was not found", select.kind)).answer().into();
    };
    let (_, all) = records.list(kind);
    let rows: Vec<Value> =
        all.filter_map(|record| select.row(record)).take(QUERY_ROWS_MAX).collect();
    let total = rows.len();
    let items = rows.into_iter().skip(page.offset).take(page.limit).collect();
    let url = format!("{}/services/rest/query/v1/suiteql", origin.0);
    let document = page.document(&url, items, total);
    Answer::json(StatusCode::OK, Media::Collection, &document).into()
}

fn kinds(records: &Records) -> BTreeSet<&str> {
    KNOWN_KINDS.into_iter().chain(records.kinds()).collect()
}

fn catalog(records: &Records, origin: &Origin) -> Answer {
    let item = |kind: &str| {
        let href = origin.kind(&format!("metadata-catalog/{kind}"));
        json!({"name": kind, "links": [{"rel": "canonical", "href": href}]})
    };
    let items: Vec<Value> = kinds(records).into_iter().map(item).collect();
    Answer::json(StatusCode::OK, Media::Collection, &json!({ "items": items }))
}

/// As documented for an integration without a limit of its own [N18]; here nothing of the account
/// is allocated. The real one answers administrators only.
fn governance(concurrency: usize) -> Answer {
    let document = json!({
        "accountConcurrencyLimit": concurrency,
        "accountUnallocatedConcurrencyLimit": concurrency,
        "integrationLimitType": "accountLimit",
    });
    Answer::json(StatusCode::OK, Media::Singular, &document)
}
