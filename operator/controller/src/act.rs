//! The operator's calls: commit, dispatch, bind, release and status. Each starts one effect and says what follows from
//! its result; nothing is decided on a call that has not reported.

use std::collections::BTreeMap;

use ampacity_api::conditions::NewCondition;
use ampacity_api::{
    ConditionReason, ConditionType, InferenceJob, JobKind, Placement, PlacementPhase,
    PlacementStatus, TrainingJob, labels, set_condition,
};
use ampacity_placement::Labels;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions,
};
use kube::{Client, Resource, ResourceExt};

use crate::apply::{ApplyError, bind_pod, make_objects, remove_objects, scale_deployment};
use crate::bind::{RankMap, bind_patch, required_terms};
use crate::commit::{
    CommitError, create_placement, delete_placement, drop_finalizer, replace_placement,
};
use crate::dispatch::{Target, inference_name, training_name, training_objects};
use crate::failpoint::failpoint;
use crate::hub::Unreadable;
use crate::look::{placement_effect, status_effect, workload};
use crate::observe::{Happening, inference_happenings, training_happenings};
use crate::operator::{Operator, Then};
use crate::watch::Change;
use crate::world::{JobKey, ObjectKey, World};

/// Server name of the hub among the effects' limits; no MemberCluster can have it.
const HUB: &str = "(hub)";
/// Status writes have a limit of their own, so that they never hold up placements.
const HUB_STATUS: &str = "(hub status)";
/// Seconds until a failed call is tried again.
const RETRY_SECONDS: i64 = 2;

impl Operator {
    /// Writes a placement and, once it is real, makes its objects.
    pub(crate) fn commit(&mut self, job: JobKey, placement: Placement) {
        let key = ObjectKey::of(&placement);
        let hub = self.hub.clone();
        let member = self.members_client(&placement);
        let target = self.target(&placement);
        let work = workload(&self.world, &placement);
        let (done_job, done_key) = (job.clone(), key.clone());
        let started = self.start(HUB, placement_effect(&key), async move {
            let written = create_placement(&hub, &placement).await;
            let made = match (&written, member, work) {
                (Ok(written), Some(member), Some(work)) => {
                    Some(make_objects(&member, &work, written, &target).await)
                }
                _ => None,
            };
            Box::new(move |operator: &mut Operator| {
                operator.committed(&done_job, &done_key, written, made)
            }) as Then
        });
        if !started {
            // The name is still in use by an earlier object that is being removed; the next cycle tries again.
            self.uncommit(&job, &key);
        }
    }

    fn uncommit(&mut self, job: &JobKey, key: &ObjectKey) {
        self.world.attempts.commit_ended(job);
        if self.placement(key).is_none() {
            self.world.fleet.release(&key.to_string());
            self.world.capacity_version += 1;
        }
        self.look_later(job, Timestamp::now(), 1);
    }

