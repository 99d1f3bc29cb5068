//! Whether the hub's CRDs know every field that this version writes. Helm never upgrades CRDs; an API server with those of an older
//! version drops what they do not name, without a word, and decisions would rest on what was dropped.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::{Api, Client, ResourceExt};

use super::health::Health;
use super::metrics::HUB_CLUSTER;

/// Pause between looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Fields that are named in a message.
const NAMED: usize = 3;

/// Returns once no CRD of the hub is older than this version. Until then it is told in the log and by `/readyz`.
pub(super) async fn await_schemas(hub: &Client, health: &Health) {
    let mut said = String::new();
    loop {
        match outdated(hub).await {
            Ok(None) => return health.waits_for(None),
            Ok(Some(what)) => {
                if said != what {
                    tracing::error!(cluster = HUB_CLUSTER, "{what}");
                    said.clone_from(&what);
                }
                health.waits_for(Some(what));
            }
            Err(kube::Error::Api(status)) if status.code == 403 => {
                tracing::warn!(
                    cluster = HUB_CLUSTER,
                    "CRDs may not be read, so nobody sees whether they are of an older version; upgrade the chart's roles"
                );
                return;
            }
            Err(error) => {
                tracing::warn!(cluster = HUB_CLUSTER, %error, "cannot read CRDs; trying again");
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What is missing in the hub's CRDs and what to do. A CRD that is not there is another matter: its kind has no objects.
async fn outdated(hub: &Client) -> Result<Option<String>, kube::Error> {
    let api: Api<CustomResourceDefinition> = Api::all(hub.clone());
    let mut missing = Vec::new();
    for ours in ampacity_api::crds() {
        let name = ours.name_any();
        if let Some(theirs) = api.get_opt(&name).await? {
            let fields = missing_fields(&ours, &theirs);
            missing.extend(fields.into_iter().map(|field| format!("{name}: {field}")));
        }
    }
    if missing.is_empty() {
        return Ok(None);
    }
    let more = match missing.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    missing.truncate(NAMED);
    Ok(Some(format!(
        "the hub's CRDs are older than this operator and lack {}{more}: upgrade them with `ampacity crds | kubectl apply --server-side --force-conflicts -f -`; it waits until then",
        missing.join(", ")
    )))
}

/// Fields of our CRD that another does not have, as paths.
fn missing_fields(
    ours: &CustomResourceDefinition,
    theirs: &CustomResourceDefinition,
) -> Vec<String> {
    let mut missing = Vec::new();
    for version in &ours.spec.versions {
        let served = theirs.spec.versions.iter().find(|v| v.name == version.name);
        let wanted = version
            .schema
            .as_ref()
            .and_then(|s| s.open_api_v3_schema.as_ref());
        let found = served
            .and_then(|v| v.schema.as_ref())
            .and_then(|s| s.open_api_v3_schema.as_ref());
        match (wanted, found) {
            (Some(wanted), Some(found)) => compare("", wanted, found, &mut missing),
            (Some(_), None) => missing.push(format!("version {}", version.name)),
            (None, _) => {}
        }
    }
    missing
}

fn compare(
    path: &str,
    wanted: &JSONSchemaProps,
    found: &JSONSchemaProps,
    missing: &mut Vec<String>,
) {
    if found.x_kubernetes_preserve_unknown_fields == Some(true) {
        return;
    }
    for (name, wanted) in wanted.properties.iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        match found.properties.as_ref().and_then(|p| p.get(name)) {
            Some(found) => compare(&path, wanted, found, missing),
            None => missing.push(path),
        }
    }
    if let (
        Some(JSONSchemaPropsOrArray::Schema(wanted)),
        Some(JSONSchemaPropsOrArray::Schema(found)),
    ) = (&wanted.items, &found.items)
    {
        compare(&format!("{path}[]"), wanted, found, missing);
    }
    if let (
        Some(JSONSchemaPropsOrBool::Schema(wanted)),
        Some(JSONSchemaPropsOrBool::Schema(found)),
    ) = (&wanted.additional_properties, &found.additional_properties)
    {
        compare(&format!("{path}.*"), wanted, found, missing);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn crd(status: Value) -> CustomResourceDefinition {
        serde_json::from_value(json!({
            "metadata": {"name": "trainingjobs.ampacity.dev"},
            "spec": {
                "group": "ampacity.dev", "scope": "Namespaced", "names": {"kind": "TrainingJob", "plural": "trainingjobs"},
                "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"status": status},
                }}}],
            },
        }))
        .unwrap()
    }

    #[test]
    fn what_an_older_crd_lacks_is_named_wherever_it_is() {
        let object = |properties: Value| json!({"type": "object", "properties": properties});
        let text = json!({"type": "string"});
        let ours = object(json!({
            "state": text,
            "placement": object(json!({"cluster": text})),
            "nodes": {"type": "array", "items": object(json!({"name": text}))},
            "limits": {"type": "object", "additionalProperties": object(json!({"most": text}))},
        }));
        let without = |pointer: &str, field: &str| {
            let mut schema = ours.clone();
            let at = schema.pointer_mut(pointer).and_then(Value::as_object_mut);
            at.unwrap().remove(field);
            schema
        };
        let mut newer = ours.clone();
        newer["properties"]["later"] = text.clone();
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let table = [
            (ours.clone(), None),
            (newer, None),
            (open, None),
            (without("/properties", "state"), Some("status.state")),
            (
                without("/properties/placement/properties", "cluster"),
                Some("status.placement.cluster"),
            ),
            (
                without("/properties/nodes/items/properties", "name"),
                Some("status.nodes[].name"),
            ),
            (
                without("/properties/limits/additionalProperties/properties", "most"),
                Some("status.limits.*.most"),
            ),
        ];
        for (theirs, expected) in table {
            let missing = missing_fields(&crd(ours.clone()), &crd(theirs.clone()));
            assert_eq!(missing.first().map(String::as_str), expected, "{theirs}");
            assert!(missing.len() <= 1, "{missing:?}");
        }
        let mut other = crd(ours.clone());
        other.spec.versions[0].name = "v1beta1".to_owned();
        assert_eq!(missing_fields(&crd(ours), &other), ["version v1alpha1"]);
    }

    #[test]
    fn our_own_crds_lack_nothing() {
        for crd in ampacity_api::crds() {
            assert_eq!(missing_fields(&crd, &crd), [""; 0]);
        }
    }
}
