//! The Placement that a decision becomes.

use std::collections::BTreeMap;

use ampacity_api::placement::{DeviceResource, JobRef, NodeFeeds, NodeReplicas};
use ampacity_api::{CapacityType, Decimal, Placement, PlacementSpec, labels};
use ampacity_placement::PlacementDecision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::state::{JobKey, PartFields};

/// The Placement of this name for one attempt of a job, owned by the job.
pub(super) fn placement_object(
    job: &JobKey,
    name: &str,
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
        power_domains: reservation
            .feeds
            .iter()
            .map(|run| NodeFeeds {
                nodes: count(run.nodes),
                domains: run.domains.clone(),
            })
            .collect(),
        usd_per_hour: Decimal::from_micros(decision.usd_per_hour.0),
        price_sheet: decision.price_sheet.clone(),
    };
    let mut placement = Placement::new(name, spec);
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
pub(super) fn device_resource(resource: &str) -> DeviceResource {
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