    fn committed(
        &mut self,
        job: &JobKey,
        key: &ObjectKey,
        written: Result<Placement, CommitError>,
        made: Option<Result<(), ApplyError>>,
    ) {
        self.metrics.called("create placement", written.is_ok());
        match written {
            Ok(placement) => {
                tracing::info!(%job, placement = %key.name, cluster = %placement.spec.cluster, watts = placement.spec.watts, "placed");
                self.world.attempts.commit_ended(job);
                self.world
                    .hub
                    .placements
                    .apply(Change::Applied(Box::new(placement)));
                self.placement_changed(key, Some(job));
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
        if let Some(made) = made {
            self.objects_made(key, made);
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
        let name = match placement.spec.job_ref.kind {
            JobKind::TrainingJob => training_name(
                &placement.spec.job_ref.name,
                placement.spec.attempt,
                placement.spec.replicas,
            ),
            JobKind::InferenceJob => inference_name(&key.name),
        };
        let object = ObjectKey::new(&key.namespace, &name);
        let scaled = match placement.spec.job_ref.kind {
            JobKind::TrainingJob => member.jobs.get(&object).is_some().then_some(true),
            JobKind::InferenceJob => member
                .deployments
                .get(&object)
                .map(|d| d.spec.replicas == placement.spec.replicas),
        };
        match scaled {
            None if !self.dispatched.contains(key) => self.dispatch(&placement),
            None => {}
            Some(false) => self.scale(&placement),
            Some(true) => {
                self.seen.insert(key.clone());
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

    /// Makes a placement of an inference job smaller.
    pub(crate) fn shrink(&mut self, key: &ObjectKey, replicas: i32) {
        let Some(placement) = self.placement(key) else {
            return;
        };
        let (old, mut smaller) = (i64::from(placement.spec.replicas.max(1)), placement.clone());
        let mut excess = placement.spec.replicas - replicas;
        for node in smaller.spec.nodes.iter_mut().rev() {
            let fewer = excess.min(node.replicas);
            node.replicas -= fewer;
            excess -= fewer;
        }
        smaller.spec.nodes.retain(|n| n.replicas > 0);
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
        if placement.metadata.deletion_timestamp.is_none() {
            self.start(HUB, effect, async move {
                let deleted = delete_placement(&hub, &placement).await;
                Box::new(move |operator: &mut Operator| {
                    let result = deleted.map(|left| {
                        if let Some(left) = left {
                            operator.world.hub.placements.updated(left);
                        }
                        operator.placement_changed(&done, None);
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
            self.look_later(&World::job_of(&placement), now, 5);
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
            let job = World::job_of(&placement);
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

    pub(crate) fn write_training_status(&mut self, key: &JobKey, job: &TrainingJob) {
        let (hub, object, done) = (self.hub.clone(), job.clone(), key.clone());
        let verdict = job.status.as_ref().is_some_and(|s| s.verdict.is_some());
        let before = self.world.hub.training.get(&key.object);
        let before = before.and_then(|known| known.status.as_ref());
        let after = job.status.clone().unwrap_or_default();
        let happenings = training_happenings(job, before, &after);
        self.start(HUB_STATUS, status_effect(key), async move {
            failpoint("status.before");
            let api: Api<TrainingJob> = Api::namespaced(hub, &done.object.namespace);
            let written = api
                .replace_status(&done.object.name, &PostParams::default(), &object)
                .await;
            if written.is_ok() {
                failpoint("status.written");
            }
            Box::new(move |operator: &mut Operator| {
                let result = written.map(|job| {
                    operator.tell(&job, happenings);
                    operator.world.hub.training.updated(job);
                    if verdict {
                        operator
                            .verdict_written
                            .insert(done.clone(), Timestamp::now());
                    } else {
                        operator.verdict_written.remove(&done);
                    }
                });
                operator.status_written(&done, result);
            }) as Then
        });
    }

    pub(crate) fn write_inference_status(&mut self, key: &JobKey, job: &InferenceJob) {
        let (hub, object, done) = (self.hub.clone(), job.clone(), key.clone());
        let before = self.world.hub.inference.get(&key.object);
        let before = before.and_then(|known| known.status.as_ref());
        let after = job.status.clone().unwrap_or_default();
        let happenings = inference_happenings(job, before, &after);
        self.start(HUB_STATUS, status_effect(key), async move {
            let api: Api<InferenceJob> = Api::namespaced(hub, &done.object.namespace);
            let written = api
                .replace_status(&done.object.name, &PostParams::default(), &object)
                .await;
            Box::new(move |operator: &mut Operator| {
                let result = written.map(|job| {
                    operator.tell(&job, happenings);
                    operator.world.hub.inference.updated(job);
                });
                operator.status_written(&done, result);
            }) as Then
        });
    }

    /// Tells people what happened to an object; its status says the same to programs.
    fn tell<K: Resource<DynamicType = ()>>(&self, object: &K, happenings: Vec<Happening>) {
        for happening in happenings {
            self.recorder.record(object.object_ref(&()), happening);
        }
    }

    fn status_written(&mut self, job: &JobKey, result: Result<(), kube::Error>) {
        self.metrics.called("write status", result.is_ok());
        match result {
            Ok(()) => {
                self.world.dirty.jobs.insert(job.clone());
            }
            // Somebody else wrote it, the user perhaps: the watch brings what, and the status is worked out again.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.look_later(job, Timestamp::now(), 1)
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                tracing::warn!(%job, %error, "status not written; trying again");
                self.look_later(job, Timestamp::now(), RETRY_SECONDS);
            }
        }
    }

    /// Writes how far a placement has come, once it runs or if it takes long to.
    fn write_phase(&mut self, key: &ObjectKey, now: Timestamp) {
        let Some(placement) = self.placement(key) else {
            return;
        };
        let Some(member) = self.world.members.get(&placement.spec.cluster) else {
            return;
        };
        let replicas = placement.spec.replicas;
        let pods = member.pods.of_placement(key);
        let count = |which: &dyn Fn(&crate::pods::OurPod) -> bool| {
            i32::try_from(pods.map_or(0, |p| p.values().filter(|p| which(p)).count()))
                .unwrap_or(i32::MAX)
        };
        let ready = count(&|p| p.ready);
        let phase = if ready >= replicas {
            PlacementPhase::Running
        } else if count(&|p| p.node.is_some()) >= replicas {
            PlacementPhase::Bound
        } else {
            PlacementPhase::Dispatched
        };
        let old = placement.status.clone().unwrap_or_default();
        let age = placement
            .creation_timestamp()
            .map_or(i64::MAX, |t| now.as_second() - t.0.as_second());
        let worth_it = phase == PlacementPhase::Running || age > 5;
        if !worth_it
            || (old.phase == Some(phase) && old.ready_replicas == ready)
            || self.effects.is_running(&status_effect(&JobKey {
                kind: placement.spec.job_ref.kind,
                object: key.clone(),
            }))
        {
            return;
        }
        let mut next = placement.clone();
        let started = (phase == PlacementPhase::Running).then_some(Time(now));
        next.status = Some(PlacementStatus {
            phase: Some(phase),
            ready_replicas: ready,
            start_time: old.start_time.clone().or(started),
            observed_generation: placement.metadata.generation,
            ..old
        });
        let (hub, done) = (self.hub.clone(), key.clone());
        self.start(HUB_STATUS, format!("phase/{key}"), async move {
            let api: Api<Placement> = Api::namespaced(hub, &done.namespace);
            let written = api
                .replace_status(&done.name, &PostParams::default(), &next)
                .await;
            Box::new(move |operator: &mut Operator| {
                operator.metrics.called("write phase", written.is_ok());
                if let Ok(written) = written {
                    operator.world.hub.placements.updated(written);
                }
            }) as Then
        });
    }

    /// Deletes a finished job whose time to live is over.
    pub(crate) fn delete_training_job(&mut self, job: &TrainingJob) {
        let key = JobKey {
            kind: JobKind::TrainingJob,
            object: ObjectKey::of(job),
        };
        let (hub, uid, done) = (self.hub.clone(), job.uid(), key.clone());
        self.start(HUB, status_effect(&key), async move {
            let api: Api<TrainingJob> = Api::namespaced(hub, &done.object.namespace);
            let params = DeleteParams {
                preconditions: Some(Preconditions {
                    uid,
                    resource_version: None,
                }),
                ..DeleteParams::background()
            };
            let deleted = api.delete(&done.object.name, &params).await;
            Box::new(move |operator: &mut Operator| {
                operator.status_written(&done, deleted.map(|_| ()))
            }) as Then
        });
    }

    /// Says on an object that cannot be read what is wrong with it; what it holds stays.
    pub(crate) fn set_aside(&mut self, object: Unreadable) {
        tracing::warn!(kind = %object.kind, key = %object.key, error = %object.error, "object cannot be read");
        let Ok(kind) = object.kind.parse::<JobKind>() else {
            return;
        };
        let job = JobKey {
            kind,
            object: object.key,
        };
        let known = self
            .world
            .hub
            .unreadable
            .insert(job.clone(), object.error.clone());
        self.world.attempts.set_eligible(&job, false);
        if known.as_ref() == Some(&object.error) {
            return;
        }
        let resource = match kind {
            JobKind::TrainingJob => ApiResource::erase::<TrainingJob>(&()),
            JobKind::InferenceJob => ApiResource::erase::<InferenceJob>(&()),
        };
        let message = format!(
            "the object cannot be read: {}; correct it and apply it again",
            object.error
        );
        let mut conditions = Vec::new();
        let condition = NewCondition::new(
            ConditionType::Valid,
            false,
            ConditionReason::InvalidTemplate,
        )
        .message(message);
        set_condition(&mut conditions, condition, &Time(Timestamp::now()));
        let (hub, done) = (self.hub.clone(), job.clone());
        self.start(HUB_STATUS, status_effect(&job), async move {
            let api: Api<DynamicObject> =
                Api::namespaced_with(hub, &done.object.namespace, &resource);
            let patch =
                serde_json::json!({"status": {"state": "Pending", "conditions": conditions}});
            let written = api
                .patch_status(
                    &done.object.name,
                    &PatchParams::default(),
                    &Patch::Merge(&patch),
                )
                .await;
            Box::new(move |operator: &mut Operator| {
                operator.status_written(&done, written.map(|_| ()))
            }) as Then
        });
    }

    fn members_client(&self, placement: &Placement) -> Option<Client> {
        let member = self.world.members.get(&placement.spec.cluster)?;
        member.is_usable().then(|| member.client.clone()).flatten()
    }

    /// What the builders must know of the member.
    fn target(&self, placement: &Placement) -> Target {
        let spec = &placement.spec;
        let vendor = self
            .world
            .catalog
            .get(&spec.accelerator_type)
            .map(|a| a.vendor.clone())
            .unwrap_or_default();
        let mut target = Target {
            hub: self.config.hub_name.clone(),
            vendor,
            ..Target::default()
        };
        let Some(member) = self.world.members.get(&spec.cluster) else {
            return target;
        };
        let labels_of = |name: &str| {
            member
                .nodes
                .get(&ObjectKey::new("", name))
                .map(|n| n.labels().clone())
        };
        let chosen: Vec<(String, Labels)> = spec
            .nodes
            .iter()
            .filter_map(|n| Some((n.name.clone(), labels_of(&n.name)?)))
            .collect();
        for (name, labels) in &chosen {
            if let Some(hostname) = labels.get("kubernetes.io/hostname") {
                target.hostnames.insert(name.clone(), hostname.clone());
            }
        }
        let resource = spec
            .resource
            .resource_name
            .as_ref()
            .or(spec.resource.device_class_name.as_ref());
        target.tolerated_taint_keys = resource
            .and_then(|r| member.taint_keys.get(r))
            .cloned()
            .unwrap_or_default();
        if spec.job_ref.kind == JobKind::InferenceJob {
            add_pool(&mut target, &chosen);
        }
        target
    }
}

/// Labels that tell kinds of nodes apart; the first two tell the device.
const POOL_LABELS: [&str; 8] = [
    "node.kubernetes.io/instance-type",
    "nvidia.com/gpu.product",
    "topology.kubernetes.io/zone",
    "cloud.google.com/gke-accelerator",
    "ampacity.dev/capacity-type",
    "karpenter.sh/capacity-type",
    "eks.amazonaws.com/capacityType",
    "cloud.google.com/gke-spot",
];

/// The pool of an inference placement: the labels that its nodes share, where these tell the device, else the nodes.
fn add_pool(target: &mut Target, chosen: &[(String, Labels)]) {
    let mut shared: BTreeMap<String, String> = BTreeMap::new();
    if let Some((_, first)) = chosen.first() {
        for key in POOL_LABELS {
            if let Some(value) = first
                .get(key)
                .filter(|v| chosen.iter().all(|(_, l)| l.get(key) == Some(v)))
            {
                shared.insert(key.to_owned(), value.clone());
            }
        }
    }
    if POOL_LABELS[..2].iter().any(|key| shared.contains_key(*key)) {
        target.pool_labels = shared;
    }
    target.pool_nodes = chosen.iter().map(|(name, _)| name.clone()).collect();
}
