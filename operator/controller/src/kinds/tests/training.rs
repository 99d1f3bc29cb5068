//! The life of a training job, turn by turn.

use ampacity_api::conditions::find_condition;
use ampacity_api::{Budget, ConditionReason, ConditionType, TrainingJobState};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::kinds::testing::{
    START, Stage, TrainingScene, at, member_job, placement, training_brief, verdict,
};
use crate::observe::MemberView;

/// Messages of a condition.
fn message(scene: &TrainingScene, type_: ConditionType) -> String {
    find_condition(&scene.status().conditions, type_)
        .unwrap()
        .message
        .clone()
}

#[test]
fn a_job_waits_is_placed_runs_and_succeeds() {
    let mut scene = TrainingScene::gang();
    let status = scene.step(0);
    assert_eq!(
        training_brief(&status),
        "Pending Placed=False/Queued Running=False/NotPlaced"
    );
    scene.waiting = Some(verdict("InsufficientDevices", 32));
    let status = scene.step(1);
    assert_eq!(
        training_brief(&status),
        "Pending Placed=False/NoCandidate Running=False/NotPlaced"
    );
    assert_eq!(status.verdict.unwrap().reasons[0].needed, Some(32));

    scene.second = 100;
    scene.place();
    let status = scene.step(0);
    assert_eq!(
        training_brief(&status),
        "Starting Placed=True/Placed Running=False/Dispatching"
    );
    assert_eq!((status.attempts, status.ended_attempts), (1, 0));
    assert_eq!(status.verdict, None);
    let placed = status.placement.unwrap();
    assert_eq!((placed.devices, placed.watts), (32, 36_000));

    scene.stage().pods(3);
    assert_eq!(
        training_brief(&scene.step(10)),
        "Starting Placed=True/Placed Running=False/Starting"
    );
    scene.stage().pods(4);
    let status = scene.step(10);
    assert_eq!(
        training_brief(&status),
        "Running Placed=True/Placed Running=True/AllReplicasRunning"
    );
    assert_eq!(status.start_time.as_ref().unwrap().0, at(120));
    let end = status.estimated_completion_time.unwrap().0;
    assert_eq!(end, at(120 + 3600));

    scene.stage().workload = Some(member_job(Some(("Complete", ""))));
    let status = scene.step(3600);
    assert_eq!(
        training_brief(&status),
        "Succeeded Placed=False/Released Running=False/Succeeded Finished=True/Succeeded"
    );
    // Held from its placement at second 100 to 3720.
    assert_eq!(status.usd_accrued.unwrap().to_string(), "80.846667");
    assert_eq!(status.watt_hours, Some(36_200));
    assert_eq!(status.completion_time.unwrap().0, at(3720));
    assert_eq!((status.restarts, status.ended_attempts), (0, 1));
}

#[test]
fn a_gang_is_placed_again_until_its_restarts_are_used_up() {
    let mut scene = TrainingScene::running();
    for restart in 1..=2 {
        scene.stage().workload = Some(member_job(Some(("Failed", "pod 3 exited with 1"))));
        let status = scene.step(10);
        assert_eq!(
            training_brief(&status),
            "Pending Placed=False/Replacing Running=False/ReplicaFailed"
        );
        assert_eq!((status.restarts, status.ended_attempts), (restart, restart));
        // The pause doubles with each.
        let next = status.next_attempt_time.clone().unwrap().0;
        assert_eq!(next, at(scene.second + 10 * i64::from(restart)));
        assert_eq!(
            message(&scene, ConditionType::Placed),
            format!(
                "attempt {restart} ended: pod 3 exited with 1; the next begins at {next} at the earliest"
            )
        );
        assert_eq!(status.placement, None, "it holds nothing");
        assert!(status.last_placement.is_some());
        assert_eq!(status.estimated_completion_time, None);
        // Its Placement is still being removed: nothing new.
        assert_eq!(scene.step(10), status);
        scene.place();
        scene.stage().pods(4);
        assert_eq!(scene.step(0).state, Some(TrainingJobState::Running));
    }
    scene.stage().workload = Some(member_job(Some(("Failed", "pod 3 exited with 1"))));
    let status = scene.step(10);
    assert_eq!(
        training_brief(&status),
        "Failed Placed=False/Released Running=False/MaxRestartsExceeded Finished=True/MaxRestartsExceeded"
    );
    assert_eq!(
        message(&scene, ConditionType::Finished),
        "attempt 3 failed (pod 3 exited with 1) and spec.maxRestarts is 2"
    );
    assert_eq!((status.restarts, status.attempts), (2, 3));
}

