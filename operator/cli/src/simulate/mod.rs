//! `ampacity simulate`: what the engine would do with a trace or a workload over time.
//!
//! ```text
//!   openb     one task at a time onto one fleet, nothing ends: how well it packs, and its watts
//!   workload  TrainingJobs that arrive, wait, run and end on a fleet given as for `plan`: waiting time, dollars, kWh
//!   gavel     jobs of measured throughput on three generations of GPU: completion time and dollars
//! ```
//!
//! All of it is a function of its input and a seed: the same command prints the same bytes.

pub(crate) mod gavel;
pub(crate) mod openb;
mod sheet;
mod table;
mod timeline;
pub(crate) mod workload;

use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::exit::Exit;
use crate::input::BadInput;
use crate::plan::print;

/// Most errors that are printed.
const MAX_ERRORS: usize = 20;

/// What is simulated.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum SimulateCommand {
    /// Run the packing experiment of the FGD paper (USENIX ATC'23) on node and pod lists of the openb trace: tasks arrive in
    /// random order until more was asked for than there is, each is placed at once or dropped.
    Openb(openb::OpenbArgs),
    /// Play TrainingJobs over time on a fleet given as for ampacity plan: at every arrival and end the engine plans the queue anew.
    ///
    /// Exit code 0: every job ran; 2: some never found a place; 1: bad input.
    Workload(workload::WorkloadArgs),
    /// Run the continuous-multiple experiment of the Gavel paper (OSDI'20): jobs of measured throughput arrive at random on three
    /// generations of GPU.
    Gavel(gavel::GavelArgs),
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs.
    Yaml,
}

impl Output {
    /// Prints a result: `table` makes the text for people.
    fn print<T: serde::Serialize>(
        self,
        result: &T,
        table: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        Ok(print(&self.text(result, table)?)?)
    }

    fn text<T: serde::Serialize>(
        self,
        result: &T,
        table: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<String> {
        Ok(match self {
            Self::Table => table(result),
            Self::Json => serde_json::to_string_pretty(result)? + "\n",
            Self::Yaml => serde_saphyr::to_string(result)?,
        })
    }
}

/// A result in every form in which it can be printed.
fn all_forms<T: serde::Serialize>(
    result: &T,
    table: impl Fn(&T) -> String,
) -> anyhow::Result<String> {
    let mut all = String::new();
    for output in [Output::Table, Output::Json, Output::Yaml] {
        all.push_str(&output.text(result, &table)?);
    }
    Ok(all)
}

/// Simulates and prints.
pub(crate) fn run(command: &SimulateCommand) -> anyhow::Result<Exit> {
    let ended = match command {
        SimulateCommand::Openb(args) => openb::run(args),
        SimulateCommand::Workload(args) => workload::run(args),
        SimulateCommand::Gavel(args) => gavel::run(args),
    }?;
    Ok(match ended {
        Ok(exit) => exit,
        Err(errors) => {
            complain(&errors);
            Exit::BadInput
        }
    })
}

/// How a simulation ended: the errors are those of its input.
type Ended = anyhow::Result<Result<Exit, Vec<BadInput>>>;

fn complain(errors: &[BadInput]) {
    let mut stderr = std::io::stderr().lock();
    for error in errors.iter().take(MAX_ERRORS) {
        let _ = writeln!(stderr, "error: {error}");
    }
    if errors.len() > MAX_ERRORS {
        let _ = writeln!(stderr, "error: there is more; correct these first");
    }
}

/// Rounds for printing, so that sums in another order print the same.
fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    let rounded = (value * scale).round() / scale;
    if rounded == 0.0 { 0.0 } else { rounded }
}

/// A bar on standard error, and nothing where that is not a terminal.
fn progress(jobs: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(jobs), ProgressDrawTarget::stderr_with_hz(10));
    match ProgressStyle::with_template(
        "{bar:40} {pos}/{len} jobs ended, {elapsed} gone, {eta} left",
    ) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
