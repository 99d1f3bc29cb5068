//! Tables of what the operator counts, and the small world they share.

use std::sync::atomic::{AtomicU64, Ordering};

use ampacity_api::Placement;
use serde_json::json;

use super::*;
use crate::inventory::SlimNode;
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
    member.slices.apply(Change::All(Vec::new()));
    member.claims.apply(Change::All(Vec::new()));
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
        "metadata": {
            "name": format!("{job}-{attempt}"), "namespace": "research",
            "uid": format!("uid-of-{job}-{attempt}"),
        },
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

/// Placements as the hub shows them, and nothing else.
pub(crate) fn hub_has(world: &mut World, placements: Vec<Placement>) {
    let changed = world.hub.placements.apply(Change::All(placements));
    for key in changed {
        world.follow_placement(&key);
    }
    take_stock(world, NOW);
}

fn since(world: &World, node: &str) -> Option<(i64, Option<i64>)> {
    let outage = world.members["oslo"].outages.get(node)?;
    let after = |at: Timestamp| at.as_second() - NOW.as_second();
    Some((after(outage.since), outage.silent_since.map(after)))
}

#[test]
fn outages_are_counted_from_when_they_were_first_seen() {
    let applied = |node| Change::Applied(Box::new(node));
    let cordoned = |ready: &str| {
        let mut node = node("a", ready);
        node.spec.unschedulable = true;
        node
    };
    let broken = || {
        let mut node = node("a", "True");
        node.spec.taints = vec![crate::inventory::SlimTaint {
            key: "karpenter.sh/disrupted".to_owned(),
            ..Default::default()
        }];
        node
    };
    let mut world = world();
    let ours = placement("TrainingJob", 1, &[("a", 2)]);
    hub_has(&mut world, vec![ours]);
    for (second, what, change, expected) in [
        (0, "cordoned", applied(cordoned("True")), None),
        (
            10,
            "not ready",
            applied(node("a", "False")),
            Some((10, Some(10))),
        ),
        (
            20,
            "and cordoned",
            applied(cordoned("Unknown")),
            Some((10, Some(10))),
        ),
        (30, "well", applied(node("a", "True")), None),
        (40, "on its way out", applied(broken()), Some((40, None))),
        (
            50,
            "and silent",
            applied(node("a", "Unknown")),
            Some((40, Some(50))),
        ),
        (
            60,
            "gone",
            Change::Deleted(Box::new(node("a", "Unknown"))),
            Some((40, Some(50))),
        ),
        (70, "back", applied(node("a", "True")), None),
    ] {
        let now = NOW + jiff::SignedDuration::from_secs(second);
        node_changes(&mut world, change, "a", now);
        assert_eq!(since(&world, "a"), expected, "{what}");
    }
}

#[test]
fn a_node_that_is_gone_is_lost_to_whatever_names_it() {
    // Gone before this process looked: the first list does not have it, and a Placement names it.
    let mut world = world();
    let on = |attempt, node| placement("TrainingJob", attempt, &[(node, 1)]);
    hub_has(&mut world, vec![on(1, "gone"), on(2, "a")]);
    assert_eq!(since(&world, "gone"), Some((0, Some(0))));
    assert_eq!(since(&world, "a"), None);
    // The same when the member is read only after the Placements.
    let mut member = Member {
        reach: Reach::Connected,
        pods: crate::pods::PodIndex::new("hub-1"),
        ..Member::default()
    };
    member.nodes.apply(Change::All(vec![node("a", "True")]));
    world.link_member("oslo", member);
    take_stock(&mut world, NOW);
    assert_eq!(since(&world, "gone"), Some((0, Some(0))));
    // Nobody names it any more.
    hub_has(&mut world, vec![on(2, "a")]);
    assert_eq!(since(&world, "gone"), None);
    // A node goes while a decision for it is being written.
    node_changes(
        &mut world,
        Change::Deleted(Box::new(node("b", "True"))),
        "b",
        NOW,
    );
    assert_eq!(since(&world, "b"), None);
    hub_has(&mut world, vec![on(2, "a"), on(3, "b")]);
    assert_eq!(since(&world, "b"), Some((0, Some(0))));
}

#[test]
fn a_member_that_is_linked_anew_keeps_no_node_of_before() {
    let mut world = world();
    hub_has(&mut world, vec![placement("TrainingJob", 1, &[("a", 2)])]);
    world.link_member("oslo", Member::default());
    take_stock(&mut world, NOW);
    assert_eq!(devices(&world), []);
    assert!(
        world.fleet.reservation("research/llama-1").is_some(),
        "what is held stays held"
    );
}

#[test]
fn devices_that_claims_hold_are_ours_only_where_their_placement_is() {
    let bare = |name: &str| -> SlimNode {
        object(json!({
            "metadata": {"name": name}, "spec": {},
            "status": {
                "capacity": {"cpu": "96", "memory": "1Ti", "pods": "110"},
                "nodeInfo": {"operatingSystem": "linux"},
                "conditions": [{"type": "Ready", "status": "True"}],
            }
        }))
    };
    // One pool over two nodes: each device names its own.
    let device = |name: &str, node: &str| {
        json!({"name": name, "nodeName": node, "attributes": {
            "type": {"string": "gpu"}, "productName": {"string": "NVIDIA H100 80GB HBM3"},
        }})
    };
    let slice = || {
        object(json!({
            "metadata": {"name": "fabric"},
            "spec": {
                "driver": "gpu.nvidia.com",
                "pool": {"name": "fabric", "generation": 1, "resourceSliceCount": 1},
                "devices": [device("gpu-0", "x"), device("gpu-1", "y")],
            }
        }))
    };
    let claim = |hub: &str, placement: &str, uid: &str| -> SlimResourceClaim {
        object(json!({
            "metadata": {"name": "c", "namespace": "research",
                "labels": {labels::PLACEMENT: placement, HUB: hub},
                "annotations": {PLACEMENT_UID: uid}},
            "status": {"allocation": {"devices": {"results": [
                {"driver": "gpu.nvidia.com", "pool": "fabric", "device": "gpu-1"},
            ]}}}
        }))
    };
    for (what, claim, free) in [
        ("no claim", None, 2),
        ("ours", Some(claim("hub-1", "llama-1", "uid-of-llama-1")), 2),
        (
            "of an earlier placement",
            Some(claim("hub-1", "llama-1", "uid-0")),
            1,
        ),
        (
            "of a placement that is gone",
            Some(claim("hub-1", "llama-9", "uid-9")),
            1,
        ),
        (
            "another hub's",
            Some(claim("hub-2", "llama-1", "uid-of-llama-1")),
            1,
        ),
    ] {
        let mut world = world();
        hub_has(&mut world, vec![placement("TrainingJob", 1, &[])]);
        let member = world.members.get_mut("oslo").unwrap();
        member.nodes.apply(Change::All(vec![bare("x"), bare("y")]));
        member.slices.apply(Change::All(vec![slice()]));
        member
            .claims
            .apply(Change::All(claim.into_iter().collect()));
        world.dirty.clusters.insert("oslo".to_owned());
        for gone in ["a", "b", "c"] {
            let key = ("oslo".to_owned(), gone.to_owned());
            world.dirty.nodes.insert(key);
        }
        take_stock(&mut world, NOW);
        assert_eq!(devices(&world), h100s(2, free), "{what}");
    }
}

#[test]
fn a_member_whose_claims_are_not_listed_takes_nothing() {
    let mut world = world();
    let member = world.members.get_mut("oslo").unwrap();
    assert!(member.is_usable());
    member.claims.clear();
    assert!(!member.is_usable(), "what claims hold would count as free");
}
