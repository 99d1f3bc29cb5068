//! What is told of the life of a job.

use ampacity_api::ConditionReason;

use crate::kinds::testing::{InferenceScene, TrainingScene, member_job, verdict};
use crate::observe::MAX_NOTE_BYTES;
use crate::observe::MemberView;

#[test]
fn the_life_of_a_gang_is_told_once() {
    let mut scene = TrainingScene::gang();
    scene.step(0);
    assert_eq!(scene.news(), [""; 0], "waiting for its turn is no event");
    scene.waiting = Some(verdict("InsufficientDevices", 32));
    scene.step(1);
    assert_eq!(
        scene.news(),
        ["Warning Place NoCandidate: InsufficientDevices: 32 needed"]
    );
    scene.place();
    scene.step(1);
    scene.stage().pods(4);
    scene.step(10);
    scene.step(300);
    assert_eq!(
        scene.news(),
        [
            "Normal Place Placed: attempt 1 placed in cluster oslo: 32 × nvidia-h100-sxm5-80gb (Owned, alternative h100), 80.4 USD per hour, 36000 W",
            "Normal Run AllReplicasRunning: attempt 1: all replicas run in cluster oslo",
        ]
    );
    scene.stage().workload = Some(member_job(Some(("Failed", "pod 3 exited with 1"))));
    scene.step(600);
    assert_eq!(
        scene.news(),
        [
            "Warning Replace ReplicaFailed: attempt 1 ended: pod 3 exited with 1; the next begins at 2025-06-15T15:22:02Z at the earliest; restart 1 of at most 2 with 16 % of the work saved"
        ]
    );
    scene.place();
    scene.stage().pods(4);
    scene.step(0);
    scene.stage().workload = Some(member_job(Some(("Complete", ""))));
    scene.step(90);
    assert_eq!(
        scene.news(),
        [
            "Normal Place Placed: attempt 2 placed in cluster oslo: 32 × nvidia-h100-sxm5-80gb (Owned, alternative h100), 80.4 USD per hour, 36000 W",
            "Normal Run AllReplicasRunning: attempt 2: all replicas run in cluster oslo",
            "Normal Finish Succeeded: all replicas of attempt 2 succeeded; 22.355667 USD and 10010 Wh in all",
        ]
    );
    scene.step(1000);
    assert_eq!(scene.news(), [""; 0]);
}

#[test]
fn what_passes_between_two_writes_is_told_in_order() {
    let mut scene = TrainingScene::gang();
    scene.job.spec.max_restarts = 0;
    scene.place();
    scene.stage().workload = Some(member_job(Some(("Failed", "no such image"))));
    scene.step(60);
    assert_eq!(
        scene.news(),
        [
            "Normal Place Placed: attempt 1 placed in cluster oslo: 32 × nvidia-h100-sxm5-80gb (Owned, alternative h100), 80.4 USD per hour, 36000 W",
            "Warning Finish MaxRestartsExceeded: attempt 1 failed (no such image) and spec.maxRestarts is 0; 1.34 USD and 600 Wh in all",
        ]
    );
}

#[test]
fn an_attempt_that_nothing_came_of_costs_no_restart_and_is_told() {
    type Change = fn(&mut TrainingScene);
    let table: &[(&str, Change)] = &[
        (
            "Warning Replace DispatchRefused: attempt 1 ended: exceeded quota; it is placed again, and no restart is counted",
            |s| s.stage().refused = Some("exceeded quota".to_owned()),
        ),
        (
            "Warning Replace Unschedulable: attempt 1 ended: 0/4 nodes; it is placed again, and no restart is counted",
            |s| {
                let stage = s.stage().pods(3);
                stage.late(ConditionReason::Unschedulable, "0/4 nodes", 1);
            },
        ),
    ];
    for (expected, change) in table {
        let mut scene = TrainingScene::gang();
        scene.job.spec.max_restarts = 0;
        scene.place();
        scene.step(0);
        scene.news();
        change(&mut scene);
        let status = scene.step(120);
        assert_eq!(scene.news(), [*expected]);
        assert_eq!((status.restarts, status.ended_attempts), (0, 1));
    }
}

