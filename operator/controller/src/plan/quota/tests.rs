//! Jobs of a namespace with a ResourceQuota in the hub.

use ampacity_api::{InferenceJob, TrainingJob};
use serde_json::{Value, json};

use super::*;
use crate::plan::plan_cycle;
use crate::state::{Change, JobKey, Why};
use crate::testing::{NOW, hub_has, job_changed, object, placement, state};

const H100: &str = "nvidia-h100-sxm5-80gb";
const GPUS: &str = "requests.nvidia.com/gpu";

/// Two jobs may have 24 H100s in `oslo`; the hub has these quotas.
fn limited(quotas: &[Value]) -> State {
    let mut state = state();
    let quotas = quotas.iter().cloned().map(object).collect();
    state.hub.resource_quotas.apply(Change::All(quotas));
    state
}

fn quota(namespace: &str, hard: Value) -> Value {
    json!({"metadata": {"name": "q", "namespace": namespace}, "spec": {"hard": hard}})
}

fn key(kind: JobKind, name: &str) -> JobKey {
    JobKey {
        kind,
        object: ObjectKey::new("research", name),
    }
}

/// A TrainingJob with these `(replicas, throughput)` as alternatives of 8 devices a replica; it wants a place.
fn training(state: &mut State, name: &str, alternatives: &[(i32, &str)]) -> JobKey {
    let alternatives: Vec<Value> = alternatives
        .iter()
        .map(|(replicas, throughput)| {
            json!({
                "name": format!("of-{replicas}"), "acceleratorType": H100, "devicesPerReplica": 8,
                "replicas": replicas, "throughput": throughput, "image": "i",
                "resources": {"requests": {"cpu": "10", "memory": "1Gi"}},
            })
        })
        .collect();
    let job: TrainingJob = object(json!({
        "apiVersion": "ampacity.dev/v1alpha1", "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": "research", "uid": "job-uid", "generation": 1},
        "spec": {"work": {"units": 1000}, "objective": "Time", "alternatives": alternatives},
    }));
    job_changed(state, JobKind::TrainingJob, Change::Applied(Box::new(job)));
    let key = key(JobKind::TrainingJob, name);
    state.jobs.set_eligible(&key, true);
    key
}

/// Devices that a cycle decides on.
fn decided(state: &mut State) -> i32 {
    let cycle = plan_cycle(state, 1, NOW);
    let devices = |p: &Placement| p.spec.replicas * p.spec.devices_per_replica;
    cycle.commits.iter().map(|(_, p)| devices(p)).sum()
}

fn shortage(state: &State, job: &JobKey) -> Option<QuotaShortage> {
    match &state.jobs.waiting(job)?.why {
        Why::OverQuota(shortage) => Some(shortage.clone()),
        _ => None,
    }
}

#[test]
fn a_job_is_placed_within_the_quotas_of_its_namespace_in_the_hub() {
    let scoped = json!({"metadata": {"name": "q", "namespace": "research"},
        "spec": {"hard": {GPUS: "0"}, "scopes": ["NotTerminating"]}});
    for (what, quotas, expected) in [
        ("no quota", vec![], 16),
        (
            "enough",
            vec![quota("research", json!({GPUS: "16", "pods": "2"}))],
            16,
        ),
        (
            "too few devices",
            vec![quota("research", json!({GPUS: "15"}))],
            0,
        ),
        (
            "too few pods",
            vec![quota("research", json!({"count/pods": "1"}))],
            0,
        ),
        (
            "too little processor",
            vec![quota("research", json!({"requests.cpu": "19500m"}))],
            0,
        ),
        (
            "enough processor",
            vec![quota("research", json!({"cpu": "20"}))],
            16,
        ),
        (
            "too little memory",
            vec![quota("research", json!({"memory": "2047Mi"}))],
            0,
        ),
        (
            "no Job at all",
            vec![quota("research", json!({"count/jobs.batch": "0"}))],
            0,
        ),
        ("another's", vec![quota("serving", json!({GPUS: "0"}))], 16),
        (
            "what it does not ask for",
            vec![quota("research", json!({"requests.storage": "0"}))],
            16,
        ),
        ("of some pods only", vec![scoped], 16),
        (
            "the narrowest counts",
            vec![
                quota("research", json!({GPUS: "100"})),
                json!({"metadata": {"name": "r", "namespace": "research"}, "spec": {"hard": {GPUS: "8"}}}),
            ],
            0,
        ),
    ] {
        let mut state = limited(&quotas);
        let job = training(&mut state, "llama", &[(2, "1")]);
        assert_eq!(decided(&mut state), expected, "{what}");
        assert_eq!(shortage(&state, &job).is_none(), expected > 0, "{what}");
        let held = state.fleet.reservations().count();
        assert_eq!(
            held,
            usize::from(expected > 0),
            "{what}: nothing else is held"
        );
    }
}

