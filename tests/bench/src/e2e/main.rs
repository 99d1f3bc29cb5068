//! From first create to last pod bound: plain Jobs (the floor), Kueue, and Ampacity, on the same machine in the same run.
//!
//! Each scenario gets a fresh control plane of its own with simulated nodes, and the same work: `--jobs` one-device jobs,
//! then `--gangs` gangs of 8, then the same gangs with a headless Service each, as JobSet and Ampacity make for pods to find
//! each other; `--work whole` is one gang with a pod for every device. Prints one figure a line with its unit; with several rounds the median and the range.

mod cpu;
mod kueue;
mod operator;
mod scenario;
mod workload;

use std::collections::BTreeMap;

use clap::Parser;
use scenario::{Figures, Scenario, System, Work};

/// Pods per second, API writes and memory of plain Jobs, Kueue and Ampacity.
#[derive(Debug, Parser)]
struct Arguments {
    /// Simulated nodes of 8 devices each.
    #[arg(long, default_value_t = 500)]
    nodes: usize,
    /// One-device jobs.
    #[arg(long, default_value_t = 2000)]
    jobs: usize,
    /// Gangs of 8 one-device replicas.
    #[arg(long, default_value_t = 250)]
    gangs: usize,
    /// How often each scenario is measured.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Systems to measure, in this order; each round begins with the next.
    #[arg(long, value_delimiter = ',', default_value = "plain,kueue,ampacity")]
    systems: Vec<System>,
    /// Kinds of work, in this order.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "singles,gangs,rendezvous"
    )]
    work: Vec<Work>,
    /// Also print what the API server was asked, per job.
    #[arg(long)]
    show_requests: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut results: BTreeMap<(Work, System), Vec<Figures>> = BTreeMap::new();
    for round in 1..=arguments.rounds {
        for &work in &arguments.work {
            // Each system comes first once: a machine under load for minutes is slower than one that was idle.
            let mut systems = arguments.systems.clone();
            let turn = (round - 1) % systems.len().max(1);
            systems.rotate_left(turn);
            for system in systems {
                let count = match work {
                    Work::Singles => arguments.jobs,
                    Work::Gangs | Work::Rendezvous => arguments.gangs,
                    Work::Whole => 1,
                };
                let scenario = Scenario {
                    system,
                    work,
                    nodes: arguments.nodes,
                    count,
                    show_requests: arguments.show_requests,
                };
                let figures = scenario.run().await?;
                println!("round {round}: {work} {system}: {figures}");
                results.entry((work, system)).or_default().push(figures);
            }
        }
    }
    println!();
    for ((work, system), figures) in &results {
        for (name, unit, value) in Figures::COLUMNS {
            let mut values: Vec<f64> = figures.iter().filter_map(value).collect();
            values.sort_by(f64::total_cmp);
            if let (Some(first), Some(median), Some(last)) =
                (values.first(), values.get(values.len() / 2), values.last())
            {
                println!(
                    "{work} {system} {name}: {median:.2} {unit} (median of {}; {first:.2} to {last:.2})",
                    values.len()
                );
            }
        }
    }
    for &work in &arguments.work {
        let median = |system| {
            let mut seconds: Vec<f64> = results
                .get(&(work, system))?
                .iter()
                .map(|f| f.seconds)
                .collect();
            seconds.sort_by(f64::total_cmp);
            seconds.get(seconds.len() / 2).copied()
        };
        if let (Some(ours), Some(kueue)) = (median(System::Ampacity), median(System::Kueue)) {
            println!(
                "{work} ampacity against kueue: {:.2} times the pods per second (goal 3)",
                kueue / ours
            );
        }
        if let (Some(ours), Some(floor)) = (median(System::Ampacity), median(System::Plain)) {
            println!(
                "{work} ampacity against the floor: {:.2} times the time (goal at most 1.5)",
                ours / floor
            );
        }
        for &system in &arguments.systems {
            let of = results.get(&(work, system)).into_iter().flatten();
            let lags = of.map(|f| f.told_seconds / f.seconds);
            if let Some(worst) = lags.max_by(f64::total_cmp) {
                println!(
                    "{work} {system} every job says that it runs after {worst:.2} times the time until it is bound (worst round; goal at most 1.33)"
                );
            }
        }
    }
    Ok(())
}
