//! Tables of what the operator counts, and the small world they share.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::*;
use crate::inventory::{SlimNode, SlimPod};
use crate::watch::Change;
use crate::world::Reach;

pub(crate) const NOW: Timestamp = Timestamp::constant(1_750_000_000, 0);

/// An object as an API server sends it, newer than all before it.
pub(crate) fn object<K: serde::de::DeserializeOwned>(mut value: serde_json::Value) -> K {
    static VERSION: AtomicU64 = AtomicU64::new(1);
    let version = VERSION.fetch_add(1, Ordering::SeqCst);
    value["metadata"]["resourceVersion"] = json!(version.to_string());
    serde_json::from_value(value).unwrap()
}

/// A hub with the cluster `oslo`, connected, of three nodes with 8 H100 each.
pub(crate) fn world() -> World {
    let mut world = World::default();
    let cluster = object(json!({
        "apiVersion": "ampacity.dev/v1alpha1", "kind": "MemberCluster",
        "metadata": {"name": "oslo"}, "spec": {"provider": "onprem", "region": "oslo"}
    }));
    world.hub.clusters.apply(Change::All(vec![cluster]));
    let mut member = Member {
        reach: Reach::Connected,
        pods: crate::pods::PodIndex::new("hub-1"),
        ..Member::default()
    };
    let nodes = ["a", "b", "c"].map(|name| node(name, "True"));
    member.nodes.apply(Change::All(nodes.into()));
    member.pods.apply(Change::All(Vec::new()));
    member.jobs.apply(Change::All(Vec::new()));
    member.deployments.apply(Change::All(Vec::new()));
    world.members.insert("oslo".to_owned(), member);
    assert!(refresh_facts(&mut world, NOW).notes.is_empty());
    take_stock(&mut world, NOW);
    world
}

fn node(name: &str, ready: &str) -> SlimNode {
    let has = json!({"cpu": "96", "memory": "1Ti", "pods": "110", "nvidia.com/gpu": "8"});
    object(json!({
        "metadata": {"name": name, "labels": {
            "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "kubernetes.io/hostname": name,
        }},
        "spec": {},
        "status": {
            "capacity": has, "allocatable": has, "nodeInfo": {"operatingSystem": "linux"},
            "conditions": [{"type": "Ready", "status": ready}],
        }
    }))
}

/// A Placement of `research/llama` or `research/chat` on `(node, replicas)…` of `oslo`, 8 devices each.
pub(crate) fn placement(kind: &str, attempt: i32, nodes: &[(&str, i32)]) -> Placement {
    let job = if kind == "TrainingJob" {
        "llama"
    } else {
        "chat"
    };
    let nodes: Vec<_> = nodes
        .iter()
        .map(|(name, replicas)| json!({"name": name, "replicas": replicas}))
        .collect();
    object(json!({
        "apiVersion": "ampacity.dev/v1alpha1", "kind": "Placement",
        "metadata": {"name": format!("{job}-{attempt}"), "namespace": "research"},
        "spec": {
            "jobRef": {"kind": kind, "name": job, "uid": "job-uid"},
            "attempt": attempt, "epoch": 1, "cluster": "oslo", "alternative": "h100",
            "acceleratorType": "nvidia-h100-sxm5-80gb", "capacityType": "Owned",
            "devicesPerReplica": 8, "replicas": 2, "nodes": nodes,
            "resource": {"resourceName": "nvidia.com/gpu"}, "watts": 18000, "usdPerHour": "40.2",
        }
    }))
}

/// As a watch tells it, and the stock is taken.
fn node_changes(world: &mut World, change: Change<SlimNode>, name: &str, now: Timestamp) {
    let member = world.members.get_mut("oslo").unwrap();
    member.nodes.apply(change);
    world
        .dirty
        .nodes
        .insert(("oslo".to_owned(), name.to_owned()));
    take_stock(world, now);
}

fn devices(world: &World) -> Vec<(String, u64, u64)> {
    let count = world.fleet.devices("oslo");
    let of = |(name, n): (String, ampacity_placement::DeviceCount)| (name, n.total, n.free);
    count.into_iter().map(of).collect()
}

fn h100s(total: u64, free: u64) -> Vec<(String, u64, u64)> {
    vec![("nvidia-h100-sxm5-80gb".to_owned(), total, free)]
}

#[test]
fn nodes_that_come_and_go_are_taken_into_stock() {
    let mut world = world();
    assert_eq!(devices(&world), h100s(24, 24));
    node_changes(
        &mut world,
        Change::Deleted(Box::new(node("a", "True"))),
        "a",
        NOW,
    );
    assert_eq!(devices(&world), h100s(16, 16));
    node_changes(
        &mut world,
        Change::Applied(Box::new(node("d", "True"))),
        "d",
        NOW,
    );
    assert_eq!(devices(&world), h100s(24, 24));
    world.hub.clusters.apply(Change::All(Vec::new()));
    world.dirty.clusters.insert("oslo".to_owned());
    take_stock(&mut world, NOW);
    assert_eq!(devices(&world), []);
}

