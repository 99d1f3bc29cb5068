//! One gang of an equivalence class: what had no room for an equal one before it is not asked again.

use super::gang::{FeasiblePlacement, Incumbent};
use crate::candidates::{Candidate, ClassCandidates};
use crate::fleet::Fleet;
use crate::model::JobSpec;

impl ClassCandidates {
    /// Adds the best candidate of those that were not asked for yet.
    fn extend(&mut self, fleet: &Fleet, job: &JobSpec) -> Option<&Candidate> {
        let Some(candidate) = self.frontier.as_mut()?.next(fleet, job) else {
            (self.frontier, self.complete) = (None, true);
            return None;
        };
        self.full.push(false);
        self.candidates.push(candidate);
        self.candidates.last()
    }
}

impl Fleet {
    /// The best way to run a gang now, when nothing was given back since its class was made.
    pub(crate) fn best_of_class(
        &self,
        job: &JobSpec,
        class: &mut ClassCandidates,
        now_seconds: i64,
    ) -> Option<FeasiblePlacement> {
        if class.frontier.is_some() {
            return self.best_of_one(job, class, now_seconds);
        }
        // What had no room for an equal job has none now.
        let candidates = class
            .candidates
            .iter()
            .zip(&mut class.full)
            .filter(|(_, full)| !**full)
            .map(|(candidate, full)| (candidate, Some(full)));
        let found = self.best_gang(job, candidates, now_seconds);
        if found.is_some() || class.candidates.is_empty() {
            return found;
        }
        // Choosing nodes under uneven power is no exact science: asked again before a job is refused.
        let all = self.candidates(job);
        self.best_gang(job, all.iter().map(|c| (c, None)), now_seconds)
    }

    /// The best way to run the cycle's only job, making no more candidates than it takes.
    fn best_of_one(
        &self,
        job: &JobSpec,
        class: &mut ClassCandidates,
        now_seconds: i64,
    ) -> Option<FeasiblePlacement> {
        let mut best = Incumbent::default();
        while !class
            .frontier
            .as_ref()
            .is_some_and(|a| best.is_settled(a.least()))
        {
            let Some(candidate) = class.extend(self, job) else {
                break;
            };
            if best.is_settled_by(job, candidate) {
                break;
            }
            let found = self.try_candidate(job, candidate, now_seconds);
            best.offer(found);
        }
        best.0
    }
}
