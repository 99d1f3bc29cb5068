//! What runs in a member though its Placement is gone: a MemberCluster was deleted and registered again, or somebody took a
//! Placement's finalizer off. It would run for ever, and nobody would know.

use ampacity_api::{JobKind, Placement, labels};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::Api;

use super::remove::{Orphan, remove_orphan};
use crate::queue::avoid_cluster;
use crate::runtime::{Operator, Then, placement_call};
use crate::state::{JobKey, Member, ObjectKey, ServiceScope, State};

/// Looks for orphans in the clusters where there may be some, and removes them.
pub fn collect_orphans(operator: &mut Operator, now: Timestamp) {
    for cluster in std::mem::take(&mut operator.state.dirty.orphans) {
        let found = match operator.state.members.get(&cluster) {
            Some(member) if member.is_usable() => orphans(&operator.state, member, &cluster),
            _ => continue,
        };
        for orphan in found {
            remove(operator, &cluster, orphan, now);
        }
    }
}

fn remove(operator: &mut Operator, cluster: &str, orphan: Orphan, now: Timestamp) {
    let key = ObjectKey::new(&orphan.namespace, &orphan.placement);
    // It is being written or removed right now.
    if operator.calls.is_running(&placement_call(&key)) {
        return;
    }
    let Some(member) = operator
        .state
        .members
        .get(cluster)
        .and_then(|m| m.client.clone())
    else {
        return;
    };
    let Some(facts) = operator.state.kinds.get(orphan.kind).cloned() else {
        return;
    };
    let job = JobKey {
        kind: orphan.kind,
        object: ObjectKey::new(&orphan.namespace, &orphan.job),
    };
    let has_others = operator
        .state
        .placements_of(&job)
        .any(|p| p.spec.cluster == cluster);
    let last = !operator.state.jobs.is_committing(&job) && !has_others;
    if matches!(facts.service, ServiceScope::Job(_)) && last {
        // The Service that a job's replicas share must not be removed under a new one's feet.
        avoid_cluster(&mut operator.state, &job, cluster, now);
    }
    let (hub, hub_name) = (operator.hub.clone(), operator.config.hub_name.clone());
    let (name, uid) = (orphan.name.clone(), orphan.placement_uid.clone());
    let (at, again) = (cluster.to_owned(), cluster.to_owned());
    operator.start(cluster, format!("orphan/{cluster}/{key}/{uid}"), async move {
        let removed = match is_gone(&hub, &key, &uid).await {
            Ok(true) => {
                tracing::warn!(cluster = %at, workload = %name, placement = %key, "its Placement is gone: removed");
                remove_orphan(&member, &facts, &hub_name, &orphan, last).await
            }
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        Box::new(move |operator: &mut Operator| {
            operator.metrics.called("remove orphan", removed.is_ok());
            if let Err(error) = removed {
                tracing::warn!(cluster = %again, %error, "an orphan is not removed; trying again when the cluster changes");
            }
        }) as Then
    });
}

/// Whether a Placement is gone for good, as the API server itself says now: a watch may be behind, and a Placement is always
/// written before anything is made from it. One of the same name made later has another UID.
///
/// # Errors
/// The API server's.
async fn is_gone(hub: &Client, key: &ObjectKey, uid: &str) -> Result<bool, kube::Error> {
    let api: Api<Placement> = Api::namespaced(hub.clone(), &key.namespace);
    let there = api.get_metadata_opt(&key.name).await?;
    Ok(there.is_none_or(|there| there.metadata.uid.as_deref() != Some(uid)))
}

/// Workloads of this hub in a member whose Placement the hub does not show.
fn orphans(state: &State, member: &Member, cluster: &str) -> Vec<Orphan> {
    let all = member.workloads.iter();
    all.flat_map(|(kind, cache)| cache.values().map(|w| (*kind, &w.metadata)))
        .filter(|(_, meta)| meta.deletion_timestamp.is_none())
        .filter_map(|(kind, meta)| orphan(member, kind, meta))
        .filter(|orphan| {
            let key = ObjectKey::new(&orphan.namespace, &orphan.placement);
            state.hub.placements.get(&key).is_none_or(|p| {
                p.metadata.uid.as_ref() != Some(&orphan.placement_uid) || p.spec.cluster != cluster
            })
        })
        .collect()
}

/// A workload as an orphan, if it is of this hub and says all that is needed.
fn orphan(member: &Member, kind: JobKind, meta: &ObjectMeta) -> Option<Orphan> {
    let all = meta.labels.as_ref()?;
    let label = |key: &str| all.get(key).cloned();
    (all.get(labels::JOB_KIND).map(String::as_str) == Some(kind.as_str())).then_some(())?;
    member.pods.is_of_hub(all.get(labels::HUB)).then_some(())?;
    Some(Orphan {
        namespace: meta.namespace.clone()?,
        name: meta.name.clone()?,
        kind,
        job: label(labels::JOB_NAME)?,
        job_uid: label(labels::JOB_UID)?,
        placement: label(labels::PLACEMENT)?,
        placement_uid: meta
            .annotations
            .as_ref()?
            .get(labels::PLACEMENT_UID)?
            .clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::Change;
    use crate::state::Workload;
    use crate::testing::{NOW, object, placement, state};

    fn job(hub: &str, placement: &str, uid: &str) -> Workload {
        object(json!({
            "metadata": {"name": placement, "namespace": "research",
                "labels": {
                    labels::HUB: hub, labels::PLACEMENT: placement,
                    labels::JOB_NAME: "llama", labels::JOB_UID: "job-uid",
                    labels::JOB_KIND: "TrainingJob",
                },
                "annotations": {labels::PLACEMENT_UID: uid}},
        }))
    }

    #[test]
    fn only_this_hubs_workloads_without_their_placement_are_orphans() {
        let mut leaving = job("hub-1", "llama-9", "uid-9");
        leaving.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(NOW));
        let mut of_another_kind = job("hub-1", "llama-9", "uid-9");
        let own = of_another_kind.metadata.labels.as_mut().unwrap();
        own.insert(labels::JOB_KIND.to_owned(), "InferenceJob".to_owned());
        for (what, job, expected) in [
            (
                "of a kind that this object does not run",
                of_another_kind,
                false,
            ),
            (
                "its placement is there",
                job("hub-1", "llama-1", "uid-of-llama-1"),
                false,
            ),
            (
                "its placement is gone",
                job("hub-1", "llama-9", "uid-9"),
                true,
            ),
            (
                "another placement has its name",
                job("hub-1", "llama-1", "uid-0"),
                true,
            ),
            ("another hub's", job("hub-2", "llama-9", "uid-9"), false),
            ("on its way out", leaving, false),
        ] {
            let mut state = state();
            state
                .hub
                .placements
                .apply(Change::All(vec![placement("TrainingJob", 1, &[("a", 1)])]));
            let member = state.members.get_mut("oslo").unwrap();
            member
                .workloads
                .entry(JobKind::TrainingJob)
                .or_default()
                .apply(Change::All(vec![job]));
            let found = orphans(&state, &state.members["oslo"], "oslo");
            assert_eq!(!found.is_empty(), expected, "{what}");
        }
    }
}
