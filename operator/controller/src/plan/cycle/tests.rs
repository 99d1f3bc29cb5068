//! Tables of what the operator plans for a state given as objects.

use ampacity_api::{ConditionReason, InferenceJob, JobKind, TrainingJob, labels};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::*;
use crate::kinds::kinds;
use crate::state::Change;
use crate::testing::{NOW, job_changed, object, placement, state};

const H100: &str = "nvidia-h100-sxm5-80gb";

fn key(kind: JobKind, name: &str) -> JobKey {
    JobKey {
        kind,
        object: ObjectKey::new("research", name),
    }
}

/// The TrainingJob `research/llama` of so many replicas of 8 devices, an hour of work; it wants a place.
fn training(state: &mut State, replicas: i32, status: Value) -> JobKey {
    training_named(state, "llama", replicas, 3600, status)
}

/// A TrainingJob of so many replicas of 8 devices and seconds of work; it wants a place.
fn training_named(
    state: &mut State,
    name: &str,
    replicas: i32,
    seconds: i64,
    status: Value,
) -> JobKey {
    let job: TrainingJob = object(json!({
        "apiVersion": "ampacity.dev/v1alpha1", "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": "research", "uid": "job-uid", "generation": 1},
        "spec": {"estimatedDurationSeconds": seconds, "alternatives": [{
            "name": "h100", "acceleratorType": H100, "devicesPerReplica": 8,
            "replicas": replicas, "image": "i",
        }]},
        "status": status,
    }));
    job_changed(state, JobKind::TrainingJob, Change::Applied(Box::new(job)));
    let key = key(JobKind::TrainingJob, name);
    state.jobs.set_eligible(&key, true);
    key
}

#[test]
fn a_decision_becomes_a_placement_that_holds_its_devices() {
    let mut state = state();
    let job = training(&mut state, 2, json!({}));
    let cycle = plan_cycle(&mut state, 7, NOW);
    assert_eq!((cycle.considered, cycle.commits.len()), (1, 1));
    let placement = &cycle.commits[0].1;
    assert_eq!(placement.name_any(), "llama-1");
    assert_eq!((placement.spec.attempt, placement.spec.epoch), (1, 7));
    assert_eq!(
        (placement.spec.replicas, placement.spec.nodes.len()),
        (2, 2)
    );
    assert_eq!(placement.finalizers(), [labels::PLACEMENT_FINALIZER]);
    let owner = &placement.owner_references()[0];
    assert_eq!(
        (owner.uid.as_str(), owner.controller),
        ("job-uid", Some(true))
    );
    let held = state.fleet.reservation("research/llama-1");
    assert_eq!(held.map(|r| r.nodes.len()), Some(2));
    assert_eq!(
        state.fleet.reservations().count(),
        1,
        "nothing is held twice"
    );
    // Until the write has reported, the job is not planned again.
    assert!(state.jobs.is_committing(&job));
    assert_eq!(plan_cycle(&mut state, 7, NOW).considered, 0);
}

#[test]
fn an_attempt_has_a_number_that_none_had_before() {
    let table = [
        (json!({}), &[][..], 1),
        (json!({"attempts": 3, "endedAttempts": 3}), &[], 4),
        (json!({"attempts": 1, "endedAttempts": 2}), &[], 3),
        // Placements that are still there, of an earlier job of this name too.
        (json!({"attempts": 3}), &[5, 2], 6),
    ];
    for (status, there, expected) in table {
        let mut state = state();
        training(&mut state, 1, status.clone());
        for attempt in there {
            let placement = placement("TrainingJob", *attempt, &[("a", 1)]);
            state.placements.add(&placement);
            state
                .hub
                .placements
                .apply(Change::Applied(Box::new(placement)));
        }
        let cycle = plan_cycle(&mut state, 1, NOW);
        assert_eq!(
            cycle.commits[0].1.spec.attempt, expected,
            "{status} {there:?}"
        );
    }
}

#[test]
fn what_does_not_fit_waits_for_a_change() {
    let mut state = state();
    let job = training(&mut state, 4, json!({}));
    let cycle = plan_cycle(&mut state, 1, NOW);
    assert_eq!(cycle.waiting, std::slice::from_ref(&job));
    let why = &state.jobs.waiting(&job).unwrap().why;
    assert!(matches!(why, Why::DoesNotFit { .. }), "{why:?}");
    assert_eq!(plan_cycle(&mut state, 1, NOW).considered, 0);
    state.capacity_version += 1;
    let again = plan_cycle(&mut state, 1, NOW);
    assert_eq!(
        (again.considered, again.waiting.len()),
        (1, 0),
        "nothing new to say"
    );
    assert_eq!(state.fleet.reservations().count(), 0);
}

