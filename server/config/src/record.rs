//! Test only: a deserializer that is given no data and records what a type asks for, to hold [`crate::file`] and the
//! key table equal.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use crate::file::File;
use crate::{KEYS, ValueType};

/// What a type asks for at each path.
type Asked = BTreeMap<String, &'static str>;

struct Recorder<'a> {
    path: String,
    asked: &'a mut Asked,
}

#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl Recorder<'_> {
    fn record(&mut self, kind: &'static str) {
        if !self.path.is_empty() {
            self.asked.entry(self.path.clone()).or_insert(kind);
        }
    }
}

/// Gives a struct each of its fields, or a map one entry.
struct Fields<'a> {
    path: String,
    names: Vec<&'static str>,
    at: usize,
    asked: &'a mut Asked,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        let Some(name) = self.names.get(self.at) else { return Ok(None) };
        if *name == "*" {
            // A map's key may be a struct of its own: `Spanned<String>`.
            let mut ignored = Asked::new();
            return seed.deserialize(Recorder { path: String::new(), asked: &mut ignored }).map(Some);
        }
        seed.deserialize(de::value::BorrowedStrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        let name = self.names[self.at];
        self.at += 1;
        if name.starts_with('$') {
            if name.ends_with("value") {
                return seed.deserialize(Recorder { path: self.path.clone(), asked: self.asked });
            }
            return seed.deserialize(de::value::U64Deserializer::new(0));
        }
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        seed.deserialize(Recorder { path, asked: self.asked })
    }
}

struct One<'a> {
    recorder: Option<Recorder<'a>>,
}

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refused> {
        self.recorder.take().map(|recorder| seed.deserialize(recorder)).transpose()
    }
}

impl<'de> de::Deserializer<'de> for Recorder<'_> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        self.record("any");
        visitor.visit_bool(true)
    }

    fn deserialize_bool<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        self.record("boolean");
        visitor.visit_bool(true)
    }

    fn deserialize_u8<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        self.record("integer");
        visitor.visit_u8(1)
    }

    fn deserialize_string<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        self.record("string");
        visitor.visit_str("")
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        self.record("list");
        // The strings of a list have no row of their own, the tables of a list have: their fields' paths leave it out.
        visitor.visit_seq(One { recorder: Some(self) })
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        self.record("table");
        visitor.visit_map(Fields { path: self.path, names: vec!["*"], at: 0, asked: self.asked })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        if !name.starts_with('$') {
            self.record("table");
        }
        visitor.visit_map(Fields { path: self.path, names: fields.to_vec(), at: 0, asked: self.asked })
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u16 u32 u64 u128 f32 f64 char str bytes byte_buf unit unit_struct newtype_struct tuple
        tuple_struct enum identifier ignored_any
    }
}

#[test]
fn the_key_table_and_the_structs_have_the_same_keys_of_the_same_types() {
    let mut asked = Asked::new();
    File::deserialize(Recorder { path: String::new(), asked: &mut asked }).unwrap();
    let table: Asked = KEYS
        .iter()
        .map(|key| {
            let kind = match key.value {
                ValueType::BoolOrNames => "any",
                ValueType::Bool => "boolean",
                ValueType::Integer(..) => "integer",
                ValueType::Strings | ValueType::Tables => "list",
                ValueType::Table | ValueType::Map => "table",
                _ => "string",
            };
            (key.path.to_owned(), kind)
        })
        .collect();
    assert_eq!(asked, table);
}
