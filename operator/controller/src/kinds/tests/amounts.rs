//! Dollars, watt-hours and the work that checkpoints save, over the attempts of a training job.

use crate::kinds::testing::{TrainingScene, at, member_job, training_brief};
use crate::kinds::training::work::work_seconds;

#[test]
fn only_whole_intervals_of_work_are_saved() {
    // Seconds run in each attempt, and the share of an hour's work that is saved after it. From the second on, the first
    // 100 s load the checkpoint.
    let table: &[(&[i64], i64)] = &[
        (&[599], 0),
        (&[600], 166_666),
        (&[1199], 166_666),
        (&[600, 600], 166_666),
        (&[600, 700], 333_332),
        (&[599, 600], 166_666),
        (&[3600], 1_000_000),
        (&[7200], 1_000_000),
    ];
    for (runs, share) in table {
        let mut scene = TrainingScene::gang();
        for seconds in *runs {
            scene.place();
            scene.stage().pods(4);
            scene.step(0);
            scene.stage().workload = Some(member_job(Some(("Failed", "x"))));
            scene.step(*seconds);
        }
        let saved = scene.status().checkpointed_share.map_or(0, |s| s.micros());
        assert_eq!(saved, *share, "{runs:?}");
    }
}

#[test]
fn nothing_is_saved_without_checkpoints() {
    let mut scene = TrainingScene::running();
    scene.job.spec.checkpoint = None;
    scene.stage().workload = Some(member_job(Some(("Failed", "x"))));
    assert_eq!(scene.step(3000).checkpointed_share, None);
}

#[test]
fn a_replica_that_turns_unready_does_not_undo_what_was_saved() {
    let mut scene = TrainingScene::running();
    scene.stage().pods(3);
    let status = scene.step(700);
    assert_eq!(
        training_brief(&status),
        "Starting Placed=True/Placed Running=False/Starting"
    );
    scene.stage().pods(4);
    scene.step(10);
    scene.stage().workload = Some(member_job(Some(("Failed", "x"))));
    let status = scene.step(650);
    assert_eq!(status.checkpointed_share.unwrap().micros(), 333_332);
    assert_eq!(status.restarts, 1);
}

#[test]
fn amounts_are_written_with_a_change_or_when_they_are_old() {
    let mut scene = TrainingScene::running();
    let first = scene.status();
    assert_eq!(scene.step(299), first, "for their own sake they are not");
    let status = scene.step(1);
    assert_eq!(status.usd_accrued.unwrap().to_string(), "6.7");
    assert_eq!(status.watt_hours, Some(3000));
    assert_eq!(status.accrued_time.unwrap().0, at(300));
    scene.stage().pods(3);
    assert_eq!(scene.step(100).watt_hours, Some(4000));
}

#[test]
fn attempts_cost_what_each_of_them_holds() {
    let mut scene = TrainingScene::running();
    scene.stage().workload = Some(member_job(Some(("Failed", "x"))));
    scene.step(360);
    scene.step(1000);
    scene.place();
    let cheaper = &mut scene.stage().placement.spec;
    cheaper.watts = 18_000;
    cheaper.usd_per_hour = ampacity_api::Decimal::from_micros(40_200_000);
    scene.stage().pods(4);
    scene.step(0);
    scene.stage().workload = Some(member_job(Some(("Complete", ""))));
    let status = scene.step(360);
    assert_eq!(status.watt_hours, Some(3600 + 1800));
    assert_eq!(status.usd_accrued.unwrap().to_string(), "12.06");
}

#[test]
fn work_takes_units_over_throughput_or_what_the_user_says() {
    let alternative = "acceleratorType: x, devicesPerReplica: 1, replicas: 1, image: i";
    let of = |spec: &str| {
        let scene = TrainingScene::new(spec);
        work_seconds(&scene.job, "a")
    };
    let table = [
        (
            format!(
                "{{work: {{units: 120000}}, alternatives: [{{name: a, throughput: \"10.4\", {alternative}}}]}}"
            ),
            Some(11_538),
        ),
        (
            format!("{{estimatedDurationSeconds: 60, alternatives: [{{name: a, {alternative}}}]}}"),
            Some(60),
        ),
        (
            format!("{{work: {{units: 10}}, alternatives: [{{name: a, {alternative}}}]}}"),
            None,
        ),
        (
            format!(
                "{{work: {{units: 10}}, alternatives: [{{name: a, throughput: \"0\", {alternative}}}]}}"
            ),
            None,
        ),
        (
            format!(
                "{{work: {{units: 10}}, alternatives: [{{name: b, throughput: \"1\", {alternative}}}]}}"
            ),
            None,
        ),
    ];
    for (spec, seconds) in table {
        assert_eq!(of(&spec), seconds, "{spec}");
    }
}
