//! Reads and runs the small part of SuiteQL that tests need.
//!
//! `SELECT * | column, … FROM type [WHERE column = value [AND …]]`, words in any case, text in
//! single quotes with `''` for a quote. As in public captures of SuiteQL, rows have column names in
//! lower case, and every value is a string (`T` and `F` for truth values). A column that a record
//! doesn't have is left out of its row, for the simulator knows no schema.

use serde_json::{Map, Value};

use super::records::Record;

/// A query that has been understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// Columns in lower case; all, if empty.
    columns: Vec<String>,
    /// The record type as written.
    pub kind: String,
    /// Columns in lower case, and the text each must equal.
    conditions: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

impl Select {
    /// Understands a query.
    ///
    /// # Errors
    /// What is wrong with it, as a piece of a sentence.
    pub fn parse(query: &str) -> Result<Select, String> {
        let mut reader = Reader { tokens: tokens(query)?.into_iter().peekable() };
        reader.keyword("select")?;
        let mut columns = Vec::new();
        if !reader.skip(&Token::Sign('*')) {
            columns.push(reader.name()?);
            while reader.skip(&Token::Sign(',')) {
                columns.push(reader.name()?);
            }
        }
        reader.keyword("from")?;
        let kind = reader.word()?;
        let mut conditions = Vec::new();
        if reader.tokens.peek().is_some() {
            reader.keyword("where")?;
            conditions.push(reader.condition()?);
            while reader.tokens.peek().is_some() {
                reader.keyword("and")?;
                conditions.push(reader.condition()?);
            }
        }
        Ok(Select { columns, kind, conditions })
    }

    /// The record as a row, if it meets the conditions.
    pub fn row(&self, record: &Record) -> Option<Value> {
        let holds = |(column, wanted): &(String, String)| {
            cell(record, column).is_some_and(|found| found == *wanted)
        };
        if !self.conditions.iter().all(holds) {
            return None;
        }
        let mut row = Map::new();
        row.insert("links".to_owned(), Value::Array(Vec::new()));
        let mut fill = |column: &str| {
            if let Some(text) = cell(record, column) {
                row.insert(column.to_owned(), text.into());
            }
        };
        if self.columns.is_empty() {
            ["id", "externalid"].into_iter().for_each(&mut fill);
            record.fields.keys().for_each(|name| fill(&name.to_lowercase()));
        } else {
            self.columns.iter().for_each(|column| fill(column));
        }
        Some(Value::Object(row))
    }
}

/// A column of a record as text; `None` for nothing, and for null.
fn cell(record: &Record, column: &str) -> Option<String> {
    match column {
        "id" => Some(record.id.to_string()),
        "externalid" => record.external_id.clone(),
        _ => {
            let mut fields = record.fields.iter();
            let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case(column))?;
            text(value)
        }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(true) => Some("T".to_owned()),
        Value::Bool(false) => Some("F".to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(string) => Some(string.clone()),
        // A reference to another record is its id in SuiteQL.
        Value::Object(object) => object.get("id").and_then(text),
        Value::Array(_) => None,
    }
}

struct Reader {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
}

impl Reader {
    fn skip(&mut self, token: &Token) -> bool {
        self.tokens.next_if_eq(token).is_some()
    }

    fn word(&mut self) -> Result<String, String> {
        match self.tokens.next() {
            Some(Token::Word(word)) => Ok(word),
            other => Err(format!("a name is missing{}", before(other.as_ref()))),
        }
    }

    fn name(&mut self) -> Result<String, String> {
        self.word().map(|word| word.to_lowercase())
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), String> {
        let next = self.tokens.next();
        match &next {
            Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword) => Ok(()),
            other => {
                let keyword = keyword.to_uppercase();
                Err(format!("{keyword} is missing{}", before(other.as_ref())))
            }
        }
    }

    fn condition(&mut self) -> Result<(String, String), String> {
        let column = self.name()?;
        if !self.skip(&Token::Sign('=')) {
            return Err(format!("the sandbox knows only `{column} = value`"));
        }
        match self.tokens.next() {
            Some(Token::Text(text) | Token::Word(text)) => Ok((column, text)),
            other => Err(format!("a value is missing{}", before(other.as_ref()))),
        }
    }
}

