//! Which of the given jobs are planned.

use std::collections::BTreeMap;

use ampacity_controller::plan::engine_jobs;
use ampacity_controller::state::{JobIssue, JobKey};
use ampacity_placement::JobSpec;
use jiff::Timestamp;

use super::{Objects, Scene};
use crate::input::{BadInput, FieldPath, Origin};

/// A job as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobName {
    /// `namespace/name`.
    pub(crate) name: String,
    /// `TrainingJob` or `InferenceJob`.
    pub(crate) kind: &'static str,
}

impl JobName {
    fn of(key: &JobKey) -> Self {
        Self {
            name: key.object.to_string(),
            kind: key.kind.as_str(),
        }
    }
}

/// What is to be planned.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    /// Jobs for the engine.
    pub(crate) specs: Vec<JobSpec>,
    /// Their names, by key.
    pub(crate) names: BTreeMap<String, JobName>,
    /// Jobs that cannot be planned, with what is wrong and where they stand.
    pub(crate) invalid: Vec<(JobName, JobIssue, Origin)>,
    /// Jobs that are passed over, and what of others is taken otherwise than it may be meant, in words.
    pub(crate) notes: Vec<String>,
}

impl Jobs {
    /// The jobs among `objects` that wait for a place in the scene.
    pub(crate) fn collect(objects: &Objects, scene: &Scene, now: Timestamp) -> Self {
        let mut jobs = Self::default();
        let mut wait = Vec::new();
        for (key, given) in &objects.jobs {
            let placements: Vec<_> = scene.state.placements_of(key).collect();
            match given.object.job().not_planned(&placements) {
                Some(why) => jobs
                    .notes
                    .push(format!("{} {}: {why}", key.kind, key.object)),
                None => {
                    let remark = given.object.job().remark();
                    jobs.notes.extend(
                        remark.map(|remark| format!("{} {}: {remark}", key.kind, key.object)),
                    );
                    wait.push(key.clone());
                }
            }
        }
        for (key, spec) in engine_jobs(&scene.state, wait, now) {
            let name = JobName::of(&key);
            match spec {
                Ok(spec) => {
                    jobs.names.insert(spec.key.clone(), name);
                    jobs.specs.push(spec);
                }
                Err(issue) => {
                    if let Some(given) = objects.jobs.get(&key) {
                        jobs.invalid.push((name, issue, given.origin.clone()));
                    }
                }
            }
        }
        jobs
    }

    /// What is wrong with the first `most` jobs that cannot be planned, with the places of the fields.
    pub(crate) fn bad_input(&self, most: usize) -> Vec<BadInput> {
        self.invalid
            .iter()
            .take(most)
            .map(|(_, issue, origin)| origin.bad(&FieldPath::parse(&issue.field), &issue.message))
            .collect()
    }
}
