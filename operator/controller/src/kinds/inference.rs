//! InferenceJob: replicas that run until the job is deleted, in any number of placements at once.

pub(super) mod events;
mod names;
mod objects;
mod spec;
pub(super) mod status;

use std::any::Any;
use std::collections::BTreeSet;

use ampacity_api::{ConditionReason, InferenceJob, InferenceJobStatus, JobKind, Placement};
use ampacity_placement::JobSpec;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use kube::core::ApiResource;

use self::events::inference_happenings;
use self::objects::inference_objects;
use self::spec::{inference_spec, placed_replicas};
use self::status::{InferenceFacts, inference_status, resize};
use super::{Assessment, Facts, Kind};
use crate::dispatch::{DispatchError, Objects, Target, replaced_requests};
use crate::observe::{News, PlacementView};
use crate::plan::fields::{charge, priority};
use crate::runtime::Happening;
use crate::state::{
    Charge, Demand, Job, JobContext, JobIssue, KindFacts, ObjectKey, ServiceScope, Workload,
};

/// Watches report what happens; the clock is asked every so many seconds for what does not happen.
const CHECK_SECONDS: i64 = 5;

impl Job for InferenceJob {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn owner_ref(&self) -> Option<OwnerReference> {
        self.controller_owner_ref(&())
    }

    fn last_attempt(&self) -> i32 {
        self.status.as_ref().map_or(0, |status| status.attempts)
    }

    fn ended_attempts(&self) -> i32 {
        0
    }

    fn not_planned(&self, _placements: &[&Placement]) -> Option<String> {
        let suspended = self.spec.suspend;
        suspended.then(|| "is suspended and not planned".to_owned())
    }

    fn remark(&self) -> Option<String> {
        replaced_requests(&self.spec.template, &self.spec.alternatives)
    }

    fn engine_job(
        &self,
        key: &str,
        placements: &[&Placement],
        context: &JobContext<'_>,
    ) -> Result<JobSpec, JobIssue> {
        let class = self.spec.priority_class_name.as_deref();
        let priority = priority(class, context.priority_classes)?;
        let placed = placed_replicas(placements.iter().copied());
        inference_spec(self, key, priority, placed, context)
    }

    fn charge(&self, placement: &Placement) -> Charge {
        let spec = &self.spec;
        charge(
            &spec.queue,
            &spec.template,
            &spec.alternatives,
            placement,
            None,
        )
    }

    fn demand(&self, placements: &[&Placement]) -> Demand {
        let placed = placements.iter().map(|p| p.spec.replicas);
        let placed = placed.fold(0_i32, i32::saturating_add);
        let missing = self.spec.replicas.saturating_sub(placed);
        Demand::of(&self.spec.queue, &self.spec.alternatives, |_| missing)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Kind for InferenceJob {
    type Status = InferenceJobStatus;
    type Workload = Deployment;

    const KIND: JobKind = JobKind::InferenceJob;
    const ONE_AT_A_TIME: bool = false;

    fn facts() -> KindFacts {
        KindFacts {
            kind: Self::KIND,
            resource: ApiResource::erase::<Self>(&()),
            placement_name: names::placement_name,
            workload: ApiResource::erase::<Deployment>(&()),
            workload_name: names::workload_name,
            service: ServiceScope::Job(names::service_name),
            replicas_move: true,
        }
    }

    fn status(&self) -> Option<&InferenceJobStatus> {
        self.status.as_ref()
    }

    fn has_verdict(status: &InferenceJobStatus) -> bool {
        status.verdict.is_some()
    }

    fn is_live(&self, placement: &Placement) -> bool {
        placement.metadata.deletion_timestamp.is_none() && !self.spec.suspend
    }

    fn assess(&self, facts: Facts<'_>) -> Assessment<InferenceJobStatus> {
        let views = &facts.placements;
        let wanted = if self.spec.suspend {
            0
        } else {
            i64::from(self.spec.replicas)
        };
        let placed: i64 = views
            .iter()
            .map(|view| i64::from(view.placement.spec.replicas))
            .sum();
        let clusters = |which: &dyn Fn(&PlacementView<'_>) -> bool| -> BTreeSet<String> {
            let views = views.iter().filter(|view| which(view));
            views.map(|v| v.placement.spec.cluster.clone()).collect()
        };
        let late = |view: &PlacementView<'_>| {
            let late = view.start.late.as_ref().filter(|_| view.lost() > 0);
            late.map(|late| late.reason)
        };
        let unschedulable = Some(ConditionReason::Unschedulable);
        let refused_by = clusters(&|view| {
            view.known.refused.is_some() || late(view).is_some_and(|_| late(view) != unschedulable)
        });
        let no_node_in = clusters(&|view| late(view) == unschedulable);
        let lost_nodes = views.iter().flat_map(|v| v.lost_nodes.clone()).collect();
        let mut changes = resize(views, placed - wanted);
        let wants_place = placed < wanted && changes.is_empty();
        // What a member refuses goes as a whole, whatever else becomes of it.
        let refused = views.iter().filter(|view| view.known.refused.is_some());
        changes.extend(refused.map(|view| (ObjectKey::of(view.placement), 0)));
        let check_after_seconds = (!views.is_empty()).then_some(CHECK_SECONDS);
        let status = inference_status(
            self,
            &InferenceFacts {
                placements: facts.placements,
                issue: facts.issue,
                waiting: facts.waiting,
                steps: facts.steps,
                now: facts.now,
            },
        );
        Assessment {
            news: news(self.status.as_ref(), &status),
            status,
            ended: false,
            wants_place,
            refused_by,
            no_node_in,
            resize: changes,
            lost_nodes,
            check_after_seconds,
        }
    }

    fn happenings(
        &self,
        before: Option<&InferenceJobStatus>,
        after: &InferenceJobStatus,
    ) -> Vec<Happening> {
        inference_happenings(self, before, after)
    }

    fn objects(
        &self,
        placement: &Placement,
        target: &Target,
    ) -> Result<Objects<Deployment>, DispatchError> {
        inference_objects(self, placement, target)
    }

    fn pod_spec(workload: &Deployment) -> Option<&PodSpec> {
        workload.spec.template.spec.as_ref()
    }

    fn is_scaled(workload: &Workload, placement: &Placement) -> bool {
        workload.spec.replicas == placement.spec.replicas
    }
}

/// What is new in the next status: numbers of a verdict that change with every other job may wait.
fn news(old: Option<&InferenceJobStatus>, next: &InferenceJobStatus) -> News {
    let only_numbers = old.is_some_and(|old| {
        old.verdict.is_some()
            && next.verdict.is_some()
            && (old.state, old.placed_replicas, old.ready_replicas)
                == (next.state, next.placed_replicas, next.ready_replicas)
    });
    if only_numbers {
        News::Numbers
    } else {
        News::Now
    }
}