#[test]
fn a_job_that_may_not_restart_fails_at_once() {
    let mut scene = TrainingScene::running();
    scene.job.spec.max_restarts = 0;
    scene.stage().workload = Some(member_job(Some(("Failed", "exit 1"))));
    let status = scene.step(10);
    assert_eq!(status.state, Some(TrainingJobState::Failed));
    assert_eq!(status.restarts, 0);
}

#[test]
fn what_is_none_of_the_programs_doing_uses_up_no_restart() {
    type Change = fn(&mut TrainingScene);
    let table: &[(ConditionReason, Change)] = &[
        (ConditionReason::NodeFailed, |s| {
            s.stage().lost_node = Some("node-1".to_owned());
        }),
        (ConditionReason::NodeFailed, |s| {
            s.stage().workload = Some(member_job(Some(("Failed", "evicted"))));
            s.stage().pods.get_mut("pod-1").unwrap().disrupted = true;
        }),
        (ConditionReason::NodeRefused, |s| {
            s.stage().workload = Some(member_job(Some(("Failed", "a pod failed"))));
            s.stage().pods.get_mut("pod-1").unwrap().rejected = Some("OutOfcpu".to_owned());
        }),
        (ConditionReason::ClusterUnreachable, |s| {
            s.stage().member = MemberView::GivenUp;
        }),
        (ConditionReason::StartFailed, |s| {
            s.stage().late(ConditionReason::StartFailed, "no image", 1);
        }),
        (ConditionReason::PodsNotMade, |s| {
            s.stage().late(ConditionReason::PodsNotMade, "quota", 2);
        }),
        (ConditionReason::Lost, |s| s.stage().workload = None),
    ];
    for (reason, change) in table {
        let mut scene = TrainingScene::running();
        scene.job.spec.max_restarts = 0;
        change(&mut scene);
        let status = scene.step(10);
        assert_eq!(
            training_brief(&status),
            format!(
                "Pending Placed=False/Replacing Running=False/{}",
                reason.as_str()
            )
        );
        assert_eq!(
            (status.restarts, status.ended_attempts),
            (0, 1),
            "{reason:?}"
        );
    }
}

#[test]
fn restarts_within_a_member_count_too() {
    for (failures, max_restarts, expected) in [
        (1, 2, (TrainingJobState::Pending, 1)),
        (2, 2, (TrainingJobState::Pending, 2)),
        (3, 2, (TrainingJobState::Failed, 2)),
        (1, 0, (TrainingJobState::Failed, 0)),
    ] {
        let mut scene = TrainingScene::running();
        scene.job.spec.max_restarts = max_restarts;
        let mut job = member_job(Some(("Failed", "killed by its liveness probe")));
        (job.spec.backoff_limit, job.status.failed) = (9, failures);
        scene.stage().workload = Some(job);
        let status = scene.step(10);
        assert_eq!(
            (status.state.unwrap(), status.restarts),
            expected,
            "{failures} of {max_restarts}"
        );
    }
}

#[test]
fn starts_that_fail_back_off_and_come_to_an_end_where_the_job_is_to_blame() {
    for (reason, ends) in [
        (ConditionReason::StartFailed, true),
        (ConditionReason::PodsNotMade, false),
        (ConditionReason::Unschedulable, false),
    ] {
        let mut scene = TrainingScene::gang();
        let mut pauses = Vec::new();
        for _ in 0..10 {
            scene.place();
            scene.stage().pods(3);
            scene.stage().late(reason, "no", 1);
            let status = scene.step(120);
            let next = status.next_attempt_time.as_ref().map(|t| t.0.as_second());
            pauses.push(next.map_or(0, |next| next - START - scene.second));
            if status.state == Some(TrainingJobState::Failed) {
                break;
            }
        }
        let failed = scene.status().state == Some(TrainingJobState::Failed);
        assert_eq!(failed, ends, "{reason:?}");
        assert_eq!(pauses[..7], [0, 10, 20, 40, 80, 160, 300], "{reason:?}");
        assert_eq!(scene.status().restarts, 0);
        if ends {
            assert_eq!(
                message(&scene, ConditionType::Finished),
                "10 attempts in a row came to nothing; the last: no"
            );
        }
    }
    // A change of the spec may have put it right.
    let mut scene = TrainingScene::gang();
    for _ in 0..3 {
        scene.place();
        scene.stage().pods(3);
        scene
            .stage()
            .late(ConditionReason::StartFailed, "no image", 1);
        scene.step(120);
    }
    assert!(scene.status().next_attempt_time.is_some());
    scene.job.metadata.generation = Some(2);
    let status = scene.step(1);
    assert_eq!(
        (status.failed_attempts, status.next_attempt_time),
        (0, None)
    );
}

