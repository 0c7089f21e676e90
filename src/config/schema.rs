//! JSON Schemas of the files, from the types that read them.

use super::raw::RawGateway;
use super::raw::policy::RawPolicy;
use super::raw::profile::RawProfile;
use schemars::SchemaGenerator;
use serde_json::Value;

/// The schema of gateway.toml.
pub fn gateway() -> Value {
    without_null(SchemaGenerator::default().into_root_schema_for::<RawGateway>().to_value())
}

/// The schema of a client's policy.
pub fn policy() -> Value {
    without_null(SchemaGenerator::default().into_root_schema_for::<RawPolicy>().to_value())
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

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTATION: &str = include_str!("../../docs/configuration.md");

    /// Every key of the schema, with its default.
    fn keys(value: &Value, found: &mut Vec<(String, Option<Value>)>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::Object(properties)) = members.get("properties") {
                    let each = properties.iter();
                    found.extend(each.map(|(key, of)| (key.clone(), of.get("default").cloned())));
                }
                members.values().for_each(|member| keys(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_key_is_documented_with_its_default() {
        let mut found = Vec::new();
        keys(&gateway(), &mut found);
        keys(&profile(), &mut found);
        assert!(found.len() > 50, "{found:?}");
        for (key, default) in found {
            let row = DOCUMENTATION.lines().find(|line| match &default {
                Some(Value::Array(_)) | None => {
                    line.contains(&format!("`{key}`"))
                        || line.contains(&format!("## `[{key}"))
                        || line.contains(&format!("## `[[{key}"))
                }
                Some(default) => {
                    line.starts_with(&format!("| `{key}` |")) && line.contains(&default.to_string())
                }
            });
            assert!(row.is_some(), "`{key}` (default {default:?}) in docs/configuration.md");
        }
    }

    #[test]
    fn a_schema_is_for_toml() {
        for (schema, required) in [(gateway(), Some("listener")), (profile(), None)] {
            let text = schema.to_string();
            assert!(!text.contains("null") && !text.contains("RawReference2"), "{text}");
            assert_eq!(schema["additionalProperties"], false);
            assert_eq!(schema["required"][0].as_str(), required);
        }
        let gateway = gateway();
        assert_eq!(gateway["$defs"]["RawRoute"]["required"], serde_json::json!(["name", "vendor"]));
        let timeout = &gateway["$defs"]["RawListener"]["properties"]["idle_timeout"];
        assert_eq!(timeout["type"], "string");
        assert_eq!(timeout["default"], "60s");
    }
}
