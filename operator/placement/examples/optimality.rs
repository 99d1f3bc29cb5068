//! How far plans are from the integer optimum, and how much faster they are found.
//!
//! `cargo run --release -p ampacity-placement --example optimality -- [INSTANCES] [SECONDS PER SOLVE] [JOBS] [POOLS] [FIRST SEED]`
//!
//! Without arguments: 200 instances of up to 60 jobs on up to 8 pools, 20 seconds. Where the solver stops at its limit, the
//! line's gap is against its proven bound; mean and worst are over the instances that it proved.

#[path = "../tests/oracle/mod.rs"]
mod oracle;

use std::time::Duration;

use oracle::compare;
use oracle::instance::{Instance, Size};
use oracle::program::Limits;

fn main() {
    let given: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|a| a.parse().ok())
        .collect();
    let argument = |at: usize, default: u64| given.get(at).copied().unwrap_or(default);
    let instances = argument(0, 200);
    let limits = Limits {
        nodes: None,
        time: Some(Duration::from_secs(argument(1, 20))),
    };
    let size = Size {
        jobs: argument(2, 60),
        pools: argument(3, 8),
    };
    let first = argument(4, 1);
    let (mut gaps, mut ratios) = (Vec::new(), Vec::new());
    let (mut fewer, mut unproven, mut undecided) = (0, 0, 0);
    let (mut engine, mut solver) = (Duration::ZERO, Duration::ZERO);
    for seed in first..first + instances {
        let instance = Instance::random(seed, size);
        let result = compare(&instance, limits);
        if result.beats_the_oracle() {
            println!("seed {seed}: the engine beats the oracle, so the oracle is wrong");
        }
        engine += result.time;
        solver += result.optimum.time;
        ratios.push(result.optimum.time.as_secs_f64() / result.time.as_secs_f64().max(1e-9));
        unproven += u32::from(!result.optimum.usd_proven);
        let note = if result.placed_as_many() {
            if result.optimum.usd_proven {
                gaps.push((result.gap_percent(), seed));
            }
            format!("{:.3} % above", result.gap_percent())
        } else if result.optimum.placed_proven {
            fewer += 1;
            format!("placed {:?} of {:?}", result.placed, result.optimum.placed)
        } else {
            undecided += 1;
            format!(
                "placed {:?}, bound {:?}",
                result.placed, result.optimum.placed
            )
        };
        println!(
            "seed {seed}: {} jobs, {} pools: {note}; engine {:.2} ms, solver {:.0} ms{} {:?}",
            instance.jobs.len(),
            instance.pools.len(),
            result.time.as_secs_f64() * 1e3,
            result.optimum.time.as_secs_f64() * 1e3,
            if result.optimum.usd_proven {
                ""
            } else {
                " (at its limit)"
            },
            result.plan.proof,
        );
    }
    gaps.sort_by(|a, b| a.0.total_cmp(&b.0));
    ratios.sort_by(f64::total_cmp);
    let mean = gaps.iter().map(|(gap, _)| gap).sum::<f64>() / gaps.len().max(1) as f64;
    println!("instances: {instances}, solver at its limit on {unproven}");
    println!(
        "fewer jobs placed than the optimum: {fewer}, undecided because the solver stopped: {undecided}"
    );
    println!(
        "dollars above the optimum, mean: {mean:.3} % (of {} that the solver proved)",
        gaps.len()
    );
    if let Some((worst, seed)) = gaps.last() {
        println!("dollars above the optimum, worst: {worst:.3} % (seed {seed})");
    }
    println!(
        "solver time / engine time, median: {:.0}",
        ratios.get(ratios.len() / 2).copied().unwrap_or(0.0)
    );
    println!(
        "solver time / engine time, least: {:.1}",
        ratios.first().copied().unwrap_or(0.0)
    );
    println!(
        "solver time / engine time, total: {:.0}",
        solver.as_secs_f64() / engine.as_secs_f64().max(1e-9)
    );
}
