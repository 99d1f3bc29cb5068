//! Nodes that exist only in the API server, for kwok to play.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};

use crate::apply::FIELD_MANAGER;
use crate::error::{Error, Result};

/// A node to be created. Without them given, kwok fills in 128 CPUs, 1 TiB of memory and 110 pods.
#[derive(Debug, Clone)]
#[must_use]
pub struct SimulatedNode {
    name: String,
    labels: BTreeMap<String, String>,
    resources: BTreeMap<String, Quantity>,
    taints: Vec<Taint>,
}

impl SimulatedNode {
    /// A node of this name with a matching `kubernetes.io/hostname` label.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            labels: BTreeMap::from([
                ("kubernetes.io/hostname".to_owned(), name.clone()),
                ("kubernetes.io/os".to_owned(), "linux".to_owned()),
                ("kubernetes.io/arch".to_owned(), "amd64".to_owned()),
            ]),
            resources: BTreeMap::new(),
            taints: Vec::new(),
            name,
        }
    }

    /// Adds a label.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Sets capacity and allocatable of a resource, such as `("nvidia.com/gpu", "8")`.
    pub fn resource(mut self, name: impl Into<String>, quantity: impl Into<String>) -> Self {
        self.resources
            .insert(name.into(), Quantity(quantity.into()));
        self
    }

    /// Adds a taint; `effect` is `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub fn taint(
        mut self,
        key: impl Into<String>,
        value: impl Into<String>,
        effect: impl Into<String>,
    ) -> Self {
        self.taints.push(Taint {
            key: key.into(),
            value: Some(value.into()),
            effect: effect.into(),
            ..Taint::default()
        });
        self
    }

    /// The object, without status.
    fn object(&self) -> Node {
        Node {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(self.labels.clone()),
                ..ObjectMeta::default()
            },
            spec: (!self.taints.is_empty()).then(|| NodeSpec {
                taints: Some(self.taints.clone()),
                ..NodeSpec::default()
            }),
            status: None,
        }
    }

    /// The object as the status subresource wants it.
    fn status(&self) -> Node {
        Node {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
            status: Some(NodeStatus {
                capacity: Some(self.resources.clone()),
                allocatable: Some(self.resources.clone()),
                ..NodeStatus::default()
            }),
        }
    }
}

/// Creates the nodes, 32 at a time. They are ready once kwok has seen them.
///
/// # Errors
/// When the API server refuses one.
pub async fn create_nodes(
    client: &Client,
    nodes: impl IntoIterator<Item = SimulatedNode>,
) -> Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    let params = PatchParams::apply(FIELD_MANAGER).force();
    futures::stream::iter(nodes)
        .map(|node| {
            let (api, params) = (api.clone(), params.clone());
            async move {
                let action = format!("create node {}", node.name);
                api.patch(&node.name, &params, &Patch::Apply(&node.object()))
                    .await
                    .map_err(Error::api(action.clone()))?;
                api.patch_status(&node.name, &params, &Patch::Apply(&node.status()))
                    .await
                    .map_err(Error::api(action))
            }
        })
        .buffer_unordered(32)
        .try_for_each(|_| async { Ok(()) })
        .await
}
