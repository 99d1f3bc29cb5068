//! What a member shows, and how the attempt is doing.

use std::collections::BTreeMap;

use ampacity_api::{ConditionReason, JobKind, MemberCluster, Placement, PlacementStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::kinds::kinds;
use crate::kinds::testing::{Stage, at, member_job, placement, pod, yaml};
use crate::observe::{Known, MemberView, Outcome, Patience, PlacementView, outcome};
use crate::state::{Cause, Change, ClockSteps, Member, ObjectKey, Outage, Reach, Workload};

const PATIENCE: Patience = Patience {
    node_grace_seconds: 60,
    start_deadline_seconds: 120,
};

fn view_of<'a>(placement: &'a Placement, member: &'a Member, second: i64) -> PlacementView<'a> {
    PlacementView::new(
        placement,
        None,
        Some(member),
        Known::default(),
        PATIENCE,
        &ClockSteps::default(),
        at(second),
    )
}

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
    let program_failed = |failures, message: &str| Outcome::ProgramFailed {
        failures,
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
            program_failed(1, "exit 1"),
        ),
        (
            "about to fail",
            |s| s.workload = Some(member_job(Some(("FailureTarget", "exit 1")))),
            program_failed(1, "exit 1"),
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
            "failed for the third time",
            |s| {
                let mut job = member_job(Some(("FailureTarget", "exit 1")));
                (job.spec.backoff_limit, job.status.failed) = (5, 2);
                s.workload = Some(job);
                for pod in ["pod-1", "pod-2", "pod-3"] {
                    s.pods.get_mut(pod).unwrap().failed = true;
                }
            },
            program_failed(3, "exit 1"),
        ),
        (
            "failed as often as it may, and the last is not counted yet",
            |s| {
                let mut job = member_job(Some(("FailureTarget", "exit 143")));
                job.status.conditions[0].reason = Some("BackoffLimitExceeded".to_owned());
                (job.spec.backoff_limit, job.status.failed) = (2, 2);
                s.workload = Some(job);
            },
            program_failed(3, "exit 143"),
        ),
        (
            "a gang fails once, however many of its pods fail",
            |s| {
                s.workload = Some(member_job(Some(("Failed", "exit 1"))));
                for pod in s.pods.values_mut() {
                    pod.failed = true;
                }
            },
            program_failed(1, "exit 1"),
        ),
        (
            "out of time",
            |s| {
                let mut job = member_job(Some(("Failed", "Job was active longer")));
                job.status.conditions[0].reason = Some("DeadlineExceeded".to_owned());
                s.workload = Some(job);
            },
            Outcome::OutOfTime {
                message: "Job was active longer".to_owned(),
            },
        ),
        (
            "a node would not run a pod",
            |s| {
                s.workload = Some(member_job(Some(("Failed", "a pod failed"))));
                s.pods.get_mut("pod-2").unwrap().rejected =
                    Some("UnexpectedAdmissionError: no device".to_owned());
            },
            not_started(
                R::NodeRefused,
                "a node of cluster oslo would not run a replica: UnexpectedAdmissionError: no device",
            ),
        ),
        (
            "late",
            |s| s.late(R::StartFailed, "no image", 1),
            not_started(R::StartFailed, "no image"),
        ),
        (
            "late, and ran before",
            |s| {
                s.late(R::Unschedulable, "0/4 nodes", 2);
                s.placement.status = Some(PlacementStatus {
                    start_time: Some(Time(at(0))),
                    ..PlacementStatus::default()
                });
            },
            failed(R::Unschedulable, "0/4 nodes"),
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
            cause: Cause::NoAnswer,
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
            Known::default(),
            PATIENCE,
            &ClockSteps::default(),
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
        let view = view_of(&placement, &member, second);
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
                "conditions": [{"type": "Reachable", "status": answer, "reason": "ConnectionFailed",
                    "message": "", "lastTransitionTime": at(last)}],
            }))
            .unwrap()
        });
        let member = Member {
            reach: Reach::Unreachable {
                since: at(1000),
                cause: Cause::NoAnswer,
                message: String::new(),
            },
            last_seen: seen.map(at),
            ..Member::default()
        };
        let view = PlacementView::new(
            &placement,
            Some(&cluster),
            Some(&member),
            Known::default(),
            PATIENCE,
            &ClockSteps::default(),
            at(second),
        );
        assert_eq!(view.member == MemberView::GivenUp, given_up, "{what}");
    }
}

