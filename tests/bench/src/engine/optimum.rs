//! How far plans are from the integer optimum, and how much faster they are found: the engine and an exact solver on the same random
//! instances in the same run.

use std::time::Duration;

use ampacity_oracle::compare;
use ampacity_oracle::instance::{Instance, Size};
use ampacity_oracle::program::Limits;

use ampacity_bench::figure::{Figure, Goal, mean, range, shown};

/// Up to so many jobs on so many pools, as the goal says.
const SIZE: Size = Size { jobs: 60, pools: 8 };

/// Prints the comparison on the instances of these many seeds. Where the solver stops at its limit of time, nothing is said of dollars, and of
/// jobs only what it proved. `each`: a line per instance.
pub(crate) fn measure(instances: u64, solve_seconds: u64, each: bool) {
    let limits = Limits {
        nodes: None,
        time: Some(Duration::from_secs(solve_seconds)),
    };
    let (mut gaps, mut times) = (Vec::new(), Vec::new());
    let (mut decided, mut fewer) = (0_u32, 0_u32);
    let (mut engine, mut solver) = (Duration::ZERO, Duration::ZERO);
    for seed in 1..=instances {
        let instance = Instance::random(seed, SIZE);
        let result = compare(&instance, limits);
        if result.beats_the_oracle() {
            println!(
                "instance {seed}: the engine beats the solver, so the solver's program is wrong"
            );
        }
        engine += result.time;
        solver += result.optimum.time;
        times.push(result.optimum.time.as_secs_f64() / result.time.as_secs_f64().max(1e-9));
        let as_many = result.placed_as_many();
        decided += u32::from(result.optimum.placed_proven);
        fewer += u32::from(result.optimum.placed_proven && !as_many);
        if as_many && result.optimum.usd_proven {
            gaps.push(result.gap_percent());
        }
        if each {
            let gap = if as_many && result.optimum.placed_proven {
                format!(", {:.3} % above its dollars", result.gap_percent())
            } else {
                String::new()
            };
            println!(
                "instance {seed}: {} jobs, {} pools: placed {:?} of {:?}{gap}; engine {:.2} ms, solver {:.0} ms{}, {:?}",
                instance.jobs.len(),
                instance.pools.len(),
                result.placed,
                result.optimum.placed,
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
    }
    let what = format!(
        "{} of {instances} instances that the solver proved in {solve_seconds} s a solve",
        gaps.len()
    );
    Figure::one(
        "dollars above the integer optimum, mean",
        "%",
        mean(&gaps),
        &*what,
    )
    .goal(Goal::AtMost(1.0))
    .print();
    Figure::one(
        "dollars above the integer optimum, worst",
        "%",
        range(&gaps).1,
        &*what,
    )
    .goal(Goal::AtMost(5.0))
    .print();
    Figure::one(
        "plans with fewer jobs than the optimum, by priority",
        "instances",
        f64::from(fewer),
        format!("of {decided} where the solver proved how many can be placed"),
    )
    .goal(Goal::AtMost(0.0))
    .print();
    let (least, most) = range(&times);
    Figure::of_runs(
        "exact solver's time over the engine's, an instance",
        "times",
        times,
    )
    .goal(Goal::AtLeast(100.0))
    .print();
    Figure::one(
        "exact solver's time over the engine's, all instances together",
        "times",
        solver.as_secs_f64() / engine.as_secs_f64().max(1e-9),
        format!(
            "{} to {} an instance; engine {} ms an instance",
            shown(least),
            shown(most),
            shown(engine.as_secs_f64() * 1e3 / instances.max(1) as f64)
        ),
    )
    .goal(Goal::AtLeast(100.0))
    .print();
}
