//! `ampacity plan`: what would be placed where, for how much money and power, and why not otherwise.
//!
//! ```text
//!   input ──► objects ──► fleet ─┐
//!                    └──► jobs ──┴──► engine ──► report ──► table, JSON or YAML
//! ```

mod fleet;
mod jobs;
mod objects;
mod report;
mod table;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use ampacity_placement::PlanOptions;
use jiff::Timestamp;

use crate::check::Kinds;
use crate::exit::Exit;
use crate::input::{BadInput, Source, find_sources, read_documents};

/// Most errors that are printed.
const MAX_ERRORS: usize = 20;

/// Arguments of `ampacity plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    /// A file, a folder (read recursively) or - for standard input; may be given several times.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// How the plan is printed.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// The time to plan at, RFC 3339, such as 2026-12-01T08:00:00Z: deadlines and price sheets are read as of then. Default: now.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

/// How a plan is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs.
    Yaml,
}

/// Plans and prints.
pub(crate) fn run(args: &PlanArgs) -> anyhow::Result<Exit> {
    let sources = match find_sources(&args.paths) {
        Ok(sources) => sources,
        Err(error) => {
            complain(&[error]);
            return Ok(Exit::BadInput);
        }
    };
    let now = args.at.unwrap_or_else(Timestamp::now);
    let planned = match plan(&sources, &Kinds::new()?, now) {
        Ok(planned) => planned,
        Err(errors) => {
            complain(&errors);
            return Ok(Exit::BadInput);
        }
    };
    let text = match args.output {
        Output::Table => planned.table(colour()),
        Output::Json => planned.report.to_json()?,
        Output::Yaml => planned.report.to_yaml()?,
    };
    print(&text)?;
    // A job that cannot be planned at all is bad input; the others were planned all the same.
    if !planned.invalid.is_empty() {
        complain(&planned.invalid);
        return Ok(Exit::BadInput);
    }
    Ok(if planned.report.totals.unplaced == 0 {
        Exit::Success
    } else {
        Exit::NotAllPlaced
    })
}

/// What is printed.
pub(crate) struct Planned {
    pub(crate) report: report::Report,
    /// What is wrong with the jobs that could not be planned at all.
    pub(crate) invalid: Vec<BadInput>,
}

impl Planned {
    /// For people.
    pub(crate) fn table(&self, colour: bool) -> String {
        table::render(&self.report, colour)
    }
}

/// Plans the jobs among the documents of `sources` as of a time.
///
/// # Errors
/// What is wrong with the documents.
pub(crate) fn plan(
    sources: &[Source],
    kinds: &Kinds,
    now: Timestamp,
) -> Result<Planned, Vec<BadInput>> {
    let objects = read(sources, kinds)?;
    let mut scene = fleet::build(&objects, now);
    let jobs = jobs::collect(&objects, &scene);
    let options = PlanOptions {
        now_seconds: now.as_second(),
    };
    let plan = scene.fleet.plan(&jobs.specs, &options);

    let mut notes = objects.notes;
    notes.append(&mut scene.notes);
    notes.extend(jobs.notes.iter().cloned());
    if jobs.names.is_empty() && jobs.invalid.is_empty() {
        notes.push("there is no TrainingJob or InferenceJob to plan".to_owned());
    }
    Ok(Planned {
        report: report::report(&plan, &jobs, notes),
        invalid: jobs.invalid.into_iter().map(|(_, _, bad)| bad).collect(),
    })
}

/// Reads everything; all errors of all files are found before giving up.
fn read(sources: &[Source], kinds: &Kinds) -> Result<objects::Objects, Vec<BadInput>> {
    let mut objects = objects::Objects::new();
    let mut errors = Vec::new();
    for source in sources {
        let documents = match read_documents(source) {
            Ok(documents) => documents,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        for document in documents {
            if errors.len() > MAX_ERRORS {
                break;
            }
            if let Err(more) = objects.add(document, kinds) {
                errors.extend(more);
            }
        }
    }
    objects.note_ignored();
    if errors.is_empty() {
        Ok(objects)
    } else {
        Err(errors)
    }
}

fn complain(errors: &[BadInput]) {
    let mut stderr = std::io::stderr().lock();
    for error in errors.iter().take(MAX_ERRORS) {
        let _ = writeln!(stderr, "error: {error}");
    }
    if errors.len() > MAX_ERRORS {
        let _ = writeln!(stderr, "error: there is more; correct these first");
    }
}

/// Whether colours are wanted: on a terminal, and not where NO_COLOR (no-color.org) is set.
fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no error.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
