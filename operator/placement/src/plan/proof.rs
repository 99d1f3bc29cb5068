//! How good a plan is known to be.

use std::collections::BTreeMap;

use super::round::{Entry, Round};
use crate::model::{Kind, MicroUsd, Proof};

impl Round<'_, '_> {
    /// What can be said of the plan as it is.
    pub(crate) fn proof(&self) -> Proof {
        if self.horizon_seconds > 0 {
            // The other bounds are of plans in which everything starts now.
            return match self.gap_to_least() {
                Some(0) => Proof::Optimal,
                Some(gap) => Proof::GapAtMost(MicroUsd(gap)),
                None => Proof::StoppedAtLimit,
            };
        }
        match (self.gap_to_floors(), self.gap_to_bound()) {
            (Some(a), Some(b)) if a.min(b) == 0 => Proof::Optimal,
            (Some(a), Some(b)) => Proof::GapAtMost(MicroUsd(a.min(b))),
            (Some(0), None) | (None, Some(0)) => Proof::Optimal,
            (Some(gap), None) | (None, Some(gap)) => Proof::GapAtMost(MicroUsd(gap)),
            (None, None) => Proof::StoppedAtLimit,
        }
    }

    /// Every gang has a floor: the least that it could cost on the fleet as the cycle found it. No plan of the cycle costs
    /// less than the sum of floors, so where every job that could be placed at all is placed, the dollars above that sum
    /// bound the gap. With jobs left out that some other plan may place, nothing is known.
    fn gap_to_floors(&self) -> Option<i64> {
        let mut gap = 0_i64;
        for (at, entry) in self.entries.iter().enumerate() {
            if self.is_hopeful(at) {
                return None;
            }
            gap = gap.saturating_add(self.above_floor(entry)?);
        }
        Some(gap)
    }

    /// Where no more wait than the relaxation needs, no plan places more, and what it costs bounds the dollars.
    fn gap_to_bound(&self) -> Option<i64> {
        let bound = self.bound.as_ref()?;
        let mut priorities: Vec<i32> = Vec::new();
        let mut waiting: BTreeMap<i32, f64> = BTreeMap::new();
        let (mut usd, mut jobs) = (0_i64, 0_i64);
        for (at, entry) in self.entries.iter().enumerate() {
            if entry.waits() && !self.is_hopeful(at) {
                continue;
            }
            priorities.push(entry.job.priority);
            jobs += 1;
            match entry.usd() {
                Some(cost) => usd = usd.saturating_add(cost),
                None => *waiting.entry(entry.job.priority).or_default() += 1.0,
            }
        }
        priorities.sort_unstable();
        priorities.dedup();
        let as_few = priorities.len() == bound.waiting.len()
            && priorities
                .iter()
                .zip(&bound.waiting)
                .all(|(priority, least)| waiting.get(priority).copied().unwrap_or(0.0) <= *least);
        if !as_few {
            return None;
        }
        // Each job's dollars are rounded to a micro-dollar, and the relaxation is solved in floating point.
        let least = (bound.usd * 1e6 * (1.0 - 1e-9)).floor() as i64 - jobs;
        let gap = usd.saturating_sub(least).max(0);
        Some(if gap <= 2 * jobs + usd / 100_000_000 {
            0
        } else {
            gap
        })
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