#[test]
fn a_promised_start_is_kept_although_nothing_changed_but_who_came() {
    // `llama` runs on one of three nodes for ten more minutes; `big`, which comes before all others here, needs all three.
    let mut state = state();
    let ends = (NOW + jiff::SignedDuration::from_secs(600)).to_string();
    let running = training(&mut state, 1, json!({"estimatedCompletionTime": ends}));
    state.jobs.set_eligible(&running, false);
    let there = placement("TrainingJob", 1, &[("a", 1)]);
    let held = crate::state::reservation(&state, &there);
    assert_eq!(held.ends_seconds, Some(NOW.as_second() + 600));
    state.fleet.reserve(held);
    let big = training_named(&mut state, "big", 3, 3600, json!({}));
    assert_eq!(plan_cycle(&mut state, 1, NOW).commits.len(), 0);
    let starts = |state: &State, job: &JobKey| match &state.jobs.waiting(job)?.why {
        Why::DoesNotFit { starts, .. } => *starts,
        Why::OverQuota(_) | Why::Invalid(_) => None,
    };
    let promised = starts(&state, &big);
    assert_eq!(promised.map(|t| t.to_string()), Some(ends));
    // Seconds after the first plan, work of who comes then, whether it starts. It has to be gone in time.
    for (name, after, seconds, expected) in [
        ("long", 100, 501, 0),
        ("short", 100, 500, 1),
        ("later", 200, 401, 0),
    ] {
        training_named(&mut state, name, 1, seconds, json!({}));
        let now = NOW + jiff::SignedDuration::from_secs(after);
        let cycle = plan_cycle(&mut state, 1, now);
        assert_eq!(cycle.commits.len(), expected, "{name}");
        assert_eq!(starts(&state, &big), promised, "{name}");
        // There is only something new to say of it where less is free than before.
        assert_eq!(cycle.waiting.contains(&big), expected > 0, "{name}");
    }
}

#[test]
fn what_is_wrong_with_a_job_does_not_keep_others_waiting() {
    let mut state = state();
    training(&mut state, 1, json!({}));
    let bad: TrainingJob = object(json!({
        "apiVersion": "ampacity.dev/v1alpha1", "kind": "TrainingJob",
        "metadata": {"name": "bad", "namespace": "research", "uid": "bad-uid"},
        "spec": {"estimatedDurationSeconds": 1, "priorityClassName": "nosuch", "alternatives": [
            {"name": "a", "acceleratorType": H100, "devicesPerReplica": 8, "replicas": 1, "image": "i"},
        ]},
    }));
    job_changed(
        &mut state,
        JobKind::TrainingJob,
        Change::Applied(Box::new(bad)),
    );
    let bad = key(JobKind::TrainingJob, "bad");
    state.jobs.set_eligible(&bad, true);
    let cycle = plan_cycle(&mut state, 1, NOW);
    assert_eq!(cycle.commits.len(), 1);
    assert_eq!(cycle.waiting, std::slice::from_ref(&bad));
    let Why::Invalid(issue) = &state.jobs.waiting(&bad).unwrap().why else {
        panic!("it is invalid");
    };
    assert_eq!(issue.reason, ConditionReason::UnknownPriorityClass);
}

#[test]
fn a_job_of_a_namespace_that_is_nobodys_to_use_is_not_placed() {
    for (namespace, is_placed) in [
        ("research", true),
        ("kube-system", false),
        ("kube-node-lease", false),
        ("ampacity-system", false),
    ] {
        let mut state = state();
        state.own_namespace = Some("ampacity-system".to_owned());
        let job: TrainingJob = object(json!({
            "apiVersion": "ampacity.dev/v1alpha1", "kind": "TrainingJob",
            "metadata": {"name": "llama", "namespace": namespace, "uid": "job-uid"},
            "spec": {"estimatedDurationSeconds": 1, "alternatives": [
                {"name": "a", "acceleratorType": H100, "devicesPerReplica": 8, "replicas": 1, "image": "i"},
            ]},
        }));
        job_changed(
            &mut state,
            JobKind::TrainingJob,
            Change::Applied(Box::new(job)),
        );
        let key = JobKey {
            kind: JobKind::TrainingJob,
            object: ObjectKey::new(namespace, "llama"),
        };
        state.jobs.set_eligible(&key, true);
        let cycle = plan_cycle(&mut state, 1, NOW);
        assert_eq!(cycle.commits.len(), usize::from(is_placed), "{namespace}");
        let why = state.jobs.waiting(&key).map(|waiting| &waiting.why);
        let reason = why.and_then(|why| match why {
            Why::Invalid(issue) => Some(issue.reason),
            Why::DoesNotFit { .. } | Why::OverQuota(_) => None,
        });
        let expected = (!is_placed).then_some(ConditionReason::ReservedNamespace);
        assert_eq!(reason, expected, "{namespace}");
    }
}