#[test]
fn a_job_that_outlives_its_deadline_or_its_budget_fails() {
    for member in [MemberView::Current, MemberView::Silent] {
        let mut scene = TrainingScene::running();
        scene.job.spec.deadline = Some(Time(at(500)));
        scene.stage().member = member.clone();
        assert!(!scene.step(499).state.unwrap().is_finished());
        let status = scene.step(1);
        assert_eq!(status.state, Some(TrainingJobState::Failed), "{member:?}");
        assert_eq!(
            message(&scene, ConditionType::Finished),
            format!("its work was not done at spec.deadline, {}", at(500))
        );
        let mut scene = TrainingScene::running();
        // 80.4 USD an hour.
        scene.job.spec.budget = Some(Budget {
            max_usd: Some("8.04".parse().unwrap()),
            max_usd_per_hour: None,
        });
        scene.stage().member = member;
        assert!(!scene.step(359).state.unwrap().is_finished());
        scene.step(1);
        assert_eq!(
            message(&scene, ConditionType::Finished),
            "its work was not done when it had cost 8.04 USD; spec.budget.maxUsd is 8.04"
        );
    }
}

#[test]
fn a_job_that_its_member_stopped_for_time_says_which_limit_it_was() {
    for (second, reason) in [
        (2_600, Some(ConditionReason::DeadlineExceeded)),
        (2_400, Some(ConditionReason::MaxRuntimeExceeded)),
        // No limit of the job's: it had no word from the hub.
        (400, None),
    ] {
        let mut scene = TrainingScene::running();
        scene.job.spec.deadline = Some(Time(at(2_500)));
        scene.job.spec.max_runtime_seconds = Some(500);
        let mut job = member_job(Some(("Failed", "Job was active longer than specified")));
        job.status.conditions[0].reason = Some("DeadlineExceeded".to_owned());
        scene.stage().workload = Some(job);
        let status = scene.step(second);
        let finished = find_condition(&status.conditions, ConditionType::Finished);
        assert_eq!(
            finished.map(|c| c.reason.as_str()),
            reason.map(|reason| reason.as_str())
        );
        if reason.is_none() {
            assert_eq!(
                training_brief(&status),
                "Pending Placed=False/Replacing Running=False/ClusterUnreachable"
            );
        }
        assert_eq!(status.restarts, 0);
    }
}

#[test]
fn suspending_gives_everything_back_and_is_no_failure() {
    let mut scene = TrainingScene::running();
    scene.suspend(true);
    let status = scene.step(1300);
    assert_eq!(
        training_brief(&status),
        "Suspended Placed=False/Suspended Running=False/Suspended"
    );
    assert_eq!((status.restarts, status.ended_attempts), (0, 1));
    assert_eq!(
        status.watt_hours,
        Some(13_000),
        "counted up to the moment of stopping"
    );
    // Two intervals of 600 s of an hour's work are saved.
    assert_eq!(status.checkpointed_share.unwrap().micros(), 333_333);
    assert_eq!(scene.step(5000), status, "a suspended job costs nothing");

    scene.suspend(false);
    let status = scene.step(10);
    assert_eq!(
        training_brief(&status),
        "Pending Placed=False/Queued Running=False/NotPlaced"
    );
    scene.place();
    scene.stage().pods(4);
    let status = scene.step(0);
    assert_eq!((status.attempts, status.restarts), (2, 0));
    // Two thirds of the hour, and loading the checkpoint.
    let end = status.estimated_completion_time.unwrap().0.as_second() - START - scene.second;
    assert_eq!(end, 2400 + 100);
    assert_eq!(
        status.start_time.unwrap().0,
        at(0),
        "when it ran for the first time"
    );
}

#[test]
fn a_failure_while_suspended_leaves_it_suspended() {
    let mut scene = TrainingScene::running();
    scene.suspend(true);
    scene.stage().workload = Some(member_job(Some(("Failed", "killed"))));
    let status = scene.step(10);
    assert_eq!(status.state, Some(TrainingJobState::Suspended));
    assert_eq!(status.ended_attempts, 1);
}

#[test]
fn a_suspended_job_that_was_done_already_has_succeeded() {
    let mut scene = TrainingScene::running();
    scene.suspend(true);
    scene.stage().workload = Some(member_job(Some(("SuccessCriteriaMet", ""))));
    assert_eq!(scene.step(10).state, Some(TrainingJobState::Succeeded));
}

