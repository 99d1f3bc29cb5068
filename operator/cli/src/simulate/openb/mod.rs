//! `ampacity simulate openb`: the packing experiment of FGD (Weng et al., USENIX ATC'23) on lists of the openb trace.

mod lists;

use std::path::PathBuf;

use ampacity_packing::{Experiment, LoadPoint, Models, Node, NodeRow, PolicyName, PowerTable};
use serde::Serialize;

use super::{Ended, Output, rounded, table};
use crate::exit::Exit;
use crate::input::{BadInput, Source};

/// Most tasks of one run.
const MAX_TASKS: f64 = 20e6;
/// Most looks of a task at a node in one run: about an hour.
const MAX_LOOKS: f64 = 5e10;

/// Arguments of `ampacity simulate openb`.
#[derive(Debug, clap::Args)]
pub(crate) struct OpenbArgs {
    /// CSV of nodes: sn, cpu_milli (thousandths of a virtual core), memory_mib, gpu (count), model.
    #[arg(long, value_name = "FILE")]
    nodes: PathBuf,
    /// CSV of tasks: name, cpu_milli, memory_mib, num_gpu, gpu_milli (thousandths of each GPU), and where there is one gpu_spec
    /// (allowed models, joined by |).
    #[arg(long, value_name = "FILE")]
    pods: PathBuf,
    /// Who chooses the node and the GPU.
    #[arg(long, value_enum, default_value_t = PolicyChoice::Ampacity)]
    policy: PolicyChoice,
    /// GPUs asked for in all, as a multiple of those there are; above 0 and at most 10.
    #[arg(long, value_name = "FACTOR", default_value = "1.3", value_parser = parse_tune)]
    tune: f64,
    /// Order of tasks and nodes; the published runs have 42 to 51.
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// How the result is printed.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Who places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PolicyChoice {
    /// Ampacity: the least loss of GPUs that the usual tasks could use.
    Ampacity,
    /// The same, with a price on watts.
    AmpacityPower,
    /// FGD as published.
    Fgd,
    /// FGD blended with power as published (PWR100+FGD900).
    FgdPower,
    /// The node with the least left over.
    BestFit,
    /// Any node that fits.
    Random,
}

impl PolicyChoice {
    fn name(self) -> PolicyName {
        match self {
            Self::Ampacity => PolicyName::Ampacity,
            Self::AmpacityPower => PolicyName::AmpacityPower,
            Self::Fgd => PolicyName::Fgd,
            Self::FgdPower => PolicyName::FgdPower,
            Self::BestFit => PolicyName::BestFit,
            Self::Random => PolicyName::Random,
        }
    }
}

fn parse_tune(text: &str) -> Result<f64, String> {
    let tune: f64 = text.parse().map_err(|_| "give a number".to_owned())?;
    if tune > 0.0 && tune <= 10.0 {
        Ok(tune)
    } else {
        Err("give a number above 0 and at most 10".to_owned())
    }
}

/// What is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    experiment: &'static str,
    policy: &'static str,
    tune: f64,
    seed: u64,
    nodes: usize,
    gpus: u64,
    tasks_in_list: usize,
    points: Vec<Point>,
    notes: Vec<String>,
}

/// The fleet when this much was asked for: means over all arrivals that round to this percent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Point {
    arrived_percent: u32,
    allocated_gpu_percent: f64,
    fragmented_gpu_percent: f64,
    watts: f64,
    grar: f64,
}

impl From<LoadPoint> for Point {
    fn from(point: LoadPoint) -> Self {
        Self {
            arrived_percent: point.arrived_percent,
            allocated_gpu_percent: rounded(point.allocated_percent, 6),
            fragmented_gpu_percent: rounded(point.fragmented_percent, 6),
            watts: rounded(point.watts, 3),
            grar: rounded(point.grar, 6),
        }
    }
}

pub(super) fn run(args: &OpenbArgs) -> Ended {
    let sources = [&args.nodes, &args.pods].map(|path| Source::File(path.clone()));
    let report = match simulate(
        &sources,
        args.policy.name(),
        args.tune,
        args.seed,
        MAX_LOOKS,
    ) {
        Ok(report) => report,
        Err(errors) => return Ok(Err(errors)),
    };
    args.output.print(&report, text)?;
    Ok(Ok(Exit::Success))
}

