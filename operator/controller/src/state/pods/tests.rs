use super::*;
use crate::state::reservation;
use crate::testing::{NOW, object, placement, state};
use serde_json::json;

/// One replica of a placement with this UID has eight devices, on node `a`.
fn reserved(uid: &str) -> Option<Cover> {
    let mut placement = placement("InferenceJob", 1, &[("a", 1)]);
    placement.metadata.uid = Some(uid.to_owned());
    let held = reservation(&state(), &placement);
    Some(Cover::of(&placement, &held))
}

/// A pod on node `a` with eight devices that says it is of a placement.
fn pod(hub: &str, placement: &str, uid: &str) -> SlimPod {
    object(json!({
        "metadata": {"name": "p", "namespace": "research",
            "labels": {labels::PLACEMENT: placement, labels::HUB: hub},
            "annotations": {labels::PLACEMENT_UID: uid}},
        "spec": {"nodeName": "a", "containers": [{"resources": {"limits": {"nvidia.com/gpu": 8}}}]},
        "status": {"phase": "Running"},
    }))
}

#[test]
fn a_pod_is_ours_only_while_its_placement_is_there() {
    let llama = ObjectKey::new("research", "llama-1");
    let foreign = |index: &PodIndex| index.foreign_on("a").count();
    let ours = |index: &PodIndex| index.of_placement(&llama).map_or(0, BTreeMap::len);
    for (what, hub, placement, uid, is_ours) in [
        ("of the placement", "hub-1", "llama-1", "uid-1", true),
        (
            "of an earlier one of the name",
            "hub-1",
            "llama-1",
            "uid-0",
            false,
        ),
        ("of none that is there", "hub-1", "llama-9", "uid-1", false),
        ("of another hub", "hub-2", "llama-1", "uid-1", false),
    ] {
        let expected = if is_ours { (1, 0) } else { (0, 1) };
        // Whichever is heard of first.
        for pod_first in [true, false] {
            let mut index = PodIndex::new("hub-1");
            let apply = |index: &mut PodIndex| {
                index.apply(Change::Applied(Box::new(pod(hub, placement, uid))), NOW)
            };
            if pod_first {
                apply(&mut index);
                assert_eq!((ours(&index), foreign(&index)), (0, 1), "{what}");
            }
            index.recognise(&llama, reserved("uid-1"));
            if !pod_first {
                apply(&mut index);
            }
            assert_eq!((ours(&index), foreign(&index)), expected, "{what}");
            let touched = index.recognise(&llama, None);
            assert_eq!((ours(&index), foreign(&index)), (0, 1), "{what}: gone");
            assert_eq!(touched.nodes.contains("a"), is_ours, "{what}");
            index.apply(Change::All(Vec::new()), NOW);
            assert_eq!((ours(&index), foreign(&index)), (0, 0), "{what}");
            assert!(index.claims.is_empty() && index.claimed.is_empty());
        }
    }
}

#[test]
fn a_pod_counts_once_whatever_its_labels_become() {
    let mut index = PodIndex::new("hub-1");
    let llama = ObjectKey::new("research", "llama-1");
    let chat = ObjectKey::new("research", "chat-1");
    index.recognise(&llama, reserved("uid-1"));
    index.recognise(&chat, reserved("uid-2"));
    for (placement, uid, counts) in [
        ("llama-1", "uid-1", (1, 0, 0)),
        ("chat-1", "uid-2", (0, 1, 0)),
        ("chat-1", "uid-1", (0, 0, 1)),
        ("llama-1", "uid-1", (1, 0, 0)),
    ] {
        index.apply(Change::Applied(Box::new(pod("hub-1", placement, uid))), NOW);
        let of = |key| index.of_placement(key).map_or(0, BTreeMap::len);
        let found = (of(&llama), of(&chat), index.foreign_on("a").count());
        assert_eq!(found, counts, "{placement} {uid}");
    }
}

