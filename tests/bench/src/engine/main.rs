//! The engine's goals with measured values: one figure a line, with its unit, its spread and the goal.
//!
//! `make bench` builds the release programs and runs it, then `bench-memory`. What needs published traces says so where they are absent.

mod ampacity;
mod decisions;
mod gavel;
mod optimum;
mod packing;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One job at a time, and verdicts, on a million accelerators.
    Decisions,
    /// Ten thousand gangs at once.
    Batch,
    /// Dollars above the integer optimum.
    Optimum,
    /// The openb trace.
    Packing,
    /// Watts on the openb trace.
    Power,
    /// Gavel's jobs.
    Gavel,
}

/// The engine's figures beside their goals.
#[derive(Debug, Parser)]
struct Arguments {
    /// What is measured, in this order.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "decisions,batch,optimum,packing,power,gavel"
    )]
    only: Vec<Part>,
    /// Runs of what is timed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Random instances that are solved exactly.
    #[arg(long, default_value_t = 60)]
    instances: u64,
    /// Seconds after which the exact solver stops, per solve.
    #[arg(long, default_value_t = 5)]
    solve_seconds: u64,
    /// Seeds of every run on the openb trace; the published results have 10.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Seeds of Gavel's jobs; the paper has 3.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    gavel_seeds: u64,
    /// Folder with alibaba-gpu-2023 and gavel.
    #[arg(long, env = "AMPACITY_DATA", default_value = "../shared/data")]
    data: PathBuf,
    /// A line per list and instance too.
    #[arg(long)]
    each: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let openb = arguments.data.join("alibaba-gpu-2023");
    let gavel = arguments.data.join("gavel/simulation_throughputs.json");
    let absent = |what: &str, path: &PathBuf| {
        println!(
            "{what}: not measured, there is no {}; AMPACITY_DATA names the folder",
            path.display()
        );
    };
    for part in &arguments.only {
        match part {
            Part::Decisions => decisions::measure(arguments.rounds),
            Part::Batch => decisions::batch(arguments.rounds),
            Part::Optimum => {
                optimum::measure(arguments.instances, arguments.solve_seconds, arguments.each);
            }
            Part::Packing if openb.is_dir() => {
                packing::measure(&openb, arguments.seeds, arguments.each)?;
            }
            Part::Power if openb.is_dir() => packing::power(&openb, arguments.seeds)?,
            Part::Gavel if gavel.is_file() => gavel::measure(&gavel, arguments.gavel_seeds)?,
            Part::Packing => absent("openb packing", &openb),
            Part::Power => absent("openb power", &openb),
            Part::Gavel => absent("gavel", &gavel),
        }
    }
    Ok(())
}
