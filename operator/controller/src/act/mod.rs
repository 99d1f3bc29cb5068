//! The operator's calls: commit, dispatch, bind, release and status. Each starts one effect and says what follows from
//! its result; nothing is decided on a call that has not reported.

mod orphans;
mod release;
mod status;
mod target;

use std::collections::BTreeSet;
use std::time::Instant;

use ampacity_api::placement::NodeReplicas;
use ampacity_api::{JobKind, Placement};
use jiff::Timestamp;

pub(crate) use status::Progress;

use crate::apply::{ApplyError, bind_pod, make_objects, scale_deployment};
use crate::bind::{RankMap, bind_patch, required_terms};
use crate::commit::{CommitError, create_placement, replace_placement};
use crate::dispatch::training_objects;
use crate::holding::reservation;
use crate::look::{placement_effect, workload};
use crate::operator::{Operator, Then};
use crate::watch::Change;
use crate::world::{JobKey, ObjectKey, World};

/// Server name of the hub among the effects' limits; no MemberCluster can have it.
const HUB: &str = "(hub)";
/// Status writes have a limit of their own, so that they never hold up placements.
pub(crate) const HUB_STATUS: &str = "(hub status)";
/// Seconds until a failed call is tried again.
const RETRY_SECONDS: i64 = 2;

impl Operator {
    /// Writes a placement and, once it is real, makes its objects.
    pub(crate) fn commit(&mut self, job: JobKey, placement: Placement) {
        let key = ObjectKey::of(&placement);
        let hub = self.hub.clone();
        let (done_job, done_key) = (job.clone(), key.clone());
        let started = self.start(HUB, placement_effect(&key), async move {
            let written = create_placement(&hub, &placement).await;
            Box::new(move |operator: &mut Operator| {
                operator.committed(&done_job, &done_key, written)
            }) as Then
        });
        if !started {
            // The name is still in use by an earlier object that is being removed; the next cycle tries again.
            self.uncommit(&job, &key);
        }
    }

    /// What was decided is not written: what it held goes back to what is.
    fn uncommit(&mut self, job: &JobKey, key: &ObjectKey) {
        self.world.attempts.commit_ended(job);
        self.world.fleet.release(&key.to_string());
        if let Some(other) = self.placement(key) {
            let held = reservation(&self.world, other);
            self.world.fleet.reserve(held);
        }
        self.world.capacity_version += 1;
        let pause = self.world.attempts.commit_failed(job);
        self.look_later(job, Timestamp::now(), pause);
    }

    fn committed(
        &mut self,
        job: &JobKey,
        key: &ObjectKey,
        written: Result<Placement, CommitError>,
    ) {
        self.metrics.called("create placement", written.is_ok());
        match written {
            Ok(placement) => {
                tracing::info!(%job, placement = %key.name, cluster = %placement.spec.cluster, watts = placement.spec.watts, "placed");
                self.rush.note(key, Instant::now());
                self.world.attempts.commit_ended(job);
                self.world.attempts.commit_succeeded(job);
                self.world
                    .hub
                    .placements
                    .apply(Change::Applied(Box::new(placement)));
                self.placement_changed(key, Some(job));
                // Under the member's own limit: one that does not answer holds up nobody else's placements.
                self.advance(key, Timestamp::now());
            }
            Err(error) => {
                match &error {
                    CommitError::Exists(_) => {
                        tracing::info!(%job, %error, "decided on an old picture")
                    }
                    CommitError::Failed { .. } => {
                        tracing::warn!(%job, %error, "not placed; trying again")
                    }
                }
                self.uncommit(job, key);
            }
        }
    }

