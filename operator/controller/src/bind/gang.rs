//! Pinning the pods of a gang.

use ampacity_api::Placement;
use k8s_openapi::api::core::v1::{NodeSelectorTerm, Pod};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::Value;

use super::patch::bind_patch;
use super::ranks::RankMap;
use crate::runtime::{Operator, Then, failpoint};
use crate::state::ObjectKey;

/// Pins the gated pods of a placement to their nodes, rank by rank. `terms` gives the required node affinity that the pods were
/// made with; it is asked only where there are gated pods.
pub fn bind(
    operator: &mut Operator,
    placement: &Placement,
    terms: impl FnOnce(&Operator) -> Option<Vec<NodeSelectorTerm>>,
) {
    let key = ObjectKey::of(placement);
    let Some(member) = operator.state.members.get(&placement.spec.cluster) else {
        return;
    };
    let Some(client) = member.client.clone() else {
        return;
    };
    let Some(pods) = member.pods.of_placement(&key) else {
        return;
    };
    let gated: Vec<(String, String, u32)> = pods
        .iter()
        .filter(|(_, pod)| pod.gated && !pod.terminating)
        .filter_map(|(name, pod)| Some((name.clone(), pod.uid.clone(), pod.rank?)))
        .collect();
    if gated.is_empty() {
        return;
    }
    let Some(terms) = terms(operator) else {
        return;
    };
    let ranks = RankMap::new(&placement.spec.nodes);
    for (pod, uid, rank) in gated {
        let Some(node) = ranks.node_of(rank) else {
            continue;
        };
        let patch = bind_patch(&uid, &terms, node);
        let (client, namespace, placement_key) =
            (client.clone(), key.namespace.clone(), key.clone());
        let call = format!("bind/{}/{}/{pod}", placement.spec.cluster, key.namespace);
        let server = placement.spec.cluster.clone();
        operator.start(&server, call, async move {
            let bound = bind_pod(&client, &namespace, &pod, &patch).await;
            Box::new(move |operator: &mut Operator| {
                operator.retry_if_failed("bind pod", &placement_key, bound)
            }) as Then
        });
    }
}

/// Pins a pod to its node and lifts its gate, in one write.
///
/// # Errors
/// The member's; that the pod is gone or another has its name now is none.
async fn bind_pod(
    member: &Client,
    namespace: &str,
    pod: &str,
    patch: &Value,
) -> Result<(), kube::Error> {
    let api: Api<Pod> = Api::namespaced(member.clone(), namespace);
    failpoint("bind.before");
    match api
        .patch(pod, &PatchParams::default(), &Patch::Strategic(patch))
        .await
    {
        Ok(_) => {
            failpoint("bind.done");
            Ok(())
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}
