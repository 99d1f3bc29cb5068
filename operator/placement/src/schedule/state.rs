//! What one cycle has assigned so far, job by job, so that it can be moved about and taken back.

use super::entry::{Assignment, Entry, GangPlacement, PendingJob};
use crate::candidates::Classes;
use crate::fleet::Fleet;
use crate::model::{JobSpec, Kind, Plan, PlanOptions};
use crate::nodes::{FeasiblePlacement, Shortfall};

/// What a cycle has assigned so far.
pub(crate) struct Schedule<'a, 'f> {
    /// The fleet, with what is placed reserved.
    pub(crate) fleet: &'f mut Fleet,
    /// Jobs in the order in which they are taken.
    pub(crate) entries: Vec<Entry<'a>>,
    /// What could run them.
    pub(crate) classes: Classes,
    /// Now, Unix seconds.
    pub(crate) now_seconds: i64,
    /// Starts up to so many seconds from now are asked for.
    pub(crate) horizon_seconds: i64,
}

impl<'a, 'f> Schedule<'a, 'f> {
    /// A cycle over valid jobs in the order in which they are to be taken.
    pub(crate) fn new(fleet: &'f mut Fleet, jobs: &[&'a JobSpec], options: &PlanOptions) -> Self {
        for job in jobs {
            if matches!(job.kind, Kind::Training { .. }) {
                fleet.prepare(job);
            }
        }
        let (classes, of) = Classes::sort(fleet, jobs);
        let entries = jobs
            .iter()
            .zip(of)
            .map(|(&job, class)| Entry {
                job,
                class,
                assignments: Vec::new(),
                shortfall: None,
                future_start: None,
                keeps: 0,
            })
            .collect();
        Self {
            fleet,
            entries,
            classes,
            now_seconds: options.now_seconds,
            horizon_seconds: options.horizon_seconds,
        }
    }

    /// Places what fits of an inference job.
    pub(crate) fn fill_in(&mut self, at: usize) {
        let Some(entry) = self.entries.get_mut(at) else {
            return;
        };
        let filled = self.fleet.place_replicas(entry.job);
        let spent_per_hour = filled
            .decisions
            .iter()
            .map(|decision| decision.usd_per_hour.0)
            .fold(0, i64::saturating_add);
        let assignment = |decision| Assignment {
            decision,
            placement: None,
        };
        entry.assignments = filled.decisions.into_iter().map(assignment).collect();
        entry.shortfall = (filled.shortfall > 0).then_some(Shortfall {
            replicas: filled.shortfall,
            spent_per_hour,
        });
    }

    /// Gives a gang what was found for it.
    pub(crate) fn assign(&mut self, at: usize, found: Option<FeasiblePlacement>) -> bool {
        let Some(entry) = self.entries.get_mut(at) else {
            return false;
        };
        let found = found.and_then(|mut found| {
            let decision = self.fleet.decision(entry.job, &mut found)?;
            Some((found, decision))
        });
        entry.shortfall = found.is_none().then_some(Shortfall::default());
        let Some((found, mut decision)) = found else {
            return false;
        };
        let duration = decision.duration_seconds;
        decision.reservation.ends_seconds =
            duration.map(|seconds| self.now_seconds.saturating_add(seconds));
        self.fleet
            .reserve_on(decision.reservation.clone(), found.nodes());
        let placement = Some(GangPlacement {
            alternative: found.alternative,
            group: found.group,
            score: found.score,
            allocations: found.allocations,
        });
        entry.assignments.push(Assignment {
            decision,
            placement,
        });
        true
    }

    /// Takes back what a job has.
    pub(crate) fn unassign(&mut self, at: usize) -> Vec<Assignment> {
        let Some(entry) = self.entries.get_mut(at) else {
            return Vec::new();
        };
        let assignments = std::mem::take(&mut entry.assignments);
        for assignment in &assignments {
            self.fleet.release(&assignment.decision.reservation.key);
        }
        assignments
    }

    /// Puts a job back as it was.
    pub(crate) fn reassign(
        &mut self,
        at: usize,
        assignments: Vec<Assignment>,
        shortfall: Option<Shortfall>,
    ) {
        self.unassign(at);
        for assignment in &assignments {
            self.fleet.reserve(assignment.decision.reservation.clone());
        }
        if let Some(entry) = self.entries.get_mut(at) {
            (entry.assignments, entry.shortfall) = (assignments, shortfall);
        }
    }

    /// The best way to run a gang as the fleet is now.
    pub(crate) fn best_now(&self, at: usize) -> Option<FeasiblePlacement> {
        let entry = self.entries.get(at)?;
        let class = self.classes.get(entry.class)?;
        let known = class.candidates.iter().map(|c| (c, None));
        self.fleet
            .best_gang(entry.job, known, self.now_seconds)
            .or_else(|| {
                if class.complete {
                    return None;
                }
                let all = self.fleet.candidates(entry.job);
                let all = all.iter().map(|c| (c, None));
                self.fleet.best_gang(entry.job, all, self.now_seconds)
            })
    }

    /// Whether a gang waits although the fleet could hold it if it were alone.
    pub(crate) fn is_hopeful(&self, at: usize) -> bool {
        self.entries.get(at).is_some_and(|entry| {
            entry.is_pending()
                && self
                    .classes
                    .get(entry.class)
                    .is_some_and(|class| !class.candidates.is_empty())
        })
    }

    /// Dollars that a job costs above the least it could; `None` where that is not known.
    pub(crate) fn above_floor(&self, entry: &Entry<'_>) -> Option<i64> {
        if entry.is_pending() {
            return Some(0);
        }
        let best = self.classes.get(entry.class)?.candidates.first()?;
        if entry.by_dollars() {
            return Some(entry.usd()?.saturating_sub(best.score.usd).max(0));
        }
        // By another measure a job is at its best or not: dollars do not say by how much.
        let Kind::Inference { replicas, .. } = entry.job.kind else {
            let place = entry.assignments.first()?.placement.as_ref()?;
            return (place.score == best.score).then_some(0);
        };
        let usd_per_hour = entry
            .assignments
            .iter()
            .map(|assignment| assignment.decision.usd_per_hour.0)
            .fold(0, i64::saturating_add);
        let least = best.quote.usd_per_hour.saturating_mul(i64::from(replicas));
        let alternative = &entry.job.alternatives.get(best.alternative)?.name;
        let at_best = entry.shortfall.is_none()
            && usd_per_hour <= least
            && entry
                .assignments
                .iter()
                .all(|assignment| assignment.decision.alternative == *alternative);
        at_best.then_some(0)
    }

    /// Hands over what was decided and returns who waits. A gang that is to start within the horizon does not.
    pub(crate) fn finish(self, plan: &mut Plan) -> Vec<PendingJob<'a>> {
        let mut waiting = Vec::new();
        let mut later = Vec::new();
        for entry in self.entries {
            let decisions = entry
                .assignments
                .into_iter()
                .map(|assignment| assignment.decision);
            plan.placements.extend(decisions);
            let Some(shortfall) = entry.shortfall else {
                continue;
            };
            match entry.future_start {
                Some(future_start) if future_start.is_within(self.horizon_seconds) => {
                    later.push(future_start.decision)
                }
                future_start => waiting.push(PendingJob {
                    job: entry.job,
                    class: entry.class,
                    shortfall,
                    future_start,
                    keeps: entry.keeps,
                }),
            }
        }
        plan.placements.append(&mut later);
        waiting
    }
}
