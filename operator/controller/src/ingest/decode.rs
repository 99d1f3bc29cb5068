//! Lenient decoding: objects that may not be of their kind's form.
//!
//! A schema leaves pod templates open, so an object can pass the API server and still not be what its kind says: a field
//! has the wrong type, or a name that no field has and that would be lost without a word. A list that holds one such
//! object must still be read, and its owner must be told the field, which `kube::core::DeserializeGuard` does not keep.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};

/// An object of kind `K`, or its metadata and what is wrong with it.
#[derive(Clone, Debug)]
pub enum Lenient<K> {
    /// Of its kind's form.
    Sound(Box<K>),
    /// Not of its kind's form.
    Misformed {
        /// Whose object it is.
        meta: Box<ObjectMeta>,
        /// The field's path and what it should have been.
        error: String,
    },
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Lenient<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Named {
            #[serde(default)]
            metadata: ObjectMeta,
        }
        let value = serde_json::Value::deserialize(deserializer)?;
        let mut unknown: Option<String> = None;
        let read: Result<K, _> = serde_ignored::deserialize(&value, |path| {
            let path = path.to_string();
            if path.starts_with(TEMPLATE) {
                unknown.get_or_insert(path);
            }
        });
        let error = match (read, unknown) {
            (Ok(object), None) => return Ok(Self::Sound(Box::new(object))),
            (Ok(_), Some(path)) => {
                format!("{}: no field of a pod template has this name", field(&path))
            }
            // Read again with the path kept: few objects are misformed, so the others do not pay for it.
            (Err(_), _) => match serde_path_to_error::deserialize::<_, K>(&value) {
                Ok(object) => return Ok(Self::Sound(Box::new(object))),
                Err(error) => error.to_string(),
            },
        };
        let named = Named::deserialize(&value).map_err(D::Error::custom)?;
        Ok(Self::Misformed {
            meta: Box::new(named.metadata),
            error,
        })
    }
}

/// The part of an object that its schema leaves open.
const TEMPLATE: &str = "spec.template.";

/// A path in the words of Kubernetes: `serde_ignored` writes `?` for the inside of an optional field and `a.0` for `a[0]`.
fn field(path: &str) -> String {
    let mut field = String::new();
    for step in path.split('.').filter(|step| *step != "?") {
        if step.bytes().all(|byte| byte.is_ascii_digit()) {
            field.push_str(&format!("[{step}]"));
        } else {
            if !field.is_empty() {
                field.push('.');
            }
            field.push_str(step);
        }
    }
    field
}

impl<K: Resource> Resource for Lenient<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Sound(object) => object.meta(),
            Self::Misformed { meta, .. } => meta,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Sound(object) => object.meta_mut(),
            Self::Misformed { meta, .. } => meta,
        }
    }
}

#[cfg(test)]
mod tests {
    use ampacity_api::TrainingJob;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    #[test]
    fn one_misformed_object_is_named_and_the_others_are_read() {
        let objects: Vec<Lenient<Pod>> = serde_json::from_value(json!([
            {"metadata": {"name": "a"}, "spec": {"containers": []}},
            {"metadata": {"name": "b"}, "spec": {"containers": [{"name": "c", "ports": [{"containerPort": "http"}]}]}},
        ]))
        .expect("a list");
        let [Lenient::Sound(a), Lenient::Misformed { meta, error }] = &objects[..] else {
            panic!("{objects:?}");
        };
        assert_eq!(a.metadata.name.as_deref(), Some("a"));
        assert_eq!(meta.name.as_deref(), Some("b"));
        assert_eq!(
            error,
            "spec.containers[0].ports[0].containerPort: invalid type: string \"http\", expected i32"
        );
    }

    #[test]
    fn a_misspelt_field_of_a_template_is_named() {
        let job = |container: serde_json::Value| -> Lenient<TrainingJob> {
            serde_json::from_value(json!({
                "apiVersion": "ampacity.dev/v1alpha1", "kind": "TrainingJob",
                "metadata": {"name": "a", "managedFields": [{"manager": "kubectl"}]},
                "spec": {
                    "estimatedDurationSeconds": 1, "alternatives": [],
                    "template": {"spec": {"containers": [{"name": "c"}, container]}},
                },
                "status": {"fieldOfANewerVersion": 1},
            }))
            .expect("an object")
        };
        assert!(matches!(
            job(json!({"name": "d", "command": ["sh"]})),
            Lenient::Sound(_)
        ));
        let Lenient::Misformed { error, .. } = job(json!({"name": "d", "comand": ["sh"]})) else {
            panic!("the command would be lost");
        };
        assert_eq!(
            error,
            "spec.template.spec.containers[1].comand: no field of a pod template has this name"
        );
    }
}
