//! The verdict on a job that waits: why not now, and when.

use super::promises::Promises;
use super::window::Window;
use crate::explain::MOST_REASONS;
use crate::fleet::Fleet;
use crate::model::{Fix, Kind, PlanOptions, Reason, Refusal, Unplaced};
use crate::schedule::{FutureStart, PendingJob};

impl Promises {
    /// The verdict on a job that waits. Nothing is held against it but what was promised before its turn.
    pub(crate) fn verdict(
        &mut self,
        fleet: &mut Fleet,
        waits: &PendingJob<'_>,
        options: &PlanOptions,
    ) -> Unplaced {
        let later = self.spans.get(waits.keeps..).unwrap_or_default().to_vec();
        let mut window = Window::new(fleet, later, &mut self.moved);
        window.show(|_| false);
        let mut verdict = window.fleet.explain(waits.job, waits.shortfall, options);
        drop(window);
        if self.keep_back(fleet, waits, options.now_seconds) {
            let gangs = u64::try_from(waits.keeps).unwrap_or(u64::MAX);
            let refusal = Refusal {
                reason: Reason::Promised { gangs },
                cluster: None,
                alternative: None,
                count: 1,
            };
            verdict.reasons.insert(0, refusal);
            verdict.reasons.truncate(MOST_REASONS);
        }
        verdict
    }

    /// Whether a gang had room if nothing were promised.
    fn keep_back(&mut self, fleet: &mut Fleet, waits: &PendingJob<'_>, now_seconds: i64) -> bool {
        let job = waits.job;
        if waits.keeps == 0
            || self.spans.is_empty()
            || self.is_spent()
            || matches!(job.kind, Kind::Inference { .. })
        {
            return false;
        }
        let mut window = Window::new(fleet, self.spans.clone(), &mut self.moved);
        window.show(|_| false);
        let candidates = window.fleet.candidates(job);
        let candidates = candidates.iter().map(|candidate| (candidate, None));
        window
            .fleet
            .best_gang(job, candidates, now_seconds)
            .is_some()
    }
}

impl FutureStart {
    /// Says in a verdict what lies ahead.
    pub(crate) fn tell(&self, unplaced: &mut Unplaced) {
        let start_seconds = self.decision.start_seconds;
        if start_seconds <= 0 {
            return; // It is late even if it starts now: the verdict says so already.
        }
        unplaced.earliest_start_seconds = Some(start_seconds);
        if self.late_seconds == 0 {
            // A setting that is changed lets it start now; to wait is less than to find it other devices.
            if let None | Some(Fix::AddNodes { .. } | Fix::FreeDevices { .. } | Fix::ChangeJob) =
                unplaced.fix
            {
                unplaced.fix = Some(Fix::WaitUntil { start_seconds });
            }
            return;
        }
        let late = Refusal {
            reason: Reason::DeadlineMissed {
                late_seconds: self.late_seconds,
            },
            cluster: Some(self.decision.reservation.cluster.clone()),
            alternative: Some(self.decision.alternative.clone()),
            count: 1,
        };
        // Counted from the earliest start, not from now.
        let older = |refusal: &Refusal| matches!(refusal.reason, Reason::DeadlineMissed { .. });
        unplaced.reasons.retain(|refusal| !older(refusal));
        unplaced.reasons.insert(0, late);
        unplaced.reasons.truncate(MOST_REASONS);
        unplaced.fix = Some(Fix::ExtendDeadline {
            by_seconds: self.late_seconds,
        });
    }
}
