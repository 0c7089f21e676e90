//! JSON Schemas of the files, from the types that read them.

use super::raw::RawGateway;
use super::raw::profile::RawProfile;
use schemars::SchemaGenerator;
use serde_json::Value;

/// The schema of gateway.toml.
pub fn gateway() -> Value {
    without_null(SchemaGenerator::default().into_root_schema_for::<RawGateway>().to_value())
}

/// The schema of a vendor profile.
pub fn profile() -> Value {
    without_null(SchemaGenerator::default().into_root_schema_for::<RawProfile>().to_value())
}

/// TOML has no null: what may be left out is not written at all.
fn without_null(mut value: Value) -> Value {
    strip(&mut value);
    value
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    members.insert("type".to_owned(), only);
                }
            }
            unwrap_option(members);
            members.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// `{"anyOf": [X, {"type": "null"}]}` is X.
fn unwrap_option(members: &mut serde_json::Map<String, Value>) {
    let Some(Value::Array(choices)) = members.get_mut("anyOf") else { return };
    choices.retain(|choice| choice.get("type") != Some(&Value::from("null")));
    let [Value::Object(only)] = choices.as_slice() else { return };
    let only = only.clone();
    members.remove("anyOf");
    for (key, member) in only {
        // What is said of the key comes before what is said of its type.
        members.entry(key).or_insert(member);
    }
}
