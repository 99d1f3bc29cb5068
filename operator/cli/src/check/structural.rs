//! A structural schema held against a value, as an API server does it: defaults are filled in, then everything is checked.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::nearest::nearest;
use super::problem::{MAX_PROBLEMS, Problem, count, quoted, report};
use super::scalars::{check_number, check_text};
use crate::input::FieldPath;

/// Fills in the defaults of `schema` and appends what is wrong with `value` to `problems`.
pub(crate) fn check(
    schema: &Value,
    value: &mut Value,
    at: &FieldPath,
    problems: &mut Vec<Problem>,
) {
    if problems.len() >= MAX_PROBLEMS {
        return;
    }
    let before = problems.len();
    if int_or_string(schema) {
        if !value.is_string() && !value.is_i64() && !value.is_u64() {
            report(
                problems,
                at,
                format!("must be text or a whole number, not {}", shown(value)),
            );
        }
    } else if let Some(wanted) = schema.get("type").and_then(Value::as_str) {
        check_type(wanted, value, at, problems);
    }
    if problems.len() > before {
        return;
    }
    check_one_of_values(schema, value, at, problems);
    match value {
        Value::Object(object) => check_object(schema, object, at, problems),
        Value::Array(items) => check_list(schema, items, at, problems),
        Value::String(text) => check_text(schema, text, at, problems),
        Value::Number(_) => check_number(schema, value, at, problems),
        Value::Bool(_) | Value::Null => {}
    }
}

fn int_or_string(schema: &Value) -> bool {
    schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true))
}

fn keeps_unknown(schema: &Value) -> bool {
    schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
}

fn check_type(wanted: &str, value: &mut Value, at: &FieldPath, problems: &mut Vec<Problem>) {
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        // `8.0` is a whole number for an API server too.
        "integer" => {
            if let Some(whole) = value
                .as_f64()
                .filter(|f| value.is_f64() && f.fract() == 0.0)
                && whole.abs() < 9e15
            {
                *value = Value::from(whole as i64);
            }
            value.is_i64() || value.is_u64()
        }
        _ => true,
    };
    if fits {
        return;
    }
    let shown_value = shown(value);
    let message = match (wanted, &*value) {
        (_, Value::Null) => format!("is empty; give {} or remove the field", type_word(wanted)),
        ("string", Value::Number(number)) => {
            format!("must be text, not a number; put it in quotes: \"{number}\"")
        }
        ("string", Value::Bool(yes)) => {
            format!("must be text, not true or false; put it in quotes: \"{yes}\"")
        }
        ("integer", Value::String(text)) if text.trim().parse::<i64>().is_ok() => {
            format!(
                "must be a whole number, not text; remove the quotes: {}",
                text.trim()
            )
        }
        ("array", Value::Object(_)) => {
            "must be a list, not an object; start each item with \"- \"".to_owned()
        }
        ("object", Value::Array(_)) => {
            "must be an object, not a list; remove the \"- \" at its start".to_owned()
        }
        _ => format!("must be {}, not {shown_value}", type_word(wanted)),
    };
    report(problems, at, message);
}

fn type_word(wanted: &str) -> &'static str {
    match wanted {
        "object" => "an object (fields indented below it)",
        "array" => "a list",
        "string" => "text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        _ => "a number",
    }
}

/// A value as a message quotes it.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Null => "empty".to_owned(),
        other => quoted(&other.to_string()),
    }
}

fn check_one_of_values(schema: &Value, value: &Value, at: &FieldPath, problems: &mut Vec<Problem>) {
    let Some(allowed) = schema.get("enum").and_then(Value::as_array) else {
        return;
    };
    if allowed.contains(value) {
        return;
    }
    let words: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
    let meant = value
        .as_str()
        .and_then(|word| nearest(word, words.iter().copied()))
        .map(|word| format!("; did you mean {word}?"))
        .unwrap_or_default();
    report(
        problems,
        at,
        format!(
            "must be one of {}, not {}{meant}",
            words.join(", "),
            shown(value)
        ),
    );
}

fn check_object(
    schema: &Value,
    object: &mut Map<String, Value>,
    at: &FieldPath,
    problems: &mut Vec<Problem>,
) {
    let properties = schema.get("properties").and_then(Value::as_object);
    let values = schema.get("additionalProperties").filter(|v| v.is_object());
    for (name, property) in properties.into_iter().flatten() {
        // An explicit null is the same as leaving out a field that has a default.
        if let Some(default) = property.get("default")
            && object.get(name).is_none_or(Value::is_null)
        {
            object.insert(name.clone(), default.clone());
        }
    }
    for name in schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !object.contains_key(name) {
            let about = properties
                .and_then(|properties| properties.get(name))
                .and_then(|property| property.get("description"))
                .and_then(Value::as_str)
                .map(|text| format!(" ({})", first_sentence(text)))
                .unwrap_or_default();
            report(
                problems,
                &at.key(name),
                format!("is missing; it is required{about}"),
            );
        }
    }
    count(schema, "Properties", object.len(), "entries", at, problems);
    for (name, value) in object.iter_mut() {
        if let Some(property) = properties.and_then(|properties| properties.get(name)) {
            check(property, value, &at.key(name), problems);
        } else if let Some(values) = values {
            check(values, value, &at.key(name), problems);
        } else if !keeps_unknown(schema) && properties.is_some() {
            let known = properties
                .into_iter()
                .flatten()
                .map(|(name, _)| name.as_str());
            report(problems, &at.key(name), unknown_field(name, known));
        }
    }
}

