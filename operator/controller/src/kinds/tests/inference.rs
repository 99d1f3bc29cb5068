//! Replicas that come, serve, are lost and are too many.

use ampacity_api::conditions::find_condition;
use ampacity_api::{ConditionReason, ConditionType, Decimal, InferenceJobState};

use crate::kinds::inference::status::resize;
use crate::kinds::testing::{InferenceScene, at, verdict};
use crate::observe::MemberView;

#[test]
fn replicas_find_a_place_and_serve() {
    let mut scene = InferenceScene::new(6);
    scene.step(0);
    assert_eq!(
        scene.brief(),
        "Pending Placed=False/Queued Running=False/NotPlaced"
    );
    scene.place("oslo", 4);
    scene.waiting = Some(verdict("InsufficientDevices", 16));
    let status = scene.step(10);
    assert_eq!(
        scene.brief(),
        "Starting Placed=False/PartlyPlaced Running=False/ReplicasNotReady"
    );
    assert_eq!((status.placed_replicas, status.replicas), (4, 4));
    assert_eq!(status.watts, Some(36_000));
    let placed = find_condition(&status.conditions, ConditionType::Placed).unwrap();
    assert_eq!(
        placed.message,
        "4 of 6 replicas have a place; InsufficientDevices: 16 needed"
    );

    scene.place("aws-east", 2);
    scene.waiting = None;
    for stage in &mut scene.stages {
        let all = stage.placement.spec.replicas;
        stage.pods(all);
    }
    let status = scene.step(10);
    assert_eq!(
        scene.brief(),
        "Running Placed=True/Placed Running=True/AllReplicasRunning"
    );
    assert_eq!((status.ready_replicas, status.placements.len()), (6, 2));
    assert_eq!(status.verdict, None);
    assert_eq!(
        status.selector.as_deref(),
        Some("ampacity.dev/job-name=chat,ampacity.dev/job-kind=InferenceJob")
    );
}

#[test]
fn states_follow_from_what_serves() {
    type Change = fn(&mut InferenceScene);
    let table: &[(&str, Change, &str)] = &[
        (
            "all serve",
            |_| {},
            "Running Placed=True/Placed Running=True/AllReplicasRunning",
        ),
        (
            "some serve",
            |s| {
                s.stages[0].pods(1);
            },
            "Running Placed=True/Placed Running=False/ReplicasNotReady",
        ),
        (
            "none serve",
            |s| {
                s.stages[0].pods(0);
            },
            "Starting Placed=True/Placed Running=False/ReplicasNotReady",
        ),
        (
            "suspended",
            |s| {
                s.job.spec.suspend = true;
                s.stages.clear();
            },
            "Suspended Placed=False/Suspended Running=False/Suspended",
        ),
        (
            "scaled to zero",
            |s| {
                s.job.spec.replicas = 0;
                s.stages.clear();
            },
            "Running Placed=True/ScaledToZero Running=True/AllReplicasRunning",
        ),
        (
            "silent after running",
            |s| s.stages[0].member = MemberView::Silent,
            "Running Placed=True/Placed Running=Unknown/ClusterUnreachable",
        ),
        (
            "one of two refused",
            |s| {
                s.job.spec.replicas = 6;
                s.place("aws-east", 2).refused = Some("no".to_owned());
            },
            "Running Placed=True/Placed Running=False/DispatchRefused",
        ),
        (
            "refused and nothing serves",
            |s| {
                s.stages[0].pods(0).refused = Some("no".to_owned());
            },
            "Starting Placed=True/Placed Running=False/DispatchRefused",
        ),
        (
            "all lost",
            |s| s.stages.clear(),
            "Pending Placed=False/Queued Running=False/NotPlaced",
        ),
    ];
    for (what, change, expected) in table {
        let mut scene = InferenceScene::new(4);
        scene.place("oslo", 4).pods(4);
        scene.step(0);
        change(&mut scene);
        scene.step(10);
        assert_eq!(scene.brief(), *expected, "{what}");
    }
}

