//! Statuses and Events: what people and programs read of jobs and placements.

use std::collections::BTreeMap;
use std::time::Instant;

use ampacity_api::conditions::NewCondition;
use ampacity_api::{
    ConditionReason, ConditionType, InferenceJob, JobKind, Placement, PlacementPhase,
    PlacementStatus, TrainingJob, set_condition,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions,
};
use kube::{Resource, ResourceExt};

use super::{HUB, HUB_STATUS, RETRY_SECONDS};
use crate::failpoint::failpoint;
use crate::hub::Unreadable;
use crate::look::{BUSY_START_SECONDS, status_effect};
use crate::observe::{Happening, inference_happenings, training_happenings, wrong_fact};
use crate::operator::{Operator, Then};
use crate::pods::OurPod;
use crate::stocktake::{FactNote, FactObject};
use crate::world::{JobKey, ObjectKey};

/// A start that takes longer is told of while it goes on.
const SLOW_START_SECONDS: i64 = 5;

/// How far a placement has come, by its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pods: i32,
    bound: i32,
    ready: i32,
}

impl Progress {
    fn of(pods: Option<&BTreeMap<String, OurPod>>) -> Self {
        let count = |which: &dyn Fn(&OurPod) -> bool| {
            let found = pods.map_or(0, |p| p.values().filter(|p| which(p)).count());
            i32::try_from(found).unwrap_or(i32::MAX)
        };
        Self {
            pods: count(&|_| true),
            bound: count(&|p| p.node.is_some()),
            ready: count(&|p| p.ready),
        }
    }

    fn phase(self, replicas: i32) -> PlacementPhase {
        if self.ready >= replicas {
            PlacementPhase::Running
        } else if self.bound >= replicas {
            PlacementPhase::Bound
        } else {
            PlacementPhase::Dispatched
        }
    }
}

impl Operator {
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
                    operator.verdict_written(&done, verdict);
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
        let verdict = after.verdict.is_some();
        let happenings = inference_happenings(job, before, &after);
        self.start(HUB_STATUS, status_effect(key), async move {
            failpoint("status.before");
            let api: Api<InferenceJob> = Api::namespaced(hub, &done.object.namespace);
            let written = api
                .replace_status(&done.object.name, &PostParams::default(), &object)
                .await;
            if written.is_ok() {
                failpoint("status.written");
            }
            Box::new(move |operator: &mut Operator| {
                let result = written.map(|job| {
                    operator.tell(&job, happenings);
                    operator.world.hub.inference.updated(job);
                    operator.verdict_written(&done, verdict);
                });
                operator.status_written(&done, result);
            }) as Then
        });
    }

    fn verdict_written(&mut self, job: &JobKey, verdict: bool) {
        if verdict {
            self.numbers_written.insert(job.clone(), Timestamp::now());
        } else {
            self.numbers_written.remove(job);
        }
    }

    /// Tells people what happened to an object; its status says the same to programs.
    fn tell<K: Resource<DynamicType = ()>>(&self, object: &K, happenings: Vec<Happening>) {
        for happening in happenings {
            self.recorder.record(object.object_ref(&()), happening);
        }
    }

    /// Tells what is wrong with catalogue and prices and was not before.
    pub(crate) fn tell_facts(&self, before: &[FactNote]) {
        let new = |note: &&FactNote| !before.contains(note);
        for note in self.fact_issues.notes.iter().filter(new) {
            tracing::warn!(note = %note.text, "platform facts");
            let hub = &self.world.hub;
            let reference = match &note.object {
                Some(FactObject::AcceleratorType(name)) => {
                    let object = hub.accelerator_types.named(name);
                    object.map(|object| object.object_ref(&()))
                }
                Some(FactObject::PriceSheet(name)) => {
                    let object = hub.price_sheets.named(name);
                    object.map(|object| object.object_ref(&()))
                }
                None => None,
            };
            if let Some(reference) = reference {
                self.recorder
                    .record(reference, wrong_fact(note.text.clone()));
            }
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
    pub(super) fn write_phase(&mut self, key: &ObjectKey, now: Timestamp) {
        let Some(placement) = self.placement(key) else {
            return;
        };
        let Some(member) = self.world.members.get(&placement.spec.cluster) else {
            return;
        };
        let progress = Progress::of(member.pods.of_placement(key));
        let (phase, ready) = (progress.phase(placement.spec.replicas), progress.ready);
        let old = placement.status.clone().unwrap_or_default();
        let age = placement
            .creation_timestamp()
            .map_or(i64::MAX, |t| now.as_second() - t.0.as_second());
        if self.seen.insert(key.clone(), progress) != Some(progress) && age < BUSY_START_SECONDS {
            self.rush.note(key, Instant::now());
        }
        // A start that takes no longer than most is told once; while others are being placed, they go first.
        let busy = self.rush.is_on(Instant::now());
        let patience_seconds = if busy {
            BUSY_START_SECONDS
        } else {
            SLOW_START_SECONDS
        };
        let settled = phase == PlacementPhase::Running && !busy;
        let worth_it = settled || age > patience_seconds;
        if !worth_it || (old.phase == Some(phase) && old.ready_replicas == ready) {
            return;
        }
        let Some(placement) = self.placement(key) else {
            return;
        };
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
            failpoint("phase.before");
            let api: Api<Placement> = Api::namespaced(hub, &done.namespace);
            let written = api
                .replace_status(&done.name, &PostParams::default(), &next)
                .await;
            if written.is_ok() {
                failpoint("phase.written");
            }
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
            "the object cannot be read: {}; set spec.suspend to true, correct it and set spec.suspend to false, or delete it and apply a corrected one",
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
}
