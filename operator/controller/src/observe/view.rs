//! What a placement's member shows of it.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::conditions::find_condition;
use ampacity_api::member_cluster::UnreachableAction;
use ampacity_api::{ConditionType, MemberCluster, Placement};
use jiff::Timestamp;

use super::cluster_status::SEEN_EVERY_SECONDS;
use crate::state::{Member, ObjectKey, OurPod, Reach, Workload, actual_shares, planned_shares};

/// The member of a placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberView {
    /// It answers and has been read.
    Current,
    /// Linked a moment ago, as after a start of the operator: it has not had the time to show anything.
    NotRead,
    /// Silent for less than its policy says, or not to be read whole.
    Silent,
    /// Silent for longer than its policy says, and the policy is to replace.
    GivenUp,
    /// No MemberCluster of that name any more.
    Removed,
}

/// How long what goes wrong may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Seconds that a node may be out of order before what is on it counts as lost.
    pub node_grace_seconds: i64,
    /// Seconds that the member's scheduler may find no node for a pod.
    pub start_deadline_seconds: i64,
}

/// How many start deadlines a workload may go without a single pod. Its controller may be behind with many others, which is
/// no fault of this cluster; but a quota on pods or devices leaves no other trace on it.
const DEADLINES_WITHOUT_PODS: i64 = 5;
/// What a member shows of a placement.
#[derive(Clone, Debug)]
pub struct PlacementView<'a> {
    /// The placement.
    pub placement: &'a Placement,
    /// Its member.
    pub member: MemberView,
    /// What runs it there.
    pub workload: Option<&'a Workload>,
    /// Its pods.
    pub pods: Option<&'a BTreeMap<String, OurPod>>,
    /// Its nodes, and those of its pods, that have been out of order for longer than the grace.
    pub lost_nodes: BTreeSet<String>,
    /// Pods that are too late, by name, with what the member says of them.
    pub late_pods: Vec<(String, String)>,
    /// Whether its workload should have had pods by now and has none.
    pub is_barren: bool,
    /// Whether its objects were seen in the member before.
    pub was_dispatched: bool,
    /// Why the member refuses its objects.
    pub refused: Option<&'a str>,
}

impl<'a> PlacementView<'a> {
    /// Looks a placement up in what its member shows.
    pub fn new(
        placement: &'a Placement,
        cluster: Option<&MemberCluster>,
        member: Option<&'a Member>,
        patience: Patience,
        now: Timestamp,
    ) -> Self {
        let key = ObjectKey::of(placement);
        let passed = |since: Timestamp| now.as_second() - since.as_second();
        let view = match (cluster, member) {
            (None, _) => MemberView::Removed,
            (Some(_), None) => MemberView::NotRead,
            (Some(_), Some(member)) if member.is_being_read(now) => MemberView::NotRead,
            (Some(cluster), Some(member)) => match &member.reach {
                Reach::Connected if member.is_synced() => MemberView::Current,
                Reach::Unreachable { since, .. } => {
                    let policy = &cluster.spec.unreachable;
                    let silent_seconds = passed(silent_since(cluster, member, *since));
                    if policy.action == UnreachableAction::Replace
                        && silent_seconds >= policy.after_seconds
                    {
                        MemberView::GivenUp
                    } else {
                        MemberView::Silent
                    }
                }
                Reach::Connected | Reach::Connecting => MemberView::Silent,
            },
        };
        let pods = member.and_then(|m| m.pods.of_placement(&key));
        let workload = member.and_then(|m| m.workload_of(placement));
        let named = placement.spec.nodes.iter().map(|node| &node.name);
        let bound = pods
            .into_iter()
            .flatten()
            .filter_map(|(_, pod)| pod.node.as_ref());
        let is_lost = |node: &&String| {
            let outage = member.and_then(|m| m.outages.get(*node));
            outage.is_some_and(|o| passed(o.since) >= patience.node_grace_seconds)
        };
        let is_late = |pod: &OurPod| {
            let since = pod.unschedulable_since.filter(|_| !pod.terminating);
            since.is_some_and(|since| passed(since) >= patience.start_deadline_seconds)
        };
        let told = |(name, pod): (&String, &OurPod)| {
            is_late(pod).then(|| (name.clone(), pod.trouble.clone().unwrap_or_default()))
        };
        let made = workload.and_then(|w| w.metadata.creation_timestamp.as_ref());
        let without_pods = patience
            .start_deadline_seconds
            .saturating_mul(DEADLINES_WITHOUT_PODS);
        Self {
            placement,
            member: view,
            workload,
            pods,
            lost_nodes: named.chain(bound).filter(is_lost).cloned().collect(),
            late_pods: pods.into_iter().flatten().filter_map(told).collect(),
            is_barren: pods.is_none() && made.is_some_and(|t| passed(t.0) >= without_pods),
            was_dispatched: false,
            refused: None,
        }
    }

    /// Pods that run and are ready.
    pub fn ready(&self) -> i32 {
        self.count(|p| p.ready || p.succeeded)
    }

    /// Replicas that are lost with their nodes, or that the member's scheduler found no node for in time.
    pub fn lost(&self) -> i32 {
        let alive = |pod: &&OurPod| !pod.terminating && pod.holds_devices();
        let pods = self
            .pods
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter(alive);
        let shares = actual_shares(
            &planned_shares(self.placement),
            pods.filter_map(|pod| pod.node.as_deref()),
        );
        let on_lost: u32 = shares
            .iter()
            .filter(|share| self.lost_nodes.contains(&share.name))
            .map(|share| share.replicas)
            .sum();
        let missing = self
            .placement
            .spec
            .replicas
            .saturating_sub(self.bound())
            .max(0);
        let late = i32::try_from(self.late_pods.len())
            .unwrap_or(i32::MAX)
            .min(missing);
        i32::try_from(on_lost).unwrap_or(i32::MAX).max(late)
    }

    /// Whether all replicas ran at some time.
    pub fn ran(&self) -> bool {
        let status = self.placement.status.as_ref();
        status.is_some_and(|status| status.start_time.is_some())
    }

    /// Pods bound to a node.
    pub fn bound(&self) -> i32 {
        self.count(|p| p.node.is_some() && !p.failed)
    }

    fn count(&self, which: impl Fn(&OurPod) -> bool) -> i32 {
        let count = self.pods.map_or(0, |pods| {
            pods.values().filter(|p| !p.terminating && which(p)).count()
        });
        i32::try_from(count).unwrap_or(i32::MAX)
    }
}

/// Since when a cluster has been silent. This process may have started since: what the status says is older counts then.
/// A status that still calls the cluster reachable may be out of date by as much as it is written seldom.
fn silent_since(cluster: &MemberCluster, member: &Member, since: Timestamp) -> Timestamp {
    let Some(status) = cluster
        .status
        .as_ref()
        .filter(|_| member.last_seen.is_none())
    else {
        return since;
    };
    let told = find_condition(&status.conditions, ConditionType::Reachable)
        .is_some_and(|c| c.status == "False");
    let slack = if told { 0 } else { SEEN_EVERY_SECONDS };
    let seen = status
        .last_seen_time
        .as_ref()
        .map(|t| t.0.as_second() + slack);
    seen.and_then(|second| Timestamp::from_second(second).ok())
        .map_or(since, |seen| seen.min(since))
}