fn before(token: Option<&Token>) -> String {
    match token {
        None => " at the end".to_owned(),
        Some(Token::Word(text)) => format!(" before {text}"),
        Some(Token::Text(text)) => format!(" before '{text}'"),
        Some(Token::Sign(sign)) => format!(" before {sign}"),
    }
}

fn tokens(query: &str) -> Result<Vec<Token>, String> {
    let mut characters = query.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(next) = characters.next() {
        let token = match next {
            space if space.is_whitespace() => continue,
            '*' | ',' | '=' => Token::Sign(next),
            '\'' => {
                let mut text = String::new();
                loop {
                    match characters.next() {
                        None => return Err("a text has no end".to_owned()),
                        // Two quotes are one quote inside a text; one is its end.
                        Some('\'') if characters.next_if_eq(&'\'').is_none() => break,
                        Some(character) => text.push(character),
                    }
                }
                Token::Text(text)
            }
            letter if is_word(letter) => {
                let mut word = String::from(letter);
                while let Some(letter) = characters.next_if(|letter| is_word(*letter)) {
                    word.push(letter);
                }
                Token::Word(word)
            }
            other => return Err(format!("the sandbox doesn't know `{other}`")),
        };
        tokens.push(token);
    }
    Ok(tokens)
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '.' | '-')
}

#[cfg(test)]
mod tests {
    use super::Select;
    use crate::sandbox::netsuite::records::Record;
    use serde_json::{Value, json};

    fn row(query: &str) -> Option<Value> {
        let fields = json!({
            "companyName": "O'Hara", "balance": 12.5, "isPerson": false, "fax": null,
            "subsidiary": {"id": "3", "refName": "Parent"},
        });
        let record = Record {
            id: 7,
            external_id: Some("C7".to_owned()),
            fields: fields.as_object().unwrap().clone(),
        };
        Select::parse(query).unwrap().row(&record)
    }

    #[test]
    fn columns_are_picked_and_all_are_strings() {
        assert_eq!(
            row("SELECT * FROM customer"),
            Some(json!({
                "links": [], "id": "7", "externalid": "C7", "companyname": "O'Hara",
                "balance": "12.5", "isperson": "F", "subsidiary": "3",
            }))
        );
        assert_eq!(
            row("select ID, companyname,nothing from customer"),
            Some(json!({"links": [], "id": "7", "companyname": "O'Hara"}))
        );
    }

    #[test]
    fn conditions_all_have_to_hold() {
        for (query, hit) in [
            ("companyName = 'O''Hara'", true),
            ("companyname = 'O''Hara' AND id = 7", true),
            ("companyname = 'O''Hara' and id = 8", false),
            ("externalId = 'C7'", true),
            ("fax = ''", false),
            ("balance = 12.5", true),
            ("subsidiary = 3", true),
        ] {
            let found = row(&format!("SELECT id FROM customer WHERE {query}"));
            assert_eq!(found.is_some(), hit, "{query}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            "",
            "DELETE FROM customer",
            "SELECT FROM customer",
            "SELECT id, FROM customer",
            "SELECT id customer",
            "SELECT id FROM",
            "SELECT id FROM customer WHERE",
            "SELECT id FROM customer WHERE id",
            "SELECT id FROM customer WHERE id > 1",
            "SELECT id FROM customer WHERE id = ",
            "SELECT id FROM customer WHERE id = 1 OR id = 2",
            "SELECT id FROM customer WHERE id = 'x",
            "SELECT id FROM customer ORDER BY id",
            "SELECT id FROM customer; DROP",
        ] {
            assert!(Select::parse(bad).is_err(), "{bad}");
        }
    }
}
