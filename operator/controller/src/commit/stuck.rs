//! Pods that no kubelet will ever end, because their node is silent.

use ampacity_api::Placement;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams};

use crate::runtime::{Operator, Then, placement_call};
use crate::state::{JobKey, ObjectKey};

/// Pods of a placement that wait to be ended by the kubelet of a node that has been silent for longer than the grace:
/// it never will.
pub(super) fn stuck_pods(
    operator: &Operator,
    placement: &Placement,
    now: Timestamp,
) -> Vec<(String, String)> {
    let key = ObjectKey::of(placement);
    let grace = i64::try_from(operator.config.node_grace.as_secs()).unwrap_or(i64::MAX);
    let Some(member) = operator.state.members.get(&placement.spec.cluster) else {
        return Vec::new();
    };
    let is_silent = |node: &str| {
        let silent = member.outages.get(node).and_then(|o| o.silent_since);
        silent.is_some_and(|since| now.as_second() - since.as_second() >= grace)
    };
    let pods = member.pods.of_placement(&key).into_iter().flatten();
    pods.filter(|(_, pod)| pod.terminating && pod.node.as_deref().is_some_and(is_silent))
        .filter(|(_, pod)| !operator.state.placements.is_forced(&key, &pod.uid))
        .map(|(name, pod)| (name.clone(), pod.uid.clone()))
        .collect()
}

/// Takes pods out of the API server that no kubelet will ever report ended, as `kubectl delete --force` does.
pub(super) fn force_away(
    operator: &mut Operator,
    key: &ObjectKey,
    placement: &Placement,
    pods: Vec<(String, String)>,
) {
    let Some(member) = operator.member_client(placement) else {
        return;
    };
    let (done, server) = (key.clone(), placement.spec.cluster.clone());
    let job = JobKey::of_placement(placement);
    operator.start(&server, placement_call(key), async move {
        let mut result = Ok(());
        let mut tried = Vec::new();
        for (name, uid) in pods {
            result = force_pod(&member, &done.namespace, &name, &uid).await;
            match &result {
                Ok(()) => {
                    tracing::info!(placement = %done, pod = %name, "its node is silent: taken out of the API server")
                }
                // A member whose role is of an older chart. It must not hold up the rest of the gang for ever.
                Err(kube::Error::Api(status)) if status.code == 403 => {}
                Err(_) => break,
            }
            tried.push(uid);
        }
        Box::new(move |operator: &mut Operator| {
            operator.state.placements.forced(&done, tried);
            operator.state.dirty.jobs.insert(job);
            operator.retry_if_failed("force pod away", &done, result);
        }) as Then
    });
}

/// Takes a pod out of the API server without waiting for its kubelet.
///
/// # Errors
/// The member's; that the pod is gone or another has its name now is none.
async fn force_pod(
    member: &Client,
    namespace: &str,
    pod: &str,
    uid: &str,
) -> Result<(), kube::Error> {
    let api: Api<Pod> = Api::namespaced(member.clone(), namespace);
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(kube::api::Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::background()
    };
    match api.delete(pod, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}
