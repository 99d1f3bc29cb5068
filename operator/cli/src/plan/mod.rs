//! `ampacity plan`: what would be placed where, for how much money and power, and why not otherwise.
//!
//! ```text
//!   input ──► scene ──► jobs ──► engine ──► report ──► table, JSON or YAML
//! ```

mod report;
mod table;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use ampacity_api::ConditionReason;
use ampacity_placement::PlanOptions;
use jiff::Timestamp;

use crate::check::Kinds;
use crate::exit::Exit;
use crate::input::{BadInput, Source, find_sources, folders_without_manifests};
use crate::scene::{Jobs, Scene, read};

/// Most errors that are printed.
const MAX_ERRORS: usize = 20;

/// Arguments of `ampacity plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    /// A file, a folder (read recursively) or - for standard input; several may be given.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
    /// How the plan is printed.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// The time to plan at, RFC 3339, such as 2026-12-01T08:00:00Z: deadlines and price sheets are read as of then. Default: now.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Places also what can start within so many seconds, once running jobs have ended as expected. Default: only what starts now.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    horizon: i64,
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
    let empty: Vec<&Path> = folders_without_manifests(&args.paths).collect();
    let planned = match plan(&sources, &Kinds::new()?, &empty, (now, args.horizon)) {
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
    // A job that cannot be planned is told of with its place; the others were planned all the same.
    complain(&planned.invalid);
    if planned.is_bad_input {
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
    /// What is wrong with the first jobs that could not be planned at all.
    pub(crate) invalid: Vec<BadInput>,
    /// Whether it is more than that they name something which is not there.
    pub(crate) is_bad_input: bool,
}

impl Planned {
    /// For people.
    pub(crate) fn table(&self, colour: bool) -> String {
        table::render(&self.report, colour)
    }
}

/// Plans the jobs among the documents of `sources` as of a time, up to a horizon in seconds. `empty`: folders that were given
/// and hold no manifest.
///
/// # Errors
/// What is wrong with the documents.
pub(crate) fn plan(
    sources: &[Source],
    kinds: &Kinds,
    empty: &[&Path],
    (now, horizon_seconds): (Timestamp, i64),
) -> Result<Planned, Vec<BadInput>> {
    let objects = read(sources, kinds, empty, MAX_ERRORS)?;
    let mut scene = Scene::new(&objects, now);
    let jobs = Jobs::collect(&objects, &scene, now);
    let options = PlanOptions {
        now_seconds: now.as_second(),
        horizon_seconds,
    };
    let plan = scene.state.fleet.plan(&jobs.specs, &options);

    let mut notes = objects.notes;
    notes.append(&mut scene.notes);
    notes.extend(jobs.notes.iter().cloned());
    if jobs.names.is_empty() && jobs.invalid.is_empty() {
        notes.push("there is no TrainingJob or InferenceJob to plan".to_owned());
    }
    // A device type or a PriorityClass that is not there leaves a job without a place, as it would in a hub; any other field
    // that makes no sense is bad input.
    let names_what_is_not_there = |reason| {
        use ConditionReason::{UnknownAcceleratorType, UnknownPriorityClass};
        matches!(reason, UnknownAcceleratorType | UnknownPriorityClass)
    };
    let mut issues = jobs.invalid.iter().map(|(_, issue, _)| issue);
    Ok(Planned {
        is_bad_input: !issues.all(|issue| names_what_is_not_there(issue.reason)),
        invalid: jobs.bad_input(MAX_ERRORS + 1),
        report: report::report(&plan, &jobs, notes),
    })
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::input::READINGS;
    use crate::scene::Objects;

    /// Objects that are wrong in the same way.
    const MANY: usize = 1000;

    /// Writes `object` with every number of `0..MANY` for `@N@` to a file and reads it.
    fn many(object: &str) -> Objects {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("many.yaml");
        let documents: Vec<String> = (0..MANY)
            .map(|number| object.replace("@N@", &number.to_string()))
            .collect();
        fs::write(&file, documents.join("\n---\n")).unwrap();
        let sources = find_sources(&[file]).unwrap();
        read(&sources, &Kinds::new().unwrap(), &[], MAX_ERRORS).unwrap()
    }

    // Lines cost a reading of the file: one for all of them, and none where none is told.
    #[test]
    fn a_file_is_read_once_for_the_lines_of_all_its_errors() {
        let objects = many(
            "{apiVersion: ampacity.dev/v1alpha1, kind: TrainingJob, metadata: {name: j@N@}, spec: {estimatedDurationSeconds: 60, \
             alternatives: [{name: a, image: i, acceleratorType: no-such, devicesPerReplica: 1}]}}",
        );
        let scene = Scene::new(&objects, Timestamp::UNIX_EPOCH);
        let jobs = Jobs::collect(&objects, &scene, Timestamp::UNIX_EPOCH);
        assert_eq!(jobs.invalid.len(), MANY);
        assert_eq!(READINGS.get(), 0);
        let told = jobs.bad_input(MAX_ERRORS);
        assert_eq!((told.len(), READINGS.get()), (MAX_ERRORS, 1));
        assert!(told[0].place.contains("line 1, spec.alternatives[0]"));
    }

    #[test]
    fn objects_that_cannot_be_read_are_all_noted_and_the_first_with_their_lines() {
        let objects =
            many("{apiVersion: v1, kind: Node, metadata: {name: n@N@}, status: {capacity: [1]}}");
        assert_eq!(objects.notes.len(), MANY);
        assert_eq!(READINGS.get(), 1);
        assert!(objects.notes[0].contains("line 1, status.capacity"));
        assert!(objects.notes[MANY - 1].contains("document 1000, status.capacity"));
    }
}
