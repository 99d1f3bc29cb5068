//! What a placement's reservation covers of what its pods hold.
//!
//! Whoever may make or change pods in a member can give one our labels, copy a pod of ours, or ask for more in a Deployment of ours.
//! What a placement's pods hold is free of charge only where the placement has it reserved: on its nodes, for as many replicas as it
//! has there, each as large as its job says. The rest is held like anybody's.

use std::collections::BTreeMap;

use ampacity_api::Placement;
use ampacity_placement::Reservation;
use kube::ResourceExt;

use super::usage::{Beyond, PodUsage};

/// What a placement has reserved in a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cover {
    /// UID of the placement; empty for one from a file that has none, which is known by its name alone.
    uid: String,
    /// Replicas on each node.
    replicas: BTreeMap<String, u32>,
    /// Devices of one replica.
    devices: u64,
    /// CPU of one replica in millicores.
    cpu_milli: u64,
    /// Memory of one replica in bytes.
    memory_bytes: u64,
    /// Other resources of one replica by name, in units or bytes; its devices among them where they are asked for by a name.
    extended: BTreeMap<String, u64>,
}

impl Cover {
    /// What `held`, the reservation of `placement`, covers.
    pub fn of(placement: &Placement, held: &Reservation) -> Self {
        let devices = u64::from(held.devices_per_replica);
        let mut extended = held.other.clone();
        if let Some(resource) = &placement.spec.resource.resource_name {
            extended.insert(resource.clone(), devices);
        }
        let mut replicas: BTreeMap<String, u32> = BTreeMap::new();
        for share in &held.nodes {
            let sum = replicas.entry(share.name.clone()).or_default();
            *sum = sum.saturating_add(share.replicas);
        }
        Self {
            uid: placement.uid().unwrap_or_default(),
            replicas,
            devices,
            cpu_milli: held.cpu_milli,
            memory_bytes: held.memory_mib.saturating_mul(1 << 20),
            extended,
        }
    }

    /// Whether a pod that names this UID is of the placement.
    pub fn is_of(&self, uid: &str) -> bool {
        self.uid.is_empty() || self.uid == uid
    }

    /// Pods that the placement has reserved room for on a node.
    pub fn replicas_on(&self, node: &str) -> usize {
        let replicas = self.replicas.get(node).copied().unwrap_or(0);
        usize::try_from(replicas).unwrap_or(usize::MAX)
    }

    /// Devices that a claim of one of its pods may hold.
    pub fn devices(&self) -> usize {
        usize::try_from(self.devices).unwrap_or(usize::MAX)
    }

    /// What a pod that has its place in the reservation holds beyond it, if anything.
    pub fn excess(&self, usage: &PodUsage, placement: &str) -> Option<PodUsage> {
        let reserved = |resource: &String| self.extended.get(resource).copied().unwrap_or(0);
        let extended = usage.extended.iter().filter_map(|(resource, amount)| {
            let more = amount.saturating_sub(reserved(resource));
            (more > 0).then(|| (resource.clone(), more))
        });
        let excess = PodUsage {
            node: usage.node.clone(),
            cpu_milli: usage.cpu_milli.saturating_sub(self.cpu_milli),
            memory_bytes: usage.memory_bytes.saturating_sub(self.memory_bytes),
            extended: extended.collect(),
            beyond: Some(Beyond {
                placement: placement.to_owned(),
                is_counted: true,
            }),
            ..PodUsage::default()
        };
        let is_more =
            excess.cpu_milli > 0 || excess.memory_bytes > 0 || !excess.extended.is_empty();
        is_more.then_some(excess)
    }
}
