//! What pods that are not ours hold of one node.

use std::collections::{BTreeMap, BTreeSet};

use crate::state::{ObjectKey, PodUsage, SlimResourceClaim};

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
    /// Units of extended resources of pods for which no claim says which devices serve them.
    pub unclaimed: BTreeMap<String, u64>,
    /// Claims that the pods use and of which nothing says which devices they hold.
    pub unresolved: BTreeSet<ObjectKey>,
    /// Whether a pod uses a claim of which nothing tells the name.
    pub has_unnamed_claim: bool,
    /// Placements of ours, as namespace/name, whose pods here hold more than is reserved for them.
    pub beyond: BTreeSet<String>,
    /// Claims for extended resources, with the units that they are for.
    extended_claims: Vec<(ObjectKey, BTreeMap<String, u64>)>,
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
        let is_counted = pod.beyond.as_ref().is_some_and(|beyond| beyond.is_counted);
        self.pods = self.pods.saturating_add(u64::from(!is_counted));
        // CPU and memory of a sidecar that the cluster adds are nothing to be told.
        let is_told = !is_counted || !pod.extended.is_empty();
        let beyond = pod.beyond.as_ref().filter(|_| is_told);
        self.beyond
            .extend(beyond.map(|beyond| beyond.placement.clone()));
        for (resource, units) in &pod.extended {
            for sums in [&mut self.extended, &mut self.unclaimed] {
                let sum = sums.entry(resource.clone()).or_default();
                *sum = sum.saturating_add(*units);
            }
        }
        if let Some(claim) = &pod.extended_claim {
            self.extended_claims
                .push((claim.clone(), pod.extended.clone()));
        }
        self.unresolved.extend(pod.claims.iter().cloned());
        self.has_unnamed_claim |= pod.has_unnamed_claim;
    }

    /// Tells the claims that pods use: one that is found and allocated says itself what it holds ([`Self::add_claims`]).
    pub fn resolve<'a>(&mut self, find: impl Fn(&ObjectKey) -> Option<&'a SlimResourceClaim>) {
        let is_known = |key: &ObjectKey| {
            find(key).is_some_and(|claim| !claim.status.allocation.devices.results.is_empty())
        };
        self.unresolved.retain(|key| !is_known(key));
        for (_, units) in self.extended_claims.iter().filter(|(key, _)| is_known(key)) {
            for (resource, units) in units {
                if let Some(sum) = self.unclaimed.get_mut(resource) {
                    *sum = sum.saturating_sub(*units);
                }
            }
        }
        self.extended_claims.retain(|(key, _)| !is_known(key));
    }

    /// Whether devices may be held of which nothing says which they are.
    pub fn is_unresolved(&self) -> bool {
        self.has_unnamed_claim || !self.unresolved.is_empty()
    }

    /// Adds the devices of allocated claims, of whatever node: all but those made for placements that are counted already.
    /// Admin access holds nothing.
    pub fn add_claims<'a>(&mut self, claims: impl IntoIterator<Item = &'a SlimResourceClaim>) {
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
