//! How good a plan is known to be.

use std::collections::BTreeMap;

use crate::model::{MicroUsd, Proof};
use crate::schedule::Schedule;
use crate::search::Bound;
use crate::time::gap_to_least;

/// What can be said of the plan as it is.
pub(crate) fn proof(schedule: &Schedule<'_, '_>, bound: Option<&Bound>) -> Proof {
    if schedule.horizon_seconds > 0 {
        // The other bounds are of plans in which everything starts now.
        return match gap_to_least(schedule) {
            Some(0) => Proof::Optimal,
            Some(gap) => Proof::GapAtMost(MicroUsd(gap)),
            None => Proof::StoppedAtLimit,
        };
    }
    match (
        gap_to_floors(schedule),
        bound.and_then(|bound| gap_to_bound(schedule, bound)),
    ) {
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
fn gap_to_floors(schedule: &Schedule<'_, '_>) -> Option<i64> {
    let mut gap = 0_i64;
    for (at, entry) in schedule.entries.iter().enumerate() {
        if schedule.is_hopeful(at) {
            return None;
        }
        gap = gap.saturating_add(schedule.above_floor(entry)?);
    }
    Some(gap)
}

/// Where no more wait than the relaxation needs, no plan places more, and what it costs bounds the dollars.
fn gap_to_bound(schedule: &Schedule<'_, '_>, bound: &Bound) -> Option<i64> {
    let mut priorities: Vec<i32> = Vec::new();
    let mut waiting: BTreeMap<i32, f64> = BTreeMap::new();
    let (mut usd, mut jobs) = (0_i64, 0_i64);
    for (at, entry) in schedule.entries.iter().enumerate() {
        if entry.is_pending() && !schedule.is_hopeful(at) {
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
