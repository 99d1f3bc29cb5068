//! Statuses are patched, never written whole: what did not change is not sent, and what a later version wrote stays.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// The merge patch (RFC 7396) of an object that turns one status into another. It fails with a conflict where the object has changed
/// since `resource_version`.
///
/// # Errors
/// When a status cannot be written as JSON.
pub fn status_patch<S: Serialize>(
    resource_version: Option<&str>,
    before: Option<&S>,
    after: &S,
) -> Result<Value, serde_json::Error> {
    let before = before.map_or(Ok(Value::Null), serde_json::to_value)?;
    let after = serde_json::to_value(after)?;
    let status = difference(&before, &after).unwrap_or_else(|| json!({}));
    Ok(json!({"metadata": {"resourceVersion": resource_version}, "status": status}))
}

/// The merge patch from one value to another; `None`: they are the same.
fn difference(before: &Value, after: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return (before != after).then(|| after.clone());
    };
    let mut patch = Map::new();
    for (key, value) in new {
        let known = old.get(key).unwrap_or(&Value::Null);
        if let Some(change) = difference(known, value) {
            patch.insert(key.clone(), change);
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 7396, section 2.
    fn merge(target: Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else {
            return patch.clone();
        };
        let mut merged = match target {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        for (key, value) in patch {
            if value.is_null() {
                merged.remove(key);
            } else {
                let known = merged.remove(key).unwrap_or(Value::Null);
                merged.insert(key.clone(), merge(known, value));
            }
        }
        Value::Object(merged)
    }

    fn value() -> impl Strategy<Value = Value> {
        // A status has no nulls: what is absent is left out.
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
            prop::collection::vec(0..3_i32, 0..3).prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
        })
    }

    fn object() -> impl Strategy<Value = Value> {
        prop::collection::btree_map("[a-d]", value(), 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn the_patch_leads_from_one_status_to_the_other(before in object(), after in object()) {
            match difference(&before, &after) {
                Some(patch) => prop_assert_eq!(merge(before, &patch), after),
                None => prop_assert_eq!(before, after),
            }
        }
    }

    #[test]
    fn only_what_changed_is_sent() {
        let before = json!({"state": "Starting", "attempts": 1, "placement": {"cluster": "a", "watts": 5}, "verdict": {"x": 1}});
        let after =
            json!({"state": "Running", "attempts": 1, "placement": {"cluster": "a", "watts": 6}});
        let patch = status_patch(Some("7"), Some(&before), &after).unwrap();
        assert_eq!(
            patch,
            json!({"metadata": {"resourceVersion": "7"},
                "status": {"state": "Running", "placement": {"watts": 6}, "verdict": null}})
        );
    }
}
