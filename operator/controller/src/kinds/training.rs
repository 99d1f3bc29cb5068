//! TrainingJob: a gang that runs to completion, one attempt at a time.

pub(super) mod attempt;
pub(super) mod events;
mod limits;
mod names;
mod objects;
mod spec;
pub(super) mod status;
pub(super) mod work;

use std::any::Any;
use std::collections::BTreeMap;

use ampacity_api::conditions::find_condition;
use ampacity_api::{
    ConditionReason, ConditionType, JobKind, Placement, TrainingJob, TrainingJobState,
    TrainingJobStatus,
};
use ampacity_placement::JobSpec;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job as BatchJob;
use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use kube::core::ApiResource;

use self::attempt::TrainingFacts;
use self::events::training_happenings;
use self::objects::training_objects;
use self::spec::training_spec;
use self::status::next_training_status;
use self::work::expected_end;
use super::{Assessment, Facts, Kind};
use crate::dispatch::{DispatchError, Objects, Target, replaced_requests};
use crate::observe::{News, PlacementView};
use crate::plan::fields::{charge, priority};
use crate::runtime::Happening;
use crate::state::{Charge, Demand, Job, JobContext, JobIssue, KindFacts, ServiceScope};

/// Watches report what happens; the clock is asked every so many seconds for what does not happen while a gang runs.
const CHECK_RUNNING_SECONDS: i64 = 15;
/// The same while it starts.
const CHECK_STARTING_SECONDS: i64 = 2;

impl Job for TrainingJob {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn owner_ref(&self) -> Option<OwnerReference> {
        self.controller_owner_ref(&())
    }

    fn last_attempt(&self) -> i32 {
        let status = self.status.as_ref();
        status.map_or(0, |s| s.attempts.max(s.ended_attempts))
    }

    fn ended_attempts(&self) -> i32 {
        self.status.as_ref().map_or(0, |s| s.ended_attempts)
    }

    fn not_planned(&self, placements: &[&Placement]) -> Option<String> {
        let status = self.status.as_ref();
        let state = status.and_then(|status| status.state).unwrap_or_default();
        let said = match state {
            TrainingJobState::Failed => "has failed and is not planned",
            TrainingJobState::Succeeded => "has succeeded and is not planned",
            _ if self.spec.suspend => "is suspended and not planned",
            _ => "",
        };
        if !said.is_empty() {
            return Some(said.to_owned());
        }
        if let Some(placement) = placements.first() {
            return Some(format!(
                "runs in {} already; what it holds is counted",
                placement.spec.cluster
            ));
        }
        let runs = matches!(
            state,
            TrainingJobState::Starting | TrainingJobState::Running
        );
        let place = status.and_then(|status| status.placement.as_ref());
        place.filter(|_| runs).map(|place| {
            format!(
                "runs in {} already; its Placement {} is not given, so that what it holds is counted only as far as its pods are",
                place.cluster, place.name
            )
        })
    }

    fn remark(&self) -> Option<String> {
        replaced_requests(&self.spec.template, &self.spec.alternatives)
    }

    fn engine_job(
        &self,
        key: &str,
        _placements: &[&Placement],
        context: &JobContext<'_>,
    ) -> Result<JobSpec, JobIssue> {
        let class = self.spec.priority_class_name.as_deref();
        let priority = priority(class, context.priority_classes)?;
        training_spec(self, key, priority, context)
    }

    fn charge(&self, placement: &Placement) -> Charge {
        let spec = &self.spec;
        let ends = expected_end(self, placement);
        charge(
            &spec.queue,
            &spec.template,
            &spec.alternatives,
            placement,
            ends,
        )
    }