#[test]
fn a_placement_that_somebody_deletes_is_no_failure() {
    let mut scene = TrainingScene::running();
    scene.stage().placement.metadata.deletion_timestamp = scene.status().accrued_time;
    let status = scene.step(600);
    assert_eq!(
        training_brief(&status),
        "Pending Placed=False/Replacing Running=False/Stopping"
    );
    assert_eq!((status.restarts, status.ended_attempts), (0, 1));
    assert_eq!(status.checkpointed_share.unwrap().micros(), 166_666);
}

#[test]
fn a_placement_that_vanished_ends_its_attempt() {
    let mut scene = TrainingScene::running();
    let stage = scene.stage.take();
    let status = scene.step(600);
    assert_eq!(
        training_brief(&status),
        "Pending Placed=False/Queued Running=False/NotPlaced"
    );
    assert_eq!((status.ended_attempts, status.watt_hours), (1, Some(6000)));
    assert_eq!(status.checkpointed_share.unwrap().micros(), 166_666);
    // An old picture in which it is there still brings nothing back.
    scene.stage = stage;
    assert_eq!(scene.step(10), status);
}

#[test]
fn a_silent_cluster_is_waited_for_and_the_work_before_counts() {
    let mut scene = TrainingScene::running();
    scene.step(1200);
    scene.stage().member = MemberView::Silent;
    let status = scene.step(100);
    assert_eq!(
        training_brief(&status),
        "Running Placed=True/Placed Running=Unknown/ClusterUnreachable"
    );
    assert_eq!(
        message(&scene, ConditionType::Running),
        "cluster oslo cannot be reached"
    );
    let quiet = scene.step(200);
    assert_eq!(quiet, status, "nothing is written while nothing changes");

    scene.stage().member = MemberView::Current;
    assert_eq!(scene.step(50).state, Some(TrainingJobState::Running));

    scene.stage().member = MemberView::GivenUp;
    let status = scene.step(0);
    assert_eq!(
        training_brief(&status),
        "Pending Placed=False/Replacing Running=False/ClusterUnreachable"
    );
    assert_eq!(status.restarts, 0);
    assert_eq!(
        status.checkpointed_share.unwrap().micros(),
        333_333,
        "two intervals before the silence"
    );
    assert_eq!(status.watt_hours, Some(15_500), "held all the time");
}

#[test]
fn a_gang_placed_in_a_cluster_that_falls_silent_is_starting() {
    let mut scene = TrainingScene::gang();
    scene.step(0);
    scene.place();
    scene.stage().member = MemberView::Silent;
    assert_eq!(
        training_brief(&scene.step(1)),
        "Starting Placed=True/Placed Running=Unknown/ClusterUnreachable"
    );
}

#[test]
fn a_cluster_that_refuses_ends_the_attempt_and_is_no_failure_of_the_job() {
    let mut scene = TrainingScene::gang();
    scene.place();
    scene.step(0);
    scene.stage().refused = Some("cluster oslo refused Job x: no".to_owned());
    let status = scene.step(1);
    assert_eq!(
        training_brief(&status),
        "Pending Placed=False/Replacing Running=False/DispatchRefused"
    );
    assert_eq!(
        message(&scene, ConditionType::Running),
        "cluster oslo refused Job x: no"
    );
    assert_eq!((status.restarts, status.ended_attempts), (0, 1));
    assert_eq!(status.checkpointed_share, None);
}

#[test]
fn a_job_that_runs_too_long_fails() {
    let mut scene = TrainingScene::running();
    scene.job.spec.max_runtime_seconds = Some(1000);
    assert_eq!(scene.step(999).state, Some(TrainingJobState::Running));
    let status = scene.step(1);
    assert_eq!(
        training_brief(&status),
        "Failed Placed=False/Released Running=False/MaxRuntimeExceeded Finished=True/MaxRuntimeExceeded"
    );
    assert_eq!(
        message(&scene, ConditionType::Finished),
        "it ran for 1000 s; spec.maxRuntimeSeconds is 1000"
    );
    assert_eq!(status.watt_hours, Some(10_000));
}

