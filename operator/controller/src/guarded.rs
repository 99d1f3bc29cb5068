//! Objects that may not be of their kind's form.
//!
//! A schema leaves pod templates open, so an object can pass the API server and still not be what its kind says. A
//! list that holds one such object must still be read, and its owner must be told the field, which
//! `kube::core::DeserializeGuard` does not keep.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};

/// An object of kind `K`, or its metadata and what is wrong with it.
#[derive(Clone, Debug)]
pub(crate) enum Guarded<K> {
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

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Named {
            #[serde(default)]
            metadata: ObjectMeta,
        }
        let value = serde_json::Value::deserialize(deserializer)?;
        if let Ok(object) = K::deserialize(&value) {
            return Ok(Self::Sound(Box::new(object)));
        }
        // Read again with the path kept: few objects are misformed, so the others do not pay for it.
        let error = match serde_path_to_error::deserialize::<_, K>(&value) {
            Ok(object) => return Ok(Self::Sound(Box::new(object))),
            Err(error) => error.to_string(),
        };
        let named = Named::deserialize(&value).map_err(D::Error::custom)?;
        Ok(Self::Misformed {
            meta: Box::new(named.metadata),
            error,
        })
    }
}

impl<K: Resource> Resource for Guarded<K> {
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
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    #[test]
    fn one_misformed_object_is_named_and_the_others_are_read() {
        let objects: Vec<Guarded<Pod>> = serde_json::from_value(json!([
            {"metadata": {"name": "a"}, "spec": {"containers": []}},
            {"metadata": {"name": "b"}, "spec": {"containers": [{"name": "c", "ports": [{"containerPort": "http"}]}]}},
        ]))
        .expect("a list");
        let [Guarded::Sound(a), Guarded::Misformed { meta, error }] = &objects[..] else {
            panic!("{objects:?}");
        };
        assert_eq!(a.metadata.name.as_deref(), Some("a"));
        assert_eq!(meta.name.as_deref(), Some("b"));
        assert_eq!(
            error,
            "spec.containers[0].ports[0].containerPort: invalid type: string \"http\", expected i32"
        );
    }
}
