//! What an attempt of a TrainingJob leaves behind: what it cost, what it saved, how long the next one waits.

use ampacity_api::conditions::find_condition;
use ampacity_api::{
    ConditionReason, ConditionType, Decimal, Placement, TrainingJob, TrainingJobStatus, Verdict,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::work::work_seconds;
use crate::observe::{Meter, PlacementView, accrue};
use crate::state::ClockSteps;

/// Pause after the first of several attempts that came to nothing, as for pods of a Job (kubernetes/pkg/controller/job).
const FIRST_PAUSE_SECONDS: i64 = 10;
/// Longest pause.
const LONGEST_PAUSE_SECONDS: i64 = 300;
/// An attempt that ran for so long came to something, as a container does for a kubelet.
const LONG_ENOUGH_SECONDS: i64 = 600;

/// Counts what a placement costs until now.
pub(super) fn accrue_placement(
    status: &mut TrainingJobStatus,
    placement: &Placement,
    facts: &TrainingFacts<'_>,
) {
    let meter = Meter {
        usd_micro_per_hour: placement.spec.usd_per_hour.micros(),
        watts: placement.spec.watts,
    };
    accrue(
        &mut status.usd_accrued,
        &mut status.watt_hours,
        &mut status.accrued_time,
        meter,
        facts.steps,
        facts.now,
    );
}

/// What a status is worked out from, beside the job itself.
pub struct TrainingFacts<'a> {
    /// The newest placement of this job, if there is one.
    pub placement: Option<PlacementView<'a>>,
    /// What is wrong with the job, if anything.
    pub issue: Option<(ConditionReason, String)>,
    /// Why it waits, if the engine has said so.
    pub waiting: Option<(Verdict, String)>,
    /// Jumps of the clock until now.
    pub steps: &'a ClockSteps,
    /// Now.
    pub now: Timestamp,
}

/// A job's status on its way to the next.
pub(super) struct Machine<'a> {
    pub(super) job: &'a TrainingJob,
    pub(super) facts: &'a TrainingFacts<'a>,
    pub(super) status: TrainingJobStatus,
}

impl Machine<'_> {
    /// One more attempt in a row came to nothing; returns how many did.
    pub(super) fn back_off(&mut self) -> i32 {
        self.status.failed_attempts = self.status.failed_attempts.saturating_add(1);
        self.status.failed_attempts
    }

    /// The next attempt begins after a pause that doubles with each that failed.
    pub(super) fn pause(&mut self, failed: i32) {
        let doublings = u32::try_from(failed.clamp(0, 16) - 1);
        let seconds =
            doublings.map_or(0, |n| (FIRST_PAUSE_SECONDS << n).min(LONGEST_PAUSE_SECONDS));
        let next = Timestamp::from_second(self.facts.now.as_second().saturating_add(seconds));
        self.status.next_attempt_time = next.ok().filter(|_| seconds > 0).map(Time);
    }

    /// From here on the placement holds nothing for this job, whatever happens to the operator.
    pub(super) fn end_attempt(&mut self, placement: &Placement) {
        self.keep_checkpoint(&placement.spec.alternative, placement.spec.attempt);
        accrue_placement(&mut self.status, placement, self.facts);
        if self.running_seconds() >= LONG_ENOUGH_SECONDS {
            self.status.failed_attempts = 0;
        }
        self.status.last_placement = self.status.placement.take();
        self.status.accrued_time = None;
        self.status.estimated_completion_time = None;
        self.status.ended_attempts = self.status.ended_attempts.max(placement.spec.attempt);
    }

    /// All replicas ran until now and do no longer, or nobody knows: what they saved meanwhile is kept. It is counted
    /// here rather than at the end of the attempt, because the Running condition then no longer says since when.
    pub(super) fn keep_checkpoint(&mut self, alternative: &str, attempt: i32) {
        let interval = self
            .job
            .spec
            .checkpoint
            .as_ref()
            .map_or(0, |c| c.interval_seconds);
        let all = work_seconds(self.job, alternative).unwrap_or(0);
        if interval <= 0 || all <= 0 {
            return;
        }
        let worked = (self.running_seconds() - self.restore_seconds(attempt)).max(0);
        let saved = worked / interval * interval;
        if saved == 0 {
            return;
        }
        let done = self.status.checkpointed_share.map_or(0, |s| s.micros());
        let gained =
            i64::try_from(i128::from(saved) * 1_000_000 / i128::from(all)).unwrap_or(1_000_000);
        self.status.checkpointed_share = Some(Decimal::from_micros(
            done.saturating_add(gained).clamp(0, 1_000_000),
        ));
    }

    /// Seconds that the attempt spends on loading a checkpoint before it works on.
    pub(super) fn restore_seconds(&self, attempt: i32) -> i64 {
        let restores = attempt > 1
            && self
                .status
                .checkpointed_share
                .is_some_and(|s| s.micros() > 0);
        let seconds = self
            .job
            .spec
            .checkpoint
            .as_ref()
            .map_or(0, |c| c.restore_seconds);
        if restores { seconds.max(0) } else { 0 }
    }

    /// The Placement is gone without a word, its finalizer forced off: that attempt is over too.
    pub(super) fn forget_attempt(&mut self) {
        self.back_off();
        self.pause(self.status.failed_attempts - 1);
        if let Some(held) = self.status.placement.take() {
            self.keep_checkpoint(&held.alternative, self.status.attempts);
            let meter = Meter {
                usd_micro_per_hour: held.usd_per_hour.micros(),
                watts: held.watts,
            };
            accrue(
                &mut self.status.usd_accrued,
                &mut self.status.watt_hours,
                &mut self.status.accrued_time,
                meter,
                self.facts.steps,
                self.facts.now,
            );
            self.status.last_placement = Some(held);
        }
        self.status.estimated_completion_time = None;
        self.status.ended_attempts = self.status.ended_attempts.max(self.status.attempts);
    }

    /// Seconds for which the present attempt has been running.
    pub(super) fn running_seconds(&self) -> i64 {
        self.running_since().map_or(0, |since| {
            self.facts.steps.seconds_since(since, self.facts.now)
        })
    }

    /// Since when all replicas run, if they do.
    pub(super) fn running_since(&self) -> Option<Timestamp> {
        find_condition(&self.status.conditions, ConditionType::Running)
            .filter(|c| c.status == "True")
            .map(|c| c.last_transition_time.0)
    }
}
