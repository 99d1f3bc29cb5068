//! How good a plan is known to be.

use super::round::{Entry, Round};
use crate::model::{Kind, MicroUsd, Proof};

impl Round<'_, '_> {
    /// What can be said of the plan as it is.
    ///
    /// Every gang has a floor: the least that it could cost on the fleet as the cycle found it. No plan of the cycle costs
    /// less than the sum of floors, so where every job that could be placed at all is placed, the dollars above that sum
    /// bound the gap, and none above it prove the plan. With jobs left out that some other plan may place, nothing is known.
    pub(crate) fn proof(&self) -> Proof {
        let mut gap = 0_i64;
        for (at, entry) in self.entries.iter().enumerate() {
            if self.is_hopeful(at) {
                return Proof::StoppedAtLimit;
            }
            match self.above_floor(entry) {
                Some(usd) => gap = gap.saturating_add(usd),
                None => return Proof::StoppedAtLimit,
            }
        }
        if gap == 0 {
            Proof::Optimal
        } else {
            Proof::GapAtMost(MicroUsd(gap))
        }
    }

    /// Dollars that a job costs above the least it could; `None` where that is not known.
    pub(crate) fn above_floor(&self, entry: &Entry<'_>) -> Option<i64> {
        if entry.waits() {
            return Some(0);
        }
        let best = self.classes.get(entry.class)?.candidates.first()?;
        if entry.by_dollars() {
            return Some(entry.usd()?.saturating_sub(best.score.usd).max(0));
        }
        // By another measure a job is at its best or not: dollars do not say by how much.
        let Kind::Inference { replicas, .. } = entry.job.kind else {
            let place = entry.seats.first()?.place.as_ref()?;
            return (place.score == best.score).then_some(0);
        };
        let usd_per_hour = entry
            .seats
            .iter()
            .map(|seat| seat.decision.usd_per_hour.0)
            .fold(0, i64::saturating_add);
        let least = best.quote.usd_per_hour.saturating_mul(i64::from(replicas));
        let alternative = &entry.job.alternatives.get(best.alternative)?.name;
        let at_best = entry.missing.is_none()
            && usd_per_hour <= least
            && entry
                .seats
                .iter()
                .all(|seat| seat.decision.alternative == *alternative);
        at_best.then_some(0)
    }
}
