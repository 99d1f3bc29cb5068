//! `ampacity simulate gavel`: the continuous-multiple experiment of Gavel (Narayanan et al., OSDI'20): jobs of 1 to 8 GPUs and of
//! measured throughput arrive at random on V100, P100 and K80, and the mean time to completion is taken of some in the middle.

mod cluster;
mod jobs;
mod throughputs;

use std::path::PathBuf;

use ampacity_placement::{MicroUsd, Objective};
use serde::Serialize;

use self::cluster::{Manners, Worker};
use self::jobs::Jobs;
use super::timeline::{Player, Policy, Totals, totals_of};
use super::{Ended, Output, progress, rounded, table};
use crate::exit::Exit;

/// Most jobs that are measured, and that may come before them.
const MAX_JOBS: usize = 200_000;
/// Arrivals go on until the measured jobs have ended, but not beyond this times their number: with a rate that the cluster cannot carry,
/// the queue would grow without end.
const MAX_TIMES: usize = 3;

/// Arguments of `ampacity simulate gavel`.
#[derive(Debug, clap::Args)]
pub(crate) struct GavelArgs {
    /// Gavel's table of measured throughputs (simulation_throughputs.json).
    #[arg(long, value_name = "FILE")]
    throughputs: PathBuf,
    /// Jobs that arrive per hour, on average.
    #[arg(long, visible_alias = "lambda", value_name = "RATE", default_value = "2.6", value_parser = parse_rate)]
    jobs_per_hour: f64,
    /// Which jobs arrive when.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// GPUs by type; the first type sets how long jobs are.
    #[arg(long, value_name = "TYPE=GPUS,…", default_value = "v100=36,p100=36,k80=36", value_parser = parse_cluster)]
    cluster: Cluster,
    /// GPUs of one node. A gang lies on as few nodes as possible.
    #[arg(long, value_name = "GPUS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    gpus_per_node: u32,
    /// Dollars per GPU and hour by type. Default: Google Cloud's list prices of one GPU on demand.
    #[arg(long, value_name = "TYPE=USD,…", default_value = "v100=2.48,p100=1.46,k80=0.45", value_parser = parse_prices)]
    prices: Prices,
    /// Who places.
    #[arg(long, value_enum, default_value_t = PolicyChoice::Ampacity)]
    policy: PolicyChoice,
    /// What Ampacity's jobs are judged by.
    #[arg(long, value_enum, default_value_t = ObjectiveChoice::Time)]
    objective: ObjectiveChoice,
    /// Which of Ampacity's jobs have priority.
    #[arg(long, value_enum, default_value_t = Order::Due)]
    order: Order,
    /// Ampacity's jobs name a type as an alternative only if it takes at most this times as long as their best type.
    #[arg(long, value_name = "FACTOR", default_value = "3", value_parser = parse_slowdown)]
    max_slowdown: f64,
    /// The jobs measured: the first one's number and the number after the last one's, counted from 0 in order of arrival.
    #[arg(long, value_name = "FROM-TO", default_value = "4000-5000", value_parser = parse_window)]
    measure: Window,
    /// How the result is printed.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Who places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PolicyChoice {
    /// The engine: the whole queue at every arrival and end, over all alternatives.
    Ampacity,
    /// Strictly in order of arrival, on the first type that has room, whatever it is good for.
    Fifo,
}

/// What a job is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ObjectiveChoice {
    /// The fewest dollars.
    Cost,
    /// The earliest end.
    Time,
}

/// Which job goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Order {
    /// The one that came first.
    Arrival,
    /// The one that is done first on its best type. A long gang may wait without end.
    Shortest,
    /// The one whose arrival plus ten times its time on its best type comes first: short ones overtake, but not for ever.
    Due,
}

#[derive(Clone, Debug)]
struct Cluster(Vec<(String, u32)>);

#[derive(Clone, Debug)]
struct Prices(Vec<(String, MicroUsd)>);

#[derive(Clone, Copy, Debug)]
struct Window {
    from: usize,
    to: usize,
}

