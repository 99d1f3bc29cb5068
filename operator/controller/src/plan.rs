//! One planning cycle: eligible jobs in, placements to commit out. The engine decides; this stage only translates.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::placement::{DeviceResource, JobRef, NodeReplicas};
use ampacity_api::{CapacityType, Decimal, JobKind, Placement, PlacementSpec, labels};
use ampacity_placement::{Fleet, JobSpec, PlacementDecision, PlanOptions, Reservation};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

use crate::queue::Why;
use crate::translate::{
    ClusterSite, JobContext, JobIssue, PartFields, inference_spec, placed_replicas, priority,
    training_spec,
};
use crate::world::{JobKey, ObjectKey, World};

/// What a cycle decided.
#[derive(Debug, Default)]
pub struct Cycle {
    /// Placements to write, each with the job it is for. Their devices and watts are reserved already.
    pub commits: Vec<(JobKey, Placement)>,
    /// Jobs whose reason for waiting changed.
    pub waiting: Vec<JobKey>,
    /// How many jobs were considered.
    pub considered: usize,
}

/// Plans every eligible job that was not tried under the present circumstances, beside those that were promised a start.
pub fn plan_cycle(world: &mut World, epoch: i64, now: Timestamp) -> Cycle {
    let version = world.capacity_version;
    let mut candidates: BTreeSet<JobKey> = world
        .attempts
        .candidates(version, |job| generation(world, job))
        .cloned()
        .collect();
    let mut cycle = Cycle {
        considered: candidates.len(),
        ..Cycle::default()
    };
    if candidates.is_empty() {
        return cycle;
    }
    candidates.extend(world.attempts.promised().cloned());
    let sites = sites(world);
    let classes = priority_classes(world);
    let context = JobContext {
        catalog: &world.catalog,
        prices: &world.prices,
        clusters: &sites,
    };
    let mut specs = Vec::with_capacity(candidates.len());
    let mut keys = BTreeMap::new();
    let mut issues = Vec::new();
    for job in candidates {
        match job_spec(world, &job, &classes, &context, now) {
            Some(Ok(spec)) => {
                keys.insert(spec.key.clone(), job);
                specs.push(spec);
            }
            Some(Err(issue)) => issues.push((job, issue)),
            None => {}
        }
    }
    for (job, issue) in issues {
        wait(world, &mut cycle, job, Why::Invalid(issue), now);
    }
    let plan = world.fleet.plan(
        &specs,
        &PlanOptions {
            now_seconds: now.as_second(),
            horizon_seconds: 0,
        },
    );
    for decision in plan.placements {
        if let Some(job) = keys.get(&decision.job) {
            commit(world, &mut cycle, job, decision, epoch);
        }
    }
    for unplaced in plan.unplaced {
        if let Some(job) = keys.get(&unplaced.job) {
            wait(
                world,
                &mut cycle,
                job.clone(),
                Why::does_not_fit(unplaced, now),
                now,
            );
        }
    }
    cycle
}

fn wait(world: &mut World, cycle: &mut Cycle, job: JobKey, why: Why, now: Timestamp) {
    let generation = generation(world, &job).unwrap_or_default();
    if world
        .attempts
        .must_wait(&job, why, now, world.capacity_version, generation)
    {
        cycle.waiting.push(job);
    }
}

fn generation(world: &World, job: &JobKey) -> Option<i64> {
    match job.kind {
        JobKind::TrainingJob => world.hub.training.get(&job.object)?.metadata.generation,
        JobKind::InferenceJob => world.hub.inference.get(&job.object)?.metadata.generation,
    }
}

fn sites(world: &World) -> Vec<ClusterSite> {
    let site = |cluster: &ampacity_api::MemberCluster| ClusterSite {
        name: cluster.name_any(),
        provider: cluster.spec.provider.clone(),
        region: cluster.spec.region.clone(),
    };
    world.hub.clusters.values().map(site).collect()
}

fn priority_classes(world: &World) -> BTreeMap<String, i32> {
    world
        .hub
        .priority_classes
        .values()
        .map(|class| (class.name_any(), class.value.unwrap_or(0)))
        .collect()
}

fn job_spec(
    world: &World,
    job: &JobKey,
    classes: &BTreeMap<String, i32>,
    context: &JobContext<'_>,
    now: Timestamp,
) -> Option<Result<JobSpec, JobIssue>> {
    let key = job.to_string();
    let spec = match job.kind {
        JobKind::TrainingJob => {
            let object = world.hub.training.get(&job.object)?;
            priority(object.spec.priority_class_name.as_deref(), classes)
                .and_then(|priority| training_spec(object, &key, priority, context))
        }
        JobKind::InferenceJob => {
            let object = world.hub.inference.get(&job.object)?;
            let live = world
                .placements_of(job, object.metadata.uid.as_deref())
                .filter(|p| p.metadata.deletion_timestamp.is_none());
            let placed = placed_replicas(live);
            priority(object.spec.priority_class_name.as_deref(), classes)
                .and_then(|priority| inference_spec(object, &key, priority, placed, context))
        }
    };
    Some(spec.map(|mut spec| {
        spec.excluded_clusters
            .extend(world.attempts.avoided_by(job, now).cloned());
        spec
    }))
}