#[test]
fn the_shortage_says_what_is_held_and_ends_with_it() {
    let mut state = limited(&[quota("research", json!({GPUS: "16"}))]);
    let held = placement("TrainingJob", 1, &[("a", 1), ("b", 1)]);
    hub_has(&mut state, vec![held]);
    let job = training(&mut state, "next", &[(1, "1")]);
    assert_eq!(decided(&mut state), 0);
    let short = shortage(&state, &job).unwrap();
    assert_eq!((short.needed, short.used, short.hard), (8, 16, 16));
    hub_has(&mut state, Vec::new());
    assert_eq!(decided(&mut state), 8);
}

#[test]
fn what_one_cycle_decides_counts_for_all_of_its_jobs_and_for_the_next_cycle() {
    let mut state = limited(&[quota("research", json!({GPUS: "8"}))]);
    training(&mut state, "one", &[(1, "1")]);
    training(&mut state, "two", &[(1, "1")]);
    assert_eq!(decided(&mut state), 8);
    // The Placement is being written and not seen yet.
    let late = training(&mut state, "late", &[(1, "1")]);
    assert_eq!(decided(&mut state), 0);
    assert_eq!(shortage(&state, &late).map(|s| s.used), Some(8));
}

#[test]
fn an_alternative_within_the_quota_is_taken_where_the_best_one_is_not() {
    let alternatives = [(2, "40"), (1, "1")];
    for (gpus, expected) in [("16", 16), ("8", 8), ("7", 0)] {
        let mut state = limited(&[quota("research", json!({GPUS: gpus}))]);
        training(&mut state, "llama", &alternatives);
        assert_eq!(decided(&mut state), expected, "{gpus}");
    }
}

#[test]
fn replicas_that_stand_alone_are_placed_as_far_as_the_quota_goes() {
    for (gpus, expected) in [("24", 24), ("23", 16), ("8", 8), ("7", 0)] {
        let mut state = limited(&[quota("research", json!({GPUS: gpus}))]);
        let chat: InferenceJob = object(json!({
            "apiVersion": "ampacity.dev/v1alpha1", "kind": "InferenceJob",
            "metadata": {"name": "chat", "namespace": "research", "uid": "job-uid"},
            "spec": {"replicas": 3, "alternatives": [
                {"name": "a", "acceleratorType": H100, "devicesPerReplica": 8, "image": "i"},
            ]},
        }));
        job_changed(
            &mut state,
            JobKind::InferenceJob,
            Change::Applied(Box::new(chat)),
        );
        let job = key(JobKind::InferenceJob, "chat");
        state.jobs.set_eligible(&job, true);
        assert_eq!(decided(&mut state), expected, "{gpus}");
    }
}

#[test]
fn many_jobs_over_their_quota_do_not_hold_up_who_comes_behind_them() {
    let mut state = limited(&[quota("research", json!({GPUS: "8"}))]);
    for n in 0..100 {
        training(&mut state, &format!("big-{n}"), &[(3, "1"), (2, "1")]);
    }
    let last = training(&mut state, "last", &[(1, "1")]);
    let cycle = plan_cycle(&mut state, 1, NOW);
    let placed: Vec<&JobKey> = cycle.commits.iter().map(|(job, _)| job).collect();
    assert_eq!(placed, [&last]);
    let short = |n: i32| shortage(&state, &key(JobKind::TrainingJob, &format!("big-{n}")));
    assert!(
        (0..100).all(|n| short(n).is_some()),
        "each is told of the quota"
    );
}

#[test]
fn a_job_of_another_namespace_is_not_held_up() {
    let mut state = limited(&[quota("research", json!({GPUS: "0"}))]);
    training(&mut state, "llama", &[(3, "1")]);
    let job: TrainingJob = object(json!({
        "apiVersion": "ampacity.dev/v1alpha1", "kind": "TrainingJob",
        "metadata": {"name": "free", "namespace": "serving", "uid": "other-uid"},
        "spec": {"estimatedDurationSeconds": 60, "alternatives": [
            {"name": "a", "acceleratorType": H100, "devicesPerReplica": 8, "replicas": 3, "image": "i"},
        ]},
    }));
    job_changed(
        &mut state,
        JobKind::TrainingJob,
        Change::Applied(Box::new(job)),
    );
    let free = JobKey {
        kind: JobKind::TrainingJob,
        object: ObjectKey::new("serving", "free"),
    };
    state.jobs.set_eligible(&free, true);
    let cycle = plan_cycle(&mut state, 1, NOW);
    let placed: Vec<&JobKey> = cycle.commits.iter().map(|(job, _)| job).collect();
    assert_eq!(
        placed,
        [&free],
        "it has the room that the other may not have"
    );
}
