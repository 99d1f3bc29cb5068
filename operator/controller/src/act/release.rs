//! Letting go: a placement's objects are removed before the placement is, so that nothing is left behind.

use ampacity_api::{Placement, labels};
use jiff::Timestamp;
use kube::ResourceExt;

use super::HUB;
use crate::apply::{force_pod, remove_objects};
use crate::commit::{delete_placement, drop_finalizer};
use crate::look::placement_effect;
use crate::operator::{Operator, Then};
use crate::watch::Change;
use crate::world::{ObjectKey, World};

impl Operator {
    /// Takes a placement one step further towards being gone: deleted, its objects removed, its finalizer dropped.
    pub(crate) fn release(&mut self, key: &ObjectKey, now: Timestamp) {
        let effect = placement_effect(key);
        if self.effects.is_running(&effect) {
            return;
        }
        let Some(placement) = self.placement(key).cloned() else {
            return;
        };
        let hub = self.hub.clone();
        let done = key.clone();
        let job = World::job_of(&placement);
        if placement.metadata.deletion_timestamp.is_none() {
            self.start(HUB, effect, async move {
                let deleted = delete_placement(&hub, &placement).await;
                Box::new(move |operator: &mut Operator| {
                    let result = deleted.map(|left| {
                        match left {
                            Some(left) => operator.world.hub.placements.updated(left),
                            // The watch has yet to say so: waiting for it would mean deleting over and over until then.
                            None => drop(
                                operator
                                    .world
                                    .hub
                                    .placements
                                    .apply(Change::Forgotten(done.clone())),
                            ),
                        }
                        operator.placement_changed(&done, Some(&job));
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
        let registered = self
            .world
            .hub
            .clusters
            .named(&placement.spec.cluster)
            .is_some();
        if registered
            && !self
                .world
                .members
                .get(&placement.spec.cluster)
                .is_some_and(|m| m.is_usable())
        {
            // It keeps what it holds until its member can be asked to let go.
            self.look_later(&job, now, 5);
            return;
        }
        if !self.cleaned.contains(key) && !registered {
            self.clean_departed(key, placement);
            return;
        }
        let stuck = self.stuck_pods(&placement, now);
        if !stuck.is_empty() {
            self.force_away(key, &placement, stuck);
        } else if !registered || (self.cleaned.contains(key) && self.nothing_left(&placement)) {
            self.start(HUB, effect, async move {
                let dropped = drop_finalizer(&hub, &placement).await;
                Box::new(move |operator: &mut Operator| {
                    operator.retry_if_failed("release placement", &done, dropped)
                }) as Then
            });
        } else if self.cleaned.contains(key) {
            // Pods take their time, and a node that stays silent is told by the clock alone.
            self.look_later(&World::job_of(&placement), now, 5);
        } else {
            let Some(member) = self.members_client(&placement) else {
                return;
            };
            let others = self.world.placements_of(&job, None).filter(|p| {
                p.spec.cluster == placement.spec.cluster && p.metadata.deletion_timestamp.is_none()
            });
            let (last, hub_name) = (others.count() == 0, self.config.hub_name.clone());
            let server = placement.spec.cluster.clone();
            self.start(&server, effect, async move {
                let removed = remove_objects(&member, &hub_name, &placement, last).await;
                Box::new(move |operator: &mut Operator| {
                    if removed.is_ok() {
                        operator.cleaned.insert(done.clone());
                        operator.world.dirty.jobs.insert(job);
                    }
                    operator.retry_if_failed("remove workload", &done, removed);
                }) as Then
            });
        }
    }

    /// The MemberCluster is gone, and with it the right to its credentials. Where they were still at hand, what runs there
    /// is asked once to stop; it is not waited for, since nobody watches it any more.
    fn clean_departed(&mut self, key: &ObjectKey, placement: Placement) {
        let Some(member) = self.departed.get(&placement.spec.cluster).cloned() else {
            self.cleaned.insert(key.clone());
            let job = World::job_of(&placement);
            self.world.dirty.jobs.insert(job);
            return;
        };
        let (job, hub_name, done) = (
            World::job_of(&placement),
            self.config.hub_name.clone(),
            key.clone(),
        );
        let server = placement.spec.cluster.clone();
        self.start(&server, placement_effect(key), async move {
            let removed = remove_objects(&member, &hub_name, &placement, true).await;
            Box::new(move |operator: &mut Operator| {
                operator.metrics.called("remove workload", removed.is_ok());
                if let Err(error) = removed {
                    tracing::warn!(placement = %done, cluster = %placement.spec.cluster, %error, "left running in a cluster that was removed");
                }
                operator.cleaned.insert(done);
                operator.world.dirty.jobs.insert(job);
            }) as Then
        });
    }

    /// Pods of a placement that wait to be ended by the kubelet of a node that has been silent for longer than the grace:
    /// it never will.
    fn stuck_pods(&self, placement: &Placement, now: Timestamp) -> Vec<(String, String)> {
        let key = ObjectKey::of(placement);
        let grace = i64::try_from(self.config.node_grace.as_secs()).unwrap_or(i64::MAX);
        let Some(member) = self.world.members.get(&placement.spec.cluster) else {
            return Vec::new();
        };
        let is_silent = |node: &str| {
            let silent = member.outages.get(node).and_then(|o| o.silent_since);
            silent.is_some_and(|since| now.as_second() - since.as_second() >= grace)
        };
        let pods = member.pods.of_placement(&key).into_iter().flatten();
        pods.filter(|(_, pod)| pod.terminating && pod.node.as_deref().is_some_and(is_silent))
            .filter(|(_, pod)| !self.forced.contains(&pod.uid))
            .map(|(name, pod)| (name.clone(), pod.uid.clone()))
            .collect()
    }

    /// Takes pods out of the API server that no kubelet will ever report ended, as `kubectl delete --force` does.
    fn force_away(&mut self, key: &ObjectKey, placement: &Placement, pods: Vec<(String, String)>) {
        let Some(member) = self.members_client(placement) else {
            return;
        };
        let (done, server) = (key.clone(), placement.spec.cluster.clone());
        let job = World::job_of(placement);
        self.start(&server, placement_effect(key), async move {
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
                operator.forced.extend(tried);
                operator.world.dirty.jobs.insert(job);
                operator.retry_if_failed("force pod away", &done, result);
            }) as Then
        });
    }

    /// Whether the member shows no object of a placement any more, but for pods that could not be forced off silent nodes.
    fn nothing_left(&self, placement: &Placement) -> bool {
        let Some(member) = self.world.members.get(&placement.spec.cluster) else {
            return true;
        };
        let mut pods = member
            .pods
            .of_placement(&ObjectKey::of(placement))
            .into_iter()
            .flatten();
        pods.all(|(_, pod)| self.forced.contains(&pod.uid)) && !member.has_workload(placement)
    }
}
