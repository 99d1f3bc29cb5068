//! Which of the given jobs are planned.

use std::collections::BTreeMap;

use ampacity_api::{JobKind, TrainingJobState};
use ampacity_controller::translate::{
    JobContext, JobIssue, inference_spec, placed_replicas, priority, training_spec,
};
use ampacity_placement::JobSpec;
use kube::ResourceExt;

use super::fleet::{Scene, holds};
use super::objects::{Given, Name, Objects};
use crate::input::{BadInput, FieldPath, Origin};

/// A job as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JobName {
    /// `namespace/name`.
    pub(super) name: String,
    /// `TrainingJob` or `InferenceJob`.
    pub(super) kind: &'static str,
}

/// What is to be planned.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// Jobs for the engine.
    pub(super) specs: Vec<JobSpec>,
    /// Their names, by key.
    pub(super) names: BTreeMap<String, JobName>,
    /// Jobs that cannot be planned, with what is wrong and where they stand.
    pub(super) invalid: Vec<(JobName, JobIssue, Origin)>,
    /// Jobs that are passed over, in words.
    pub(super) notes: Vec<String>,
}

/// The jobs among `objects` that wait for a place.
pub(super) fn collect(objects: &Objects, scene: &Scene) -> Jobs {
    let context = JobContext {
        catalog: &scene.catalog,
        prices: &scene.prices,
        clusters: &scene.sites,
    };
    let mut jobs = Jobs::default();
    let running = placements_by_job(objects);
    for (name, given) in &objects.training {
        let shown = shown(JobKind::TrainingJob, name);
        if let Some(why) = training_is_left_out(&running, name, given) {
            jobs.notes
                .push(format!("{} {}: {why}", shown.kind, shown.name));
            continue;
        }
        let job = &given.object;
        let spec = priority(
            job.spec.priority_class_name.as_deref(),
            &objects.priority_classes,
        )
        .and_then(|priority| training_spec(job, &key(&shown), priority, &context));
        jobs.add(shown, spec, given);
    }
    for (name, given) in &objects.inference {
        let shown = shown(JobKind::InferenceJob, name);
        let job = &given.object;
        if job.spec.suspend {
            jobs.notes.push(format!(
                "{} {}: is suspended and not planned",
                shown.kind, shown.name
            ));
            continue;
        }
        let placed = placed_replicas(
            placements(&running, JobKind::InferenceJob, name).map(|given| &given.object),
        );
        let spec = priority(
            job.spec.priority_class_name.as_deref(),
            &objects.priority_classes,
        )
        .and_then(|priority| inference_spec(job, &key(&shown), priority, placed, &context));
        jobs.add(shown, spec, given);
    }
    jobs
}

impl Jobs {
    fn add<T>(&mut self, name: JobName, spec: Result<JobSpec, JobIssue>, given: &Given<T>) {
        match spec {
            Ok(spec) => {
                self.names.insert(spec.key.clone(), name);
                self.specs.push(spec);
            }
            Err(issue) => self.invalid.push((name, issue, given.origin.clone())),
        }
    }

    /// What is wrong with the first `most` jobs that cannot be planned, with the places of the fields.
    pub(super) fn bad_input(&self, most: usize) -> Vec<BadInput> {
        self.invalid
            .iter()
            .take(most)
            .map(|(_, issue, origin)| origin.bad(&FieldPath::parse(&issue.field), &issue.message))
            .collect()
    }
}

fn shown(kind: JobKind, (namespace, name): &Name) -> JobName {
    JobName {
        name: format!("{namespace}/{name}"),
        kind: kind.as_str(),
    }
}

fn key(job: &JobName) -> String {
    format!("{}/{}", job.kind, job.name)
}

fn training_is_left_out(
    running: &PlacementsByJob<'_>,
    name: &Name,
    given: &Given<ampacity_api::TrainingJob>,
) -> Option<String> {
    let job = &given.object;
    let status = job.status.as_ref();
    let state = status.and_then(|status| status.state).unwrap_or_default();
    if state.is_finished() {
        return Some(format!(
            "has {state} and is not planned",
            state = match state {
                TrainingJobState::Failed => "failed",
                _ => "succeeded",
            }
        ));
    }
    if job.spec.suspend {
        return Some("is suspended and not planned".to_owned());
    }
    if let Some(placement) = placements(running, JobKind::TrainingJob, name).next() {
        return Some(format!(
            "runs in {} already; what it holds is counted",
            placement.object.spec.cluster
        ));
    }
    let running = matches!(
        state,
        TrainingJobState::Starting | TrainingJobState::Running
    );
    let place = status.and_then(|status| status.placement.as_ref());
    place.filter(|_| running).map(|place| {
        format!(
            "runs in {} already; its Placement {} is not given, so that what it holds is counted only as far as its pods are",
            place.cluster, place.name
        )
    })
}

/// Placements that hold something, by kind, namespace and name of their job.
type PlacementsByJob<'a> = BTreeMap<(&'static str, Name), Vec<&'a Given<ampacity_api::Placement>>>;

fn placements_by_job(objects: &Objects) -> PlacementsByJob<'_> {
    let mut by_job = PlacementsByJob::new();
    for given in objects.placements.values() {
        let placement = &given.object;
        let job = &placement.spec.job_ref;
        let name = (placement.namespace().unwrap_or_default(), job.name.clone());
        if holds(given, objects) {
            let key = (job.kind.as_str(), name);
            by_job.entry(key).or_default().push(given);
        }
    }
    by_job
}

/// Placements of a job that hold something.
fn placements<'a>(
    running: &'a PlacementsByJob<'_>,
    kind: JobKind,
    name: &Name,
) -> impl Iterator<Item = &'a Given<ampacity_api::Placement>> {
    let of_job = running.get(&(kind.as_str(), name.clone()));
    of_job.into_iter().flatten().copied()
}
