//! What runs in a member though its Placement is gone: a MemberCluster was deleted and registered again, or somebody took a
//! Placement's finalizer off. It would run for ever, and nobody would know.

use ampacity_api::{JobKind, labels};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::apply::{Orphan, remove_orphan};
use crate::commit::is_gone;
use crate::dispatch::{HUB, PLACEMENT_UID};
use crate::look::placement_effect;
use crate::operator::{Operator, Then};
use crate::world::{JobKey, Member, ObjectKey, World};

impl Operator {
    /// Looks for orphans in the clusters where there may be some, and removes them.
    pub(crate) fn collect_orphans(&mut self, now: Timestamp) {
        for cluster in std::mem::take(&mut self.world.dirty.orphans) {
            let found = match self.world.members.get(&cluster) {
                Some(member) if member.is_usable() => orphans(&self.world, member, &cluster),
                _ => continue,
            };
            for orphan in found {
                self.remove_orphan(&cluster, orphan, now);
            }
        }
    }

    fn remove_orphan(&mut self, cluster: &str, orphan: Orphan, now: Timestamp) {
        let key = ObjectKey::new(&orphan.namespace, &orphan.placement);
        // It is being written or removed right now.
        if self.effects.is_running(&placement_effect(&key)) {
            return;
        }
        let Some(member) = self
            .world
            .members
            .get(cluster)
            .and_then(|m| m.client.clone())
        else {
            return;
        };
        let job = JobKey {
            kind: orphan.kind,
            object: ObjectKey::new(&orphan.namespace, &orphan.job),
        };
        let has_others = self
            .world
            .placements_of(&job, None)
            .any(|p| p.spec.cluster == cluster);
        let last = !self.world.attempts.is_committing(&job) && !has_others;
        if orphan.kind == JobKind::InferenceJob && last {
            // The Service that a job's replicas share must not be removed under a new one's feet.
            self.avoid(&job, cluster, now);
        }
        let (hub, hub_name) = (self.hub.clone(), self.config.hub_name.clone());
        let (name, uid) = (orphan.name.clone(), orphan.placement_uid.clone());
        let (at, again) = (cluster.to_owned(), cluster.to_owned());
        self.start(cluster, format!("orphan/{cluster}/{key}/{uid}"), async move {
            let removed = match is_gone(&hub, &key, &uid).await {
                Ok(true) => {
                    tracing::warn!(cluster = %at, workload = %name, placement = %key, "its Placement is gone: removed");
                    remove_orphan(&member, &hub_name, &orphan, last).await
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
}

/// Workloads of this hub in a member whose Placement the hub does not show.
fn orphans(world: &World, member: &Member, cluster: &str) -> Vec<Orphan> {
    let jobs = member.jobs.values().map(|job| &job.metadata);
    let deployments = member.deployments.values().map(|d| &d.metadata);
    jobs.map(|meta| (JobKind::TrainingJob, meta))
        .chain(deployments.map(|meta| (JobKind::InferenceJob, meta)))
        .filter(|(_, meta)| meta.deletion_timestamp.is_none())
        .filter_map(|(kind, meta)| orphan(member.pods.hub_name(), kind, meta))
        .filter(|orphan| {
            let key = ObjectKey::new(&orphan.namespace, &orphan.placement);
            world.hub.placements.get(&key).is_none_or(|p| {
                p.metadata.uid.as_ref() != Some(&orphan.placement_uid) || p.spec.cluster != cluster
            })
        })
        .collect()
}

/// A workload as an orphan, if it is of this hub and says all that is needed.
fn orphan(hub_name: &str, kind: JobKind, meta: &ObjectMeta) -> Option<Orphan> {
    let all = meta.labels.as_ref()?;
    let label = |key: &str| all.get(key).cloned();
    (label(HUB)? == hub_name).then_some(())?;
    Some(Orphan {
        namespace: meta.namespace.clone()?,
        name: meta.name.clone()?,
        kind,
        job: label(labels::JOB_NAME)?,
        job_uid: label(labels::JOB_UID)?,
        placement: label(labels::PLACEMENT)?,
        placement_uid: meta.annotations.as_ref()?.get(PLACEMENT_UID)?.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::member::SlimJob;
    use crate::stocktake::tests::{object, placement, world};
    use crate::watch::Change;

    fn job(hub: &str, placement: &str, uid: &str) -> SlimJob {
        object(json!({
            "metadata": {"name": placement, "namespace": "research",
                "labels": {
                    HUB: hub, labels::PLACEMENT: placement,
                    labels::JOB_NAME: "llama", labels::JOB_UID: "job-uid",
                },
                "annotations": {PLACEMENT_UID: uid}},
        }))
    }

    #[test]
    fn only_this_hubs_workloads_without_their_placement_are_orphans() {
        let mut leaving = job("hub-1", "llama-9", "uid-9");
        leaving.metadata.deletion_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(crate::stocktake::tests::NOW),
        );
        for (what, job, expected) in [
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
            let mut world = world();
            world
                .hub
                .placements
                .apply(Change::All(vec![placement("TrainingJob", 1, &[("a", 1)])]));
            let member = world.members.get_mut("oslo").unwrap();
            member.jobs.apply(Change::All(vec![job]));
            let found = orphans(&world, &world.members["oslo"], "oslo");
            assert_eq!(!found.is_empty(), expected, "{what}");
        }
    }
}
