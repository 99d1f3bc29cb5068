//! Changes of a workload's spec, made only on the spec that they were decided on: a write that arrives late, of an earlier leader
//! say, must not follow a newer one.

use kube::api::Patch;
use serde_json::{Value, json};

/// One change of a spec that is at this generation. At another one the API server refuses it with 422, and the watch brings what is there
/// now. Kinds that do not count generations are changed as they are.
///
/// # Errors
/// None that can happen: the form is fixed.
pub(super) fn at_generation(
    generation: Option<i64>,
    path: &str,
    value: Option<Value>,
) -> Result<Patch<()>, serde_json::Error> {
    let change = match value {
        Some(value) => json!({"op": "add", "path": path, "value": value}),
        None => json!({"op": "remove", "path": path}),
    };
    let test =
        generation.map(|at| json!({"op": "test", "path": "/metadata/generation", "value": at}));
    let operations: Vec<Value> = test.into_iter().chain([change]).collect();
    serde_json::from_value(operations.into()).map(Patch::Json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_bound_to_the_generation_where_there_is_one() {
        let test = json!({"op": "test", "path": "/metadata/generation", "value": 7});
        let add = json!({"op": "add", "path": "/spec/replicas", "value": 3});
        let remove = json!({"op": "remove", "path": "/spec/replicas"});
        let table = [
            (Some(7), Some(json!(3)), json!([test, add])),
            (Some(7), None, json!([test, remove])),
            (None, Some(json!(3)), json!([add])),
        ];
        for (generation, value, expected) in table {
            let Patch::Json::<()>(patch) =
                at_generation(generation, "/spec/replicas", value).unwrap()
            else {
                panic!("not a JSON patch");
            };
            assert_eq!(serde_json::to_value(patch).unwrap(), expected);
        }
    }
}
