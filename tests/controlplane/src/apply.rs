//! Putting objects of any kind into a cluster from YAML, as `kubectl apply --server-side` does, with their status.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiCapabilities, ApiResource, Scope, pinned_kind};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::wait::{wait_for, wait_for_object};

/// Field manager of everything applied here.
pub const FIELD_MANAGER: &str = "ampacity-controlplane";

/// Objects of one kind that are applied at the same time.
const CONCURRENCY: usize = 32;

/// How long a kind may take to be served after its definition was applied.
const SERVED_TIMEOUT: Duration = Duration::from_secs(15);

/// Fields the server owns: present in dumps of real objects, refused or meaningless in a new one.
const SERVER_FIELDS: [&str; 5] = [
    "managedFields",
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "generation",
];

/// Applies every document of `yaml` in order, forcing conflicts, and returns the objects as stored. A `status` is
/// applied too where the kind has the subresource: a node's capacity, for one. Lists are taken apart, and
/// neighbours of one kind are applied at the same time. Returns when definitions (CRDs) among them are established.
///
/// # Errors
/// When a document is no Kubernetes object, its kind is not served, or the server refuses it.
pub async fn apply_yaml(client: &Client, yaml: &str) -> Result<Vec<DynamicObject>> {
    apply_objects(client, parse(yaml)?).await
}

/// Applies every document of a file; see [`apply_yaml`].
///
/// # Errors
/// As [`apply_yaml`], and when the file cannot be read.
pub async fn apply_file(client: &Client, path: &Path) -> Result<Vec<DynamicObject>> {
    let yaml = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    apply_yaml(client, &yaml).await
}

/// Applies every `.yaml`, `.yml` and `.json` file of a folder in order of their names and waits until definitions
/// (CRDs) among them are established.
///
/// # Errors
/// As [`apply_yaml`], and when the folder cannot be read or holds no such file.
pub async fn install_crds(client: &Client, folder: &Path) -> Result<Vec<DynamicObject>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::file("list", folder))? {
        let path = entry.map_err(Error::file("list", folder))?.path();
        if path
            .extension()
            .is_some_and(|ext| ext == "yaml" || ext == "yml" || ext == "json")
        {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::Unreadable {
            what: folder.display().to_string(),
            reason: "no .yaml, .yml or .json file in it".to_owned(),
        });
    }
    let mut objects = Vec::new();
    for path in files {
        let yaml = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        objects.extend(parse(&yaml)?);
    }
    apply_objects(client, objects).await
}

/// An object to apply, and the kind it names.
#[derive(Debug, Clone)]
struct Manifest {
    kind: GroupVersionKind,
    name: String,
    namespace: Option<String>,
    value: Value,
}

/// The objects of a YAML text: empty documents left out, lists taken apart.
fn parse(yaml: &str) -> Result<Vec<Manifest>> {
    // YAML 1.2: a namespace called `n` or a zone called `no` is a name, not a boolean.
    let yaml_1_2 = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(yaml, yaml_1_2).map_err(|error| {
            Error::Manifest {
                index: 0,
                reason: error.to_string(),
            }
        })?;
    let mut manifests = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        if document.is_null() {
            continue;
        }
        match document.get("items").and_then(Value::as_array) {
            Some(items)
                if document
                    .get("kind")
                    .and_then(Value::as_str)
                    .is_some_and(|k| k.ends_with("List")) =>
            {
                for item in items {
                    manifests.push(manifest(item.clone(), index)?);
                }
            }
            _ => manifests.push(manifest(document, index)?),
        }
    }
    Ok(manifests)
}

fn manifest(mut value: Value, index: usize) -> Result<Manifest> {
    let text = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let required = |pointer: &str| {
        text(pointer).ok_or_else(|| Error::Manifest {
            index,
            reason: format!(
                "it has no {}",
                pointer.trim_start_matches('/').replace('/', ".")
            ),
        })
    };
    let api_version = required("/apiVersion")?;
    let (group, version) = api_version
        .split_once('/')
        .unwrap_or(("", api_version.as_str()));
    let kind = GroupVersionKind::gvk(group, version, &required("/kind")?);
    let name = required("/metadata/name")?;
    let namespace = text("/metadata/namespace");
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in SERVER_FIELDS {
            metadata.remove(field);
        }
    }
    Ok(Manifest {
        kind,
        name,
        namespace,
        value,
    })
}

