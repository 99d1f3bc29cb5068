//! A job in a scene: facts are changed, time passes, the status follows, as the operator would drive it. Every step
//! checks what must hold whatever happens.

use std::collections::BTreeMap;

use ampacity_api::conditions::find_condition;
use ampacity_api::placement::{DeviceResource, JobRef, NodeReplicas};
use ampacity_api::verdict::VerdictReason;
use ampacity_api::{
    CapacityType, ConditionReason, ConditionType, Decimal, InferenceJob, InferenceJobStatus,
    JobKind, Placement, PlacementSpec, TrainingJob, TrainingJobState, TrainingJobStatus, Verdict,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::inference::events::inference_happenings;
use super::inference::status::{InferenceFacts, inference_status};
use super::training::attempt::TrainingFacts;
use super::training::events::training_happenings;
use super::training::status::next_training_status;
use crate::observe::{Known, Late, MemberView, PlacementView, Start};
use crate::runtime::Happening;
use crate::state::{ClockSteps, OurPod, Workload};

/// Second at which every scene begins.
pub(crate) const START: i64 = 1_750_000_000;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

pub(crate) fn yaml<T: DeserializeOwned>(text: &str) -> T {
    serde_saphyr::from_str(text).unwrap()
}

/// Four replicas of eight devices, 80.4 USD and 36,000 W for all, an hour of work.
pub(crate) const GANG: &str = "
estimatedDurationSeconds: 3600
maxRestarts: 2
checkpoint: {intervalSeconds: 600, restoreSeconds: 100}
alternatives: [{name: h100, acceleratorType: nvidia-h100-sxm5-80gb, devicesPerReplica: 8, replicas: 4, image: i}]";

/// A verdict whose first reason is `reason`.
pub(crate) fn verdict(reason: &str, needed: i64) -> (Verdict, String) {
    let reason = VerdictReason {
        reason: reason.to_owned(),
        count: 1,
        needed: Some(needed),
        ..VerdictReason::default()
    };
    let message = format!("{}: {needed} needed", reason.reason);
    let verdict = Verdict {
        earliest_start_time: None,
        reasons: vec![reason],
        fix: None,
    };
    (verdict, message)
}

pub(crate) fn placement(kind: JobKind, job: &str, attempt: i32, replicas: i32) -> Placement {
    let spec = PlacementSpec {
        job_ref: JobRef {
            kind,
            name: job.to_owned(),
            uid: "job-uid".to_owned(),
        },
        attempt,
        epoch: 1,
        cluster: "oslo".to_owned(),
        alternative: "h100".to_owned(),
        accelerator_type: "nvidia-h100-sxm5-80gb".to_owned(),
        capacity_type: CapacityType::Owned,
        devices_per_replica: 8,
        mig_profile: None,
        millidevices: None,
        replicas,
        nodes: (0..replicas)
            .map(|n| NodeReplicas {
                name: format!("node-{n}"),
                replicas: 1,
            })
            .collect(),
        resource: DeviceResource {
            resource_name: Some("nvidia.com/gpu".to_owned()),
            device_class_name: None,
        },
        power_cap_watts: None,
        watts: 9_000 * i64::from(replicas),
        power_domains: Vec::new(),
        usd_per_hour: Decimal::from_micros(20_100_000 * i64::from(replicas)),
        price_sheet: None,
    };
    let mut placement = Placement::new(&format!("{job}-{attempt}"), spec);
    placement.metadata.namespace = Some("research".to_owned());
    placement
}

pub(crate) fn pod(ready: bool) -> OurPod {
    OurPod {
        uid: "pod-uid".to_owned(),
        rank: None,
        node: Some("node".to_owned()),
        gated: false,
        ready,
        succeeded: false,
        failed: false,
        terminating: false,
        disrupted: false,
        waits: None,
        waits_since: None,
        was_ready: false,
        rejected: None,
    }
}

/// A Job of a member with one true condition.
pub(crate) fn member_job(condition: Option<(&str, &str)>) -> Workload {
    let conditions: Vec<_> = condition
        .iter()
        .map(|(type_, message)| json!({"type": type_, "status": "True", "message": message}))
        .collect();
    serde_json::from_value(json!({"metadata": {}, "status": {"conditions": conditions}})).unwrap()
}

/// What a member shows of one placement.
pub(crate) struct Stage {
    pub(crate) placement: Placement,
    pub(crate) member: MemberView,
    pub(crate) workload: Option<Workload>,
    pub(crate) pods: BTreeMap<String, OurPod>,
    pub(crate) lost_node: Option<String>,
    pub(crate) start: Start,
    pub(crate) was_dispatched: bool,
    pub(crate) refused: Option<String>,
}

impl Stage {
    pub(crate) fn new(placement: Placement) -> Self {
        Self {
            placement,
            member: MemberView::Current,
            workload: None,
            pods: BTreeMap::new(),
            lost_node: None,
            start: Start::default(),
            was_dispatched: false,
            refused: None,
        }
    }

    pub(crate) fn view(&self) -> PlacementView<'_> {
        PlacementView {
            placement: &self.placement,
            member: self.member.clone(),
            workload: self.workload.as_ref(),
            pods: Some(&self.pods),
            lost_nodes: self.lost_node.iter().cloned().collect(),
            has_failing_nodes: self.lost_node.is_some(),
            start: self.start.clone(),
            known: Known {
                was_dispatched: self.was_dispatched,
                refused: self.refused.as_deref(),
                inquiry: None,
                failing_call: None,
            },
        }
    }

    /// So many replicas have not started in time.
    pub(crate) fn late(&mut self, reason: ConditionReason, message: &str, replicas: i32) {
        self.start = Start {
            trouble: Some(message.to_owned()),
            late: Some(Late {
                reason,
                message: message.to_owned(),
                replicas,
                is_watched: true,
            }),
        };
    }

    /// The Job is there, and so many of its pods are ready.
    pub(crate) fn pods(&mut self, ready: i32) -> &mut Self {
        self.workload = Some(member_job(None));
        self.was_dispatched = true;
        self.pods = (0..self.placement.spec.replicas)
            .map(|n| {
                let node = Some(format!("node-{n}"));
                let pod = OurPod {
                    node,
                    ..pod(n < ready)
                };
                (format!("pod-{n}"), pod)
            })
            .collect();
        self
    }
}

