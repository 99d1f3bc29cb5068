//! Time of decisions on a million accelerators, on one core, and beside it the same on ten thousand.

use std::time::{Duration, Instant};

use ampacity_placement::numerics::Mmix;
use ampacity_placement::{JobSpec, Level, MicroUsd, PlanOptions};

use ampacity_bench::figure::{Figure, Goal};
use ampacity_bench::fleet::{Shape, empty, job};
use ampacity_bench::load::Load;

/// Decisions of one run.
const DECISIONS: usize = 10_000;
/// Verdicts of one run.
const VERDICTS: u64 = 40;
/// Gangs of one batch.
const GANGS: u64 = 10_000;
/// Most nodes of a gang.
const LARGEST: u32 = 64;
/// Most nodes of a gang that ten thousand accelerators in 400 pools hold.
const SMALL: u32 = 3;

const NOW: PlanOptions = PlanOptions {
    now_seconds: 0,
    horizon_seconds: 0,
};

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
fn unplaceable(at: u64, load: &mut Load) -> JobSpec {
    let Shape { nodes, pools, .. } = Shape::MILLION;
    let mut job = job(10_000_000 + at, &mut load.sequence, load.largest);
    for alternative in &mut job.alternatives {
        alternative.devices_per_replica = 8;
        alternative.replicas = u32::try_from(nodes / pools * 4).unwrap_or(u32::MAX);
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

/// Runs of decisions on a fleet that is kept 80 % full with jobs of at most so many nodes.
fn runs(shape: Shape, largest: u32, rounds: usize) -> (Vec<Run>, Load) {
    let mut load = Load::new(shape, largest);
    load.fill();
    ((0..rounds).map(|_| decide(&mut load)).collect(), load)
}

/// Prints decisions and verdicts on a million accelerators.
pub(crate) fn measure(rounds: usize) {
    let (million, mut load) = runs(Shape::MILLION, LARGEST, rounds);
    let of = |value: fn(&Run) -> f64| million.iter().map(value).collect::<Vec<f64>>();
    let what = format!("1M accelerators, 80 % full, {DECISIONS} mixed decisions");
    Figure::of_runs(format!("{what}, p50"), "ms", of(|r| r.p50)).print();
    Figure::of_runs(format!("{what}, p99"), "ms", of(|r| r.p99))
        .goal(Goal::Below(1.0))
        .print();
    Figure::of_runs(format!("{what}, worst"), "ms", of(|r| r.worst)).print();
    Figure::of_runs(
        "1M accelerators, 80 % full, gang of 64 nodes, p99",
        "ms",
        of(|r| r.p99_of_largest),
    )
    .goal(Goal::Below(1.0))
    .print();
    Figure::of_runs(
        format!("decisions of {DECISIONS} that placed the job"),
        "jobs",
        of(|r| r.placed as f64),
    )
    .print();
    let ratios = |large: &[Run], small: &[Run]| -> Vec<f64> {
        let both = large.iter().zip(small);
        both.map(|(large, small)| large.p99 / small.p99).collect()
    };
    let (small, _) = runs(Shape::TEN_THOUSAND, SMALL, rounds);
    let (large, _) = runs(Shape::MILLION, SMALL, rounds);
    Figure::of_runs(
        "p99 at 1M over p99 at 10k accelerators, as many pools, the same gangs of up to 3 nodes",
        "times",
        ratios(&large, &small),
    )
    .goal(Goal::AtMost(1.5))
    .print();
    let (small, _) = runs(Shape::ONE_CLUSTER, LARGEST, rounds);
    Figure::of_runs(
        "p99 at 1M over p99 at 10k accelerators, 400 pools over 16, the same gangs of up to 64 nodes",
        "times",
        ratios(&million, &small),
    )
    .print();
    verdicts(&mut load, rounds);
}

fn verdicts(load: &mut Load, rounds: usize) {
    let mut worst = Vec::new();
    let mut median = Vec::new();
    for round in 0..rounds as u64 {
        let mut times = Vec::new();
        for at in 0..VERDICTS {
            let job = unplaceable(round * VERDICTS + at, load);
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
    let fleet = empty(Shape::MILLION);
    let mut sequence = Mmix::new(7);
    let jobs: Vec<JobSpec> = (0..GANGS)
        .map(|key| job(key, &mut sequence, LARGEST))
        .collect();
    let from_nothing = |options: &PlanOptions| -> (usize, Vec<f64>) {
        let mut placed = 0;
        let seconds = (0..rounds).map(|_| {
            let mut fleet = fleet.clone();
            let started = Instant::now();
            placed = fleet.plan(&jobs, options).placements.len();
            started.elapsed().as_secs_f64()
        });
        let seconds = seconds.collect();
        (placed, seconds)
    };
    let (placed, seconds) = from_nothing(&NOW);
    let what = format!("{GANGS} gangs over 64 clusters from nothing");
    Figure::of_runs(format!("{what} ({placed} placed)"), "s", seconds)
        .goal(Goal::Below(1.0))
        .print();
    let (placed, seconds) = from_nothing(&PlanOptions {
        horizon_seconds: 86_400,
        ..NOW
    });
    let what = format!("{what}, starts within a day ({placed} placed)");
    Figure::of_runs(what, "s", seconds).print();
}
