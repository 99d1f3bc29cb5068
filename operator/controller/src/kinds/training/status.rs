//! The state machine of a TrainingJob: its status follows from its spec, its live attempt and the time.

use ampacity_api::conditions::{ConditionStatus, NewCondition, find_condition};
use ampacity_api::training_job::JobPlacement;
use ampacity_api::{
    ConditionReason, ConditionType, Placement, TrainingJob, TrainingJobState, TrainingJobStatus,
    set_condition,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::attempt::{Machine, TrainingFacts, accrue_placement};
use super::limits::{reached, seconds_left};
use super::work::{remaining_seconds, work_seconds};
use crate::observe::{
    ACCRUE_EVERY_SECONDS, MemberView, Outcome, PlacementView, outcome, reason_column,
};
use crate::state::{Job as _, device_name};

/// Attempts in a row that came to nothing, of which the last could not be started, after which a job has failed.
const MOST_FAILED_STARTS: i32 = 10;
/// The status that follows. Equal to the present one when nothing is to be written.
pub fn next_training_status(job: &TrainingJob, facts: &TrainingFacts<'_>) -> TrainingJobStatus {
    let old = job.status.clone().unwrap_or_default();
    let not_read = |view: &PlacementView<'_>| view.member == MemberView::NotRead;
    if old.state.is_some_and(TrainingJobState::is_finished)
        || facts.placement.as_ref().is_some_and(not_read)
    {
        return old;
    }
    let mut next = Machine {
        job,
        facts,
        status: old.clone(),
    };
    next.step();
    let mut status = next.status;
    status.reason = reason_column(&status.conditions, status.verdict.as_ref());
    // Amounts are written with a change, or when they have become too old; never for their own sake.
    let counted_to = status.accrued_time.as_ref().map(|t| t.0.as_second());
    let stale = counted_to.is_some_and(|t| facts.now.as_second() - t >= ACCRUE_EVERY_SECONDS);
    if (status != old || stale)
        && let Some(view) = &facts.placement
        && view.placement.spec.attempt > status.ended_attempts
    {
        accrue_placement(&mut status, view.placement, facts);
    }
    status
}

impl Machine<'_> {
    fn step(&mut self) {
        if self.status.observed_generation != self.job.metadata.generation {
            // Whatever made it fail may have been put right.
            self.status.failed_attempts = 0;
            self.status.next_attempt_time = None;
        }
        self.status.observed_generation = self.job.metadata.generation;
        match &self.facts.issue {
            Some((reason, message)) => self.set(ConditionType::Valid, false, *reason, message),
            None if self.last_word_stands() => {}
            None => {
                let remark = self.job.remark().unwrap_or_default();
                self.set(
                    ConditionType::Valid,
                    true,
                    ConditionReason::Accepted,
                    &remark,
                );
            }
        }
        match &self.facts.placement {
            Some(view) if view.placement.spec.attempt > self.status.ended_attempts => {
                self.placed(view)
            }
            _ => self.without_place(),
        }
    }

    /// Whether nothing was heard of this very spec since it was found wrong, as after a restart: what was said of it
    /// holds until it is looked at again, or every restart would call the job fine for a moment.
    fn last_word_stands(&self) -> bool {
        self.facts.placement.is_none()
            && self.facts.waiting.is_none()
            && find_condition(&self.status.conditions, ConditionType::Valid).is_some_and(|c| {
                c.status == "False" && c.observed_generation == self.job.metadata.generation
            })
    }

    fn placed(&mut self, view: &PlacementView<'_>) {
        let placement = view.placement;
        self.status.attempts = self.status.attempts.max(placement.spec.attempt);
        self.status.placement = Some(summary(placement));
        self.status.next_attempt_time = None;
        self.status.verdict = None;
        if self.status.accrued_time.is_none() {
            self.status.accrued_time = placement
                .metadata
                .creation_timestamp
                .clone()
                .or(Some(Time(self.facts.now)));
        }
        let spec = &placement.spec;
        let device = device_name(
            &spec.accelerator_type,
            spec.mig_profile.as_deref(),
            spec.millidevices,
        );
        let place = format!("{} on {device}", spec.cluster);
        self.set(ConditionType::Placed, true, ConditionReason::Placed, &place);
        match outcome(view) {
            Outcome::Succeeded => {
                self.end_attempt(placement);
                self.finish(
                    TrainingJobState::Succeeded,
                    ConditionReason::Succeeded,
                    "all replicas succeeded",
                );
            }
            Outcome::ProgramFailed { failures, message } => {
                self.program_failed(placement, failures, &message);
            }
            Outcome::OutOfTime { message } => {
                let mut counted = self.status.clone();
                accrue_placement(&mut counted, placement, self.facts);
                let limit = reached(self.job, &counted, self.facts.now);
                let limit = limit.or_else(|| self.runtime_is_over(placement, &message));
                self.end_attempt(placement);
                match limit {
                    Some((reason, said)) => self.finish(TrainingJobState::Failed, reason, &said),
                    None => self.replace(
                        placement,
                        ConditionReason::ClusterUnreachable,
                        &format!(
                            "its Job in cluster {} had no word from the hub for too long and ended ({message})",
                            placement.spec.cluster
                        ),
                    ),
                }
            }
            Outcome::Failed { reason, message } => {
                self.end_attempt(placement);
                if reason == ConditionReason::Lost {
                    self.back_off();
                }
                self.replace(placement, reason, &message);
            }
            Outcome::NotStarted { reason, message } => {
                self.not_started(placement, reason, &message);
            }
            _ if self.job.spec.suspend => {
                self.end_attempt(placement);
                self.without_place();
            }
            _ if placement.metadata.deletion_timestamp.is_some() => {
                // Somebody took the decision back: an attempt that ended, but no failure of the job.
                self.end_attempt(placement);
                self.status.state = Some(TrainingJobState::Pending);
                self.set(
                    ConditionType::Placed,
                    false,
                    ConditionReason::Replacing,
                    "its Placement was deleted; it is placed again",
                );
                self.set(ConditionType::Running, false, ConditionReason::Stopping, "");
            }
            Outcome::Unknown | Outcome::InProgress if self.past_a_limit(placement) => {}
            Outcome::Unknown => {
                let message = format!("cluster {} cannot be reached", placement.spec.cluster);
                self.keep_checkpoint(&placement.spec.alternative, placement.spec.attempt);
                self.set(
                    ConditionType::Running,
                    ConditionStatus::Unknown,
                    ConditionReason::ClusterUnreachable,
                    &message,
                );
                if self.status.state != Some(TrainingJobState::Running) {
                    self.status.state = Some(TrainingJobState::Starting);
                }
            }
            Outcome::InProgress => self.in_progress(view),
        }
    }

    /// Whether the Job of an attempt ended for the job's longest runtime.
    fn runtime_is_over(
        &self,
        placement: &Placement,
        message: &str,
    ) -> Option<(ConditionReason, String)> {
        let max = self.job.spec.max_runtime_seconds?;
        let placed = placement.metadata.creation_timestamp.as_ref()?;
        let age = self.facts.now.as_second() - placed.0.as_second();
        let left = seconds_left(self.job, placement)?;
        (age >= left).then(|| {
            let said = format!("{message}; spec.maxRuntimeSeconds is {max}");
            (ConditionReason::MaxRuntimeExceeded, said)
        })
    }

    /// Ends a job that has reached its deadline or spent its budget. Its Job in the member does the same while the hub is away.
    fn past_a_limit(&mut self, placement: &Placement) -> bool {
        let mut counted = self.status.clone();
        accrue_placement(&mut counted, placement, self.facts);
        let Some((reason, message)) = reached(self.job, &counted, self.facts.now) else {
            return false;
        };
        self.end_attempt(placement);
        self.finish(TrainingJobState::Failed, reason, &message);
        true
    }

    fn in_progress(&mut self, view: &PlacementView<'_>) {
        let replicas = view.placement.spec.replicas;
        if view.ready() < replicas {
            self.keep_checkpoint(
                &view.placement.spec.alternative,
                view.placement.spec.attempt,
            );
            self.status.state = Some(TrainingJobState::Starting);
            let (reason, message) = if view.workload.is_none() {
                (ConditionReason::Dispatching, String::new())
            } else {
                (ConditionReason::Starting, String::new())
            };
            let message = view.start.trouble.clone().unwrap_or(message);
            return self.set(ConditionType::Running, false, reason, &message);
        }
        self.status.state = Some(TrainingJobState::Running);
        self.set(
            ConditionType::Running,
            true,
            ConditionReason::AllReplicasRunning,
            "",
        );
        self.status.start_time.get_or_insert(Time(self.facts.now));
        let running = self.running_seconds();
        let left = work_seconds(self.job, &view.placement.spec.alternative).map(|all| {
            let work = remaining_seconds(all, self.status.checkpointed_share);
            (work.saturating_add(self.restore_seconds(view.placement.spec.attempt)) - running)
                .max(0)
        });
        if self.status.estimated_completion_time.is_none()
            && let Some(left) = left
            && let Ok(end) = Timestamp::from_second(self.facts.now.as_second().saturating_add(left))
        {
            self.status.estimated_completion_time = Some(Time(end));
        }
        let ran = self.status.run_seconds.saturating_add(running);
        if let Some(limit) = self.job.spec.max_runtime_seconds
            && ran >= limit
        {
            self.end_attempt(view.placement);
            let message = format!("it ran for {ran} s; spec.maxRuntimeSeconds is {limit}");
            self.finish(
                TrainingJobState::Failed,
                ConditionReason::MaxRuntimeExceeded,
                &message,
            );
        }
    }

    fn program_failed(&mut self, placement: &Placement, failures: i32, message: &str) {
        let max = self.job.spec.max_restarts;
        self.end_attempt(placement);
        // All but the last of them were answered by a start within the member.
        let restarts = self.status.restarts.saturating_add(failures - 1);
        if restarts >= max {
            self.status.restarts = restarts.min(max);
            let message = format!(
                "attempt {} failed ({message}) and spec.maxRestarts is {max}",
                placement.spec.attempt
            );
            return self.finish(
                TrainingJobState::Failed,
                ConditionReason::MaxRestartsExceeded,
                &message,
            );
        }
        self.status.restarts = restarts + 1;
        let failed = self.back_off();
        self.pause(failed);
        self.replace(placement, ConditionReason::ReplicaFailed, message);
    }

    /// The cluster would not have it, or could not start it. That uses up no restart; but an image that no cluster can start is
    /// not tried for ever.
    fn not_started(&mut self, placement: &Placement, reason: ConditionReason, message: &str) {
        self.end_attempt(placement);
        let failed = self.back_off();
        if reason == ConditionReason::StartFailed && failed >= MOST_FAILED_STARTS {
            let message =
                format!("{failed} attempts in a row came to nothing; the last: {message}");
            return self.finish(TrainingJobState::Failed, reason, &message);
        }
        // The cluster is avoided for a while; another may be tried at once.
        self.pause(failed - 1);
        self.replace(placement, reason, message);
    }

    /// The attempt is over, and the job is placed again.
    fn replace(&mut self, placement: &Placement, reason: ConditionReason, message: &str) {
        self.status.state = Some(TrainingJobState::Pending);
        self.set(
            ConditionType::Placed,
            false,
            ConditionReason::Replacing,
            &match &self.status.next_attempt_time {
                Some(next) => format!(
                    "attempt {} ended: {message}; the next begins at {} at the earliest",
                    placement.spec.attempt, next.0
                ),
                None => format!("attempt {} ended: {message}", placement.spec.attempt),
            },
        );
        self.set(ConditionType::Running, false, reason, message);
        if self.job.spec.suspend {
            self.without_place();
        }
    }

    fn without_place(&mut self) {
        if self.status.attempts > self.status.ended_attempts {
            self.forget_attempt();
        }
        self.status.accrued_time = None;
        if self.job.spec.suspend {
            self.status.state = Some(TrainingJobState::Suspended);
            self.status.verdict = None;
            self.set(
                ConditionType::Placed,
                false,
                ConditionReason::Suspended,
                "spec.suspend is true",
            );
            return self.set(
                ConditionType::Running,
                false,
                ConditionReason::Suspended,
                "",
            );
        }
        self.status.state = Some(TrainingJobState::Pending);
        if let Some((reason, message)) = &self.facts.issue {
            self.status.verdict = None;
            self.set(ConditionType::Placed, false, *reason, message);
        } else if let Some((verdict, message)) = &self.facts.waiting {
            self.status.verdict = Some(verdict.clone());
            self.set(
                ConditionType::Placed,
                false,
                ConditionReason::NoCandidate,
                message,
            );
        } else if !self.last_word_stands()
            && !self.is_reason(
                ConditionType::Placed,
                &[ConditionReason::Replacing, ConditionReason::NoCandidate],
            )
        {
            // Not tried yet. Where it was tried before a restart, the answer of then stands until the next.
            self.set(ConditionType::Placed, false, ConditionReason::Queued, "");
        }
        let ran = find_condition(&self.status.conditions, ConditionType::Running);
        // Why it stopped running stays, but a job that was resumed is suspended no more.
        if ran.is_none_or(|c| c.status != "False")
            || self.is_reason(ConditionType::Running, &[ConditionReason::Suspended])
        {
            self.set(
                ConditionType::Running,
                false,
                ConditionReason::NotPlaced,
                "",
            );
        }
    }

    fn is_reason(&self, type_: ConditionType, reasons: &[ConditionReason]) -> bool {
        find_condition(&self.status.conditions, type_)
            .is_some_and(|c| reasons.iter().any(|r| c.reason == r.as_str()))
    }

    fn finish(&mut self, state: TrainingJobState, reason: ConditionReason, message: &str) {
        self.status.state = Some(state);
        self.status.completion_time = Some(Time(self.facts.now));
        self.status.verdict = None;
        self.set(ConditionType::Placed, false, ConditionReason::Released, "");
        self.set(ConditionType::Running, false, reason, message);
        self.set(ConditionType::Finished, true, reason, message);
    }

    fn set(
        &mut self,
        type_: ConditionType,
        status: impl Into<ConditionStatus>,
        reason: ConditionReason,
        message: &str,
    ) {
        let status = status.into();
        if type_ == ConditionType::Running && status != ConditionStatus::True {
            // The condition will no longer say since when it ran.
            self.status.run_seconds = self
                .status
                .run_seconds
                .saturating_add(self.running_seconds());
        }
        let condition = NewCondition::new(type_, status, reason)
            .message(message)
            .observed_generation(self.job.metadata.generation);
        set_condition(
            &mut self.status.conditions,
            condition,
            &Time(self.facts.now),
        );
    }
}

fn summary(placement: &Placement) -> JobPlacement {
    let spec = &placement.spec;
    JobPlacement {
        name: placement.metadata.name.clone().unwrap_or_default(),
        cluster: spec.cluster.clone(),
        accelerator_type: spec.accelerator_type.clone(),
        capacity_type: Some(spec.capacity_type),
        alternative: spec.alternative.clone(),
        devices: i64::from(spec.devices_per_replica) * i64::from(spec.replicas),
        mig_profile: spec.mig_profile.clone(),
        millidevices: spec.millidevices,
        usd_per_hour: spec.usd_per_hour,
        watts: spec.watts,
    }
}
