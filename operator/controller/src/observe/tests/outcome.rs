//! What a member shows, and how the attempt is doing.

use std::collections::BTreeMap;

use ampacity_api::{ConditionReason, JobKind, MemberCluster};

use crate::member::SlimJob;
use crate::observe::outcome::{MemberView, Outcome, PlacementView, outcome};
use crate::observe::testing::{Stage, at, member_job, placement, pod, yaml};
use crate::world::{Member, ObjectKey, Reach};

fn stage() -> Stage {
    let mut stage = Stage::new(placement(JobKind::TrainingJob, "llama", 1, 4));
    stage.pods(4);
    stage
}

fn deleted(mut job: SlimJob) -> SlimJob {
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
    let table: Vec<(&str, Change, Outcome)> = vec![
        ("all runs", |_| {}, Outcome::InProgress),
        (
            "not made yet",
            |s| (s.job, s.was_dispatched) = (None, false),
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
                s.job = Some(member_job(Some(("Failed", "x"))));
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
            |s| s.job = Some(member_job(Some(("Complete", "")))),
            Outcome::Succeeded,
        ),
        (
            "complete, and the node is lost since",
            |s| {
                s.job = Some(member_job(Some(("Complete", ""))));
                s.lost_node = Some("node-1".to_owned());
            },
            Outcome::Succeeded,
        ),
        (
            "failed",
            |s| s.job = Some(member_job(Some(("Failed", "exit 1")))),
            failed(R::ReplicaFailed, "exit 1"),
        ),
        (
            "about to fail",
            |s| s.job = Some(member_job(Some(("FailureTarget", "exit 1")))),
            failed(R::ReplicaFailed, "exit 1"),
        ),
        (
            "failed for a disruption",
            |s| {
                s.job = Some(member_job(Some(("Failed", "exit 1"))));
                s.pods.get_mut("pod-2").unwrap().disrupted = true;
            },
            failed(R::NodeFailed, "exit 1"),
        ),
        (
            "failed on a lost node",
            |s| {
                s.job = Some(member_job(Some(("Failed", "exit 1"))));
                s.lost_node = Some("node-1".to_owned());
            },
            failed(R::NodeFailed, "exit 1"),
        ),
        (
            "being deleted",
            |s| s.job = s.job.take().map(deleted),
            failed(
                R::Lost,
                "its Job in cluster oslo is being deleted by somebody else",
            ),
        ),
        (
            "deleted",
            |s| s.job = None,
            failed(
                R::Lost,
                "its Job in cluster oslo was deleted by somebody else",
            ),
        ),
        (
            "refused",
            |s| (s.job, s.was_dispatched, s.refused) = (None, false, Some("no".to_owned())),
            failed(R::DispatchRefused, "no"),
        ),
        (
            "node lost",
            |s| s.lost_node = Some("node-1".to_owned()),
            failed(
                R::NodeFailed,
                "node node-1 of cluster oslo is gone or not ready",
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
            crate::pods::OurPod {
                node: None,
                ..pod(false)
            },
        ),
        (
            "done".to_owned(),
            crate::pods::OurPod {
                succeeded: true,
                ..pod(false)
            },
        ),
        (
            "failed".to_owned(),
            crate::pods::OurPod {
                failed: true,
                ..pod(false)
            },
        ),
        (
            "leaving".to_owned(),
            crate::pods::OurPod {
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
            60,
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
        member.faulty_since.insert(node.to_owned(), at(0));
        let view = PlacementView::new(&placement, None, Some(&member), 60, at(second));
        assert_eq!(
            view.lost_node.as_deref(),
            expected,
            "{node} after {second} s"
        );
    }
    assert_eq!(ObjectKey::of(&placement).to_string(), "research/llama-1");
}
