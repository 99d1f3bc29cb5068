//! How far a placement has come, written into its status.

use std::time::Instant;

use ampacity_api::{Placement, PlacementPhase, PlacementStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};

use super::pace::BUSY_START_SECONDS;
use super::patch::status_patch;
use crate::runtime::{HUB_PHASES, Operator, Then, failpoint, wall_clock};
use crate::state::{JobKey, ObjectKey, Progress};

/// A start that takes longer is told of while it goes on.
const SLOW_START_SECONDS: i64 = 5;

/// Within a phase, ready replicas are told of this often.
const COUNTS_EVERY_SECONDS: i64 = 15;

/// Writes how far a placement has come, once it runs or if it takes long to.
pub fn write_phase(operator: &mut Operator, key: &ObjectKey, now: Timestamp) {
    let Some(placement) = operator.state.placement(key).cloned() else {
        return;
    };
    let Some(member) = operator.state.members.get(&placement.spec.cluster) else {
        return;
    };
    let progress = Progress::of(member.pods.of_placement(key));
    let (phase, ready) = (progress.phase(placement.spec.replicas), progress.ready());
    let old = placement.status.clone().unwrap_or_default();
    let age = placement
        .creation_timestamp()
        .map_or(i64::MAX, |t| now.as_second() - t.0.as_second());
    if operator.state.placements.observed(key, progress) && age < BUSY_START_SECONDS {
        operator.state.burst.note(key, Instant::now());
    }
    // A start that takes no longer than most is told once; while others are being placed, they go first.
    let busy = operator.state.burst.is_on(Instant::now());
    let patience_seconds = if busy {
        BUSY_START_SECONDS
    } else {
        SLOW_START_SECONDS
    };
    let worth_it = phase == PlacementPhase::Running || age > patience_seconds;
    let same_phase = old.phase == Some(phase);
    if !worth_it || (same_phase && old.ready_replicas == ready) {
        return;
    }
    // A gang of thousands becomes ready one by one, and each write sends the whole Placement to whoever watches.
    let told = operator.state.placements.phase_told(key);
    let lately = told.is_some_and(|at| now.as_second() - at.as_second() < COUNTS_EVERY_SECONDS);
    if same_phase && lately {
        return;
    }
    operator.state.placements.tell_phase(key, now);
    let started = (phase == PlacementPhase::Running).then_some(Time(now));
    let next = PlacementStatus {
        phase: Some(phase),
        ready_replicas: ready,
        start_time: old.start_time.clone().or(started),
        observed_generation: placement.metadata.generation,
        ..old.clone()
    };
    let version = placement.metadata.resource_version.as_deref();
    let Ok(patch) = status_patch(version, Some(&old), &next) else {
        return;
    };
    let (hub, done) = (operator.hub.clone(), key.clone());
    let job = JobKey::of_placement(&placement);
    operator.start(HUB_PHASES, format!("phase/{key}"), async move {
        failpoint("phase.before");
        let api: Api<Placement> = Api::namespaced(hub, &done.namespace);
        let written = api
            .patch_status(&done.name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        if written.is_ok() {
            failpoint("phase.written");
        }
        Box::new(move |operator: &mut Operator| {
            match written {
                // Another write came first; it is worked out again from what that one says.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    operator.metrics.called("write phase", false);
                    operator.requeue_after(&job, wall_clock(), 1);
                }
                written => {
                    let result =
                        written.map(|written| operator.state.hub.placements.updated(written));
                    operator.retry_if_failed("write phase", &done, result);
                }
            }
        }) as Then
    });
}