fn commit(
    world: &mut World,
    cycle: &mut Cycle,
    job: &JobKey,
    decision: PlacementDecision,
    epoch: i64,
) {
    let owner = match job.kind {
        JobKind::TrainingJob => world
            .hub
            .training
            .get(&job.object)
            .and_then(|j| j.controller_owner_ref(&())),
        JobKind::InferenceJob => world
            .hub
            .inference
            .get(&job.object)
            .and_then(|j| j.controller_owner_ref(&())),
    };
    let Some(owner) = owner else {
        world.fleet.release(&decision.reservation.key);
        return;
    };
    let earlier = cycle.commits.iter().filter(|(key, _)| key == job).count();
    let attempt =
        next_attempt(world, job).saturating_add(i32::try_from(earlier).unwrap_or(i32::MAX));
    let placement = placement_object(job, &decision, attempt, epoch, owner);
    rekey(
        &mut world.fleet,
        decision.reservation,
        &ObjectKey::of(&placement),
    );
    world.attempts.commit_started(job);
    cycle.commits.push((job.clone(), placement));
}

/// From here on the reservation goes by the Placement's name, as it will after a restart.
fn rekey(fleet: &mut Fleet, mut reservation: Reservation, placement: &ObjectKey) {
    fleet.release(&reservation.key);
    reservation.key = placement.to_string();
    fleet.reserve(reservation);
}

/// One more than any attempt ever made, as far as the API server knows.
fn next_attempt(world: &World, job: &JobKey) -> i32 {
    let status = match job.kind {
        JobKind::TrainingJob => world
            .hub
            .training
            .get(&job.object)
            .and_then(|j| j.status.as_ref())
            .map_or(0, |s| s.attempts.max(s.ended_attempts)),
        JobKind::InferenceJob => 0,
    };
    world
        .placements_of(job, None)
        .map(|p| p.spec.attempt)
        .fold(status, i32::max)
        .saturating_add(1)
}

/// Name of the Placement of an attempt: `<job>-<attempt>`, for an InferenceJob `<job>-i<number>`. Jobs of both kinds may
/// have one name, their Placements may not; and no TrainingJob's can look like the latter, whatever its name. Job names
/// have at most 52 characters, so it fits wherever it is used.
pub fn placement_name(job: &JobKey, attempt: i32) -> String {
    match job.kind {
        JobKind::TrainingJob => format!("{}-{attempt}", job.object.name),
        JobKind::InferenceJob => format!("{}-i{attempt}", job.object.name),
    }
}

fn placement_object(
    job: &JobKey,
    decision: &PlacementDecision,
    attempt: i32,
    epoch: i64,
    owner: OwnerReference,
) -> Placement {
    let reservation = &decision.reservation;
    let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let part = PartFields::of(&reservation.part);
    let spec = PlacementSpec {
        job_ref: JobRef {
            kind: job.kind,
            name: job.object.name.clone(),
            uid: owner.uid.clone(),
        },
        attempt,
        epoch,
        cluster: reservation.cluster.clone(),
        alternative: decision.alternative.clone(),
        accelerator_type: reservation.accelerator_type.clone(),
        capacity_type: capacity_type(decision.capacity_type),
        devices_per_replica: count(reservation.devices_per_replica),
        mig_profile: part.mig_profile,
        millidevices: part.millidevices,
        replicas: count(decision.replicas()),
        nodes: reservation
            .nodes
            .iter()
            .map(|n| NodeReplicas {
                name: n.name.clone(),
                replicas: count(n.replicas),
            })
            .collect(),
        resource: device_resource(&decision.resource),
        power_cap_watts: None,
        watts: reservation.watts.0,
        usd_per_hour: Decimal::from_micros(decision.usd_per_hour.0),
        price_sheet: decision.price_sheet.clone(),
    };
    let mut placement = Placement::new(&placement_name(job, attempt), spec);
    placement.metadata = ObjectMeta {
        name: placement.metadata.name,
        namespace: Some(job.object.namespace.clone()),
        labels: Some(BTreeMap::from([
            (labels::JOB_NAME.to_owned(), job.object.name.clone()),
            (labels::JOB_KIND.to_owned(), job.kind.as_str().to_owned()),
            (labels::JOB_UID.to_owned(), owner.uid.clone()),
            (labels::ATTEMPT.to_owned(), attempt.to_string()),
        ])),
        finalizers: Some(vec![labels::PLACEMENT_FINALIZER.to_owned()]),
        owner_references: Some(vec![OwnerReference {
            block_owner_deletion: Some(false),
            ..owner
        }]),
        ..ObjectMeta::default()
    };
    placement
}

/// Resource names have a `/`, device classes do not.
fn device_resource(resource: &str) -> DeviceResource {
    if resource.contains('/') {
        DeviceResource {
            resource_name: Some(resource.to_owned()),
            device_class_name: None,
        }
    } else {
        DeviceResource {
            resource_name: None,
            device_class_name: Some(resource.to_owned()),
        }
    }
}

fn capacity_type(capacity_type: ampacity_placement::CapacityType) -> CapacityType {
    match capacity_type {
        ampacity_placement::CapacityType::Owned => CapacityType::Owned,
        ampacity_placement::CapacityType::Reserved => CapacityType::Reserved,
        ampacity_placement::CapacityType::Spot => CapacityType::Spot,
        ampacity_placement::CapacityType::OnDemand => CapacityType::OnDemand,
    }
}

#[cfg(test)]
mod tests;