/// What is said about a field that does not exist.
pub(crate) fn unknown_field<'a>(
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> String {
    match nearest(name, known.clone()) {
        Some(meant) => format!("is an unknown field; did you mean {meant}?"),
        None => {
            let mut names: Vec<&str> = known.collect();
            names.sort_unstable();
            let list = quoted_list(&names);
            format!("is an unknown field; remove it, or use one of {list}")
        }
    }
}

fn quoted_list(names: &[&str]) -> String {
    let shown = names
        .iter()
        .take(30)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > 30 {
        format!("{shown}, …")
    } else {
        shown
    }
}

fn first_sentence(text: &str) -> &str {
    let end = text.find(". ").unwrap_or(text.len());
    text.get(..end).unwrap_or(text).trim_end_matches('.')
}

fn check_list(schema: &Value, items: &mut [Value], at: &FieldPath, problems: &mut Vec<Problem>) {
    count(schema, "Items", items.len(), "items", at, problems);
    if let Some(item_schema) = schema.get("items").filter(|items| items.is_object()) {
        for (index, item) in items.iter_mut().enumerate() {
            check(item_schema, item, &at.index(index), problems);
        }
    }
    let keys: Vec<&str> = schema
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let is_set = schema.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("set");
    if keys.is_empty() && !is_set {
        return;
    }
    let mut seen = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        let identity = if is_set {
            item.to_string()
        } else {
            let parts: Vec<String> = keys
                .iter()
                .map(|key| item.get(*key).map_or_else(String::new, Value::to_string))
                .collect();
            parts.join(", ")
        };
        if let Some(first) = seen.insert(identity.clone(), index) {
            let (field, what) = match keys.as_slice() {
                [key] => (at.index(index).key(key), (*key).to_owned()),
                [] => (at.index(index), "value".to_owned()),
                keys => (at.index(index), keys.join(" and ")),
            };
            report(
                problems,
                &field,
                format!(
                    "{} is given twice, here and in {}; give each {what} once",
                    quoted(&identity),
                    at.index(first)
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems(schema: Value, mut value: Value) -> (Value, Vec<String>) {
        let mut problems = Vec::new();
        check(&schema, &mut value, &FieldPath::default(), &mut problems);
        let lines = problems
            .iter()
            .map(|p| format!("{}: {}", p.field, p.message))
            .collect();
        (value, lines)
    }

    #[test]
    fn defaults_are_filled_in_before_anything_is_checked() {
        let schema = json!({"type": "object", "required": ["queue"], "properties": {
            "queue": {"type": "string", "default": "default"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}}},
        }});
        let (value, lines) = problems(schema, json!({"queue": null, "list": [{}, {"n": 2.0}]}));
        assert_eq!(
            value,
            json!({"queue": "default", "list": [{"n": 1}, {"n": 2}]})
        );
        assert_eq!(lines, Vec::<String>::new());
    }

    #[test]
    fn every_problem_names_its_field_and_what_to_do() {
        let schema = json!({"type": "object", "required": ["kind"], "properties": {
            "kind": {"type": "string", "enum": ["Cost", "Time"]},
            "rate": {"type": "string", "pattern": ampacity_api::decimal::PATTERN},
            "count": {"type": "integer", "minimum": 1.0, "maximum": 1024.0},
            "names": {"type": "array", "maxItems": 2, "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "when": {"type": "string", "format": "date-time"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        }});
        let cases = [
            (json!({}), "kind: is missing; it is required"),
            (
                json!({"kind": "cost"}),
                "kind: must be one of Cost, Time, not \"cost\"; did you mean Cost?",
            ),
            (
                json!({"kind": "Cost", "rate": 10.4}),
                "rate: must be text, not a number; put it in quotes: \"10.4\"",
            ),
            (
                json!({"kind": "Cost", "rate": "-1"}),
                "rate: must be a decimal of at least 0 with at most 12 digits before and 6 after the point, such as \"98.32\", not \"-1\"",
            ),
            (
                json!({"kind": "Cost", "count": "8"}),
                "count: must be a whole number, not text; remove the quotes: 8",
            ),
            (
                json!({"kind": "Cost", "count": 0}),
                "count: must be at least 1, not 0",
            ),
            (
                json!({"kind": "Cost", "count": 1e300}),
                "count: must be a whole number, not 1e+300",
            ),
            (
                json!({"kind": "Cost", "names": ["a", "a"]}),
                "names[1]: \"a\" is given twice, here and in names[0]; give each value once",
            ),
            (
                json!({"kind": "Cost", "names": {"a": 1}}),
                "names: must be a list, not an object; start each item with \"- \"",
            ),
            (
                json!({"kind": "Cost", "names": null}),
                "names: is empty; give a list or remove the field",
            ),
            (
                json!({"kind": "Cost", "when": "tomorrow"}),
                "when: must be a time such as \"2026-12-01T08:00:00Z\", not \"tomorrow\"",
            ),
            (
                json!({"kind": "Cost", "labels": {"a": true}}),
                "labels.a: must be text, not true or false; put it in quotes: \"true\"",
            ),
            (
                json!({"kind": "Cost", "cuont": 1}),
                "cuont: is an unknown field; did you mean count?",
            ),
        ];
        for (value, expected) in cases {
            let (_, lines) = problems(schema.clone(), value);
            assert_eq!(lines, [expected]);
        }
    }

    #[test]
    fn problems_are_bounded() {
        let schema = json!({"type": "array", "items": {"type": "string"}});
        let (_, lines) = problems(schema, Value::from(vec![1; 10_000]));
        assert_eq!(lines.len(), MAX_PROBLEMS);
    }
}
