//! Tables of what placements hold.

use ampacity_api::JobKind;
use ampacity_placement::{NodeShare, Watts};
use serde_json::json;

use super::*;
use crate::inventory::refresh;
use crate::state::{Change, Cover, SlimPod};
use crate::testing::{NOW, hub_has, job_changed, object, placement, state};

fn pod(name: &str, placement: &str, node: Option<&str>, phase: &str) -> SlimPod {
    object(json!({
        "metadata": {"name": name, "namespace": "research", "labels": {
            ampacity_api::labels::PLACEMENT: placement, ampacity_api::labels::HUB: "hub-1",
        }, "annotations": {ampacity_api::labels::PLACEMENT_UID: format!("uid-of-{placement}")}},
        "spec": {"nodeName": node},
        "status": {"phase": phase},
    }))
}

/// Where a placement's reservation is, with these pods there.
fn held(kind: &str, planned: &[(&str, i32)], pods: &[(Option<&str>, &str)]) -> Vec<(String, u32)> {
    let mut state = state();
    let placement = placement(kind, 1, planned);
    let name = placement.name_any();
    let pods = pods
        .iter()
        .enumerate()
        .map(|(n, (node, phase))| pod(&format!("pod-{n}"), &name, *node, phase));
    let cover = Cover::of(&placement, &reservation(&state, &placement));
    let member = state.members.get_mut("oslo").unwrap();
    member.pods.apply(Change::All(pods.collect()), NOW);
    member
        .pods
        .recognise(&ObjectKey::of(&placement), Some(cover));
    let reservation = reservation(&state, &placement);
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
            &[("a", 1), ("b", 1), ("c", 2)],
        ),
        (
            "half bound elsewhere",
            "InferenceJob",
            &[(Some("c"), "Running")],
            &[("a", 1), ("b", 1), ("c", 1)],
        ),
        (
            "one ended",
            "InferenceJob",
            &[(Some("c"), "Running"), (Some("b"), "Failed")],
            &[("a", 1), ("b", 1), ("c", 1)],
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

#[test]
fn what_a_job_says_is_charged_whichever_is_read_first() {
    let mut state = state();
    let ours = placement("TrainingJob", 1, &[("a", 1), ("b", 1)]);
    let key = ObjectKey::of(&ours);
    state.placements.add(&ours);
    hub_has(&mut state, vec![ours]);
    let charged = |state: &State| {
        let held = state.fleet.reservation("research/llama-1").unwrap();
        (held.queue.clone(), held.cpu_milli, held.memory_mib)
    };
    assert_eq!(
        charged(&state),
        ("default".to_owned(), 0, 0),
        "the job is not read yet"
    );
    let job = |uid: &str| -> ampacity_api::TrainingJob {
        object(json!({
            "apiVersion": "ampacity.dev/v1alpha1", "kind": "TrainingJob",
            "metadata": {"name": "llama", "namespace": "research", "uid": uid},
            "spec": {"queue": "vision", "template": {"spec": {"containers": [{
                "name": "train", "resources": {"requests": {"cpu": "4", "memory": "8Gi"}},
            }]}}, "alternatives": [{
                "name": "h100", "acceleratorType": "nvidia-h100-sxm5-80gb",
                "devicesPerReplica": 8, "replicas": 2, "image": "i",
            }]},
        }))
    };
    let step = |state: &mut State, change: Change<ampacity_api::TrainingJob>| {
        job_changed(state, JobKind::TrainingJob, change);
        state.dirty.placements.insert(key.clone());
        refresh(state, NOW);
    };
    let vision = ("vision".to_owned(), 4000, 8192);
    step(&mut state, Change::Applied(Box::new(job("job-uid"))));
    assert_eq!(charged(&state), vision);
    // It cannot be read any more, or is gone: what it holds stays held.
    step(
        &mut state,
        Change::Forgotten(ObjectKey::new("research", "llama")),
    );
    assert_eq!(charged(&state), vision);
    // Another job of its name.
    step(&mut state, Change::Applied(Box::new(job("another"))));
    assert_eq!(charged(&state), vision);
}

#[test]
fn replicas_are_held_where_their_pods_went() {
    let mut state = state();
    let chat = placement("InferenceJob", 1, &[("a", 1), ("b", 1)]);
    hub_has(&mut state, vec![chat]);
    let nodes = |state: &State| -> Vec<String> {
        let held = state.fleet.reservation("research/chat-1").unwrap();
        held.nodes.iter().map(|share| share.name.clone()).collect()
    };
    assert_eq!(nodes(&state), ["a", "b"]);
    let pods = [("p", "c"), ("q", "a")].map(|(name, on)| pod(name, "chat-1", Some(on), "Running"));
    let member = state.members.get_mut("oslo").unwrap();
    let touched = member.pods.apply(Change::All(pods.into()), NOW).placements;
    let following: Vec<ObjectKey> = moving_placements(&state, &touched).collect();
    state.dirty.placements.extend(following);
    refresh(&mut state, NOW);
    assert_eq!(
        nodes(&state),
        ["a", "b", "c"],
        "until the placement names c"
    );
}

#[test]
fn a_reservation_hangs_where_its_placement_says_and_strays_hang_with_most() {
    let mut placement = placement("InferenceJob", 1, &[("a", 1), ("b", 1), ("c", 1)]);
    let run = |nodes, domain: &str| ampacity_api::placement::NodeFeeds {
        nodes,
        domains: vec![domain.to_owned()],
    };
    placement.spec.power_domains = vec![run(2, "x"), run(1, "y")];
    let on = |names: &[&str]| -> Vec<(u32, String)> {
        let share = |name: &&str| NodeShare {
            name: (*name).to_owned(),
            replicas: 1,
        };
        let nodes: Vec<NodeShare> = names.iter().map(share).collect();
        let runs = feeds_of(&placement, &nodes).into_iter();
        runs.map(|run| (run.nodes, run.domains.concat())).collect()
    };
    assert_eq!(on(&["a", "b", "c"]), [(2, "x".into()), (1, "y".into())]);
    assert_eq!(on(&["c", "stray"]), [(1, "y".into()), (1, "x".into())]);
    placement.spec.power_domains.clear();
    assert_eq!(feeds_of(&placement, &planned_shares(&placement)), []);
}