/// A TrainingJob and everything its status follows from.
pub(crate) struct TrainingScene {
    pub(crate) job: TrainingJob,
    pub(crate) stage: Option<Stage>,
    pub(crate) issue: Option<(ConditionReason, String)>,
    pub(crate) waiting: Option<(Verdict, String)>,
    /// Seconds since [`START`].
    pub(crate) second: i64,
    /// What was told, all of it.
    pub(crate) told: Vec<Happening>,
}

impl TrainingScene {
    pub(crate) fn new(spec: &str) -> Self {
        let mut job = TrainingJob::new("llama", yaml(spec));
        job.metadata.namespace = Some("research".to_owned());
        job.metadata.generation = Some(1);
        Self {
            job,
            stage: None,
            issue: None,
            waiting: None,
            second: 0,
            told: Vec::new(),
        }
    }

    pub(crate) fn gang() -> Self {
        Self::new(GANG)
    }

    /// A gang whose first attempt runs since second 0.
    pub(crate) fn running() -> Self {
        let mut scene = Self::gang();
        scene.place();
        scene.stage().pods(4);
        scene.step(0);
        scene
    }

    /// A Placement of the next attempt is written now.
    pub(crate) fn place(&mut self) {
        let attempt = self.status().attempts + 1;
        let mut placement = placement(JobKind::TrainingJob, "llama", attempt, 4);
        placement.metadata.creation_timestamp = Some(Time(at(self.second)));
        self.waiting = None;
        self.stage = Some(Stage::new(placement));
    }

    pub(crate) fn stage(&mut self) -> &mut Stage {
        self.stage.as_mut().unwrap()
    }