    /// Takes a live placement one step further: objects, bindings, replicas, phase.
    pub(crate) fn advance(&mut self, key: &ObjectKey, now: Timestamp) {
        if self.effects.is_running(&placement_effect(key)) {
            return;
        }
        let Some(placement) = self.placement(key).cloned() else {
            return;
        };
        let Some(member) = self
            .world
            .members
            .get(&placement.spec.cluster)
            .filter(|m| m.is_usable())
        else {
            return;
        };
        let scaled = match placement.spec.job_ref.kind {
            JobKind::TrainingJob => member.job_of(&placement).is_some().then_some(true),
            JobKind::InferenceJob => member
                .deployment_of(&placement)
                .map(|d| d.spec.replicas == placement.spec.replicas),
        };
        match scaled {
            None if !self.dispatched.contains(key) => self.dispatch(&placement),
            None => {}
            Some(false) => self.scale(&placement),
            Some(true) => {
                self.bind(&placement);
                self.write_phase(key, now);
            }
        }
    }

    fn dispatch(&mut self, placement: &Placement) {
        let key = ObjectKey::of(placement);
        if self.refused.contains_key(&key) {
            return;
        }
        let (Some(member), Some(work)) = (
            self.members_client(placement),
            workload(&self.world, placement),
        ) else {
            return;
        };
        let (target, server, placement) = (
            self.target(placement),
            placement.spec.cluster.clone(),
            placement.clone(),
        );
        self.start(&server, placement_effect(&key.clone()), async move {
            let made = make_objects(&member, &work, &placement, &target).await;
            Box::new(move |operator: &mut Operator| operator.objects_made(&key, made)) as Then
        });
    }

    fn objects_made(&mut self, key: &ObjectKey, made: Result<(), ApplyError>) {
        self.metrics.called("create workload", made.is_ok());
        let Some(job) = self.placement(key).map(World::job_of) else {
            return;
        };
        match made {
            Ok(()) => {
                self.dispatched.insert(key.clone());
            }
            Err(ApplyError::Transient { cluster, source }) => {
                tracing::warn!(placement = %key, %cluster, error = %source, "objects not made; trying again");
                self.look_later(&job, Timestamp::now(), RETRY_SECONDS);
            }
            Err(error) => {
                tracing::warn!(placement = %key, %error, "objects refused");
                self.refused.insert(key.clone(), error.to_string());
            }
        }
        self.world.dirty.jobs.insert(job);
    }

    fn scale(&mut self, placement: &Placement) {
        let Some(member) = self.members_client(placement) else {
            return;
        };
        let (key, server, placement) = (
            ObjectKey::of(placement),
            placement.spec.cluster.clone(),
            placement.clone(),
        );
        self.start(&server, placement_effect(&key.clone()), async move {
            let scaled = scale_deployment(&member, &placement).await;
            Box::new(move |operator: &mut Operator| {
                operator.retry_if_failed("scale workload", &key, scaled.map(|_| ()))
            }) as Then
        });
    }

    /// After a call about a placement: counts it, and looks at its job again soon if it failed.
    fn retry_if_failed(&mut self, call: &str, key: &ObjectKey, result: Result<(), kube::Error>) {
        self.metrics.called(call, result.is_ok());
        if let Err(error) = result {
            tracing::warn!(placement = %key, %error, call, "call failed; trying again");
            if let Some(job) = self.placement(key).map(World::job_of) {
                self.look_later(&job, Timestamp::now(), RETRY_SECONDS);
            }
        }
    }

