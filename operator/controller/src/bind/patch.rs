//! The patch that pins a gated pod to its node.

use ampacity_api::labels;
use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec};
use serde_json::{Value, json};

/// The terms of a pod's required node affinity; empty where it has none.
pub fn required_terms(pod: Option<&PodSpec>) -> &[NodeSelectorTerm] {
    pod.and_then(|pod| pod.affinity.as_ref())
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| {
            affinity
                .required_during_scheduling_ignored_during_execution
                .as_ref()
        })
        .map_or(&[], |selector| selector.node_selector_terms.as_slice())
}

/// A **strategic merge** patch of a pod (`kube::api::Patch::Strategic`) that makes it require `node` beside all that it requires
/// already and lifts our gate, and only ours.
///
/// `uid` guards against another pod of the same name: the API server answers 409. `terms` are the pod's own
/// [`required_terms`], as they are in the API server: for a gated pod it accepts only requirements added behind those that are
/// there, in the same number of terms, and answers 422 to anything else, so that a patch made from stale terms does nothing.
/// Sent again to a pod that is pinned already it changes nothing.
pub fn bind_patch(uid: &str, terms: &[NodeSelectorTerm], node: &str) -> Value {
    let pin = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let mut terms = terms.to_vec();
    if terms.is_empty() {
        terms.push(NodeSelectorTerm::default());
    }
    for term in &mut terms {
        let fields = term.match_fields.get_or_insert_default();
        if !fields.contains(&pin) {
            fields.push(pin.clone());
        }
    }
    json!({
        "metadata": {"uid": uid},
        "spec": {
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": terms,
            }}},
            "schedulingGates": [{"$patch": "delete", "name": labels::SCHEDULING_GATE}],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(yaml: &str) -> Vec<NodeSelectorTerm> {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn a_pin_is_added_behind_what_each_term_requires() {
        let own = terms(
            "[{matchExpressions: [{key: zone, operator: In, values: [a]}]},
              {matchFields: [{key: metadata.name, operator: NotIn, values: [bad]}]}]",
        );
        insta::assert_yaml_snapshot!(bind_patch("pod-uid", &own, "n1"));
    }

    #[test]
    fn a_pod_without_affinity_gets_one() {
        insta::assert_yaml_snapshot!(bind_patch("pod-uid", &[], "n1"));
    }

    #[test]
    fn pinning_again_changes_nothing() {
        let once = bind_patch("pod-uid", &[], "n1");
        let pod: PodSpec = serde_json::from_value(json!({
            "containers": [],
            "affinity": once["spec"]["affinity"],
        }))
        .unwrap();
        assert_eq!(
            bind_patch("pod-uid", required_terms(Some(&pod)), "n1"),
            once
        );
        assert_eq!(required_terms(None), []);
    }
}