#[test]
fn each_turn_of_a_running_gang_is_told() {
    type Change = fn(&mut TrainingScene);
    let table: &[(&str, Change, &[&str])] = &[
        ("nothing", |_| {}, &[]),
        (
            "silent",
            |s| s.stage().member = MemberView::Silent,
            &["Warning Observe ClusterUnreachable: cluster oslo cannot be reached"],
        ),
        (
            "given up",
            |s| s.stage().member = MemberView::GivenUp,
            &[
                "Warning Replace ClusterUnreachable: attempt 1 ended: cluster oslo has been unreachable for longer than its policy allows; it is placed again, and no restart is counted",
            ],
        ),
        (
            "node lost",
            |s| s.stage().lost_node = Some("node-1".to_owned()),
            &[
                "Warning Replace NodeFailed: attempt 1 ended: node node-1 of cluster oslo is gone or not ready; it is placed again, and no restart is counted",
            ],
        ),
        (
            "no node found for a pod that was lost",
            |s| {
                s.stage()
                    .late(ConditionReason::Unschedulable, "0/4 nodes", 1)
            },
            &[
                "Warning Replace Unschedulable: attempt 1 ended: 0/4 nodes; it is placed again, and no restart is counted",
            ],
        ),
        (
            "unready",
            |s| {
                s.stage().pods(3);
            },
            &["Warning Run Starting: attempt 1: not all replicas are ready any more"],
        ),
        (
            "suspended",
            |s| s.suspend(true),
            &[
                "Normal Suspend Suspended: spec.suspend is true; attempt 1 stopped, all is given back",
            ],
        ),
        (
            "suspended and failed",
            |s| {
                s.suspend(true);
                s.stage().workload = Some(member_job(Some(("Failed", "x"))));
            },
            &[
                "Warning Replace Failed: attempt 1 ended; restart 1 of at most 2",
                "Normal Suspend Suspended: spec.suspend is true; attempt 1 stopped, all is given back",
            ],
        ),
        (
            "placement deleted",
            |s| {
                let now = s.status().accrued_time;
                s.stage().placement.metadata.deletion_timestamp = now;
            },
            &[
                "Warning Replace Replacing: attempt 1: its Placement was deleted; it is placed again",
            ],
        ),
        (
            "too long",
            |s| s.job.spec.max_runtime_seconds = Some(1),
            &[
                "Warning Finish MaxRuntimeExceeded: it ran for 60 s; spec.maxRuntimeSeconds is 1; 1.34 USD and 600 Wh in all",
            ],
        ),
    ];
    for (what, change, expected) in table {
        let mut scene = TrainingScene::running();
        scene.news();
        change(&mut scene);
        scene.step(60);
        assert_eq!(scene.news(), *expected, "{what}");
    }
}

#[test]
fn why_there_is_no_place_is_told_again_when_something_else_is_short() {
    let mut scene = TrainingScene::gang();
    let mut told = Vec::new();
    for (reason, needed) in [
        ("InsufficientDevices", 32),
        ("InsufficientDevices", 31),
        ("PowerDomainExceeded", 9),
        ("PowerDomainExceeded", 8),
        ("InsufficientDevices", 30),
    ] {
        scene.waiting = Some(verdict(reason, needed));
        scene.step(30);
        // What a restart forgets is told no second time.
        scene.waiting = None;
        scene.step(30);
        told.extend(scene.news());
    }
    assert_eq!(
        told,
        [
            "Warning Place NoCandidate: InsufficientDevices: 32 needed",
            "Warning Place NoCandidate: PowerDomainExceeded: 9 needed",
            "Warning Place NoCandidate: InsufficientDevices: 30 needed",
        ]
    );
}

#[test]
fn what_is_wrong_is_told_once_for_each_thing() {
    let mut scene = TrainingScene::gang();
    let mut told = Vec::new();
    for message in ["no accelerator type warp-9", "no accelerator type warp-8"] {
        scene.issue = Some((ConditionReason::UnknownAcceleratorType, message.to_owned()));
        scene.step(1);
        scene.issue = None;
        scene.step(1);
        told.extend(scene.news());
    }
    assert_eq!(
        told,
        [
            "Warning Check UnknownAcceleratorType: no accelerator type warp-9",
            "Warning Check UnknownAcceleratorType: no accelerator type warp-8",
        ]
    );
}

#[test]
fn suspending_before_a_place_and_resuming_are_told() {
    let mut scene = TrainingScene::gang();
    scene.suspend(true);
    scene.step(1);
    scene.suspend(false);
    scene.waiting = Some(verdict("InsufficientDevices", 32));
    scene.step(1);
    assert_eq!(
        scene.news(),
        [
            "Normal Suspend Suspended: spec.suspend is true; it waits",
            "Normal Resume Queued: resumed; it waits for its turn",
            "Warning Place NoCandidate: InsufficientDevices: 32 needed",
        ]
    );
}

#[test]
fn why_a_gang_cannot_start_is_told_once() {
    let mut scene = TrainingScene::gang();
    scene.place();
    scene.step(0);
    scene.news();
    for nodes in ["0/4 nodes", "0/3 nodes"] {
        scene.stage().pods(3);
        scene.stage().start.trouble = Some(nodes.to_owned());
        scene.step(30);
    }
    assert_eq!(
        scene.news(),
        ["Warning Run Starting: attempt 1 waits to start: 0/4 nodes"]
    );
}