    /// Pins gated pods to their nodes, rank by rank.
    fn bind(&mut self, placement: &Placement) {
        let key = ObjectKey::of(placement);
        let Some(member) = self.world.members.get(&placement.spec.cluster) else {
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
        let Some(crate::apply::Workload::Training(job)) = workload(&self.world, placement) else {
            return;
        };
        // The pods' own terms are those that the same builder gives again: it is a pure function.
        let Ok(objects) = training_objects(&job, placement, &self.target(placement)) else {
            return;
        };
        let terms = required_terms(
            objects
                .job
                .spec
                .as_ref()
                .and_then(|s| s.template.spec.as_ref()),
        )
        .to_vec();
        let ranks = RankMap::new(&placement.spec.nodes);
        for (pod, uid, rank) in gated {
            let Some(node) = ranks.node_of(rank) else {
                continue;
            };
            let patch = bind_patch(&uid, &terms, node);
            let (client, namespace, placement_key) =
                (client.clone(), key.namespace.clone(), key.clone());
            let effect = format!("bind/{}/{}/{pod}", placement.spec.cluster, key.namespace);
            let server = placement.spec.cluster.clone();
            self.start(&server, effect, async move {
                let bound = bind_pod(&client, &namespace, &pod, &patch).await;
                Box::new(move |operator: &mut Operator| {
                    operator.retry_if_failed("bind pod", &placement_key, bound)
                }) as Then
            });
        }
    }

    /// Makes a placement of an inference job smaller. What was on lost nodes goes first.
    pub(crate) fn shrink(&mut self, key: &ObjectKey, replicas: i32, lost: &BTreeSet<String>) {
        let Some(placement) = self.placement(key) else {
            return;
        };
        let (old, mut smaller) = (i64::from(placement.spec.replicas.max(1)), placement.clone());
        take_replicas(
            &mut smaller.spec.nodes,
            placement.spec.replicas - replicas,
            lost,
        );
        smaller.spec.replicas = replicas;
        smaller.spec.epoch = self.epoch;
        smaller.spec.watts = smaller.spec.watts * i64::from(replicas) / old;
        smaller.spec.usd_per_hour = ampacity_api::Decimal::from_micros(
            smaller.spec.usd_per_hour.micros() / old * i64::from(replicas),
        );
        let (hub, key) = (self.hub.clone(), key.clone());
        self.start(HUB, placement_effect(&key.clone()), async move {
            let replaced = replace_placement(&hub, &smaller).await;
            Box::new(move |operator: &mut Operator| {
                let result = replaced.map(|written| {
                    operator.world.hub.placements.updated(written);
                    operator.world.capacity_version += 1;
                    operator.placement_changed(&key, None);
                });
                operator.retry_if_failed("shrink placement", &key, result);
            }) as Then
        });
    }
}

/// Takes replicas off nodes, off those that are lost first and off the last ones first.
fn take_replicas(nodes: &mut Vec<NodeReplicas>, mut excess: i32, lost: &BTreeSet<String>) {
    for of_lost in [true, false] {
        for node in nodes.iter_mut().rev() {
            if lost.contains(&node.name) == of_lost {
                let fewer = excess.min(node.replicas).max(0);
                node.replicas -= fewer;
                excess -= fewer;
            }
        }
    }
    nodes.retain(|n| n.replicas > 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_what_a_smaller_placement_gives_up() {
        type Nodes = &'static [(&'static str, i32)];
        let table: &[(&[&str], i32, Nodes)] = &[
            (&[], 1, &[("a", 2), ("b", 1)]),
            (&[], 3, &[("a", 1)]),
            (&["a"], 1, &[("a", 1), ("b", 1), ("c", 1)]),
            (&["a"], 2, &[("b", 1), ("c", 1)]),
            (&["b"], 2, &[("a", 2)]),
            (&["gone"], 1, &[("a", 2), ("b", 1)]),
            (&["a", "b", "c"], 4, &[]),
        ];
        for (lost, excess, expected) in table {
            let mut nodes: Vec<NodeReplicas> = [("a", 2), ("b", 1), ("c", 1)]
                .map(|(name, replicas)| NodeReplicas {
                    name: name.to_owned(),
                    replicas,
                })
                .into();
            let lost = lost.iter().map(|name| (*name).to_owned()).collect();
            take_replicas(&mut nodes, *excess, &lost);
            let left: Vec<(&str, i32)> = nodes
                .iter()
                .map(|n| (n.name.as_str(), n.replicas))
                .collect();
            assert_eq!(left, *expected, "{excess} fewer, {lost:?} lost");
        }
    }
}
