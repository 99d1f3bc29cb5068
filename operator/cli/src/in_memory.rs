//! The commands that read files, on bytes that are in memory: all the way from bytes to every form of output. For fuzz targets and
//! tests; nothing is read, printed or remembered.

use ampacity_packing::PolicyName;
use clap::Parser;
use jiff::Timestamp;

use crate::check::Kinds;
use crate::input::{BadInput, Source};
use crate::plan;
use crate::simulate::{gavel, openb, workload};

/// All that would be printed, or what is wrong with the input.
pub type Answer = Result<String, Vec<String>>;

/// The schemas and rules that documents are checked by. Making them takes longer than checking a document.
pub struct Checks(Kinds);

impl Checks {
    /// Those of every Ampacity kind.
    ///
    /// # Errors
    /// When a schema cannot be written as JSON, which is a fault of this program.
    pub fn new() -> anyhow::Result<Self> {
        Kinds::new().map(Self)
    }

    /// `ampacity plan -f - --horizon SECONDS` as of a time: the table with and without colours, JSON and YAML.
    ///
    /// # Errors
    /// When the plan cannot be written down, which is a fault of this program.
    pub fn plan(
        &self,
        documents: Vec<u8>,
        now: Timestamp,
        horizon_seconds: i64,
    ) -> anyhow::Result<Answer> {
        let sources = [source("documents", documents)];
        let planned = match plan::plan(&sources, &self.0, &[], (now, horizon_seconds)) {
            Ok(planned) => planned,
            Err(errors) => return Ok(Err(told(&errors))),
        };
        let forms = [
            planned.table(true),
            planned.table(false),
            planned.report.to_json()?,
            planned.report.to_yaml()?,
        ];
        Ok(if planned.invalid.is_empty() {
            Ok(forms.concat())
        } else {
            Err(told(&planned.invalid))
        })
    }

    /// `ampacity simulate workload -f - [--arrivals FILE]`: the table, JSON, YAML and the page.
    ///
    /// # Errors
    /// When the result cannot be written down, which is a fault of this program.
    pub fn workload(
        &self,
        documents: Vec<u8>,
        arrivals: Option<Vec<u8>>,
    ) -> anyhow::Result<Answer> {
        let arrivals = arrivals.map(|bytes| source("arrivals.csv", bytes));
        let answer =
            workload::all_forms(source("documents", documents), arrivals.as_ref(), &self.0)?;
        Ok(answer.map_err(|errors| told(&errors)))
    }
}

/// `ampacity simulate openb`, with a run of at most `most_looks` looks of a task at a node: the table, JSON and YAML.
///
/// # Errors
/// When the result cannot be written down, which is a fault of this program.
pub fn openb(
    nodes: Vec<u8>,
    pods: Vec<u8>,
    policy: PolicyName,
    tune: f64,
    seed: u64,
    most_looks: f64,
) -> anyhow::Result<Answer> {
    let sources = [source("nodes.csv", nodes), source("pods.csv", pods)];
    let answer = openb::all_forms(&sources, policy, tune, seed, most_looks)?;
    Ok(answer.map_err(|errors| told(&errors)))
}

/// `ampacity simulate gavel` with these arguments besides `--throughputs`: the table, JSON and YAML.
///
/// # Errors
/// When the arguments cannot be used, and when the result cannot be written down.
pub fn gavel(throughputs: Vec<u8>, arguments: &[&str]) -> anyhow::Result<Answer> {
    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        args: gavel::GavelArgs,
    }
    let line = ["gavel", "--throughputs", "throughputs.json"];
    let Arguments { args } = Arguments::try_parse_from(line.iter().chain(arguments))?;
    let answer = gavel::all_forms(&source("throughputs.json", throughputs), &args)?;
    Ok(answer.map_err(|errors| told(&errors)))
}

fn source(name: &str, bytes: Vec<u8>) -> Source {
    Source::Memory {
        name: name.to_owned(),
        bytes,
    }
}

fn told(errors: &[BadInput]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}