    pub(crate) fn suspend(&mut self, suspend: bool) {
        self.job.spec.suspend = suspend;
        self.job.metadata.generation = self.job.metadata.generation.map(|g| g + 1);
        self.waiting = None;
        self.issue = None;
    }

    pub(crate) fn status(&self) -> TrainingJobStatus {
        self.job.status.clone().unwrap_or_default()
    }

    /// `seconds` pass, and the status that follows is written.
    pub(crate) fn step(&mut self, seconds: i64) -> TrainingJobStatus {
        self.second += seconds;
        let before = self.job.status.clone();
        let after = self.next();
        check_training(&before.clone().unwrap_or_default(), &after);
        self.told
            .extend(training_happenings(&self.job, before.as_ref(), &after));
        self.job.status = Some(after.clone());
        assert_eq!(self.next(), after, "written again at the same second");
        assert_eq!(
            training_happenings(&self.job, Some(&after), &after),
            [],
            "nothing happened"
        );
        after
    }

    fn next(&self) -> TrainingJobStatus {
        let steps = ClockSteps::default();
        let ended = self.status().ended_attempts;
        let live = self
            .stage
            .as_ref()
            .filter(|s| s.placement.spec.attempt > ended);
        let facts = TrainingFacts {
            placement: live.map(Stage::view),
            issue: self.issue.clone(),
            waiting: self.waiting.clone(),
            steps: &steps,
            now: at(self.second),
        };
        next_training_status(&self.job, &facts)
    }

    /// What was told since the last time.
    pub(crate) fn news(&mut self) -> Vec<String> {
        lines(std::mem::take(&mut self.told))
    }
}

/// Happenings as lines of text.
pub(crate) fn lines(told: Vec<Happening>) -> Vec<String> {
    told.into_iter()
        .map(|h| format!("{} {} {}: {}", h.type_.as_str(), h.action, h.reason, h.note))
        .collect()
}

/// State, and `type=status/reason` of Placed, Running and Finished where they are there.
pub(crate) fn brief(state: Option<&str>, conditions: &[Condition]) -> String {
    let mut words = vec![state.unwrap_or("-").to_owned()];
    for type_ in [
        ConditionType::Placed,
        ConditionType::Running,
        ConditionType::Finished,
    ] {
        if let Some(c) = find_condition(conditions, type_) {
            words.push(format!("{}={}/{}", c.type_, c.status, c.reason));
        }
    }
    words.join(" ")
}

pub(crate) fn training_brief(status: &TrainingJobStatus) -> String {
    brief(
        status.state.map(TrainingJobState::as_str),
        &status.conditions,
    )
}

fn status_of(conditions: &[Condition], type_: ConditionType) -> &str {
    find_condition(conditions, type_).map_or("", |c| c.status.as_str())
}

/// What holds between any two statuses that follow each other.
fn check_training(before: &TrainingJobStatus, after: &TrainingJobStatus) {
    let finished = |s: &TrainingJobStatus| s.state.is_some_and(TrainingJobState::is_finished);
    if finished(before) {
        assert_eq!(before, after, "a finished job never changes");
    }
    assert!(after.usd_accrued >= before.usd_accrued, "dollars fell");
    assert!(after.watt_hours >= before.watt_hours, "watt-hours fell");
    assert!(after.attempts >= before.attempts);
    assert!(after.ended_attempts >= before.ended_attempts);
    assert!(after.ended_attempts <= after.attempts);
    assert!(after.restarts >= before.restarts);
    assert!(after.checkpointed_share >= before.checkpointed_share);
    assert!(
        after
            .checkpointed_share
            .is_none_or(|s| (0..=1_000_000).contains(&s.micros()))
    );
    assert!(before.start_time.is_none() || after.start_time == before.start_time);
    let holds = after.attempts > after.ended_attempts;
    assert_eq!(after.accrued_time.is_some(), holds, "{after:#?}");
    let placed = status_of(&after.conditions, ConditionType::Placed);
    assert_eq!(placed == "True", holds, "{after:#?}");
    assert!(holds || after.estimated_completion_time.is_none());
    let running = status_of(&after.conditions, ConditionType::Running);
    match after.state.unwrap() {
        TrainingJobState::Pending => assert!(!holds && running == "False"),
        TrainingJobState::Starting => assert!(holds && running != "True"),
        TrainingJobState::Running => assert!(holds && running != "False"),
        TrainingJobState::Suspended => assert!(!holds && running == "False"),
        TrainingJobState::Succeeded | TrainingJobState::Failed => {
            assert!(!holds && running == "False" && after.completion_time.is_some());
        }
    }
    assert_eq!(
        finished(after),
        status_of(&after.conditions, ConditionType::Finished) == "True"
    );
    assert!(after.verdict.is_none() || after.state == Some(TrainingJobState::Pending));
}

