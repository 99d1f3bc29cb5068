//! Tables of what the operator counts.

use serde_json::json;

use super::*;
use crate::state::{Change, Reach, SlimNode};
use crate::testing::{NOW, hub_has, node, object, placement, state};

/// As a watch tells it, and the fleet is refreshed.
fn node_changes(state: &mut State, change: Change<SlimNode>, name: &str, now: Timestamp) {
    let member = state.members.get_mut("oslo").unwrap();
    member.nodes.apply(change);
    state
        .dirty
        .nodes
        .insert(("oslo".to_owned(), name.to_owned()));
    refresh(state, now);
}

fn devices(state: &State) -> Vec<(String, u64, u64)> {
    let count = state.fleet.devices("oslo");
    let of = |(name, n): (String, ampacity_placement::DeviceCount)| (name, n.total, n.free);
    count.into_iter().map(of).collect()
}

fn h100s(total: u64, free: u64) -> Vec<(String, u64, u64)> {
    vec![("nvidia-h100-sxm5-80gb".to_owned(), total, free)]
}

#[test]
fn nodes_that_come_and_go_change_the_fleet() {
    let mut state = state();
    assert_eq!(devices(&state), h100s(24, 24));
    node_changes(
        &mut state,
        Change::Deleted(Box::new(node("a", "True"))),
        "a",
        NOW,
    );
    assert_eq!(devices(&state), h100s(16, 16));
    node_changes(
        &mut state,
        Change::Applied(Box::new(node("d", "True"))),
        "d",
        NOW,
    );
    assert_eq!(devices(&state), h100s(24, 24));
    state.hub.clusters.apply(Change::All(Vec::new()));
    state.dirty.clusters.insert("oslo".to_owned());
    refresh(&mut state, NOW);
    assert_eq!(devices(&state), []);
}

#[test]
fn a_heartbeat_is_no_reason_to_plan_again() {
    let mut state = state();
    let before = state.capacity_version;
    node_changes(
        &mut state,
        Change::Applied(Box::new(node("a", "True"))),
        "a",
        NOW,
    );
    assert_eq!(state.capacity_version, before);
    node_changes(
        &mut state,
        Change::Applied(Box::new(node("a", "False"))),
        "a",
        NOW,
    );
    assert_ne!(state.capacity_version, before);
}

fn since(state: &State, node: &str) -> Option<(i64, Option<i64>)> {
    let outage = state.members["oslo"].outages.get(node)?;
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
        node.spec.taints = vec![crate::state::SlimTaint {
            key: "karpenter.sh/disrupted".to_owned(),
            ..Default::default()
        }];
        node
    };
    let mut state = state();
    let ours = placement("TrainingJob", 1, &[("a", 2)]);
    hub_has(&mut state, vec![ours]);
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
        node_changes(&mut state, change, "a", now);
        assert_eq!(since(&state, "a"), expected, "{what}");
    }
}

#[test]
fn a_node_that_is_gone_is_lost_to_whatever_names_it() {
    // Gone before this process looked: the first list does not have it, and a Placement names it.
    let mut state = state();
    let on = |attempt, node| placement("TrainingJob", attempt, &[(node, 1)]);
    hub_has(&mut state, vec![on(1, "gone"), on(2, "a")]);
    assert_eq!(since(&state, "gone"), Some((0, Some(0))));
    assert_eq!(since(&state, "a"), None);
    // The same when the member is read only after the Placements.
    let mut member = Member {
        reach: Reach::Connected,
        ..Member::new("hub-1", &state.kinds)
    };
    member.nodes.apply(Change::All(vec![node("a", "True")]));
    state.link_member("oslo", member);
    refresh(&mut state, NOW);
    assert_eq!(since(&state, "gone"), Some((0, Some(0))));
    // Nobody names it any more.
    hub_has(&mut state, vec![on(2, "a")]);
    assert_eq!(since(&state, "gone"), None);
    // A node goes while a decision for it is being written.
    node_changes(
        &mut state,
        Change::Deleted(Box::new(node("b", "True"))),
        "b",
        NOW,
    );
    assert_eq!(since(&state, "b"), None);
    hub_has(&mut state, vec![on(2, "a"), on(3, "b")]);
    assert_eq!(since(&state, "b"), Some((0, Some(0))));
}

#[test]
fn a_member_that_is_linked_anew_keeps_no_node_of_before() {
    let mut state = state();
    hub_has(&mut state, vec![placement("TrainingJob", 1, &[("a", 2)])]);
    state.link_member("oslo", Member::default());
    refresh(&mut state, NOW);
    assert_eq!(devices(&state), []);
    assert!(
        state.fleet.reservation("research/llama-1").is_some(),
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
                "labels": {labels::PLACEMENT: placement, labels::HUB: hub},
                "annotations": {labels::PLACEMENT_UID: uid}},
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
        let mut state = state();
        hub_has(&mut state, vec![placement("TrainingJob", 1, &[])]);
        let member = state.members.get_mut("oslo").unwrap();
        member.nodes.apply(Change::All(vec![bare("x"), bare("y")]));
        member.slices.apply(Change::All(vec![slice()]));
        member
            .claims
            .apply(Change::All(claim.into_iter().collect()));
        state.dirty.clusters.insert("oslo".to_owned());
        for gone in ["a", "b", "c"] {
            let key = ("oslo".to_owned(), gone.to_owned());
            state.dirty.nodes.insert(key);
        }
        refresh(&mut state, NOW);
        assert_eq!(devices(&state), h100s(2, free), "{what}");
    }
}

