//! The verdict on a job that waits: why not now, and when.

use super::promises::Promises;
use super::window::Window;
use crate::explain::MOST_REASONS;
use crate::fleet::Fleet;
use crate::model::{Fix, PlanOptions, Reason, Refusal, Unplaced};
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
        if let Some((reasons, is_cut)) = self.reasons_now(fleet, waits, options) {
            verdict.reasons = reasons;
            verdict.reasons_cut = is_cut;
        }
        verdict
    }

    /// Why a job that comes after promises does not start now, in numbers of now: what was promised is free until then, and
    /// where that is all that is in its way, the promise is the reason. `None` where nothing was promised before its turn.
    fn reasons_now(
        &mut self,
        fleet: &mut Fleet,
        waits: &PendingJob<'_>,
        options: &PlanOptions,
    ) -> Option<(Vec<Refusal>, bool)> {
        if waits.keeps == 0 || self.spans.is_empty() || self.is_spent() {
            return None;
        }
        let gangs = u64::try_from(waits.keeps).unwrap_or(u64::MAX);
        let mut window = Window::new(fleet, self.spans.clone(), &mut self.moved);
        window.show(|_| false);
        let fleet = &*window.fleet;
        let (reasons, is_cut, _) = fleet.reasons(waits.job, waits.shortfall, options, Some(gangs));
        Some((reasons, is_cut))
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
            // A setting that is changed lets it start now; to wait is less than to find it other devices, or as many watts as
            // were promised to others.
            let waits = match &unplaced.fix {
                None | Some(Fix::AddNodes { .. } | Fix::FreeDevices { .. } | Fix::ChangeJob) => {
                    true
                }
                Some(fix) => raises_for_promises(fix, &unplaced.reasons),
            };
            if waits {
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

/// Whether a limit on watts would have to be raised by more than is short now: by what was promised to others, too.
fn raises_for_promises(fix: &Fix, reasons: &[Refusal]) -> bool {
    let (limit, by) = match fix {
        Fix::RaisePowerDomain { domain, by_watts } => (domain, *by_watts),
        Fix::RaisePowerBudget { budget, by_watts } => (budget, *by_watts),
        Fix::RaisePowerLimits { limits } => {
            return limits.iter().any(|fix| raises_for_promises(fix, reasons));
        }
        _ => return false,
    };
    let is_short_now = |refusal: &Refusal| match &refusal.reason {
        Reason::PowerDomainExceeded {
            domain: name,
            needed_watts,
            headroom_watts,
        }
        | Reason::PowerBudgetExceeded {
            budget: name,
            needed_watts,
            headroom_watts,
        } => name == limit && *needed_watts - *headroom_watts >= by,
        _ => false,
    };
    !reasons.iter().any(is_short_now)
}
