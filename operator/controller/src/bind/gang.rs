//! Pinning the pods of a gang.

use std::time::Instant;

use ampacity_api::Placement;
use k8s_openapi::api::core::v1::{NodeSelectorTerm, Pod};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};

use super::patch::{bind_patch, required_terms};
use super::ranks::RankMap;
use crate::runtime::{Operator, Then, failpoint, wall_clock};
use crate::state::{JobKey, ObjectKey, missing_pods};

/// Key of the calls that lift a placement's gates, by which their failures are counted.
pub fn bind_call(placement: &ObjectKey) -> String {
    format!("bind/{placement}")
}

/// Pins the gated pods of a placement to their nodes, rank by rank, once all of them are there: a gang of which a quota lets only
/// some be made must not start in part. `terms` gives the required node affinity that the pods were made with; it is asked only
/// where there are gated pods.
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
    let failed = bind_call(&key);
    if gated.is_empty()
        || missing_pods(placement, Some(pods)) > 0
        || !operator.backoff.is_open(&failed, Instant::now())
    {
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
        let pin = Pin {
            pod,
            uid,
            terms: terms.clone(),
            node: node.to_owned(),
        };
        let (client, namespace, placement_key) =
            (client.clone(), key.namespace.clone(), key.clone());
        let call = format!(
            "bind/{}/{}/{}",
            placement.spec.cluster, key.namespace, pin.pod
        );
        let server = placement.spec.cluster.clone();
        operator.start(&server, call, async move {
            let bound = bind_pod(&client, &namespace, &pin).await;
            Box::new(move |operator: &mut Operator| {
                pod_bound(operator, &placement_key, &pin.pod, bound)
            }) as Then
        });
    }
}

fn pod_bound(
    operator: &mut Operator,
    placement: &ObjectKey,
    pod: &str,
    bound: Result<(), kube::Error>,
) {
    operator.metrics.called("bind pod", bound.is_ok());
    let call = bind_call(placement);
    let Err(error) = bound else {
        operator.backoff.succeeded(&call);
        return;
    };
    // Many pods of a gang fail at once; they are one failure.
    let now = Instant::now();
    if !operator.backoff.is_open(&call, now) {
        return;
    }
    let words = format!("the scheduling gate of pod {pod} cannot be lifted: {error}");
    tracing::warn!(%placement, %pod, %error, "gate not lifted; trying again");
    let pause = operator.backoff.failed(&call, words, now);
    if let Some(job) = operator
        .state
        .placement(placement)
        .map(JobKey::of_placement)
    {
        let seconds = i64::try_from(pause.as_secs()).unwrap_or(i64::MAX);
        operator.requeue_after(&job, wall_clock(), seconds);
        operator.state.dirty.jobs.insert(job);
    }
}

/// What pins a pod.
struct Pin {
    pod: String,
    uid: String,
    terms: Vec<NodeSelectorTerm>,
    node: String,
}

/// Pins a pod to its node and lifts its gate, in one write. A pod that requires more than it was made with, since a webhook of the
/// member added to it, keeps that: the API server refuses the patch then, and it is made again from the pod as it is.
///
/// # Errors
/// The member's; that the pod is gone or another has its name now is none.
async fn bind_pod(member: &Client, namespace: &str, pin: &Pin) -> Result<(), kube::Error> {
    let api: Api<Pod> = Api::namespaced(member.clone(), namespace);
    failpoint("bind.before");
    let bound = match pin_with(&api, pin, &pin.terms).await {
        Err(kube::Error::Api(status)) if status.code == 422 => {
            let Some(pod) = api.get_opt(&pin.pod).await? else {
                return Ok(());
            };
            let own = required_terms(pod.spec.as_ref());
            if own == pin.terms {
                return Err(kube::Error::Api(status));
            }
            pin_with(&api, pin, own).await
        }
        bound => bound,
    };
    match bound {
        Ok(()) => {
            failpoint("bind.done");
            Ok(())
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn pin_with(
    api: &Api<Pod>,
    pin: &Pin,
    terms: &[NodeSelectorTerm],
) -> Result<(), kube::Error> {
    let patch = bind_patch(&pin.uid, terms, &pin.node);
    api.patch(&pin.pod, &PatchParams::default(), &Patch::Strategic(&patch))
        .await
        .map(drop)
}
