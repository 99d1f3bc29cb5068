//! Plans beside the exact integer optimum on random instances. `make bench` runs more of them, with more time for the solver.

use ampacity_oracle::instance::{Instance, Size};
use ampacity_oracle::program::{Limits, ROUNDING_USD};
use ampacity_oracle::{Comparison, compare};
use ampacity_placement::Proof;

/// Plans the instances of some seeds with both. Whatever the engine does, the oracle must not be beaten and the engine's
/// proof must hold.
fn compared(seeds: std::ops::RangeInclusive<u64>, size: Size, nodes: u64) -> Vec<Comparison> {
    let limits = Limits {
        nodes: Some(nodes),
        time: None,
    };
    let compare_one = |seed| {
        let result = compare(&Instance::random(seed, size), limits);
        assert!(!result.beats_the_oracle(), "seed {seed}: {result:?}");
        assert_proof_holds(seed, &result);
        result
    };
    seeds.map(compare_one).collect()
}

/// What the plan says of itself is true of what the solver found.
fn assert_proof_holds(seed: u64, result: &Comparison) {
    let gap = match result.plan.proof {
        Proof::Optimal => 0.0,
        Proof::GapAtMost(usd) => usd.0 as f64 / 1e6,
        Proof::StoppedAtLimit => return,
    };
    let known = result.optimum.placed.len();
    assert_eq!(
        result.placed.get(..known),
        result.optimum.placed.get(..),
        "seed {seed}: a bound on dollars says that no plan places more"
    );
    if let Some(found) = result.optimum.usd_found {
        assert!(
            result.usd - gap <= found + ROUNDING_USD,
            "seed {seed}: a plan of ${found} exists, but {:?} is said of ${}",
            result.plan.proof,
            result.usd
        );
    }
}

/// Gaps in percent where both place as many, sorted.
fn gaps(results: &[Comparison]) -> Vec<f64> {
    let same = results
        .iter()
        .filter(|r| r.optimum.usd_proven && r.placed_as_many());
    let mut gaps: Vec<f64> = same.map(Comparison::gap_percent).collect();
    gaps.sort_by(f64::total_cmp);
    gaps
}

fn report(label: &str, results: &[Comparison]) -> (f64, f64) {
    let gaps = gaps(results);
    let mean = gaps.iter().sum::<f64>() / gaps.len().max(1) as f64;
    let worst = gaps.last().copied().unwrap_or(0.0);
    println!(
        "{label}: {} instances, dollars above the optimum on {}: mean {mean:.3} %, worst {worst:.3} %",
        results.len(),
        gaps.len()
    );
    (mean, worst)
}

#[test]
fn small_plans_place_as_many_jobs_as_can_be_and_cost_no_more_than_they_must() {
    let results = compared(1..=100, Size { jobs: 12, pools: 4 }, 2_000);
    let (mean, worst) = report("up to 12 jobs on 4 pools", &results);
    let decided = results.iter().filter(|r| r.optimum.placed_proven);
    assert!(
        decided.clone().count() >= 95,
        "the solver gave up too often"
    );
    for result in decided {
        assert!(result.placed_as_many(), "{result:?}");
    }
    assert!(
        mean <= 0.01 && worst <= 0.5,
        "mean {mean} %, worst {worst} %"
    );
}

#[test]
fn larger_plans_stay_within_a_percent_and_seldom_leave_a_job_out() {
    let results = compared(1..=30, Size { jobs: 60, pools: 8 }, 600);
    let (mean, worst) = report("up to 60 jobs on 8 pools", &results);
    let decided: Vec<_> = results.iter().filter(|r| r.optimum.placed_proven).collect();
    let fewer = decided.iter().filter(|r| !r.placed_as_many()).count();
    println!(
        "fewer jobs than the optimum on {fewer} of {}",
        decided.len()
    );
    assert!(fewer * 15 <= decided.len(), "{fewer} of {}", decided.len());
    assert!(
        mean <= 0.2 && worst <= 2.0,
        "mean {mean} %, worst {worst} %"
    );
}
