//! What placements hold in the ledger.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::Placement;
use ampacity_api::job::DEFAULT_QUEUE;
use ampacity_placement::{NodeFeeds, NodeShare, Reservation, Watts};
use kube::ResourceExt;

use super::State;
use super::key::ObjectKey;
use super::part::device_part;

/// What a replica holds beside devices, and who is charged: it stands in the job, not in the Placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Queue that is charged.
    pub queue: String,
    /// CPU of one replica in millicores.
    pub cpu_milli: u64,
    /// Memory of one replica in MiB.
    pub memory_mib: u64,
    /// Other resources of one replica by name.
    pub other: BTreeMap<String, u64>,
    /// When what is held should be free again, Unix seconds; `None`: nobody knows.
    pub ends_seconds: Option<i64>,
}

impl Default for Charge {
    fn default() -> Self {
        Self {
            queue: DEFAULT_QUEUE.to_owned(),
            cpu_milli: 0,
            memory_mib: 0,
            other: BTreeMap::new(),
            ends_seconds: None,
        }
    }
}

impl Charge {
    /// What was charged before, where the job is not known.
    fn of_reservation(known: &Reservation) -> Self {
        Self {
            queue: known.queue.clone(),
            cpu_milli: known.cpu_milli,
            memory_mib: known.memory_mib,
            other: known.other.clone(),
            ends_seconds: known.ends_seconds,
        }
    }
}

/// What a placement holds, for the ledger. Where the member's scheduler chose nodes for pods, they count on the node that they
/// are on, and on the one that the placement names until it names the other: it is all that a restarted operator may see.
pub fn reservation(state: &State, placement: &Placement) -> Reservation {
    let planned = planned_shares(placement);
    let moves = state
        .kinds
        .get(placement.spec.job_ref.kind)
        .is_some_and(|facts| facts.replicas_move);
    let nodes = if moves {
        let pods = state
            .members
            .get(&placement.spec.cluster)
            .and_then(|m| m.pods.of_placement(&ObjectKey::of(placement)));
        let holding = pods
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter(|p| p.holds_devices());
        let actual = actual_shares(&planned, holding.filter_map(|p| p.node.as_deref()));
        most_of_each(planned, actual)
    } else {
        planned
    };
    held(placement, charge(state, placement), nodes)
}

/// On each node as many as either says.
fn most_of_each(planned: Vec<NodeShare>, actual: Vec<NodeShare>) -> Vec<NodeShare> {
    let mut most: BTreeMap<String, u32> = BTreeMap::new();
    for share in planned.into_iter().chain(actual) {
        let known = most.entry(share.name).or_default();
        *known = share.replicas.max(*known);
    }
    let most = most.into_iter();
    most.map(|(name, replicas)| NodeShare { name, replicas })
        .collect()
}

/// A job that is not there, not read yet or not to be read is charged as it was before: what it holds stays held.
fn charge(state: &State, placement: &Placement) -> Charge {
    let job = state.hub.job_of(placement);
    job.map(|job| job.charge(placement)).unwrap_or_else(|| {
        let key = ObjectKey::of(placement).to_string();
        let held = state.fleet.reservation(&key);
        held.map(Charge::of_reservation).unwrap_or_default()
    })
}

/// What a placement holds on `nodes`, for the ledger.
fn held(placement: &Placement, charge: Charge, nodes: Vec<NodeShare>) -> Reservation {
    let spec = &placement.spec;
    let namespace = placement.namespace().unwrap_or_default();
    let feeds = feeds_of(placement, &nodes);
    Reservation {
        key: format!("{namespace}/{}", placement.name_any()),
        queue: charge.queue,
        cluster: spec.cluster.clone(),
        accelerator_type: spec.accelerator_type.clone(),
        part: device_part(spec.mig_profile.as_deref(), spec.millidevices),
        devices_per_replica: u32::try_from(spec.devices_per_replica).unwrap_or(0),
        cpu_milli: charge.cpu_milli,
        memory_mib: charge.memory_mib,
        other: charge.other,
        nodes,
        watts: Watts(spec.watts),
        feeds,
        ends_seconds: charge.ends_seconds,
    }
}

/// The power domains that feed nodes of a placement. One that it does not name, since the member's scheduler chose it, hangs where
/// most of those that it names do.
fn feeds_of(placement: &Placement, nodes: &[NodeShare]) -> Vec<NodeFeeds> {
    feeds_of_nodes(placement, nodes.iter().map(|share| share.name.as_str()))
}

/// The same, of nodes by their names.
pub fn feeds_of_nodes<'a>(
    placement: &Placement,
    nodes: impl Iterator<Item = &'a str>,
) -> Vec<NodeFeeds> {
    let named = placement.spec.nodes.iter().map(|node| node.name.as_str());
    let runs = placement.spec.power_domains.iter();
    let domains = runs.flat_map(|run| {
        let nodes = usize::try_from(run.nodes).unwrap_or(0);
        std::iter::repeat_n(
            run.domains.as_slice(),
            nodes.min(placement.spec.nodes.len()),
        )
    });
    let of_node: BTreeMap<&str, &[String]> = named.zip(domains).collect();
    if of_node.is_empty() {
        return Vec::new();
    }
    let widest = placement
        .spec
        .power_domains
        .iter()
        .max_by_key(|run| run.nodes);
    let elsewhere = widest.map_or(&[][..], |run| run.domains.as_slice());
    NodeFeeds::runs(nodes.map(|name| of_node.get(name).copied().unwrap_or(elsewhere)))
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

/// Placements that a change touched, of those whose replicas count where their pods are bound.
pub fn moving_placements<'a>(
    state: &'a State,
    placements: &'a BTreeSet<ObjectKey>,
) -> impl Iterator<Item = ObjectKey> + 'a {
    placements.iter().filter_map(|key| {
        let placement = state.hub.placements.get(key)?;
        let facts = state.kinds.get(placement.spec.job_ref.kind)?;
        facts.replicas_move.then(|| key.clone())
    })
}

#[cfg(test)]
mod tests;
