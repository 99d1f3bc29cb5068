//! A small state that tests share.

use std::sync::atomic::{AtomicU64, Ordering};

use ampacity_api::{JobKind, Placement};
use jiff::Timestamp;
use serde_json::json;

use crate::inventory::{refresh, refresh_facts};
use crate::kinds;
use crate::state::{Change, Job, Member, Reach, SlimNode, State, StoredJob};

pub(crate) const NOW: Timestamp = Timestamp::constant(1_750_000_000, 0);

/// An object as an API server sends it, newer than all before it.
pub(crate) fn object<K: serde::de::DeserializeOwned>(mut value: serde_json::Value) -> K {
    static VERSION: AtomicU64 = AtomicU64::new(1);
    let version = VERSION.fetch_add(1, Ordering::SeqCst);
    value["metadata"]["resourceVersion"] = json!(version.to_string());
    serde_json::from_value(value).unwrap()
}

/// A hub with the cluster `oslo`, connected, of three nodes with 8 H100 each.
pub(crate) fn state() -> State {
    let mut state = State::new(kinds::kinds());
    let cluster = object(json!({
        "apiVersion": "ampacity.dev/v1alpha1", "kind": "MemberCluster",
        "metadata": {"name": "oslo"}, "spec": {"provider": "onprem", "region": "oslo"}
    }));
    state.hub.clusters.apply(Change::All(vec![cluster]));
    let mut member = Member {
        reach: Reach::Connected,
        ..Member::new("hub-1", &state.kinds)
    };
    let nodes = ["a", "b", "c"].map(|name| node(name, "True"));
    member.nodes.apply(Change::All(nodes.into()));
    member.pods.apply(Change::All(Vec::new()), NOW);
    for workloads in member.workloads.values_mut() {
        workloads.apply(Change::All(Vec::new()));
    }
    member.slices.apply(Change::All(Vec::new()));
    member.claims.apply(Change::All(Vec::new()));
    member.taint_rules.apply(Change::All(Vec::new()));
    state.members.insert("oslo".to_owned(), member);
    refresh_facts(&mut state, NOW);
    assert!(state.fact_issues.notes.is_empty());
    refresh(&mut state, NOW);
    state
}

/// A node of 8 H100.
pub(crate) fn node(name: &str, ready: &str) -> SlimNode {
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

/// Placements as the hub shows them, and nothing else.
pub(crate) fn hub_has(state: &mut State, placements: Vec<Placement>) {
    let changed = state.hub.placements.apply(Change::All(placements));
    for key in changed {
        state.follow_placement(&key);
    }
    refresh(state, NOW);
}

/// What the hub shows of a job changed.
pub(crate) fn job_changed<K: Job + 'static>(state: &mut State, kind: JobKind, change: Change<K>) {
    state.hub.apply_jobs(kind, change.map(StoredJob::new));
}