#[test]
fn the_time_of_all_attempts_counts_against_the_longest_run() {
    let mut scene = TrainingScene::running();
    scene.job.spec.max_runtime_seconds = Some(1000);
    scene.stage().lost_node = Some("node-1".to_owned());
    assert_eq!(scene.step(700).run_seconds, 700);
    scene.place();
    scene.stage().pods(4);
    assert_eq!(scene.step(0).state, Some(TrainingJobState::Running));
    // A replica that is not ready for a moment does not set the clock back either.
    scene.stage().pods(3);
    assert_eq!(scene.step(200).run_seconds, 900);
    scene.stage().pods(4);
    scene.step(50);
    assert_eq!(scene.step(99).state, Some(TrainingJobState::Running));
    assert_eq!(scene.step(1).state, Some(TrainingJobState::Failed));
    assert_eq!(
        message(&scene, ConditionType::Finished),
        "it ran for 1000 s; spec.maxRuntimeSeconds is 1000"
    );
}

#[test]
fn nothing_is_said_of_a_member_that_has_yet_to_be_read() {
    let mut scene = TrainingScene::running();
    let before = scene.step(10);
    scene.stage().member = MemberView::NotRead;
    scene.stage().pods(0);
    assert_eq!(scene.step(400), before);
}

#[test]
fn what_is_wrong_with_a_job_stands_until_it_is_tried_again() {
    let mut scene = TrainingScene::gang();
    scene.issue = Some((
        ConditionReason::UnknownAcceleratorType,
        "no accelerator type warp-9".to_owned(),
    ));
    let status = scene.step(1);
    assert_eq!(
        training_brief(&status),
        "Pending Placed=False/UnknownAcceleratorType Running=False/NotPlaced"
    );
    let valid = find_condition(&status.conditions, ConditionType::Valid).unwrap();
    assert_eq!(
        (valid.status.as_str(), valid.reason.as_str()),
        ("False", "UnknownAcceleratorType")
    );
    // The operator has restarted, or is about to try it again: nobody has said otherwise.
    scene.issue = None;
    assert_eq!(scene.step(10), status);
    // The user has mended it.
    scene.job.metadata.generation = Some(2);
    let status = scene.step(10);
    assert_eq!(
        training_brief(&status),
        "Pending Placed=False/Queued Running=False/NotPlaced"
    );
    let valid = find_condition(&status.conditions, ConditionType::Valid).unwrap();
    assert_eq!(valid.status, "True");
}

#[test]
fn what_made_a_job_wrong_may_go_without_the_job_changing() {
    for what in ["placed", "waits"] {
        let mut scene = TrainingScene::gang();
        scene.issue = Some((ConditionReason::UnknownPriorityClass, "no high".to_owned()));
        scene.step(1);
        scene.issue = None;
        match what {
            "placed" => scene.place(),
            _ => scene.waiting = Some(verdict("InsufficientDevices", 32)),
        }
        let status = scene.step(1);
        let valid = find_condition(&status.conditions, ConditionType::Valid).unwrap();
        assert_eq!(valid.status, "True", "{what}");
    }
}

#[test]
fn the_verdict_stands_until_the_next() {
    let mut scene = TrainingScene::gang();
    scene.waiting = Some(verdict("InsufficientDevices", 32));
    let status = scene.step(1);
    scene.waiting = None;
    assert_eq!(scene.step(10), status, "after a restart");
    scene.waiting = Some(verdict("PowerDomainExceeded", 5));
    let next = scene.step(10);
    assert_eq!(
        next.verdict.unwrap().reasons[0].reason,
        "PowerDomainExceeded"
    );
    scene.waiting = None;
    scene.issue = Some((
        ConditionReason::InvalidSelector,
        "no such operator".to_owned(),
    ));
    assert_eq!(scene.step(10).verdict, None);
}

#[test]
fn why_a_pod_cannot_start_is_said() {
    let mut scene = TrainingScene::gang();
    scene.place();
    scene.stage().pods(3);
    scene.stage().start.trouble = Some("0/4 nodes available".to_owned());
    scene.step(30);
    assert_eq!(
        message(&scene, ConditionType::Running),
        "0/4 nodes available"
    );
}

#[test]
fn a_lifetime_after_the_end_is_no_matter_of_the_status() {
    let mut scene = TrainingScene::running();
    scene.job.spec.ttl_seconds_after_finished = Some(0);
    scene.stage().workload = Some(member_job(Some(("Complete", ""))));
    let status = scene.step(10);
    assert_eq!(status.state, Some(TrainingJobState::Succeeded));
    let mut late = Stage::new(placement(ampacity_api::JobKind::TrainingJob, "llama", 7, 4));
    late.member = MemberView::Removed;
    scene.stage = Some(late);
    assert_eq!(scene.step(1_000_000), status);
}
