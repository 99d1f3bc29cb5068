//! The engine's jobs, from the state: the same for the operator and for `ampacity plan`.

use std::collections::BTreeMap;

use ampacity_api::{ConditionReason, MemberCluster};
use ampacity_placement::JobSpec;
use jiff::Timestamp;
use kube::ResourceExt;

use crate::state::{ClusterSite, JobContext, JobIssue, JobKey, State, reserved_namespace};

/// A job for the engine, or what is wrong with it.
pub type EngineJob = (JobKey, Result<JobSpec, JobIssue>);

/// The engine's jobs for what has no place yet of these jobs. A job that is not there is left out.
pub fn engine_jobs(
    state: &State,
    jobs: impl IntoIterator<Item = JobKey>,
    now: Timestamp,
) -> Vec<EngineJob> {
    let clusters: Vec<ClusterSite> = state.hub.clusters.values().map(site).collect();
    let classes = state.hub.priority_classes.values();
    let priority_classes: BTreeMap<String, i32> = classes
        .map(|class| (class.name_any(), class.value.unwrap_or(0)))
        .collect();
    let context = JobContext {
        catalog: &state.catalog,
        prices: &state.prices,
        clusters: &clusters,
        priority_classes: &priority_classes,
    };
    let translate = |job: JobKey| Some((job.clone(), engine_job(state, &job, &context, now)?));
    jobs.into_iter().filter_map(translate).collect()
}

fn site(cluster: &MemberCluster) -> ClusterSite {
    ClusterSite {
        name: cluster.name_any(),
        provider: cluster.spec.provider.clone(),
        region: cluster.spec.region.clone(),
    }
}

fn engine_job(
    state: &State,
    job: &JobKey,
    context: &JobContext<'_>,
    now: Timestamp,
) -> Option<Result<JobSpec, JobIssue>> {
    let object = state.hub.job(job)?;
    let own = state.own_namespace.as_deref();
    if let Some(message) = reserved_namespace(&job.object.namespace, own) {
        return Some(Err(JobIssue::new(
            "metadata.namespace",
            ConditionReason::ReservedNamespace,
            message,
        )));
    }
    let uid = object.metadata().uid.as_deref();
    let live = state.placements_of(job).filter(|p| {
        p.metadata.deletion_timestamp.is_none() && uid.is_none_or(|uid| p.spec.job_ref.uid == uid)
    });
    let live: Vec<_> = live.collect();
    let spec = object.engine_job(&job.to_string(), &live, context);
    Some(spec.map(|mut spec| {
        let avoided = state.jobs.avoided_by(job, now);
        spec.excluded_clusters.extend(avoided.cloned());
        spec
    }))
}