#[test]
fn a_member_whose_claims_are_not_listed_takes_nothing() {
    let mut state = state();
    let member = state.members.get_mut("oslo").unwrap();
    assert!(member.is_usable());
    member.claims.clear();
    assert!(!member.is_usable(), "what claims hold would count as free");
}

#[test]
fn what_takes_devices_out_of_use_is_seen_by_the_operator_too() {
    let mut state = state();
    let device = |n: u32| {
        json!({"name": format!("gpu-{n}"), "attributes": {
            "type": {"string": "gpu"}, "productName": {"string": "NVIDIA H100 80GB HBM3"},
        }})
    };
    let slice = object(json!({
        "metadata": {"name": "d"},
        "spec": {
            "driver": "gpu.nvidia.com", "nodeName": "d",
            "pool": {"name": "d", "generation": 1, "resourceSliceCount": 1},
            "devices": (0..8).map(device).collect::<Vec<_>>(),
        }
    }));
    let bare: SlimNode = object(json!({
        "metadata": {"name": "d"}, "spec": {},
        "status": {"capacity": {"cpu": "96", "memory": "1Ti", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}]},
    }));
    let member = state.members.get_mut("oslo").unwrap();
    member.nodes.apply(Change::All(vec![bare]));
    member.slices.apply(Change::All(vec![slice]));
    state.dirty.clusters.insert("oslo".to_owned());
    let gone = ["a", "b", "c"].map(|name| ("oslo".to_owned(), name.to_owned()));
    state.dirty.nodes.extend(gone);
    refresh(&mut state, NOW);
    assert_eq!(devices(&state), h100s(8, 8));
    let again = |state: &mut State, change: &dyn Fn(&mut Member)| {
        let member = state.members.get_mut("oslo").unwrap();
        change(member);
        let key = ("oslo".to_owned(), "d".to_owned());
        state.dirty.nodes.insert(key);
        refresh(state, NOW);
        devices(state)
    };

    let rule = || {
        object(json!({
            "metadata": {"name": "out"},
            "spec": {"deviceSelector": {"pool": "d", "device": "gpu-3"},
                "taint": {"key": "broken", "effect": "NoSchedule"}},
        }))
    };
    let seen = again(&mut state, &|member| {
        member.taint_rules.apply(Change::All(vec![rule()]));
    });
    assert_eq!(seen, h100s(7, 7));
    let seen = again(&mut state, &|member| {
        member.taint_rules.apply(Change::All(Vec::new()));
    });
    assert_eq!(seen, h100s(8, 8));

    // A pod that uses a claim which has not been heard of.
    let pod = |status| {
        object(json!({
            "metadata": {"name": "p", "namespace": "team"},
            "spec": {"nodeName": "d", "resourceClaims": [{"name": "c", "resourceClaimName": "c1"}]},
            "status": status,
        }))
    };
    let running = || pod(json!({"phase": "Running"}));
    let seen = again(&mut state, &|member| {
        member.pods.apply(Change::All(vec![running()]), NOW);
    });
    assert_eq!(seen, h100s(8, 0));
    let claim = || {
        object(json!({
            "metadata": {"name": "c1", "namespace": "team"},
            "status": {"allocation": {"devices": {"results": [
                {"driver": "gpu.nvidia.com", "pool": "d", "device": "gpu-1"},
            ]}}}
        }))
    };
    let seen = again(&mut state, &|member| {
        member.claims.apply(Change::All(vec![claim()]));
    });
    assert_eq!(seen, h100s(8, 7));

    let driver = |ready: &str| {
        object(json!({
            "metadata": {"name": "nvidia-dra-driver-gpu-kubelet-plugin-x", "namespace": "nvidia"},
            "spec": {"nodeName": "d"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
        }))
    };
    let seen = again(&mut state, &|member| {
        member
            .signs
            .apply(&Change::Applied(Box::new(driver("False"))));
    });
    assert_eq!(seen, []);
    let notes = &state.members["oslo"].notes["d"];
    assert!(
        notes.iter().any(|note| note.contains("is not ready")),
        "{notes:?}"
    );
    let seen = again(&mut state, &|member| {
        member
            .signs
            .apply(&Change::Applied(Box::new(driver("True"))));
    });
    assert_eq!(seen, h100s(8, 7));

    // The kubelet refuses what it is given.
    let refused = |n: u32| {
        let status = json!({"phase": "Failed", "reason": "UnexpectedAdmissionError", "startTime": NOW.to_string()});
        let mut refused: crate::state::SlimPod = pod(status);
        refused.metadata.name = Some(format!("r{n}"));
        refused
    };
    let seen = again(&mut state, &|member| {
        for n in 0..3 {
            member.signs.apply(&Change::Applied(Box::new(refused(n))));
        }
    });
    assert_eq!(seen, h100s(8, 0));
}
