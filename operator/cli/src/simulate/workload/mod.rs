//! `ampacity simulate workload`: TrainingJobs over time on a fleet given as for `ampacity plan`.
//!
//! ```text
//!   given (manifests) ──► arrivals ──► timeline ──► report ──► table, JSON or YAML
//!                                                     └──────► page (HTML): plots (SVG)
//! ```

mod arrivals;
mod given;
mod page;
mod plot;
mod report;
mod steps;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::timeline::Player;
use super::{Ended, Output, progress};
use crate::exit::Exit;
use crate::input::BadInput;

/// Arguments of `ampacity simulate workload`.
#[derive(Debug, clap::Args)]
pub(crate) struct WorkloadArgs {
    /// A file, a folder (read recursively) or - for standard input, as for ampacity plan; several may be given.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
    /// CSV of arrivals: job (name, or namespace/name) and arrival_seconds after the start. A job named several times arrives several
    /// times. Default: metadata.creationTimestamp.
    #[arg(long, value_name = "FILE")]
    arrivals: Option<PathBuf>,
    /// The start, RFC 3339, such as 2026-12-01T08:00:00Z. Default: the earliest creationTimestamp of a TrainingJob, else the latest
    /// effectiveFrom of a PriceSheet.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Write a report with plots to this file: one HTML page that loads nothing from anywhere.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// How the result is printed.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) fn run(args: &WorkloadArgs) -> Ended {
    let given = match given::read(&args.paths, args.at)? {
        Ok(given) => given,
        Err(errors) => return Ok(Err(errors)),
    };
    let given::Given {
        fleet,
        devices,
        clusters,
        jobs,
        start,
        mut notes,
    } = given;
    if jobs.is_empty() {
        notes.push("there is no TrainingJob to simulate".to_owned());
    }
    let arrivals = match &args.arrivals {
        None => arrivals::from_creation(jobs, start.as_second(), &mut notes),
        Some(file) => match arrivals::from_file(file, &jobs, &mut notes) {
            Ok(arrivals) => arrivals,
            Err(errors) => return Ok(Err(errors)),
        },
    };
    // Before the work, which may take a while, rather than after it.
    let page = match args.html.as_deref().map(create).transpose() {
        Ok(page) => page,
        Err(error) => return Ok(Err(vec![error])),
    };
    let bar = progress(arrivals.len() as u64);
    let played =
        Player::new(fleet, start.as_second()).play(arrivals, |ended| bar.set_position(ended));
    bar.finish_and_clear();

    let report = report::Report::new(&played, start, devices, clusters, notes);
    if let Some(mut file) = page {
        file.write_all(page::render(&report).as_bytes())?;
    }
    args.output.print(&report, report::text)?;
    Ok(Ok(if report.totals.never_placed == 0 {
        Exit::Success
    } else {
        Exit::NotAllPlaced
    }))
}

fn create(path: &Path) -> Result<File, BadInput> {
    File::create(path).map_err(|error| {
        BadInput::new(
            path.display().to_string(),
            format!("cannot be written: {error}; give --html another path"),
        )
    })
}