#[test]
fn what_goes_beyond_the_reservation_is_held_like_anybodys() {
    let pod = |name: &str, node: &str, devices: u64, cpu: &str| {
        let mut pod = pod("hub-1", "chat-1", "uid-1");
        pod.metadata.name = Some(name.to_owned());
        pod.spec.node_name = Some(node.to_owned());
        let amounts = json!({"nvidia.com/gpu": devices, "cpu": cpu, "example.com/nic": 1});
        pod.spec.containers =
            serde_json::from_value(json!([{"resources": {"limits": amounts}}])).unwrap();
        pod
    };
    // One replica of 8 devices is reserved on node a, and none elsewhere; of what is there, what counts as anybody's.
    let table = [
        ("its pod", vec![("p", "a", 8, "0")], vec![("a", 0, 0, true)]),
        (
            "asks for more",
            vec![("p", "a", 12, "3")],
            vec![("a", 4, 3000, true)],
        ),
        ("smaller", vec![("p", "a", 4, "0")], vec![("a", 0, 0, true)]),
        (
            "two in the place of one",
            vec![("p", "a", 4, "0"), ("q", "a", 6, "0")],
            vec![("a", 0, 0, true), ("a", 2, 0, false)],
        ),
        (
            "copied beside it",
            vec![("p", "a", 8, "0"), ("q", "a", 2, "1")],
            vec![("a", 0, 0, true), ("a", 2, 1000, false)],
        ),
        (
            "elsewhere",
            vec![("p", "b", 8, "0")],
            vec![("b", 8, 0, false)],
        ),
    ];
    let chat = ObjectKey::new("research", "chat-1");
    for (what, pods, expected) in table {
        let mut index = PodIndex::new("hub-1");
        index.recognise(&chat, reserved("uid-1"));
        for (name, node, devices, cpu) in &pods {
            let pod = pod(name, node, *devices, cpu);
            index.apply(Change::Applied(Box::new(pod)), NOW);
        }
        let held: Vec<(&str, u64, u64, bool)> = ["a", "b"]
            .iter()
            .flat_map(|node| index.foreign_on(node).map(|held| (*node, held)))
            .map(|(node, held)| {
                let devices = held.extended.get("nvidia.com/gpu").copied().unwrap_or(0);
                let beyond = held.beyond.as_ref().unwrap();
                assert_eq!(
                    held.extended["example.com/nic"], 1,
                    "{what}: no job asks for it"
                );
                (node, devices, held.cpu_milli, beyond.is_counted)
            })
            .collect();
        assert_eq!(held, expected, "{what}");
        // Nothing is left of any of them.
        index.apply(Change::All(Vec::new()), NOW);
        assert_eq!(
            index.foreign_on("a").count() + index.foreign_on("b").count(),
            0
        );
        assert!(index.placed.is_empty() && index.by_node.is_empty());
    }
}

#[test]
fn a_place_that_is_left_is_the_next_pods() {
    let named = |name: &str| {
        let mut pod = pod("hub-1", "chat-1", "uid-1");
        pod.metadata.name = Some(name.to_owned());
        Box::new(pod)
    };
    let chat = ObjectKey::new("research", "chat-1");
    let mut index = PodIndex::new("hub-1");
    index.recognise(&chat, reserved("uid-1"));
    for name in ["p", "q"] {
        index.apply(Change::Applied(named(name)), NOW);
    }
    assert_eq!(index.foreign_on("a").count(), 1);
    let touched = index.apply(Change::Deleted(named("p")), NOW);
    assert_eq!(index.foreign_on("a").count(), 0);
    assert!(touched.nodes.contains("a"), "its devices are free to plan");
    // The placement grows and shrinks under them.
    index.apply(Change::Applied(named("p")), NOW);
    index.recognise(&chat, None);
    assert_eq!(index.foreign_on("a").count(), 2);
}

