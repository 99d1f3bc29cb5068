//! Letting go: a placement's objects are removed before the placement is, so that nothing is left behind.

use ampacity_api::{Placement, labels};
use jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::remove::remove_objects;
use super::stuck::{force_away, stuck_pods};
use crate::runtime::{HUB, Operator, Then, failpoint, placement_call, says_gone};
use crate::state::{Change, JobKey, KindFacts, ObjectKey, State};

/// Takes a placement one step further towards being gone: deleted, its objects removed, its finalizer dropped.
pub fn release(operator: &mut Operator, key: &ObjectKey, now: Timestamp) {
    let call = placement_call(key);
    if operator.calls.is_running(&call) {
        return;
    }
    let Some(placement) = operator.state.placement(key).cloned() else {
        return;
    };
    let hub = operator.hub.clone();
    let done = key.clone();
    let job = JobKey::of_placement(&placement);
    if placement.metadata.deletion_timestamp.is_none() {
        operator.start(HUB, call, async move {
            let deleted = delete_placement(&hub, &placement).await;
            Box::new(move |operator: &mut Operator| {
                let result = deleted.map(|left| {
                    take_in(operator, &done, &job, left);
                });
                operator.retry_if_failed("delete placement", &done, result);
            }) as Then
        });
        return;
    }
    if !placement
        .finalizers()
        .iter()
        .any(|f| f == labels::PLACEMENT_FINALIZER)
    {
        return;
    }
    let Some(facts) = operator.state.kinds.get(job.kind).cloned() else {
        return;
    };
    let registered = operator
        .state
        .hub
        .clusters
        .named(&placement.spec.cluster)
        .is_some();
    if registered
        && !operator
            .state
            .members
            .get(&placement.spec.cluster)
            .is_some_and(|m| m.is_usable())
    {
        // It keeps what it holds until its member can be asked to let go.
        operator.requeue_after(&job, now, 5);
        return;
    }
    if !operator.state.placements.is_removed(key) && !registered {
        clean_departed(operator, key, placement, facts);
        return;
    }
    let stuck = stuck_pods(operator, &placement, now);
    if !stuck.is_empty() {
        force_away(operator, key, &placement, stuck);
    } else if !registered
        || (operator.state.placements.is_removed(key) && nothing_left(&operator.state, &placement))
    {
        operator.start(HUB, call, async move {
            let dropped = drop_finalizer(&hub, &placement).await;
            Box::new(move |operator: &mut Operator| {
                let result = dropped.map(|left| take_in(operator, &done, &job, left));
                operator.retry_if_failed("release placement", &done, result)
            }) as Then
        });
    } else if operator.state.placements.is_removed(key) {
        // Pods take their time, and a node that stays silent is told by the clock alone.
        operator.requeue_after(&JobKey::of_placement(&placement), now, 5);
    } else {
        let Some(member) = operator.member_client(&placement) else {
            return;
        };
        let others = operator.state.placements_of(&job).filter(|p| {
            p.spec.cluster == placement.spec.cluster && p.metadata.deletion_timestamp.is_none()
        });
        let workload = operator.state.members.get(&placement.spec.cluster);
        let workload = workload.and_then(|member| member.workload_of(&placement));
        let seen = workload.and_then(|workload| workload.metadata.uid.clone());
        let (last, hub_name) = (others.count() == 0, operator.config.hub_name.clone());
        let server = placement.spec.cluster.clone();
        operator.start(&server, call, async move {
            let removed = remove_objects(&member, &facts, &hub_name, &placement, seen, last).await;
            Box::new(move |operator: &mut Operator| {
                if removed.is_ok() {
                    operator.state.placements.removed(&done);
                    operator.state.dirty.jobs.insert(job);
                }
                operator.retry_if_failed("remove workload", &done, removed);
            }) as Then
        });
    }
}

/// Takes in what the hub has left of a placement that is being released. That nothing is left, the watch has yet to say, and never
/// will if it was broken meanwhile.
fn take_in(operator: &mut Operator, key: &ObjectKey, job: &JobKey, left: Option<Placement>) {
    let placements = &mut operator.state.hub.placements;
    match left {
        Some(left) => placements.updated(left),
        None => drop(placements.apply(Change::Forgotten(key.clone()))),
    }
    operator.state.placement_changed(key, Some(job));
}