#[test]
fn notes_are_cut_between_characters() {
    for text in [
        "é".repeat(2000),
        format!("x{}", "é".repeat(2000)),
        "x".repeat(1025),
    ] {
        let mut scene = TrainingScene::gang();
        scene.issue = Some((ConditionReason::Invalid, text));
        scene.step(1);
        let note = &scene.told[0].note;
        assert!(note.ends_with('…'));
        assert!((MAX_NOTE_BYTES - 1..=MAX_NOTE_BYTES).contains(&note.len()));
    }
    let mut scene = TrainingScene::gang();
    scene.issue = Some((ConditionReason::Invalid, "x".repeat(MAX_NOTE_BYTES)));
    scene.step(1);
    assert_eq!(scene.told[0].note, "x".repeat(MAX_NOTE_BYTES));
}

#[test]
fn replicas_that_come_and_go_are_told() {
    let mut scene = InferenceScene::new(6);
    scene.place("oslo", 4);
    scene.waiting = Some(verdict("InsufficientDevices", 16));
    scene.step(1);
    scene.step(1);
    assert_eq!(
        scene.news(),
        [
            "Normal Place Placed: 4 replicas placed in cluster oslo on nvidia-h100-sxm5-80gb (Owned, alternative h100), 80.4 USD per hour, 36000 W",
            "Warning Place PartlyPlaced: 4 of 6 replicas have a place; InsufficientDevices: 16 needed",
        ]
    );
    scene.waiting = None;
    scene.place("aws-east", 2);
    for stage in &mut scene.stages {
        let all = stage.placement.spec.replicas;
        stage.pods(all);
    }
    scene.step(1);
    assert_eq!(
        scene.news(),
        [
            "Normal Place Placed: 2 replicas placed in cluster aws-east on nvidia-h100-sxm5-80gb (Owned, alternative h100), 40.2 USD per hour, 18000 W",
            "Normal Run AllReplicasRunning: 6 of 6 replicas are ready",
        ]
    );
    scene.stages[0].pods(3);
    scene.step(1);
    assert_eq!(
        scene.news(),
        ["Warning Run ReplicasNotReady: 5 of 6 replicas are ready"]
    );
    scene.job.spec.replicas = 3;
    scene.stages.pop();
    scene.stages[0].placement.spec.replicas = 3;
    scene.stages[0].placement.spec.watts = 27_000;
    scene.stages[0].pods(3);
    scene.step(1);
    assert_eq!(
        scene.news(),
        [
            "Normal Scale Released: 4 to 3 replicas in cluster oslo on nvidia-h100-sxm5-80gb, 80.4 USD per hour, 27000 W",
            "Normal Scale Released: 2 replicas in cluster aws-east on nvidia-h100-sxm5-80gb are given back",
            "Normal Run AllReplicasRunning: 3 of 3 replicas are ready",
        ]
    );
}

#[test]
fn each_turn_of_replicas_that_serve_is_told() {
    type Change = fn(&mut InferenceScene);
    let table: &[(&str, Change, &[&str])] = &[
        ("nothing", |_| {}, &[]),
        (
            "suspended",
            |s| {
                s.job.spec.suspend = true;
                s.stages.clear();
            },
            &[
                "Normal Suspend Suspended: spec.suspend is true; 4 replicas stopped, all is given back",
            ],
        ),
        (
            "scaled to zero",
            |s| {
                s.job.spec.replicas = 0;
                s.stages.clear();
            },
            &[
                "Normal Scale Released: 4 replicas in cluster oslo on nvidia-h100-sxm5-80gb are given back",
                "Normal Scale ScaledToZero: spec.replicas is 0; it holds nothing",
            ],
        ),
        (
            "silent",
            |s| s.stages[0].member = MemberView::Silent,
            &[
                "Warning Observe ClusterUnreachable: a cluster that serves replicas cannot be reached",
            ],
        ),
        (
            "refused",
            |s| s.stages[0].refused = Some("cluster oslo refused Deployment x: no".to_owned()),
            &["Warning Run DispatchRefused: cluster oslo refused Deployment x: no"],
        ),
    ];
    for (what, change, expected) in table {
        let mut scene = InferenceScene::new(4);
        scene.place("oslo", 4).pods(4);
        scene.step(0);
        scene.news();
        change(&mut scene);
        scene.step(60);
        assert_eq!(scene.news(), *expected, "{what}");
    }
}

#[test]
fn many_placements_at_once_are_told_in_few_words() {
    let mut scene = InferenceScene::new(80);
    for n in 0..20 {
        scene.place(&format!("c{n}"), 4);
    }
    scene.step(1);
    let news = scene.news();
    assert_eq!(news.len(), 9);
    assert_eq!(news[8], "Normal Scale Placed: 12 more placements changed");
}