#[test]
fn a_claim_is_covered_as_far_as_a_replica_of_its_placement_goes() {
    let chat = ObjectKey::new("research", "chat-1");
    let mut index = PodIndex::new("hub-1");
    index.recognise(&chat, reserved("uid-1"));
    for (name, node) in [("p", "a"), ("q", "b")] {
        let mut pod = pod("hub-1", "chat-1", "uid-1");
        pod.metadata.name = Some(name.to_owned());
        pod.spec.node_name = Some(node.to_owned());
        index.apply(Change::Applied(Box::new(pod)), NOW);
    }
    let claim = |devices: usize, user: &str| -> SlimResourceClaim {
        let device = json!({"driver": "gpu.nvidia.com", "pool": "a", "device": "gpu"});
        object(json!({
            "metadata": {"name": "c", "namespace": "research"},
            "status": {
                "allocation": {"devices": {"results": vec![device; devices]}},
                "reservedFor": [{"resource": "pods", "name": user}],
            },
        }))
    };
    for (what, devices, user, uid, covered) in [
        ("its pod's", 8, "p", "uid-1", true),
        ("of a pod that is not seen yet", 8, "new", "uid-1", true),
        ("of a pod beyond the reservation", 8, "q", "uid-1", false),
        ("larger than a replica", 9, "p", "uid-1", false),
        ("of another placement", 8, "p", "uid-2", false),
    ] {
        let found = index.covers_claim(&chat, uid, &claim(devices, user));
        assert_eq!(found, covered, "{what}");
    }
    assert_eq!(index.served_by(&claim(8, "p")), None);
    let mut by_name = pod("hub-1", "chat-1", "uid-1");
    by_name
        .status
        .extended_resource_claim_status
        .resource_claim_name = Some("c".to_owned());
    index.apply(Change::Applied(Box::new(by_name)), NOW);
    assert_eq!(index.served_by(&claim(8, "p")), Some((&chat, "uid-1")));
    assert_eq!(index.served_by(&claim(8, "q")), None);
}

#[test]
fn a_pod_waits_since_it_was_first_seen_to_wait_for_the_same() {
    let at = |second: i64| Timestamp::from_second(1_000_000 + second).unwrap();
    let waiting = |reason: &str| {
        json!({"phase": "Running", "containerStatuses": [{"name": "main",
            "state": {"waiting": {"reason": reason}}}]})
    };
    let running = |ready: &str| {
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": "main"}]})
    };
    let creating = || json!({"phase": "Pending"});
    let (pulls, backs_off, crashes) = (
        || waiting("ErrImagePull"),
        || waiting("ImagePullBackOff"),
        || waiting("CrashLoopBackOff"),
    );
    // What is seen second by second, and since when the pod then waits.
    let table = [
        (vec![creating(), creating()], Some(0)),
        (vec![creating(), pulls(), backs_off(), pulls()], Some(1)),
        (vec![creating(), running("False")], None),
        (vec![creating(), running("True")], None),
        (vec![creating(), running("False"), crashes()], Some(2)),
        (vec![crashes(), running("False"), crashes()], Some(0)),
        (vec![crashes(), running("True"), crashes()], Some(2)),
    ];
    let llama = ObjectKey::new("research", "llama-1");
    for (seen, expected) in table {
        let mut index = PodIndex::new("hub-1");
        index.recognise(&llama, reserved("uid-1"));
        for (second, status) in (0..).zip(&seen) {
            let mut pod = pod("hub-1", "llama-1", "uid-1");
            pod.status = serde_json::from_value(status.clone()).unwrap();
            index.apply(Change::Applied(Box::new(pod)), at(second));
        }
        let since = index.of_placement(&llama).unwrap()["p"].waits_since;
        assert_eq!(since, expected.map(at), "{seen:?}");
    }
    let mut index = PodIndex::new("hub-1");
    index.recognise(&llama, reserved("uid-1"));
    let mut pod = pod("hub-1", "llama-1", "uid-1");
    pod.status = serde_json::from_value(crashes()).unwrap();
    index.apply(Change::Applied(Box::new(pod)), at(0));
    index.count_anew(at(60));
    let since = index.of_placement(&llama).unwrap()["p"].waits_since;
    assert_eq!(since, Some(at(60)), "the member was away meanwhile");
}
