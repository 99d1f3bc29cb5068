//! What a placement's member shows of it.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::conditions::find_condition;
use ampacity_api::member_cluster::UnreachableAction;
use ampacity_api::{ConditionType, MemberCluster, Placement};
use jiff::Timestamp;

use super::cluster_status::SEEN_EVERY_SECONDS;
use super::start::{FailingCall, Patience, Start, StartFacts};
use crate::state::{
    Cause, ClockSteps, Confirmation, Inquiry, Member, ObjectKey, OurPod, Reach, Workload,
    actual_shares, planned_shares,
};

/// The member of a placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberView {
    /// It answers and has been read.
    Current,
    /// Linked a moment ago or back since then: it has yet to be listed, and nothing is concluded from what was seen before.
    NotRead,
    /// Silent for less than its policy says, refusing us, or not to be read whole.
    Silent,
    /// Silent for longer than its policy says, and the policy is to replace.
    GivenUp,
    /// No MemberCluster of that name any more.
    Removed,
}

impl MemberView {
    fn of(
        cluster: Option<&MemberCluster>,
        member: Option<&Member>,
        steps: &ClockSteps,
        now: Timestamp,
    ) -> Self {
        let (Some(cluster), Some(member)) = (cluster, member) else {
            return if cluster.is_some() {
                Self::NotRead
            } else {
                Self::Removed
            };
        };
        if member.is_being_listed(now) {
            return Self::NotRead;
        }
        match &member.reach {
            Reach::Connected if member.is_current() => Self::Current,
            Reach::Unreachable { since, cause, .. } => {
                let policy = &cluster.spec.unreachable;
                let seen = |at| steps.carried(at, now);
                let since = silent_since(cluster, member, *since, seen);
                let silent = now.as_second() - since.as_second();
                // What refuses us is not dead: what runs there runs, and a second time elsewhere would be twice.
                let is_given_up = cause.is_silence()
                    && policy.action == UnreachableAction::Replace
                    && silent >= policy.after_seconds;
                if is_given_up {
                    Self::GivenUp
                } else {
                    Self::Silent
                }
            }
            Reach::Connected | Reach::Connecting => Self::Silent,
        }
    }
}

/// What this process knows of a placement beside what its member shows.
#[derive(Clone, Debug, Default)]
pub struct Known<'a> {
    /// Whether its objects were seen in the member before.
    pub was_dispatched: bool,
    /// Why the member refuses its objects.
    pub refused: Option<&'a str>,
    /// What the member was asked about it.
    pub inquiry: Option<&'a Inquiry>,
    /// A call about it that fails again and again.
    pub failing_call: Option<FailingCall>,
}

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
    /// Whether any of its nodes is out of order, as far as watches tell.
    pub has_failing_nodes: bool,
    /// What keeps it from running.
    pub start: Start,
    /// What else is known of it.
    pub known: Known<'a>,
}

impl<'a> PlacementView<'a> {
    /// Looks a placement up in what its member shows.
    pub fn new(
        placement: &'a Placement,
        cluster: Option<&MemberCluster>,
        member: Option<&'a Member>,
        known: Known<'a>,
        patience: Patience,
        steps: &ClockSteps,
        now: Timestamp,
    ) -> Self {
        let key = ObjectKey::of(placement);
        let passed = |since: Timestamp| now.as_second() - since.as_second();
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
        let lost_nodes: BTreeSet<String> = named.chain(bound).filter(is_lost).cloned().collect();
        let start = StartFacts {
            placement,
            workload,
            pods,
            inquiry: known.inquiry,
            failing_call: known.failing_call.as_ref(),
            patience,
            now,
        };
        Self {
            placement,
            member: MemberView::of(cluster, member, steps, now),
            workload,
            pods,
            has_failing_nodes: !lost_nodes.is_empty(),
            lost_nodes,
            start: start.judge(),
            known,
        }
    }

    /// Whether something was told by watches and has lasted too long, so that it is to be read afresh before anything follows.
    pub fn rests_on_watches(&self) -> bool {
        self.member == MemberView::Current
            && (!self.lost_nodes.is_empty()
                || self.start.late.as_ref().is_some_and(|l| l.is_watched))
    }

    /// Leaves out what was not read afresh.
    pub fn keep_confirmed(&mut self, read: Option<&Confirmation>) {
        self.lost_nodes
            .retain(|node| read.is_some_and(|read| read.nodes.contains(node)));
        if !read.is_some_and(|read| read.pods) {
            self.start.late = self.start.late.take().filter(|late| !late.is_watched);
        }
    }

    /// Pods that run and are ready.
    pub fn ready(&self) -> i32 {
        self.count(|p| p.ready || p.succeeded)
    }

    /// Replicas that are lost with their nodes, or that did not start in time.
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
        let late = self.start.late.as_ref().map_or(0, |late| late.replicas);
        i32::try_from(on_lost).unwrap_or(i32::MAX).max(late)
    }

    /// Whether all replicas ran at some time.
    pub fn ran(&self) -> bool {
        let status = self.placement.status.as_ref();
        status.is_some_and(|status| status.start_time.is_some())
    }

    fn count(&self, which: impl Fn(&OurPod) -> bool) -> i32 {
        let count = self.pods.map_or(0, |pods| {
            pods.values().filter(|p| !p.terminating && which(p)).count()
        });
        i32::try_from(count).unwrap_or(i32::MAX)
    }
}

/// Since when a cluster has been silent. This process may have started since: what the status says is older counts then.
/// A status that still calls the cluster reachable may be out of date by as much as it is written seldom. `carried`: a time of the
/// status by the clock as it is now.
fn silent_since(
    cluster: &MemberCluster,
    member: &Member,
    since: Timestamp,
    carried: impl Fn(Timestamp) -> Timestamp,
) -> Timestamp {
    let Some(status) = cluster
        .status
        .as_ref()
        .filter(|_| member.last_seen.is_none())
    else {
        return since;
    };
    let answer = find_condition(&status.conditions, ConditionType::Reachable);
    let told = answer.is_some_and(|c| c.status == "False");
    if told && answer.is_some_and(|c| c.reason != Cause::NoAnswer.reason().as_str()) {
        // It answered, and refused us.
        return since;
    }
    let slack = if told { 0 } else { SEEN_EVERY_SECONDS };
    let seen = status
        .last_seen_time
        .as_ref()
        .map(|t| carried(t.0).as_second() + slack);
    seen.and_then(|second| Timestamp::from_second(second).ok())
        .map_or(since, |seen| seen.min(since))
}