/// An InferenceJob and everything its status follows from.
pub(crate) struct InferenceScene {
    pub(crate) job: InferenceJob,
    pub(crate) stages: Vec<Stage>,
    attempts: i32,
    pub(crate) issue: Option<(ConditionReason, String)>,
    pub(crate) waiting: Option<(Verdict, String)>,
    /// Seconds since [`START`].
    pub(crate) second: i64,
    /// What was told, all of it.
    pub(crate) told: Vec<Happening>,
}

impl InferenceScene {
    pub(crate) fn new(replicas: i32) -> Self {
        let mut job = InferenceJob::new(
            "chat",
            yaml(&format!(
                "{{replicas: {replicas}, alternatives: [{{name: h100, acceleratorType: nvidia-h100-sxm5-80gb, devicesPerReplica: 8, image: i}}]}}"
            )),
        );
        job.metadata.namespace = Some("research".to_owned());
        job.metadata.generation = Some(1);
        Self {
            job,
            stages: Vec::new(),
            attempts: 0,
            issue: None,
            waiting: None,
            second: 0,
            told: Vec::new(),
        }
    }

    /// One more placement, of so many replicas in a cluster.
    pub(crate) fn place(&mut self, cluster: &str, replicas: i32) -> &mut Stage {
        self.attempts += 1;
        let mut placement = placement(JobKind::InferenceJob, "chat", self.attempts, replicas);
        placement.spec.cluster = cluster.to_owned();
        self.stages.push(Stage::new(placement));
        self.stages.last_mut().unwrap()
    }

    pub(crate) fn views(&self) -> Vec<PlacementView<'_>> {
        self.stages.iter().map(Stage::view).collect()
    }

    pub(crate) fn status(&self) -> InferenceJobStatus {
        self.job.status.clone().unwrap_or_default()
    }

    /// `seconds` pass, and the status that follows is written.
    pub(crate) fn step(&mut self, seconds: i64) -> InferenceJobStatus {
        self.second += seconds;
        let before = self.job.status.clone();
        let after = self.next();
        let old = before.clone().unwrap_or_default();
        assert!(after.usd_accrued >= old.usd_accrued, "dollars fell");
        assert!(after.watt_hours >= old.watt_hours, "watt-hours fell");
        assert_eq!(after.accrued_time.is_some(), !self.stages.is_empty());
        self.told
            .extend(inference_happenings(&self.job, before.as_ref(), &after));
        self.job.status = Some(after.clone());
        assert_eq!(self.next(), after, "written again at the same second");
        assert_eq!(
            inference_happenings(&self.job, Some(&after), &after),
            [],
            "nothing happened"
        );
        after
    }

    fn next(&self) -> InferenceJobStatus {
        let steps = ClockSteps::default();
        let facts = InferenceFacts {
            placements: self.views(),
            issue: self.issue.clone(),
            waiting: self.waiting.clone(),
            steps: &steps,
            now: at(self.second),
        };
        inference_status(&self.job, &facts)
    }

    /// State and conditions of the status in one line.
    pub(crate) fn brief(&self) -> String {
        let status = self.status();
        brief(status.state.map(|s| s.as_str()), &status.conditions)
    }

    /// What was told since the last time.
    pub(crate) fn news(&mut self) -> Vec<String> {
        lines(std::mem::take(&mut self.told))
    }
}