fn number_within(text: &str, most: f64) -> Result<f64, String> {
    let error = || format!("give a number above 0 and at most {most}");
    let number: f64 = text.parse().map_err(|_| error())?;
    if number > 0.0 && number <= most {
        Ok(number)
    } else {
        Err(error())
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    number_within(text, 1e6)
}

fn parse_slowdown(text: &str) -> Result<f64, String> {
    let slowdown = number_within(text, 1e9)?;
    if slowdown < 1.0 {
        return Err("give a number of at least 1: 1 leaves only the best type".to_owned());
    }
    Ok(slowdown)
}

/// `a=1,b=2`, each name once.
fn pairs<T>(
    text: &str,
    what: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<(String, T)>, String> {
    let mut pairs: Vec<(String, T)> = Vec::new();
    for part in text.split(',') {
        let pair = part.split_once('=').and_then(|(name, value)| {
            let name = name.trim();
            (!name.is_empty()).then_some((name.to_owned(), read(value.trim())?))
        });
        let Some(pair) = pair else {
            return Err(format!("{part:?} is not TYPE={what}"));
        };
        if pairs.iter().any(|(name, _)| *name == pair.0) {
            return Err(format!("{:?} is given twice", pair.0));
        }
        pairs.push(pair);
    }
    Ok(pairs)
}

fn parse_cluster(text: &str) -> Result<Cluster, String> {
    let gpus = |text: &str| {
        text.parse()
            .ok()
            .filter(|gpus| (8..=100_000).contains(gpus))
    };
    pairs(text, "GPUS from 8 (the largest job) to 100000", gpus).map(Cluster)
}

fn parse_prices(text: &str) -> Result<Prices, String> {
    let usd = |text: &str| {
        let usd: f64 = text.parse().ok()?;
        (0.0..=1e6)
            .contains(&usd)
            .then(|| MicroUsd((usd * 1e6).round() as i64))
    };
    pairs(text, "USD from 0 to 1000000", usd).map(Prices)
}

fn parse_window(text: &str) -> Result<Window, String> {
    let window = text.split_once('-').and_then(|(from, to)| {
        Some(Window {
            from: from.trim().parse().ok()?,
            to: to.trim().parse().ok()?,
        })
    });
    window
        .filter(|window| window.from < window.to && window.to <= MAX_JOBS)
        .ok_or_else(|| {
            format!("give two numbers such as 4000-5000, the second larger and at most {MAX_JOBS}")
        })
}

/// What is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    experiment: &'static str,
    policy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    objective: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_slowdown: Option<f64>,
    jobs_per_hour: f64,
    seed: u64,
    cluster: Vec<Type>,
    gpus_per_node: u32,
    measured_from: usize,
    measured_to: usize,
    /// Jobs that had arrived when the last measured one ended.
    arrived: usize,
    mean_completion_hours: f64,
    /// If every measured job had its best type at once.
    mean_completion_hours_alone: f64,
    totals: Totals,
    usd_per_job: f64,
}

/// A type of worker and what the measured jobs did on it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Type {
    name: String,
    gpus: u32,
    usd_per_gpu_hour: f64,
    measured_jobs: usize,
}