#[test]
fn a_cluster_that_refused_a_job_is_left_out_for_a_while() {
    let mut state = state();
    let job = training(&mut state, 1, json!({}));
    let until = NOW + jiff::SignedDuration::from_secs(120);
    assert_eq!(state.jobs.avoid(&job, "oslo", NOW), 120);
    assert_eq!(plan_cycle(&mut state, 1, NOW).commits.len(), 0);
    state.capacity_version += 1;
    assert_eq!(plan_cycle(&mut state, 1, until).commits.len(), 1);
}

#[test]
fn only_the_work_after_the_checkpoint_is_planned() {
    let table = [
        (json!({}), 3600),
        (json!({"checkpointedShare": "0.25"}), 2700),
        (json!({"checkpointedShare": "0.999999"}), 1),
        (json!({"checkpointedShare": "1"}), 1),
    ];
    for (status, seconds) in table {
        let mut state = state();
        let job = training(&mut state, 1, status.clone());
        let (_, spec) = engine_jobs(&state, [job], NOW).remove(0);
        let ampacity_placement::Kind::Training { work, .. } = spec.unwrap().kind else {
            panic!("it is a TrainingJob");
        };
        assert_eq!(
            work,
            ampacity_placement::Work::DurationSeconds(seconds),
            "{status}"
        );
    }
}

#[test]
fn replicas_that_have_a_place_are_not_placed_again() {
    let mut state = state();
    let job: InferenceJob = object(json!({
        "apiVersion": "ampacity.dev/v1alpha1", "kind": "InferenceJob",
        "metadata": {"name": "chat", "namespace": "research", "uid": "job-uid", "generation": 1},
        "spec": {"replicas": 3, "alternatives": [
            {"name": "h100", "acceleratorType": H100, "devicesPerReplica": 8, "throughput": "1", "image": "i"},
        ]},
    }));
    job_changed(
        &mut state,
        JobKind::InferenceJob,
        Change::Applied(Box::new(job)),
    );
    let key = key(JobKind::InferenceJob, "chat");
    let there = placement("InferenceJob", 4, &[("a", 1), ("b", 1)]);
    state
        .fleet
        .reserve(crate::state::reservation(&state, &there));
    state.placements.add(&there);
    state.hub.placements.apply(Change::Applied(Box::new(there)));
    state.jobs.set_eligible(&key, true);
    let cycle = plan_cycle(&mut state, 1, NOW);
    let specs: Vec<_> = cycle.commits.iter().map(|(_, p)| &p.spec).collect();
    assert_eq!(specs.len(), 1);
    assert_eq!((specs[0].attempt, specs[0].replicas), (5, 1));
    assert_eq!(specs[0].nodes[0].name, "c");
    assert_eq!(cycle.commits[0].1.name_any(), "chat-i5");
}

#[test]
fn jobs_of_all_kinds_may_have_one_name() {
    let kinds = kinds();
    let name = |kind, name: &str| (kinds.get(kind).unwrap().placement_name)(name, 1);
    assert_eq!(name(JobKind::TrainingJob, "llama"), "llama-1");
    for facts in kinds.iter().filter(|k| k.kind != JobKind::TrainingJob) {
        for training in ["llama", "llama-i", "llama-i1"] {
            assert_ne!(
                name(JobKind::TrainingJob, training),
                name(facts.kind, "llama")
            );
        }
    }
}

#[test]
fn a_job_that_is_gone_holds_nothing() {
    let mut state = state();
    let job = training(&mut state, 1, json!({}));
    state.hub.jobs.clear();
    let cycle = plan_cycle(&mut state, 1, NOW);
    assert_eq!((cycle.commits.len(), cycle.waiting.len()), (0, 0));
    assert!(!state.jobs.is_committing(&job));
    assert_eq!(state.fleet.reservations().count(), 0);
}
