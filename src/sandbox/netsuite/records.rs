//! Keeps the records of the account, by type, internal id and external id.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Records in all, so that a load test can't fill the memory.
const RECORDS_MAX: usize = 1_000_000;

/// The members of a record, without `id`, `links` and `externalId`.
pub type Fields = Map<String, Value>;

/// A record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Counted from 1 in each type.
    pub id: u64,
    /// Unique in its type.
    pub external_id: Option<String>,
    /// The rest.
    pub fields: Fields,
}

/// How a path names a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// `/customer/42`
    Internal(u64),
    /// `/customer/eid:C42`
    External(String),
}

/// What a body says about the external id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// Nothing.
    Keep,
    /// `null`.
    Clear,
    /// A value.
    Set(String),
}

/// Why a write took no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No such record.
    Missing,
    /// Another record of the type has that external id.
    Duplicate,
    /// The simulator holds as many records as it can.
    Full,
}

/// All records.
#[derive(Debug, Default)]
pub struct Records {
    tables: BTreeMap<String, Table>,
    count: usize,
}

#[derive(Debug, Default)]
struct Table {
    last_id: u64,
    by_id: BTreeMap<u64, Record>,
    by_external_id: BTreeMap<String, u64>,
}

impl Table {
    fn id(&self, key: &Key) -> Option<u64> {
        match key {
            Key::Internal(id) => self.by_id.contains_key(id).then_some(*id),
            Key::External(external_id) => self.by_external_id.get(external_id).copied(),
        }
    }
}

impl Records {
    /// Creates a record and gives its id.
    ///
    /// # Errors
    /// When the external id is taken, or there is no room.
    pub fn create(
        &mut self,
        kind: &str,
        external_id: Option<String>,
        fields: Fields,
    ) -> Result<u64, Refused> {
        if self.count >= RECORDS_MAX {
            return Err(Refused::Full);
        }
        let table = self.tables.entry(kind.to_owned()).or_default();
        if let Some(external_id) = &external_id {
            if table.by_external_id.contains_key(external_id) {
                return Err(Refused::Duplicate);
            }
            table.by_external_id.insert(external_id.clone(), table.last_id + 1);
        }
        table.last_id += 1;
        let id = table.last_id;
        table.by_id.insert(id, Record { id, external_id, fields });
        self.count += 1;
        Ok(id)
    }

    /// Merges fields into a record and gives it back as it is now.
    ///
    /// # Errors
    /// When there is no such record, or the new external id is taken.
    pub fn update(
        &mut self,
        kind: &str,
        key: &Key,
        naming: Naming,
        fields: Fields,
    ) -> Result<&Record, Refused> {
        let table = self.tables.get_mut(kind).ok_or(Refused::Missing)?;
        let id = table.id(key).ok_or(Refused::Missing)?;
        let record = table.by_id.get_mut(&id).ok_or(Refused::Missing)?;
        if let Naming::Set(name) = &naming
            && table.by_external_id.get(name).is_some_and(|owner| *owner != id)
        {
            return Err(Refused::Duplicate);
        }
        if naming != Naming::Keep
            && let Some(old) = record.external_id.take()
        {
            table.by_external_id.remove(&old);
        }
        if let Naming::Set(name) = naming {
            table.by_external_id.insert(name.clone(), id);
            record.external_id = Some(name);
        }
        record.fields.extend(fields);
        Ok(record)
    }

    /// Creates or updates the record with that external id, and gives its internal id.
    ///
    /// # Errors
    /// When there is no room for a new one.
    pub fn upsert(
        &mut self,
        kind: &str,
        external_id: &str,
        fields: Fields,
    ) -> Result<u64, Refused> {
        let key = Key::External(external_id.to_owned());
        if self.find(kind, &key).is_some() {
            return self.update(kind, &key, Naming::Keep, fields).map(|record| record.id);
        }
        self.create(kind, Some(external_id.to_owned()), fields)
    }

    /// Removes a record and gives it back.
    pub fn delete(&mut self, kind: &str, key: &Key) -> Option<Record> {
        let table = self.tables.get_mut(kind)?;
        let id = table.id(key)?;
        let record = table.by_id.remove(&id)?;
        if let Some(external_id) = &record.external_id {
            table.by_external_id.remove(external_id);
        }
        self.count -= 1;
        Some(record)
    }

