//! How much more a plan with starts within a horizon costs than it could.

use std::collections::BTreeMap;

use crate::schedule::{Entry, Schedule, StartCost};

/// The least that a start could cost, by class; `None` where the fleet could never hold it.
pub(super) fn least_start_costs(schedule: &Schedule<'_, '_>) -> BTreeMap<usize, Option<StartCost>> {
    let mut least = BTreeMap::new();
    for entry in schedule.entries.iter().filter(|entry| entry.is_gang()) {
        least
            .entry(entry.class)
            .or_insert_with(|| schedule.fleet.least_start_cost(entry.job));
    }
    least
}

/// What the start of a gang within the horizon costs it; `None` where it has none, or one that cannot be judged.
pub(super) fn start_cost(schedule: &Schedule<'_, '_>, entry: &Entry<'_>) -> Option<StartCost> {
    let now = entry
        .placement()
        .map(|place| StartCost::of(entry.job, place.score, 0));
    now.or_else(|| {
        let future_start = entry.future_start.as_ref()?;
        future_start
            .is_within(schedule.horizon_seconds)
            .then(|| future_start.start_cost(entry.job))
    })
}

/// Dollars by which the plan exceeds what all gangs would cost if each were alone on the fleet, from whatever start within the
/// horizon. No plan costs less, so where every gang that the fleet could hold starts, that bounds the gap.
pub(crate) fn gap_to_least(schedule: &Schedule<'_, '_>) -> Option<i64> {
    let least = least_start_costs(schedule);
    let mut gap = 0_i128;
    for entry in &schedule.entries {
        if !entry.is_gang() {
            gap += i128::from(schedule.above_floor(entry)?);
            continue;
        }
        let Some(Some(least)) = least.get(&entry.class) else {
            continue;
        };
        let has = start_cost(schedule, entry)?;
        if entry.by_dollars() {
            gap += (has.usd() - least.usd()).max(0);
        } else if has.costs_more_than(least) {
            return None;
        }
    }
    i64::try_from(gap).ok()
}
