//! What a link tells of its member, taken into the state: what changed is marked for the cycle.

use std::collections::BTreeSet;

use ampacity_api::labels;
use jiff::Timestamp;
use kube::Resource;

use super::link::{LinkEvent, MemberChange};
use crate::runtime::{Operator, placement_call, wall_clock};
use crate::state::{
    Cause, Change, JobKey, Member, ObjectKey, Reach, SlimResourceClaim, SlimResourceSlice,
    moving_placements,
};

/// Takes in what a link tells of its member. Events of an earlier link are ignored.
pub(super) fn take_in(operator: &mut Operator, cluster: &str, link: u64, event: LinkEvent) {
    let now = wall_clock();
    let Some(member) = operator
        .state
        .members
        .get_mut(cluster)
        .filter(|m| m.link_number == link)
    else {
        return;
    };
    match event {
        LinkEvent::Connected {
            client,
            version,
            uid,
        } => {
            member.client = Some(client);
            member.version = Some(version);
            member.uid = uid;
            member.reach = Reach::Connected;
            member.last_seen = Some(now);
            member.list_anew(now);
            operator.state.member_turned(cluster);
        }
        LinkEvent::Alive => {
            if matches!(&member.reach, Reach::Unreachable { cause, .. } if *cause == Cause::SameCluster)
            {
                return;
            }
            let was_out = member.reach != Reach::Connected;
            member.reach = Reach::Connected;
            member.last_seen = Some(now);
            if was_out {
                operator.state.member_turned(cluster);
            }
        }
        LinkEvent::Unreachable { cause, message } => {
            tracing::warn!(cluster, ?cause, %message, "member cannot be used");
            // How long it has been silent begins anew where it answered meanwhile, if only to refuse us.
            let since = match &member.reach {
                Reach::Unreachable {
                    since,
                    cause: before,
                    ..
                } if before.is_silence() == cause.is_silence() => *since,
                _ => now,
            };
            member.reach = Reach::Unreachable {
                since,
                cause,
                message,
            };
            operator.state.member_turned(cluster);
        }
        LinkEvent::WatchFailed(failure) => {
            tracing::warn!(cluster, error = %failure.message, "watching a member failed; trying again");
            operator.metrics.watch_failed(cluster);
            member.watches.failed(failure, now);
        }
        LinkEvent::Changed(change) => {
            member.watches.delivered(change.kind());
            take_in_change(operator, cluster, change, now);
        }
    }
}

/// Takes in what was read of a member now, by a watch or by a call.
pub fn take_in_change(
    operator: &mut Operator,
    cluster: &str,
    change: MemberChange,
    now: Timestamp,
) {
    let Some(member) = operator.state.members.get_mut(cluster) else {
        return;
    };
    let was_usable = member.is_usable();
    let workloads = matches!(change, MemberChange::Workload(_, Change::Applied(_)));
    let mut nodes = BTreeSet::new();
    let mut placements = BTreeSet::new();
    match change {
        MemberChange::Node(change) => {
            nodes.extend(member.nodes.apply(change).into_iter().map(|k| k.name))
        }
        MemberChange::Slice(change) => {
            nodes.extend(nodes_of_slices(member, &change));
            member.slices.apply(change);
        }
        MemberChange::Claim(change) => {
            // An allocation names pools, which are nodes for every driver that is read here.
            nodes.extend(nodes_of_claims(member, &change));
            member.claims.apply(change);
        }
        MemberChange::TaintRule(change) => {
            // Rules are few and may select anything: every node with DRA devices is read again.
            let slices = member.slices.values();
            nodes.extend(slices.flat_map(SlimResourceSlice::nodes).map(str::to_owned));
            member.taint_rules.apply(change);
        }
        MemberChange::Pod(change) => {
            let told = member.signs.apply(&change);
            let touched = member.pods.apply(change, now);
            nodes = touched.nodes;
            nodes.extend(told);
            placements = touched.placements;
        }
        MemberChange::Workload(kind, change) => {
            placements.extend(owners(&change));
            member.workloads.entry(kind).or_default().apply(change);
        }
    }
    let turned = member.is_usable() != was_usable;
    operator
        .state
        .dirty
        .nodes
        .extend(nodes.into_iter().map(|node| (cluster.to_owned(), node)));
    let moving_here: Vec<ObjectKey> = moving_placements(&operator.state, &placements).collect();
    operator.state.dirty.placements.extend(moving_here);
    for key in placements {
        let Some(placement) = operator
            .state
            .hub
            .placements
            .get(&key)
            .filter(|p| p.spec.cluster == cluster)
        else {
            // Unless the Placement is just being written, this is an orphan.
            if workloads && !operator.calls.is_running(&placement_call(&key)) {
                operator.state.dirty.orphans.insert(cluster.to_owned());
            }
            continue;
        };
        operator
            .state
            .dirty
            .jobs
            .insert(JobKey::of_placement(placement));
    }
    if turned {
        operator.state.member_turned(cluster);
    }
}

