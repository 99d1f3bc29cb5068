//! The status of a member cluster.

use ampacity_api::conditions::NewCondition;
use ampacity_api::member_cluster::{AcceleratorCount, DeletionPolicy};
use ampacity_api::{
    ConditionReason, ConditionType, MemberCluster, MemberClusterStatus, set_condition,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::reachability::reachability;
use crate::state::{Member, SlimNode, shorten};

/// Longest that `lastSeenTime` of a member may be out of date, in seconds.
pub(super) const SEEN_EVERY_SECONDS: i64 = 60;
/// Most node notes that a condition's message repeats.
const MAX_NOTES: usize = 5;

/// Whether a status says something new; that the cluster was seen a moment later is nothing new for a while.
pub(super) fn worth_writing(
    old: Option<&MemberClusterStatus>,
    next: &MemberClusterStatus,
    now: Timestamp,
) -> bool {
    let Some(old) = old else { return true };
    let seen = old.last_seen_time.as_ref().map(|t| t.0.as_second());
    let stale = seen.is_none_or(|t| now.as_second() - t >= SEEN_EVERY_SECONDS)
        && next.last_seen_time != old.last_seen_time;
    stale
        || MemberClusterStatus {
            last_seen_time: old.last_seen_time.clone(),
            ..next.clone()
        } != *old
}

/// What is seen of a cluster, as its status.
pub(super) fn cluster_status(
    cluster: &MemberCluster,
    member: &Member,
    accelerators: Vec<AcceleratorCount>,
    unknown_power_domain: Option<&str>,
    placements: usize,
    now: Timestamp,
) -> MemberClusterStatus {
    let mut status = cluster.status.clone().unwrap_or_default();
    status.observed_generation = cluster.metadata.generation;
    status.version = member.version.clone().or(status.version);
    status.cluster_uid = member.uid.clone().or(status.cluster_uid);
    status.last_seen_time = member.last_seen.map(Time).or(status.last_seen_time);
    if member.is_synced() {
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let with_devices = || {
            let specs = member
                .specs
                .iter()
                .filter(|(_, spec)| !spec.devices.is_empty());
            specs.filter_map(|(name, _)| member.nodes.named(name))
        };
        status.nodes = count(with_devices().count());
        let ready = |n: &&SlimNode| {
            !n.spec.unschedulable
                && n.status
                    .conditions
                    .iter()
                    .any(|c| c.type_ == "Ready" && c.status == "True")
        };
        status.nodes_ready = count(with_devices().filter(ready).count());
        let parts: Vec<String> = accelerators
            .iter()
            .map(|a| format!("{} {}/{}", a.accelerator_type, a.free, a.devices))
            .collect();
        status.summary = Some(shorten(&parts.join(", "), 1024));
        status.accelerators = accelerators;
    }
    let (answer, reason, message) = reachability(member, now);
    let reachable = NewCondition::new(ConditionType::Reachable, answer, reason)
        .message(shorten(&message, 1024))
        .observed_generation(cluster.metadata.generation);
    set_condition(&mut status.conditions, reachable, &Time(now));
    let notes: Vec<&String> = member.notes.values().flatten().collect();
    let valid = match unknown_power_domain {
        Some(domain) => NewCondition::new(
            ConditionType::Valid,
            false,
            ConditionReason::UnknownPowerDomain,
        )
        .message(format!(
            "spec.powerDomainRef names PowerDomain {domain}, which does not exist: nothing is placed on nodes that hang on it; create it or correct the name"
        )),
        None => NewCondition::new(ConditionType::Valid, true, ConditionReason::Accepted)
            .message(notes_text(&notes)),
    };
    let valid = valid.observed_generation(cluster.metadata.generation);
    set_condition(&mut status.conditions, valid, &Time(now));
    if cluster.metadata.deletion_timestamp.is_some() {
        let terminating = terminating(cluster, member.is_usable(), placements);
        set_condition(&mut status.conditions, terminating, &Time(now));
    }
    status
}

/// What keeps a cluster that is being deleted, and what to do about it.
fn terminating(cluster: &MemberCluster, is_usable: bool, placements: usize) -> NewCondition {
    let name = cluster.name_any();
    let (reason, message) = match cluster.spec.deletion {
        DeletionPolicy::Refuse => (
            ConditionReason::InUse,
            format!(
                "{placements} Placements are in this cluster, and spec.deletion: Refuse waits for their end; nothing new is placed here. Delete or suspend their jobs, or set spec.deletion: Drain to have them placed elsewhere"
            ),
        ),
        DeletionPolicy::Drain if is_usable => (
            ConditionReason::Draining,
            format!(
                "{placements} Placements of this cluster are being ended, and their jobs placed elsewhere"
            ),
        ),
        DeletionPolicy::Drain => (
            ConditionReason::ClusterUnreachable,
            format!(
                "{placements} Placements of this cluster cannot be ended while it cannot be used (see Reachable): what they hold stays charged, and TrainingJobs among them are not started elsewhere. To give up what runs there, which then runs on unseen: kubectl patch membercluster {name} --type=merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'"
            ),
        ),
    };
    NewCondition::new(ConditionType::Terminating, true, reason)
        .message(message)
        .observed_generation(cluster.metadata.generation)
}

/// The first few notes, and how many more there are.
fn notes_text(notes: &[&String]) -> String {
    let mut text = notes
        .iter()
        .take(MAX_NOTES)
        .map(|n| n.as_str())
        .collect::<Vec<_>>()
        .join("; ");
    if notes.len() > MAX_NOTES {
        text.push_str(&format!("; and {} more", notes.len() - MAX_NOTES));
    }
    shorten(&text, 2048)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::inventory::refresh;
    use crate::state::Change;
    use crate::testing::{NOW, node, object, state};

    #[test]
    fn a_cluster_that_is_deleted_says_what_keeps_it_and_what_to_do() {
        for (deletion, is_usable, reason, says) in [
            (
                "Drain",
                true,
                "Draining",
                "3 Placements of this cluster are being ended",
            ),
            (
                "Drain",
                false,
                "ClusterUnreachable",
                r#"kubectl patch membercluster oslo --type=merge -p '{"metadata":{"finalizers":null}}'"#,
            ),
            ("Refuse", true, "InUse", "set spec.deletion: Drain"),
            ("Refuse", false, "InUse", "set spec.deletion: Drain"),
        ] {
            let cluster: MemberCluster = object(json!({
                "apiVersion": "ampacity.dev/v1alpha1", "kind": "MemberCluster",
                "metadata": {"name": "oslo"},
                "spec": {"provider": "onprem", "region": "oslo", "deletion": deletion},
            }));
            let condition = terminating(&cluster, is_usable, 3);
            assert_eq!(condition.reason.as_str(), reason, "{deletion} {is_usable}");
            assert!(condition.message.contains(says), "{}", condition.message);
        }
    }

    #[test]
    fn nodes_without_accelerators_are_not_counted() {
        let mut state = state();
        let mut plain = node("plain", "True");
        plain.status.capacity.remove("nvidia.com/gpu");
        plain.status.allocatable = None;
        let member = state.members.get_mut("oslo").unwrap();
        let nodes = [node("a", "True"), node("b", "False"), plain];
        member.nodes.apply(Change::All(nodes.into()));
        for name in ["a", "b", "c", "plain"] {
            state
                .dirty
                .nodes
                .insert(("oslo".to_owned(), name.to_owned()));
        }
        refresh(&mut state, NOW);
        let cluster = state.hub.clusters.named("oslo").unwrap();
        let status = cluster_status(cluster, &state.members["oslo"], Vec::new(), None, 0, NOW);
        assert_eq!((status.nodes, status.nodes_ready), (2, 1));
    }
}