async fn apply_objects(client: &Client, manifests: Vec<Manifest>) -> Result<Vec<DynamicObject>> {
    let mut known: HashMap<GroupVersionKind, (ApiResource, ApiCapabilities)> = HashMap::new();
    let mut applied = Vec::with_capacity(manifests.len());
    for run in manifests.chunk_by(|a, b| a.kind == b.kind) {
        let Some(first) = run.first() else { continue };
        let (resource, capabilities) = match known.get(&first.kind) {
            Some(found) => found.clone(),
            None => {
                let found = find_kind(client, &first.kind).await?;
                known.insert(first.kind.clone(), found.clone());
                found
            }
        };
        let objects: Vec<DynamicObject> = futures::stream::iter(run)
            .map(|manifest| apply_one(client, manifest, &resource, &capabilities))
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        if first.kind.kind == "CustomResourceDefinition" {
            await_established(client, &objects).await?;
        }
        applied.extend(objects);
    }
    Ok(applied)
}

/// The resource that serves a kind. Asked again for a while: a definition just established may not be listed yet.
async fn find_kind(
    client: &Client,
    kind: &GroupVersionKind,
) -> Result<(ApiResource, ApiCapabilities)> {
    let what = format!(
        "the API server to serve {} {}",
        kind.api_version(),
        kind.kind
    );
    wait_for(what, SERVED_TIMEOUT, || async {
        pinned_kind(client, kind).await.map(Some)
    })
    .await
}

async fn apply_one(
    client: &Client,
    manifest: &Manifest,
    resource: &ApiResource,
    capabilities: &ApiCapabilities,
) -> Result<DynamicObject> {
    let api: Api<DynamicObject> = match (&capabilities.scope, &manifest.namespace) {
        (Scope::Cluster, _) => Api::all_with(client.clone(), resource),
        (Scope::Namespaced, Some(namespace)) => {
            Api::namespaced_with(client.clone(), namespace, resource)
        }
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), resource),
    };
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let named = format!("{} {}", manifest.kind.kind, manifest.name);
    let stored = api
        .patch(&manifest.name, &params, &Patch::Apply(&manifest.value))
        .await
        .map_err(Error::api(format!("apply {named}")))?;
    let has_status = capabilities
        .subresources
        .iter()
        .any(|(subresource, _)| subresource.plural.ends_with("status"));
    let status = manifest
        .value
        .get("status")
        .filter(|status| !status.is_null());
    let Some(status) = status.filter(|_| has_status) else {
        return Ok(stored);
    };
    let body = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": { "name": manifest.name },
        "status": status,
    });
    api.patch_status(&manifest.name, &params, &Patch::Apply(&body))
        .await
        .map_err(Error::api(format!("apply the status of {named}")))
}

/// Waits until the definitions are established, so that their objects can be applied.
async fn await_established(client: &Client, definitions: &[DynamicObject]) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in definitions {
        let name = definition.name_any();
        let what = format!("definition {name} to be established");
        wait_for_object(&api, &name, what, SERVED_TIMEOUT, |crd| {
            crd.status
                .as_ref()
                .and_then(|status| status.conditions.as_ref())
                .is_some_and(|conditions| {
                    conditions.iter().any(|condition| {
                        condition.type_ == "Established" && condition.status == "True"
                    })
                })
        })
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_become_objects_without_the_servers_fields() {
        let manifests = parse(
            "---\n# nothing\n---\napiVersion: v1\nkind: Node\nmetadata: {name: a, uid: u, resourceVersion: '3'}\n\
             ---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: batch/v1, kind: Job, metadata: {name: j, namespace: n}}\n",
        )
        .unwrap();
        let names: Vec<_> = manifests
            .iter()
            .map(|m| (m.kind.kind.as_str(), m.name.as_str()))
            .collect();
        assert_eq!(names, [("Node", "a"), ("Job", "j")]);
        assert_eq!(manifests[0].value["metadata"], json!({"name": "a"}));
        assert_eq!(
            manifests[1].kind,
            GroupVersionKind::gvk("batch", "v1", "Job")
        );
        assert_eq!(manifests[1].namespace.as_deref(), Some("n"));
    }

    #[test]
    fn a_document_that_is_no_object_is_named() {
        let error = parse("apiVersion: v1\nkind: Node\nmetadata: {name: a}\n---\nkind: Node\n")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "manifest document 1: it has no apiVersion"
        );
    }
}