/// The MemberCluster is gone, and with it the right to its credentials. Where they were still at hand, what runs there
/// is asked once to stop; it is not waited for, since nobody watches it any more.
fn clean_departed(
    operator: &mut Operator,
    key: &ObjectKey,
    placement: Placement,
    facts: KindFacts,
) {
    let Some(member) = operator.departed.get(&placement.spec.cluster).cloned() else {
        operator.state.placements.removed(key);
        let job = JobKey::of_placement(&placement);
        operator.state.dirty.jobs.insert(job);
        return;
    };
    let (job, hub_name, done) = (
        JobKey::of_placement(&placement),
        operator.config.hub_name.clone(),
        key.clone(),
    );
    let server = placement.spec.cluster.clone();
    operator.start(&server, placement_call(key), async move {
        let removed = remove_objects(&member, &facts, &hub_name, &placement, None, true).await;
        Box::new(move |operator: &mut Operator| {
            operator.metrics.called("remove workload", removed.is_ok());
            if let Err(error) = removed {
                tracing::warn!(placement = %done, cluster = %placement.spec.cluster, %error, "left running in a cluster that was removed");
            }
            operator.state.placements.removed(&done);
            operator.state.dirty.jobs.insert(job);
        }) as Then
    });
}

/// Whether the member shows no object of a placement any more, but for pods that could not be forced off silent nodes.
fn nothing_left(state: &State, placement: &Placement) -> bool {
    let Some(member) = state.members.get(&placement.spec.cluster) else {
        return true;
    };
    let key = ObjectKey::of(placement);
    let mut pods = member.pods.of_placement(&key).into_iter().flatten();
    pods.all(|(_, pod)| state.placements.is_forced(&key, &pod.uid))
        && member.workload_of(placement).is_none()
}

/// Takes a decision back. The finalizer keeps it until nothing is left in the member; `None`: it is gone already.
///
/// # Errors
/// The API server's.
async fn delete_placement(
    hub: &Client,
    placement: &Placement,
) -> Result<Option<Placement>, kube::Error> {
    let api: Api<Placement> =
        Api::namespaced(hub.clone(), &placement.namespace().unwrap_or_default());
    failpoint("release.before-delete");
    let params = DeleteParams {
        preconditions: Some(as_decided_on(placement)),
        ..DeleteParams::default()
    };
    match api.delete(&placement.name_any(), &params).await {
        Ok(left_or_done) => Ok(left_or_done.left()),
        Err(error) if says_gone(&error, &placement.name_any()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Only the very version that was decided on: whoever leads by now may have decided otherwise, and written so.
fn as_decided_on(placement: &Placement) -> Preconditions {
    Preconditions {
        uid: placement.uid(),
        resource_version: placement.resource_version(),
    }
}

/// Nothing is left in the member: lets the API server remove the Placement. Returns it where somebody else's finalizer keeps it.
///
/// # Errors
/// The API server's; that it is gone already is none.
async fn drop_finalizer(
    hub: &Client,
    placement: &Placement,
) -> Result<Option<Placement>, kube::Error> {
    let api: Api<Placement> =
        Api::namespaced(hub.clone(), &placement.namespace().unwrap_or_default());
    failpoint("release.before-finalizer");
    let left: Vec<&String> = placement
        .finalizers()
        .iter()
        .filter(|f| *f != labels::PLACEMENT_FINALIZER)
        .collect();
    let patch =
        json!({"metadata": {"finalizers": left, "resourceVersion": placement.resource_version()}});
    match api
        .patch(
            &placement.name_any(),
            &PatchParams::default(),
            &Patch::Merge(&patch),
        )
        .await
    {
        Ok(left) => {
            failpoint("release.done");
            Ok(Some(left).filter(|left| !left.finalizers().is_empty()))
        }
        Err(error) if says_gone(&error, &placement.name_any()) => Ok(None),
        Err(error) => Err(error),
    }
}