#[test]
fn a_heartbeat_is_no_reason_to_plan_again() {
    let mut world = world();
    let before = world.capacity_version;
    node_changes(
        &mut world,
        Change::Applied(Box::new(node("a", "True"))),
        "a",
        NOW,
    );
    assert_eq!(world.capacity_version, before);
    node_changes(
        &mut world,
        Change::Applied(Box::new(node("a", "False"))),
        "a",
        NOW,
    );
    assert_ne!(world.capacity_version, before);
}

#[test]
fn a_node_that_fails_is_remembered_only_where_something_of_ours_is() {
    let mut world = world();
    let ours = placement("TrainingJob", 1, &[("a", 1), ("b", 1)]);
    world.hub.placements.apply(Change::All(vec![ours]));
    let later = NOW + jiff::SignedDuration::from_secs(50);
    for (name, change, expected) in [
        (
            "a",
            Change::Applied(Box::new(node("a", "False"))),
            Some(NOW),
        ),
        ("b", Change::Deleted(Box::new(node("b", "True"))), Some(NOW)),
        ("c", Change::Applied(Box::new(node("c", "Unknown"))), None),
    ] {
        node_changes(&mut world, change, name, NOW);
        let since = |world: &World| world.members["oslo"].faulty_since.get(name).copied();
        assert_eq!(since(&world), expected, "{name}");
        let again = Change::Applied(Box::new(node(name, "False")));
        node_changes(&mut world, again, name, later);
        assert_eq!(since(&world), expected, "{name}: the first time counts");
        let well = Change::Applied(Box::new(node(name, "True")));
        node_changes(&mut world, well, name, later);
        assert_eq!(since(&world), None, "{name} is well again");
    }
}

#[test]
fn a_cordoned_node_keeps_what_runs_on_it() {
    let mut world = world();
    let ours = placement("TrainingJob", 1, &[("a", 2)]);
    world.hub.placements.apply(Change::All(vec![ours]));
    let mut cordoned = node("a", "True");
    cordoned.spec.unschedulable = true;
    node_changes(&mut world, Change::Applied(Box::new(cordoned)), "a", NOW);
    assert!(world.members["oslo"].faulty_since.is_empty());
}

fn pod(name: &str, placement: &str, node: Option<&str>, phase: &str) -> SlimPod {
    object(json!({
        "metadata": {"name": name, "namespace": "research", "labels": {
            ampacity_api::labels::PLACEMENT: placement, crate::dispatch::HUB: "hub-1",
        }},
        "spec": {"nodeName": node},
        "status": {"phase": phase},
    }))
}

/// Where a placement's reservation is, with these pods there.
fn held(kind: &str, planned: &[(&str, i32)], pods: &[(Option<&str>, &str)]) -> Vec<(String, u32)> {
    let mut world = world();
    let placement = placement(kind, 1, planned);
    let name = placement.name_any();
    let pods = pods
        .iter()
        .enumerate()
        .map(|(n, (node, phase))| pod(&format!("pod-{n}"), &name, *node, phase));
    let member = world.members.get_mut("oslo").unwrap();
    member.pods.apply(Change::All(pods.collect()));
    let reservation = reservation(&world, &placement);
    assert_eq!(reservation.key, format!("research/{name}"));
    assert_eq!(
        (reservation.devices_per_replica, reservation.watts),
        (8, Watts(18_000))
    );
    let share = |share: NodeShare| (share.name, share.replicas);
    reservation.nodes.into_iter().map(share).collect()
}

#[test]
fn a_reservation_is_where_the_pods_are_or_will_be() {
    type Pods = &'static [(Option<&'static str>, &'static str)];
    type Shares = &'static [(&'static str, u32)];
    let table: &[(&str, &str, Pods, Shares)] = &[
        (
            "a gang is pinned",
            "TrainingJob",
            &[(Some("b"), "Running"), (Some("c"), "Running")],
            &[("a", 1), ("b", 1)],
        ),
        ("no pod yet", "InferenceJob", &[], &[("a", 1), ("b", 1)]),
        (
            "not bound yet",
            "InferenceJob",
            &[(None, "Pending")],
            &[("a", 1), ("b", 1)],
        ),
        (
            "as planned",
            "InferenceJob",
            &[(Some("a"), "Running"), (Some("b"), "Running")],
            &[("a", 1), ("b", 1)],
        ),
        (
            "bound elsewhere",
            "InferenceJob",
            &[(Some("c"), "Running"), (Some("c"), "Running")],
            &[("c", 2)],
        ),
        (
            "half bound elsewhere",
            "InferenceJob",
            &[(Some("c"), "Running")],
            &[("a", 1), ("c", 1)],
        ),
        (
            "one ended",
            "InferenceJob",
            &[(Some("c"), "Running"), (Some("b"), "Failed")],
            &[("a", 1), ("c", 1)],
        ),
        (
            "a rollout holds more",
            "InferenceJob",
            &[
                (Some("a"), "Running"),
                (Some("b"), "Running"),
                (Some("c"), "Running"),
            ],
            &[("a", 1), ("b", 1), ("c", 1)],
        ),
    ];
    for (what, kind, pods, expected) in table {
        let expected: Vec<_> = expected
            .iter()
            .map(|(n, r)| ((*n).to_owned(), *r))
            .collect();
        assert_eq!(held(kind, &[("a", 1), ("b", 1)], pods), expected, "{what}");
    }
}