pub(super) fn run(args: &GavelArgs) -> Ended {
    let names: Vec<&str> = args
        .cluster
        .0
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let models = match throughputs::read(&args.throughputs, &names) {
        Ok(models) => models,
        Err(errors) => return Ok(Err(errors)),
    };
    let workers: Vec<Worker> = args
        .cluster
        .0
        .iter()
        .map(|(name, gpus)| Worker {
            name: name.clone(),
            gpus: *gpus,
            usd_per_gpu_hour: args
                .prices
                .0
                .iter()
                .find(|(priced, _)| priced == name)
                .map_or(MicroUsd::ZERO, |&(_, usd)| usd),
        })
        .collect();
    let gpus: u64 = workers.iter().map(|worker| u64::from(worker.gpus)).sum();
    let engine = args.policy == PolicyChoice::Ampacity;
    let manners = Manners {
        objective: match args.objective {
            ObjectiveChoice::Cost => Objective::Cost,
            ObjectiveChoice::Time => Objective::Time,
        },
        order: if engine { args.order } else { Order::Arrival },
        max_slowdown: if engine {
            args.max_slowdown
        } else {
            f64::INFINITY
        },
        gpus_per_node: args.gpus_per_node,
    };
    let window = args.measure.from..args.measure.to;
    let most = args.measure.to.saturating_mul(MAX_TIMES);
    let mut alone_seconds = 0.0;
    let arrivals = Jobs::new(&models, args.jobs_per_hour, args.seed)
        .take(most)
        .inspect(|job| {
            if window.contains(&job.number) {
                let fastest = job.rates.iter().flatten().copied().fold(0.0, f64::max);
                alone_seconds += job.steps / fastest;
            }
        })
        .map(|job| cluster::arrival(&job, &workers, &manners));
    let policy = if engine {
        Policy::Engine
    } else {
        Policy::FirstFit
    };
    let bar = progress(args.measure.to as u64);
    let played = Player::new(cluster::fleet(&workers, args.gpus_per_node), 0)
        .with_policy(policy)
        .until_ended(window.clone())
        .play(arrivals, |ended| bar.set_position(ended));
    bar.finish_and_clear();

    let totals = totals_of(&played, window.clone(), gpus);
    let jobs = played.jobs.get(window).unwrap_or_default();
    let on = |name: &str| {
        jobs.iter()
            .filter_map(|job| job.ran.as_ref())
            .filter(|ran| ran.decision.reservation.accelerator_type == name)
            .count()
    };
    let report = Report {
        experiment: "gavel",
        policy: if engine { "ampacity" } else { "fifo" },
        objective: engine
            .then_some(manners.objective)
            .map(|objective| match objective {
                Objective::Cost => "cost",
                Objective::Time => "time",
                Objective::Energy => "energy",
            }),
        order: engine.then_some(match args.order {
            Order::Arrival => "arrival",
            Order::Shortest => "shortest",
            Order::Due => "due",
        }),
        max_slowdown: engine.then_some(manners.max_slowdown),
        jobs_per_hour: args.jobs_per_hour,
        seed: args.seed,
        cluster: workers
            .iter()
            .map(|worker| Type {
                name: worker.name.clone(),
                gpus: worker.gpus,
                usd_per_gpu_hour: worker.usd_per_gpu_hour.0 as f64 / 1e6,
                measured_jobs: on(&worker.name),
            })
            .collect(),
        gpus_per_node: args.gpus_per_node,
        measured_from: args.measure.from,
        measured_to: args.measure.to,
        arrived: played.jobs.len(),
        mean_completion_hours: rounded(totals.completion_seconds.mean / 3600.0, 4),
        mean_completion_hours_alone: rounded(
            alone_seconds / 3600.0 / (args.measure.to - args.measure.from).max(1) as f64,
            4,
        ),
        usd_per_job: rounded(totals.usd / (totals.finished.max(1) as f64), 4),
        totals,
    };
    args.output.print(&report, text)?;
    Ok(Ok(if report.totals.never_placed == 0 {
        Exit::Success
    } else {
        Exit::NotAllPlaced
    }))
}

fn text(report: &Report) -> String {
    let mut out = format!(
        "gavel continuous-multiple, policy {}, {} jobs per hour, seed {}; jobs {} to {} measured.\n",
        report.policy,
        report.jobs_per_hour,
        report.seed,
        report.measured_from,
        report.measured_to - 1
    );
    if let (Some(objective), Some(order), Some(slowdown)) =
        (report.objective, report.order, report.max_slowdown)
    {
        out.push_str(&format!(
            "Objective {objective}, priority by {order}, types up to {slowdown} times slower than a job's best.\n"
        ));
    }
    let totals = &report.totals;
    let hours = |seconds: f64| format!("{:.2}", seconds / 3600.0);
    let rows = [
        (
            "mean completion, h",
            format!("{:.2}", report.mean_completion_hours),
        ),
        (
            "the same on an empty cluster, h",
            format!("{:.2}", report.mean_completion_hours_alone),
        ),
        (
            "median completion, h",
            hours(totals.completion_seconds.median as f64),
        ),
        (
            "95 % completed within, h",
            hours(totals.completion_seconds.p95 as f64),
        ),
        ("mean wait, h", hours(totals.queue_seconds.mean)),
        ("makespan, h", hours(totals.makespan_seconds as f64)),
        (
            "utilisation, %",
            format!("{:.1}", totals.utilisation_percent),
        ),
        ("dollars", format!("{:.2}", totals.usd)),
        ("dollars a job", format!("{:.2}", report.usd_per_job)),
        ("longest queue, jobs", totals.peak_queue.to_string()),
        ("never placed, jobs", totals.never_placed.to_string()),
    ];
    out.push('\n');
    out.push_str(&table::render(
        &["WHAT", "VALUE"],
        rows.map(|(name, value)| vec![name.to_owned(), value]),
    ));
    out.push('\n');
    let rows = report.cluster.iter().map(|worker| {
        vec![
            worker.name.clone(),
            worker.gpus.to_string(),
            format!("{:.2}", worker.usd_per_gpu_hour),
            worker.measured_jobs.to_string(),
        ]
    });
    out.push_str(&table::render(
        &["TYPE", "GPUS", "USD/H", "MEASURED JOBS"],
        rows,
    ));
    out
}
