//! What a member shows, and how the attempt is doing.

use std::collections::BTreeMap;

use ampacity_api::{ConditionReason, JobKind, MemberCluster, PlacementStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::kinds::kinds;
use crate::kinds::testing::{Stage, at, member_job, placement, pod, yaml};
use crate::observe::{MemberView, Outcome, Patience, PlacementView, outcome};
use crate::state::Outage;
use crate::state::Workload;
use crate::state::{Member, ObjectKey, Reach};

const PATIENCE: Patience = Patience {
    node_grace_seconds: 60,
    start_deadline_seconds: 120,
};

fn stage() -> Stage {
    let mut stage = Stage::new(placement(JobKind::TrainingJob, "llama", 1, 4));
    stage.pods(4);
    stage
}

fn deleted(mut job: Workload) -> Workload {
    job.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
    job
}

#[test]
fn an_attempt_is_what_its_member_shows() {
    use ConditionReason as R;
    type Change = fn(&mut Stage);
    let failed = |reason, message: &str| Outcome::Failed {
        reason,
        message: message.to_owned(),
    };
    let not_started = |reason, message: &str| Outcome::NotStarted {
        reason,
        message: message.to_owned(),
    };
    let table: Vec<(&str, Change, Outcome)> = vec![
        ("all runs", |_| {}, Outcome::InProgress),
        (
            "not made yet",
            |s| (s.workload, s.was_dispatched) = (None, false),
            Outcome::InProgress,
        ),
        (
            "silent",
            |s| s.member = MemberView::Silent,
            Outcome::Unknown,
        ),
        (
            "silent, whatever was seen last",
            |s| {
                s.member = MemberView::Silent;
                s.workload = Some(member_job(Some(("Failed", "x"))));
            },
            Outcome::Unknown,
        ),
        (
            "given up",
            |s| s.member = MemberView::GivenUp,
            failed(
                R::ClusterUnreachable,
                "cluster oslo has been unreachable for longer than its policy allows",
            ),
        ),
        (
            "removed",
            |s| s.member = MemberView::Removed,
            failed(R::UnknownCluster, "MemberCluster oslo was removed"),
        ),
        (
            "complete",
            |s| s.workload = Some(member_job(Some(("Complete", "")))),
            Outcome::Succeeded,
        ),
        (
            "complete, and the node is lost since",
            |s| {
                s.workload = Some(member_job(Some(("Complete", ""))));
                s.lost_node = Some("node-1".to_owned());
            },
            Outcome::Succeeded,
        ),
        (
            "failed",
            |s| s.workload = Some(member_job(Some(("Failed", "exit 1")))),
            failed(R::ReplicaFailed, "exit 1"),
        ),
        (
            "about to fail",
            |s| s.workload = Some(member_job(Some(("FailureTarget", "exit 1")))),
            failed(R::ReplicaFailed, "exit 1"),
        ),
        (
            "failed for a disruption",
            |s| {
                s.workload = Some(member_job(Some(("Failed", "exit 1"))));
                s.pods.get_mut("pod-2").unwrap().disrupted = true;
            },
            failed(R::NodeFailed, "exit 1"),
        ),
        (
            "failed on a lost node",
            |s| {
                s.workload = Some(member_job(Some(("Failed", "exit 1"))));
                s.lost_node = Some("node-1".to_owned());
            },
            failed(R::NodeFailed, "exit 1"),
        ),
        (
            "being deleted",
            |s| s.workload = s.workload.take().map(deleted),
            failed(
                R::Lost,
                "its Job in cluster oslo is being deleted by somebody else",
            ),
        ),
        (
            "deleted",
            |s| s.workload = None,
            failed(
                R::Lost,
                "its Job in cluster oslo was deleted by somebody else",
            ),
        ),
        (
            "refused",
            |s| (s.workload, s.was_dispatched, s.refused) = (None, false, Some("no".to_owned())),
            not_started(R::DispatchRefused, "no"),
        ),
        (
            "node lost",
            |s| s.lost_node = Some("node-1".to_owned()),
            failed(
                R::NodeFailed,
                "node node-1 of cluster oslo is gone or not ready",
            ),
        ),
        (
            "no node found",
            |s| s.late_pods = vec![("pod-2".to_owned(), "0/4 nodes".to_owned())],
            not_started(
                R::Unschedulable,
                "the scheduler of cluster oslo finds no node for pod pod-2: 0/4 nodes",
            ),
        ),
        (
            "no node found for several that ran before",
            |s| {
                s.late_pods = vec![
                    ("pod-2".to_owned(), "0/4 nodes".to_owned()),
                    ("pod-3".to_owned(), "0/4 nodes".to_owned()),
                ];
                s.placement.status = Some(PlacementStatus {
                    start_time: Some(Time(at(0))),
                    ..PlacementStatus::default()
                });
            },
            failed(
                R::Unschedulable,
                "the scheduler of cluster oslo finds no node for pod pod-2 and 1 more: 0/4 nodes",
            ),
        ),
        (
            "no pod made",
            |s| {
                s.is_barren = true;
                let metadata = &mut s.workload.as_mut().unwrap().metadata;
                metadata.name = Some("llama-1".to_owned());
                metadata.namespace = Some("research".to_owned());
            },
            not_started(
                R::Unschedulable,
                "cluster oslo made no pod of Job llama-1, perhaps for a quota; `kubectl -n research describe job llama-1` there says why",
            ),
        ),
    ];
    for (what, change, expected) in table {
        let mut stage = stage();
        change(&mut stage);
        assert_eq!(outcome(&stage.view()), expected, "{what}");
    }
}

#[test]
fn pods_count_while_they_are_not_on_their_way_out() {
    let mut stage = stage();
    stage.pods = BTreeMap::from([
        ("ready".to_owned(), pod(true)),
        ("starting".to_owned(), pod(false)),
        (
            "unbound".to_owned(),
            crate::state::OurPod {
                node: None,
                ..pod(false)
            },
        ),
        (
            "done".to_owned(),
            crate::state::OurPod {
                succeeded: true,
                ..pod(false)
            },
        ),
        (
            "failed".to_owned(),
            crate::state::OurPod {
                failed: true,
                ..pod(false)
            },
        ),
        (
            "leaving".to_owned(),
            crate::state::OurPod {
                terminating: true,
                ..pod(true)
            },
        ),
    ]);
    assert_eq!(stage.view().ready(), 2, "ready and done");
    assert_eq!(stage.view().bound(), 3, "ready, starting and done");
}

#[test]
fn a_silent_member_is_given_up_only_as_its_policy_says() {
    let placement = placement(JobKind::TrainingJob, "llama", 1, 4);
    let cluster = |unreachable: &str| -> MemberCluster {
        MemberCluster::new(
            "oslo",
            yaml(&format!(
                "{{provider: onprem, region: oslo, unreachable: {unreachable}}}"
            )),
        )
    };
    let silent = || Member {
        reach: Reach::Unreachable {
            since: at(0),
            reason: "ConnectionFailed",
            message: String::new(),
        },
        ..Member::default()
    };
    let connecting = || Member {
        linked_at: Some(at(0)),
        ..Member::default()
    };
    let not_listed = || Member {
        reach: Reach::Connected,
        ..connecting()
    };
    let wait = "{afterSeconds: 300, action: Wait}";
    let replace = "{afterSeconds: 300, action: Replace}";
    let table = [
        (
            "no cluster",
            None,
            Some(silent()),
            1000,
            MemberView::Removed,
        ),
        ("no link yet", Some(wait), None, 0, MemberView::NotRead),
        (
            "connecting",
            Some(replace),
            Some(connecting()),
            9,
            MemberView::NotRead,
        ),
        (
            "connecting for long",
            Some(replace),
            Some(connecting()),
            1000,
            MemberView::Silent,
        ),
        (
            "not listed yet",
            Some(replace),
            Some(not_listed()),
            9,
            MemberView::NotRead,
        ),
        (
            "not to be listed",
            Some(replace),
            Some(not_listed()),
            1000,
            MemberView::Silent,
        ),
        (
            "wait",
            Some(wait),
            Some(silent()),
            100_000,
            MemberView::Silent,
        ),
        (
            "replace, too early",
            Some(replace),
            Some(silent()),
            299,
            MemberView::Silent,
        ),
        (
            "replace",
            Some(replace),
            Some(silent()),
            300,
            MemberView::GivenUp,
        ),
    ];
    for (what, policy, member, second, expected) in table {
        let cluster = policy.map(cluster);
        let view = PlacementView::new(
            &placement,
            cluster.as_ref(),
            member.as_ref(),
            PATIENCE,
            at(second),
        );
        assert_eq!(view.member, expected, "{what}");
    }
}

#[test]
fn a_node_is_lost_after_the_grace_and_only_if_it_is_ours() {
    let placement = placement(JobKind::TrainingJob, "llama", 1, 2);
    let table = [
        ("node-1", 59, None),
        ("node-1", 60, Some("node-1")),
        ("node-7", 1000, None),
    ];
    for (node, second, expected) in table {
        let mut member = Member::default();
        let outage = Outage {
            since: at(0),
            silent_since: None,
        };
        member.outages.insert(node.to_owned(), outage);
        let view = PlacementView::new(&placement, None, Some(&member), PATIENCE, at(second));
        assert_eq!(
            view.lost_nodes.first().map(String::as_str),
            expected,
            "{node} after {second} s"
        );
    }
    assert_eq!(ObjectKey::of(&placement).to_string(), "research/llama-1");
}

#[test]
fn a_silence_counts_from_when_the_cluster_was_last_seen_by_any_operator() {
    let placement = placement(JobKind::TrainingJob, "llama", 1, 4);
    // Reachable in the status, what this process has seen, seconds since it found it silent at 1000: given up or not.
    let table = [
        (
            "never seen, told to be silent",
            Some(("False", 700)),
            None,
            1000,
            true,
        ),
        (
            "not for long enough",
            Some(("False", 701)),
            None,
            1000,
            false,
        ),
        (
            "the status may be out of date",
            Some(("True", 700)),
            None,
            1000,
            false,
        ),
        ("by a minute", Some(("True", 640)), None, 1000, true),
        (
            "seen by this process",
            Some(("False", 0)),
            Some(999),
            1000,
            false,
        ),
        ("no status", None, None, 1299, false),
        ("no status, and long enough", None, None, 1300, true),
    ];
    for (what, status, seen, second, given_up) in table {
        let mut cluster = MemberCluster::new(
            "oslo",
            yaml(
                "{provider: onprem, region: oslo, unreachable: {afterSeconds: 300, action: Replace}}",
            ),
        );
        cluster.status = status.map(|(answer, last)| {
            serde_json::from_value(json!({
                "lastSeenTime": at(last),
                "conditions": [{"type": "Reachable", "status": answer, "reason": "R",
                    "message": "", "lastTransitionTime": at(last)}],
            }))
            .unwrap()
        });
        let member = Member {
            reach: Reach::Unreachable {
                since: at(1000),
                reason: "ConnectionFailed",
                message: String::new(),
            },
            last_seen: seen.map(at),
            ..Member::default()
        };
        let view = PlacementView::new(
            &placement,
            Some(&cluster),
            Some(&member),
            PATIENCE,
            at(second),
        );
        assert_eq!(view.member == MemberView::GivenUp, given_up, "{what}");
    }
}

#[test]
fn a_pod_is_late_when_no_node_was_found_for_as_long_as_the_deadline() {
    let mut placement = placement(JobKind::TrainingJob, "llama", 1, 2);
    placement.metadata.uid = Some("uid".to_owned());
    let pod = |condition: serde_json::Value, deleted: bool| -> crate::state::SlimPod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "research", "uid": "u",
                "deletionTimestamp": deleted.then(|| at(1)),
                "labels": {"ampacity.dev/placement": "llama-1", "ampacity.dev/hub": "hub-1"},
                "annotations": {"ampacity.dev/placement-uid": "uid"}},
            "status": {"phase": "Pending", "conditions": [condition]},
        }))
        .unwrap()
    };
    let scheduled = |status: &str, reason: &str| {
        json!({"type": "PodScheduled", "status": status, "reason": reason,
            "message": "0/4 nodes", "lastTransitionTime": at(0)})
    };
    for (what, pod, second, late) in [
        (
            "in time",
            pod(scheduled("False", "Unschedulable"), false),
            119,
            0,
        ),
        (
            "late",
            pod(scheduled("False", "Unschedulable"), false),
            120,
            1,
        ),
        (
            "going",
            pod(scheduled("False", "Unschedulable"), true),
            120,
            0,
        ),
        (
            "gated",
            pod(scheduled("False", "SchedulingGated"), false),
            1000,
            0,
        ),
        (
            "pulls its image",
            pod(scheduled("True", ""), false),
            10_000,
            0,
        ),
    ] {
        let mut member = Member::new("hub-1", &kinds());
        member
            .pods
            .recognise(&ObjectKey::of(&placement), Some("uid"));
        member
            .pods
            .apply(crate::state::Change::Applied(Box::new(pod)));
        let view = PlacementView::new(&placement, None, Some(&member), PATIENCE, at(second));
        assert_eq!(view.late_pods.len(), late, "{what}");
    }
}

#[test]
fn a_job_without_pods_is_barren_after_a_while() {
    let mut placement = placement(JobKind::TrainingJob, "llama", 1, 2);
    placement.metadata.uid = Some("uid".to_owned());
    let job: Workload = serde_json::from_value(json!({
        "metadata": {"name": "llama-1", "namespace": "research", "creationTimestamp": at(0),
            "annotations": {"ampacity.dev/placement-uid": "uid"}},
    }))
    .unwrap();
    let mut member = Member::new("hub-1", &kinds());
    let jobs = member.workloads.get_mut(&JobKind::TrainingJob).unwrap();
    jobs.apply(crate::state::Change::All(vec![job]));
    for (second, expected) in [(599, false), (600, true)] {
        let view = PlacementView::new(&placement, None, Some(&member), PATIENCE, at(second));
        assert_eq!(view.is_barren, expected, "{second}");
    }
}
