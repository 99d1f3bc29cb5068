//! What the command line says.

use std::path::PathBuf;

use ampacity_placement::MicroUsd;

use crate::simulate::Output;

/// Most jobs that are measured, and that may come before them.
const MAX_JOBS: usize = 200_000;
/// Arguments of `ampacity simulate gavel`.
#[derive(Debug, clap::Args)]
pub(crate) struct GavelArgs {
    /// Gavel's table of measured throughputs (simulation_throughputs.json).
    #[arg(long, value_name = "FILE")]
    pub(super) throughputs: PathBuf,
    /// Jobs that arrive per hour, on average.
    #[arg(long, visible_alias = "lambda", value_name = "RATE", default_value = "2.6", value_parser = parse_rate)]
    pub(super) jobs_per_hour: f64,
    /// Which jobs arrive when.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
    /// GPUs by type; the first type sets how long jobs are.
    #[arg(long, value_name = "TYPE=GPUS,…", default_value = "v100=36,p100=36,k80=36", value_parser = parse_cluster)]
    pub(super) cluster: Cluster,
    /// GPUs of one node. A gang lies on as few nodes as possible.
    #[arg(long, value_name = "GPUS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) gpus_per_node: u32,
    /// Dollars per GPU and hour by type. Default: Google Cloud's list prices of one GPU on demand.
    #[arg(long, value_name = "TYPE=USD,…", default_value = "v100=2.48,p100=1.46,k80=0.45", value_parser = parse_prices)]
    pub(super) prices: Prices,
    /// Who places.
    #[arg(long, value_enum, default_value_t = PolicyChoice::Ampacity)]
    pub(super) policy: PolicyChoice,
    /// What Ampacity's jobs are judged by.
    #[arg(long, value_enum, default_value_t = ObjectiveChoice::Worth)]
    pub(super) objective: ObjectiveChoice,
    /// Which of Ampacity's jobs have priority.
    #[arg(long, value_enum, default_value_t = Order::Due)]
    pub(super) order: Order,
    /// Ampacity leaves a job that has started where it is until it ends.
    #[arg(long)]
    pub(super) no_preemption: bool,
    /// Seconds that a job needs to go on after it was stopped or moved.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub(super) restore_seconds: u32,
    /// Ampacity's jobs name a type as an alternative only if it takes at most this times as long as their best type.
    #[arg(long, value_name = "FACTOR", default_value = "5", value_parser = parse_slowdown)]
    pub(super) max_slowdown: f64,
    /// The jobs measured: the first one's number and the number after the last one's, counted from 0 in order of arrival.
    #[arg(long, value_name = "FROM-TO", default_value = "4000-5000", value_parser = parse_window)]
    pub(super) measure: Window,
    /// How the result is printed.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
}

/// Who places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum PolicyChoice {
    /// The engine: the whole queue at every arrival and end, over all alternatives.
    Ampacity,
    /// Strictly in order of arrival, on the first type that has room, whatever it is good for.
    Fifo,
}

/// What a job is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ObjectiveChoice {
    /// The fewest hours of GPUs, those of each type weighed by what they are worth to the mix of jobs.
    Worth,
    /// The fewest dollars.
    Cost,
    /// The earliest end.
    Time,
}

/// Which job goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Order {
    /// The one that came first.
    Arrival,
    /// The one that is done first on its best type. A long gang may wait without end.
    Shortest,
    /// The one whose arrival plus ten times what is left of its time on its best type comes first: short ones overtake, but not
    /// for ever.
    Due,
}

#[derive(Clone, Debug)]
pub(super) struct Cluster(pub(super) Vec<(String, u32)>);

#[derive(Clone, Debug)]
pub(super) struct Prices(pub(super) Vec<(String, MicroUsd)>);

#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) from: usize,
    pub(super) to: usize,
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