/// Placements that changed objects belong to.
fn owners<K: Resource>(change: &Change<K>) -> Vec<ObjectKey> {
    let owner = |object: &K| {
        let meta = object.meta();
        let name = meta.labels.as_ref()?.get(labels::PLACEMENT)?;
        Some(ObjectKey::new(
            meta.namespace.as_deref().unwrap_or_default(),
            name,
        ))
    };
    change.objects().iter().filter_map(owner).collect()
}

/// Nodes that changed slices are about, before and after the change.
fn nodes_of_slices(member: &Member, change: &Change<SlimResourceSlice>) -> BTreeSet<String> {
    let before: Vec<&SlimResourceSlice> = match change {
        Change::All(_) => member.slices.values().collect(),
        Change::Applied(slice) => member
            .slices
            .get(&ObjectKey::of(&**slice))
            .into_iter()
            .collect(),
        Change::Listing | Change::Deleted(_) => Vec::new(),
        Change::Forgotten(key) => member.slices.get(key).into_iter().collect(),
    };
    let changed: Vec<&SlimResourceSlice> = change.objects().iter().chain(before).collect();
    let mut nodes: BTreeSet<String> = changed
        .iter()
        .flat_map(|slice| slice.nodes())
        .map(str::to_owned)
        .collect();
    // A pool over several nodes is whole, or not, for all of them.
    let shared: BTreeSet<&str> = changed
        .iter()
        .filter(|slice| slice.is_of_shared_pool())
        .map(|slice| slice.spec.pool.name.as_str())
        .collect();
    if !shared.is_empty() {
        let of_pools = member.slices.values();
        let of_pools = of_pools.filter(|slice| shared.contains(slice.spec.pool.name.as_str()));
        nodes.extend(
            of_pools
                .flat_map(SlimResourceSlice::nodes)
                .map(str::to_owned),
        );
    }
    nodes
}

/// Nodes whose devices changed claims hold or held.
fn nodes_of_claims(member: &Member, change: &Change<SlimResourceClaim>) -> BTreeSet<String> {
    let before: Vec<&SlimResourceClaim> = match change {
        Change::All(_) => member.claims.values().collect(),
        Change::Applied(claim) => member
            .claims
            .get(&ObjectKey::of(&**claim))
            .into_iter()
            .collect(),
        Change::Listing | Change::Deleted(_) => Vec::new(),
        Change::Forgotten(key) => member.claims.get(key).into_iter().collect(),
    };
    let claims = change.objects().iter().chain(before);
    let pools: BTreeSet<&String> = claims
        .flat_map(|claim| &claim.status.allocation.devices.results)
        .map(|result| &result.pool)
        .collect();
    let is_node = |pool: &&&String| member.nodes.get(&ObjectKey::new("", pool)).is_some();
    // An allocation names pools, and most drivers name a pool after its node.
    let (nodes, others): (Vec<&String>, Vec<&String>) =
        pools.iter().copied().partition(|pool| is_node(&pool));
    let mut found: BTreeSet<String> = nodes.into_iter().cloned().collect();
    if !others.is_empty() {
        let of_pools = member.slices.values();
        let of_pools = of_pools.filter(|slice| others.contains(&&slice.spec.pool.name));
        found.extend(
            of_pools
                .flat_map(SlimResourceSlice::nodes)
                .map(str::to_owned),
        );
    }
    found
}
