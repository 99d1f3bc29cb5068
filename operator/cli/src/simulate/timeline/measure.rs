//! Figures of a whole run.

use std::ops::Range;

use serde::Serialize;

use super::{Outcome, Played, Ran};
use crate::simulate::rounded;

/// Watt-seconds in a kilowatt-hour.
pub(in crate::simulate) const WATT_SECONDS_PER_KWH: f64 = 3.6e6;

/// The most that a power domain or budget carried.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::simulate) struct DomainPeak {
    pub(in crate::simulate) kind: &'static str,
    pub(in crate::simulate) name: String,
    pub(in crate::simulate) limit_watts: i64,
    pub(in crate::simulate) peak_watts: i64,
}

/// A distribution in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::simulate) struct Quantiles {
    pub(in crate::simulate) mean: f64,
    pub(in crate::simulate) median: i64,
    pub(in crate::simulate) p95: i64,
    pub(in crate::simulate) max: i64,
}

impl Quantiles {
    /// Of these values; a percentile is the smallest value that this part of them does not exceed (nearest rank). All 0 without values.
    pub(in crate::simulate) fn of(mut values: Vec<i64>) -> Self {
        values.sort_unstable();
        let rank = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied().unwrap_or(0)
        };
        let sum: i128 = values.iter().copied().map(i128::from).sum();
        Self {
            mean: rounded(sum as f64 / values.len().max(1) as f64, 3),
            median: rank(50),
            p95: rank(95),
            max: rank(100),
        }
    }
}

/// Sums over all jobs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::simulate) struct Totals {
    pub(in crate::simulate) jobs: usize,
    pub(in crate::simulate) finished: usize,
    pub(in crate::simulate) never_placed: usize,
    /// From arrival to start, of the jobs that ran.
    pub(in crate::simulate) queue_seconds: Quantiles,
    /// From arrival to end, of the jobs that ran.
    pub(in crate::simulate) completion_seconds: Quantiles,
    /// From the first arrival to the last end.
    pub(in crate::simulate) makespan_seconds: i64,
    pub(in crate::simulate) usd: f64,
    pub(in crate::simulate) kwh: f64,
    /// Devices × time held by jobs, of all devices over the makespan.
    pub(in crate::simulate) utilisation_percent: f64,
    pub(in crate::simulate) peak_watts: i64,
    pub(in crate::simulate) peak_queue: usize,
    /// Whether a node without a price was used, so that the dollars are too few.
    pub(in crate::simulate) unpriced: bool,
}

/// The figures of a run on a fleet of so many devices.
pub(in crate::simulate) fn totals(played: &Played, fleet_devices: u64) -> Totals {
    totals_of(played, 0..played.jobs.len(), fleet_devices)
}

/// The figures of some of the jobs, by their place in the order of arrival. Utilisation, watts and queue are those of all jobs, from the
/// first arrival of these to the last end of these.
pub(in crate::simulate) fn totals_of(
    played: &Played,
    jobs: Range<usize>,
    fleet_devices: u64,
) -> Totals {
    let jobs = played.jobs.get(jobs).unwrap_or_default();
    let runs = || jobs.iter().flat_map(|job| &job.runs);
    let since_arrival = |of: fn(&Outcome) -> Option<i64>| {
        let seconds = |job: &Outcome| Some(of(job)?.saturating_sub(job.arrival_seconds));
        jobs.iter().filter_map(seconds).collect()
    };
    let first = jobs
        .iter()
        .map(|job| job.arrival_seconds)
        .min()
        .unwrap_or(0);
    let last = jobs
        .iter()
        .filter_map(Outcome::finish_seconds)
        .max()
        .unwrap_or(first);
    let makespan = last.saturating_sub(first).max(0);
    let until = played.samples.iter().skip(1).map(|sample| sample.seconds);
    let during = || {
        let spans = played.samples.iter().zip(until.clone().chain([i64::MAX]));
        spans.filter_map(move |(sample, until)| {
            let seconds = until.min(last).saturating_sub(sample.seconds.max(first));
            (seconds > 0).then_some((sample, seconds))
        })
    };
    let device_seconds: f64 = during()
        .map(|(sample, seconds)| sample.devices as f64 * seconds as f64)
        .sum();
    let capacity = fleet_devices as f64 * makespan as f64;
    let usd_micro: i128 = runs().map(Ran::usd_micro).sum();
    let watt_seconds: i128 = runs().map(Ran::watt_seconds).sum();
    let finished = jobs.iter().filter(|job| !job.runs.is_empty()).count();
    Totals {
        jobs: jobs.len(),
        finished,
        never_placed: jobs.len() - finished,
        queue_seconds: Quantiles::of(since_arrival(Outcome::start_seconds)),
        completion_seconds: Quantiles::of(since_arrival(Outcome::finish_seconds)),
        makespan_seconds: makespan,
        usd: rounded(usd_micro as f64 / 1e6, 6),
        kwh: rounded(watt_seconds as f64 / WATT_SECONDS_PER_KWH, 6),
        utilisation_percent: if capacity > 0.0 {
            rounded(100.0 * device_seconds / capacity, 4)
        } else {
            0.0
        },
        peak_watts: during().map(|(s, _)| s.watts).max().unwrap_or(0),
        // The queue may be longest when nothing runs any more.
        peak_queue: played
            .samples
            .iter()
            .filter(|sample| (first..=last).contains(&sample.seconds))
            .map(|sample| sample.queued)
            .max()
            .unwrap_or(0),
        unpriced: runs().any(|run| run.decision.unpriced),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        for (values, expected) in [
            (vec![], (0.0, 0, 0, 0)),
            (vec![7], (7.0, 7, 7, 7)),
            ((1..=100).rev().collect(), (50.5, 50, 95, 100)),
            (vec![0, 0, 0, 10], (2.5, 0, 10, 10)),
        ] {
            let q = Quantiles::of(values);
            assert_eq!((q.mean, q.median, q.p95, q.max), expected);
        }
    }
}
