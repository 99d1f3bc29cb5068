//! What can be read from, and written to, an API server.

use std::fmt::Debug;

use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An object of a known kind that can be watched.
pub trait ApiObject:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static
{
}

impl<K> ApiObject for K where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static
{
}

/// An object of a known kind that can be written in a namespace.
pub trait NamespacedObject:
    ApiObject + Resource<Scope = NamespaceResourceScope> + Serialize + Sync
{
}

impl<K> NamespacedObject for K where
    K: ApiObject + Resource<Scope = NamespaceResourceScope> + Serialize + Sync
{
}
