//! Time of decisions on a million accelerators, on one core, and beside it the same on ten thousand.

use std::time::{Duration, Instant};

use ampacity_placement::{JobSpec, Level, MicroUsd, PlanOptions};

use ampacity_bench::figure::{Figure, Goal};
use ampacity_bench::fleet::{POOLS, Sequence, empty, job};
use ampacity_bench::load::Load;

/// Nodes of a million accelerators.
pub(crate) const MILLION: u64 = 125_000;
/// Nodes of ten thousand accelerators.
const TEN_THOUSAND: u64 = 1_250;
/// Decisions of one run.
const DECISIONS: usize = 10_000;
/// Verdicts of one run.
const VERDICTS: u64 = 40;
/// Gangs of one batch.
const GANGS: u64 = 10_000;

const NOW: PlanOptions = PlanOptions { now_seconds: 0 };

/// The value that so many percent of the times do not exceed, in milliseconds.
fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    times
        .get((times.len() * percent / 100).min(last))
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

/// What a run of decisions took, in milliseconds.
struct Run {
    p50: f64,
    p99: f64,
    worst: f64,
    p99_of_largest: f64,
    placed: usize,
}

fn decide(load: &mut Load) -> Run {
    let (mut times, mut largest) = (Vec::new(), Vec::new());
    for _ in 0..DECISIONS {
        let job = load.next_job();
        let replicas = job.alternatives.first().map_or(0, |a| a.replicas);
        let started = Instant::now();
        let plan = load.fleet.plan(std::slice::from_ref(&job), &NOW);
        let time = started.elapsed();
        if plan.unplaced.is_empty() {
            times.push(time);
            if replicas >= load.largest {
                largest.push(time);
            }
        }
        load.count(plan);
        load.drain();
    }
    Run {
        p50: percentile(&mut times, 50),
        p99: percentile(&mut times, 99),
        worst: percentile(&mut times, 100),
        p99_of_largest: percentile(&mut largest, 99),
        placed: times.len(),
    }
}

/// A job that no fleet of this size can hold, for several reasons in turn.
fn unplaceable(at: u64, load: &mut Load, nodes: u64) -> JobSpec {
    let mut job = job(10_000_000 + at, &mut load.sequence, load.largest);
    for alternative in &mut job.alternatives {
        alternative.devices_per_replica = 8;
        alternative.replicas = u32::try_from(nodes / POOLS * 4).unwrap_or(u32::MAX);
    }
    job.topology.required = match at % 4 {
        0 => Level::Cluster,
        1 => Level::Block,
        2 => Level::Rack,
        _ => Level::Zone,
    };
    if at.is_multiple_of(3) {
        job.budget.max_usd = Some(MicroUsd(1));
    }
    job
}

/// Prints decisions and verdicts on a million accelerators.
pub(crate) fn measure(rounds: usize) {
    let mut million = Load::new(MILLION);
    million.fill();
    let mut small = Load::new(TEN_THOUSAND);
    small.fill();
    let runs: Vec<(Run, Run)> = (0..rounds)
        .map(|_| (decide(&mut million), decide(&mut small)))
        .collect();
    let of = |value: fn(&(Run, Run)) -> f64| runs.iter().map(value).collect::<Vec<f64>>();
    let what = format!("1M accelerators, 80 % full, {DECISIONS} mixed decisions");
    Figure::of_runs(format!("{what}, p50"), "ms", of(|r| r.0.p50)).print();
    Figure::of_runs(format!("{what}, p99"), "ms", of(|r| r.0.p99))
        .goal(Goal::Below(1.0))
        .print();
    Figure::of_runs(format!("{what}, worst"), "ms", of(|r| r.0.worst)).print();
    Figure::of_runs(
        "1M accelerators, 80 % full, gang of 64 nodes, p99",
        "ms",
        of(|r| r.0.p99_of_largest),
    )
    .goal(Goal::Below(1.0))
    .print();
    Figure::of_runs(
        format!("10k accelerators, 80 % full, {DECISIONS} mixed decisions of up to 3 nodes, p99"),
        "ms",
        of(|r| r.1.p99),
    )
    .print();
    Figure::of_runs(
        "p99 at 1M accelerators over p99 at 10k",
        "times",
        of(|r| r.0.p99 / r.1.p99),
    )
    .goal(Goal::AtMost(1.5))
    .print();
    Figure::of_runs(
        format!("decisions of {DECISIONS} that placed the job"),
        "jobs",
        of(|r| r.0.placed as f64),
    )
    .print();
    verdicts(&mut million, rounds);
}

fn verdicts(load: &mut Load, rounds: usize) {
    let mut worst = Vec::new();
    let mut median = Vec::new();
    for round in 0..rounds as u64 {
        let mut times = Vec::new();
        for at in 0..VERDICTS {
            let job = unplaceable(round * VERDICTS + at, load, MILLION);
            let started = Instant::now();
            let plan = load.fleet.plan(&[job], &NOW);
            if !plan.unplaced.is_empty() {
                times.push(started.elapsed());
            }
            load.count(plan);
        }
        median.push(percentile(&mut times, 50));
        worst.push(percentile(&mut times, 100));
    }
    let what = "1M accelerators, verdict and fix of a job without a place";
    Figure::of_runs(format!("{what}, p50"), "ms", median).print();
    Figure::of_runs(format!("{what}, worst of {VERDICTS}"), "ms", worst)
        .goal(Goal::Below(5.0))
        .print();
}

/// Prints a batch that is planned on an empty fleet.
pub(crate) fn batch(rounds: usize) {
    let fleet = empty(MILLION);
    let mut sequence = Sequence(7);
    let jobs: Vec<JobSpec> = (0..GANGS).map(|key| job(key, &mut sequence, 64)).collect();
    let mut placed = 0;
    let seconds = (0..rounds)
        .map(|_| {
            let mut fleet = fleet.clone();
            let started = Instant::now();
            let plan = fleet.plan(&jobs, &NOW);
            let seconds = started.elapsed().as_secs_f64();
            placed = plan.placements.len();
            seconds
        })
        .collect();
    Figure::of_runs(
        format!("{GANGS} gangs over 64 clusters from nothing ({placed} placed)"),
        "s",
        seconds,
    )
    .goal(Goal::Below(1.0))
    .print();
}
