//! JSON with a bound on how many values it may have: in memory a value takes many times the two bytes that it may have in
//! a file.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The values of a JSON text, one after the other, of at most `most` values in all.
pub(super) fn read(text: &str, most: usize) -> Result<Vec<Value>, serde_json::Error> {
    let left = Cell::new(most);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut values = Vec::new();
    while deserializer.end().is_err() {
        values.push(Bounded { left: &left }.deserialize(&mut deserializer)?);
    }
    Ok(values)
}

/// The one value that a JSON text is, of at most `most` values in all.
pub(crate) fn read_one(text: &str, most: usize) -> Result<Value, serde_json::Error> {
    let left = Cell::new(most);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Bounded { left: &left }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Whether an error says that there are too many values.
pub(crate) fn is_too_many(error: &serde_json::Error) -> bool {
    error.to_string().starts_with(TOO_MANY)
}

const TOO_MANY: &str = "too many values";

/// Reads one value and what is in it.
#[derive(Clone, Copy)]
struct Bounded<'a> {
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.left.get().checked_sub(1);
        self.left
            .set(left.ok_or_else(|| D::Error::custom(TOO_MANY))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            object.insert(key, entries.next_value_seed(self)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_serde_json_reads() {
        for text in [
            "",
            " \n",
            "{}",
            r#"{"a": [1, -2, 3.5, 1e300, true, null, "\u00e9\n"], "b": {"a": {}}} [] 7"#,
            "18446744073709551615",
            "{\"a\": }",
            "[1,]",
            "{\"a\": 1}}",
            "nul",
            "1e999",
        ] {
            let expected: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text)
                .into_iter()
                .collect();
            let got = read(text, 1000);
            assert_eq!(
                got.map_err(|e| e.to_string()),
                expected.map_err(|e: serde_json::Error| e.to_string()),
                "{text}"
            );
        }
    }

    #[test]
    fn the_values_are_counted_over_all_documents() {
        assert_eq!(read("[1, 2] {\"a\": 3}", 5).unwrap().len(), 2);
        let error = read("[1, 2] {\"a\": 3}", 4).unwrap_err();
        assert!(is_too_many(&error), "{error}");
        assert!(read(&"[".repeat(1000), 5000).is_err());
        assert!(read_one("[1, 2]", 3).is_ok());
        assert!(read_one("[1, 2] 3", 9).is_err());
    }
}