    fn demand(&self, _placements: &[&Placement]) -> Demand {
        Demand::of(&self.spec.queue, &self.spec.alternatives, |a| a.replicas)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Kind for TrainingJob {
    type Status = TrainingJobStatus;
    type Workload = BatchJob;

    const KIND: JobKind = JobKind::TrainingJob;
    const ONE_AT_A_TIME: bool = true;

    fn facts() -> KindFacts {
        KindFacts {
            kind: Self::KIND,
            resource: ApiResource::erase::<Self>(&()),
            placement_name: names::placement_name,
            workload: ApiResource::erase::<BatchJob>(&()),
            workload_name: names::workload_name,
            service: ServiceScope::Placement(names::service_name),
            replicas_move: false,
        }
    }

    fn status(&self) -> Option<&TrainingJobStatus> {
        self.status.as_ref()
    }

    fn has_verdict(status: &TrainingJobStatus) -> bool {
        status.verdict.is_some()
    }

    fn is_finished(&self) -> bool {
        let state = self.status.as_ref().and_then(|status| status.state);
        state.is_some_and(TrainingJobState::is_finished)
    }

    fn seconds_to_live(&self, now: Timestamp) -> Option<i64> {
        let done = self.status.as_ref()?.completion_time.as_ref()?;
        let age = now.as_second() - done.0.as_second();
        Some(self.spec.ttl_seconds_after_finished? - age)
    }

    fn is_live(&self, placement: &Placement) -> bool {
        !self.is_finished() && placement.spec.attempt > self.ended_attempts()
    }

    fn assess(&self, facts: Facts<'_>) -> Assessment<TrainingJobStatus> {
        let old = self.status.clone().unwrap_or_default();
        let running = old.state == Some(TrainingJobState::Running);
        let facts = TrainingFacts {
            placement: facts.placements.into_iter().next().map(|mut view| {
                view.known.was_dispatched |= running;
                view
            }),
            issue: facts.issue,
            waiting: facts.waiting,
            steps: facts.steps,
            now: facts.now,
        };
        let status = next_training_status(self, &facts);
        let view = facts.placement.as_ref();
        let ended = status.ended_attempts > old.ended_attempts;
        let cluster = view.map(|view| view.placement.spec.cluster.clone());
        let why_late = view.and_then(|view| view.start.late.as_ref());
        let no_node = why_late.is_some_and(|late| late.reason == ConditionReason::Unschedulable);
        let refused = view.is_some_and(|view| view.known.refused.is_some() || is_rejected(view));
        let (no_node, refused) = (
            ended && no_node,
            ended && (refused || (why_late.is_some() && !no_node)),
        );
        let pause = status.next_attempt_time.as_ref();
        let pause = pause.map_or(0, |next| next.0.as_second() - facts.now.as_second());
        Assessment {
            news: news(self, &old, &status, view.map(|view| view.placement)),
            ended,
            wants_place: view.is_none() && !self.spec.suspend && pause <= 0,
            refused_by: cluster.clone().filter(|_| refused).into_iter().collect(),
            no_node_in: cluster
                .filter(|_| no_node && !refused)
                .into_iter()
                .collect(),
            resize: Vec::new(),
            lost_nodes: Default::default(),
            check_after_seconds: match view {
                Some(_) if running => Some(CHECK_RUNNING_SECONDS),
                Some(_) => Some(CHECK_STARTING_SECONDS),
                None => (pause > 0).then_some(pause),
            },
            status,
        }
    }

    fn happenings(
        &self,
        before: Option<&TrainingJobStatus>,
        after: &TrainingJobStatus,
    ) -> Vec<Happening> {
        training_happenings(self, before, after)
    }

    fn objects(
        &self,
        placement: &Placement,
        target: &Target,
    ) -> Result<Objects<BatchJob>, DispatchError> {
        training_objects(self, placement, target)
    }

    fn pod_spec(workload: &BatchJob) -> Option<&PodSpec> {
        workload.spec.as_ref()?.template.spec.as_ref()
    }
}

/// Whether something keeps it from running, which is to be told at once.
fn is_hindered(status: &TrainingJobStatus) -> bool {
    find_condition(&status.conditions, ConditionType::Running)
        .is_some_and(|c| c.status == "False" && !c.message.is_empty())
}

/// Whether the kubelet of a node would not run one of its pods.
fn is_rejected(view: &PlacementView<'_>) -> bool {
    let pods = view.pods.into_iter().flat_map(BTreeMap::values);
    pods.into_iter().any(|pod| pod.rejected.is_some())
}

/// What is new in the next status: what only passes by on the way to the next state may wait, and numbers of a verdict that
/// change with every other job.
fn news(
    job: &TrainingJob,
    old: &TrainingJobStatus,
    next: &TrainingJobStatus,
    placement: Option<&Placement>,
) -> News {
    let same_attempt = next.ended_attempts == old.ended_attempts;
    match next.state {
        Some(state @ (TrainingJobState::Starting | TrainingJobState::Running))
            if same_attempt
                && old.state != Some(TrainingJobState::Running)
                && !is_hindered(next) =>
        {
            News::Start {
                placed: placement.and_then(|p| p.metadata.creation_timestamp.clone()),
                runs: state == TrainingJobState::Running,
            }
        }
        Some(TrainingJobState::Pending) if same_attempt && !job.spec.suspend => {
            if old.state.is_none() {
                return News::FirstWait {
                    submitted: job.metadata.creation_timestamp.clone(),
                };
            }
            let spoken = find_condition(&old.conditions, ConditionType::Placed).is_some();
            let only_numbers =
                old.state == next.state && old.verdict.is_some() && next.verdict.is_some();
            if only_numbers && spoken {
                News::Numbers
            } else {
                News::Now
            }
        }
        _ => News::Now,
    }
}
