//! The key table as a JSON Schema, for editors and tools that know no vmtest.

use serde_json::{Map, Value, json};

use crate::key::{Default, Key, SYSTEM_KEYS, ValueType};
use crate::table::KEYS;
use crate::value::{DURATION_PATTERN, MEMORY_PATTERN, SHA256_PATTERN, URL_PATTERN};

/// JSON Schema (draft 7, which every TOML tool reads) of a vmtest.toml.
///
/// It says what one key says for itself and what keys of one table say together. Rules across tables, such as `vm.bios`
/// with `uefi`, are vmtest's own to check.
pub fn json_schema() -> Value {
    let root = &KEYS[0];
    let mut schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "vmtest.toml",
        "description": "What to test in virtual machines, and under which kernels.",
        "type": "object",
        "properties": {},
        "required": [root.name()],
        "additionalProperties": false,
    });
    schema["properties"][root.name()] = of(root);
    schema
}

fn of(key: &Key) -> Value {
    let mut schema = match key.value {
        ValueType::Text | ValueType::KernelArgs => json!({ "type": "string" }),
        ValueType::NonEmptyText | ValueType::Path(_) => json!({ "type": "string", "minLength": 1 }),
        ValueType::Package => json!({ "type": "string", "pattern": r"^[^-\s]\S*$" }),
        ValueType::Choice(values) => json!({ "type": "string", "enum": values }),
        ValueType::Bool => json!({ "type": "boolean" }),
        ValueType::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        ValueType::Duration => json!({ "type": "string", "pattern": DURATION_PATTERN }),
        ValueType::Memory => json!({ "type": "string", "pattern": MEMORY_PATTERN }),
        ValueType::Url => json!({ "type": "string", "pattern": URL_PATTERN }),
        ValueType::Sha256 => json!({ "type": "string", "pattern": SHA256_PATTERN }),
        ValueType::Strings => json!({ "type": "array", "items": { "type": "string" } }),
        ValueType::BoolOrNames => json!({ "anyOf": [
            { "type": "boolean" },
            { "type": "array", "items": { "type": "string", "pattern": "^[^=]+$" } },
        ] }),
        ValueType::Table => table(key),
        ValueType::Map => map(key),
        ValueType::Tables => json!({ "type": "array", "minItems": 1, "items": table(key) }),
    };
    schema["description"] = key.doc.into();
    if let Default::Value(default) = key.default {
        schema["default"] = toml_to_json(default);
    }
    schema
}

fn table(key: &Key) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut dependencies = Map::new();
    for child in key.children() {
        properties.insert(child.name().to_owned(), of(child));
        if child.default == Default::Required {
            required.push(child.name());
        }
        if child.needs.iter().any(|needed| key.child(needed).is_none()) {
            continue;
        }
        match child.needs {
            [] => {}
            [one] => drop(dependencies.insert(child.name().to_owned(), json!([one]))),
            several => {
                let any: Vec<Value> = several.iter().map(|key| json!({ "required": [key] })).collect();
                dependencies.insert(child.name().to_owned(), json!({ "anyOf": any }));
            }
        }
    }
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    // `uefi = false` needs no image: what a value means is more than a dependency can say.
    dependencies.remove("uefi");
    if !dependencies.is_empty() {
        schema["dependencies"] = dependencies.into();
    }
    if key.parent_path().is_none() {
        schema["oneOf"] = SYSTEM_KEYS.iter().map(|key| json!({ "required": [key] })).collect();
    }
    schema
}

fn map(key: &Key) -> Value {
    let mut schema = json!({ "type": "object", "propertyNames": { "minLength": 1 } });
    if let Some(child) = key.children().next() {
        schema["additionalProperties"] = of(child);
    }
    schema
}

fn toml_to_json(text: &str) -> Value {
    let value = text.parse::<toml::Value>().ok();
    value.and_then(|value| serde_json::to_value(value).ok()).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use super::*;

    #[test]
    fn the_schema_in_the_tree_is_the_tables() {
        let schema = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
        expect_file!["../../../docs/vmtest.schema.json"].assert_eq(&schema);
    }

    #[test]
    fn every_key_is_in_the_schema() {
        let schema = json_schema();
        for key in KEYS {
            let mut at = &schema;
            for part in key.path.split('.') {
                if at["type"] == "array" {
                    at = &at["items"];
                }
                at = if part == "*" { &at["additionalProperties"] } else { &at["properties"][part] };
            }
            assert_eq!(at["description"], key.doc, "{}", key.path);
        }
    }

    #[test]
    fn defaults_are_json_of_the_right_type() {
        for key in KEYS {
            if let Default::Value(default) = key.default {
                assert_ne!(toml_to_json(default), Value::Null, "{}", key.path);
            }
        }
    }
}
