//! What the answer of an API server says about an object.

/// Whether an API server said that the object of this name is not there. One that is starting, or that does not serve the kind,
/// answers 404 as well, and names no object.
pub fn says_gone(error: &kube::Error, name: &str) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let details = status.details.as_ref();
    status.code == 404 && details.is_some_and(|details| details.name == name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_an_answer_that_names_the_object_says_that_it_is_gone() {
        let named = json!({"name": "a", "group": "ampacity.dev", "kind": "placements"});
        let table = [
            (404, named.clone(), true),
            (404, json!({"name": "b", "kind": "placements"}), false),
            (404, json!({}), false),
            (404, json!(null), false),
            (409, named.clone(), false),
            (503, named, false),
        ];
        for (code, details, expected) in table {
            let status = json!({"status": "Failure", "code": code, "details": details});
            let error = kube::Error::Api(serde_json::from_value(status).unwrap());
            assert_eq!(says_gone(&error, "a"), expected, "{code} {details}");
        }
    }
}
