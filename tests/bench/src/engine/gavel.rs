//! Gavel's continuous-multiple experiment (Narayanan et al., OSDI'20).

use std::path::Path;

use serde_json::Value;

use crate::ampacity::{number, simulate};
use ampacity_bench::figure::{Figure, Goal};

/// Mean completion, hours, of Gavel's LAS with space sharing at 2.6 jobs an hour: seed 0, from the notebooks of its release.
const LAS_SS_HOURS: f64 = 30.5;

/// Prints the mean completion at 2.6 jobs an hour.
///
/// # Errors
/// When a run failed.
pub(crate) fn measure(throughputs: &Path, seeds: u64) -> anyhow::Result<()> {
    let runs: Vec<Vec<String>> = (0..seeds)
        .map(|seed| {
            vec![
                "gavel".to_owned(),
                "--throughputs".to_owned(),
                throughputs.display().to_string(),
                "--jobs-per-hour".to_owned(),
                "2.6".to_owned(),
                "--seed".to_owned(),
                seed.to_string(),
            ]
        })
        .collect();
    let results = simulate(&runs)?;
    let of = |field: &str| -> Vec<f64> { results.iter().map(|run| number(run, field)).collect() };
    let never = |run: &Value| {
        run.get("totals")
            .map_or(f64::NAN, |t| number(t, "neverPlaced"))
    };
    Figure::of_runs(
        "gavel continuous-multiple, 2.6 jobs/h, mean completion",
        "h",
        of("meanCompletionHours"),
    )
    .goal(Goal::Below(LAS_SS_HOURS))
    .print();
    Figure::of_runs(
        "gavel, jobs of the 1000 measured that never ran",
        "jobs",
        results.iter().map(never).collect(),
    )
    .goal(Goal::AtMost(0.0))
    .print();
    Figure::of_runs("gavel, dollars a job", "USD", of("usdPerJob")).print();
    Ok(())
}
