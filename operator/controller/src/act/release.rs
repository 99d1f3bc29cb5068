//! Letting go: a placement's objects are removed before the placement is, so that nothing is left behind.

use ampacity_api::{JobKind, Placement, labels};
use jiff::Timestamp;
use kube::ResourceExt;

use super::HUB;
use crate::apply::remove_objects;
use crate::commit::{delete_placement, drop_finalizer};
use crate::dispatch::{inference_name, training_name};
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
        if !registered || (self.cleaned.contains(key) && self.nothing_left(&placement)) {
            self.start(HUB, effect, async move {
                let dropped = drop_finalizer(&hub, &placement).await;
                Box::new(move |operator: &mut Operator| {
                    operator.retry_if_failed("release placement", &done, dropped)
                }) as Then
            });
        } else if !self.cleaned.contains(key) {
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

    /// Whether the member shows no object of a placement any more.
    fn nothing_left(&self, placement: &Placement) -> bool {
        let key = ObjectKey::of(placement);
        let Some(member) = self.world.members.get(&placement.spec.cluster) else {
            return true;
        };
        let name = training_name(
            &placement.spec.job_ref.name,
            placement.spec.attempt,
            placement.spec.replicas,
        );
        member.pods.of_placement(&key).is_none()
            && match placement.spec.job_ref.kind {
                JobKind::TrainingJob => member
                    .jobs
                    .get(&ObjectKey::new(&key.namespace, &name))
                    .is_none(),
                JobKind::InferenceJob => member
                    .deployments
                    .get(&ObjectKey::new(&key.namespace, &inference_name(&key.name)))
                    .is_none(),
            }
    }
}
