//! What clusters and placements are to the engine. The operator and `ampacity plan` both ask here, so that what is planned
//! from files is what runs.

use std::collections::BTreeMap;

use ampacity_api::job::DEFAULT_QUEUE;
use ampacity_api::{InferenceJob, MemberCluster, Placement, TrainingJob};
use ampacity_placement::{ClusterSpec, MicroUsd, NodeShare, PlacedReplicas, Reservation, Watts};
use kube::ResourceExt;

use super::{device_part, pod_shape};
use crate::observe::expected_end;

/// A cluster; one that is being deleted takes nothing new.
pub fn cluster_spec(cluster: &MemberCluster, reachable: bool) -> ClusterSpec {
    ClusterSpec {
        name: cluster.name_any(),
        labels: cluster.labels().clone(),
        provider: cluster.spec.provider.clone(),
        region: cluster.spec.region.clone(),
        reachable: reachable && cluster.metadata.deletion_timestamp.is_none(),
        allowed_namespaces: cluster.spec.allowed_namespaces.clone(),
    }
}

/// What a replica holds beside devices, and who is charged: it stands in the job, not in the Placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Queue that is charged.
    pub queue: String,
    /// CPU of one replica in millicores.
    pub cpu_milli: u64,
    /// Memory of one replica in MiB.
    pub memory_mib: u64,
    /// When what is held should be free again, Unix seconds; `None`: nobody knows.
    pub ends_seconds: Option<i64>,
}

impl Default for Charge {
    fn default() -> Self {
        Self {
            queue: DEFAULT_QUEUE.to_owned(),
            cpu_milli: 0,
            memory_mib: 0,
            ends_seconds: None,
        }
    }
}

impl Charge {
    /// Of a replica of a TrainingJob's placement.
    pub fn of_training(job: &TrainingJob, placement: &Placement) -> Self {
        let (spec, alternative) = (&job.spec, &placement.spec.alternative);
        let chosen = spec.alternatives.iter().find(|a| a.name == *alternative);
        let shape = chosen.and_then(|a| pod_shape(&spec.template, a, "spec").ok());
        Self {
            queue: spec.queue.clone(),
            cpu_milli: shape.as_ref().map_or(0, |s| s.cpu_milli),
            memory_mib: shape.as_ref().map_or(0, |s| s.memory_mib),
            ends_seconds: expected_end(job, placement),
        }
    }

    /// Of a replica of an InferenceJob's placement.
    pub fn of_inference(job: &InferenceJob, placement: &Placement) -> Self {
        let (spec, alternative) = (&job.spec, &placement.spec.alternative);
        let chosen = spec.alternatives.iter().find(|a| a.name == *alternative);
        let shape = chosen.and_then(|a| pod_shape(&spec.template, a, "spec").ok());
        Self {
            queue: spec.queue.clone(),
            cpu_milli: shape.as_ref().map_or(0, |s| s.cpu_milli),
            memory_mib: shape.as_ref().map_or(0, |s| s.memory_mib),
            ends_seconds: None,
        }
    }

    /// What was charged before, where the job is not known.
    pub fn of_reservation(known: &Reservation) -> Self {
        Self {
            queue: known.queue.clone(),
            cpu_milli: known.cpu_milli,
            memory_mib: known.memory_mib,
            ends_seconds: known.ends_seconds,
        }
    }
}

/// What placements of an InferenceJob hold already: each node bears its share of the price.
pub fn placed_replicas<'a>(
    placements: impl IntoIterator<Item = &'a Placement>,
) -> Vec<PlacedReplicas> {
    let of_placement = |placement: &'a Placement| {
        let spec = &placement.spec;
        let all = i64::from(spec.replicas.max(1));
        spec.nodes.iter().map(move |node| PlacedReplicas {
            cluster: spec.cluster.clone(),
            node: node.name.clone(),
            replicas: node.replicas.unsigned_abs(),
            usd_per_hour: MicroUsd(
                spec.usd_per_hour.micros().div_euclid(all) * i64::from(node.replicas),
            ),
        })
    };
    placements.into_iter().flat_map(of_placement).collect()
}

/// What a placement holds on `nodes`, for the ledger.
pub fn reservation(placement: &Placement, charge: Charge, nodes: Vec<NodeShare>) -> Reservation {
    let spec = &placement.spec;
    let namespace = placement.namespace().unwrap_or_default();
    Reservation {
        key: format!("{namespace}/{}", placement.name_any()),
        queue: charge.queue,
        cluster: spec.cluster.clone(),
        accelerator_type: spec.accelerator_type.clone(),
        part: device_part(spec.mig_profile.as_deref(), spec.millidevices),
        devices_per_replica: u32::try_from(spec.devices_per_replica).unwrap_or(0),
        cpu_milli: charge.cpu_milli,
        memory_mib: charge.memory_mib,
        nodes,
        watts: Watts(spec.watts),
        ends_seconds: charge.ends_seconds,
    }
}

/// Where a placement's replicas were planned.
pub fn planned_shares(placement: &Placement) -> Vec<NodeShare> {
    let share = |node: &ampacity_api::placement::NodeReplicas| NodeShare {
        name: node.name.clone(),
        replicas: u32::try_from(node.replicas).unwrap_or(0),
    };
    placement.spec.nodes.iter().map(share).collect()
}

/// Where replicas are that the member's scheduler places: those that are bound count where they are bound, the others where
/// they were planned.
pub fn actual_shares<'a>(
    planned: &[NodeShare],
    bound: impl Iterator<Item = &'a str>,
) -> Vec<NodeShare> {
    let mut shares: BTreeMap<String, u32> = BTreeMap::new();
    let mut missing: u32 = planned.iter().map(|n| n.replicas).sum();
    for node in bound {
        *shares.entry(node.to_owned()).or_default() += 1;
        missing = missing.saturating_sub(1);
    }
    for share in planned {
        let here = shares.get(&share.name).copied().unwrap_or(0);
        let more = share.replicas.saturating_sub(here).min(missing);
        if more > 0 {
            *shares.entry(share.name.clone()).or_default() += more;
            missing -= more;
        }
    }
    shares
        .into_iter()
        .map(|(name, replicas)| NodeShare { name, replicas })
        .collect()
}
