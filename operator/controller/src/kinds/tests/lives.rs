//! Whatever happens, in whatever order: `step` checks after each write what must always hold.

use ampacity_api::{ConditionReason, TrainingJobState};
use proptest::prelude::*;

use crate::kinds::testing::{InferenceScene, TrainingScene, member_job, verdict};
use crate::observe::MemberView;

/// Something that happens to a training job.
#[derive(Clone, Debug)]
enum Turn {
    Waits,
    Unheard,
    Wrong,
    Place,
    Pods(i32),
    JobSays(&'static str),
    JobGone,
    Member(MemberView),
    LoseNode,
    FindNoNode,
    Refuse,
    DeletePlacement,
    Vanish,
    Suspend(bool),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        1 => Just(Turn::Waits),
        1 => Just(Turn::Unheard),
        1 => Just(Turn::Wrong),
        4 => Just(Turn::Place),
        3 => Just(Turn::Pods(4)),
        1 => (0..4).prop_map(Turn::Pods),
        1 => prop::sample::select(vec!["Complete", "Failed", "FailureTarget"]).prop_map(Turn::JobSays),
        1 => Just(Turn::JobGone),
        1 => prop::sample::select(vec![
            MemberView::Current,
            MemberView::Current,
            MemberView::Silent,
            MemberView::GivenUp,
            MemberView::Removed,
        ])
        .prop_map(Turn::Member),
        1 => Just(Turn::LoseNode),
        1 => Just(Turn::FindNoNode),
        1 => Just(Turn::Refuse),
        1 => Just(Turn::DeletePlacement),
        1 => Just(Turn::Vanish),
        1 => any::<bool>().prop_map(Turn::Suspend),
    ]
}

fn take(scene: &mut TrainingScene, turn: Turn) {
    let waits = scene.status().attempts == scene.status().ended_attempts;
    match turn {
        // The engine has a word only on a job that wants a place.
        Turn::Waits | Turn::Wrong | Turn::Place if !waits || scene.job.spec.suspend => {}
        Turn::Waits => {
            scene.issue = None;
            scene.waiting = Some(verdict("InsufficientDevices", 32));
        }
        Turn::Unheard => (scene.issue, scene.waiting) = (None, None),
        Turn::Wrong => {
            scene.waiting = None;
            scene.issue = Some((ConditionReason::Invalid, "wrong".to_owned()));
        }
        Turn::Place => {
            scene.issue = None;
            scene.place();
        }
        Turn::Suspend(suspend) => scene.suspend(suspend),
        Turn::Vanish => scene.stage = None,
        turn => {
            let now = scene.status().accrued_time;
            let Some(stage) = &mut scene.stage else {
                return;
            };
            match turn {
                Turn::Pods(ready) => {
                    stage.pods(ready);
                }
                Turn::JobSays(word) => stage.workload = Some(member_job(Some((word, "x")))),
                Turn::JobGone => stage.workload = None,
                Turn::Member(member) => stage.member = member,
                Turn::LoseNode => stage.lost_node = Some("node-1".to_owned()),
                Turn::FindNoNode => {
                    stage.late(ConditionReason::Unschedulable, "no node", 1);
                }
                Turn::Refuse => stage.refused = Some("no".to_owned()),
                Turn::DeletePlacement => stage.placement.metadata.deletion_timestamp = now,
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn a_training_job_stays_in_order_whatever_happens(
        turns in prop::collection::vec((turn(), -60_i64..2000), 1..60),
        max_restarts in 0..6,
    ) {
        let mut scene = TrainingScene::gang();
        scene.job.spec.max_restarts = max_restarts;
        scene.job.spec.max_runtime_seconds = Some(5000);
        for (turn, seconds) in turns {
            take(&mut scene, turn);
            let status = scene.step(seconds);
            prop_assert!(status.restarts <= max_restarts);
            if status.state == Some(TrainingJobState::Failed) {
                prop_assert_ne!(status.ended_attempts, 0);
            }
        }
        for happening in &scene.told {
            prop_assert!(!happening.note.is_empty());
        }
    }

    #[test]
    fn an_inference_job_stays_in_order_whatever_happens(
        turns in prop::collection::vec((0..8, 0_usize..3, 0..5, -60_i64..2000), 1..60),
    ) {
        let mut scene = InferenceScene::new(6);
        for (what, which, many, seconds) in turns {
            let count = scene.stages.len();
            match (what, scene.stages.get_mut(which)) {
                (0, None) if count < 3 => {
                    scene.place("oslo", many + 1);
                }
                (1, Some(stage)) => {
                    stage.pods(many);
                }
                (2, Some(stage)) => stage.member = MemberView::Silent,
                (3, Some(stage)) => stage.member = MemberView::Current,
                (4, Some(_)) => {
                    scene.stages.remove(which);
                }
                (5, Some(stage)) => stage.refused = (many > 2).then(|| "no".to_owned()),
                (6, _) => scene.job.spec.replicas = 2 * many,
                (7, _) => scene.waiting = (many > 2).then(|| verdict("InsufficientDevices", 8)),
                _ => {}
            }
            let status = scene.step(seconds);
            let placed: i32 = scene.stages.iter().map(|s| s.placement.spec.replicas).sum();
            prop_assert_eq!(status.placed_replicas, placed);
            prop_assert!(status.verdict.is_none() || placed < scene.job.spec.replicas);
        }
    }
}
