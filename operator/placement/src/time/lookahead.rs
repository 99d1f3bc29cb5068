//! A schedule with what was promised in it, and room beside the promises.

use std::collections::BTreeMap;

use super::promises::Promises;
use crate::candidates::Candidate;
use crate::nodes::FeasiblePlacement;
use crate::schedule::Schedule;

/// A schedule whose waiting gangs may be promised a start.
pub(crate) struct Lookahead<'s, 'a, 'f> {
    /// What starts now.
    pub(super) schedule: &'s mut Schedule<'a, 'f>,
    /// Starts that waiting gangs were promised.
    pub(crate) promises: Promises,
}

impl<'s, 'a, 'f> Lookahead<'s, 'a, 'f> {
    /// Without any promise yet.
    pub(crate) fn new(schedule: &'s mut Schedule<'a, 'f>) -> Self {
        Self {
            promises: Promises::new(schedule.horizon_seconds),
            schedule,
        }
    }

    /// The best way to run a gang from now on beside the promises.
    pub(crate) fn best_beside(&mut self, at: usize) -> Option<FeasiblePlacement> {
        let entry = self.schedule.entries.get(at)?;
        let (job, class) = (entry.job, self.schedule.classes.get(entry.class)?);
        let floor = class.candidates.first()?.score;
        // Candidates that break as many promises break the same ones: those that start soonest.
        let seconds = |candidate: &Candidate| candidate.quote.duration_seconds.unwrap_or(i64::MAX);
        let broken =
            |candidate: &Candidate, promises: &Promises| promises.within(seconds(candidate));
        let by_broken: BTreeMap<usize, i64> = class
            .candidates
            .iter()
            .map(|candidate| (broken(candidate, &self.promises), seconds(candidate)))
            .collect();
        let mut best: Option<FeasiblePlacement> = None;
        for (count, seconds) in by_broken {
            if best.as_ref().is_some_and(|found| found.score <= floor) {
                break;
            }
            self.promises.show_beside(self.schedule.fleet, seconds);
            let candidates = class.candidates.iter();
            let candidates = candidates.filter(|c| broken(c, &self.promises) == count);
            let found = self.schedule.fleet.best_gang(
                job,
                candidates.map(|c| (c, None)),
                self.schedule.now_seconds,
            );
            if let Some(found) = found
                && best
                    .as_ref()
                    .is_none_or(|best| (found.score, found.level) < (best.score, best.level))
            {
                best = Some(found);
            }
        }
        if best.is_none() && !class.complete {
            self.promises.show_all(self.schedule.fleet);
            best = self.schedule.best_now(at);
        }
        best
    }
}