/// The table, JSON and YAML of a run of at most so many looks at a node.
///
/// # Errors
/// What is wrong with the lists.
pub(crate) fn all_forms(
    sources: &[Source; 2],
    policy: PolicyName,
    tune: f64,
    seed: u64,
    most_looks: f64,
) -> anyhow::Result<Result<String, Vec<BadInput>>> {
    match simulate(sources, policy, tune, seed, most_looks) {
        Ok(report) => super::all_forms(&report, text).map(Ok),
        Err(errors) => Ok(Err(errors)),
    }
}

fn simulate(
    [nodes, pods]: &[Source; 2],
    policy: PolicyName,
    tune: f64,
    seed: u64,
    most_looks: f64,
) -> Result<Report, Vec<BadInput>> {
    let named = pods.name();
    let (nodes, pods) = match (lists::nodes(nodes), lists::pods(pods)) {
        (Ok(nodes), Ok(pods)) => (nodes, pods),
        (nodes, pods) => {
            let errors = [nodes.err(), pods.err()];
            return Err(errors.into_iter().flatten().flatten().collect());
        }
    };
    let gpus: u64 = nodes.iter().map(|node| u64::from(node.devices)).sum();
    let asked_milli: u64 = pods
        .iter()
        .map(|pod| u64::from(pod.devices) * u64::from(pod.device_milli))
        .sum();
    // The list is drawn from until it asks for enough: a list of slivers on a large fleet would take all memory and time.
    let tasks = match asked_milli {
        0 => pods.len() as f64,
        asked => tune * gpus as f64 * 1000.0 * pods.len() as f64 / asked as f64,
    };
    if tasks > MAX_TASKS || tasks * nodes.len() as f64 > most_looks {
        return Err(vec![BadInput::new(
            named,
            format!(
                "asks for so little that about {tasks:.0} tasks would have to arrive on {} nodes, of at most {MAX_TASKS:.0} tasks and {:.0} here; lower --tune or give fewer nodes",
                nodes.len(),
                most_looks / nodes.len() as f64,
            ),
        )]);
    }
    let experiment = Experiment {
        nodes: &nodes,
        pods: &pods,
        tune,
        seed,
        policy,
    };
    Ok(Report {
        experiment: "openb",
        policy: policy.as_str(),
        tune,
        seed,
        nodes: nodes.len(),
        gpus,
        tasks_in_list: pods.len(),
        points: experiment.run().into_iter().map(Point::from).collect(),
        notes: notes(&nodes, asked_milli),
    })
}

/// What a reader of the figures has to know.
fn notes(nodes: &[NodeRow], asked_milli: u64) -> Vec<String> {
    let models = Models::of(nodes);
    let watts = PowerTable::published(&models);
    let mut unknown: Vec<&str> = Vec::new();
    for node in nodes.iter().filter(|node| node.devices > 0) {
        // Without CPU, all that an idle node draws is its GPUs'.
        let bare = NodeRow {
            cpu_milli: 0,
            ..node.clone()
        };
        if watts.node_watts(&Node::of(&bare, &models)) == 0
            && !unknown.contains(&node.model.as_str())
        {
            unknown.push(&node.model);
        }
    }
    let mut notes = Vec::new();
    if !unknown.is_empty() {
        notes.push(format!(
            "the PWR paper has no watts for {}; these GPUs count as 0 W",
            unknown.join(", ")
        ));
    }
    if asked_milli == 0 {
        notes.push(
            "no task of the list asks for a GPU: each arrives once, and the load stays at 0 %"
                .to_owned(),
        );
    }
    notes
}

fn text(report: &Report) -> String {
    let mut out = format!(
        "openb, policy {}, tune {}, seed {}: {} nodes with {} GPUs, {} tasks in the list.\n\n",
        report.policy, report.tune, report.seed, report.nodes, report.gpus, report.tasks_in_list
    );
    let rows = report.points.iter().map(|point| {
        vec![
            point.arrived_percent.to_string(),
            format!("{:.2}", point.allocated_gpu_percent),
            format!("{:.2}", point.fragmented_gpu_percent),
            format!("{:.1}", point.watts / 1000.0),
            format!("{:.4}", point.grar),
        ]
    });
    out.push_str(&table::render(
        &["ARRIVED %", "ALLOCATED %", "FRAGMENTED %", "KW", "GRAR"],
        rows,
    ));
    for note in &report.notes {
        out.push_str(&format!("\nNote: {}\n", crate::input::printable(note)));
    }
    out
}
