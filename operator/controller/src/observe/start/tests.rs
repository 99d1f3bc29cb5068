//! What keeps a placement from running, and when it has lasted too long.

use std::collections::BTreeMap;

use ampacity_api::{ConditionReason as R, JobKind};

use super::*;
use crate::kinds::testing::{at, member_job, placement, pod};

const PATIENCE: Patience = Patience {
    node_grace_seconds: 60,
    start_deadline_seconds: 120,
};

fn waiting(wait: PodWait, node: Option<&str>) -> OurPod {
    OurPod {
        node: node.map(str::to_owned),
        waits: Some(wait),
        waits_since: Some(at(0)),
        ..pod(false)
    }
}

struct Scene {
    pods: BTreeMap<String, OurPod>,
    inquiry: Inquiry,
    failing_call: Option<FailingCall>,
    has_workload: bool,
}

impl Scene {
    /// A gang of two; so many of its pods run.
    fn new(running: usize) -> Self {
        Self {
            pods: (0..running)
                .map(|n| (format!("ready-{n}"), pod(true)))
                .collect(),
            inquiry: Inquiry::default(),
            failing_call: None,
            has_workload: true,
        }
    }

    fn with(mut self, name: &str, pod: OurPod) -> Self {
        self.pods.insert(name.to_owned(), pod);
        self
    }

    fn judge(&self, second: i64) -> Start {
        let placement = placement(JobKind::TrainingJob, "llama", 1, 2);
        let mut workload = member_job(None);
        workload.metadata.name = Some("llama-1".to_owned());
        workload.metadata.namespace = Some("research".to_owned());
        StartFacts {
            placement: &placement,
            workload: self.has_workload.then_some(&workload),
            pods: Some(&self.pods),
            inquiry: Some(&self.inquiry),
            failing_call: self.failing_call.as_ref(),
            patience: PATIENCE,
            now: at(second),
        }
        .judge()
    }
}

#[test]
fn each_thing_that_keeps_a_pod_has_its_deadline_and_its_words() {
    let words = "0/3 nodes are available".to_owned();
    let failing = "container main: ImagePullBackOff".to_owned();
    // What a pod waits for; seconds from which on that is told, and too late; the reason, and the words.
    let table = [
        (
            waiting(PodWait::Unschedulable(words), None),
            Some(0),
            120,
            R::Unschedulable,
            "the scheduler of cluster oslo finds no node for pod p: 0/3 nodes are available",
        ),
        (
            waiting(PodWait::Unseen, None),
            Some(5),
            120,
            R::Unschedulable,
            "no scheduler of cluster oslo has looked at pod p; see whether the schedulerName of its template is served there",
        ),
        (
            waiting(PodWait::Failing(failing), Some("n")),
            Some(0),
            120,
            R::StartFailed,
            "pod p cannot start in cluster oslo: container main: ImagePullBackOff",
        ),
        (
            waiting(PodWait::Creating, Some("n")),
            None,
            1800,
            R::StartFailed,
            "the containers of pod p in cluster oslo are not made; `kubectl -n research describe pod p` there says why",
        ),
        (
            waiting(PodWait::Gated(String::new()), None),
            None,
            1800,
            R::StartFailed,
            "a scheduling gate is still on pod p in cluster oslo; `kubectl -n research get pod p -o yaml` there shows whose",
        ),
        (
            waiting(PodWait::Gated("example.com/quota".to_owned()), None),
            Some(5),
            1800,
            R::StartFailed,
            "a scheduling gate is still on pod p in cluster oslo; `kubectl -n research get pod p -o yaml` there shows whose",
        ),
    ];
    for (pod, told_from, late_from, reason, message) in table {
        let what = format!("{:?}", pod.waits);
        let scene = Scene::new(1).with("p", pod);
        if let Some(from) = told_from {
            assert!(scene.judge(from).trouble.is_some(), "{what}");
            if from > 0 {
                assert_eq!(scene.judge(from - 1).trouble, None, "{what}");
            }
        } else {
            assert_eq!(scene.judge(late_from).trouble, None, "{what}");
        }
        assert_eq!(scene.judge(late_from - 1).late, None, "{what}");
        let late = Late {
            reason,
            message: message.to_owned(),
            replicas: 1,
            is_watched: true,
        };
        assert_eq!(scene.judge(late_from).late, Some(late), "{what}");
    }
}

