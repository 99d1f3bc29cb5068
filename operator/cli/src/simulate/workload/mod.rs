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

use ampacity_placement::Fleet;
use jiff::Timestamp;

use super::timeline::{Arrival, Player};
use super::{Ended, Output, progress};
use crate::check::Kinds;
use crate::exit::Exit;
use crate::input::{BadInput, Source, find_sources};

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
    let sources = match find_sources(&args.paths) {
        Ok(sources) => sources,
        Err(error) => return Ok(Err(vec![error])),
    };
    let arrivals = args.arrivals.clone().map(Source::File);
    let workload = match Workload::read(&sources, arrivals.as_ref(), &Kinds::new()?, args.at) {
        Ok(workload) => workload,
        Err(errors) => return Ok(Err(errors)),
    };
    // Before the work, which may take a while, rather than after it.
    let page = match args.html.as_deref().map(create).transpose() {
        Ok(page) => page,
        Err(error) => return Ok(Err(vec![error])),
    };
    let bar = progress(workload.arrivals.len() as u64);
    let report = workload.play(|ended| bar.set_position(ended));
    bar.finish_and_clear();
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

/// The table, JSON, YAML and HTML of a workload.
///
/// # Errors
/// What is wrong with the input.
pub(crate) fn all_forms(
    documents: Source,
    arrivals: Option<&Source>,
    kinds: &Kinds,
) -> anyhow::Result<Result<String, Vec<BadInput>>> {
    let workload = match Workload::read(&[documents], arrivals, kinds, None) {
        Ok(workload) => workload,
        Err(errors) => return Ok(Err(errors)),
    };
    let report = workload.play(|_| {});
    let mut text = super::all_forms(&report, report::text)?;
    text.push_str(&page::render(&report));
    Ok(Ok(text))
}

/// What is played.
struct Workload {
    fleet: Fleet,
    devices: u64,
    clusters: usize,
    arrivals: Vec<Arrival>,
    start: Timestamp,
    notes: Vec<String>,
}

impl Workload {
    fn read(
        sources: &[Source],
        arrivals: Option<&Source>,
        kinds: &Kinds,
        at: Option<Timestamp>,
    ) -> Result<Self, Vec<BadInput>> {
        let given::Given {
            fleet,
            devices,
            clusters,
            jobs,
            start,
            mut notes,
        } = given::read(sources, kinds, at)?;
        if jobs.is_empty() {
            notes.push("there is no TrainingJob to simulate".to_owned());
        }
        let arrivals = match arrivals {
            None => arrivals::from_creation(jobs, start.as_second(), &mut notes),
            Some(file) => arrivals::from_file(file, &jobs, &mut notes)?,
        };
        Ok(Self {
            fleet,
            devices,
            clusters,
            arrivals,
            start,
            notes,
        })
    }

    /// Plays it; `tick` hears of the number of jobs that have ended.
    fn play(self, tick: impl FnMut(u64)) -> report::Report {
        let played = Player::new(self.fleet, self.start.as_second()).play(self.arrivals, tick);
        report::Report::new(&played, self.start, self.devices, self.clusters, self.notes)
    }
}

fn create(path: &Path) -> Result<File, BadInput> {
    File::create(path).map_err(|error| {
        BadInput::new(
            path.display().to_string(),
            format!("cannot be written: {error}; give --html another path"),
        )
    })
}