#[test]
fn replicas_placed_in_a_silent_cluster_are_starting() {
    let mut scene = InferenceScene::new(4);
    scene.step(0);
    scene.place("oslo", 4).member = MemberView::Silent;
    let status = scene.step(1);
    assert_eq!(status.state, Some(InferenceJobState::Starting));
}

#[test]
fn what_is_held_is_paid_for_at_the_rate_of_its_time() {
    let mut scene = InferenceScene::new(4);
    scene.place("oslo", 4);
    assert_eq!(scene.step(0).watt_hours, None);
    // Four replicas of 9,000 W for 360 s, then two for 360 s, then none.
    let smaller = &mut scene.stages[0].placement.spec;
    smaller.replicas = 2;
    smaller.watts = 18_000;
    smaller.usd_per_hour = Decimal::from_micros(40_200_000);
    scene.job.spec.replicas = 2;
    let status = scene.step(360);
    assert_eq!(
        (status.watt_hours, status.watts),
        (Some(3600), Some(18_000))
    );
    assert_eq!(status.usd_accrued.unwrap().to_string(), "8.04");
    scene.stages.clear();
    scene.job.spec.replicas = 0;
    let status = scene.step(360);
    assert_eq!(status.watt_hours, Some(5400));
    assert_eq!(status.accrued_time, None);
    assert_eq!(scene.step(10_000), status, "nothing is held");
}

#[test]
fn amounts_are_written_when_they_are_old_and_a_clock_that_went_back_costs_nothing_twice() {
    let mut scene = InferenceScene::new(4);
    scene.place("oslo", 4).pods(4);
    let first = scene.step(0);
    assert_eq!(scene.step(299), first);
    assert_eq!(scene.step(1).watt_hours, Some(3000));
    // The next leader's clock is 200 s behind, and something changes.
    scene.stages[0].pods(3);
    let status = scene.step(-200);
    assert_eq!(status.accrued_time.unwrap().0, at(300));
    scene.stages[0].pods(4);
    assert_eq!(scene.step(500).watt_hours, Some(6000));
}

#[test]
fn the_last_word_stands_until_it_is_tried_again() {
    let mut scene = InferenceScene::new(4);
    scene.waiting = Some(verdict("InsufficientDevices", 16));
    let status = scene.step(0);
    assert_eq!(
        scene.brief(),
        "Pending Placed=False/NoCandidate Running=False/NotPlaced"
    );
    scene.waiting = None;
    assert_eq!(scene.step(10), status, "after a restart");
    scene.job.spec.replicas = 5;
    scene.step(10);
    assert_eq!(
        scene.brief(),
        "Pending Placed=False/Queued Running=False/NotPlaced",
        "it was said of other numbers"
    );

    scene.issue = Some((ConditionReason::InvalidTemplate, "no containers".to_owned()));
    let status = scene.step(10);
    assert_eq!(
        scene.brief(),
        "Pending Placed=False/InvalidTemplate Running=False/NotPlaced"
    );
    assert_eq!(status.verdict, None);
    scene.issue = None;
    assert_eq!(scene.step(10), status, "after a restart");
    scene.job.metadata.generation = Some(2);
    let status = scene.step(10);
    let valid = find_condition(&status.conditions, ConditionType::Valid).unwrap();
    assert_eq!(valid.status, "True");
}

/// Which placements change to how many replicas, by cluster.
fn resized(scene: &InferenceScene, surplus: i64) -> Vec<(String, i32)> {
    resize(&scene.views(), surplus)
        .into_iter()
        .map(|(key, replicas)| {
            let stage = scene
                .stages
                .iter()
                .find(|s| s.placement.metadata.name.as_deref() == Some(&key.name))
                .unwrap();
            (stage.placement.spec.cluster.clone(), replicas)
        })
        .collect()
}

