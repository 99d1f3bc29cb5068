//! What pods that are not ours hold of one node.

use std::collections::{BTreeMap, BTreeSet};

use crate::state::PodUsage;
use crate::state::SlimResourceClaim;

/// A device of a DRA pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId {
    /// Driver.
    pub driver: String,
    /// Pool.
    pub pool: String,
    /// Device.
    pub device: String,
}

/// What pods that belong to no Ampacity placement hold of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldOnNode {
    /// CPU in millicores.
    pub cpu_milli: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Pods.
    pub pods: u64,
    /// Extended resources by name, in units.
    pub extended: BTreeMap<String, u64>,
    /// DRA devices. Those of other nodes may be among them and are passed over.
    pub devices: BTreeSet<DeviceId>,
    /// Claims that the pods use.
    pub claims: BTreeSet<String>,
    /// Whether [`Self::add_claims`] was called, so that `devices` is complete.
    pub claims_known: bool,
}

impl HeldOnNode {
    /// The sum of `pods`, which are all on one node. Pods of Ampacity placements are passed over: what they hold is reserved.
    pub fn of_pods<'a>(pods: impl IntoIterator<Item = &'a PodUsage>) -> Self {
        let mut held = Self::default();
        for pod in pods {
            held.add(pod);
        }
        held
    }

    /// Adds a pod.
    pub fn add(&mut self, pod: &PodUsage) {
        if pod.placement.is_some() {
            return;
        }
        self.cpu_milli = self.cpu_milli.saturating_add(pod.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_add(pod.memory_bytes);
        self.pods = self.pods.saturating_add(1);
        for (resource, units) in &pod.extended {
            let sum = self.extended.entry(resource.clone()).or_default();
            *sum = sum.saturating_add(*units);
        }
        self.claims.extend(pod.claims.iter().cloned());
    }

    /// Adds the devices of allocated claims, of whatever node: all but those made for placements that are counted already.
    /// Admin access holds nothing.
    pub fn add_claims<'a>(&mut self, claims: impl IntoIterator<Item = &'a SlimResourceClaim>) {
        self.claims_known = true;
        for claim in claims {
            let results = &claim.status.allocation.devices.results;
            self.devices.extend(
                results
                    .iter()
                    .filter(|r| !r.admin_access)
                    .map(|r| DeviceId {
                        driver: r.driver.clone(),
                        pool: r.pool.clone(),
                        device: r.device.clone(),
                    }),
            );
        }
    }
}