    /// The record, if there is one.
    pub fn find(&self, kind: &str, key: &Key) -> Option<&Record> {
        let table = self.tables.get(kind)?;
        table.by_id.get(&table.id(key)?)
    }

    /// How many records a type has, and all of them by internal id.
    pub fn list(&self, kind: &str) -> (usize, impl Iterator<Item = &Record>) {
        let table = self.tables.get(kind);
        let count = table.map_or(0, |table| table.by_id.len());
        (count, table.into_iter().flat_map(|table| table.by_id.values()))
    }

    /// The types that have ever had a record.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    /// Records by type.
    pub fn counts(&self) -> Value {
        let count = |(kind, table): (&String, &Table)| (kind.clone(), table.by_id.len().into());
        Value::Object(self.tables.iter().map(count).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Fields, Key, Naming, Records, Refused};
    use serde_json::json;

    fn fields(value: serde_json::Value) -> Fields {
        value.as_object().unwrap().clone()
    }

    fn external(name: &str) -> Key {
        Key::External(name.to_owned())
    }

    #[test]
    fn internal_ids_count_from_one_in_each_type_and_are_never_used_again() {
        let mut records = Records::default();
        assert_eq!(records.create("a", None, Fields::new()), Ok(1));
        assert_eq!(records.create("a", None, Fields::new()), Ok(2));
        assert_eq!(records.create("b", None, Fields::new()), Ok(1));
        assert!(records.delete("a", &Key::Internal(2)).is_some());
        assert!(records.delete("a", &Key::Internal(2)).is_none());
        assert_eq!(records.create("a", None, Fields::new()), Ok(3));
        assert_eq!(records.counts(), json!({"a": 2, "b": 1}));
    }

    #[test]
    fn an_external_id_names_one_record_of_its_type() {
        let mut records = Records::default();
        records.create("a", Some("X".to_owned()), Fields::new()).unwrap();
        let again = records.create("a", Some("X".to_owned()), Fields::new());
        assert_eq!(again, Err(Refused::Duplicate));
        assert_eq!(records.create("b", Some("X".to_owned()), Fields::new()), Ok(1));
        assert_eq!(records.find("a", &external("X")).unwrap().id, 1);
        records.delete("a", &Key::Internal(1));
        assert_eq!(records.find("a", &external("X")), None);
        assert_eq!(records.create("a", Some("X".to_owned()), Fields::new()), Ok(2));
    }

    #[test]
    fn an_update_merges_and_can_rename() {
        let mut records = Records::default();
        records.create("a", Some("X".to_owned()), fields(json!({"p": 1, "q": 2}))).unwrap();
        records.create("a", Some("Y".to_owned()), Fields::new()).unwrap();
        let new = fields(json!({"q": null, "r": 3}));
        let record = records.update("a", &external("X"), Naming::Keep, new).unwrap();
        assert_eq!(record.fields, fields(json!({"p": 1, "q": null, "r": 3})));

        let rename = |records: &mut Records, naming| {
            records.update("a", &Key::Internal(1), naming, Fields::new()).map(|record| record.id)
        };
        let taken = rename(&mut records, Naming::Set("Y".to_owned()));
        assert_eq!(taken, Err(Refused::Duplicate));
        assert_eq!(rename(&mut records, Naming::Set("X".to_owned())), Ok(1));
        assert_eq!(rename(&mut records, Naming::Set("Z".to_owned())), Ok(1));
        assert_eq!(records.find("a", &external("X")), None);
        assert_eq!(records.find("a", &external("Z")).unwrap().id, 1);
        assert_eq!(rename(&mut records, Naming::Clear), Ok(1));
        assert_eq!(records.find("a", &external("Z")), None);
        let missing = records.update("a", &Key::Internal(9), Naming::Keep, Fields::new());
        assert_eq!(missing, Err(Refused::Missing));
    }

    #[test]
    fn an_upsert_creates_once_and_then_updates() {
        let mut records = Records::default();
        assert_eq!(records.upsert("a", "X", fields(json!({"p": 1}))), Ok(1));
        assert_eq!(records.upsert("a", "X", fields(json!({"q": 2}))), Ok(1));
        let record = records.find("a", &Key::Internal(1)).unwrap();
        assert_eq!(record.fields, fields(json!({"p": 1, "q": 2})));
    }
}