/// 4 replicas for 80 USD per hour in `dear`, 2 for 10 in `cheap`, 2 for 10 in `late`.
fn three() -> InferenceScene {
    let mut scene = InferenceScene::new(8);
    for (cluster, replicas, usd) in [("dear", 4, 80), ("cheap", 2, 10), ("late", 2, 10)] {
        let stage = scene.place(cluster, replicas);
        stage.placement.spec.usd_per_hour = Decimal::from_micros(usd * 1_000_000);
        stage.pods(replicas);
    }
    scene
}

#[test]
fn the_dearest_go_first_and_the_newest_among_equals() {
    let table: &[(i64, &[(&str, i32)])] = &[
        (-3, &[]),
        (0, &[]),
        (1, &[("dear", 3)]),
        (4, &[("dear", 0)]),
        (5, &[("dear", 0), ("late", 1)]),
        (7, &[("dear", 0), ("late", 0), ("cheap", 1)]),
        (8, &[("dear", 0), ("late", 0), ("cheap", 0)]),
        (80, &[("dear", 0), ("late", 0), ("cheap", 0)]),
    ];
    for (surplus, expected) in table {
        let expected: Vec<_> = expected
            .iter()
            .map(|(c, n)| ((*c).to_owned(), *n))
            .collect();
        assert_eq!(
            resized(&three(), *surplus),
            expected,
            "surplus of {surplus}"
        );
    }
}

#[test]
fn what_is_lost_anyway_is_the_first_to_go() {
    type Change = fn(&mut InferenceScene);
    type Expected = &'static [(&'static str, i32)];
    let table: &[(&str, Change, i64, Expected)] = &[
        (
            "a cluster that was given up is replaced",
            |s| s.stages[1].member = MemberView::GivenUp,
            0,
            &[("cheap", 0)],
        ),
        (
            "two too many, and two are lost: nobody else goes",
            |s| s.stages[1].member = MemberView::Removed,
            2,
            &[("cheap", 0)],
        ),
        (
            "three too many, and two are lost: one more goes",
            |s| s.stages[1].member = MemberView::GivenUp,
            3,
            &[("dear", 3), ("cheap", 0)],
        ),
        (
            "what serves beside a lost node stays",
            |s| s.stages[0].pods(3).lost_node = Some("node-3".to_owned()),
            0,
            &[("dear", 3)],
        ),
        (
            "what starts beside a lost node is not lost with it",
            |s| s.stages[0].pods(2).lost_node = Some("node-3".to_owned()),
            0,
            &[("dear", 3)],
        ),
        (
            "what came back elsewhere is not lost",
            |s| {
                s.stages[0].lost_node = Some("node-3".to_owned());
                let pods = &mut s.stages[0].pods;
                pods.get_mut("pod-3").unwrap().node = Some("node-9".to_owned());
                pods.get_mut("pod-1").unwrap().ready = false;
            },
            0,
            &[],
        ),
        (
            "replicas that no node was found for are given back",
            |s| {
                let stage = &mut s.stages[0];
                stage.late(ConditionReason::Unschedulable, "no node", 1);
                let pod = stage.pods.get_mut("pod-3").unwrap();
                (pod.node, pod.ready) = (None, false);
            },
            0,
            &[("dear", 3)],
        ),
        (
            "a pod too many is no loss",
            |s| s.stages[0].late(ConditionReason::Unschedulable, "no node", 0),
            0,
            &[],
        ),
        (
            "nothing is lost while all are ready",
            |s| s.stages[0].lost_node = Some("node-3".to_owned()),
            0,
            &[],
        ),
        (
            "a silent cluster keeps its replicas",
            |s| {
                s.stages[0].pods(0).member = MemberView::Silent;
                s.stages[0].lost_node = Some("node-3".to_owned());
            },
            0,
            &[],
        ),
    ];
    for (what, change, surplus, expected) in table {
        let mut scene = three();
        change(&mut scene);
        let expected: Vec<_> = expected
            .iter()
            .map(|(c, n)| ((*c).to_owned(), *n))
            .collect();
        assert_eq!(resized(&scene, *surplus), expected, "{what}");
    }
}
