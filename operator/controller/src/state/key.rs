//! Names of objects and jobs: what everything else is looked up by.

use std::fmt;

use ampacity_api::{JobKind, Placement};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

/// Anything that has metadata, whether it is an object of the API or a reduced one.
pub trait HasMeta {
    /// Metadata.
    fn meta(&self) -> &ObjectMeta;
}

impl<K: Resource> HasMeta for K {
    fn meta(&self) -> &ObjectMeta {
        Resource::meta(self)
    }
}

/// Namespace and name; the namespace is empty for cluster-scoped objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// Key of an object.
    pub fn of<K: HasMeta>(object: &K) -> Self {
        Self {
            namespace: object.meta().namespace.clone().unwrap_or_default(),
            name: object.meta().name.clone().unwrap_or_default(),
        }
    }

    /// Key from its parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// One job, of whatever kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey {
    /// Kind.
    pub kind: JobKind,
    /// Namespace and name.
    pub object: ObjectKey,
}

impl JobKey {
    /// The job that a placement belongs to.
    pub fn of_placement(placement: &Placement) -> Self {
        let namespace = placement.metadata.namespace.as_deref().unwrap_or_default();
        Self {
            kind: placement.spec.job_ref.kind,
            object: ObjectKey::new(namespace, &placement.spec.job_ref.name),
        }
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.object)
    }
}
