//! What placements hold: their part of the ledger, the nodes that they name, and the pods that are theirs.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::{JobKind, Placement};
use ampacity_placement::Reservation;
use jiff::Timestamp;
use kube::ResourceExt;

use crate::inventory::Failing;
use crate::translate::{self, Charge, actual_shares, planned_shares};
use crate::world::{Member, ObjectKey, World};

/// A node that is out of order. What runs on it is lost once that has lasted for the grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Since when, as far as this process has seen.
    pub since: Timestamp,
    /// Since when nobody there starts or ends pods: it is gone, or its kubelet is not ready.
    pub silent_since: Option<Timestamp>,
}

impl Outage {
    /// The outage that follows when the node is seen like this now.
    pub fn next(known: Option<Self>, failing: Option<Failing>, now: Timestamp) -> Option<Self> {
        let silent = failing? == Failing::Silent;
        Some(Self {
            since: known.map_or(now, |k| k.since),
            silent_since: silent.then(|| known.and_then(|k| k.silent_since).unwrap_or(now)),
        })
    }
}

/// Which nodes placements name. A node that is not there is lost to those, and of no interest otherwise.
#[derive(Debug, Default)]
pub struct NamedNodes {
    /// Number of placements by cluster and node.
    counts: BTreeMap<String, BTreeMap<String, usize>>,
    by_placement: BTreeMap<ObjectKey, (String, Vec<String>)>,
}

impl NamedNodes {
    /// Whether a placement names the node.
    pub fn contains(&self, cluster: &str, node: &str) -> bool {
        self.counts
            .get(cluster)
            .is_some_and(|nodes| nodes.contains_key(node))
    }

    /// The nodes of a cluster that placements name.
    pub fn of_cluster(&self, cluster: &str) -> impl Iterator<Item = &String> {
        self.counts
            .get(cluster)
            .into_iter()
            .flat_map(BTreeMap::keys)
    }

    fn set(&mut self, key: &ObjectKey, placement: &Placement) {
        let spec = &placement.spec;
        let names: Vec<String> = spec.nodes.iter().map(|n| n.name.clone()).collect();
        let counts = self.counts.entry(spec.cluster.clone()).or_default();
        for name in &names {
            *counts.entry(name.clone()).or_default() += 1;
        }
        self.by_placement
            .insert(key.clone(), (spec.cluster.clone(), names));
    }

    /// Forgets a placement; returns its cluster and the nodes that it named.
    fn take(&mut self, key: &ObjectKey) -> Option<(String, Vec<String>)> {
        let (cluster, names) = self.by_placement.remove(key)?;
        if let Some(counts) = self.counts.get_mut(&cluster) {
            for name in &names {
                if let Some(count) = counts.get_mut(name) {
                    *count -= 1;
                    if *count == 0 {
                        counts.remove(name);
                    }
                }
            }
            if counts.is_empty() {
                self.counts.remove(&cluster);
            }
        }
        Some((cluster, names))
    }
}

impl World {
    /// A placement is new, changed or gone: ledger, nodes and pods follow.
    pub fn follow_placement(&mut self, key: &ObjectKey) {
        let mut named = Vec::new();
        if let Some((cluster, nodes)) = self.named.take(key) {
            named.extend(nodes.into_iter().map(|node| (cluster.clone(), node)));
            let moved = self
                .hub
                .placements
                .get(key)
                .is_none_or(|p| p.spec.cluster != cluster);
            if moved {
                self.recognise(&cluster, key, None);
            }
        }
        if let Some(placement) = self.hub.placements.get(key) {
            self.named.set(key, placement);
            let (cluster, uid) = (placement.spec.cluster.clone(), placement.uid());
            let nodes = placement.spec.nodes.iter();
            named.extend(nodes.map(|node| (cluster.clone(), node.name.clone())));
            let held = reservation(self, placement);
            if self.fleet.reservation(&held.key) != Some(&held) {
                self.fleet.reserve(held);
            }
            self.recognise(&cluster, key, uid.as_deref());
        } else {
            self.fleet.release(&key.to_string());
            self.capacity_version += 1;
        }
        // Nodes that are there are read whatever names them; one that is not is lost only to who names it.
        let absent = |(cluster, node): &(String, String)| {
            let member = self.members.get(cluster);
            member.is_some_and(|m| m.nodes.get(&ObjectKey::new("", node)).is_none())
        };
        named.retain(absent);
        self.dirty.nodes.extend(named);
    }

