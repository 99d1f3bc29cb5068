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

    /// What the placement has reserved on a node, for its pods there to share.
    pub fn on(&self, node: &str) -> Reserved {
        let replicas = u64::from(self.replicas.get(node).copied().unwrap_or(0));
        let extended = self.extended.iter();
        Reserved {
            pods: replicas,
            cpu_milli: self.cpu_milli.saturating_mul(replicas),
            memory_bytes: self.memory_bytes.saturating_mul(replicas),
            extended: extended
                .map(|(name, amount)| (name.clone(), amount.saturating_mul(replicas)))
                .collect(),
        }
    }

    /// Devices that a claim of one of its pods may hold.
    pub fn devices(&self) -> usize {
        usize::try_from(self.devices).unwrap_or(usize::MAX)
    }
}

/// What is left of a placement's reservation on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    pods: u64,
    cpu_milli: u64,
    memory_bytes: u64,
    extended: BTreeMap<String, u64>,
}

impl Reserved {
    /// Takes what a pod holds out of what is left, and returns what goes beyond it, if anything. Claims of a pod that is one too many
    /// go beyond it whole.
    pub fn take(&mut self, usage: &PodUsage, placement: &str) -> Option<PodUsage> {
        let beyond = |left: &mut u64, wanted: u64| {
            let taken = wanted.min(*left);
            *left -= taken;
            wanted - taken
        };
        let is_counted = beyond(&mut self.pods, 1) == 0;
        let cpu_milli = beyond(&mut self.cpu_milli, usage.cpu_milli);
        let memory_bytes = beyond(&mut self.memory_bytes, usage.memory_bytes);
        let mut extended = BTreeMap::new();
        for (resource, amount) in &usage.extended {
            let more = match self.extended.get_mut(resource) {
                Some(left) => beyond(left, *amount),
                None => *amount,
            };
            if more > 0 {
                extended.insert(resource.clone(), more);
            }
        }
        if is_counted && cpu_milli == 0 && memory_bytes == 0 && extended.is_empty() {
            return None;
        }
        let rest = if is_counted {
            PodUsage {
                node: usage.node.clone(),
                ..PodUsage::default()
            }
        } else {
            usage.clone()
        };
        Some(PodUsage {
            cpu_milli,
            memory_bytes,
            extended,
            beyond: Some(Beyond {
                placement: placement.to_owned(),
                is_counted,
            }),
            ..rest
        })
    }
}