#[test]
fn what_refuses_us_is_not_dead() {
    let placement = placement(JobKind::TrainingJob, "llama", 1, 4);
    let cluster = |reason: Option<&str>| {
        let mut cluster = MemberCluster::new(
            "oslo",
            yaml(
                "{provider: onprem, region: oslo, unreachable: {afterSeconds: 300, action: Replace}}",
            ),
        );
        cluster.status = reason.map(|reason| {
            serde_json::from_value(json!({
                "lastSeenTime": at(0),
                "conditions": [{"type": "Reachable", "status": "False", "reason": reason,
                    "message": "", "lastTransitionTime": at(0)}],
            }))
            .unwrap()
        });
        cluster
    };
    for (cause, told, given_up) in [
        (Cause::NoAnswer, None, false),
        (Cause::NoAnswer, Some("ConnectionFailed"), true),
        // It refused us until a moment ago; it is silent only since then.
        (Cause::NoAnswer, Some("Unauthorized"), false),
        (Cause::Unauthorized, Some("ConnectionFailed"), false),
        (Cause::Unauthorized, Some("Unauthorized"), false),
        (Cause::Forbidden, Some("ConnectionFailed"), false),
        (Cause::SecretMissing, Some("ConnectionFailed"), false),
        (Cause::KubeconfigInvalid, Some("ConnectionFailed"), false),
        (Cause::HubError, Some("ConnectionFailed"), false),
    ] {
        let member = Member {
            reach: Reach::Unreachable {
                since: at(1000),
                cause,
                message: String::new(),
            },
            ..Member::default()
        };
        let cluster = cluster(told);
        let view = PlacementView::new(
            &placement,
            Some(&cluster),
            Some(&member),
            Known::default(),
            PATIENCE,
            &ClockSteps::default(),
            at(1000),
        );
        let expected = if given_up {
            MemberView::GivenUp
        } else {
            MemberView::Silent
        };
        assert_eq!(view.member, expected, "{cause:?}, told {told:?}");
    }
}

#[test]
fn a_member_is_judged_by_what_was_listed_after_it_came_back() {
    let placement = placement(JobKind::TrainingJob, "llama", 1, 2);
    let cluster = MemberCluster::new("oslo", yaml("{provider: onprem, region: oslo}"));
    let mut member = Member::new("hub-1", &kinds());
    let view = |member: &Member, second| {
        let view = PlacementView::new(
            &placement,
            Some(&cluster),
            Some(member),
            Known::default(),
            PATIENCE,
            &ClockSteps::default(),
            at(second),
        );
        (view.member, view.lost_nodes.len())
    };
    let list = |member: &mut Member, second| {
        member.nodes.apply(Change::All(Vec::new()));
        member.slices.apply(Change::All(Vec::new()));
        member.claims.apply(Change::All(Vec::new()));
        member.taint_rules.apply(Change::All(Vec::new()));
        member.pods.apply(Change::All(Vec::new()), at(second));
        for workloads in member.workloads.values_mut() {
            workloads.apply(Change::All(Vec::new()));
        }
    };
    member.reach = Reach::Connected;
    list(&mut member, 0);
    let outage = Outage {
        since: at(0),
        silent_since: None,
    };
    member.outages.insert("node-1".to_owned(), outage);
    assert_eq!(view(&member, 59), (MemberView::Current, 0));
    // It was away and is back: a node that was out of order before is not lost by that.
    member.list_anew(at(150));
    assert_eq!(view(&member, 151), (MemberView::NotRead, 0));
    list(&mut member, 152);
    assert_eq!(view(&member, 152), (MemberView::Current, 0));
    // A watch that fails for good tells nothing of now.
    member.is_stale = true;
    assert_eq!(view(&member, 153), (MemberView::Silent, 0));
    assert!(!member.is_usable());
}