    fn recognise(&mut self, cluster: &str, key: &ObjectKey, uid: Option<&str>) {
        let Some(member) = self.members.get_mut(cluster) else {
            return;
        };
        let touched = member.pods.recognise(key, uid);
        let nodes = touched.nodes.into_iter();
        self.dirty
            .nodes
            .extend(nodes.map(|node| (cluster.to_owned(), node)));
        if !touched.placements.is_empty() {
            self.dirty.placements.insert(key.clone());
        }
    }

    /// A member is linked anew: nothing of an earlier link counts any more, neither its nodes nor its pods.
    pub fn link_member(&mut self, cluster: &str, mut member: Member) {
        for placement in self.hub.placements.values() {
            if placement.spec.cluster == cluster {
                member
                    .pods
                    .recognise(&ObjectKey::of(placement), placement.metadata.uid.as_deref());
            }
        }
        self.members.insert(cluster.to_owned(), member);
        self.fleet.remove_cluster(cluster);
        self.dirty.clusters.insert(cluster.to_owned());
    }

    /// Works out again what placements hold whose job or pods changed.
    pub fn hold_again(&mut self) {
        for key in std::mem::take(&mut self.dirty.placements) {
            let Some(placement) = self.hub.placements.get(&key) else {
                continue;
            };
            let held = reservation(self, placement);
            if self.fleet.reservation(&held.key) != Some(&held) {
                self.fleet.reserve(held);
                self.capacity_version += 1;
            }
        }
    }
}

/// What a placement holds, for the ledger. Where pods of an inference job were bound by the member's scheduler, they
/// count on the node that they are on rather than on the one planned.
pub fn reservation(world: &World, placement: &Placement) -> Reservation {
    let planned = planned_shares(placement);
    let nodes = match placement.spec.job_ref.kind {
        JobKind::TrainingJob => planned,
        JobKind::InferenceJob => {
            let pods = world
                .members
                .get(&placement.spec.cluster)
                .and_then(|m| m.pods.of_placement(&ObjectKey::of(placement)));
            let holding = pods
                .into_iter()
                .flat_map(BTreeMap::values)
                .filter(|p| p.holds_devices());
            actual_shares(&planned, holding.filter_map(|p| p.node.as_deref()))
        }
    };
    translate::reservation(placement, charge(world, placement), nodes)
}

/// A job that is not there, not read yet or not to be read is charged as it was before: what it holds stays held.
fn charge(world: &World, placement: &Placement) -> Charge {
    let key = World::job_of(placement);
    let same = |uid: &Option<String>| uid.as_deref() == Some(&placement.spec.job_ref.uid);
    let known = match key.kind {
        JobKind::TrainingJob => world
            .hub
            .training
            .get(&key.object)
            .filter(|job| same(&job.metadata.uid))
            .map(|job| Charge::of_training(job, placement)),
        JobKind::InferenceJob => world
            .hub
            .inference
            .get(&key.object)
            .filter(|job| same(&job.metadata.uid))
            .map(|job| Charge::of_inference(job, placement)),
    };
    known.unwrap_or_else(|| {
        let held = world
            .fleet
            .reservation(&ObjectKey::of(placement).to_string());
        held.map(Charge::of_reservation).unwrap_or_default()
    })
}

/// Placements that a change touched, of those that follow their pods.
pub(crate) fn following_pods<'a>(
    world: &'a World,
    placements: &'a BTreeSet<ObjectKey>,
) -> impl Iterator<Item = ObjectKey> + 'a {
    placements.iter().filter_map(|key| {
        let placement = world.hub.placements.get(key)?;
        (placement.spec.job_ref.kind == JobKind::InferenceJob).then(|| key.clone())
    })
}

#[cfg(test)]
mod tests;