#[test]
fn a_replica_that_is_not_ready_any_more_is_told_of() {
    let pod = |ready: bool, was_ready: bool| OurPod {
        waits: None,
        waits_since: None,
        ready,
        was_ready,
        ..waiting(PodWait::Creating, Some("n"))
    };
    for (ready, was_ready, is_told) in [
        (true, true, false),
        (false, false, false),
        (false, true, true),
    ] {
        let start = Scene::new(1).with("p", pod(ready, was_ready)).judge(100);
        assert_eq!(start.trouble.is_some(), is_told, "{ready} {was_ready}");
        assert_eq!(start.late, None);
    }
}

#[test]
fn a_replica_that_served_and_keeps_ending_is_told_of_and_left_where_it_is() {
    let mut pod = waiting(
        PodWait::Failing("container main: CrashLoopBackOff".to_owned()),
        Some("n"),
    );
    pod.was_ready = true;
    let start = Scene::new(1).with("p", pod).judge(10_000);
    assert_eq!(start.late, None);
    assert_eq!(
        start.trouble.as_deref(),
        Some("pod p: container main: CrashLoopBackOff")
    );
}

#[test]
fn the_most_decisive_is_told_and_all_that_are_late_count() {
    let scene = Scene::new(0)
        .with("a", waiting(PodWait::Unseen, None))
        .with(
            "b",
            waiting(PodWait::Failing("broken".to_owned()), Some("n")),
        );
    let start = scene.judge(120);
    assert_eq!(start.trouble.as_deref(), Some("pod b: broken"));
    let late = start.late.unwrap();
    assert_eq!((late.reason, late.replicas), (R::StartFailed, 2));
    assert_eq!(
        late.message,
        "pod b and 1 more cannot start in cluster oslo: broken"
    );
}

#[test]
fn pods_that_are_not_made_are_told_of_in_the_words_of_whoever_refuses_them() {
    let mut scene = Scene::new(1);
    assert_eq!(scene.judge(10_000), Start::default(), "nobody has asked");
    scene.inquiry.short_since = Some(at(0));
    assert_eq!(
        scene.judge(599),
        Start::default(),
        "perhaps it is only slow"
    );
    let late = scene.judge(600).late.unwrap();
    assert_eq!((late.reason, late.replicas), (R::PodsNotMade, 1));
    assert!(
        late.message.contains("does not say why"),
        "{}",
        late.message
    );
    scene.inquiry.words = Some("exceeded quota: pods".to_owned());
    let start = scene.judge(119);
    let said = "cluster oslo made 1 of 2 pods of llama-1, which runs this TrainingJob: exceeded quota: pods";
    assert_eq!((start.trouble.as_deref(), start.late), (Some(said), None));
    assert_eq!(scene.judge(120).late.unwrap().message, said);
    let whole = Scene::new(2);
    assert_eq!(whole.judge(10_000), Start::default());
}

#[test]
fn a_call_that_fails_again_and_again_is_told_at_once_and_is_late_after_the_deadline() {
    let mut scene = Scene::new(0);
    scene.has_workload = false;
    for (seconds, late) in [(0, false), (119, false), (120, true)] {
        scene.failing_call = Some(FailingCall {
            words: "its objects cannot be made: webhook answered 500".to_owned(),
            seconds,
        });
        let start = scene.judge(0);
        assert_eq!(
            start.trouble.as_deref(),
            Some("cluster oslo: its objects cannot be made: webhook answered 500")
        );
        assert_eq!(start.late.is_some(), late, "{seconds}");
    }
}
