//! Statuses and Events of jobs: what people and programs read.

use ampacity_api::conditions::NewCondition;
use ampacity_api::{ConditionReason, ConditionType, set_condition};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use serde::Serialize;

use super::patch::status_patch;
use crate::runtime::{
    HUB, HUB_CLUSTER, HUB_STATUS, Happening, Operator, RETRY_SECONDS, Then, failpoint, says_gone,
    status_call, wall_clock,
};
use crate::state::{Job, JobKey, NamespacedObject, StoredJob};

/// A status that is to be written.
pub struct StatusChange<S> {
    /// Version of the job that it was worked out from.
    pub resource_version: Option<String>,
    /// What was last written.
    pub before: Option<S>,
    /// What follows.
    pub after: S,
    /// What happened between the two.
    pub happenings: Vec<Happening>,
    /// Whether it explains with numbers why there is no place.
    pub has_verdict: bool,
}

/// Writes the status of a job of type `K`, tells what happened to it, and remembers whether a verdict was said.
pub fn write_status<K, S>(operator: &mut Operator, key: &JobKey, change: StatusChange<S>)
where
    K: NamespacedObject + Job,
    S: Serialize,
{
    let version = change.resource_version.as_deref();
    let patch = match status_patch(version, change.before.as_ref(), &change.after) {
        Ok(patch) => patch,
        Err(error) => {
            tracing::error!(job = %key, %error, "its status cannot be written as JSON; this is a bug, please report it");
            return;
        }
    };
    let (happenings, has_verdict) = (change.happenings, change.has_verdict);
    let (hub, done) = (operator.hub.clone(), key.clone());
    operator.start(HUB_STATUS, status_call(key), async move {
        failpoint("status.before");
        let api: Api<K> = Api::namespaced(hub, &done.object.namespace);
        let name = &done.object.name;
        let written = api
            .patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        if written.is_ok() {
            failpoint("status.written");
        }
        Box::new(move |operator: &mut Operator| {
            let result = written.map(|job| {
                for happening in happenings {
                    count(operator, &happening);
                    operator.recorder.record(job.object_ref(&()), happening);
                }
                if let Some(cache) = operator.state.hub.jobs.get_mut(&done.kind) {
                    cache.updated(StoredJob::new(job));
                }
                if has_verdict || operator.state.jobs.get(&done).is_some() {
                    let written = has_verdict.then(Timestamp::now);
                    operator.state.jobs.record(&done).verdict_written = written;
                }
            });
            status_written(operator, &done, result);
        }) as Then
    });
}

/// Counts what a status has told of a job's life.
fn count(operator: &Operator, happening: &Happening) {
    match happening.action {
        "Replace" => operator.metrics.restarted(happening.reason),
        "Finish" => operator.metrics.finished(happening.reason),
        _ => {}
    }
}

fn status_written(operator: &mut Operator, job: &JobKey, result: Result<(), kube::Error>) {
    operator.metrics.called("write status", result.is_ok());
    match result {
        Ok(()) => {
            operator.state.dirty.jobs.insert(job.clone());
        }
        // Somebody else wrote it, the user perhaps: the watch brings what, and the status is worked out again.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            operator.requeue_after(job, wall_clock(), 1)
        }
        // The watch says the rest.
        Err(error) if says_gone(&error, &job.object.name) => {}
        Err(error) => {
            tracing::warn!(cluster = HUB_CLUSTER, %job, %error, "status not written; trying again");
            operator.requeue_after(job, wall_clock(), RETRY_SECONDS);
        }
    }
}

/// Deletes a finished job whose time to live is over.
pub fn delete_job(operator: &mut Operator, key: &JobKey, uid: Option<String>) {
    let Some(facts) = operator.state.kinds.get(key.kind) else {
        return;
    };
    let (hub, resource, done) = (operator.hub.clone(), facts.resource.clone(), key.clone());
    operator.start(HUB, status_call(key), async move {
        let api: Api<DynamicObject> = Api::namespaced_with(hub, &done.object.namespace, &resource);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid,
                resource_version: None,
            }),
            ..DeleteParams::background()
        };
        let deleted = api.delete(&done.object.name, &params).await;
        Box::new(move |operator: &mut Operator| {
            status_written(operator, &done, deleted.map(|_| ()));
        }) as Then
    });
}

/// Says on a job that cannot be read what is wrong with it, once for each thing that is.
pub fn tell_unreadable(operator: &mut Operator, job: &JobKey) {
    let Some(facts) = operator.state.kinds.get(job.kind) else {
        return;
    };
    let resource = facts.resource.clone();
    let Some(unreadable) = operator
        .state
        .hub
        .unreadable
        .get_mut(job)
        .filter(|unreadable| !unreadable.is_told)
    else {
        return;
    };
    unreadable.is_told = true;
    let message = format!(
        "the object cannot be read: {}; set spec.suspend to true, correct it and set spec.suspend to false, or delete it and apply a corrected one",
        unreadable.error
    );
    let mut conditions = Vec::new();
    let condition = NewCondition::new(
        ConditionType::Valid,
        false,
        ConditionReason::InvalidTemplate,
    )
    .message(message);
    set_condition(&mut conditions, condition, &Time(wall_clock()));
    let (hub, done) = (operator.hub.clone(), job.clone());
    operator.start(HUB_STATUS, status_call(job), async move {
        let api: Api<DynamicObject> = Api::namespaced_with(hub, &done.object.namespace, &resource);
        let patch = serde_json::json!({"status": {
            "state": "Pending", "reason": ConditionReason::InvalidTemplate.as_str(), "conditions": conditions,
        }});
        let written = api
            .patch_status(
                &done.object.name,
                &PatchParams::default(),
                &Patch::Merge(&patch),
            )
            .await;
        Box::new(move |operator: &mut Operator| {
            status_written(operator, &done, written.map(|_| ()));
        }) as Then
    });
}
